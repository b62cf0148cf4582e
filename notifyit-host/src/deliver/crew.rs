//! A lane's threads: each makes an instance of the plugin, waits until the lane is admitted, works until the lane is
//! closed, and shuts its instance down.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::desk::Stage;
use super::lane::Lane;
use super::worker::Worker;
use super::{LaneSpec, Left, Outside};
use crate::config::Isolation;
use crate::event::LaneId;
use crate::plugin::{Create, CreateError};
use crate::settle::recorder::Recorders;

/// Beyond the time that a lane has for what it holds: for its last flush.
pub(super) const LAST_FLUSH: Duration = Duration::from_millis(200);
/// The same for a process, which can be killed then: on a busy machine it may wait that long for its turn.
pub(super) const LAST_FLUSH_OF_A_PROCESS: Duration = Duration::from_secs(1);
/// And beyond that, for the end of a process that is killed.
const KILLED_WITHIN: Duration = Duration::from_secs(3);

/// A lane with its threads.
#[derive(Debug)]
pub(super) struct Crew {
    pub(super) lane: Arc<Lane>,
    threads: Vec<JoinHandle<()>>,
    /// One for each worker: it begins when it gets something, and leaves when there is nothing to come.
    begin: Vec<SyncSender<()>>,
    pub(super) is_leaving: bool,
    isolation: Isolation,
}

type Made = Result<(), CreateError>;

impl Crew {
    /// Starts the workers; returns when each has its instance.
    pub(super) fn start(id: LaneId, spec: LaneSpec, outside: &Outside) -> Result<Crew> {
        let (workers, isolation) = (spec.workers, spec.isolation);
        let (lane, create) = lane_of(id, spec, outside);
        let mut crew = Crew { lane, threads: Vec::new(), begin: Vec::new(), is_leaving: false, isolation };
        let (made, answers) = sync_channel(usize::from(workers));
        for index in 0..usize::from(workers) {
            let worker = Worker::new(Arc::clone(&crew.lane), index, Arc::clone(&create), outside.clone());
            crew.hire(worker, index, made.clone())?;
        }
        drop(made);
        for _ in 0..workers {
            match answers.recv() {
                Ok(Ok(())) => {}
                Ok(Err(error)) => {
                    let failed = format!("failed to start plugin `{}`", crew.lane.name);
                    crew.close(Instant::now());
                    crew.leave(Instant::now() + LAST_FLUSH);
                    return Err(anyhow::Error::new(error).context(failed));
                }
                Err(_) => bail!("failed to start plugin `{}`: its worker has died", crew.lane.name),
            }
        }
        Ok(crew)
    }

    fn hire(&mut self, worker: Worker, index: usize, made: SyncSender<Made>) -> Result<()> {
        let (begin, begins) = sync_channel(1);
        // What a process of its own dies of, its worker sees.
        let recorders = match self.isolation {
            Isolation::Inline => worker.outside.recorders.clone(),
            Isolation::Process => Recorders::default(),
        };
        let thread = thread::Builder::new()
            .name(format!("{}/{index}", self.lane.name))
            .spawn(move || work(worker, &recorders, &made, &begins))
            .context("failed to start a thread")?;
        self.threads.push(thread);
        self.begin.push(begin);
        Ok(())
    }

    /// Its workers begin; to say so again changes nothing.
    pub(super) fn begin(&self) {
        for begin in &self.begin {
            let _ = begin.try_send(());
        }
    }

    /// Its workers leave at that time, or when all is handled; those that have not begun, at once.
    pub(super) fn close(&mut self, until: Instant) {
        self.begin.clear();
        self.lane.close(until);
    }

    /// It takes no more events, and will be closed; then its calls in hand are waited for so long.
    pub(super) fn is_to_leave(&mut self, calls: Duration) -> Arc<Lane> {
        self.is_leaving = true;
        self.lane.wait_for_calls(calls);
        Arc::clone(&self.lane)
    }

    /// Is it the lane of that name that takes events?
    pub(super) fn is_in(&self, name: &str) -> bool {
        !self.is_leaving && self.lane.name == name
    }

    /// Has it left, or is it not waited for any longer?
    pub(super) fn has_departed(&self, now: Instant) -> bool {
        let is_over = || self.lane.patience().is_some_and(|until| now > until + self.last_calls());
        self.is_leaving && (self.threads.iter().all(JoinHandle::is_finished) || is_over())
    }

    /// How long beyond its time a lane may be at its last calls. Whose process is killed comes back for sure; only the kernel
    /// may take its time.
    fn last_calls(&self) -> Duration {
        match self.isolation {
            Isolation::Inline => LAST_FLUSH,
            Isolation::Process => LAST_FLUSH_OF_A_PROCESS + KILLED_WITHIN,
        }
    }

    /// Waits for the workers of a lane that is closed, until then. Returns what they have left.
    pub(super) fn leave(mut self, patience: Instant) -> Option<Left> {
        let mut is_stuck = false;
        let patience = patience + (self.last_calls() - LAST_FLUSH);
        for thread in self.threads.drain(..) {
            // A thread that is in a plugin's hands cannot be ended.
            while !thread.is_finished() && Instant::now() < patience {
                thread::sleep(Duration::from_millis(1));
            }
            if thread.is_finished() {
                // It may have panicked, which its hook has said.
                let _ = thread.join();
            } else {
                is_stuck = true;
            }
        }
        let (plugin, count) = (self.lane.name.clone(), self.lane.under_way());
        let left = if is_stuck { Left::AtMost { plugin, count } } else { Left::Named { plugin, count } };
        (count > 0).then_some(left)
    }
}

impl Drop for Crew {
    /// One that was never admitted: its workers shut their instances down. That is a plugin's code, which may not come
    /// back, and whoever lets go of it may hold a lock, or be waited for.
    fn drop(&mut self) {
        self.lane.close(Instant::now());
    }
}

fn lane_of(id: LaneId, spec: LaneSpec, outside: &Outside) -> (Arc<Lane>, Arc<Create>) {
    let LaneSpec {
        name,
        subscription,
        workers,
        in_flight,
        capacity,
        timeout,
        isolation: _,
        quiet,
        coalesce,
        reads_only,
        retry,
        create,
    } = spec;
    let account = outside.settle.account(&name);
    let lane = Lane::new(
        (id, name),
        subscription,
        account,
        retry,
        (timeout, quiet, coalesce),
        (capacity, workers, in_flight),
        outside.rescans.clone(),
    );
    lane.set_reads_only(reads_only);
    let create = Arc::new(create);
    lane.runs(Arc::clone(&create));
    (Arc::new(lane), create)
}

fn work(mut worker: Worker, recorders: &Recorders, made: &SyncSender<Made>, begins: &Receiver<()>) {
    let recorder = recorders.open(&worker.lane.name);
    let _is_watched = recorder.watch_this_thread();
    let _ = worker.desk().glance.set(recorder.glance());
    worker.attempt.recorder = recorder;
    worker.desk().enters(Stage::Starts);
    let result = worker.make_instance();
    worker.desk().enters(if result.is_ok() { Stage::Ready } else { Stage::Gone });
    let is_made = result.is_ok();
    let _ = made.send(result);
    if !is_made {
        return;
    }
    match begins.recv() {
        Ok(()) => worker.run(),
        Err(_) => worker.dismiss(),
    }
}
