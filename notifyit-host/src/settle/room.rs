//! The file that the ledger lies in, on a disk that may be full.
//!
//! A store that has seen one failed write trusts its file no more until it is opened anew. So a write that finds no
//! room is not failed: the writer waits in it until there is some. Nobody waits for the writer; what comes in the
//! meantime gathers, and counts as finished, in memory.

use std::fs::File;
use std::io;
use std::ops::Bound;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use redb::backends::FileBackend;
use redb::{BackendError, DatabaseError, StorageBackend};
use tracing::{error, info};

/// How often it is looked whether there is room again.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Whether to wait for room, and whether somebody does.
#[derive(Debug, Default)]
pub(super) struct Room {
    /// How many are at work that may wait: the writer; others only once the host is ready.
    may_wait: AtomicUsize,
    is_ready: AtomicBool,
    /// Has it been said that there is none?
    is_full: AtomicBool,
    closing: AtomicBool,
}

impl Room {
    /// Writes, and if there is no room waits until there is.
    pub(super) fn waits_for<T>(&self, write: impl FnOnce() -> T) -> T {
        self.may_wait.fetch_add(1, Ordering::Relaxed);
        let result = write();
        self.may_wait.fetch_sub(1, Ordering::Relaxed);
        result
    }

    /// The same, but at the start it is an error if there is no room.
    pub(super) fn waits_for_late<T>(&self, write: impl FnOnce() -> T) -> T {
        if self.is_ready.load(Ordering::Relaxed) { self.waits_for(write) } else { write() }
    }

    /// The start is over.
    pub(super) fn host_is_ready(&self) {
        self.is_ready.store(true, Ordering::Relaxed);
    }

    /// Nobody waits any more.
    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::Relaxed);
    }

    /// What was to be written is.
    pub(super) fn written(&self) {
        if self.is_full.swap(false, Ordering::Relaxed) {
            info!("the ledger is written again");
        }
    }

    /// Is the writer waiting?
    pub(super) fn is_full(&self) -> bool {
        self.is_full.load(Ordering::Relaxed)
    }

    /// Tries until there is room, or nobody may wait.
    fn insist(&self, mut write: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        loop {
            match write() {
                Err(error) if is_no_room(&error) && self.may_wait.load(Ordering::Relaxed) > 0 => {
                    if self.closing.load(Ordering::Relaxed) {
                        return Err(error);
                    }
                    if !self.is_full.swap(true, Ordering::Relaxed) {
                        error!(
                            "failed to write the ledger: {error}; events are delivered all the same, and after a crash \
                             again; make room"
                        );
                    }
                    thread::sleep(LOOK_EVERY);
                }
                result => return result,
            }
        }
    }
}

fn is_no_room(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// The store's file.
#[derive(Debug)]
pub(super) struct Backend {
    file: FileBackend,
    room: Arc<Room>,
}

impl Backend {
    pub(super) fn new(file: File, room: Arc<Room>) -> Result<Backend, DatabaseError> {
        Ok(Backend { file: FileBackend::new(file)?, room })
    }
}

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.file.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.room.insist(|| self.file.set_len(len))
    }

    /// Not tried again: what the kernel could not write at the first time it may have dropped.
    fn sync_data(&self) -> io::Result<()> {
        self.file.sync_data()
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.room.insist(|| self.file.write(offset, data))
    }

    fn close(&self) -> io::Result<()> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.query_lock_range(start, end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_writer_waits_for_room_and_only_until_the_end() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let room = Room::default();
        assert!(room.insist(|| Err(full())).is_err());
        let mut times = 0;
        let mut at_third = || {
            times += 1;
            if times < 3 { Err(full()) } else { Ok(()) }
        };
        assert!(room.waits_for(|| room.insist(&mut at_third)).is_ok() && room.is_full());
        room.written();
        assert!(!room.is_full());
        let broken = || Err(io::Error::from(io::ErrorKind::NotConnected));
        assert!(room.waits_for(|| room.insist(broken)).is_err(), "that is no lack of room");
        room.close();
        assert!(room.waits_for(|| room.insist(|| Err(full()))).is_err());
    }
}
