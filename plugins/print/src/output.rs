//! Standard output without a buffer of its own, shared by every instance of this library.

use std::fs::File;
use std::io::{self, ErrorKind, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use notifyit_plugin_api::{Context, Result, bail};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::io::Errno;

/// The rest of a line that an error has torn: it goes first when writing works again. The lock keeps the lines of
/// several instances whole.
pub(crate) type Torn = Mutex<Vec<u8>>;

static STDOUT: Torn = Mutex::new(Vec::new());

/// Where the lines go: a file, and in tests a disk that fills up.
#[derive(Debug)]
pub(crate) struct Output<W = File> {
    file: W,
    torn: &'static Torn,
}

/// A write that failed, after so many bytes.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) written: usize,
    pub(crate) error: io::Error,
}

impl Output {
    /// The process's standard output.
    pub(crate) fn stdout() -> Result<Self> {
        let stdout = io::stdout();
        let file = stdout.as_fd().try_clone_to_owned().context("failed to open standard output")?;
        let mode = fcntl_getfl(&file).context("failed to look at standard output")? & OFlags::RWMODE;
        if mode != OFlags::WRONLY && mode != OFlags::RDWR {
            bail!("failed to open standard output: it is not open for writing");
        }
        Ok(Output { file: file.into(), torn: &STDOUT })
    }

    pub(crate) fn is_terminal(&self) -> bool {
        self.file.is_terminal()
    }
}

impl<W: Write + AsFd> Output<W> {
    #[cfg(test)]
    pub(crate) fn new(file: W, torn: &'static Torn) -> Self {
        Output { file, torn }
    }

    /// Writes what is owed and then all of this, waiting as long as a reader takes.
    pub(crate) fn write_all(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        let mut torn = lock(self.torn);
        let rest = write_all(&mut self.file, &torn);
        let done = rest.as_ref().map_or_else(|failure| failure.written, |()| torn.len());
        torn.drain(..done);
        rest.map_err(|failure| Failure { written: 0, ..failure })?;
        write_all(&mut self.file, bytes)
    }

    /// Notes what must be written before anything else.
    pub(crate) fn owe(&mut self, rest: &[u8]) {
        lock(self.torn).extend_from_slice(rest);
    }
}

fn lock(torn: &Torn) -> MutexGuard<'_, Vec<u8>> {
    torn.lock().unwrap_or_else(PoisonError::into_inner)
}

fn write_all<W: Write + AsFd>(file: &mut W, bytes: &[u8]) -> Result<(), Failure> {
    let mut written = 0;
    while written < bytes.len() {
        match file.write(&bytes[written..]) {
            Ok(0) => return Err(Failure { written, error: ErrorKind::WriteZero.into() }),
            Ok(n) => written += n,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                wait(file).map_err(|error| Failure { written, error })?;
            }
            Err(error) => return Err(Failure { written, error }),
        }
    }
    Ok(())
}

/// Someone made standard output non-blocking: waits as a blocking write would.
fn wait(file: &impl AsFd) -> io::Result<()> {
    match poll(&mut [PollFd::new(file, PollFlags::OUT)], None) {
        Ok(_) | Err(Errno::INTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
