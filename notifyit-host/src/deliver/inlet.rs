//! Where the rescan puts in what it has found: whatever a lane wants and has not finished.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Gate;
use super::offered::Offered;
use crate::event::{Certainty, FileEvent, LaneId};
use crate::patterns::{Entry, Patterns};
use crate::settle::ledger::Ledger;
use crate::source::rescan::{Arrival, Finder, Found, Order, Turn};
use crate::source::shared::SharedTree;
use crate::sys;

/// What is done with files that were there before the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They count as finished.
    Skip,
    /// They are delivered.
    Deliver,
}

/// The rescan's end of the lanes.
#[derive(Debug)]
pub struct Inlet {
    pub(super) gates: Vec<Gate>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) tree: Arc<SharedTree>,
    /// For each watch: its patterns, and what is done with files that were there before.
    pub(super) watches: Vec<(Patterns, Existing)>,
    /// When the host started, before its first watch was in place: nanoseconds since 1970.
    pub(super) started_nanos: u64,
    pub(super) offered: Offered,
}

/// What is to be done with a file for one lane.
enum Judgement {
    Deliver,
    Finish,
}

impl Inlet {
    fn judge(&self, found: &Found<'_>, lane: usize) -> Judgement {
        let changed = found.stat.ctime_nanos;
        let before = |nanos: u64| if changed < nanos { Judgement::Finish } else { Judgement::Deliver };
        match found.order {
            // A file server's clock may be another than ours.
            Order::Poll { turn: Turn::AtStart, .. } => match self.existing(found) {
                Existing::Deliver => Judgement::Deliver,
                Existing::Skip => Judgement::Finish,
            },
            Order::Start { .. } | Order::Root(_) | Order::Poll { turn: Turn::Appeared, .. } => {
                match self.existing(found) {
                    Existing::Deliver => Judgement::Deliver,
                    Existing::Skip => before(self.started_nanos),
                }
            }
            Order::NewDirectories { arrival: Arrival::Made, .. } => Judgement::Deliver,
            Order::NewDirectories { arrival: Arrival::MovedIn, since_nanos, .. } => {
                // To a plugin that asked for landed, what was moved in has landed.
                if self.gates[lane].lane.subscription.wants_landed() {
                    Judgement::Deliver
                } else {
                    before(*since_nanos)
                }
            }
            Order::NewDirectories { arrival: Arrival::Doubted, since_nanos, .. } => before(*since_nanos),
            Order::Overflow | Order::Behind(_) | Order::Poll { .. } | Order::Quiet { .. } => {
                Judgement::Deliver
            }
            Order::Prune => Judgement::Deliver,
        }
    }

    fn existing(&self, found: &Found<'_>) -> Existing {
        self.watches[usize::from(found.watch.0)].1
    }

    fn found_for(&mut self, lane: usize, found: &Found<'_>, relative: &Path) -> bool {
        let id = LaneId(lane);
        let gate = &self.gates[lane];
        if matches!(found.order, Order::Behind(only) if *only != id) || gate.is_refusing() {
            return false;
        }
        let Some(kind) = gate.lane.subscription.wants_file(found.watch, relative) else { return false };
        let stamp = self.tree.read().terms(found.watch).stamp(found.stat);
        let version = self.ledger.version(found.directory, found.name, &stamp);
        if matches!(found.order, Order::Prune) {
            self.ledger.keep(id, version);
            return false;
        }
        if self.ledger.is_finished(id, version) {
            return false;
        }
        if let Judgement::Finish = self.judge(found, lane) {
            self.ledger.finish(id, version);
            return false;
        }
        let is_poll = matches!(found.order, Order::Poll { .. });
        if is_poll && self.offered.has(id, version) {
            return false;
        }
        self.gates[lane].take(FileEvent {
            sequence: found.sequence,
            node: found.node,
            name: Arc::from(found.name),
            kind,
            certainty: Certainty::Supposed,
            origin: found.order.origin(),
            directory: false,
            seen_nanos: sys::wall_nanos(),
            renamed_from: None,
        });
        if is_poll && !self.gates[lane].is_refusing() {
            self.offered.note(id, version, Instant::now());
        }
        true
    }
}

impl Finder for Inlet {
    fn begin(&mut self, order: &Order) {
        if matches!(order, Order::Prune) {
            self.ledger.begin_pruning();
        }
    }

    fn found(&mut self, found: &Found<'_>) -> bool {
        let relative = self.tree.read().relative(found.node, found.name);
        if !self.watches[usize::from(found.watch.0)].0.accepts(&relative, Entry::File) {
            return false;
        }
        // What has changed just now is told of, or will be.
        if let Order::Quiet { unchanged_for } = found.order
            && is_young(found.stat.ctime_nanos, *unchanged_for)
        {
            return false;
        }
        let due = (0..self.gates.len()).filter(|lane| self.found_for(*lane, found, &relative)).count();
        due > 0
    }

    fn end_of_directory(&mut self) {
        for gate in &mut self.gates {
            gate.hand_over();
        }
    }

    fn end(&mut self, order: &Order) {
        if matches!(order, Order::Prune) {
            self.ledger.end_pruning();
        }
        self.offered.forget_older_than(Instant::now());
        for gate in &mut self.gates {
            gate.try_again();
        }
    }
}

fn is_young(changed_nanos: u64, than: Duration) -> bool {
    sys::wall_nanos().checked_sub(changed_nanos).is_some_and(|age| Duration::from_nanos(age) < than)
}
