//! What the keeper says in the log of instances that cannot be made, and of lanes that have gone.

use std::time::Duration;

use anyhow::Error;
use tracing::{debug, info, warn};

use super::standing::Code;
use crate::config::{ConfigError, UsageError};
use crate::deliver::Left;
use crate::plugin::CreateError;

/// What is said of it, and may it work later? What the plugin rejects it will reject again, and so will its schema.
pub(super) fn failure(error: &Error) -> (String, bool) {
    let is_rejected = |cause: &(dyn std::error::Error + 'static)| {
        matches!(cause.downcast_ref(), Some(CreateError::Rejected(_)))
            || cause.is::<ConfigError>()
            || cause.is::<UsageError>()
    };
    (format!("{error:#}"), !error.chain().any(is_rejected))
}

pub(super) fn when_again(pause: Option<Duration>) -> String {
    match pause {
        Some(pause) => format!("it is left out, and tried again in {pause:.0?}"),
        None => "it is left out until its file changes".to_owned(),
    }
}

/// The first failure is said; the others are there for who looks closer.
pub(super) fn say_failed(is_news: bool, error: &Error, goes_on: Option<&Code>, pause: Option<Duration>) {
    let then = goes_on.map_or_else(|| when_again(pause), |code| format!("{code} goes on"));
    if is_news { warn!("{error:#}; {then}") } else { debug!("{error:#}; {then}") }
}

pub(super) fn say_departed(name: &str, left: Option<Left>, is_followed: bool) {
    match left {
        None if is_followed => debug!("what ran as plugin `{name}` before has gone"),
        None => info!("plugin `{name}` has gone"),
        // What it had not begun is found by what runs now.
        Some(Left::Named { count, .. }) if is_followed => {
            debug!("what ran as plugin `{name}` before has gone, and left {count} events to what runs now");
        }
        Some(left) => {
            left.say();
            let who = if is_followed { "by what runs now" } else { "when it is back" };
            info!("plugin `{name}` has gone; what it left is handled {who}");
        }
    }
}
