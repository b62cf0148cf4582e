//! What was renamed while work was under way: carries an event that names the old place to the new one.
//!
//! The source notes each rename of a file within the tree; a lane asks before each attempt. Directories need no note:
//! events hold their node.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::event::{FileEvent, NodeId, Sequence};

/// Renames that are remembered while any lane has work. More than that, and the oldest are forgotten: their work
/// finds its file missing.
const MOST: usize = 65_536;

/// A file's directory and its name in it.
pub(super) type Place = (NodeId, Arc<OsStr>);

/// The renames. One lock, held for a look-up.
#[derive(Debug, Default)]
pub struct Renames {
    /// The latest rename's sequence number: an event behind it needs no look-up. 0 for none.
    latest: AtomicU64,
    /// How many were noted, those that are forgotten included.
    told: AtomicU64,
    notes: Mutex<Notes>,
}

#[derive(Debug, Default)]
struct Notes {
    from: HashMap<Place, VecDeque<(Sequence, Place)>>,
    order: VecDeque<Place>,
}

impl Renames {
    /// Notes that a file was renamed. Called by the source, in the order of the kernel's events.
    pub fn note(&self, at: Sequence, from: Place, to: Place) {
        let mut notes = self.lock();
        if notes.order.len() >= MOST {
            notes.forget_oldest();
        }
        notes.order.push_back(from.clone());
        notes.from.entry(from).or_default().push_back((at, to));
        self.latest.store(at.0, Ordering::Release);
        self.told.fetch_add(1, Ordering::Release);
    }

    /// How many renames have been told of so far.
    pub fn told(&self) -> u64 {
        self.told.load(Ordering::Acquire)
    }

    /// The places that files have left since so many renames had been told of, and how many that are now.
    pub fn left_since(&self, told: u64) -> (Vec<(NodeId, Arc<OsStr>)>, u64) {
        let notes = self.lock();
        let now = self.told();
        let known = notes.order.len();
        let new = usize::try_from(now - told).map_or(known, |new| new.min(known));
        (notes.order.range(known - new..).cloned().collect(), now)
    }

    /// Brings an event to where its file is now. Returns whether it was moved.
    pub fn follow(&self, event: &mut FileEvent) -> bool {
        if self.latest.load(Ordering::Acquire) <= event.sequence.0 {
            return false;
        }
        let notes = self.lock();
        let mut moved = false;
        let mut place = (event.node, Arc::clone(&event.name));
        while let Some((at, to)) = notes.next(&place, event.sequence) {
            event.sequence = *at;
            place = to.clone();
            moved = true;
        }
        (event.node, event.name) = place;
        moved
    }

    /// If the rename from `from` to `to`, told at `at`, follows at once upon one from there to here: when that was.
    pub(super) fn there(&self, at: Sequence, from: &Place, to: &Place) -> Option<Sequence> {
        let notes = self.lock();
        let (first, place) = notes.from.get(to)?.back()?;
        (place == from && first.0 + 2 == at.0).then_some(*first)
    }

    /// Was an event's file renamed up to that point in time?
    pub fn has_left(&self, event: &FileEvent, before: Sequence) -> bool {
        self.left_at(event).is_some_and(|at| at <= before)
    }

    /// When was an event's file renamed first, if it was?
    pub fn left_at(&self, event: &FileEvent) -> Option<Sequence> {
        if self.latest.load(Ordering::Acquire) <= event.sequence.0 {
            return None;
        }
        let place = (event.node, Arc::clone(&event.name));
        self.lock().next(&place, event.sequence).map(|(at, _)| *at)
    }

    /// Forgets everything: no event is under way.
    pub fn clear(&self) {
        if self.latest.swap(0, Ordering::AcqRel) != 0 {
            *self.lock() = Notes::default();
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// The first rename of that place behind a point in time.
    fn next(&self, place: &Place, after: Sequence) -> Option<&(Sequence, Place)> {
        self.from.get(place)?.iter().find(|(at, _)| *at > after)
    }

    fn forget_oldest(&mut self) {
        let Some(place) = self.order.pop_front() else { return };
        if let Some(list) = self.from.get_mut(&place) {
            list.pop_front();
            if list.is_empty() {
                self.from.remove(&place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Certainty;
    use notifyit_plugin_api::{Kind, Origin};

    fn place(name: &str) -> Place {
        (NodeId(0, 0), OsStr::new(name).into())
    }

    fn event(sequence: u64, name: &str) -> FileEvent {
        FileEvent {
            sequence: Sequence(sequence),
            node: NodeId(0, 0),
            name: OsStr::new(name).into(),
            kind: Kind::CloseWrite,
            certainty: Certainty::Told,
            origin: Origin::Live,
            directory: false,
            seen_nanos: 0,
            renamed_from: None,
        }
    }

    fn followed(renames: &Renames, sequence: u64, name: &str) -> String {
        let mut event = event(sequence, name);
        renames.follow(&mut event);
        event.name.to_string_lossy().into_owned()
    }

    #[test]
    fn an_event_follows_the_renames_behind_it_and_no_others() {
        let renames = Renames::default();
        renames.note(Sequence(10), place("x"), place("x.1"));
        renames.note(Sequence(20), place("x.1"), place("x.2"));
        renames.note(Sequence(21), place("x"), place("x.1"));
        assert_eq!(followed(&renames, 5, "x"), "x.2");
        assert_eq!(followed(&renames, 15, "x"), "x.1");
        assert_eq!(followed(&renames, 25, "x"), "x");
        assert_eq!(followed(&renames, 5, "y"), "y");
    }

    #[test]
    fn a_swap_by_three_renames_ends_where_each_file_is() {
        let renames = Renames::default();
        renames.note(Sequence(10), place("a"), place("t"));
        renames.note(Sequence(11), place("b"), place("a"));
        renames.note(Sequence(12), place("t"), place("b"));
        assert_eq!(followed(&renames, 1, "a"), "b");
        assert_eq!(followed(&renames, 2, "b"), "a");
    }

    #[test]
    fn an_exchange_is_two_renames_at_one_time() {
        let renames = Renames::default();
        renames.note(Sequence(10), place("a"), place("b"));
        assert_eq!(renames.there(Sequence(12), &place("b"), &place("a")), Some(Sequence(10)));
        assert_eq!(renames.there(Sequence(13), &place("b"), &place("a")), None, "something was in between");
        assert_eq!(renames.there(Sequence(12), &place("c"), &place("a")), None);
        renames.note(Sequence(10), place("b"), place("a"));
        assert_eq!(followed(&renames, 1, "a"), "b");
        assert_eq!(followed(&renames, 2, "b"), "a");
        assert_eq!(followed(&renames, 11, "a"), "a");
    }

    #[test]
    fn memory_is_bounded_and_given_back() {
        let renames = Renames::default();
        for i in 0..(MOST as u64 + 10) {
            renames.note(Sequence(i + 1), place(&format!("f{i}")), place(&format!("g{i}")));
        }
        assert_eq!(followed(&renames, 0, "f0"), "f0");
        assert_eq!(followed(&renames, 0, "f100"), "g100");
        renames.clear();
        assert_eq!(followed(&renames, 0, "f100"), "f100");
    }
}
