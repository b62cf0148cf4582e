//! Was the file's directory where the tree had it?
//!
//! A directory that is renamed is elsewhere a moment before the source has read of that. If another one has its place
//! by then (two that are exchanged, or one that is made anew at once), the file that an attempt finds there is not the
//! event's. What shows it is the directory's identity; one look for each directory of a burst, before it is settled.

use rustc_hash::FxHashMap;
use tracing::debug;

use super::attempt::Attempt;
use super::retry::Work;
use super::worker::Worker;
use crate::event::NodeId;
use crate::sys;

/// So often an event is tried again for that.
const TIMES: u8 = 2;

impl Worker {
    /// Takes out of the burst what is to be tried again, when the source has read what there is.
    pub(super) fn misplaced(&mut self) -> Vec<Work> {
        let (attempt, mut looked) = (&self.attempt, FxHashMap::default());
        let mut is_misplaced = |work: &mut Work| {
            let node = work.event.node;
            work.event.is_landing()
                && work.misplaced < TIMES
                && !*looked.entry(node).or_insert_with(|| attempt.is_in_place(node))
        };
        let mut misplaced: Vec<Work> = self.burst.extract_if(.., |work| is_misplaced(work)).collect();
        for work in &mut misplaced {
            work.misplaced += 1;
        }
        misplaced
    }
}

impl Attempt {
    /// Is the directory that lies where the tree has this one this one? If none does, it has left since.
    fn is_in_place(&self, node: NodeId) -> bool {
        let (known, path) = {
            let tree = self.places.tree.read();
            if !tree.is_known(node) {
                return true;
            }
            (tree.identity(node), tree.path(node))
        };
        let there = sys::identity(&path).and_then(|there| there.lasting());
        let is_in_place = known.is_none() || there.is_none() || known == there;
        if !is_in_place {
            debug!("another directory was at {path:?} than the source had read of; trying again");
        }
        is_in_place
    }
}
