//! From routed events to the plugins: one lane per plugin, so that a slow one keeps nobody else waiting.
//!
//! | file | holds |
//! |---|---|
//! | `inlet` | where the rescan puts in what it has found |
//! | `offered` | what polls have put in already |
//! | `lane` | a plugin's bounded queue and what its workers share |
//! | `worker` | the thread that calls the plugin: attempt, verdict, flush |
//! | `attempt` | where the file is now, what it is like, the call |
//! | `complete` | is a file complete that nobody has told us is? |
//! | `retry` | when to try again, and what waits until then |
//! | `pause` | when the plugin, not the file, is at fault |
//! | `report` | what a lane says in the log |
//! | `watchdog` | says who does not come back |

mod inlet;
mod offered;
mod lane;
mod worker;
mod attempt;
mod complete;
mod pause;
mod report;
pub mod retry;
mod watchdog;

use std::ffi::OsStr;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use inotify::WatchMask;
use notifyit_plugin_api::Origin;
use tracing::error;

use self::lane::Lane;
use self::retry::RetryPolicy;
use self::worker::Worker;
use crate::event::{FileEvent, Happened, LaneId, NodeId, WatchId};
use crate::patterns::Patterns;
use crate::plugin::set::By;
use crate::plugin::{CreateError, Instance};
use crate::route::{Subscription, entry};
use crate::settle::Settle;
use crate::settle::ledger::Ledger;
use crate::source::Sink;
use crate::source::fence::SourceHandle;
use crate::source::rescan::RescanHandle;
use crate::source::shared::SharedTree;

pub use attempt::Places;
pub use inlet::{Existing, Inlet};
use offered::Offered;

/// What a lane is made of.
pub struct LaneSpec {
    /// The instance's name.
    pub name: String,
    /// What it wants.
    pub subscription: Subscription,
    /// How many threads, each with an instance of its own.
    pub workers: u16,
    /// The most events under way.
    pub capacity: usize,
    /// When a call has taken too long.
    pub timeout: Option<Duration>,
    /// For how long a file must not have changed.
    pub quiet: Option<Duration>,
    /// When to try again.
    pub retry: RetryPolicy,
    /// How it came in: if it cannot be made, is that the end, or is it left out?
    pub by: By,
    /// Makes an instance; called on the worker's thread.
    pub create: Box<dyn Fn() -> Result<Instance, CreateError> + Send + Sync>,
}

impl std::fmt::Debug for LaneSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LaneSpec").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What the lanes have to do with: all of it shared with the other stages.
#[derive(Debug, Clone)]
pub struct Outside {
    /// Where files are.
    pub places: Arc<Places>,
    /// What became of events.
    pub settle: Arc<Settle>,
    /// What is finished.
    pub ledger: Arc<Ledger>,
    /// For fences.
    pub source: SourceHandle,
    /// For lanes that have fallen behind.
    pub rescans: RescanHandle,
}

/// All lanes, with their threads.
#[derive(Debug)]
pub struct Lanes {
    lanes: Vec<Arc<Lane>>,
    threads: Vec<(usize, JoinHandle<()>)>,
    watchdog: Option<(Sender<()>, JoinHandle<()>)>,
}

impl Lanes {
    /// Starts every worker and waits until each has its instance.
    ///
    /// # Errors
    ///
    /// A plugin that cannot be made, or no thread to be had. What was started is stopped again.
    pub fn start(specs: Vec<LaneSpec>, outside: &Outside) -> Result<Lanes> {
        let mut lanes = Lanes { lanes: Vec::new(), threads: Vec::new(), watchdog: None };
        for spec in specs {
            let by = spec.by;
            match (lanes.add(spec, outside), by) {
                (Ok(()), _) => {}
                (Err(error), By::DropIn) => {
                    lanes.remove_last();
                    error!("{error:#}; it is left out");
                }
                (Err(error), By::Request) => {
                    lanes.stop(Instant::now());
                    return Err(error);
                }
            }
        }
        if lanes.lanes.is_empty() {
            bail!("none of the plugins could be started");
        }
        lanes.start_watchdog()?;
        Ok(lanes)
    }

    /// Takes the lane that was added last out again.
    fn remove_last(&mut self) {
        let Some(lane) = self.lanes.pop() else { return };
        lane.close(Instant::now());
        for (_, thread) in self.threads.extract_if(.., |(place, _)| *place == self.lanes.len()) {
            let _ = thread.join();
        }
    }

    /// The plugins' names.
    pub fn names(&self) -> Vec<&str> {
        self.lanes.iter().map(|lane| lane.name.as_str()).collect()
    }

    fn add(&mut self, spec: LaneSpec, outside: &Outside) -> Result<()> {
        let LaneSpec { name, subscription, workers, capacity, timeout, quiet, retry, create, by: _ } = spec;
        let lane = Arc::new(Lane::new(
            (LaneId(self.lanes.len()), name),
            subscription,
            retry,
            (timeout, quiet),
            (capacity, workers),
            outside.rescans.clone(),
        ));
        let create: Arc<worker::Create> = Arc::from(create);
        let place = self.lanes.len();
        self.lanes.push(Arc::clone(&lane));
        let (made, answers) = sync_channel(usize::from(workers));
        for index in 0..usize::from(workers) {
            let worker = Worker::new(Arc::clone(&lane), index, Arc::clone(&create), outside.clone());
            let made = made.clone();
            let thread = thread::Builder::new()
                .name(format!("{}/{index}", lane.name))
                .spawn(move || start_worker(worker, &made))
                .context("failed to start a thread")?;
            self.threads.push((place, thread));
        }
        drop(made);
        for _ in 0..workers {
            match answers.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => bail!("failed to start plugin `{}`: {error}", lane.name),
                Err(_) => bail!("failed to start plugin `{}`: its worker has died", lane.name),
            }
        }
        Ok(())
    }

    fn start_watchdog(&mut self) -> Result<()> {
        let watched: Vec<Arc<Lane>> = self.lanes.iter().filter(|l| l.timeout.is_some()).cloned().collect();
        if watched.is_empty() {
            return Ok(());
        }
        let (stop, stopped) = channel();
        let thread = thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watchdog::run(&watched, &stopped))
            .context("failed to start a thread")?;
        self.watchdog = Some((stop, thread));
        Ok(())
    }

    /// The end where events go in, for the source.
    pub fn entrance(&self, watches: Vec<Patterns>, outside: &Outside) -> Entrance {
        let gates = self.gates();
        let needs_path = gates.iter().any(|gate| gate.lane.subscription.needs_path());
        let (tree, ledger) = (Arc::clone(&outside.places.tree), Arc::clone(&outside.ledger));
        Entrance { gates, watches, tree, ledger, needs_path, path: PathBuf::new() }
    }

    /// The end where findings go in, for the rescan. `started_nanos` is from before the first watch was in place.
    pub fn inlet(&self, watches: Vec<(Patterns, Existing)>, started_nanos: u64, outside: &Outside) -> Inlet {
        let (tree, ledger) = (Arc::clone(&outside.places.tree), Arc::clone(&outside.ledger));
        let offered = Offered::new(self.lanes.len());
        Inlet { gates: self.gates(), ledger, tree, watches, started_nanos, offered }
    }

    fn gates(&self) -> Vec<Gate> {
        self.lanes.iter().map(|lane| Gate::new(Arc::clone(lane))).collect()
    }

    /// Lets the workers finish what they have, until `until` at the latest. Returns, for each plugin with events
    /// left, its name and how many. A worker that does not come back is left behind.
    pub fn stop(&mut self, until: Instant) -> Vec<(String, usize)> {
        for lane in &self.lanes {
            lane.close(until);
        }
        for (_, thread) in self.threads.drain(..) {
            // A thread that is in a plugin's hands cannot be ended; a little over the time for a last flush.
            let patience = until.max(Instant::now()) + Duration::from_millis(200);
            while !thread.is_finished() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                // It may have panicked, which its hook has said.
                let _ = thread.join();
            }
        }
        if let Some((stop, thread)) = self.watchdog.take() {
            drop(stop);
            let _ = thread.join();
        }
        let left = self.lanes.iter().map(|lane| (lane.name.clone(), lane.under_way()));
        left.filter(|(_, count)| *count > 0).collect()
    }
}

fn start_worker(mut worker: Worker, made: &SyncSender<Result<(), CreateError>>) {
    let result = worker.make_instance();
    let is_made = result.is_ok();
    let _ = made.send(result);
    if is_made {
        worker.run();
    }
}

/// Where the source puts events in: asks every lane's subscription, keeps bursts together.
#[derive(Debug)]
pub struct Entrance {
    gates: Vec<Gate>,
    /// The patterns of each watch.
    watches: Vec<Patterns>,
    tree: Arc<SharedTree>,
    ledger: Arc<Ledger>,
    /// Does any plugin go by the path?
    needs_path: bool,
    path: PathBuf,
}

/// A lane's end of it: a burst for each worker.
#[derive(Debug)]
struct Gate {
    lane: Arc<Lane>,
    bursts: Vec<Vec<FileEvent>>,
    /// What the lane has room for, as it was when this burst first needed to know.
    room: usize,
    held: usize,
    refused: u64,
    has_refused: bool,
}

impl Gate {
    fn new(lane: Arc<Lane>) -> Gate {
        let bursts = lane.desks.iter().map(|_| Vec::new()).collect();
        Gate { lane, bursts, room: 0, held: 0, refused: 0, has_refused: false }
    }

    /// Has the lane had no room since the last [`Gate::try_again`]?
    fn is_refusing(&self) -> bool {
        self.has_refused
    }

    fn try_again(&mut self) {
        self.has_refused = false;
    }

    fn take(&mut self, event: FileEvent) {
        if self.held >= self.room {
            self.room = self.lane.room();
        }
        if self.held >= self.room {
            self.refused += 1;
            self.has_refused = true;
            return;
        }
        self.held += 1;
        let worker =
            if self.bursts.len() == 1 { 0 } else { worker_of(event.node, &event.name, self.bursts.len()) };
        self.bursts[worker].push(event);
    }

    fn hand_over(&mut self) {
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

/// Events of one path always go to the same worker.
fn worker_of(node: NodeId, name: &OsStr, workers: usize) -> usize {
    let mut hasher = DefaultHasher::new();
    node.hash(&mut hasher);
    name.as_bytes().hash(&mut hasher);
    usize::try_from(hasher.finish() % workers as u64).unwrap_or(0)
}

impl Sink for Entrance {
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
            let Some((kind, certainty)) = gate.lane.subscription.wants(happened, &self.path) else {
                continue;
            };
            let name = name.get_or_insert_with(|| Arc::from(happened.name));
            gate.take(FileEvent {
                sequence: happened.sequence,
                node: happened.node,
                name: Arc::clone(name),
                kind,
                certainty,
                origin: Origin::Live,
                directory: happened.directory,
                seen_nanos: happened.seen_nanos,
                renamed_from: happened.renamed_from.map(|from| Arc::clone(&from.relative)),
            });
        }
    }

    fn end_of_burst(&mut self) {
        for gate in &mut self.gates {
            gate.hand_over();
        }
    }

    fn renamed(&mut self, from: (u64, &OsStr), to: (u64, &OsStr)) {
        for gate in &self.gates {
            if gate.lane.subscription.wants_landed() {
                // It has landed there, whatever was finished.
                self.ledger.forget(gate.lane.id, to.0, to.1);
            } else {
                self.ledger.rename(gate.lane.id, from, to);
            }
        }
    }

    fn is_idle(&self) -> bool {
        self.gates.iter().all(|gate| gate.held == 0 && gate.lane.under_way() == 0)
    }
}
