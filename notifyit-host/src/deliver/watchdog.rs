//! Says which plugin does not come back. Inline that is all that can be done: a thread cannot be ended from outside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use tracing::warn;

use super::lane::Lane;
use super::lineup::Lineup;

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
