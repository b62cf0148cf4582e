//! `mode = "each"`: a child for each event.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::ErrorKind;
use std::process::{Command, ExitStatus};

use command_fds::{CommandFdExt, FdMapping};
use notifyit_plugin_api::{Context, Event, Reject, Result, anyhow};
use rustix::io::fcntl_dupfd_cloexec;

use crate::Deadline;
use crate::child::{Child, Step, ended};
use crate::output::Log;
use crate::program::Program;
use crate::template::Template;

/// The descriptor that `{file}` names.
const FILE: i32 = 3;
/// `EX_DATAERR`: the file can never be handled.
const EX_DATAERR: i32 = 65;

/// Runs the program once per event.
#[derive(Debug)]
pub(crate) struct Each {
    program: Program,
    arguments: Vec<Template>,
    needs_file: bool,
}

impl Each {
    pub(crate) fn new(program: Program, arguments: Vec<Template>) -> Self {
        Each { needs_file: arguments.iter().any(Template::needs_file), program, arguments }
    }

    /// Runs it for this event, to its end.
    pub(crate) fn run(&self, event: &Event<'_>, deadline: Deadline) -> Result<()> {
        let mut child = self.start(event)?;
        let mut log = Log::about(event.relative());
        loop {
            match child.step(deadline.at, None, &mut |source, line| log.line(source, line))? {
                Step::Moved => {}
                Step::Exited => return verdict(child.reap()?, &log),
                Step::Expired => {
                    child.end(&mut |source, line| log.line(source, line))?;
                    return Err(deadline.error());
                }
            }
        }
    }

    fn start(&self, event: &Event<'_>) -> Result<Child> {
        let mut command = self.program.command()?;
        command.args(self.arguments.iter().map(|argument| argument.fill(event)));
        let json = event.to_json();
        for (name, value) in variables(event, &json) {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name), // of a host that runs beneath another
            };
        }
        if self.needs_file {
            pass(open(event)?, &mut command)?;
        }
        let mut child = self.program.start(command)?;
        child.feed_last(format!("{json}\n").as_bytes());
        Ok(child)
    }
}

/// What of the event stands in the environment. Paths are bytes.
fn variables<'a>(event: &Event<'a>, json: &str) -> [(&'static str, Option<OsString>); 14] {
    let there = event.exists();
    let modified = event.modified().and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
    let bytes = |value: &OsStr| Some(value.to_owned());
    let text = |value: String| Some(OsString::from(value));
    [
        ("NOTIFYIT_PATH", bytes(event.path().as_os_str())),
        ("NOTIFYIT_NAME", bytes(event.name())),
        ("NOTIFYIT_ROOT", bytes(event.root().as_os_str())),
        ("NOTIFYIT_RELATIVE", bytes(event.relative().as_os_str())),
        ("NOTIFYIT_RENAMED_FROM", event.renamed_from().and_then(|path| bytes(path.as_os_str()))),
        ("NOTIFYIT_WATCH", text(event.watch().to_owned())),
        ("NOTIFYIT_KIND", text(event.kind().to_string())),
        ("NOTIFYIT_EMITTED_BY", event.emitted_by().and_then(text)),
        ("NOTIFYIT_ORIGIN", text(event.origin().to_string())),
        ("NOTIFYIT_ATTEMPT", text(event.attempt().to_string())),
        ("NOTIFYIT_ID", text(format!("{:016x}", event.id()))),
        ("NOTIFYIT_SIZE", text(event.size().to_string()).filter(|_| there)),
        ("NOTIFYIT_MTIME", modified.and_then(|m| text(format!("{}.{:09}", m.as_secs(), m.subsec_nanos())))),
        ("NOTIFYIT_EVENT", text(json.to_owned())),
    ]
}

/// A missing file is for the host to judge; what is no regular file will never be one.
fn open(event: &Event<'_>) -> Result<File> {
    event.open().map_err(|error| {
        let never = error.kind() == ErrorKind::InvalidInput;
        let error = anyhow!(error).context(format!("failed to open {:?}", event.relative()));
        if never { error.context(Reject::new("{file} is for files alone")) } else { error }
    })
}

fn pass(file: File, command: &mut Command) -> Result<()> {
    // The file takes that number in this process too if it is free: else the pipe through which a failed `exec` is
    // reported could get it, and would be covered by the file in the child.
    let parent_fd = fcntl_dupfd_cloexec(&file, FILE).context("failed to pass the file on")?;
    command.fd_mappings(vec![FdMapping { parent_fd, child_fd: FILE }])?;
    Ok(())
}

fn verdict(status: ExitStatus, log: &Log) -> Result<()> {
    let text = || log.explain(&ended(status));
    match status.code() {
        Some(0) => Ok(()),
        Some(EX_DATAERR) => Err(Reject::new(text()).into()),
        // 75, `EX_TEMPFAIL`, asks for it, and the others can only hope for it.
        _ => Err(anyhow!(text())),
    }
}
