//! Says which plugin does not come back, and keeps its worker's share of events out of the lane. Inline that is all that can
//! be done: a thread cannot be ended from outside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::warn;

use super::lane::Lane;
use super::lineup::Lineup;
use crate::source::rescan::Order;

/// Looks at what every worker has in hand until the channel's other end is dropped.
pub(super) fn run(lineup: &Lineup, stop: &Receiver<()>) {
    loop {
        let seats = lineup.seats();
        let shortest = seats.iter().filter_map(|seat| seat.lane.timeout).min().unwrap_or(Duration::MAX);
        let every = (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
        if stop.recv_timeout(every) != Err(RecvTimeoutError::Timeout) {
            return;
        }
        seats.iter().for_each(|seat| look(&seat.lane));
    }
}

fn look(lane: &Lane) {
    let Some(timeout) = lane.timeout else { return };
    for desk in &lane.desks {
        if let Some(path) = desk.in_hand.is_stuck_now(timeout) {
            let at = if path.is_empty() {
                "its flush".to_owned()
            } else {
                format!("{:?}", OsStr::from_bytes(&path))
            };
            warn!(
                "plugin `{}` has been at {at} for over {timeout:?}; it cannot be ended, and its worker takes no other event \
                 until it comes back",
                lane.name
            );
        }
    }
}

impl Lane {
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
}
