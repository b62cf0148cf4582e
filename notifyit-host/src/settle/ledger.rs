//! Which version of which file each plugin has finished.
//!
//! A version is a place (the directory's number and the file's name) and a stamp. Where they are kept is the choice of
//! the state directory: `Memory` forgets at the end of the run, `Store` survives it.
//!
//! Losing an entry costs a duplicate, never a file.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::memory::Memory;
use super::store::Store;
use crate::event::LaneId;
use crate::sys::Stat;

/// What tells one version of a file from another: inode, size, mtime. ctime is no part of it, for `chown -R`, a backup
/// or a new link change nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime_seconds: i64,
    pub(super) mtime_nanos: u32,
}

impl Stamp {
    /// The stamp of a file that looks like this.
    pub fn of(stat: &Stat) -> Stamp {
        let Stat { inode, size, mtime_seconds, mtime_nanos, .. } = *stat;
        Stamp { inode, size, mtime_seconds, mtime_nanos }
    }
}

/// One version of one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    pub(super) directory: u64,
    pub(super) name: Arc<OsStr>,
    pub(super) stamp: Stamp,
}

impl Version {
    /// The version of a file that is in a directory (by number) under a name.
    pub fn new(directory: u64, name: &Arc<OsStr>, stat: &Stat) -> Version {
        Version { directory, name: Arc::clone(name), stamp: Stamp::of(stat) }
    }

    fn place(&self) -> Place<'_> {
        (self.directory, &self.name)
    }
}

/// Where a file is: the number of its directory, and its name.
pub type Place<'a> = (u64, &'a OsStr);

/// The ledger. Every call counts at once, also before it is on disk.
#[derive(Debug)]
pub enum Ledger {
    /// For this run.
    Memory(Memory),
    /// In a state directory.
    Store(Store),
}

/// One instance's first look at one watch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FirstLook {
    /// It is still to be taken: what was last changed before this time (nanoseconds since 1970) was there before.
    Before(u64),
    /// It has been taken: what is unfinished has landed since.
    Taken,
}

impl Ledger {
    /// One in memory, for so many lanes.
    pub fn in_memory(lanes: usize) -> Ledger {
        Ledger::Memory(Memory::new(lanes))
    }

    /// One in a directory, which is made if it is not there. `lanes` are the instances' names.
    ///
    /// # Errors
    ///
    /// Another host has it; it cannot be read or written; it is damaged.
    pub fn in_directory(directory: &Path, lanes: &[&str]) -> Result<Ledger> {
        Store::open(directory, lanes).map(Ledger::Store)
    }

    /// Has this lane finished this version?
    pub fn is_finished(&self, lane: LaneId, version: &Version) -> bool {
        self.has(lane, version.place(), version.stamp)
    }

    /// Has this lane finished what is at that place, if it has this stamp?
    pub fn has(&self, lane: LaneId, place: Place<'_>, stamp: Stamp) -> bool {
        self.get(lane, place) == Some(stamp)
    }

    fn get(&self, lane: LaneId, place: Place<'_>) -> Option<Stamp> {
        match self {
            Ledger::Memory(memory) => memory.get(lane, place),
            Ledger::Store(store) => store.get(lane, place),
        }
    }

    /// This lane has finished this version.
    pub fn finish(&self, lane: LaneId, version: &Version) {
        match self {
            Ledger::Memory(memory) => memory.put(lane, version.place(), version.stamp),
            Ledger::Store(store) => store.put(lane, version.place(), version.stamp),
        }
    }

    /// Whatever is at that place, this lane has not finished it.
    pub fn forget(&self, lane: LaneId, place: Place<'_>) {
        match self {
            Ledger::Memory(memory) => memory.remove(lane, place),
            Ledger::Store(store) => store.remove(lane, place),
        }
    }

    /// A file was renamed: what this lane has finished stays finished under the new name.
    pub fn rename(&self, lane: LaneId, from: Place<'_>, to: Place<'_>) {
        let stamp = self.get(lane, from);
        self.forget(lane, to);
        if let Some(stamp) = stamp {
            self.forget(lane, from);
            match self {
                Ledger::Memory(memory) => memory.put(lane, to, stamp),
                Ledger::Store(store) => store.put(lane, to, stamp),
            }
        }
    }

    /// The number of a directory: the same for the same name in the same directory, in this run and, in a state
    /// directory, in every later one. The roots are the watches' names in directory 0.
    pub fn number(&self, place: Place<'_>) -> u64 {
        match self {
            Ledger::Memory(memory) => memory.number(),
            Ledger::Store(store) => store.number(place),
        }
    }

    /// A directory was renamed: it takes its entries along.
    pub fn directory_renamed(&self, number: u64, from: Place<'_>, to: Place<'_>) {
        if let Ledger::Store(store) = self {
            store.directory_renamed(number, from, to);
        }
    }

    /// These directories are at these places now, whatever was there.
    pub fn directories_are(&self, places: &[(u64, Place<'_>)]) {
        if let Ledger::Store(store) = self {
            store.directories_are(places);
        }
    }

    /// Has this instance looked at this watch before, with the same subscription? If not, `now` is
    /// written down before anything else happens, so that an interrupted first look is taken again with the same time.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub fn first_look(&self, lane: &str, watch: &str, subscription: &str, now: u64) -> Result<FirstLook> {
        match self {
            Ledger::Memory(_) => Ok(FirstLook::Before(now)),
            Ledger::Store(store) => store.first_look(lane, watch, subscription, now),
        }
    }

    /// Every first look has been taken.
    pub fn first_looks_taken(&self) {
        if let Ledger::Store(store) = self {
            store.first_looks_taken();
        }
    }

    /// The entries in memory, which have to be pruned now and then.
    pub fn memory(&self) -> Option<&Memory> {
        match self {
            Ledger::Memory(memory) => Some(memory),
            Ledger::Store(_) => None,
        }
    }

    /// Writes what is not on disk yet. To be called at the end.
    pub fn close(&self) {
        if let Ledger::Store(store) = self {
            store.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(size: u64) -> Stat {
        Stat { device: 1, inode: 2, size, mode: 0, mtime_seconds: 3, mtime_nanos: 4, ctime_nanos: 5 }
    }

    fn version(directory: u64, name: &str, size: u64) -> Version {
        Version::new(directory, &OsStr::new(name).into(), &stat(size))
    }

    fn place(directory: u64, name: &str) -> Place<'_> {
        (directory, OsStr::new(name))
    }

    /// Each rule holds in memory and on disk.
    fn each(check: impl Fn(&Ledger)) {
        check(&Ledger::in_memory(2));
        let dir = tempfile::tempdir().unwrap();
        check(&Ledger::in_directory(dir.path(), &["one", "two"]).unwrap());
    }

    #[test]
    fn a_version_is_finished_for_its_lane_alone() {
        each(|ledger| {
            ledger.finish(LaneId(0), &version(7, "a", 1));
            assert!(ledger.is_finished(LaneId(0), &version(7, "a", 1)));
            assert!(!ledger.is_finished(LaneId(1), &version(7, "a", 1)));
            assert!(!ledger.is_finished(LaneId(0), &version(7, "a", 2)), "another version");
            assert!(!ledger.is_finished(LaneId(0), &version(8, "a", 1)), "another directory");
        });
    }

    #[test]
    fn ctime_and_mode_are_no_part_of_a_version() {
        let changed = Stat { mode: 0o600, ctime_nanos: 99, ..stat(1) };
        assert_eq!(version(7, "a", 1), Version::new(7, &OsStr::new("a").into(), &changed));
    }

    #[test]
    fn a_rename_takes_the_entry_along_and_covers_what_was_there() {
        each(|ledger| {
            ledger.finish(LaneId(0), &version(7, "a", 1));
            ledger.finish(LaneId(0), &version(8, "b", 2));
            ledger.rename(LaneId(0), place(7, "a"), place(8, "b"));
            assert!(ledger.is_finished(LaneId(0), &version(8, "b", 1)));
            assert!(!ledger.is_finished(LaneId(0), &version(7, "a", 1)));
            ledger.rename(LaneId(0), place(9, "a"), place(8, "b"));
            assert!(!ledger.is_finished(LaneId(0), &version(8, "b", 1)), "another file is there now");
        });
    }
}
