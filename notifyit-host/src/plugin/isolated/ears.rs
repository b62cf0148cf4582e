//! Listens to what a process says at any time: its plugin's records, its wish that the host stop, what it asks, and its
//! stderr, line by line.

use std::fs::File;
use std::io::{self, ErrorKind, PipeReader, PipeWriter, Read, pipe};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::ioctl_fionbio;
use tracing::warn;

use super::asks::Asks;
use super::wire::{Aside, Frames, get};
use crate::plugin::{services, tickets};

/// A longer line of stderr is logged in pieces.
const LONGEST_LINE: usize = 8 * 1024;
/// As much is read of each pipe once the process has ended: what fits into a pipe. Somebody else may hold it open.
const LEFT: usize = 1024 * 1024;
/// What a plugin prints to stderr is told like a record of this level: INFO.
const LEVEL: u32 = 3;

/// The thread that listens.
#[derive(Debug)]
pub(super) struct Ears {
    thread: Option<JoinHandle<()>>,
    /// While it is open, more may come.
    open: Option<PipeWriter>,
    last_line: Arc<Mutex<String>>,
}

impl Ears {
    /// `name` is that of the instance, `context` the one that it has as a plugin.
    pub(super) fn start(
        name: &str,
        context: u64,
        [records, stderr]: [OwnedFd; 2],
        asks: UnixStream,
    ) -> io::Result<Ears> {
        let last_line = Arc::new(Mutex::new(String::new()));
        let (closed, open) = pipe()?;
        let (records, stderr) = (Some(File::from(records)), Some(File::from(stderr)));
        for pipe in [&records, &stderr].into_iter().flatten() {
            ioctl_fionbio(pipe, true)?;
        }
        let mut listener = Listener {
            context,
            records,
            stderr,
            asks: Some(Asks::new(asks)?),
            frames: Frames::default(),
            line: Vec::new(),
            last_line: Arc::clone(&last_line),
        };
        let run = move || listener.listen(&closed);
        let thread = thread::Builder::new().name(format!("{name}/ears")).spawn(run)?;
        Ok(Ears { thread: Some(thread), open: Some(open), last_line })
    }

    /// The process has ended: reads what it has left, and returns the last line of its stderr.
    pub(super) fn end(&mut self) -> String {
        self.open = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        self.last_line.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Ears {
    fn drop(&mut self) {
        self.end();
    }
}

struct Listener {
    context: u64,
    records: Option<File>,
    stderr: Option<File>,
    asks: Option<Asks>,
    frames: Frames,
    line: Vec<u8>,
    last_line: Arc<Mutex<String>>,
}

impl Listener {
    fn listen(&mut self, closed: &PipeReader) {
        loop {
            let mut all = vec![PollFd::new(closed, PollFlags::IN)];
            all.extend(
                [&self.records, &self.stderr].into_iter().flatten().map(|p| PollFd::new(p, PollFlags::IN)),
            );
            all.extend(self.asks.iter().map(Asks::polled));
            let is_over = match poll(&mut all, None) {
                Ok(_) => !all[0].revents().is_empty(),
                Err(_) => false,
            };
            let most = if is_over { LEFT } else { 1 };
            self.hear_records(most);
            self.hear_stderr(most);
            self.hear_asks();
            if is_over {
                return self.end_line();
            }
        }
    }

    /// Reads at least once, and on until there is nothing, or so many bytes have come.
    fn hear_records(&mut self, most: usize) {
        let mut read = 0;
        while read < most {
            let Some(pipe) = &mut self.records else { return };
            match self.frames.read(pipe) {
                Ok(count @ 1..) => read += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.records = None,
            }
            if self.take_records().is_err() {
                self.records = None;
                warn!(
                    "plugin `{}` writes to what is not its own; its records are lost",
                    services::instance(self.context)
                );
            }
        }
    }

    fn take_records(&mut self) -> io::Result<()> {
        while let Some(mut frame) = self.frames.next()? {
            match get(&mut frame)? {
                Aside::Record { level, message } => services::log(self.context, level, message),
                Aside::Stop { reason } => services::stop(self.context, reason),
                Aside::Completed { ticket, result } => {
                    tickets::complete(self.context, ticket, result.to_result());
                }
            }
        }
        Ok(())
    }

    fn hear_asks(&mut self) {
        if let Some(asks) = &mut self.asks
            && asks.answer(self.context).is_err()
        {
            // Whoever asks sees that.
            self.asks = None;
        }
    }

    fn hear_stderr(&mut self, most: usize) {
        let mut buffer = [0; 16 * 1024];
        let mut read = 0;
        while read < most {
            let Some(pipe) = &mut self.stderr else { return };
            match pipe.read(&mut buffer) {
                Ok(count @ 1..) => {
                    read += count;
                    self.hear(&buffer[..count]);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Ok(0) | Err(_) => self.stderr = None,
            }
        }
    }

    fn hear(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            self.line.extend_from_slice(piece);
            if piece.ends_with(b"\n") || self.line.len() >= LONGEST_LINE {
                self.end_line();
            }
        }
    }

    fn end_line(&mut self) {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end();
        if !line.is_empty() {
            services::log(self.context, LEVEL, line);
            line.clone_into(&mut self.last_line.lock().unwrap_or_else(PoisonError::into_inner));
        }
    }
}
