//! From the hash of a place to the hash of a stamp: so many in memory, and what comes beyond in a file.
//!
//! What memory says of a place holds, whatever the file says: when the file takes no more, memory goes on.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use rustc_hash::FxHashMap;
use tracing::{info, warn};

use super::spill::Spill;

/// No stamp's hash. It covers an entry that the file would not let go.
const NOTHING: u64 = 0;

/// When entries go to a file, and where that may be.
#[derive(Debug)]
pub(super) struct Bound {
    /// In all tables together.
    most: usize,
    tables: AtomicUsize,
    directories: Vec<PathBuf>,
    has_moved: AtomicBool,
    has_failed: AtomicBool,
}

impl Bound {
    /// So many in memory, and the rest in the first of these directories that takes it.
    pub(super) fn new(most: usize, directories: Vec<PathBuf>) -> Bound {
        let (tables, has_moved, has_failed) = Default::default();
        Bound { most, tables, directories, has_moved, has_failed }
    }

    /// There is one more table. What the others hold already they keep.
    pub(super) fn one_more(&self) {
        self.tables.fetch_add(1, Ordering::Relaxed);
    }

    /// So many of each table.
    fn share(&self) -> usize {
        self.most / self.tables.load(Ordering::Relaxed).max(1)
    }

    fn say_moved(&self) {
        if !self.has_moved.swap(true, Ordering::Relaxed) {
            info!("the ledger has grown: what is finished from now on is kept in a temporary file");
        }
    }

    fn say_failed(&self, error: &anyhow::Error) {
        if !self.has_failed.swap(true, Ordering::Relaxed) {
            warn!(
                "the ledger grows in memory, by 35 MB for a million files: {error:#}; keep it on disk with --state-dir"
            );
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Hashes {
    memory: FxHashMap<u64, u64>,
    file: Option<Spill>,
    /// Does the file take no more?
    is_stuck: bool,
}

impl Hashes {
    /// About how many there are.
    pub(super) fn len(&self) -> usize {
        self.memory.len() + self.file.as_ref().map_or(0, Spill::len)
    }

    pub(super) fn get(&self, place: u64) -> Option<u64> {
        match (self.memory.get(&place), &self.file) {
            (Some(stamp), _) => Some(*stamp).filter(|stamp| *stamp != NOTHING),
            // What cannot be read comes again.
            (None, Some(file)) => file.get(place).ok().flatten(),
            (None, None) => None,
        }
    }

    pub(super) fn insert(&mut self, place: u64, stamp: u64, bound: &Bound) {
        let is_for_file = self.memory.len() >= bound.share() && !self.memory.contains_key(&place);
        if !(is_for_file && self.insert_in_file(place, stamp, bound)) {
            self.memory.insert(place, stamp);
        }
    }

    pub(super) fn remove(&mut self, place: u64) {
        self.memory.remove(&place);
        if let Some(file) = &mut self.file
            && file.remove(place).is_err()
        {
            self.memory.insert(place, NOTHING);
        }
    }

    fn insert_in_file(&mut self, place: u64, stamp: u64, bound: &Bound) -> bool {
        if self.is_stuck {
            return false;
        }
        let inserted = self.file(bound).and_then(|file| Ok(file.insert(place, stamp)?));
        match &inserted {
            Ok(()) => bound.say_moved(),
            Err(error) => {
                self.is_stuck = true;
                bound.say_failed(error);
            }
        }
        inserted.is_ok()
    }

    fn file(&mut self, bound: &Bound) -> anyhow::Result<&mut Spill> {
        match &mut self.file {
            Some(file) => Ok(file),
            none => Ok(none.insert(Spill::create(&bound.directories)?)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Entries 1 to 4, of which two find room in memory.
    fn filled(bound: &Bound) -> Hashes {
        let mut hashes = Hashes::default();
        (1..=4).for_each(|place| hashes.insert(place, 10 * place, bound));
        hashes
    }

    fn held(hashes: &Hashes) -> [Option<u64>; 5] {
        [1, 2, 3, 4, 5].map(|place| hashes.get(place))
    }

    #[test]
    fn what_memory_has_no_room_for_is_in_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let bound = Bound::new(2, vec![dir.path().to_owned()]);
        let mut hashes = filled(&bound);
        assert_eq!((hashes.memory.len(), hashes.len()), (2, 4));
        assert_eq!(held(&hashes), [Some(10), Some(20), Some(30), Some(40), None]);
        // There is room again, and the file's entry is older than the next.
        hashes.remove(1);
        hashes.insert(3, 33, &bound);
        hashes.insert(4, 44, &bound);
        assert_eq!(held(&hashes), [None, Some(20), Some(33), Some(44), None]);
        hashes.remove(3);
        assert_eq!(held(&hashes), [None, Some(20), None, Some(44), None]);
        assert!(!bound.has_failed.load(Ordering::Relaxed));
    }

    #[test]
    fn without_a_file_it_goes_on_in_memory() {
        let bound = Bound::new(2, Vec::new());
        let hashes = filled(&bound);
        assert_eq!((hashes.memory.len(), hashes.len()), (4, 4));
        assert_eq!(held(&hashes), [Some(10), Some(20), Some(30), Some(40), None]);
        assert!(bound.has_failed.load(Ordering::Relaxed));
    }

    #[test]
    fn a_file_that_takes_no_more_neither_loses_an_entry_nor_keeps_one_that_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let bound = Bound::new(2, vec![dir.path().to_owned()]);
        let mut hashes = filled(&bound);
        hashes.file.as_mut().unwrap().make_read_only();
        hashes.insert(4, 44, &bound);
        hashes.insert(5, 50, &bound);
        hashes.remove(3);
        hashes.remove(4);
        assert_eq!(held(&hashes), [Some(10), Some(20), None, None, Some(50)]);
        hashes.insert(3, 33, &bound);
        assert_eq!(held(&hashes), [Some(10), Some(20), Some(33), None, Some(50)]);
    }
}
