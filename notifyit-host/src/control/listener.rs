//! The thread that answers. Whoever asks may say nothing, say too much, or not read: each has a few seconds, and gives
//! way to newer ones. Nothing here waits for one of them.

use std::io::{ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use tracing::error;

use super::facts::Facts;
use super::place::{Place, Spot};

/// So many connections at once. When another comes, the oldest is closed.
const MOST: usize = 8;
/// So long a connection may take, to ask and to read the answer.
const WITHIN: Duration = Duration::from_secs(5);
/// No request is longer.
const LONGEST: usize = 64;
/// Without a descriptor for it, a connection waits so long.
const PAUSE: Duration = Duration::from_millis(100);

/// The control socket of a host. Its drop ends the thread, and removes the socket.
#[derive(Debug)]
pub struct Control {
    /// For who leaves without its drop.
    pub spot: Arc<Spot>,
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Control {
    /// Answers at this path from now on.
    ///
    /// # Errors
    ///
    /// Another host answers there; the socket cannot be made.
    pub fn start(path: &Path, facts: Arc<Facts>) -> Result<Control> {
        let place = Place::claim(path)?;
        let spot = Arc::clone(&place.spot);
        let stop = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let stopped = Arc::clone(&stop);
        let answer = move || {
            let status = serde_json::to_vec(&facts.status(Instant::now())).unwrap_or_default();
            [status.as_slice(), b"\n"].concat()
        };
        let run = move || Talks { place, open: Vec::new(), answer }.run(&stopped);
        let thread = thread::Builder::new().name("control".into()).spawn(run);
        Ok(Control { spot, stop, thread: Some(thread.context("failed to start a thread")?) })
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            error!("the control socket has panicked");
        }
    }
}

/// All connections.
struct Talks<A> {
    place: Place,
    open: Vec<Talk>,
    answer: A,
}

/// One connection.
struct Talk {
    stream: UnixStream,
    until: Instant,
    asked: Vec<u8>,
    /// What is to be written, and how much of it is.
    answer: Option<(Vec<u8>, usize)>,
}

/// How far a connection is.
#[derive(Debug, PartialEq, Eq)]
enum Turn {
    Waits,
    IsOver,
}

impl<A: Fn() -> Vec<u8>> Talks<A> {
    fn run(mut self, stop: &OwnedFd) {
        let mut deaf_until: Option<Instant> = None;
        loop {
            let now = Instant::now();
            deaf_until = deaf_until.filter(|until| *until > now);
            let next = self.open.iter().map(|talk| talk.until).chain(deaf_until).min();
            if self.wait(stop, deaf_until.is_none(), next.map(|at| at.saturating_duration_since(now))) {
                return;
            }
            if deaf_until.is_none() && !self.accept() {
                deaf_until = Some(Instant::now() + PAUSE);
            }
            let now = Instant::now();
            let answer = &self.answer;
            self.open.retain_mut(|talk| talk.until > now && talk.turn(answer) == Turn::Waits);
        }
    }

    /// Returns whether it is time to stop.
    fn wait(&self, stop: &OwnedFd, listens: bool, patience: Option<Duration>) -> bool {
        let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
        let listen = if listens { PollFlags::IN } else { PollFlags::empty() };
        let mut all = vec![PollFd::new(stop, PollFlags::IN), PollFd::new(&self.place.listener, listen)];
        all.extend(
            self.open.iter().map(|talk| PollFd::from_borrowed_fd(talk.stream.as_fd(), talk.waits_for())),
        );
        let _ = poll(&mut all, patience.as_ref());
        !all[0].revents().is_empty()
    }

    /// Takes in who has come. Returns whether there was a descriptor for each.
    fn accept(&mut self) -> bool {
        for _ in 0..MOST {
            match self.place.listener.accept() {
                Ok((stream, _)) => {
                    if stream.set_nonblocking(true).is_err() {
                        continue;
                    }
                    if self.open.len() >= MOST {
                        self.open.remove(0);
                    }
                    self.open.push(Talk::new(stream));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

impl Talk {
    fn new(stream: UnixStream) -> Talk {
        Talk { stream, until: Instant::now() + WITHIN, asked: Vec::new(), answer: None }
    }

    fn waits_for(&self) -> PollFlags {
        if self.answer.is_some() { PollFlags::OUT } else { PollFlags::IN }
    }

    /// As far as it goes without waiting.
    fn turn(&mut self, answer: impl Fn() -> Vec<u8>) -> Turn {
        if self.answer.is_none() {
            match self.listen() {
                Some(true) => self.answer = Some((reply(&self.asked, answer), 0)),
                Some(false) => return Turn::Waits,
                None => return Turn::IsOver,
            }
        }
        self.speak()
    }

    /// Is the request whole? `None`: there is none.
    fn listen(&mut self) -> Option<bool> {
        let mut buffer = [0; LONGEST];
        loop {
            if self.asked.contains(&b'\n') || self.asked.len() > LONGEST {
                return Some(true);
            }
            match self.stream.read(&mut buffer) {
                Ok(0) => return (!self.asked.is_empty()).then_some(true),
                Ok(count) => self.asked.extend(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Some(false),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return None,
            }
        }
    }

    fn speak(&mut self) -> Turn {
        let Some((answer, sent)) = &mut self.answer else { return Turn::IsOver };
        while *sent < answer.len() {
            match self.stream.write(&answer[*sent..]) {
                Ok(count) => *sent += count,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Turn::Waits,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => return Turn::IsOver,
            }
        }
        Turn::IsOver
    }
}

fn reply(asked: &[u8], status: impl Fn() -> Vec<u8>) -> Vec<u8> {
    let line = asked.split(|byte| *byte == b'\n').next().unwrap_or_default();
    match line.trim_ascii_end() {
        b"status" => status(),
        _ => b"{\"v\":1,\"error\":\"unknown request; this host knows `status`\"}\n".to_vec(),
    }
}
