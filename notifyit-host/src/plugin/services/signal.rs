//! An instance is to come to its end.
//!
//! A pipe, for the other end of it may lie in another process: what can be read there is the signal. Nobody reads it. In a
//! process there are two, its host's and its own.

use std::fmt;
use std::io::{self, PipeReader, PipeWriter, Write, pipe};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::ioctl_fionbio;

pub(in crate::plugin) struct Signal {
    reader: PipeReader,
    /// Until it is raised.
    writer: Mutex<Option<PipeWriter>>,
    /// In a process: what its host raises.
    of_host: Option<PipeReader>,
}

impl Signal {
    pub(super) fn new() -> io::Result<Signal> {
        let (reader, writer) = pipe()?;
        // A plugin that is its own enemy may have filled it: then it is raised, and nobody waits.
        ioctl_fionbio(&writer, true)?;
        Ok(Signal { reader, writer: Mutex::new(Some(writer)), of_host: None })
    }

    /// In a process: raised by its host, too.
    pub(in crate::plugin) fn of_host(reader: PipeReader) -> io::Result<Signal> {
        Ok(Signal { of_host: Some(reader), ..Signal::new()? })
    }

    /// For a process.
    pub(super) fn reader(&self) -> io::Result<PipeReader> {
        self.reader.try_clone()
    }

    pub(super) fn raise(&self) {
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut writer) = writer {
            // A child that a plugin has forked may hold the pipe open. There is room: it is the first byte.
            let _ = writer.write(&[1]);
        }
    }

    /// Is it raised, or within that time?
    pub(super) fn is_raised_within(&self, time: Duration) -> bool {
        let since = Instant::now();
        loop {
            let left = time.saturating_sub(since.elapsed());
            let timeout = Timespec::try_from(left).ok();
            let own = PollFd::new(&self.reader, PollFlags::IN);
            let of_host = self.of_host.as_ref().map_or(own.clone(), |host| PollFd::new(host, PollFlags::IN));
            match poll(&mut [own, of_host], timeout.as_ref()) {
                Ok(0) if left.is_zero() => return false,
                Ok(0) | Err(rustix::io::Errno::INTR) => {}
                Ok(_) => return true,
                Err(_) => return false,
            }
        }
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Signal")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::OpenOptions;
    use std::os::fd::AsRawFd;
    use std::os::unix::fs::OpenOptionsExt;

    #[test]
    fn who_raises_it_does_not_wait_though_it_is_full() {
        let signal = Signal::new().unwrap();
        // What a process can do that has but the reader.
        let path = format!("/proc/self/fd/{}", signal.reader.as_raw_fd());
        let nonblocking = i32::try_from(rustix::fs::OFlags::NONBLOCK.bits()).unwrap();
        let mut pipe = OpenOptions::new().write(true).custom_flags(nonblocking).open(path).unwrap();
        while pipe.write(&[0; 4096]).is_ok() {}
        signal.raise();
        assert!(signal.is_raised_within(Duration::ZERO));
    }
}
