//! What a rescan says in the log.

use std::time::Duration;

use tracing::{debug, info, trace, warn};

use super::rescan::{Order, Turn};

/// What an order came to.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) directories: u64,
    pub(super) files: u64,
    pub(super) due: u64,
}

/// How often a long rescan says where it is.
pub(super) const SAY_EVERY: Duration = Duration::from_secs(5);

pub(super) fn say_progress(order: &Order, tally: &Tally) {
    let Tally { directories, files, due } = tally;
    info!("rescanning: {directories} directories, {files} files, {due} to deliver so far ({})", order.name());
}

pub(super) fn say(order: &Order, tally: &Tally, took: Duration) {
    let Tally { directories, files, due } = tally;
    let name = order.name();
    let told = || {
        format!("rescanned {directories} directories: {files} files, {due} to deliver ({took:.1?}, {name})")
    };
    match order {
        Order::Overflow | Order::Root(_) => info!("{}", told()),
        Order::Quiet { .. } if *due > 0 => warn!(
            "{due} of {files} files had changed without an event that told of it; they are delivered now ({took:.1?})"
        ),
        Order::Poll { turn: Turn::Usual, .. } | Order::Unwatched { .. } if *due == 0 => trace!("{}", told()),
        _ => debug!("{}", told()),
    }
}
