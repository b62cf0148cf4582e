//! One running program: its pipes, its exit, the end of its process group.
//!
//! It is waited for only when its group needs no signal any more: until then the number of the group is its own.

use std::fs::File;
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::process::{ChildStdin, ExitStatus};
use std::time::{Duration, Instant};

use notifyit_plugin_api::log;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::{Errno, ioctl_fionbio};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
};

use crate::output::{OnLine, Source, Splitter};

/// How often is looked whether it has exited, on kernels without pidfds.
const TICK: Duration = Duration::from_millis(10);
/// As much is read of each pipe after the exit: what fits into a pipe. The program's own children may hold it open.
const LEFT: usize = 1024 * 1024;

/// A program that runs, or has exited and is not waited for yet. Its drop ends it.
#[derive(Debug)]
pub(crate) struct Child {
    process: std::process::Child,
    pid: Pid,
    /// Readable when it has exited.
    exit: Option<OwnedFd>,
    exited: bool,
    /// Waited for: its number may be another's now.
    reaped: bool,
    stdin: Option<ChildStdin>,
    unsent: Vec<u8>,
    /// Its input is closed when all is sent.
    last: bool,
    stdout: Stream,
    stderr: Stream,
    kill_after: Duration,
}

/// What a step saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Something was read or written, or the other descriptor woke us.
    Moved,
    /// It has exited, and what it left in its pipes has been read.
    Exited,
    /// The time is over.
    Expired,
}

impl Child {
    /// Takes over a process that leads its own group and has three pipes.
    pub(crate) fn new(mut process: std::process::Child, kill_after: Duration) -> io::Result<Self> {
        let pid = Pid::from_child(&process);
        let (stdin, stdout, stderr) = (process.stdin.take(), process.stdout.take(), process.stderr.take());
        let child = Child {
            process,
            pid,
            exit: pidfd_open(pid, PidfdFlags::empty()).ok(),
            exited: false,
            reaped: false,
            stdin,
            unsent: Vec::new(),
            last: false,
            stdout: Stream::new(stdout.map(OwnedFd::from)),
            stderr: Stream::new(stderr.map(OwnedFd::from)),
            kill_after,
        };
        // The other ends are files of their own, and stay as the program expects them.
        for pipe in [child.stdin.as_ref().map(AsFd::as_fd), child.stdout.fd(), child.stderr.fd()]
            .into_iter()
            .flatten()
        {
            ioctl_fionbio(pipe, true)?;
        }
        Ok(child)
    }

    /// Sends this to its standard input, in the steps to come.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.unsent.extend_from_slice(bytes);
    }

    /// Sends this to its standard input and closes that.
    pub(crate) fn feed_last(&mut self, bytes: &[u8]) {
        self.feed(bytes);
        self.last = true;
    }

    /// Is its standard input closed, by us or by itself?
    pub(crate) fn is_deaf(&self) -> bool {
        self.stdin.is_none()
    }

    /// Is its standard output closed?
    pub(crate) fn is_mute(&self) -> bool {
        self.stdout.pipe.is_none()
    }

    /// Has it written the beginning of a line to its standard output?
    pub(crate) fn is_amid_line(&self) -> bool {
        self.stdout.splitter.is_amid()
    }

    /// Waits for the next thing to happen, at the longest until then, or until `wake` is readable.
    pub(crate) fn step(
        &mut self,
        until: Option<Instant>,
        wake: Option<BorrowedFd<'_>>,
        on_line: &mut OnLine<'_>,
    ) -> io::Result<Step> {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) && (self.exited || !self.has_exited()) {
            return Ok(Step::Expired);
        }
        let ready = self.wait(left, wake)?;
        if ready.stdout {
            self.stdout.read(Source::Stdout, on_line);
        }
        if ready.stderr {
            self.stderr.read(Source::Stderr, on_line);
        }
        if ready.stdin {
            self.send();
        }
        if ready.exit && !self.exited && self.has_exited() {
            self.exited = true;
            self.stdin = None;
            self.read_rest(on_line);
            return Ok(Step::Exited);
        }
        Ok(Step::Moved)
    }

    /// Waits for what has exited, or soon will.
    pub(crate) fn reap(&mut self) -> io::Result<ExitStatus> {
        self.reaped = true;
        self.process.wait()
    }

    /// Closes its standard input and gives it time to leave by itself, then ends it.
    pub(crate) fn finish(&mut self, on_line: &mut OnLine<'_>) -> io::Result<ExitStatus> {
        self.stdin = None;
        self.linger(on_line, |child| child.exited);
        if self.exited { self.reap() } else { self.end(on_line) }
    }

    /// Ends its process group: TERM, and KILL when `kill_after` is over and some of it is left. Whoever left the group
    /// is not reached; whoever of it holds the output open is given the time.
    pub(crate) fn end(&mut self, on_line: &mut OnLine<'_>) -> io::Result<ExitStatus> {
        self.stdin = None;
        self.signal(Signal::TERM);
        self.linger(on_line, |child| child.exited && child.is_mute() && child.stderr.pipe.is_none());
        self.signal(Signal::KILL);
        let status = self.reap();
        self.read_rest(on_line);
        status
    }

    fn linger(&mut self, on_line: &mut OnLine<'_>, enough: fn(&Child) -> bool) {
        let until = Instant::now() + self.kill_after;
        while !enough(self) {
            if matches!(self.step(Some(until), None, on_line), Ok(Step::Expired) | Err(_)) {
                break;
            }
        }
    }

    fn signal(&self, signal: Signal) {
        match kill_process_group(self.pid, signal) {
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => log::warn!("failed to end process group {}: {error}", self.pid.as_raw_pid()),
        }
    }

    /// Leaves it to be waited for.
    fn has_exited(&self) -> bool {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        // An error says that someone else has waited for it.
        waitid(WaitId::Pid(self.pid), options).map_or(true, |status| status.is_some())
    }

    fn wait(&self, left: Option<Duration>, wake: Option<BorrowedFd<'_>>) -> io::Result<Ready> {
        let left =
            if self.exit.is_none() && !self.exited { Some(left.map_or(TICK, |l| l.min(TICK))) } else { left };
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        let stdin = self.stdin.as_ref().filter(|_| self.last || !self.unsent.is_empty()).map(AsFd::as_fd);
        let exit = self.exit.as_ref().filter(|_| !self.exited).map(AsFd::as_fd);
        let watched = [stdin, self.stdout.fd(), self.stderr.fd(), exit, wake];
        let flags = |i| if i == 0 { PollFlags::OUT } else { PollFlags::IN };
        let mut fds: Vec<PollFd<'_>> = watched
            .iter()
            .enumerate()
            .filter_map(|(i, fd)| fd.as_ref().map(|fd| PollFd::from_borrowed_fd(*fd, flags(i))))
            .collect();
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let mut seen = fds.iter().map(|fd| !fd.revents().is_empty());
        let mut ready = |fd: Option<BorrowedFd<'_>>| fd.is_some() && seen.next().unwrap_or(false);
        Ok(Ready {
            stdin: ready(stdin),
            stdout: ready(watched[1]),
            stderr: ready(watched[2]),
            exit: ready(exit) || self.exit.is_none(),
        })
    }

    fn send(&mut self) {
        let Some(stdin) = &mut self.stdin else { return };
        match stdin.write(&self.unsent) {
            Ok(sent) => drop(self.unsent.drain(..sent)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => return,
            // It does not want to read, and need not.
            Err(_) => self.stdin = None,
        }
        if self.last && self.unsent.is_empty() {
            self.stdin = None;
        }
    }

    fn read_rest(&mut self, on_line: &mut OnLine<'_>) {
        self.stdout.read_rest(Source::Stdout, on_line);
        self.stderr.read_rest(Source::Stderr, on_line);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        if !self.reaped {
            _ = self.end(&mut |_, _| {});
        }
    }
}

struct Ready {
    stdin: bool,
    stdout: bool,
    stderr: bool,
    exit: bool,
}

/// Our end of a pipe that it writes to.
#[derive(Debug)]
struct Stream {
    pipe: Option<File>,
    splitter: Splitter,
}

impl Stream {
    fn new(pipe: Option<OwnedFd>) -> Self {
        Stream { pipe: pipe.map(File::from), splitter: Splitter::default() }
    }

    fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.pipe.as_ref().map(AsFd::as_fd)
    }

    /// Reads once, and says how many bytes there were: 0 if there is nothing now, or never again.
    fn read(&mut self, source: Source, on_line: &mut OnLine<'_>) -> usize {
        let Some(pipe) = &mut self.pipe else { return 0 };
        let mut bytes = [0; 16 * 1024];
        match pipe.read(&mut bytes) {
            Ok(n) if n > 0 => {
                self.splitter.push(&bytes[..n], &mut |line| on_line(source, line));
                return n;
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => {
                self.pipe = None;
                self.splitter.finish(&mut |line| on_line(source, line));
            }
        }
        0
    }

    fn read_rest(&mut self, source: Source, on_line: &mut OnLine<'_>) {
        let mut total = 0;
        while total < LEFT {
            match self.read(source, on_line) {
                0 => break,
                n => total += n,
            }
        }
        self.splitter.finish(&mut |line| on_line(source, line));
    }
}

/// How it ended, as an error says it.
pub(crate) fn ended(status: ExitStatus) -> String {
    match status.code() {
        Some(code) => format!("exited with {code}"),
        // std's text: `signal: 9 (SIGKILL)`.
        None => format!("killed by {status}").replacen("signal:", "signal", 1),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Command, Stdio};

    use super::*;

    #[test]
    fn without_a_pidfd_the_exit_is_seen_all_the_same() {
        let mut command = Command::new("cat");
        command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = Child::new(command.spawn().unwrap(), Duration::from_secs(1)).unwrap();
        child.exit = None;
        child.feed_last(b"read");
        let mut lines = Vec::new();
        while child.step(None, None, &mut |_, line| lines.push(line.to_owned())).unwrap() != Step::Exited {}
        assert!(child.reap().unwrap().success());
        assert_eq!(lines, ["read"]);
    }
}
