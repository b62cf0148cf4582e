//! What a lane says in the log. Messages of plugins are put on one line: they may hold what others chose.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tracing::{debug, error, info, warn};

use super::lane::Lane;
use super::pause::{Change, Why};
use crate::log::one_line;
use crate::plugin::Lost;

/// What a stop has left of one plugin's events.
#[derive(Debug)]
pub enum Left {
    /// So many, which the log names.
    Named {
        /// The plugin.
        plugin: String,
        /// How many.
        count: usize,
    },
    /// A call has not come back. What its worker had is not named, and may be counted twice where one event supposes
    /// what another tells.
    AtMost {
        /// The plugin.
        plugin: String,
        /// How many at most.
        count: usize,
    },
}

impl Left {
    /// What a stop has left.
    pub fn say(&self) {
        let events =
            |count: &usize| if *count == 1 { "1 event".to_owned() } else { format!("{count} events") };
        match self {
            Left::Named { plugin, count } => warn!("plugin `{plugin}` left {} unhandled", events(count)),
            Left::AtMost { plugin, count } => warn!(
                "plugin `{plugin}` left at most {} unhandled; a call has not come back, so they are not named",
                events(count)
            ),
        }
    }
}

impl Lane {
    /// The first failure of a file is said; the others are there for who looks closer.
    pub(super) fn say_failure(&self, path: &Path, attempt: u32, message: &str, pause: Duration) {
        let (plugin, message) = (&self.name, one_line(message));
        if attempt == 1 {
            warn!("plugin `{plugin}` failed on {path:?}, next try in {pause:.1?}: {message}");
        } else {
            debug!(
                "plugin `{plugin}` failed on {path:?} (attempt {attempt}), next try in {pause:.1?}: {message}"
            );
        }
    }

    /// Not a file but the plugin is at fault: the lane pauses.
    pub(super) fn breaks(&self, now: Instant, why: Why<'_>) {
        let change = self.pause.broken(now, &self.policy, why);
        self.say_pause(&change, why);
    }

    /// That a pause begins is said; that it goes on is there for who looks closer.
    pub(super) fn say_pause(&self, change: &Change, why: Why<'_>) {
        let Some(pause) = change.pause() else { return };
        let plugin = &self.name;
        match (change, why) {
            (Change::StillPauses(_), _) => {
                debug!("plugin `{plugin}` still pauses, next try in {pause:.1?}: {why}");
            }
            (_, Why::NotMade(_)) => error!("plugin `{plugin}` pauses, next try in {pause:.1?}: {why}"),
            _ => warn!("plugin `{plugin}` pauses, next try in {pause:.1?}: {why}"),
        }
    }

    /// A pause is over.
    pub(super) fn say_well(&self) {
        info!("plugin `{}` works again", self.name);
    }

    /// An instance is of no more use. In a pause that is said already: it goes on.
    pub(super) fn say_lost(&self, lost: &Lost) {
        let (plugin, why) = (&self.name, one_line(&lost.to_string()).into_owned());
        match lost {
            _ if self.pause.is_pausing() => debug!("plugin `{plugin}`, in its pause: {why}"),
            Lost::GivenUp => debug!("plugin `{plugin}`: {why}"),
            Lost::Late(_) | Lost::Spent => warn!("plugin `{plugin}`: {why}"),
            Lost::Panicked(_) => error!("plugin `{plugin}` {why}"),
            Lost::Died(_) => error!("plugin `{plugin}`: {why}"),
        }
    }

    /// A file has been changed in each of its last calls. Said once for each plugin; the others are there for who looks
    /// closer.
    pub(super) fn say_round(&self, path: &Path, rounds: u32, pause: Duration) {
        let plugin = &self.name;
        if self.rewrites_said.swap(true, Ordering::AcqRel) {
            return debug!(
                "{path:?} was changed in {rounds} calls of plugin `{plugin}`, next in {pause:.1?}"
            );
        }
        warn!(
            "plugin `{plugin}` gets {path:?} again and again, next in {pause:.1?}: the file was changed during each of \
             its last {rounds} calls; if by the plugin itself, it should say so (`event.rewrote()`, or for exec \
             `rewrites = true`)"
        );
    }

    /// A stop leaves a file.
    pub(super) fn say_left(&self, path: &Path) {
        if self.gives_way() {
            return debug!("what runs as plugin `{}` now is to handle {path:?}", self.name);
        }
        info!("plugin `{}` has not handled {path:?}", self.name);
    }

    /// The last call has failed.
    pub(super) fn say_shutdown(&self, message: &str) {
        warn!("plugin `{}` failed to shut down: {}", self.name, one_line(message));
    }
}
