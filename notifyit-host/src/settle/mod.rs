//! What became of each event: counted, and said if a person should know.

pub mod ledger;
mod version;
pub mod trouble;
pub mod at_rest;
pub mod recorder;
mod slots;
mod memory;
mod store;
mod instances;
mod cases;
mod first;
mod prune;
mod disk;
mod room;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::{debug, error, warn};

use crate::event::Outcome;
use crate::log::one_line;

/// Counts outcomes, over all plugins.
#[derive(Debug, Default)]
pub struct Settle {
    delivered: AtomicU64,
    rejected: AtomicU64,
    exhausted: AtomicU64,
    gone: AtomicU64,
}

impl Settle {
    /// Events that were handled, so many at once.
    pub fn delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Ordering::Relaxed);
    }

    /// How one event ended.
    pub fn record(&self, plugin: &str, path: &Path, outcome: &Outcome) {
        match outcome {
            Outcome::Delivered => self.delivered(1),
            Outcome::Rejected(reason) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                warn!("plugin `{plugin}` rejected {path:?}: {}", one_line(reason));
            }
            Outcome::Exhausted { message, attempts } => {
                self.exhausted.fetch_add(1, Ordering::Relaxed);
                let times = if *attempts == 1 { "attempt" } else { "attempts" };
                error!(
                    "plugin `{plugin}` gave up on {path:?} after {attempts} {times}: {}",
                    one_line(message)
                );
            }
            Outcome::Gone => {
                self.gone.fetch_add(1, Ordering::Relaxed);
                debug!("{path:?} was gone before plugin `{plugin}` had handled it");
            }
        }
    }

    /// One line for the end: `12 handled, 1 rejected`.
    pub fn summary(&self) -> String {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let mut line = format!("{} handled", count(&self.delivered));
        for (counter, word) in
            [(&self.rejected, "rejected"), (&self.exhausted, "given up"), (&self.gone, "gone")]
        {
            if count(counter) > 0 {
                line.push_str(&format!(", {} {word}", count(counter)));
            }
        }
        line
    }
}
