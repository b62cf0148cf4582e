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

    /// Answers what is there, as the instance with this context; not without end. (Who asks waits for the answer: what is left
    /// behind that comes of no plugin that is in its senses.)
    ///
    /// # Errors
    ///
    /// It is at its end, or what comes there is not asked by us.
    pub(super) fn answer(&mut self, context: u64) -> io::Result<()> {
        for _ in 0..AT_ONCE {
            if !self.send()? {
                return Ok(());
            }
            if let Some(mut body) = self.frames.next()? {
                let Ask { operation, payload } = get(&mut body)?;
                let (status, payload) = services::ask_host(context, operation, payload);
                self.rest = frame(&Answered { status, payload: &payload }, &[])?;
                continue;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Services;
    use notifyit_plugin_api::abi::asks::{STORE_GET, STORE_PUT, pair};
    use notifyit_plugin_api::abi::{DONE, UNKNOWN_OPERATION};
    use std::thread;

    /// A process that does this, and the host's end, until the other is gone.
    fn answered(process: impl FnOnce(UnixStream) + Send) -> io::Error {
        let dir = tempfile::tempdir().unwrap();
        let entry = Services::with_state(|_, _| {}, Some(dir.path())).grant("p").enter().unwrap();
        let (host, theirs) = UnixStream::pair().unwrap();
        let mut asks = Asks::new(host).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| process(theirs));
            loop {
                rustix::event::poll(&mut [asks.polled()], None).unwrap();
                if let Err(error) = asks.answer(entry.context()) {
                    // Whoever waits for an answer is to see it.
                    drop(asks);
                    return error;
                }
            }
        })
    }

    #[test]
    fn each_thread_of_a_process_gets_its_own_answer_whatever_its_length() {
        let end = answered(|stream| {
            let asking = Asking::new(stream);
            thread::scope(|scope| {
                for n in 0..4_u8 {
                    let asking = &asking;
                    scope.spawn(move || {
                        let value = vec![n; 300_000];
                        for _ in 0..3 {
                            assert_eq!(asking.ask(STORE_PUT, &pair(&[n], &value)), (DONE, vec![]));
                            assert_eq!(asking.ask(STORE_GET, &[n]), (DONE, [&[1], &value[..]].concat()));
                        }
                    });
                }
            });
            assert_eq!(asking.ask(999, b"").0, UNKNOWN_OPERATION);
        });
        assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    }

    #[test]
    fn garbage_ends_it_and_who_waits_hears_of_that() {
        let end = answered(|mut stream| {
            stream.write_all(&[0xff; 64]).unwrap();
            let (status, message) = Asking::new(stream).ask(STORE_GET, b"k");
            assert_eq!(status, RETRY);
            assert!(String::from_utf8(message).unwrap().starts_with("failed to ask the host: "));
        });
        assert_eq!(end.kind(), ErrorKind::InvalidData);
    }
}
