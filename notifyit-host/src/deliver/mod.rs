//! From routed events to the plugins: one lane per plugin, so that a slow one keeps nobody else waiting.
//!
//! | file | holds |
//! |---|---|
//! | `entrance` | where the source puts events in |
//! | `inlet` | where the rescan puts in what it has found |
//! | `existing` | what was there before a plugin first looked |
//! | `prune` | what the ledger knows and is gone |
//! | `offered` | what polls have put in already |
//! | `lane` | a plugin's bounded queue and what its workers share |
//! | `worker` | the thread that calls the plugin: attempt, verdict, flush |
//! | `burst` | what is done, until a flush has made it safe |
//! | `attempt` | where the file is now, what it is like, the call |
//! | `complete` | is a file complete that nobody has told us is? |
//! | `handled` | which events are a handler's own closes; at most one delivery in a while |
//! | `recent` | the calls that have just ended |
//! | `echo` | drops those, slows down who goes round in circles |
//! | `retry` | when to try again, and what waits until then |
//! | `trouble` | a failed attempt: what the ledger notes, where the event waits |
//! | `pause` | when the plugin, not the file, is at fault |
//! | `report` | what a lane says in the log |
//! | `watchdog` | says who does not come back |

mod entrance;
mod inlet;
mod existing;
mod prune;
mod offered;
mod lane;
mod worker;
mod burst;
mod attempt;
mod complete;
mod trouble;
mod handled;
mod recent;
mod echo;
mod pause;
mod report;
pub mod retry;
mod watchdog;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Sender, SyncSender, channel, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use tracing::error;

use self::lane::{From, Lane};
use self::retry::RetryPolicy;
use self::worker::Worker;
use crate::event::{LaneId, WatchId};
use crate::patterns::Patterns;
use crate::plugin::set::By;
use crate::plugin::{CreateError, Instance};
use crate::route::Subscription;
use crate::route::coverage::Coverage;
use crate::settle::Settle;
use crate::settle::ledger::Ledger;
use crate::source::fence::SourceHandle;
use crate::source::rescan::RescanHandle;

pub use attempt::Places;
pub use entrance::Entrance;
use existing::Look;
pub use existing::{Existing, Terms};
pub use inlet::Inlet;
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
    /// After a delivery, how long the file's next version waits.
    pub coalesce: Option<Duration>,
    /// Does the plugin never open its files for writing?
    pub reads_only: bool,
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

/// What a stop has left of one plugin's events.
#[derive(Debug)]
pub enum Left {
    /// So many, which the log names.
    Named {
        /// The plugin.
        plugin: String,
        /// How many.
        count: usize,
    },
    /// A call has not come back. What its worker had is not named, and may be counted twice where one event supposes
    /// what another tells.
    AtMost {
        /// The plugin.
        plugin: String,
        /// How many at most.
        count: usize,
    },
}

impl Left {
    fn count(&self) -> usize {
        let (Left::Named { count, .. } | Left::AtMost { count, .. }) = self;
        *count
    }
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
        // A lane keeps its place among the specs, by which the ledger knows it, also if another is left out.
        for (place, spec) in specs.into_iter().enumerate() {
            let by = spec.by;
            match (lanes.add(LaneId(place), spec, outside), by) {
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

    fn add(&mut self, id: LaneId, spec: LaneSpec, outside: &Outside) -> Result<()> {
        let LaneSpec {
            name,
            subscription,
            workers,
            capacity,
            timeout,
            quiet,
            coalesce,
            reads_only,
            retry,
            create,
            by: _,
        } = spec;
        let mut lane = Lane::new(
            (id, name),
            subscription,
            retry,
            (timeout, quiet, coalesce),
            (capacity, workers),
            outside.rescans.clone(),
        );
        lane.reads_only = reads_only;
        let lane = Arc::new(lane);
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
        let gates = self.gates(From::Kernel);
        let needs_path = gates.iter().any(|gate| gate.lane.subscription.needs_path());
        let (tree, ledger) = (Arc::clone(&outside.places.tree), Arc::clone(&outside.ledger));
        Entrance { gates, watches, tree, ledger, needs_path, path: PathBuf::new() }
    }

    /// The end where findings go in, for the rescan. `now` (nanoseconds since 1970) is from before the first watch is
    /// in place.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written.
    pub fn inlet(&self, watches: Vec<Terms>, now: u64, outside: &Outside) -> Result<Inlet> {
        let (tree, ledger) = (Arc::clone(&outside.places.tree), Arc::clone(&outside.ledger));
        let names = &outside.places.watches;
        let look = |lane: &Lane, (id, (watch, terms)): (u16, (&String, &Terms))| {
            let Terms { patterns, recursive, .. } = terms;
            let coverage = Coverage::new(&lane.subscription, WatchId(id), patterns, *recursive);
            ledger.first_look(&lane.name, watch, &coverage.to_text(), now).map(Look::new)
        };
        let watched = || (0_u16..).zip(names.iter().zip(&watches));
        let looks = self.lanes.iter().map(|lane| watched().map(|watch| look(lane, watch)).collect());
        let looks = looks.collect::<Result<_>>()?;
        let offered = Offered::new(self.lanes.iter().map(|lane| lane.id.0 + 1).max().unwrap_or(0));
        let names = names.clone();
        let gates = self.gates(From::Rescan);
        Ok(Inlet { gates, ledger, tree, watches, names, looks, offered, gone: Vec::new() })
    }

    fn gates(&self, origin: From) -> Vec<entrance::Gate> {
        self.lanes.iter().map(|lane| entrance::Gate::new(Arc::clone(lane), origin)).collect()
    }

    /// Lets the workers finish what they have, until `until` at the latest. Returns, for each plugin with events
    /// left, its name and how many. A worker that does not come back is left behind.
    pub fn stop(&mut self, until: Instant) -> Vec<Left> {
        for lane in &self.lanes {
            lane.close(until);
        }
        let mut stuck = vec![false; self.lanes.len()];
        for (place, thread) in self.threads.drain(..) {
            // A thread that is in a plugin's hands cannot be ended; a little over the time for a last flush.
            let patience = until.max(Instant::now()) + Duration::from_millis(200);
            while !thread.is_finished() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                // It may have panicked, which its hook has said.
                let _ = thread.join();
            } else {
                stuck[place] = true;
            }
        }
        if let Some((stop, thread)) = self.watchdog.take() {
            drop(stop);
            let _ = thread.join();
        }
        let left = self.lanes.iter().zip(stuck).map(|(lane, is_stuck)| {
            let (plugin, count) = (lane.name.clone(), lane.under_way());
            if is_stuck { Left::AtMost { plugin, count } } else { Left::Named { plugin, count } }
        });
        left.filter(|left| left.count() > 0).collect()
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
