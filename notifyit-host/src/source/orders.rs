//! The rescan's orders: given from any thread, taken by its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rescan::Order;
use super::timers::Timers;
use crate::event::{LaneId, Sequence};

/// So many orders may wait; more are one for everything.
const MOST_ORDERS: usize = 1024;
/// No lane is looked for by [`RescanHandle::look_again`] sooner than this …
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// … or than so many times what such a look takes.
const REST: u32 = 20;

/// The way to order a rescan, from any thread.
#[derive(Debug, Clone, Default)]
pub struct RescanHandle {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    wake: Condvar,
    /// What the source has decoded: set by it after each read.
    decoded: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    orders: VecDeque<Order>,
    timers: Timers,
    /// When a lane is to be looked for what has to wait until then: the earliest time of each.
    later: Vec<(LaneId, Instant)>,
    /// At least so long before that.
    spacing: Duration,
    /// What each share's thread is at, as far as it goes through directories that the source may drop.
    working: [bool; 2],
    stop: bool,
}

/// Which orders a thread carries out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// Those that files wait for.
    Prompt,
    /// Those that can wait, or may have to: for a file system across a network.
    Patient,
}

impl State {
    fn order(&mut self, order: Order) {
        if matches!(order, Order::Behind(_) | Order::Joined(_)) {
            self.timers.hurry_polls(Instant::now());
        }
        if matches!(order, Order::Unwatched { .. }) {
            // The newer list stands for the older.
            self.orders.retain(|order| !matches!(order, Order::Unwatched { .. }));
        }
        if self.orders.contains(&order) {
            return;
        }
        if self.orders.len() >= MOST_ORDERS {
            self.orders.retain(|order| !matches!(order, Order::NewDirectories { .. }));
            self.orders.push_back(Order::Overflow);
        } else {
            self.orders.push_back(order);
        }
    }

    fn look_again(&mut self, lane: LaneId, at: Instant, now: Instant) {
        let at = at.max(now + self.spacing.max(LOOK_AGAIN));
        match self.later.iter_mut().find(|(of, _)| *of == lane) {
            Some((_, known)) => *known = at.min(*known),
            None => self.later.push((lane, at)),
        }
    }

    /// Whose time has come is behind.
    fn order_what_is_due(&mut self, now: Instant) {
        let due: Vec<_> = self.later.extract_if(.., |(_, at)| *at <= now).collect();
        for (lane, _) in due {
            self.order(Order::Behind(lane));
        }
    }

    fn next_time(&self, share: Share) -> Option<Instant> {
        match share {
            Share::Prompt => self.later.iter().map(|(_, at)| *at).min(),
            Share::Patient => self.timers.next(),
        }
    }

    /// The next order of a share, if there is one now.
    fn take(&mut self, share: Share, now: Instant) -> Option<Order> {
        let place = self.orders.iter().position(|order| order.share() == share);
        let order = place.and_then(|place| self.orders.remove(place));
        order.or_else(|| if share == Share::Patient { self.timers.take_due(now) } else { None })
    }
}

impl RescanHandle {
    /// Orders a rescan. The same order twice is one.
    pub fn order(&self, order: Order) {
        self.lock().order(order);
        self.inner.wake.notify_all();
    }

    /// Has a lane looked for as if it were behind, at that time or a little later. Of several times the earliest
    /// counts: who leaves something alone in that look orders the next.
    pub fn look_again(&self, lane: LaneId, at: Instant) {
        self.lock().look_again(lane, at, Instant::now());
        self.inner.wake.notify_all();
    }

    /// A look for a lane has taken so long: the next ones by [`RescanHandle::look_again`] are to leave time for other
    /// things.
    pub(super) fn looked(&self, took: Duration) {
        self.lock().spacing = took.saturating_mul(REST);
    }

    /// Orders a rescan that comes again and again, so long after it was last done; first at `at`.
    pub fn repeat(&self, order: Order, every: Duration, at: Instant) {
        self.lock().timers.add(order, every, at);
        self.inner.wake.notify_all();
    }

    /// Waits until each root that is to be polled has been polled once, or until [`RescanHandle::stop`].
    pub fn wait_for_first_polls(&self) {
        let mut state = self.lock();
        while !state.stop && !state.timers.all_polled() {
            state = self.inner.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Is nothing ordered, and nothing being looked at? Polls do not count: they keep to themselves.
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.orders.is_empty() && state.working == [false; 2]
    }

    /// What is being looked at is left, what is ordered forgotten.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.inner.wake.notify_all();
    }

    /// The source has decoded everything up to here.
    pub(super) fn decoded(&self, sequence: u64) {
        self.inner.decoded.store(sequence, Ordering::Release);
    }

    /// How far the source has decoded what the kernel told.
    pub fn sequence(&self) -> Sequence {
        Sequence(self.inner.decoded.load(Ordering::Acquire))
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    /// Leaves the machine to others for a while.
    pub(super) fn rest(&self, pause: Duration) {
        let state = self.lock();
        if !state.stop {
            // Whatever wakes it: a shorter rest does no harm.
            let _ = self.inner.wake.wait_timeout(state, pause);
        }
    }

    /// A thread's next order, or `None` at the end.
    pub(super) fn next(&self, share: Share) -> Option<Order> {
        let mut state = self.lock();
        state.working[share as usize] = false;
        if share == Share::Patient {
            state.timers.done(Instant::now());
            self.inner.wake.notify_all();
        }
        loop {
            let now = Instant::now();
            if state.stop {
                return None;
            }
            state.order_what_is_due(now);
            if let Some(order) = state.take(share, now) {
                state.working[share as usize] = !matches!(order, Order::Poll { .. });
                return Some(order);
            }
            state = match state.next_time(share) {
                None => self.inner.wake.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let waited = self.inner.wake.wait_timeout(state, at.saturating_duration_since(now));
                    waited.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
impl RescanHandle {
    /// The orders, for who plays the rescan.
    pub(crate) fn take_orders(&self) -> Vec<Order> {
        self.lock().orders.drain(..).collect()
    }

    /// Those whose time has not come yet.
    pub(crate) fn take_later(&self) -> Vec<Order> {
        self.lock().later.drain(..).map(|(lane, _)| Order::Behind(lane)).collect()
    }

    /// What the source has decoded, for who plays it.
    pub(crate) fn set_decoded(&self, sequence: u64) {
        self.decoded(sequence);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_is_looked_for_at_the_earliest_time_but_not_again_and_again() {
        let (mut state, now, second) = (State::default(), Instant::now(), Duration::from_secs(1));
        let (one, two) = (LaneId(1), LaneId(2));
        for (lane, at) in [(one, 9), (two, 3), (one, 5), (one, 7)] {
            state.look_again(lane, now + at * second, now);
        }
        let at = |state: &mut State, at: u32| {
            state.order_what_is_due(now + at * second);
            std::iter::from_fn(|| state.take(Share::Prompt, now)).collect::<Vec<_>>()
        };
        assert_eq!(state.next_time(Share::Prompt), Some(now + 3 * second));
        assert_eq!([2, 3, 4].map(|then| at(&mut state, then).len()), [0, 1, 0]);
        assert_eq!(at(&mut state, 5), [Order::Behind(one)]);
        assert_eq!(state.next_time(Share::Prompt), None, "once");
        state.look_again(one, now, now);
        assert_eq!(state.next_time(Share::Prompt), Some(now + LOOK_AGAIN));
        state.later.clear();
        state.spacing = 30 * second;
        state.look_again(one, now + second, now);
        assert_eq!(state.next_time(Share::Prompt), Some(now + 30 * second));
    }
}
