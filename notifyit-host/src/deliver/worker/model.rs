//! A worker with its lane, between a source and a rescan that the test plays, on real files, step by step: whatever
//! the plugin answers, whenever the kernel's events are read, wherever it is killed.
//!
//! Each version of a file has a number, which is what is written in it, and by which the plugin and the test know it.
//! Where the clock is coarse only that tells it from the next one: their sizes are the same, and often their times.

mod cases;
mod plugin;
mod rules;
mod start;
mod steps;

use std::collections::{HashSet, VecDeque};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use inotify::EventMask;
use notifyit_plugin_api::Kind;
use proptest::prelude::*;

use self::plugin::{Answer, Script, Scripted, fate, script, version_at};
use self::steps::{Step, Where, step};
use super::super::entrance::Entrance;
use super::super::existing::{Existing, Terms};
use super::super::inlet::Inlet;
use super::super::lane::Lane;
use super::super::lineup::{Lineup, Seat};
use super::super::retry::RetryPolicy;
use super::super::successor::{Heirs, Successor};
use super::super::{Outside, Places};
use super::{Flow, Message, Worker};
use crate::config::Isolation;
use crate::event::{Happened, LaneId, NodeId, RenamedFrom, Sequence, WatchId};
use crate::patterns::{Case, Patterns};
use crate::plugin::{Create, PluginLibrary, Services};
use crate::route::Subscription;
use crate::settle::Settle;
use crate::settle::ledger::{FirstLook, Ledger, Version};
use crate::settle::recorder::Recorders;
use crate::source::fence::SourceHandle;
use crate::source::rescan::{Finder, Found, Order, RescanHandle};
use crate::source::shared::SharedTree;
use crate::source::tree::Tree;
use crate::source::{Sink, filesystem};
use crate::sys;

const LANE: LaneId = LaneId(0);
const WATCH: WatchId = WatchId(0);
/// Few enough for the lane to fall behind.
const CAPACITY: usize = 8;

/// What the kernel has queued.
enum Told {
    Entry(EventMask, Where),
    Renamed(Where, Where),
    /// Everything before it has been read.
    Fence(Box<dyn FnOnce() + Send>),
}

struct World {
    directory: tempfile::TempDir,
    kind: Kind,
    library: PluginLibrary,
    tree: Arc<SharedTree>,
    ledger: Arc<Ledger>,
    nodes: [NodeId; 2],
    queue: VecDeque<Told>,
    sequence: u64,
    version: u64,
    clock: Clock,
    pause: Duration,
    isolation: Isolation,
    host: Option<Running>,
    /// The events that have been settled, by when they were read.
    settled: HashSet<u64>,
    known: HashSet<u64>,
}

/// The file system's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Clock {
    /// Each version has a time of its own, and here a size of its own too.
    Fine,
    /// It ticks every 10 ms.
    Coarse,
}

/// That of the coarse clock, and a little.
const GRAIN: Duration = Duration::from_millis(11);

/// What a kill ends.
struct Running {
    worker: Worker,
    entrance: Entrance,
    inlet: Inlet,
}

fn everything() -> Patterns {
    Patterns::compile::<&str>(&[], &[], Case::Sensitive).unwrap()
}

impl World {
    fn host(&mut self) -> &mut Running {
        self.host.as_mut().unwrap()
    }

    fn path(&self, (directory, name): Where) -> PathBuf {
        self.directory.path().join(["", "sub"][directory]).join(name)
    }

    fn step(&mut self, step: &Step) {
        match step {
            Step::Write(file) => {
                let path = self.path(*file);
                if !path.exists() {
                    self.queue.push_back(Told::Entry(EventMask::CREATE, *file));
                }
                self.write(&path);
                self.queue.push_back(Told::Entry(EventMask::CLOSE_WRITE, *file));
            }
            Step::Rename(from, to) => {
                if from != to && fs::rename(self.path(*from), self.path(*to)).is_ok() {
                    self.queue.push_back(Told::Renamed(*from, *to));
                }
            }
            Step::Grain if self.clock == Clock::Coarse => std::thread::sleep(GRAIN),
            Step::Grain => {}
            Step::Overflow => self.overflow(),
            Step::Remove(file) => drop(fs::remove_file(self.path(*file))),
            Step::Read(count) => self.read(*count),
            Step::Turn(count) => drop((0..*count).take_while(|_| self.turn()).count()),
            Step::Rescan => {
                self.rescan();
                self.look_again();
            }
            Step::Event(answer) => script(|script| script.events.push_back(*answer)),
            Step::Complete(place, answer) => plugin::complete(*place, *answer),
            Step::Late => self.host().worker.in_flight.first_is_late(),
            Step::Flush(answer) => script(|script| script.flushes.push_back(*answer)),
            Step::NewCode => self.change_over(),
            Step::Kill => {
                self.host = None;
                // With its threads.
                drop(script(|script| std::mem::take(&mut script.deferred)));
                self.start();
            }
        }
    }

    /// New code is handed out; the worker changes over to it at its next turn.
    fn change_over(&mut self) {
        let heirs = Heirs::make(self.create(), 1).unwrap();
        self.host().worker.lane.change_to(Arc::new(Successor::new(heirs, || {})), false);
    }

    fn write(&mut self, path: &Path) {
        self.version += 1;
        let number = self.version.to_string();
        if self.clock == Clock::Fine {
            let padding = " ".repeat(usize::try_from(self.version).unwrap());
            return fs::write(path, padding + &number).unwrap();
        }
        let mut file = File::create(path).unwrap();
        file.write_all(format!("{number:>20}").as_bytes()).unwrap();
        let tick = sys::wall_nanos() / 10_000_000 * 10_000_000;
        // Not in whole seconds, which would be another clock.
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_nanos(tick + 1)).unwrap();
    }

    /// The kernel's queue has no room for what happened since it was read.
    fn overflow(&mut self) {
        self.queue.retain(|told| matches!(told, Told::Fence(_)));
        self.host().entrance.lost();
        self.host().worker.outside.rescans.order(Order::Overflow);
    }

    /// As the source would: decodes so many events and hands them over.
    fn read(&mut self, count: usize) {
        let count = count.min(self.queue.len());
        for told in self.queue.drain(..count).collect::<Vec<_>>() {
            self.sequence += 1;
            match told {
                Told::Entry(what, file) => self.told(what, file, None),
                Told::Renamed(from, to) => self.renamed(from, to),
                Told::Fence(reply) => {
                    self.host().entrance.end_of_burst();
                    reply();
                }
            }
        }
        self.host().entrance.end_of_burst();
        let sequence = self.sequence;
        let host = self.host();
        host.worker.outside.rescans.set_decoded(sequence);
        if host.entrance.is_idle() && host.worker.outside.rescans.is_idle() {
            host.worker.outside.places.renames.clear();
        }
    }

    fn told(&mut self, what: EventMask, (directory, name): Where, renamed_from: Option<&RenamedFrom>) {
        let (sequence, node) = (Sequence(self.sequence), self.nodes[directory]);
        let seen_nanos = sys::wall_nanos();
        self.host().entrance.event(&Happened {
            sequence,
            node,
            watch: WATCH,
            name: OsStr::new(name),
            what,
            directory: false,
            seen_nanos,
            renamed_from,
        });
    }

    fn renamed(&mut self, from: Where, to: Where) {
        let (serials, relative) = {
            let tree = self.tree.read();
            let relative = tree.relative(self.nodes[from.0], OsStr::new(from.1));
            (self.nodes.map(|node| tree.serial(node)), relative)
        };
        let (sequence, nodes) = (Sequence(self.sequence), self.nodes);
        let host = self.host();
        host.entrance.renamed((serials[from.0], OsStr::new(from.1)), (serials[to.0], OsStr::new(to.1)));
        if !host.entrance.is_idle() || !host.worker.outside.rescans.is_idle() {
            let place = |file: Where| (nodes[file.0], Arc::from(OsStr::new(file.1)));
            host.worker.outside.places.renames.note(sequence, place(from), place(to));
        }
        let (place, relative) =
            ((nodes[from.0], Arc::from(OsStr::new(from.1))), Arc::from(relative.as_path()));
        let from = RenamedFrom { watch: WATCH, place, relative, was_wanted: true };
        self.told(EventMask::MOVED_TO, to, Some(&from));
    }

    /// One turn of the worker, if it would not wait for others. Returns whether it was made.
    fn turn(&mut self) -> bool {
        let host = self.host.as_mut().unwrap();
        gather(&mut host.worker);
        let worker = &mut host.worker;
        let is_due = worker.racy.next_due().is_some_and(|due| due <= Instant::now());
        let is_due = is_due || !worker.in_flight.is_empty() && worker.desk().has_completed();
        let is_due = is_due || worker.in_flight.has_late();
        if worker.local.is_empty() && !worker.unflushed && !worker.waiting.has_due() && !is_due {
            return false;
        }
        // It is not to wait.
        worker.lane.nudge();
        assert!(worker.turn() == Flow::GoOn, "nobody has closed the lane");
        let fences = worker.outside.source.take_fences();
        self.queue.extend(fences.into_iter().map(Told::Fence));
        true
    }

    fn rescan(&mut self) {
        for order in self.host().worker.outside.rescans.take_orders() {
            self.carry_out(&order);
        }
    }

    /// What is to be looked for in a second or more. Returns whether there is anything.
    fn look_again(&mut self) -> bool {
        let orders = self.host().worker.outside.rescans.take_later();
        orders.iter().for_each(|order| self.carry_out(order));
        !orders.is_empty()
    }

    fn carry_out(&mut self, order: &Order) {
        let sequence = Sequence(self.sequence);
        self.host().inlet.begin(order);
        for (directory, node) in self.nodes.into_iter().enumerate() {
            for file in self.files().into_iter().filter(|file| file.0 == directory) {
                let stat = sys::stat(&self.path(file)).unwrap().unwrap();
                let (serial, name) = (self.tree.read().serial(node), OsStr::new(file.1));
                let found = Found { sequence, node, directory: serial, watch: WATCH, name, stat, order };
                self.host().inlet.found(&found);
            }
            self.host().inlet.end_of_directory();
        }
        self.host().inlet.end(order);
    }

    /// What is there now.
    fn files(&self) -> Vec<Where> {
        let all = (0..2).flat_map(|directory| ["a", "b", "c", "d", "e", "f"].map(|name| (directory, name)));
        all.filter(|file| self.path(*file).exists()).collect()
    }
}

/// Puts all that lies before a worker where the test can see it, which is where it would go next.
fn gather(worker: &mut Worker) {
    let mut inbox = VecDeque::new();
    worker.lane.desks[0].fetch(&mut inbox);
    worker.local.append(&mut inbox);
}

fn run(kind: Kind, clock: Clock, steps: &[Step]) -> Result<(), TestCaseError> {
    run_in(World::new(kind, clock), steps)
}

fn run_in(mut world: World, steps: &[Step]) -> Result<(), TestCaseError> {
    for step in steps {
        world.step(step);
        world.check()?;
    }
    world.come_to_rest()
}

/// Few for each run of the tests; `PROPTEST_CASES` asks for more.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(60);
    ProptestConfig { cases, failure_persistence: None, max_shrink_time: 150_000, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_happens_each_event_is_at_one_place_and_nothing_is_lost(
        kind in prop::sample::select(vec![Kind::Landed, Kind::CloseWrite]),
        clock in prop::sample::select(vec![Clock::Fine, Clock::Coarse]),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        run(kind, clock, &steps)?;
    }

    #[test]
    fn nor_if_the_plugin_lives_in_a_process_of_its_own(
        kind in prop::sample::select(vec![Kind::Landed, Kind::CloseWrite]),
        clock in prop::sample::select(vec![Clock::Fine, Clock::Coarse]),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        run_in(World::isolated(kind, clock), &steps)?;
    }

    #[test]
    fn nor_if_it_has_several_in_hand(
        kind in prop::sample::select(vec![Kind::Landed, Kind::CloseWrite]),
        clock in prop::sample::select(vec![Clock::Fine, Clock::Coarse]),
        isolation in prop::sample::select(vec![Isolation::Inline, Isolation::Process]),
        steps in proptest::collection::vec(step(), 0..80),
    ) {
        run_in(World::flying(kind, clock, isolation), &steps)?;
    }
}
