//! From routed events to the plugins: one lane per plugin, so that a slow one keeps nobody else waiting.
//!
//! What must hold, and which test sees to it, is in [`crate::rules`].
//!
//! | file | holds |
//! |---|---|
//! | `entrance` | where the source puts events in |
//! | `inlet` | where the rescan puts in what it has found |
//! | `existing` | what was there before a plugin first looked |
//! | `prune` | what the ledger knows and is gone |
//! | `offered` | what polls have put in already |
//! | `crew` | a lane's threads, from the first instance to the last call |
//! | `lineup` | which lanes there are |
//! | `successor` | new code for a lane that goes on |
//! | `lane` | a plugin's bounded queue and what its workers share |
//! | `desk` | one worker's place in it: what lies there, what is in hand |
//! | `view` | how a lane stands, for who asks |
//! | `worker` | the thread that calls the plugin: attempt, verdict, flush |
//! | `next` | which event is next |
//! | `ending` | what a worker leaves, and its last call |
//! | `burst` | what is done, until a flush has made it safe |
//! | `racy` | what is done, until its stamp tells the file's versions apart |
//! | `attempt` | where the file is now, what it is like, what the plugin is handed |
//! | `handed` | what is in the plugin's hands, and what its answers make of it |
//! | `in_flight` | what the plugin will answer later |
//! | `emitted` | what it hands on to other plugins |
//! | `spots` | where that lies |
//! | `takers` | which those are |
//! | `complete` | is a file complete that nobody has told us is? |
//! | `handled` | which events are a handler's own closes; at most one delivery in a while |
//! | `recent` | the calls that have just ended |
//! | `echo` | drops those, slows down who goes round in circles |
//! | `retry` | when to try again, and what waits until then |
//! | `trouble` | a failed attempt: what the ledger notes, where the event waits |
//! | `crashes` | the process has died of an event |
//! | `pause` | when the plugin, not the file, is at fault |
//! | `report` | what a lane says in the log |
//! | `watchdog` | says who does not come back |

mod entrance;
mod inlet;
mod existing;
mod prune;
mod offered;
mod crew;
mod lineup;
mod successor;
mod lane;
mod desk;
mod view;
mod worker;
mod next;
mod ending;
mod burst;
mod racy;
mod attempt;
mod handed;
mod in_flight;
mod emitted;
mod spots;
mod takers;
mod complete;
mod trouble;
mod crashes;
mod handled;
mod recent;
mod echo;
mod pause;
mod report;
pub mod retry;
mod watchdog;

use std::sync::atomic::AtomicBool;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use self::crew::{Crew, LAST_FLUSH};
use self::lane::Lane;
use self::lineup::{Lineup, Seat};
use self::retry::RetryPolicy;
use self::successor::Successor;
use crate::config::Isolation;
use crate::plugin::Create;
use crate::route::Subscription;
use crate::settle::Settle;
use crate::settle::ledger::{FirstLook, Ledger};
use crate::settle::recorder::Recorders;
use crate::source::fence::SourceHandle;
use crate::source::rescan::{Order, RescanHandle};

pub use attempt::Places;
pub use crashes::enter_deaths;
pub use desk::Stage;
pub use entrance::Entrance;
pub use existing::{Existing, Terms};
pub use inlet::Inlet;
pub use pause::Pausing;
pub use report::Left;
pub use successor::Heirs;
pub use takers::Takers;
pub use view::{InHandView, LaneView, WorkerView};

/// What a lane is made of.
pub struct LaneSpec {
    /// The instance's name.
    pub name: String,
    /// What it wants.
    pub subscription: Subscription,
    /// How many threads, each with an instance of its own.
    pub workers: u16,
    /// How many events each of them may have in hand. `None`: one after the other.
    pub in_flight: Option<u16>,
    /// The most events under way.
    pub capacity: usize,
    /// When a call has taken too long.
    pub timeout: Option<Duration>,
    /// Where its instances live.
    pub isolation: Isolation,
    /// For how long a file must not have changed.
    pub quiet: Option<Duration>,
    /// After a delivery, how long the file's next version waits.
    pub coalesce: Option<Duration>,
    /// Does the plugin never open its files for writing?
    pub reads_only: bool,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Makes an instance: on the worker's thread, or, beside an older one, on another.
    pub create: Create,
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
    /// Who takes what is emitted.
    pub takers: Arc<Takers>,
    /// What is in hand.
    pub recorders: Recorders,
    /// For fences.
    pub source: SourceHandle,
    /// For lanes that have fallen behind.
    pub rescans: RescanHandle,
}

/// All lanes, with their threads. They come and go while the host runs.
#[derive(Debug)]
pub struct Lanes {
    outside: Outside,
    watches: Vec<Terms>,
    lineup: Arc<Lineup>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    crews: Vec<Crew>,
    watchdog: Option<(Sender<()>, JoinHandle<()>)>,
    /// No other lane comes any more, and these are to end.
    stopping: Option<Vec<Arc<Lane>>>,
}

/// A lane whose workers have their instances, and that takes no events yet. Dropped, its workers shut it down.
#[derive(Debug)]
pub struct Prepared {
    crew: Crew,
    looks: Arc<[FirstLook]>,
}

/// When a lane comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Arrives {
    AtStart,
    Late,
}

/// What becomes of the rest that lies in a lane when another takes its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rest {
    /// The other lane's look finds it.
    IsFound,
    /// Only this lane has it.
    IsHandled,
}

/// A lane that goes on with new code.
#[derive(Debug)]
pub struct Change(Arc<Successor>);

impl Change {
    /// Has every worker changed over?
    pub fn is_done(&self) -> bool {
        self.0.is_done()
    }
}

impl State {
    /// A lane begins when none that had its name before is at work any more.
    fn begin_who_may(&self) {
        for (place, crew) in self.crews.iter().enumerate() {
            if !self.crews[..place].iter().any(|before| before.lane.name == crew.lane.name) {
                crew.begin();
            }
        }
    }
}

impl Lanes {
    /// None yet.
    pub fn new(watches: Vec<Terms>, outside: Outside) -> Lanes {
        let lineup = Arc::clone(&outside.takers.lineup);
        Lanes { outside, watches, lineup, state: Mutex::default() }
    }

    /// Starts a lane's workers and waits until each has its instance. What last changed before `since` (nanoseconds since
    /// 1970) was there before it, unless it is known from an earlier time: one that cannot be made now, too.
    ///
    /// # Errors
    ///
    /// The ledger cannot be written; a plugin that cannot be made, or no thread to be had.
    pub fn prepare(&self, spec: LaneSpec, since: u64) -> Result<Prepared> {
        let id = self.outside.ledger.lane_of(&spec.name)?;
        let looks = self.first_looks((id, &spec), since)?;
        Crew::start(id, spec, &self.outside).map(|crew| Prepared { crew, looks })
    }

    /// The lane takes events from now on, before the source has started.
    ///
    /// # Errors
    ///
    /// The host is stopping, or no thread to be had.
    pub fn admit(&self, prepared: Prepared) -> Result<()> {
        self.seat(prepared, Arrives::AtStart, Duration::ZERO).map(drop)
    }

    /// The same while the source runs: then what is there is looked for, for that plugin. A lane that had its name
    /// finishes what it has in hand, or, if no look can find that again, what is in it; that is waited for as long as
    /// `within`. The new one begins when it is through.
    ///
    /// # Errors
    ///
    /// As [`Lanes::admit`].
    pub fn join(&self, prepared: Prepared, rest: Rest, within: Duration) -> Result<()> {
        let id = prepared.crew.lane.id;
        let calls = if rest == Rest::IsFound { within } else { Duration::ZERO };
        let old = self.seat(prepared, Arrives::Late, calls)?;
        let rescans = self.outside.rescans.clone();
        self.outside.source.lineup_changed(move || {
            match (old, rest) {
                (Some(old), Rest::IsFound) => old.give_way(),
                (Some(old), Rest::IsHandled) => old.close(Instant::now() + within),
                (None, _) => {}
            }
            rescans.order(Order::Joined(id));
        });
        Ok(())
    }

    /// Returns the lane that has to leave its place; its calls in hand are waited for as long as `calls`.
    fn seat(&self, prepared: Prepared, arrives: Arrives, calls: Duration) -> Result<Option<Arc<Lane>>> {
        let Prepared { crew, looks } = prepared;
        let mut state = self.lock();
        if state.stopping.is_some() {
            bail!("the host is stopping");
        }
        if crew.lane.timeout.is_some() && state.watchdog.is_none() {
            state.watchdog = Some(self.start_watchdog()?);
        }
        let old = state.crews.iter_mut().find(|old| old.is_in(&crew.lane.name));
        let old = old.map(|old| old.is_to_leave(calls));
        let pending = looks.iter().map(|_| AtomicBool::new(arrives == Arrives::Late)).collect();
        self.lineup.add(Seat { lane: Arc::clone(&crew.lane), looks, pending });
        state.crews.push(crew);
        state.begin_who_may();
        Ok(old)
    }

    /// The lane of this name goes on with new code, which differs in nothing that the lane is made of. `ended` is called,
    /// on any thread, when every worker has changed over. `None`: there is no such lane.
    pub fn change(
        &self,
        name: &str,
        heirs: Heirs,
        reads_only: bool,
        ended: impl Fn() + Send + Sync + 'static,
    ) -> Option<Change> {
        let state = self.lock();
        let lane = &state.crews.iter().find(|crew| crew.is_in(name))?.lane;
        let successor = Arc::new(Successor::new(heirs, ended));
        lane.change_to(Arc::clone(&successor), reads_only);
        Some(Change(successor))
    }

    /// The lane of this name takes no more events, and goes when what it has is handled, or `within` is over.
    pub fn retire(&self, name: &str, within: Duration) {
        let mut state = self.lock();
        let Some(crew) = state.crews.iter_mut().find(|crew| crew.is_in(name)) else { return };
        let lane = crew.is_to_leave(Duration::ZERO);
        self.lineup.remove(&lane);
        drop(state);
        self.outside.source.lineup_changed(move || lane.close(Instant::now() + within));
    }

    /// Those whose last call is over, or that have not come back in time: each with what it has left.
    pub fn departed(&self, now: Instant) -> Vec<(String, Option<Left>)> {
        let mut state = self.lock();
        let departed: Vec<Crew> = state.crews.extract_if(.., |crew| crew.has_departed(now)).collect();
        state.begin_who_may();
        drop(state);
        departed.into_iter().map(|crew| (crew.lane.name.clone(), crew.leave(now))).collect()
    }

    /// Is any lane on its way out?
    pub fn are_leaving(&self) -> bool {
        self.lock().crews.iter().any(|crew| crew.is_leaving)
    }

    /// How each lane stands, those on their way out too.
    pub fn views(&self, now: Instant) -> Vec<LaneView> {
        let state = self.lock();
        let at_work = state.crews.iter().map(|crew| (Arc::clone(&crew.lane), crew.is_leaving));
        let stopping = state.stopping.iter().flatten().map(|lane| (Arc::clone(lane), true));
        let lanes: Vec<_> = at_work.chain(stopping).collect();
        drop(state);
        lanes.into_iter().map(|(lane, is_leaving)| lane.view(is_leaving, now)).collect()
    }

    /// The plugins' names.
    pub fn names(&self) -> Vec<String> {
        self.lineup.seats().iter().map(|seat| seat.lane.name.clone()).collect()
    }

    /// The end where events go in, for the source.
    pub fn entrance(&self) -> Entrance {
        let patterns = self.watches.iter().map(|watch| watch.patterns.clone()).collect();
        Entrance::new(Arc::clone(&self.lineup), patterns, &self.outside)
    }

    /// The end where findings go in, for the rescan.
    pub fn inlet(&self) -> Inlet {
        Inlet::new(Arc::clone(&self.lineup), self.watches.clone(), &self.outside)
    }

    fn start_watchdog(&self) -> Result<(Sender<()>, JoinHandle<()>)> {
        let (stop, stopped) = channel();
        let lineup = Arc::clone(&self.lineup);
        let thread = thread::Builder::new()
            .name("watchdog".into())
            .spawn(move || watchdog::run(&lineup, &stopped))
            .context("failed to start a thread")?;
        Ok((stop, thread))
    }

    /// Lets the workers finish what they have, until `until` at the latest. Returns, for each plugin with events
    /// left, its name and how many. A worker that does not come back is left behind.
    pub fn stop(&self, until: Instant) -> Vec<Left> {
        let (mut crews, watchdog) = {
            let mut state = self.lock();
            state.stopping = Some(state.crews.iter().map(|crew| Arc::clone(&crew.lane)).collect());
            (std::mem::take(&mut state.crews), state.watchdog.take())
        };
        // Who is handed files by others waits for those that are to stop, too.
        crews.sort_by_key(|crew| crew.lane.subscription.wants_emitted());
        crews.iter_mut().for_each(|crew| crew.close(until));
        let patience = until.max(Instant::now()) + LAST_FLUSH;
        let left = crews.into_iter().filter_map(|crew| crew.leave(patience)).collect();
        if let Some((stop, thread)) = watchdog {
            drop(stop);
            let _ = thread.join();
        }
        left
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
