//! The ledger of a run without a state directory.
//!
//! Of a file two hashes are kept, of its place and of its stamp, with keys that no file's author can know: a million
//! files take 35 MB. Two places that share a hash cost a duplicate. Two versions of one file that do would cost the
//! newer one; that is one chance in 2^48 for each file that is written again unseen.
//!
//! A million entries are held in memory, and what comes beyond in an unlinked temporary file (see `hashes`, `spill`), so
//! that memory stays bounded however many files land. Pruning begins a new table and a new file, and copies what is
//! still there; until it ends there are both.
//!
//! Why not the store's code for that file: names that come in no order, as hashes do, cost a B-tree a page for each
//! entry and those above it. Measured with 10 million files, at most 100,000 a second, without a sync; the processor's
//! time is for an entry with its share of 4 million look-ups:
//!
//! | | memory | file | written | processor |
//! |---|---|---|---|---|
//! | all in memory | 272 MB, 410 while it grows | | | 0.6 µs |
//! | the store, names in order | 32 MB | 1.1 GB | 0.8 GB | 1.7 µs |
//! | the store, names in no order | 80 to 166 MB | 4.1 GB | 69 GB | 10 µs |
//! | this, in any order | 34 MB | 0.24 GB | 0.6 GB | 2.7 µs |
//!
//! It also needs no thread, no queue, and no other pruning than memory's. Past the million, an entry costs a read of one
//! page, which the kernel has in memory while it can, and a write to it.

mod hashes;
mod spill;

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use rustc_hash::{FxHashMap, FxHashSet};

use self::hashes::{Bound, Hashes};
use super::first::{FirstLook, Look};
use super::ledger::{Place, Stamp};
use super::slots::Slots;
use super::trouble::Trouble;
use crate::event::LaneId;

/// Below this many entries nothing is pruned.
const WORTH_PRUNING: usize = 100_000;
/// So many entries are held in memory, in all lanes together.
const MOST_IN_MEMORY: usize = 1_000_000;

/// The bits of a stamp's hash that tell one inode from another.
const OF_INODE: u64 = 0xffff;

/// See the module. One lock for each lane, held for a look-up.
#[derive(Debug)]
pub struct Memory {
    keys: RandomState,
    bound: Bound,
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
    now: Hashes,
    old: Option<Hashes>,
    pruned_to: usize,
    /// What waits for another try. Dead letters are no part of it: the log has told of them.
    troubles: FxHashMap<u64, Trouble>,
}

impl Entries {
    fn get(&self, place: u64) -> Option<u64> {
        self.now.get(place).or_else(|| self.old.as_ref()?.get(place))
    }

    fn unfinish(&mut self, place: u64) {
        self.old.iter_mut().chain([&mut self.now]).for_each(|hashes| hashes.remove(place));
    }

    fn remove(&mut self, place: u64) {
        self.unfinish(place);
        self.troubles.remove(&place);
    }
}

impl Memory {
    /// What is more than it may hold in memory goes to the first of these directories that takes it.
    pub(super) fn new(directories: Vec<PathBuf>) -> Memory {
        Memory::holding(MOST_IN_MEMORY, directories)
    }

    /// Each lane has its share of the bound.
    pub(super) fn holding(most: usize, directories: Vec<PathBuf>) -> Memory {
        let bound = Bound::new(most, directories);
        let (directories, looks) = Default::default();
        Memory { keys: RandomState::new(), bound, lanes: Slots::new(), directories, looks }
    }

    pub(super) fn lane_of(&self, name: &str) -> Result<LaneId> {
        self.lanes.of(name, || {
            self.bound.one_more();
            Ok(Mutex::default())
        })
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
        self.lane(lane).get(self.hash(place)) == Some(self.hash_of(stamp))
    }

    pub(super) fn knows(&self, lane: LaneId, place: Place<'_>) -> bool {
        self.lane(lane).get(self.hash(place)).is_some()
    }

    pub(super) fn is_of_another_file(&self, lane: LaneId, place: Place<'_>, stamp: Stamp) -> bool {
        let Some(known) = self.lane(lane).get(self.hash(place)) else { return false };
        let differing = known ^ self.hash_of(stamp);
        if stamp.inode == 0 { differing != 0 } else { differing & OF_INODE != 0 }
    }

    /// What is known of the file at one place is known of the one at another, and nothing else is.
    pub(super) fn rename(&self, lane: LaneId, from: Place<'_>, to: Place<'_>) {
        let (from, to) = (self.hash(from), self.hash(to));
        let mut entries = self.lane(lane);
        let known = (entries.get(from), entries.troubles.remove(&from));
        entries.remove(from);
        entries.remove(to);
        if let Some(stamp) = known.0 {
            entries.now.insert(to, stamp, &self.bound);
        }
        entries.troubles.extend(known.1.map(|trouble| (to, trouble)));
    }

    /// What is known of the file at one place is known at another too.
    pub(super) fn held(&self, lane: LaneId, place: Place<'_>) -> Option<u64> {
        self.lane(lane).get(self.hash(place))
    }

    pub(super) fn goes_along(&self, lane: LaneId, from: Place<'_>, to: Place<'_>) {
        let mut entries = self.lane(lane);
        if let Some(stamp) = entries.get(self.hash(from)) {
            entries.now.insert(self.hash(to), stamp, &self.bound);
        }
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
        let (place, stamp) = (self.hash(place), stamp.map(|stamp| self.hash_of(stamp)));
        let mut entries = self.lane(lane);
        match stamp {
            Some(stamp) => entries.now.insert(place, stamp, &self.bound),
            None if trouble.is_some() => entries.unfinish(place),
            None => {}
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
        entries.old.is_none()
            && (doubled(entries.now.len(), entries.pruned_to)
                || doubled(directories.numbers.len(), directories.pruned_to))
    }

    /// From now until [`Memory::end_pruning`] every file that is there is to be [`Memory::keep`]t for these lanes. What
    /// is known for others, whose plugins are away, stays as it is.
    pub fn begin_pruning(&self, lanes: &[LaneId]) {
        for lane in lanes {
            let mut entries = self.lane(*lane);
            entries.old = Some(std::mem::take(&mut entries.now));
        }
    }

    /// This file is there: what is known of it stays.
    pub fn keep(&self, lane: LaneId, place: Place<'_>) {
        let place = self.hash(place);
        let mut entries = self.lane(lane);
        let known = entries.old.as_ref().and_then(|old| old.get(place));
        if let Some(stamp) = known
            && entries.now.get(place).is_none()
        {
            entries.now.insert(place, stamp, &self.bound);
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
            entries.pruned_to = entries.now.len();
            let old = entries.old.take();
            // Nobody waits while a large file is given back.
            drop(entries);
            drop(old);
        }
    }

    /// Never 0.
    fn hash(&self, place: Place<'_>) -> u64 {
        self.keys.hash_one(place).max(1)
    }

    /// Never 0. Some bits are the inode's alone.
    fn hash_of(&self, stamp: Stamp) -> u64 {
        let (stamp, inode) = (self.keys.hash_one(stamp), self.keys.hash_one(stamp.inode));
        ((stamp & !OF_INODE) | (inode & OF_INODE)).max(1)
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
        let dir = tempfile::tempdir().unwrap();
        for most in [0, 1, 2, 9] {
            pruning_forgets(&Memory::holding(most, vec![dir.path().to_owned()]));
        }
    }

    fn pruning_forgets(memory: &Memory) {
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
