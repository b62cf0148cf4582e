//! The ledger of a run without a state directory.
//!
//! Of a file two hashes are kept, of its place and of its stamp, with keys that no file's author can know: a million
//! files take 35 MB. Two places that share a hash cost a duplicate. Two versions of one file that do would cost the
//! newer one; that is one chance in 2^64 for each file that is written again unseen.

use std::hash::{BuildHasher, RandomState};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustc_hash::{FxHashMap, FxHashSet};

use super::first::{FirstLook, Look};
use super::ledger::{Place, Stamp};
use super::slots::Slots;
use super::trouble::Trouble;
use crate::event::LaneId;

/// Below this many entries nothing is pruned.
const WORTH_PRUNING: usize = 100_000;

/// See the module. One lock for each lane, held for a look-up.
#[derive(Debug)]
pub struct Memory {
    keys: RandomState,
    lanes: Slots<Mutex<Entries>>,
    directories: Mutex<Directories>,
    /// By instance and watch.
    looks: Mutex<FxHashMap<(String, String), Look>>,
}

/// The numbers of directories, by their places.
#[derive(Debug, Default)]
struct Directories {
    numbers: FxHashMap<u64, u64>,
    last: u64,
    pruned_to: usize,
}

/// A lane's entries, place to stamp. While it is pruned, what is still to be seen again is `old`.
#[derive(Debug, Default)]
struct Entries {
    now: FxHashMap<u64, u64>,
    old: FxHashMap<u64, u64>,
    pruned_to: usize,
    /// What waits for another try. Dead letters are no part of it: the log has told of them.
    troubles: FxHashMap<u64, Trouble>,
}

impl Entries {
    fn get(&self, place: u64) -> Option<u64> {
        self.now.get(&place).or_else(|| self.old.get(&place)).copied()
    }

    fn remove(&mut self, place: u64) {
        self.old.remove(&place);
        self.now.remove(&place);
        self.troubles.remove(&place);
    }
}

impl Memory {
    pub(super) fn new() -> Memory {
        let (directories, looks) = Default::default();
        Memory { keys: RandomState::new(), lanes: Slots::new(), directories, looks }
    }

    pub(super) fn lane_of(&self, name: &str) -> Result<LaneId> {
        self.lanes.of(name, || Ok(Mutex::default()))
    }

    pub(super) fn first_look(&self, lane: &str, watch: &str, subscription: &str, now: u64) -> FirstLook {
        let mut looks = self.looks();
        let key = (lane.to_owned(), watch.to_owned());
        let look = Look::next(looks.remove(&key), subscription, now);
        looks.entry(key).or_insert(look).to_take()
    }

    pub(super) fn first_looks_taken(&self, is_there: &dyn Fn(&str, &str) -> bool) {
        for ((lane, watch), look) in self.looks().iter_mut() {
            if is_there(lane, watch) {
                look.is_taken();
            }
        }
    }

    /// The number of the directory at that place; one that none has had if none was there.
    pub(super) fn number(&self, place: Place<'_>) -> u64 {
        let mut directories = self.directories();
        let next = directories.last + 1;
        let number = *directories.numbers.entry(self.hash(place)).or_insert(next);
        directories.last = directories.last.max(number);
        number
    }

    /// A directory has left one place for another.
    pub(super) fn directory_renamed(&self, number: u64, from: Place<'_>, to: Place<'_>) {
        self.directories().numbers.remove(&self.hash(from));
        self.directory_is(number, to);
    }

    /// A directory is at that place, whatever was there.
    pub(super) fn directory_is(&self, number: u64, place: Place<'_>) {
        self.directories().numbers.insert(self.hash(place), number);
    }

    pub(super) fn has(&self, lane: LaneId, place: Place<'_>, stamp: Stamp) -> bool {
        self.lane(lane).get(self.hash(place)) == Some(self.keys.hash_one(stamp))
    }

    /// What is known of the file at one place is known of the one at another, and nothing else is.
    pub(super) fn rename(&self, lane: LaneId, from: Place<'_>, to: Place<'_>) {
        let (from, to) = (self.hash(from), self.hash(to));
        let mut entries = self.lane(lane);
        let known = (entries.get(from), entries.troubles.remove(&from));
        entries.remove(from);
        entries.remove(to);
        entries.now.extend(known.0.map(|stamp| (to, stamp)));
        entries.troubles.extend(known.1.map(|trouble| (to, trouble)));
    }

    pub(super) fn trouble(&self, lane: LaneId, place: Place<'_>) -> Option<Trouble> {
        let entries = self.lane(lane);
        if entries.troubles.is_empty() { None } else { entries.troubles.get(&self.hash(place)).cloned() }
    }

    /// What is at that place is finished, if there is a stamp, and in this trouble or in none. What waits for another
    /// try is not finished, whatever was known before.
    pub(super) fn settle(
        &self,
        lane: LaneId,
        place: Place<'_>,
        stamp: Option<Stamp>,
        trouble: Option<Trouble>,
    ) {
        let (place, stamp) = (self.hash(place), stamp.map(|stamp| self.keys.hash_one(stamp)));
        let mut entries = self.lane(lane);
        if stamp.is_some() || trouble.is_some() {
            entries.old.remove(&place);
            entries.now.remove(&place);
        }
        if let Some(stamp) = stamp {
            entries.now.insert(place, stamp);
        }
        match trouble.filter(|trouble| !trouble.state.is_dead()) {
            Some(trouble) => {
                drop(entries.troubles.insert(place, Trouble { error: String::new(), ..trouble }))
            }
            None => drop(entries.troubles.remove(&place)),
        }
    }

    pub(super) fn remove(&self, lane: LaneId, place: Place<'_>) {
        self.lane(lane).remove(self.hash(place));
    }

    /// Has this lane twice as many entries as there were files when it was last pruned, or are there twice as many
    /// directories?
    pub fn is_due_for_pruning(&self, lane: LaneId) -> bool {
        let doubled = |now: usize, before: usize| now > (2 * before).max(WORTH_PRUNING);
        let entries = self.lane(lane);
        let directories = self.directories();
        entries.old.is_empty()
            && (doubled(entries.now.len(), entries.pruned_to)
                || doubled(directories.numbers.len(), directories.pruned_to))
    }

    /// From now until [`Memory::end_pruning`] every file that is there is to be [`Memory::keep`]t for these lanes. What
    /// is known for others, whose plugins are away, stays as it is.
    pub fn begin_pruning(&self, lanes: &[LaneId]) {
        for lane in lanes {
            let mut entries = self.lane(*lane);
            entries.old = std::mem::take(&mut entries.now);
        }
    }

    /// This file is there: what is known of it stays.
    pub fn keep(&self, lane: LaneId, place: Place<'_>) {
        let place = self.hash(place);
        let mut entries = self.lane(lane);
        if let Some(stamp) = entries.old.remove(&place) {
            entries.now.entry(place).or_insert(stamp);
        }
    }

    /// What was not kept is forgotten, and every directory whose number is not `known` to the tree.
    pub fn end_pruning(&self, lanes: &[LaneId], known: &FxHashSet<u64>) {
        let mut directories = self.directories();
        directories.numbers.retain(|_, number| known.contains(number));
        directories.pruned_to = directories.numbers.len();
        drop(directories);
        for lane in lanes {
            let mut entries = self.lane(*lane);
            entries.old = FxHashMap::default();
            entries.pruned_to = entries.now.len();
        }
    }

    fn hash(&self, place: Place<'_>) -> u64 {
        self.keys.hash_one(place)
    }

    fn directories(&self) -> MutexGuard<'_, Directories> {
        self.directories.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn looks(&self) -> MutexGuard<'_, FxHashMap<(String, String), Look>> {
        self.looks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lane(&self, lane: LaneId) -> MutexGuard<'_, Entries> {
        self.lanes.get(lane).lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn pruning_forgets_what_is_gone_and_nothing_else() {
        let memory = Memory::new();
        let [lane, away] = ["one", "two"].map(|name| memory.lane_of(name).unwrap());
        let stamp = Stamp { inode: 1, size: 2, mtime_seconds: 3, mtime_nanos: 4 };
        let finish = |name: &OsStr| memory.settle(lane, (7, name), Some(stamp), None);
        let has = |name: &OsStr| memory.has(lane, (7, name), stamp);
        let [kept, gone, new] = ["kept", "gone", "new"].map(OsStr::new);
        finish(kept);
        finish(gone);
        memory.settle(away, (7, gone), Some(stamp), None);
        memory.begin_pruning(&[lane]);
        assert!(has(kept) && has(gone), "not yet");
        memory.keep(lane, (7, kept));
        finish(new);
        let numbers = [1, 2].map(|parent| memory.number((parent, new)));
        memory.end_pruning(&[lane], &[numbers[0]].into_iter().collect());
        assert_eq!(memory.number((1, new)), numbers[0]);
        assert!(memory.number((2, new)) > numbers[1]);
        assert!(has(kept) && has(new) && !has(gone));
        assert!(memory.has(away, (7, gone), stamp), "its plugin is away");
        assert!(!memory.is_due_for_pruning(lane));
    }
}
