//! What the child does.

use std::convert::Infallible;
use std::fs::File;
use std::io::{self, Write, stdout};
use std::path::Path;

use anyhow::Result;
use rustix::io::fcntl_dupfd_cloexec;
use rustix::process::{Resource, Rlimit, Signal, getppid, set_parent_process_death_signal, setrlimit};
use rustix::stdio::dup2_stdout;
use signal_hook::low_level::exit;

use super::super::load;
use super::{Answer, Said, VERSION};

/// Loads the library on stdin for the host with this process id, answers on stdout, and ends the process.
///
/// # Errors
///
/// The answer cannot be written.
pub fn answer(host: u32) -> Result<Infallible> {
    if let Err(error) = prepare(host) {
        give(&mut stdout(), Said::Unable(error.to_string()))?;
    }
    let mut to = match own_stdout() {
        Ok(to) => to,
        Err(error) => return give(&mut stdout(), Said::Unable(error.to_string())),
    };
    let said = match load::try_out(Path::new("/proc/self/fd/0")) {
        Ok(info) => Said::Sound(info),
        Err((step, reason)) => Said::Refused { step, reason },
    };
    give(&mut to, said)
}

/// Ends without exit handlers: the plugin has had its say.
fn give(to: &mut impl Write, said: Said) -> Result<Infallible> {
    let bytes = serde_json::to_vec(&Answer { v: VERSION, said })?;
    to.write_all(&bytes).and_then(|()| to.flush())?;
    exit(0)
}

/// Dies with the host, and leaves no core: the host's operator did not crash anything.
fn prepare(host: u32) -> io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // A host that ended before that was asked for sends no signal any more.
    if getppid().is_none_or(|parent| u32::try_from(parent.as_raw_nonzero().get()) != Ok(host)) {
        exit(0);
    }
    // 0 would do for a file; only 1 keeps the kernel from handing the core to a program (`core_pattern` with a pipe).
    setrlimit(Resource::Core, Rlimit { current: Some(1), maximum: Some(1) })?;
    Ok(())
}

/// The answer's way, which the plugin does not know; what it prints to stdout goes nowhere.
fn own_stdout() -> io::Result<File> {
    let own = fcntl_dupfd_cloexec(stdout(), 3)?;
    dup2_stdout(File::options().write(true).open("/dev/null")?)?;
    Ok(File::from(own))
}
