//! Where the rescan puts in what it has found: whatever a lane wants and has not finished.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use notifyit_plugin_api::Kind;
use rustc_hash::FxHashSet;

use super::Outside;
use super::entrance::Gate;
use super::existing::{Changed, Existing, Look, Terms};
use super::lane::From;
use super::lineup::{Lineup, Seat};
use super::offered::Offered;
use super::takers::Takers;
use crate::event::{Certainty, FileEvent, LaneId, NodeId, WatchId};
use crate::patterns::Entry;
use crate::settle::ledger::{Gone, Ledger, Stamp, Version};
use crate::settle::trouble::Trouble;
use crate::source::prune::{LookedInto, RootSeen};
use crate::source::rescan::{Arrival, Finder, Found, Order, Turn};
use crate::source::shared::{Numbering, SharedTree};
use crate::sys;

/// The rescan's end of the lanes.
#[derive(Debug)]
pub struct Inlet {
    pub(super) lineup: Arc<Lineup>,
    /// The lineup that the gates and looks are of.
    pub(super) seats: Arc<Vec<Seat>>,
    pub(super) gates: Vec<Gate>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) tree: Arc<SharedTree>,
    takers: Arc<Takers>,
    /// The watches, and their names.
    pub(super) watches: Vec<Terms>,
    pub(super) names: Vec<String>,
    /// For each lane and watch: its first look.
    pub(super) looks: Vec<Vec<Look>>,
    pub(super) offered: Offered,
    /// What the ledger knows and is gone.
    pub(super) gone: Vec<(NodeId, Gone)>,
}

/// What is to be done with a file for one lane.
enum Judgement {
    Deliver,
    Finish,
}

impl Inlet {
    pub(super) fn new(lineup: Arc<Lineup>, watches: Vec<Terms>, outside: &Outside) -> Inlet {
        let Outside { places, ledger, takers, .. } = outside;
        let (ledger, tree, takers) = (Arc::clone(ledger), Arc::clone(&places.tree), Arc::clone(takers));
        let names = places.watches.clone();
        let seats = lineup.seats();
        let gate = |seat: &Seat| Gate::new(Arc::clone(&seat.lane), From::Rescan);
        let looks = |seat: &Seat| seat.looks.iter().cloned().map(Look::new).collect();
        let (gates, looks) = (seats.iter().map(gate).collect(), seats.iter().map(looks).collect());
        let (offered, gone) = Default::default();
        Inlet { lineup, seats, gates, ledger, tree, takers, watches, names, looks, offered, gone }
    }

    /// Who has come since the last order, and who has left?
    fn follow_lineup(&mut self) {
        let seats = self.lineup.seats();
        if Arc::ptr_eq(&seats, &self.seats) {
            return;
        }
        let mut known: Vec<_> = self.gates.drain(..).zip(self.looks.drain(..)).collect();
        for seat in seats.iter() {
            let stays = known.iter().position(|(gate, _)| Arc::ptr_eq(&gate.lane, &seat.lane));
            let (gate, looks) = match stays {
                Some(place) => known.swap_remove(place),
                None => {
                    // What the lane before it was offered may have been left by that.
                    self.offered.forget(seat.lane.id);
                    let looks = seat.looks.iter().cloned().map(Look::new).collect();
                    (Gate::new(Arc::clone(&seat.lane), From::Rescan), looks)
                }
            };
            self.gates.push(gate);
            self.looks.push(looks);
        }
        self.seats = seats;
    }

    /// All that the ledger keeps something for, but for plugins that are away.
    fn lanes(&self) -> Vec<LaneId> {
        self.gates.iter().map(|gate| gate.lane.id).chain(self.takers.inboxes()).collect()
    }

    fn is_polled(&self, watch: usize) -> bool {
        u16::try_from(watch).is_ok_and(|id| self.tree.read().terms(WatchId(id)).polled)
    }

    /// A look for a lane that has come while the host runs has been taken: of every watch whose directories the order
    /// goes through. What was there before is finished then, whether or not there was room for the rest.
    fn late_looks_taken(&mut self, order: &Order) {
        let of_root = |root: &NodeId, watch: usize| {
            let tree = self.tree.read();
            tree.is_known(*root) && usize::from(tree.watch(*root).0) == watch
        };
        let there: FxHashSet<WatchId> = match order {
            Order::Joined(_) => self.watches_there(),
            _ => FxHashSet::default(),
        };
        let is_there = |watch: usize| u16::try_from(watch).is_ok_and(|id| there.contains(&WatchId(id)));
        let goes_through = |watch: usize, lane: LaneId| match order {
            Order::Joined(only) => *only == lane && is_there(watch) && !self.is_polled(watch),
            Order::Poll { root, .. } | Order::Root(root) => of_root(root, watch),
            _ => false,
        };
        for seat in self.seats.iter() {
            for (watch, name) in self.names.iter().enumerate() {
                if seat.is_pending(watch) && goes_through(watch, seat.lane.id) {
                    seat.pending[watch].store(false, Ordering::Release);
                    let lane = &seat.lane.name;
                    self.ledger.first_looks_taken(&|instance, watch| instance == lane && watch == name);
                }
            }
        }
    }

    fn judge(&mut self, found: &Found<'_>, relative: &Path, lane: usize) -> Judgement {
        let changed = found.stat.ctime_nanos;
        let before = |nanos: u64| if changed < nanos { Judgement::Finish } else { Judgement::Deliver };
        let watch = usize::from(found.watch.0);
        if self.seats[lane].is_pending(watch) && !matches!(found.order, Order::NewDirectories { .. }) {
            // Where it is polled, too: the host is at work, and what lands before the poll is through is new.
            return self.judge_existing(found, relative, lane, Changed::At(changed));
        }
        match found.order {
            Order::Poll { turn: Turn::AtStart, .. } => {
                self.judge_existing(found, relative, lane, Changed::Before)
            }
            Order::Start { .. }
            | Order::Root(_)
            | Order::Unwatched { .. }
            | Order::NewDirectories { arrival: Arrival::Replaced, .. }
            | Order::Poll { turn: Turn::Appeared, .. } => {
                self.judge_existing(found, relative, lane, Changed::At(changed))
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
            Order::Overflow
            | Order::Behind(_)
            | Order::Joined(_)
            | Order::Poll { .. }
            | Order::Quiet { .. }
            | Order::Prune => Judgement::Deliver,
        }
    }

    /// Does a file that waits for its next try stay as it is, in this look? When it is due, its lane looks for it.
    fn leaves_alone(&self, lane: usize, order: &Order, trouble: &Trouble) -> bool {
        let wait = Duration::from_nanos(trouble.wait(sys::wall_nanos()));
        match order {
            _ if self.gates[lane].is_crowded() => {}
            Order::Poll { turn: Turn::Usual, .. } => return !wait.is_zero(),
            Order::Behind(_) if !wait.is_zero() => {}
            // It looks for what no event has told of.
            Order::Quiet { .. } => {}
            _ => return false,
        }
        self.gates[lane].lane.look_again(Instant::now() + wait);
        true
    }

    fn judge_existing(
        &mut self,
        found: &Found<'_>,
        relative: &Path,
        lane: usize,
        changed: Changed,
    ) -> Judgement {
        let watch = usize::from(found.watch.0);
        match self.watches[watch].existing {
            Existing::Skip if self.looks[lane][watch].was_there(relative, changed) => Judgement::Finish,
            Existing::Skip | Existing::Deliver => Judgement::Deliver,
        }
    }

    /// What was there at first has been looked at.
    fn first_looks_taken(&mut self) {
        let there = self.watches_there();
        let is_polled = |id| self.tree.read().terms(id).polled;
        let ids = (0_u16..).map(WatchId).zip(&self.names);
        let there: Vec<&str> = ids
            .filter(|(id, _)| there.contains(id) || is_polled(*id))
            .map(|(_, name)| name.as_str())
            .collect();
        let late = |lane: &str| {
            let seat = self.seats.iter().find(|seat| seat.lane.name == lane);
            seat.is_none_or(|seat| (0..self.names.len()).any(|watch| seat.is_pending(watch)))
        };
        self.ledger.first_looks_taken(&|lane, watch| there.contains(&watch) && !late(lane));
    }

    /// The watches whose roots are there.
    fn watches_there(&self) -> FxHashSet<WatchId> {
        let tree = self.tree.read();
        tree.all().into_iter().map(|node| tree.watch(node)).collect()
    }

    fn say_skipped(&mut self) {
        for (gate, looks) in self.gates.iter().zip(&mut self.looks) {
            for (look, watch) in looks.iter_mut().zip(&self.names) {
                look.say_skipped(&gate.lane.name, watch);
            }
        }
    }

    fn found_for(&mut self, lane: usize, found: &Found<'_>, relative: &Path) -> bool {
        let gate = &self.gates[lane];
        let id = gate.lane.id;
        if matches!(found.order, Order::Behind(only) | Order::Joined(only) if *only != id) {
            return false;
        }
        let Some(kind) = gate.lane.subscription.wants_file(found.watch, relative) else { return false };
        let place = (found.directory, found.name);
        let stamped = self.tree.read().terms(found.watch).stamp(found.stat);
        if matches!(found.order, Order::Prune) {
            self.ledger.memory().inspect(|memory| memory.keep(id, place));
            return false;
        }
        let stamp = Stamp::of(&stamped);
        if self.ledger.has(id, place, stamp) {
            return false;
        }
        let trouble = self.ledger.waiting(id, place, stamp);
        if trouble.as_ref().is_some_and(|trouble| self.leaves_alone(lane, found.order, trouble)) {
            return false;
        }
        let name = Arc::from(found.name);
        let version = Version::new(found.directory, &name, &stamped);
        // What has been tried, is asked for, or was handed on is none of what was there before.
        if trouble.is_none() && self.takers.via(&self.ledger, id, &version).is_none() {
            if kind == Kind::Emitted {
                return false;
            }
            if matches!(self.judge(found, relative, lane), Judgement::Finish) {
                self.ledger.finish(id, &version);
                return false;
            }
        }
        // Not before: who looks for it when there is room again takes nothing for what was there before.
        if self.gates[lane].is_refusing() {
            return false;
        }
        let is_poll = matches!(found.order, Order::Poll { .. } | Order::Unwatched { .. });
        if is_poll && self.offered.has(id, &version) {
            return false;
        }
        self.gates[lane].take(FileEvent {
            sequence: found.sequence,
            node: found.node,
            name,
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

impl Numbering for Ledger {
    fn number(&self, parent: u64, name: &OsStr) -> u64 {
        Ledger::number(self, (parent, name))
    }

    fn renamed(&self, number: u64, from: (u64, &OsStr), to: (u64, &OsStr)) {
        self.directory_renamed(number, from, to);
    }

    fn exchanged(&self, one: (u64, (u64, &OsStr)), other: (u64, (u64, &OsStr))) {
        self.directories_are(&[one, other]);
    }
}

impl Finder for Inlet {
    fn begin(&mut self, order: &Order) {
        self.follow_lineup();
        if matches!(order, Order::Prune) {
            self.ledger.memory().inspect(|memory| memory.begin_pruning(&self.lanes()));
        }
    }

    fn found(&mut self, found: &Found<'_>) -> bool {
        let relative = {
            let tree = self.tree.read();
            if !tree.is_known(found.node) {
                return false;
            }
            tree.relative(found.node, found.name)
        };
        if !self.watches[usize::from(found.watch.0)].patterns.accepts(&relative, Entry::File) {
            return false;
        }
        // What has changed just now is told of, or will be.
        if let Order::Quiet { unchanged_for } = found.order
            && is_young(found.stat.ctime_nanos, *unchanged_for)
        {
            return false;
        }
        if let (Order::Prune, Some(memory)) = (found.order, self.ledger.memory()) {
            let place = (found.directory, found.name);
            self.takers.inboxes().into_iter().for_each(|inbox| memory.keep(inbox, place));
        }
        let due = (0..self.gates.len()).filter(|lane| self.found_for(*lane, found, &relative)).count();
        due > 0
    }

    fn end_of_directory(&mut self) {
        for gate in &mut self.gates {
            gate.hand_over();
        }
    }

    fn is_full(&self, lane: LaneId) -> bool {
        self.gates.iter().any(|gate| gate.lane.id == lane && gate.is_refusing())
    }

    fn end(&mut self, order: &Order) {
        if matches!(order, Order::Prune) {
            self.ledger
                .memory()
                .inspect(|memory| memory.end_pruning(&self.lanes(), &self.tree.read().serials()));
        }
        if matches!(order, Order::Start { .. } | Order::Root(_) | Order::Poll { turn: Turn::Appeared, .. }) {
            self.first_looks_taken();
        }
        self.late_looks_taken(order);
        self.say_skipped();
        self.offered.forget_older_than(Instant::now());
        for gate in &mut self.gates {
            if matches!(order, Order::Behind(lane) if *lane == gate.lane.id) && !gate.is_refusing() {
                gate.lane.caught_up();
            }
            gate.try_again();
        }
    }

    fn knows_directories(&self) -> bool {
        self.ledger.has_directories()
    }

    fn root_is(&mut self, root: &RootSeen) {
        let watch = &self.names[usize::from(root.watch.0)];
        self.ledger.root_is(watch, (root.filesystem, root.inode));
    }

    fn may_forget(&mut self, root: &RootSeen) -> bool {
        self.may_forget_beneath(root)
    }

    fn look_for_gone(&mut self, directory: LookedInto<'_>) -> usize {
        self.find_gone(directory)
    }

    fn has_gone(&self) -> bool {
        !self.gone.is_empty()
    }

    fn forget_gone(&mut self, in_place: &FxHashSet<NodeId>, known: FxHashSet<u64>) {
        self.forget_found(in_place, known);
    }

    fn end_pruning(&mut self) {
        self.ledger.pruned();
    }
}

fn is_young(changed_nanos: u64, than: Duration) -> bool {
    sys::wall_nanos().checked_sub(changed_nanos).is_some_and(|age| Duration::from_nanos(age) < than)
}
