//! What a worker process takes from itself before it loads its plugin.
//!
//! The order matters: what needs rights comes before they are given up, and what the kernel forgets when a process
//! changes its user comes after that.
//!
//! | file | holds |
//! |---|---|
//! | `user` | another user, and no capabilities |
//! | `sandbox` | what of the machine is left, by Landlock |

use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use rustix::fs::Mode;
use rustix::process::{
    Resource, Rlimit, Signal, geteuid, getppid, getrlimit, set_parent_process_death_signal, setrlimit,
    setsid, umask,
};
use rustix::thread::set_no_new_privs;

use crate::config::{Confinement, Limits};

mod sandbox;
mod user;
#[cfg(test)]
mod tests;

/// How willingly the kernel kills a worker when memory is short; a host is at 0 unless somebody has said otherwise.
const OOM_SCORE: i32 = 500;

/// Confines this process for good, and returns what a person should know of it, a line each.
///
/// Call it while the process has one thread, and before any code of the plugin is loaded: `library` is that code, open
/// for reading, and stays loadable by its descriptor. `roots` are the watched directories. The process must not lead
/// a process group yet (it begins a session). `host` is the process id of its parent, with which it dies; for the
/// kernel the parent is the *thread* that started it, which must therefore live as long as the worker is to.
///
/// # Errors
///
/// Why the plugin cannot be run so, in one line. The process may be confined in part then, and is good for nothing.
pub fn confine(
    confinement: &Confinement,
    roots: &[PathBuf],
    host: u32,
    library: impl AsFd,
) -> Result<Vec<String>, String> {
    let failed = |what: &'static str| move |error: io::Error| format!("failed to {what}: {error}");
    let mut notices = Vec::new();
    setsid().map_err(|error| failed("begin a session of its own")(error.into()))?;
    set_no_new_privs(true).map_err(|error| failed("set no_new_privs")(error.into()))?;
    if let Err(error) = die_before_the_host() {
        notices.push(failed("set /proc/self/oom_score_adj")(error));
    }
    limit(&confinement.limits)?;
    if let Some(mask) = confinement.umask {
        umask(Mode::from_raw_mode(mask));
    }
    if let Some(user) = &confinement.user {
        user::become_user(user)?;
    }
    if geteuid().is_root() {
        notices.extend(what_root_escapes(confinement));
    }
    if let Some(sandbox) = &confinement.sandbox {
        user::keep_only(sandbox::capabilities(sandbox)).map_err(failed("give up capabilities"))?;
    }
    die_with(host)?;
    if let Some(sandbox) = &confinement.sandbox {
        notices.extend(sandbox::enter(sandbox, roots, library.as_fd())?);
    }
    Ok(notices)
}

/// Could a worker process be confined so, as far as this process can tell? Returns what a person should know of it, a line
/// each. (What the user may not reach that is named in the sandbox, only the worker knows.)
///
/// # Errors
///
/// Why the plugin cannot be run so, in one line that begins with where that was written.
pub fn check(confinement: &Confinement, roots: &[PathBuf]) -> Result<Vec<String>, String> {
    let mut notices = Vec::new();
    match &confinement.user {
        Some(user) => user::check(user).map_err(|why| format!("{}: {why}", confinement.written.user))?,
        None if geteuid().is_root() => notices.extend(what_root_escapes(confinement)),
        None => {}
    }
    if let Some(sandbox) = &confinement.sandbox {
        let tried = sandbox::check(sandbox, roots);
        notices.extend(tried.map_err(|why| format!("{}: {why}", confinement.written.sandbox))?);
    }
    Ok(notices)
}

/// Closes every descriptor but the standard ones and these: what whoever started the host has left open.
///
/// Call it before anything else: it closes what others in this process may own.
///
/// # Errors
///
/// `/proc` cannot be read.
pub fn close_others(keep: &[RawFd]) -> io::Result<()> {
    let open = fs::read_dir("/proc/self/fd")?;
    let open: Vec<RawFd> = open.flatten().filter_map(|fd| fd.file_name().to_str()?.parse().ok()).collect();
    for fd in open.into_iter().filter(|fd| *fd > io::stderr().as_raw_fd() && !keep.contains(fd)) {
        // The directory's own is closed already.
        let _ = nix::unistd::close(fd);
    }
    Ok(())
}

/// Never less willingly than it is already: only root may ask for that.
fn die_before_the_host() -> io::Result<()> {
    const FILE: &str = "/proc/self/oom_score_adj";
    let now: i32 = fs::read_to_string(FILE)?.trim().parse().map_err(io::Error::other)?;
    if now < OOM_SCORE {
        fs::write(FILE, OOM_SCORE.to_string())?;
    }
    Ok(())
}

fn what_root_escapes(confinement: &Confinement) -> impl Iterator<Item = String> {
    let limits = "limits.processes does not bind root; add a user";
    let sandbox = "a sandbox does not hold root, which may change permissions everywhere; add a user";
    let limits = confinement.limits.processes.map(|_| limits.to_owned());
    limits.into_iter().chain(confinement.sandbox.as_ref().map(|_| sandbox.to_owned()))
}

fn limit(limits: &Limits) -> Result<(), String> {
    // 0 would do for a file; only 1 keeps the kernel from handing the core to a program (`core_pattern` with a pipe).
    at_most(Resource::Core, "core", 1, 1)?;
    if let Some(bytes) = limits.memory {
        at_most(Resource::As, "memory", bytes, bytes)?;
    }
    if let Some(count) = limits.open_files {
        at_most(Resource::Nofile, "open_files", count, count)?;
    }
    if let Some(count) = limits.processes {
        at_most(Resource::Nproc, "processes", count, count)?;
    }
    if let Some(bytes) = limits.file_size {
        // With a handler for the signal a write that is too long fails; without one it ends the process.
        signal_hook::flag::register(libc::SIGXFSZ, Arc::new(AtomicBool::new(false)))
            .map_err(|error| format!("failed to catch SIGXFSZ: {error}"))?;
        at_most(Resource::Fsize, "file_size", bytes, bytes)?;
    }
    if let Some(time) = limits.cpu {
        let seconds = time.as_secs() + u64::from(time.subsec_nanos() > 0);
        // The second more makes it end by SIGXCPU, which says why, and not by SIGKILL.
        at_most(Resource::Cpu, "cpu", seconds, seconds + 1)?;
    }
    Ok(())
}

/// Never more than the host may.
fn at_most(resource: Resource, name: &str, soft: u64, hard: u64) -> Result<(), String> {
    let most = getrlimit(resource).maximum.unwrap_or(u64::MAX);
    let limit = Rlimit { current: Some(soft.min(most)), maximum: Some(hard.min(most)) };
    setrlimit(resource, limit).map_err(|error| format!("failed to set limits.{name}: {error}"))
}

/// Asked for last of all that changes rights: the kernel forgets it then.
fn die_with(host: u32) -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| format!("failed to ask for a signal at the host's end: {error}"))?;
    // A host that ended before that was asked for sends no signal any more.
    match getppid().and_then(|parent| u32::try_from(parent.as_raw_nonzero().get()).ok()) {
        Some(parent) if parent == host => Ok(()),
        _ => Err("its host has ended".to_owned()),
    }
}
