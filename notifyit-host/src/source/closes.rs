//! Waiting for a file's writer, whatever the name by which it was opened.
//!
//! A close is told of the directory of that name alone: of a file that was hard-linked in while it was open, or made by
//! `O_TMPFILE` and `linkat`, no close is ever told under its new name. Whoever waits for such a file has a watch put on
//! the file itself, for one close. It is only a hint: who does not get one, or misses the close, asks by the clock.

use std::fmt;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use inotify::WatchMask;
use rustc_hash::FxHashMap;
use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

use super::Sink;
use super::fence::{Request, SourceHandle};
use super::inotify::Source;
use super::walk;

/// At most so many files have such a watch: each costs one of the user's.
const MOST: usize = 1024;

/// A file whose writer is waited for. Dropped, it is no longer.
pub struct CloseWatch {
    id: u64,
    source: SourceHandle,
}

impl CloseWatch {
    /// What the callback is called with.
    pub fn id(&self) -> u64 {
        self.id
    }
}

impl fmt::Debug for CloseWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CloseWatch").field(&self.id).finish()
    }
}

impl Drop for CloseWatch {
    fn drop(&mut self) {
        self.source.counts.alive.fetch_sub(1, Ordering::AcqRel);
        self.source.send(Request::ForgetClose(self.id));
    }
}

/// How many there are, and have been.
#[derive(Debug, Default)]
pub(super) struct Counts {
    alive: AtomicUsize,
    next: AtomicU64,
}

/// Called on the source's thread, with the watch's number; must not wait.
pub(super) struct OnClose(Box<dyn FnOnce(u64) + Send>);

impl fmt::Debug for OnClose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnClose")
    }
}

impl SourceHandle {
    /// Calls back, on the source's thread, when a writer closes the file, or when it is gone. `None` if there are too
    /// many already, or no file is there. If the kernel has no watch left, nobody calls back.
    pub fn watch_close(&self, path: &Path, reply: impl FnOnce(u64) + Send + 'static) -> Option<CloseWatch> {
        // Only to name it: this opens nothing, and another file that lies there by now is not followed.
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(CWD, path, flags, Mode::empty()).ok()?;
        let mode = fstat(&file).ok()?.st_mode;
        if FileType::from_raw_mode(mode) != FileType::RegularFile {
            return None;
        }
        let counts = &self.counts;
        let count = |alive: usize| (alive < MOST).then_some(alive + 1);
        counts.alive.fetch_update(Ordering::AcqRel, Ordering::Acquire, count).ok()?;
        let id = counts.next.fetch_add(1, Ordering::Relaxed);
        self.send(Request::WatchClose { id, file, reply: OnClose(Box::new(reply)) });
        Some(CloseWatch { id, source: self.clone() })
    }
}

/// The files that have such a watch. One that is waited for under two names, or by two lanes, has one.
#[derive(Debug, Default)]
pub(super) struct Closes {
    waiting: FxHashMap<i32, Vec<(u64, OnClose)>>,
    watches: FxHashMap<u64, i32>,
}

impl Closes {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    fn add(&mut self, wd: i32, id: u64, reply: OnClose) {
        self.watches.insert(id, wd);
        self.waiting.entry(wd).or_default().push((id, reply));
    }

    /// The kernel has told of a watch, and dropped it. Returns whether it was one of these.
    pub(super) fn told(&mut self, wd: i32) -> bool {
        let Some(waiting) = self.waiting.remove(&wd) else { return false };
        for (id, reply) in waiting {
            self.watches.remove(&id);
            reply.0(id);
        }
        true
    }

    /// Nobody waits for that any more. Returns the watch that is to go, if there is one.
    fn forget(&mut self, id: u64) -> Option<i32> {
        let wd = self.watches.remove(&id)?;
        let waiting = self.waiting.get_mut(&wd)?;
        waiting.retain(|(other, _)| *other != id);
        if !waiting.is_empty() {
            return None;
        }
        self.waiting.remove(&wd);
        Some(wd)
    }
}

impl<S: Sink> Source<S> {
    pub(super) fn watch_close(&mut self, id: u64, file: &OwnedFd, reply: OnClose) {
        let mask = WatchMask::CLOSE_WRITE | WatchMask::ONESHOT;
        if let Ok(wd) = self.inotify.watches().add(walk::watch_path(file), mask) {
            self.closes.add(wd.get_watch_descriptor_id(), id, reply);
        }
    }

    pub(super) fn forget_close(&mut self, id: u64) {
        let wd = self.closes.forget(id);
        self.drop_watches(wd.as_slice());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc::channel;

    #[test]
    fn a_watch_goes_with_the_last_who_waits_for_it() {
        let (told, calls) = channel();
        let reply = || {
            let told = told.clone();
            OnClose(Box::new(move |id| told.send(id).unwrap()))
        };
        let mut closes = Closes::default();
        closes.add(7, 1, reply());
        closes.add(7, 2, reply());
        closes.add(8, 3, reply());
        assert_eq!((closes.forget(1), closes.forget(1), closes.forget(3)), (None, None, Some(8)));
        assert!(closes.told(7) && !closes.told(7) && !closes.told(8));
        assert_eq!(calls.try_iter().collect::<Vec<_>>(), [2]);
        assert_eq!(closes.forget(2), None, "the kernel has dropped it");
        assert!(closes.is_empty() && closes.watches.is_empty());
    }

    #[test]
    fn there_are_so_many_at_most_and_only_of_files() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "x").unwrap();
        let source = SourceHandle::new().unwrap();
        assert!(source.watch_close(dir.path(), |_| ()).is_none());
        let watch = || {
            let watch = source.watch_close(&path, |_| ());
            source.take();
            watch
        };
        let mut watches: Vec<CloseWatch> = (0..MOST).map_while(|_| watch()).collect();
        assert_eq!(watches.len(), MOST);
        assert!(watch().is_none());
        watches.pop();
        assert!(watch().is_some());
    }
}
