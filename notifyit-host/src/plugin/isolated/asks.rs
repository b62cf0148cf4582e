//! What a plugin asks of its host, and the answers: one after the other, on a way of their own.

use std::io::{self, ErrorKind, Write};
use std::os::unix::net::UnixStream;
use std::sync::{Mutex, PoisonError};

use notifyit_plugin_api::abi::RETRY;
use rustix::event::{PollFd, PollFlags};

use super::wire::{Answered, Ask, Frames, frame, garbage, get};
use crate::plugin::services::{self, Answer};

/// So many are answered before something else has its turn.
const AT_ONCE: usize = 16;

/// The host's end. It never waits for the process.
pub(super) struct Asks {
    stream: UnixStream,
    frames: Frames,
    /// Of the last answer, what the process has not taken yet. Until then it is asked nothing more.
    rest: Vec<u8>,
}

impl Asks {
    pub(super) fn new(stream: UnixStream) -> io::Result<Asks> {
        stream.set_nonblocking(true)?;
        Ok(Asks { stream, frames: Frames::default(), rest: Vec::new() })
    }

    /// What to wait for.
    pub(super) fn polled(&self) -> PollFd<'_> {
        let flags = if self.rest.is_empty() { PollFlags::IN } else { PollFlags::OUT };
        PollFd::new(&self.stream, flags)
    }

    /// Answers what is there, as the instance with this context.
    ///
    /// # Errors
    ///
    /// It is at its end, or what comes there is not asked by us.
    pub(super) fn answer(&mut self, context: u64) -> io::Result<()> {
        for _ in 0..AT_ONCE {
            if !self.send()? {
                return Ok(());
            }
            while let Some(mut body) = self.frames.next()? {
                let Ask { operation, payload } = get(&mut body)?;
                let (status, payload) = services::ask_host(context, operation, payload);
                self.rest = frame(&Answered { status, payload: &payload }, &[])?;
                if !self.send()? {
                    return Ok(());
                }
            }
            match self.frames.read(&mut self.stream) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Returns whether all is sent.
    fn send(&mut self) -> io::Result<bool> {
        while !self.rest.is_empty() {
            match self.stream.write(&self.rest) {
                Ok(count) => drop(self.rest.drain(..count)),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(true)
    }
}

/// The process's end: whoever asks waits for the answer, and the next one for them.
pub(super) struct Asking {
    way: Mutex<(UnixStream, Frames)>,
    /// Whose it is.
    process: u32,
}

impl Asking {
    pub(super) fn new(stream: UnixStream) -> Asking {
        Asking { way: Mutex::new((stream, Frames::default())), process: std::process::id() }
    }

    pub(super) fn ask(&self, operation: u32, payload: &[u8]) -> Answer {
        self.answer(operation, payload)
            .unwrap_or_else(|error| (RETRY, format!("failed to ask the host: {error}").into_bytes()))
    }

    fn answer(&self, operation: u32, payload: &[u8]) -> io::Result<Answer> {
        // What a child that the plugin has forked says here would be taken for its parent's.
        if std::process::id() != self.process {
            return Err(io::Error::other("only the plugin's process itself may ask it, not a child"));
        }
        let mut way = self.way.lock().unwrap_or_else(PoisonError::into_inner);
        let (stream, frames) = &mut *way;
        stream.write_all(&frame(&Ask { operation, payload }, &[])?)?;
        loop {
            if let Some(mut body) = frames.next()? {
                let Answered { status, payload } = get(&mut body)?;
                return Ok((status, payload.to_vec()));
            }
            match frames.read(stream) {
                Ok(0) => return Err(garbage()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}
