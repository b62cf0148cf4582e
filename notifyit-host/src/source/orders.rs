//! The rescan's orders: given from any thread, taken by its own.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::rescan::Order;
use super::timers::Timers;
use crate::event::Sequence;

/// So many orders may wait; more are one for everything.
const MOST_ORDERS: usize = 1024;

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
        let mut state = self.lock();
        if matches!(order, Order::Behind(_)) {
            state.timers.hurry_polls(Instant::now());
        }
        if state.orders.contains(&order) {
            return;
        }
        if state.orders.len() >= MOST_ORDERS {
            state.orders.retain(|order| !matches!(order, Order::NewDirectories { .. }));
            state.orders.push_back(Order::Overflow);
        } else {
            state.orders.push_back(order);
        }
        self.inner.wake.notify_all();
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

    pub(super) fn sequence(&self) -> Sequence {
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
            if let Some(order) = state.take(share, now) {
                state.working[share as usize] = !matches!(order, Order::Poll { .. });
                return Some(order);
            }
            let next = if share == Share::Patient { state.timers.next() } else { None };
            state = match next {
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
