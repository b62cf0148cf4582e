//! The end of a process: waits for it, and kills what is left of its session.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{self, Child, ExitStatus};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process, kill_process_group, pidfd_open,
    pidfd_send_signal, waitid,
};
use signal_hook::low_level::signal_name;

/// A process that was killed is gone within this time, unless it waits for a disk or a server.
const GONE_WITHIN: Duration = Duration::from_secs(2);
/// How often is looked where no descriptor tells.
const TICK: Duration = Duration::from_millis(1);

/// A child that leads a session of its own. It is not waited for before its session needs no signal any more: until then
/// its number is its own.
#[derive(Debug)]
pub(super) struct Leader {
    child: Child,
    pid: Pid,
    /// Readable when it has ended.
    exit: Option<OwnedFd>,
    status: Option<ExitStatus>,
}

impl Leader {
    pub(super) fn new(child: Child) -> Leader {
        let pid = Pid::from_child(&child);
        Leader { exit: pidfd_open(pid, PidfdFlags::empty()).ok(), child, pid, status: None }
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Waits until it has ended by itself, for so long at most, then kills it and what it has left. Returns how it ended;
    /// `None` if it cannot be killed at present.
    pub(super) fn end(&mut self, patience: Duration) -> Option<ExitStatus> {
        if self.status.is_some() {
            return self.status;
        }
        self.wait(Instant::now() + patience);
        let _ = kill_process_group(self.pid, Signal::KILL);
        let _ = kill_process(self.pid, Signal::KILL);
        kill_session(self.pid);
        if self.wait(Instant::now() + GONE_WITHIN) {
            // What it forked while the others were looked for.
            kill_session(self.pid);
            if process::id() == 1 {
                reap_session(self.pid);
            }
            self.status = self.child.wait().ok();
        }
        self.status
    }

    /// Has it ended by itself by then?
    pub(super) fn has_ended_within(&self, patience: Duration) -> bool {
        self.status.is_some() || self.wait(Instant::now() + patience)
    }

    fn wait(&self, until: Instant) -> bool {
        loop {
            if self.has_ended() {
                return true;
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            match &self.exit {
                Some(exit) => {
                    let left = Timespec::try_from(left).ok();
                    let _ = poll(&mut [PollFd::new(exit, PollFlags::IN)], left.as_ref());
                }
                None => thread::sleep(left.min(TICK)),
            }
        }
    }

    fn has_ended(&self) -> bool {
        let how = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        !matches!(waitid(WaitId::Pid(self.pid), how), Ok(None))
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// Who has made a session of his own is out of reach.
fn kill_session(leader: Pid) {
    const ROUNDS: usize = 16;
    for _ in 0..ROUNDS {
        // All, before the first is killed: those that are left could fork meanwhile.
        let members: Vec<Pid> = members(leader).into_iter().filter(|pid| is_alive_in(*pid, leader)).collect();
        if members.iter().filter(|member| kill_member(**member, leader)).count() == 0 {
            return;
        }
    }
}

/// Waits for those who are left of a session that was killed. They are children of this process only if it is the first
/// one, as it may be in a container: then nobody else does, and each would keep its number for ever.
fn reap_session(leader: Pid) {
    let until = Instant::now() + GONE_WITHIN;
    loop {
        let members = members(leader);
        for member in &members {
            let _ = waitid(WaitId::Pid(*member), WaitIdOptions::EXITED | WaitIdOptions::NOHANG);
        }
        if members.is_empty() || Instant::now() >= until {
            return;
        }
        thread::sleep(TICK);
    }
}

/// Those of a session beside its leader, who may have ended.
fn members(leader: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    pids.filter(|pid| *pid != leader && state_in(*pid, leader).is_some()).collect()
}

/// Its number may be another's since it was found.
fn kill_member(member: Pid, leader: Pid) -> bool {
    match pidfd_open(member, PidfdFlags::empty()) {
        Ok(process) => is_alive_in(member, leader) && pidfd_send_signal(process, Signal::KILL).is_ok(),
        Err(Errno::NOSYS | Errno::PERM) => kill_process(member, Signal::KILL).is_ok(),
        Err(_) => false,
    }
}

fn is_alive_in(pid: Pid, leader: Pid) -> bool {
    !matches!(state_in(pid, leader), None | Some('Z' | 'X'))
}

/// Its state, if it is in that session. By `/proc/PID/stat`, where the name may hold anything but ends in the last `)`.
fn state_in(pid: Pid, leader: Pid) -> Option<char> {
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next();
    let session = fields.nth(2)?.parse().ok();
    state.filter(|_| session == Some(leader.as_raw_nonzero().get()))
}

/// Was it ended by the limit of its processor time?
pub(super) fn is_spent(status: Option<ExitStatus>) -> bool {
    status.and_then(|status| status.signal()) == Some(libc::SIGXCPU)
}

/// How it ended, to follow `its process`.
pub(super) fn describe(status: Option<ExitStatus>) -> String {
    let Some(status) = status else {
        return "cannot be killed: it waits for a disk or a server".to_owned();
    };
    match status.signal() {
        Some(signal) => {
            let name = signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned);
            format!("died of {name}")
        }
        None => format!("ended with exit status {}", status.code().unwrap_or_default()),
    }
}

/// What a child of ours may write its answers to: not a description that it shares with us, where it could, by a flag,
/// have our own writes fail. Files are shared all the same, for two positions in one would overwrite each other; there
/// the flag has no effect.
pub(super) fn stdout_of_its_own() -> io::Result<OwnedFd> {
    use rustix::fs::{FileType, Mode, OFlags, fcntl_setfl, fstat, open};
    let ours = rustix::stdio::stdout();
    let kind = FileType::from_raw_mode(fstat(ours)?.st_mode);
    if matches!(kind, FileType::Fifo | FileType::CharacterDevice) {
        // Without the flag this would wait for a reader.
        let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK;
        if let Ok(own) = open("/proc/self/fd/1", flags, Mode::empty()) {
            fcntl_setfl(&own, OFlags::empty())?;
            return Ok(own);
        }
    }
    ours.try_clone_to_owned()
}
