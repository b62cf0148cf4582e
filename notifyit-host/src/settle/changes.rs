//! What the store has not on disk yet.

use std::sync::Arc;

use rustc_hash::{FxHashMap, FxHashSet};
use tracing::error;

use super::disk::{Key, instance_of};
use super::ledger::Stamp;
use super::prune::Pruned;
use super::trouble::Trouble;

/// So many changes may wait for a disk that does not take them.
const MOST_WAITING: usize = 1_000_000;

/// `now` is newer than `writing`, which is newer than the disk. `None` is a removal.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) now: Batch,
    pub(super) writing: Arc<Batch>,
    pub(super) next_number: u64,
    /// The numbers of the inboxes: what lies in one, its plugin has from nowhere else.
    pub(super) inboxes: FxHashSet<u32>,
    /// So many of `now` were not forgotten when the others were.
    pub(super) kept: usize,
    /// Instance and watch of each first look that is still to be taken.
    pub(super) first_looks: Vec<(String, String)>,
    pub(super) closing: bool,
    pub(super) failing: bool,
}

impl Changes {
    pub(super) fn is_pruning(&self) -> bool {
        !self.now.gone.is_empty() || !self.writing.gone.is_empty()
    }

    /// What is to be written next: what could not be written before, else all that there is.
    pub(super) fn next_batch(&mut self) -> Arc<Batch> {
        if self.writing.is_empty() {
            self.writing = Arc::new(std::mem::take(&mut self.now));
            self.kept = 0;
        }
        Arc::clone(&self.writing)
    }

    /// Forgets outcomes if there are too many, but for what lies in inboxes.
    pub(super) fn stay_bounded(&mut self) {
        self.keep(MOST_WAITING);
    }

    fn keep(&mut self, most: usize) {
        let Batch { files, troubles, .. } = &mut self.now;
        if files.len() + troubles.len() <= most + self.kept {
            return;
        }
        troubles.clear();
        let inboxes = &self.inboxes;
        files.retain(|key, _| instance_of(key).is_some_and(|number| inboxes.contains(&number)));
        self.kept = files.len();
        error!(
            "the ledger has not been written for a million outcomes, which are forgotten: their files come again"
        );
    }
}

#[derive(Default, Clone)]
pub(super) struct Batch {
    pub(super) files: FxHashMap<Key, Option<Stamp>>,
    pub(super) troubles: FxHashMap<Key, Option<Trouble>>,
    pub(super) directories: FxHashMap<Key, Option<u64>>,
    pub(super) facts: Vec<(String, Vec<u8>)>,
    /// What is to be pruned, before anything else.
    pub(super) gone: Vec<Pruned>,
}

impl Batch {
    pub(super) fn is_empty(&self) -> bool {
        self.files.is_empty()
            && self.troubles.is_empty()
            && self.directories.is_empty()
            && self.facts.is_empty()
            && self.gone.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settle::disk::file_key;
    use std::ffi::OsStr;

    #[test]
    fn of_too_much_that_waits_the_inboxes_are_kept() {
        let stamp = Stamp { inode: 1, size: 2, mtime_seconds: 3, mtime_nanos: 4 };
        let mut changes = Changes { inboxes: [7].into_iter().collect(), ..Changes::default() };
        let mut enter = |instance, name: u32| {
            let name = name.to_string();
            changes.now.files.insert(file_key(instance, (1, OsStr::new(&name))), Some(stamp));
            changes.keep(10);
            changes.now.files.len()
        };
        assert_eq!((0..10).map(|name| enter(name % 2 * 7, name)).last(), Some(10));
        assert_eq!(enter(0, 10), 5, "five lie in the inbox");
        assert_eq!((11..21).map(|name| enter(0, name)).last(), Some(15), "ten more before it forgets again");
        assert_eq!(enter(0, 21), 5);
        assert_eq!((22..32).map(|name| enter(7, name)).last(), Some(15));
        assert_eq!(enter(7, 32), 16);
        changes.next_batch();
        assert!(changes.now.is_empty() && changes.kept == 0 && changes.writing.files.len() == 16);
    }
}
