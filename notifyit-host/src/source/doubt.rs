//! Directories that were not where an event said they were: looked for again when what was queued has been read, and
//! twice after that.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use super::Sink;
use super::follow::Look;
use super::inotify::Source;
use super::rescan::Arrival;
use crate::event::NodeId;

/// How long after a doubt about what is where the whole tree is walked.
const REPAIR_AFTER: Duration = Duration::from_secs(1);

/// The pauses between the looks at what is doubted.
const LOOK_AGAIN: [Duration; 3] = [Duration::ZERO, Duration::from_millis(20), Duration::from_millis(200)];

/// A directory that was not where an event said it was.
#[derive(Debug)]
pub(super) struct Doubt {
    parent: NodeId,
    name: Box<OsStr>,
    arrival: Arrival,
    looks: usize,
    at: Instant,
}

impl<S: Sink> Source<S> {
    pub(super) fn doubt(&mut self, parent: NodeId, name: &OsStr, arrival: Arrival) {
        let now = Instant::now();
        self.doubts.push(Doubt { parent, name: name.into(), arrival, looks: 0, at: now });
        if arrival == Arrival::Doubted {
            // What was told and what is there did not fit: once things are quieter, every directory is looked at.
            self.repair_at.get_or_insert(now + REPAIR_AFTER);
        }
    }

    /// Looks again for what was not where it should be. To be called when what was queued has been read. Returns when
    /// to look next.
    pub(super) fn settle_doubts(&mut self, now: Instant) -> Option<Instant> {
        if self.doubts.is_empty() {
            return None;
        }
        let (due, later) = std::mem::take(&mut self.doubts).into_iter().partition(|doubt| doubt.at <= now);
        self.doubts = later;
        // While events are queued, the tree is not yet what is there: a look that finds nothing does not count.
        let is_drained = self.queued_bytes() == 0;
        let mut seen = HashSet::new();
        for doubt in Vec::<Doubt>::into_iter(due) {
            if self.tree.read().is_alive(doubt.parent) && seen.insert((doubt.parent, doubt.name.clone())) {
                self.look_again(doubt, now, is_drained);
            }
        }
        self.doubts.iter().map(|doubt| doubt.at).min()
    }

    fn look_again(&mut self, doubt: Doubt, now: Instant, is_drained: bool) {
        let others = self.doubts.len();
        self.adopt(doubt.parent, &doubt.name, doubt.arrival);
        // What this look has not found either is this doubt, not a new one.
        let is_this = |d: &Doubt| d.parent == doubt.parent && d.name == doubt.name;
        let fresh = self.doubts.split_off(others);
        self.doubts.extend(fresh.into_iter().filter(|d| !is_this(d)));
        let looks = if is_drained { doubt.looks + 1 } else { doubt.looks.max(1) };
        if let Some(pause) = LOOK_AGAIN.get(looks) {
            self.doubts.push(Doubt { looks, at: now + *pause, ..doubt });
            return;
        }
        let known = self.tree.read().child(doubt.parent, &doubt.name);
        if let Some(node) = known.filter(|node| self.look(*node) == Look::Missing) {
            self.drop_subtree(node);
        }
    }
}
