//! The program: where it is, and how it is started.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use notifyit_plugin_api::{Context, Result, Unavailable, anyhow};
use rustix::fs::{Access, access};

use crate::child::Child;
use crate::wrong;

/// A program and what it is started with, apart from its arguments.
#[derive(Debug)]
pub(crate) struct Program {
    name: String,
    cwd: Option<PathBuf>,
    env: BTreeMap<String, String>,
    kill_after: Duration,
}

/// What the service manager tells the host, and no program that the host starts.
const PRIVATE: [&str; 6] =
    ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"];

impl Program {
    /// Checks what can be checked before there is an event.
    pub(crate) fn new(
        name: &str,
        cwd: Option<PathBuf>,
        env: BTreeMap<String, String>,
        kill_after: Duration,
    ) -> Result<Self> {
        if let Some(key) = env.keys().find(|key| key.is_empty() || key.contains(['=', '\0'])) {
            return Err(wrong("env", format_args!("{key:?} cannot be the name of a variable")));
        }
        if let Some((key, _)) = env.iter().find(|(_, value)| value.contains('\0')) {
            return Err(wrong("env", format_args!("the value of `{key}` cannot hold a NUL")));
        }
        let cwd = cwd
            .map(|dir| checked(&dir).with_context(|| format!("failed to use {dir:?} as cwd")))
            .transpose()?;
        let program = Program { name: name.to_owned(), cwd, env, kill_after };
        program.find()?;
        Ok(program)
    }

    /// A command that needs its arguments and variables yet. It leads a process group of its own.
    pub(crate) fn command(&self) -> Result<Command> {
        let mut command = Command::new(self.find()?);
        PRIVATE.iter().for_each(|key| _ = command.env_remove(key));
        command.arg0(&self.name).envs(&self.env).process_group(0);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        if let Some(cwd) = &self.cwd {
            command.current_dir(cwd);
        }
        Ok(command)
    }

    /// Starts what [`Program::command`] began.
    pub(crate) fn start(&self, mut command: Command) -> Result<Child> {
        let process = match command.spawn() {
            Ok(process) => process,
            // An argument is too long, and that is the file's name.
            Err(error) if error.kind() == io::ErrorKind::ArgumentListTooLong => {
                return Err(error).with_context(|| self.failed().to_string());
            }
            Err(error) => return Err(error).with_context(|| self.failed()),
        };
        Child::new(process, self.kill_after).with_context(|| self.failed())
    }

    /// How long its process group may take to end.
    pub(crate) fn kill_after(&self) -> Duration {
        self.kill_after
    }

    /// It is not the file's fault: no file would work.
    fn failed(&self) -> Unavailable {
        Unavailable::new(format!("failed to start `{}`", self.name))
    }

    /// Looked up at each start, so that a program that has moved is found.
    fn find(&self) -> Result<PathBuf> {
        if self.name.contains('/') {
            let path = self.cwd.as_deref().unwrap_or(Path::new("")).join(&self.name);
            return std::path::absolute(path).and_then(executable).with_context(|| self.failed());
        }
        let path = std::env::var_os("PATH").unwrap_or_else(|| "/usr/local/bin:/usr/bin:/bin".into());
        let mut refused = None;
        for dir in std::env::split_paths(&path).filter(|dir| dir.is_absolute()) {
            match executable(dir.join(&self.name)) {
                Ok(found) => return Ok(found),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                    refused.get_or_insert_with(|| anyhow!("{:?}: {error}", dir.join(&self.name)));
                }
                Err(_) => {}
            }
        }
        let error = refused.unwrap_or_else(|| anyhow!("not found in PATH={}", path.display()));
        Err(error).with_context(|| self.failed())
    }
}

fn checked(dir: &Path) -> io::Result<PathBuf> {
    let is_dir = fs::metadata(dir)?.is_dir();
    if is_dir { std::path::absolute(dir) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

fn executable(path: PathBuf) -> io::Result<PathBuf> {
    if !fs::metadata(&path)?.is_file() {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a file"));
    }
    access(&path, Access::EXEC_OK)?;
    // The kernel starts no such file; the C library's `execvp`, which is the way to hand over a descriptor, would then
    // start a shell.
    if is_bare_script(&path) {
        return Err(io::Error::other("a script needs its `#!` line"));
    }
    Ok(path)
}

/// Text without a first line that names its interpreter. Programs of every format have a NUL soon.
fn is_bare_script(path: &Path) -> bool {
    let mut head = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(256).read_to_end(&mut head));
    read.is_ok() && !head.starts_with(b"#!") && !head.contains(&0)
}
