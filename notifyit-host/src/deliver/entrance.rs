//! Where the source puts events in.

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use inotify::WatchMask;
use notifyit_plugin_api::{Kind, Origin};

use super::Outside;
use super::lane::{From, Lane};
use super::lineup::Lineup;
use super::takers::{Moved, Takers};
use crate::event::{Certainty, FileEvent, Happened, NodeId, WatchId};
use crate::patterns::Patterns;
use crate::route::entry;
use crate::settle::ledger::{Ledger, Stamp};
use crate::source::Sink;
use crate::source::shared::SharedTree;
use crate::sys;

/// Where the source puts events in: asks every lane's subscription, keeps bursts together.
#[derive(Debug)]
pub struct Entrance {
    lineup: Arc<Lineup>,
    gates: Vec<Gate>,
    /// The patterns of each watch.
    watches: Vec<Patterns>,
    tree: Arc<SharedTree>,
    ledger: Arc<Ledger>,
    takers: Arc<Takers>,
    /// What went along with the last rename.
    moved: Moved,
    /// Does any plugin go by the path?
    needs_path: bool,
    path: PathBuf,
}

impl Entrance {
    pub(super) fn new(lineup: Arc<Lineup>, watches: Vec<Patterns>, outside: &Outside) -> Entrance {
        let Outside { places, ledger, takers, .. } = outside;
        let (gates, path) = Default::default();
        let mut entrance = Entrance {
            lineup,
            gates,
            watches,
            tree: Arc::clone(&places.tree),
            ledger: Arc::clone(ledger),
            takers: Arc::clone(takers),
            moved: Moved::default(),
            needs_path: false,
            path,
        };
        entrance.lineup_changed();
        entrance
    }
}

/// So many of the files that a rescan has found in one directory are handed over at once.
const MOST_HELD: usize = 256;

/// A lane's end of it: a burst for each worker.
#[derive(Debug)]
pub(super) struct Gate {
    pub(super) lane: Arc<Lane>,
    origin: From,
    bursts: Vec<Vec<FileEvent>>,
    /// What the lane has room for, as it was when this burst first needed to know.
    room: usize,
    held: usize,
    refused: u64,
    has_refused: bool,
}

impl Gate {
    pub(super) fn new(lane: Arc<Lane>, origin: From) -> Gate {
        let bursts = lane.desks.iter().map(|_| Vec::new()).collect();
        Gate { lane, origin, bursts, room: 0, held: 0, refused: 0, has_refused: false }
    }

    /// Has the lane had no room since the last [`Gate::try_again`]?
    pub(super) fn is_refusing(&self) -> bool {
        self.has_refused
    }

    /// Is the other half of the queue to be left to files that have not failed? Where nothing is under way, one that
    /// has failed keeps no other out, however short the queue is.
    pub(super) fn is_crowded(&self) -> bool {
        let is_empty = self.held == 0 && self.lane.under_way() == 0;
        !is_empty && self.lane.is_crowded(self.held + 1)
    }

    pub(super) fn try_again(&mut self) {
        self.has_refused = false;
    }

    pub(super) fn take(&mut self, event: FileEvent) {
        let workers = self.bursts.len();
        let worker = if workers == 1 { 0 } else { worker_of(event.node, &event.name, workers) };
        self.take_for(worker, event);
    }

    /// Takes it behind what lies before the worker of another place.
    fn take_behind(&mut self, (node, name): &(NodeId, Arc<OsStr>), event: FileEvent) {
        self.take_for(worker_of(*node, name, self.bursts.len()), event);
    }

    fn take_for(&mut self, worker: usize, event: FileEvent) {
        // Of what a rescan finds again, a worker that does not come back gets no more: it would fill the lane's queue
        // for the others.
        if event.is_landing() && self.lane.passes_over(worker) {
            return;
        }
        if self.held >= self.room {
            self.room = self.lane.room(self.origin);
        }
        if self.held >= self.room {
            self.refused += 1;
            self.has_refused = true;
            return;
        }
        self.held += 1;
        self.bursts[worker].push(event);
        // The kernel's bursts are short; a directory may hold a million files.
        if self.origin == From::Rescan && self.held >= MOST_HELD {
            self.hand_over();
        }
    }

    pub(super) fn hand_over(&mut self) {
        if self.held == 0 && self.refused == 0 {
            return;
        }
        for (worker, burst) in self.bursts.iter_mut().enumerate() {
            if !burst.is_empty() {
                self.lane.take(worker, burst);
            }
        }
        if self.refused > 0 {
            self.lane.refuse(std::mem::take(&mut self.refused));
        }
        (self.held, self.room) = (0, 0);
    }
}

/// What was finished under a file's old name may have been another file, that had come there before the rename was
/// told of. Then this one is still to be handled.
fn mistaken(
    lane: &Lane,
    (ledger, tree): (&Ledger, &SharedTree),
    happened: &Happened<'_>,
    relative: &Path,
) -> Option<(Kind, Certainty)> {
    happened.renamed_from.filter(|_| !happened.directory)?;
    let kind = lane.subscription.wants_file(happened.watch, relative)?;
    let (directory, path, terms) = {
        let tree = tree.read();
        let path = tree.path(happened.node).join(happened.name);
        (tree.serial(happened.node), path, tree.terms(happened.watch))
    };
    let place = (directory, happened.name);
    if !ledger.knows(lane.id, place) {
        return None;
    }
    let stamp = Stamp::of(&terms.stamp(sys::stat(&path).ok().flatten()?));
    ledger.is_of_another_file(lane.id, place, stamp).then_some((kind, Certainty::Supposed))
}

/// Events of one path always go to the same worker.
fn worker_of(node: NodeId, name: &OsStr, workers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    name.as_bytes().hash(&mut hasher);
    usize::try_from(hasher.finish() % workers as u64).unwrap_or(0)
}

impl Sink for Entrance {
    fn lineup_changed(&mut self) {
        self.end_of_burst();
        let seats = self.lineup.seats();
        self.gates = seats.iter().map(|seat| Gate::new(Arc::clone(&seat.lane), From::Kernel)).collect();
        self.needs_path = seats.iter().any(|seat| seat.lane.subscription.needs_path());
    }

    fn interest(&self, watch: WatchId) -> WatchMask {
        self.gates.iter().fold(WatchMask::empty(), |mask, gate| mask | gate.lane.subscription.interest(watch))
    }

    fn event(&mut self, happened: &Happened<'_>) {
        let patterns = &self.watches[usize::from(happened.watch.0)];
        let by_path = patterns.needs_path() || happened.directory;
        if by_path || self.needs_path {
            self.path = self.tree.read().relative(happened.node, happened.name);
        }
        // A directory that is excluded is not watched: what is told of has none above it, and its name suffices.
        let accepted = if by_path {
            patterns.accepts(&self.path, entry(happened))
        } else {
            patterns.accepts_name(happened.name)
        };
        if !accepted {
            return;
        }
        let mut name = None;
        for gate in &mut self.gates {
            let wanted = gate.lane.subscription.wants(happened, &self.path);
            let mistaken = || mistaken(&gate.lane, (&self.ledger, &self.tree), happened, &self.path);
            let Some((kind, certainty)) = wanted.or_else(mistaken) else { continue };
            let name = name.get_or_insert_with(|| Arc::from(happened.name));
            let event = FileEvent {
                sequence: happened.sequence,
                node: happened.node,
                name: Arc::clone(name),
                kind,
                certainty,
                origin: Origin::Live,
                directory: happened.directory,
                seen_nanos: happened.seen_nanos,
                renamed_from: happened.renamed_from.map(|from| Arc::clone(&from.relative)),
            };
            match happened.renamed_from {
                // What is under way for the old name goes on to this one, and is to be there first.
                Some(from) if wanted.is_none() => gate.take_behind(&from.place, event),
                _ => gate.take(event),
            }
        }
    }

    fn end_of_burst(&mut self) {
        for gate in &mut self.gates {
            gate.hand_over();
        }
    }

    fn renamed(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) {
        self.moved = self.takers.renamed(&self.ledger, from, to);
        for gate in &self.gates {
            if gate.lane.subscription.wants_landed() {
                // It has landed there, whatever was finished.
                self.ledger.forget(gate.lane.id, to);
                self.ledger.is_gone(gate.lane.id, from);
            } else {
                self.ledger.rename(gate.lane.id, from, to);
            }
        }
    }

    fn rename_is_noted(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) {
        // Who puts a file in looks afterwards whether a rename of it is noted.
        self.takers.rename_is_noted(&self.ledger, (from, to), &self.moved);
    }

    fn is_idle(&self) -> bool {
        self.gates.iter().all(|gate| gate.held == 0 && gate.lane.is_idle())
    }

    fn lost(&mut self) {
        self.gates.iter().for_each(|gate| gate.lane.lost());
    }
}
