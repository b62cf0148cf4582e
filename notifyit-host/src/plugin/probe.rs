//! Loads a plugin in a child process first, the first time that its content is seen: one that crashes, hangs or ends the
//! process while it is loaded ends the child, and is *quarantined* until its file changes.
//!
//! The child is this program again (`notifyit __probe`), with the private copy as its stdin. It loads the copy as the
//! host would, up to what the plugin says of itself, and answers in JSON on what was its stdout. What it refuses is so
//! refused before the host has loaded anything of it.
//!
//! The host waits for the child itself, never for the end of a pipe, which something that the plugin has started may
//! hold open. The child is the head of a process group that is killed with it; only what has left the group (a daemon
//! with a session of its own) is out of reach. If the host is killed meanwhile, the child is too, but not what it has
//! started: that signal goes to the child of the thread that started it, which therefore waits for its end.
//!
//! A host that cannot start a child (no memory, no process left, a sandbox) says so once and loads without: it could
//! otherwise run nothing at all.
//!
//! Measured on a release build: 1.4 ms at the start for each plugin, of which a process that does nothing takes 0.6.

mod child;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notifyit_plugin_api::Info;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};
use serde::{Deserialize, Serialize};
use signal_hook::low_level::signal_name;

pub use child::answer;

use super::refused::{Reason, Step};
use super::stage::Staged;
use crate::log::one_line;

/// Tries plugins out in a child process, each content once.
#[derive(Debug)]
pub struct Prober {
    /// The program whose `__probe` is the child.
    program: Option<PathBuf>,
    limit: Duration,
    /// By hash. What the system is the cause of (a library that is not installed) is not remembered.
    known: Mutex<HashMap<u64, Result<Info, Reason>>>,
    has_complained: AtomicBool,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Tried {
    /// It is loaded, and says this of itself.
    Sound(Info),
    /// No child could be started, or nobody asked for one.
    Not(String),
}

/// What the child answers: a JSON object.
#[derive(Debug, Serialize, Deserialize)]
struct Answer {
    v: u32,
    #[serde(flatten)]
    said: Said,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Said {
    Sound(Info),
    Refused {
        step: Step,
        reason: Reason,
    },
    /// The child is at fault, not the plugin.
    Unable(String),
}

const VERSION: u32 = 1;

impl Prober {
    /// How long a plugin may take to be loaded.
    const LIMIT: Duration = Duration::from_secs(10);

    /// By children that are this program: `/proc/self/exe` for the host itself, also after an upgrade.
    pub fn by(program: impl Into<PathBuf>) -> Prober {
        Prober::new(Some(program.into()), Prober::LIMIT)
    }

    /// Tries nothing.
    pub fn none() -> Prober {
        Prober::new(None, Prober::LIMIT)
    }

    fn new(program: Option<PathBuf>, limit: Duration) -> Prober {
        Prober { program, limit, known: Mutex::default(), has_complained: AtomicBool::new(false) }
    }

    /// Tries a private copy out, unless its content is known. Takes as long as the loading does: 10 seconds at most.
    pub(super) fn probe(&self, staged: &Staged) -> Result<Tried, (Step, Reason)> {
        let Some(program) = &self.program else { return Ok(Tried::Not("nobody asked for it".to_owned())) };
        if let Some(known) = self.known().get(&staged.hash()) {
            return tried(known.clone());
        }
        let result = match self.said(program, staged.path()) {
            Ok(Said::Sound(info)) => Ok(info),
            Ok(Said::Refused { step: Step::Probe, reason }) => Err(reason),
            Ok(Said::Refused { step, reason }) => return Err((step, reason)),
            Ok(Said::Unable(why)) => return Ok(self.without(why)),
            Err(error) => return Ok(self.without(error.to_string())),
        };
        self.known().insert(staged.hash(), result.clone());
        tried(result)
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Result<Info, Reason>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn without(&self, why: String) -> Tried {
        if !self.has_complained.swap(true, Ordering::Relaxed) {
            tracing::warn!("plugins are loaded without being tried in a child process first: {why}");
        }
        Tried::Not(why)
    }

    fn said(&self, program: &Path, staged: &Path) -> io::Result<Said> {
        let mut trial = Trial::start(program, staged)?;
        let ended = trial.wait(Instant::now() + self.limit);
        let status = trial.end()?;
        let quarantined = |why: String| {
            let reason = Reason::new(why, "mend or remove it; it is tried again when the file changes");
            let reason = reason.with_detail(last_lines(&trial.stderr.kept));
            Said::Refused { step: Step::Probe, reason }
        };
        if !ended? {
            let limit = humantime::format_duration(self.limit);
            return Ok(quarantined(format!("it does not finish loading within {limit}")));
        }
        Ok(said(status, &trial.answer.kept).unwrap_or_else(quarantined))
    }
}

fn tried(known: Result<Info, Reason>) -> Result<Tried, (Step, Reason)> {
    known.map(Tried::Sound).map_err(|reason| (Step::Probe, reason))
}

/// What a child that has ended has said, or what is wrong with how it ended.
fn said(status: ExitStatus, answer: &[u8]) -> Result<Said, String> {
    if let Some(signal) = status.signal() {
        let name = signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned);
        return Err(format!("it crashes while it is loaded ({name})"));
    }
    let code = status.code().unwrap_or_default();
    if code != 0 || answer.is_empty() {
        return Err(format!("it ends the process while it is loaded (exit status {code})"));
    }
    match serde_json::from_slice::<Answer>(answer) {
        Ok(Answer { v: VERSION, said }) => Ok(said),
        _ => Err("while it is loaded it writes to a file that is not its own".to_owned()),
    }
}

/// A child at work. Its group is killed when this is dropped.
struct Trial {
    child: Child,
    group: Pid,
    /// Readable when the child has ended; kernels before 5.3 and some sandboxes do not have it.
    exit: Option<OwnedFd>,
    answer: Stream,
    stderr: Stream,
}

/// How often is looked whether the child has ended where no descriptor tells.
const TICK: Duration = Duration::from_millis(5);

impl Trial {
    fn start(program: &Path, staged: &Path) -> io::Result<Trial> {
        let mut command = Command::new(program);
        command.arg("__probe").arg(std::process::id().to_string());
        command.stdin(File::open(staged)?).stdout(Stdio::piped()).stderr(Stdio::piped()).process_group(0);
        let mut child = command.spawn()?;
        let group = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let group = group.ok_or_else(|| io::Error::other("the child has no process id"))?;
        let answer = Stream::new(child.stdout.take().map(OwnedFd::from), 1024 * 1024);
        let stderr = Stream::new(child.stderr.take().map(OwnedFd::from), 4 * 1024);
        let exit = pidfd_open(group, PidfdFlags::empty()).ok();
        let trial = Trial { child, group, exit, answer, stderr };
        for pipe in [&trial.answer.pipe, &trial.stderr.pipe].into_iter().flatten() {
            ioctl_fionbio(pipe, true)?;
        }
        Ok(trial)
    }

    /// Reads what the child says, so that it never waits for a reader, until it has ended: false if it did not by then.
    fn wait(&mut self, deadline: Instant) -> io::Result<bool> {
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            self.poll(if self.exit.is_some() { left } else { left.min(TICK) })?;
            self.answer.read();
            self.stderr.read();
            if self.has_ended() {
                return Ok(true);
            }
            if left.is_zero() {
                return Ok(false);
            }
        }
    }

    fn poll(&self, at_most: Duration) -> io::Result<()> {
        let pipes = [&self.answer.pipe, &self.stderr.pipe].into_iter().flatten();
        let mut all: Vec<PollFd<'_>> = pipes.map(|pipe| PollFd::new(pipe, PollFlags::IN)).collect();
        all.extend(self.exit.iter().map(|exit| PollFd::new(exit, PollFlags::IN)));
        let at_most = Timespec::try_from(at_most).map_err(io::Error::other)?;
        match poll(&mut all, Some(&at_most)) {
            Err(error) if error != rustix::io::Errno::INTR => Err(error.into()),
            _ => Ok(()),
        }
    }

    /// It is not reaped yet, so that its group's number stays its own.
    fn has_ended(&self) -> bool {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.group), how), Ok(None))
    }

    /// Ends all that is left of it, and reads the rest of what it said.
    fn end(&mut self) -> io::Result<ExitStatus> {
        let _ = kill_process_group(self.group, Signal::KILL);
        let status = self.child.wait();
        self.answer.read();
        self.stderr.read();
        status
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        // Once it has been reaped its number may be another's.
        if !matches!(self.child.try_wait(), Ok(Some(_))) {
            let _ = self.end();
        }
    }
}

/// The last of what comes out of a pipe.
struct Stream {
    pipe: Option<File>,
    kept: Vec<u8>,
    most: usize,
}

impl Stream {
    fn new(pipe: Option<OwnedFd>, most: usize) -> Stream {
        Stream { pipe: pipe.map(File::from), kept: Vec::new(), most }
    }

    /// Reads what is there; of a flood, what fits into a pipe.
    fn read(&mut self) {
        const PIECES: usize = 8;
        let mut buffer = [0; 16 * 1024];
        for _ in 0..PIECES {
            let Some(pipe) = &mut self.pipe else { return };
            match pipe.read(&mut buffer) {
                Ok(length @ 1..) => {
                    self.kept.extend_from_slice(&buffer[..length]);
                    let surplus = self.kept.len().saturating_sub(self.most);
                    self.kept.drain(..surplus);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.pipe = None,
            }
        }
    }
}

/// What a person can read of it: the last lines, without what a terminal would act on.
fn last_lines(stderr: &[u8]) -> String {
    const MOST: usize = 20;
    let text = String::from_utf8_lossy(stderr);
    let lines: Vec<_> = text.lines().map(one_line).collect();
    lines[lines.len().saturating_sub(MOST)..].join("\n")
}

#[cfg(test)]
mod tests;
