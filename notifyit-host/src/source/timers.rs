//! What is looked at again and again: each order begins so long after it was last done.

use std::time::{Duration, Instant};

use super::rescan::Order;

/// Orders that come again. Time is passed in.
#[derive(Debug, Default)]
pub(super) struct Timers(Vec<Timer>);

#[derive(Debug)]
struct Timer {
    order: Order,
    every: Duration,
    /// `None` while it is carried out.
    at: Option<Instant>,
    has_been_done: bool,
}

impl Timers {
    /// One more order, first at `at`.
    pub(super) fn add(&mut self, order: Order, every: Duration, at: Instant) {
        self.0.push(Timer { order, every, at: Some(at), has_been_done: false });
    }

    /// The order that is due, if any: the one that has been so for the longest time. It is being carried out from now
    /// on.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<Order> {
        let due = self.0.iter_mut().filter(|timer| timer.at.is_some_and(|at| at <= now));
        let timer = due.min_by_key(|timer| timer.at)?;
        timer.at = None;
        Some(timer.order.clone())
    }

    /// What was carried out is done.
    pub(super) fn done(&mut self, now: Instant) {
        for timer in self.0.iter_mut().filter(|timer| timer.at.is_none()) {
            timer.at = Some(now + timer.every);
            timer.has_been_done = true;
        }
    }

    /// All polls are due now: a lane that had no room has some.
    pub(super) fn hurry_polls(&mut self, now: Instant) {
        for timer in self.0.iter_mut().filter(|timer| matches!(timer.order, Order::Poll { .. })) {
            timer.at = timer.at.map(|at| at.min(now));
        }
    }

    /// When the next one is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.0.iter().filter_map(|timer| timer.at).min()
    }

    /// Has each root been polled at least once?
    pub(super) fn all_polled(&self) -> bool {
        self.0.iter().all(|timer| timer.has_been_done || !matches!(timer.order, Order::Poll { .. }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::NodeId;
    use crate::source::rescan::Turn;

    fn poll(node: u32) -> Order {
        Order::Poll { root: NodeId(node, 0), turn: Turn::AtStart }
    }

    #[test]
    fn an_order_comes_again_so_long_after_it_was_done_and_never_twice_at_once() {
        let (start, every) = (Instant::now(), Duration::from_secs(10));
        let mut timers = Timers::default();
        timers.add(poll(0), every, start);
        assert!(!timers.all_polled());
        assert_eq!(timers.take_due(start), Some(poll(0)));
        assert_eq!((timers.take_due(start + 9 * every), timers.next()), (None, None));
        timers.done(start + 3 * every);
        assert!(timers.all_polled());
        assert_eq!(timers.take_due(start + 4 * every - Duration::from_nanos(1)), None);
        assert_eq!(timers.take_due(start + 4 * every), Some(poll(0)));
    }

    #[test]
    fn the_one_that_has_waited_longest_is_first_and_a_lane_with_room_waits_for_no_poll() {
        let (now, second) = (Instant::now(), Duration::from_secs(1));
        let mut timers = Timers::default();
        timers.add(poll(0), second, now + 2 * second);
        timers.add(Order::Prune, second, now + 3 * second);
        timers.add(poll(1), second, now + second);
        assert_eq!(timers.next(), Some(now + second));
        assert_eq!(timers.take_due(now + 2 * second), Some(poll(1)));
        timers.hurry_polls(now);
        assert_eq!(timers.take_due(now), Some(poll(0)));
        assert_eq!(timers.take_due(now), None, "one is under way, the other no poll");
    }
}
