//! Harm to what a process has but once, and by processes.

use std::ptr;

use notifyit_plugin_api::{Context, Result, bail};

use crate::harms::done;

/// How many seconds a child lives that is left behind: so that it is gone soon after the test.
const LIFE: u32 = 3;

/// By way of the own thread, so that nothing of it runs on. Returns 0.
pub(crate) fn signal_itself(signal: i32) -> i32 {
    // SAFETY: it touches no memory.
    unsafe { libc::raise(signal) }
}

pub(crate) fn block_signals() -> Result<()> {
    // SAFETY: the set is filled before it is read.
    unsafe {
        let mut all = std::mem::zeroed();
        libc::sigfillset(&mut all);
        done(libc::pthread_sigmask(libc::SIG_BLOCK, &all, ptr::null_mut()))
    }
}

pub(crate) fn ignore_signals() -> Result<()> {
    for signal in [libc::SIGTERM, libc::SIGINT, libc::SIGCHLD] {
        // SAFETY: to ignore a signal runs no code.
        unsafe { libc::signal(signal, libc::SIG_IGN) };
    }
    Ok(())
}

pub(crate) fn alarm() -> Result<()> {
    // SAFETY: it touches no memory.
    done(unsafe { libc::alarm(1) })
}

pub(crate) fn limit_descriptors() -> Result<()> {
    let limit = libc::rlimit { rlim_cur: 8, rlim_max: 8 };
    // SAFETY: the structure is read alone.
    done(unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &limit) })
}

pub(crate) fn change_directory() -> Result<()> {
    Ok(std::env::set_current_dir("/")?)
}

pub(crate) fn change_umask() -> Result<()> {
    // SAFETY: it touches no memory.
    done(unsafe { libc::umask(0) })
}

pub(crate) fn change_environment() -> Result<()> {
    for (name, value) in [("PATH", "/nowhere"), ("TZ", "Antarctica/Troll")] {
        // SAFETY: none: other threads may be reading it.
        unsafe { std::env::set_var(name, value) };
    }
    Ok(())
}

pub(crate) fn lower_priority() -> Result<()> {
    // SAFETY: it touches no memory.
    done(unsafe { libc::nice(19) })
}

pub(crate) fn become_nobody() -> Result<()> {
    // SAFETY: it touches no memory of ours.
    let changed = unsafe { libc::setgid(65534) + libc::setuid(65534) };
    if changed != 0 {
        bail!("only root may become another user")
    }
    Ok(())
}

/// As many children, which do nothing for a while.
pub(crate) fn fork(count: u32) -> Result<()> {
    for _ in 0..count {
        // SAFETY: the child calls nothing that is not safe after a fork.
        unsafe {
            if libc::fork() == 0 {
                live_on(LIFE);
            }
        }
    }
    Ok(())
}

/// In a session of its own, and nobody's child.
/// One that outlives the patience of a test.
pub(crate) fn fork_for_long() {
    // SAFETY: the child calls nothing that is not safe after a fork.
    unsafe {
        if libc::fork() == 0 {
            live_on(60);
        }
    }
}

/// As whoever forgets that a program which cannot be started leaves a child that returns.
pub(crate) fn fork_and_go_on() -> Result<()> {
    // SAFETY: none.
    done(unsafe { libc::fork() })
}

pub(crate) fn daemon() -> Result<()> {
    // SAFETY: the children call nothing that is not safe after a fork.
    unsafe {
        let child = libc::fork();
        if child == 0 {
            libc::setsid();
            if libc::fork() == 0 {
                live_on(LIFE);
            }
            libc::_exit(0);
        }
        done(libc::waitpid(child, ptr::null_mut(), 0))
    }
}

fn live_on(seconds: u32) -> ! {
    // SAFETY: these touch no memory.
    unsafe {
        libc::alarm(seconds);
        loop {
            libc::pause();
        }
    }
}

/// If that is a host. Else it is the test.
pub(crate) fn kill_the_parent() -> Result<()> {
    let parent = std::os::unix::process::parent_id();
    let name = std::fs::read_to_string(format!("/proc/{parent}/comm")).context("no parent")?;
    if name.trim() != "notifyit" {
        bail!("the parent process is {name:?}");
    }
    // SAFETY: it touches no memory.
    done(unsafe { libc::kill(i32::try_from(parent)?, libc::SIGKILL) })
}
