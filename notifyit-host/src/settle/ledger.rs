//! Which version of which file each plugin has finished.
//!
//! Held in memory: for each file two hashes, of where it is and of its stamp (inode, size, mtime), with keys that no
//! file's author can know. Two places that share a hash cost a duplicate at worst.

use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustc_hash::FxHashMap;

use crate::event::LaneId;
use crate::sys::Stat;

/// One version of one file, as the ledger knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Version {
    place: u64,
    stamp: u64,
}

/// Below this many entries nothing is pruned.
const WORTH_PRUNING: usize = 100_000;

/// The ledger of a run. One lock for each lane, held for a look-up.
#[derive(Debug)]
pub struct Ledger {
    keys: RandomState,
    lanes: Vec<Mutex<Entries>>,
}

/// A lane's entries. While it is pruned, what is still to be seen again is `old`.
#[derive(Debug, Default)]
struct Entries {
    now: FxHashMap<u64, u64>,
    old: FxHashMap<u64, u64>,
    pruned_to: usize,
}

impl Entries {
    fn get(&self, place: u64) -> Option<u64> {
        self.now.get(&place).or_else(|| self.old.get(&place)).copied()
    }

    fn remove(&mut self, place: u64) -> Option<u64> {
        let old = self.old.remove(&place);
        self.now.remove(&place).or(old)
    }

    fn insert(&mut self, place: u64, stamp: u64) {
        self.old.remove(&place);
        self.now.insert(place, stamp);
    }
}

impl Ledger {
    /// An empty one, for so many lanes.
    pub fn new(lanes: usize) -> Ledger {
        Ledger { keys: RandomState::new(), lanes: (0..lanes).map(|_| Mutex::default()).collect() }
    }

    /// The version of a file that is in a directory (by its serial number) under a name.
    pub fn version(&self, directory: u64, name: &OsStr, stat: &Stat) -> Version {
        let stamp = self.keys.hash_one((stat.inode, stat.size, stat.mtime_seconds, stat.mtime_nanos));
        Version { place: self.place(directory, name), stamp }
    }

    fn place(&self, directory: u64, name: &OsStr) -> u64 {
        self.keys.hash_one((directory, name))
    }

    /// Has this lane finished this version?
    pub fn is_finished(&self, lane: LaneId, version: Version) -> bool {
        self.lane(lane).get(version.place) == Some(version.stamp)
    }

    /// This lane has finished this version: it counts at once.
    pub fn finish(&self, lane: LaneId, version: Version) {
        self.lane(lane).insert(version.place, version.stamp);
    }

    /// It has not, after all: its flush has failed.
    pub fn undo(&self, lane: LaneId, version: Version) {
        let mut entries = self.lane(lane);
        if entries.get(version.place) == Some(version.stamp) {
            entries.remove(version.place);
        }
    }

    /// A file was renamed: what this lane has finished stays finished under the new name.
    pub fn rename(&self, lane: LaneId, from: (u64, &OsStr), to: (u64, &OsStr)) {
        let (from, to) = (self.place(from.0, from.1), self.place(to.0, to.1));
        let mut entries = self.lane(lane);
        entries.remove(to);
        if let Some(stamp) = entries.remove(from) {
            entries.insert(to, stamp);
        }
    }

    /// Whatever is at that place now, this lane has not finished it.
    pub fn forget(&self, lane: LaneId, directory: u64, name: &OsStr) {
        let place = self.place(directory, name);
        self.lane(lane).remove(place);
    }

    /// Has any lane twice as many entries as it had files when it was last pruned?
    pub fn is_due_for_pruning(&self, lane: LaneId) -> bool {
        let entries = self.lane(lane);
        entries.old.is_empty() && entries.now.len() > (2 * entries.pruned_to).max(WORTH_PRUNING)
    }

    /// From now until [`Ledger::end_pruning`] every file that is there is to be [`Ledger::keep`]ed.
    pub fn begin_pruning(&self) {
        for mut entries in self.all() {
            entries.old = std::mem::take(&mut entries.now);
        }
    }

    /// This file is there: what is known of it stays.
    pub fn keep(&self, lane: LaneId, version: Version) {
        let mut entries = self.lane(lane);
        if let Some(stamp) = entries.old.remove(&version.place) {
            entries.now.entry(version.place).or_insert(stamp);
        }
    }

    /// What was not kept is forgotten.
    pub fn end_pruning(&self) {
        for mut entries in self.all() {
            entries.old = FxHashMap::default();
            entries.pruned_to = entries.now.len();
        }
    }

    fn lane(&self, lane: LaneId) -> MutexGuard<'_, Entries> {
        self.lanes[lane.0].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn all(&self) -> impl Iterator<Item = MutexGuard<'_, Entries>> {
        self.lanes.iter().map(|lane| lane.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(size: u64) -> Stat {
        Stat { device: 1, inode: 2, size, mode: 0, mtime_seconds: 3, mtime_nanos: 4, ctime_nanos: 5 }
    }

    #[test]
    fn a_version_is_finished_for_its_lane_alone() {
        let ledger = Ledger::new(2);
        let one = ledger.version(7, OsStr::new("a"), &stat(1));
        ledger.finish(LaneId(0), one);
        assert!(ledger.is_finished(LaneId(0), one));
        assert!(!ledger.is_finished(LaneId(1), one));
        assert!(
            !ledger.is_finished(LaneId(0), ledger.version(7, OsStr::new("a"), &stat(2))),
            "another version"
        );
        assert!(
            !ledger.is_finished(LaneId(0), ledger.version(8, OsStr::new("a"), &stat(1))),
            "another directory"
        );
    }

    #[test]
    fn ctime_and_mode_are_no_part_of_a_version() {
        let ledger = Ledger::new(1);
        let changed = Stat { mode: 0o600, ctime_nanos: 99, ..stat(1) };
        assert_eq!(
            ledger.version(7, OsStr::new("a"), &stat(1)),
            ledger.version(7, OsStr::new("a"), &changed)
        );
    }

    #[test]
    fn what_is_undone_is_unfinished_unless_a_newer_version_is_finished() {
        let ledger = Ledger::new(1);
        let (one, two) =
            (ledger.version(7, OsStr::new("a"), &stat(1)), ledger.version(7, OsStr::new("a"), &stat(2)));
        ledger.finish(LaneId(0), one);
        ledger.undo(LaneId(0), one);
        assert!(!ledger.is_finished(LaneId(0), one));
        ledger.finish(LaneId(0), two);
        ledger.undo(LaneId(0), one);
        assert!(ledger.is_finished(LaneId(0), two));
    }

    #[test]
    fn a_rename_takes_the_entry_along_and_covers_what_was_there() {
        let ledger = Ledger::new(1);
        let (a, b) = (OsStr::new("a"), OsStr::new("b"));
        ledger.finish(LaneId(0), ledger.version(7, a, &stat(1)));
        ledger.finish(LaneId(0), ledger.version(8, b, &stat(2)));
        ledger.rename(LaneId(0), (7, a), (8, b));
        assert!(ledger.is_finished(LaneId(0), ledger.version(8, b, &stat(1))));
        assert!(!ledger.is_finished(LaneId(0), ledger.version(7, a, &stat(1))));
        ledger.rename(LaneId(0), (9, a), (8, b));
        assert!(!ledger.is_finished(LaneId(0), ledger.version(8, b, &stat(1))), "another file is there now");
    }

    #[test]
    fn pruning_forgets_what_is_gone_and_nothing_else() {
        let ledger = Ledger::new(1);
        let lane = LaneId(0);
        let [kept, gone, new] =
            ["kept", "gone", "new"].map(|name| ledger.version(7, OsStr::new(name), &stat(1)));
        ledger.finish(lane, kept);
        ledger.finish(lane, gone);
        ledger.begin_pruning();
        assert!(ledger.is_finished(lane, kept) && ledger.is_finished(lane, gone), "not yet");
        ledger.keep(lane, kept);
        ledger.finish(lane, new);
        ledger.end_pruning();
        assert!(
            ledger.is_finished(lane, kept)
                && ledger.is_finished(lane, new)
                && !ledger.is_finished(lane, gone)
        );
        assert!(!ledger.is_due_for_pruning(lane));
    }
}
