//! One plugin's lane: a bounded queue in front of its workers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use tracing::{debug, info, warn};

use super::crew::LAST_FLUSH_OF_A_PROCESS;
use super::desk::Desk;
use super::pause::Pause;
use super::retry::RetryPolicy;
use super::successor::{Offer, Successor};
use crate::event::{FileEvent, LaneId};
use crate::plugin::{Create, Metrics};
use crate::route::Subscription;
use crate::settle::Account;
use crate::source::rescan::{Order, RescanHandle};

/// What its workers and the source share of a lane.
#[derive(Debug)]
pub(super) struct Lane {
    /// The instance's name.
    pub(super) name: String,
    pub(super) id: LaneId,
    rescans: RescanHandle,
    pub(super) subscription: Subscription,
    pub(super) account: Arc<Account>,
    pub(super) policy: RetryPolicy,
    pub(super) timeout: Option<Duration>,
    /// For how long a file must not have changed.
    pub(super) quiet: Option<Duration>,
    /// After a delivery, how long the file's next version waits.
    pub(super) coalesce: Option<Duration>,
    /// Does the plugin never open its files for writing? Then no close is its own.
    pub(super) reads_only: AtomicBool,
    /// New code for it.
    pub(super) offer: Offer,
    pub(super) pause: Pause,
    pub(super) desks: Vec<Desk>,
    /// The most events that may be under way: queued, put off or in hand. What comes on top is not kept.
    pub(super) capacity: usize,
    /// How many events a worker may have in hand, batches and deferred verdicts taken together. `None`: the plugin takes one
    /// after the other.
    pub(super) in_flight: Option<usize>,
    under_way: AtomicUsize,
    /// Events were not kept since the last look for them was ordered.
    overfull: AtomicBool,
    /// Until a look for what was not kept comes to its end, half of the queue is kept for what it finds.
    pub(super) behind: AtomicBool,
    /// Has it been said that it rewrites its files?
    pub(super) rewrites_said: AtomicBool,
    not_kept: AtomicU64,
    /// How often events of this lane were lost, by the kernel or for want of room.
    losses: AtomicU64,
    closing: OnceLock<Instant>,
    /// Beyond that its calls in hand are waited for so long.
    calls: OnceLock<Duration>,
    /// Another lane finds what this one leaves.
    gives_way: AtomicBool,
    /// Who is to be told when it ends: what makes its instances, and the code that is offered it.
    code: Mutex<Option<Arc<Create>>>,
}

/// Who puts an event in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum From {
    /// The kernel has told of it.
    Kernel,
    /// A rescan has found its file.
    Rescan,
}

impl Lane {
    pub(super) fn new(
        (id, name): (LaneId, String),
        subscription: Subscription,
        account: Arc<Account>,
        policy: RetryPolicy,
        (timeout, quiet, coalesce): (Option<Duration>, Option<Duration>, Option<Duration>),
        (capacity, workers, in_flight): (usize, u16, Option<u16>),
        rescans: RescanHandle,
    ) -> Lane {
        Lane {
            name,
            id,
            rescans,
            subscription,
            account,
            policy,
            timeout,
            quiet,
            coalesce,
            reads_only: AtomicBool::new(false),
            offer: Offer::default(),
            pause: Pause::default(),
            desks: (0..workers).map(|_| Desk::default()).collect(),
            capacity,
            in_flight: in_flight.map(usize::from),
            under_way: AtomicUsize::new(0),
            overfull: AtomicBool::new(false),
            behind: AtomicBool::new(false),
            rewrites_said: AtomicBool::new(false),
            not_kept: AtomicU64::new(0),
            losses: AtomicU64::new(0),
            closing: OnceLock::new(),
            calls: OnceLock::new(),
            gives_way: AtomicBool::new(false),
            code: Mutex::default(),
        }
    }

    /// How many more events it may take that the kernel tells of, or that a rescan has found.
    pub(super) fn room(&self, origin: From) -> usize {
        let is_shared = origin == From::Kernel && self.behind.load(Ordering::Acquire);
        let most = if is_shared { (self.capacity / 2).max(1) } else { self.capacity };
        most.saturating_sub(self.under_way())
    }

    /// How many events are under way.
    pub(super) fn under_way(&self) -> usize {
        self.under_way.load(Ordering::Acquire)
    }

    /// Takes a burst for one worker; the vector comes back empty. The caller has kept to [`Lane::room`].
    pub(super) fn take(&self, worker: usize, burst: &mut Vec<FileEvent>) {
        self.under_way.fetch_add(burst.len(), Ordering::AcqRel);
        self.desks[worker].put(burst);
    }

    /// So many events are settled.
    pub(super) fn settled(&self, count: usize) {
        self.under_way.fetch_sub(count, Ordering::AcqRel);
        self.look_if_there_is_room();
    }

    fn look_if_there_is_room(&self) {
        if self.under_way() <= self.capacity / 2 && self.overfull.swap(false, Ordering::AcqRel) {
            let count = self.not_kept.swap(0, Ordering::AcqRel);
            debug!(
                "plugin `{}` takes events again; {count} were not kept, their files are looked for",
                self.name
            );
            self.rescans.order(Order::Behind(self.id));
        }
    }

    /// Events may be missing that came before this. Whoever says so has their files looked for.
    pub(super) fn lost(&self) {
        self.losses.fetch_add(1, Ordering::AcqRel);
    }

    /// How often that was so.
    pub(super) fn losses(&self) -> u64 {
        self.losses.load(Ordering::Acquire)
    }

    /// Is no event under way, and no outcome held?
    pub(super) fn is_idle(&self) -> bool {
        self.under_way() == 0 && self.desks.iter().all(|desk| !desk.holds_any())
    }

    /// Events came that there was no room for: they are not kept, for the files are. When there is room again they are
    /// looked for.
    pub(super) fn refuse(&self, count: u64) {
        self.lost();
        self.not_kept.fetch_add(count, Ordering::AcqRel);
        self.overfull.store(true, Ordering::Release);
        if !self.behind.swap(true, Ordering::AcqRel) {
            warn!(
                "plugin `{}` has fallen {} events behind; it gets the files that land meanwhile when it has caught up",
                self.name, self.capacity
            );
        }
        // All that there was no room for a moment ago may have been settled since.
        self.look_if_there_is_room();
    }

    /// Is this worker stuck in a call? Then it gets nothing more that a rescan finds again: what was for it is looked for
    /// when it has come back.
    pub(super) fn passes_over(&self, worker: usize) -> bool {
        let desk = &self.desks[worker];
        if !desk.in_hand.is_stuck() {
            return false;
        }
        self.lost();
        desk.has_missed.store(true, Ordering::SeqCst);
        // It may have come back a moment ago.
        if !desk.in_hand.is_stuck() {
            self.has_come_back(worker);
        }
        true
    }

    /// A worker calls the plugin, in this process: with the file at this path, or none.
    pub(super) fn begins(&self, worker: usize, path: &[u8]) {
        if self.timeout.is_some() {
            self.desks[worker].in_hand.begin(path);
        }
    }

    /// It has come back.
    pub(super) fn has_ended(&self, worker: usize, what: impl FnOnce() -> String) {
        let Some(timeout) = self.timeout else { return };
        if let Some(took) = self.desks[worker].in_hand.end() {
            self.has_come_back(worker);
            let plugin = &self.name;
            warn!(
                "plugin `{plugin}` came back from {} after {took:.1?}, over its timeout of {timeout:?}",
                what()
            );
        }
    }

    fn has_come_back(&self, worker: usize) {
        if self.desks[worker].has_missed.swap(false, Ordering::SeqCst) {
            self.rescans.order(Order::Behind(self.id));
        }
    }

    /// What was not kept has been looked for, to the end.
    pub(super) fn caught_up(&self) {
        if !self.overfull.load(Ordering::Acquire) && self.behind.swap(false, Ordering::AcqRel) {
            info!("plugin `{}` has caught up", self.name);
        }
    }

    /// Would so many events more leave less than half of the queue? Then failed ones are better left to the ledger.
    pub(super) fn is_crowded(&self, more: usize) -> bool {
        self.under_way() + more > self.capacity / 2
    }

    /// What waits in the ledger alone is looked for, at that time or a little later.
    pub(super) fn look_again(&self, at: Instant) {
        self.rescans.look_again(self.id, at);
    }

    /// Wakes every worker, to look at the pause or the closing again.
    pub(super) fn nudge(&self) {
        self.desks.iter().for_each(Desk::nudge);
    }

    /// May its closes be taken for those of others without a look?
    pub(super) fn set_reads_only(&self, reads_only: bool) {
        self.reads_only.store(reads_only, Ordering::Relaxed);
    }

    /// Its workers are to change over to other code.
    pub(super) fn change_to(&self, successor: Arc<Successor>, reads_only: bool) {
        // While both are at work, or one of them writes, closes may be its own.
        self.reads_only.fetch_and(reads_only, Ordering::Relaxed);
        self.runs(Arc::clone(successor.create()));
        self.offer.make(successor);
        self.nudge();
    }

    /// Its workers work with this code, or will as soon as they may. What they have worked with is told to end.
    pub(super) fn runs(&self, code: Arc<Create>) {
        if let Some(old) = self.code().replace(code) {
            old.end();
        }
        if self.closing().is_some() {
            self.tell_to_end();
        }
    }

    fn tell_to_end(&self) {
        self.code().iter().for_each(|code| code.end());
    }

    /// What its plugin counts and measures.
    pub(super) fn metrics(&self) -> Metrics {
        self.code().as_ref().map(|code| code.metrics()).unwrap_or_default()
    }

    fn code(&self) -> MutexGuard<'_, Option<Arc<Create>>> {
        self.code.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No more events come. Workers leave when all is handled, or at that time.
    pub(super) fn close(&self, until: Instant) {
        let _ = self.closing.set(until);
        self.tell_to_end();
        self.nudge();
    }

    /// No more events come; what is left another lane finds.
    pub(super) fn give_way(&self) {
        self.gives_way.store(true, Ordering::Release);
        self.close(Instant::now());
    }

    /// Does another lane find what it leaves?
    pub(super) fn gives_way(&self) -> bool {
        self.gives_way.load(Ordering::Acquire)
    }

    /// Once it is closed, its calls in hand are waited for so long.
    pub(super) fn wait_for_calls(&self, within: Duration) {
        let _ = self.calls.set(within);
    }

    /// Until when its calls in hand are waited for, once it is closing.
    pub(super) fn patience(&self) -> Option<Instant> {
        Some(self.closing()? + self.calls.get().copied().unwrap_or_default())
    }

    /// Are its processes to be killed in the middle of a call? For the last flush they have time.
    pub(super) fn is_given_up(&self) -> bool {
        self.patience().is_some_and(|until| Instant::now() > until + LAST_FLUSH_OF_A_PROCESS)
    }

    /// It is closing: is it at work on what may be handed on to others? What waits for its next try is not tried any more.
    pub(super) fn may_emit(&self) -> bool {
        let through = self.under_way() + 1;
        let is_at_work =
            |desk: &Desk| desk.is_at_work() && desk.through_with.load(Ordering::SeqCst) != through;
        self.closing().is_some() && self.under_way() > 0 && self.desks.iter().any(is_at_work)
    }

    /// Until when workers may go on, once the lane is closing.
    pub(super) fn closing(&self) -> Option<Instant> {
        self.closing.get().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::Patterns;
    use crate::route::Kinds;
    use crate::settle::Settle;

    #[test]
    fn one_that_is_behind_keeps_half_of_its_queue_for_what_is_looked_for() {
        let (first, max, within) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let policy = RetryPolicy { first, max, within, attempts: None, crashes: 3 };
        let subscription = Subscription::new(Kinds::default(), None, Patterns::default());
        let rescans = RescanHandle::default();
        let name = (LaneId(0), "test".to_owned());
        let account = Settle::default().account("test");
        let lane =
            Lane::new(name, subscription, account, policy, (None, None, None), (8, 1, None), rescans.clone());
        let room = || (lane.room(From::Kernel), lane.room(From::Rescan));
        assert_eq!(room(), (8, 8));
        lane.refuse(1);
        assert_eq!(room(), (4, 8));
        assert_eq!(rescans.take_orders(), [Order::Behind(LaneId(0))]);
        lane.caught_up();
        assert_eq!(room(), (8, 8));
    }
}
