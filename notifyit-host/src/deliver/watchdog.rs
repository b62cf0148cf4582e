//! Says which plugin does not come back. Inline that is all that can be done: a thread cannot be ended from outside.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tracing::warn;

use super::lane::Lane;

/// Looks at what every worker has in hand until the channel's other end is dropped.
pub(super) fn run(lanes: &[Arc<Lane>], stop: &Receiver<()>) {
    let shortest = lanes.iter().filter_map(|lane| lane.timeout).min().unwrap_or(Duration::from_secs(1));
    let every = (shortest / 4).clamp(Duration::from_millis(20), Duration::from_secs(1));
    let mut said: Vec<Vec<Option<Instant>>> = lanes.iter().map(|lane| vec![None; lane.desks.len()]).collect();
    while stop.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        for (lane, said) in lanes.iter().zip(&mut said) {
            look(lane, said);
        }
    }
}

fn look(lane: &Lane, said: &mut [Option<Instant>]) {
    let Some(timeout) = lane.timeout else { return };
    for (desk, said) in lane.desks.iter().zip(said) {
        let Some((since, path)) = desk.in_hand.look() else { continue };
        if since.elapsed() > timeout && said.replace(since) != Some(since) {
            warn!(
                "plugin `{}` has been at {:?} for over {timeout:?}; it cannot be ended, and its worker takes no \
                 other event until it comes back",
                lane.name,
                OsStr::from_bytes(&path)
            );
        }
    }
}
