//! Telling that everything which the kernel had queued at some moment has been read and decoded.
//!
//! The kernel says how many bytes its queue holds (`FIONREAD`), and the queue is first in, first out: when that many
//! more bytes have been read, everything that was in it is behind us. That needs no watch of its own and cannot be
//! swallowed by a full queue. An empty queue passes every fence.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::closes::{Counts, OnClose};
use super::roots::{Standing, Standings};
use super::unreached::Unreached;
use rustix::event::{EventfdFlags, eventfd};

/// What other threads may ask of the source.
#[derive(Debug)]
pub(super) enum Request {
    /// Call back when all that is queued now has been decoded.
    Fence(Reply),
    /// Something was missing: are the roots still the same?
    CheckRoots,
    /// A rescan has not found these directories.
    LookFor(Unreached),
    /// Other plugins run than before. Call back when events go by that.
    LineupChanged(Reply),
    /// Ring when something happens in one of these directories, and in no other.
    Listen(Vec<PathBuf>, Bell),
    /// Call back when a writer closes this file.
    WatchClose {
        /// What it is forgotten by.
        id: u64,
        /// The file, as a place alone.
        file: OwnedFd,
        /// With the `id`.
        reply: OnClose,
    },
    /// That is not waited for any more.
    ForgetClose(u64),
    /// Read what is queued now, then leave.
    Stop,
}

/// Called on the source's thread; must not wait.
pub(super) struct Reply(pub(super) Box<dyn FnOnce() + Send>);

/// Rung on the source's thread, any number of times; must not wait.
pub(super) struct Bell(pub(super) Box<dyn Fn() + Send>);

impl fmt::Debug for Bell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Bell")
    }
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reply")
    }
}

/// The way to ask something of the source, from any thread. At most one fence per worker is under
/// way, and the files whose close is waited for are bounded.
#[derive(Debug, Clone)]
pub struct SourceHandle {
    requests: Arc<Mutex<Vec<Request>>>,
    wake: Arc<OwnedFd>,
    pub(super) counts: Arc<Counts>,
    pub(super) roots: Arc<Standings>,
}

impl SourceHandle {
    /// # Errors
    ///
    /// No descriptor left.
    pub fn new() -> io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(SourceHandle {
            requests: Arc::default(),
            wake: Arc::new(wake),
            counts: Arc::default(),
            roots: Arc::default(),
        })
    }

    /// Calls back, on the source's thread, when all that the kernel has queued by now has been decoded. A source that
    /// has stopped never calls back.
    pub fn fence(&self, reply: impl FnOnce() + Send + 'static) {
        self.send(Request::Fence(Reply(Box::new(reply))));
    }

    /// Something that is known was not at its path: asks the source whether the roots are still the same. It is found
    /// out before a fence that is set after this is passed.
    pub fn check_roots(&self) {
        self.send(Request::CheckRoots);
    }

    /// Other plugins run than before. Calls back, on the source's thread, when each event that it reads goes by that, and
    /// the kernel tells of what they ask for.
    pub fn lineup_changed(&self, reply: impl FnOnce() + Send + 'static) {
        self.send(Request::LineupChanged(Reply(Box::new(reply))));
    }

    /// Rings, on the source's thread, when an entry of one of these directories has come, gone or changed; what was
    /// listened to before is not any more. Rings at once for one that is new, since when everything is heard. A hint: what
    /// is not told is to be found by looking.
    pub fn listen(&self, directories: Vec<PathBuf>, bell: impl Fn() + Send + 'static) {
        self.send(Request::Listen(directories, Bell(Box::new(bell))));
    }

    /// How each root stands, in their order. Empty before the source has looked at them.
    pub fn roots(&self) -> Vec<Standing> {
        self.roots.all()
    }

    /// Asks the source to read what is queued now, and to leave.
    pub fn stop(&self) {
        self.send(Request::Stop);
    }

    pub(super) fn send(&self, request: Request) {
        self.requests.lock().unwrap_or_else(PoisonError::into_inner).push(request);
        // An eventfd can refuse only when its counter is full, and then it is readable as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    /// Polls ready when there are requests.
    pub(super) fn wake(&self) -> impl AsFd + '_ {
        self.wake.as_fd()
    }

    /// The requests since the last call.
    pub(super) fn take(&self) -> Vec<Request> {
        let _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
        std::mem::take(&mut *self.requests.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The fences that have not been passed yet.
#[derive(Debug, Default)]
pub(super) struct Fences {
    /// Bytes read since the start.
    read: u64,
    waiting: Vec<(u64, Reply)>,
}

impl Fences {
    /// Sets a fence behind so many queued bytes.
    pub(super) fn set(&mut self, queued: u64, reply: Reply) {
        if queued == 0 {
            return reply.0();
        }
        self.waiting.push((self.read + queued, reply));
    }

    /// So many bytes have been read, and what they said is decoded.
    pub(super) fn advance(&mut self, bytes: u64) {
        self.read += bytes;
        if !self.waiting.is_empty() {
            let read = self.read;
            for (_, reply) in self.waiting.extract_if(.., |(at, _)| *at <= read) {
                reply.0();
            }
        }
    }

    /// The queue is empty.
    pub(super) fn pass_all(&mut self) {
        for (_, reply) in self.waiting.drain(..) {
            reply.0();
        }
    }
}

/// How many bytes an event takes in the queue: its header, and its name padded with NULs to a multiple of that.
pub(super) fn queued_bytes(name: Option<usize>) -> u64 {
    const HEADER: usize = 16;
    let bytes = HEADER + name.map_or(0, |len| (len + 1).next_multiple_of(HEADER));
    bytes as u64
}

#[cfg(test)]
impl SourceHandle {
    /// The fences that have been asked for since the last call, for who plays the source.
    pub(crate) fn take_fences(&self) -> Vec<Box<dyn FnOnce() + Send>> {
        let fences = self.take().into_iter().filter_map(|request| match request {
            Request::Fence(reply) => Some(reply.0),
            _ => None,
        });
        fences.collect()
    }
}
