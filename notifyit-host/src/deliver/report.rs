//! What a lane says in the log. Messages of plugins are put on one line: they may hold what others chose.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::{debug, error, info, warn};

use super::Left;
use super::lane::Lane;
use crate::log::one_line;
use crate::plugin::Lost;

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

    /// One file after the other has failed.
    pub(super) fn say_pause(&self, message: &str, pause: Duration) {
        let (plugin, message) = (&self.name, one_line(message));
        warn!(
            "plugin `{plugin}` pauses, next try in {pause:.1?}: one file after the other failed, the last: {message}"
        );
    }

    /// The plugin says that no file would work.
    pub(super) fn say_unavailable(&self, message: &str, pause: Duration) {
        let (plugin, message) = (&self.name, one_line(message));
        warn!("plugin `{plugin}` is unavailable and pauses, next try in {pause:.1?}: {message}");
    }

    /// A pause is over.
    pub(super) fn say_well(&self) {
        info!("plugin `{}` works again", self.name);
    }

    /// An instance is of no more use.
    pub(super) fn say_lost(&self, lost: &Lost) {
        let (plugin, why) = (&self.name, one_line(&lost.to_string()).into_owned());
        match lost {
            Lost::GivenUp => debug!("plugin `{plugin}`: {why}"),
            Lost::Late(_) => warn!("plugin `{plugin}`: {why}"),
            Lost::Panicked(_) => error!("plugin `{plugin}` {why}"),
            Lost::Died(_) => error!("plugin `{plugin}`: {why}"),
        }
    }

    /// Its process has died between two events.
    pub(super) fn say_pause_after_loss(&self, pause: Duration) {
        warn!("plugin `{}` had no event in hand, and pauses; next try in {pause:.1?}", self.name);
    }

    /// After a panic there is no new instance.
    pub(super) fn say_broken(&self, message: &str, pause: Duration) {
        let (plugin, message) = (&self.name, one_line(message));
        error!("plugin `{plugin}` cannot be made anew, next try in {pause:.1?}: {message}");
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
