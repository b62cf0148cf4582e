//! What was there before a plugin first looked: does it count as finished, or is it delivered?

use std::path::Path;
use std::sync::Arc;

use anyhow::Result;
use tracing::info;

use super::{LaneSpec, Lanes, Outside};
use crate::event::{LaneId, WatchId};
use crate::patterns::Patterns;
use crate::route::coverage::Coverage;
use crate::settle::ledger::FirstLook;

/// What is done with files that were there before the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// They count as finished.
    Skip,
    /// They are delivered.
    Deliver,
}

/// A watch, as far as the files matter that are found in it.
#[derive(Debug, Clone)]
pub struct Terms {
    /// Which files.
    pub patterns: Patterns,
    /// Also those in directories beneath it?
    pub recursive: bool,
    /// What is done with those that were there before?
    pub existing: Existing,
}

impl Lanes {
    /// A lane comes: what it subscribes to of each watch is entered, and says what its first look there is. Who emits files
    /// knows it from now on.
    pub(super) fn first_looks(
        &self,
        (id, lane): (LaneId, &LaneSpec),
        since: u64,
    ) -> Result<Arc<[FirstLook]>> {
        let Outside { places, ledger, takers, .. } = &self.outside;
        let coverage = |(id, (watch, terms)): (u16, (&String, &Terms))| {
            let Terms { patterns, recursive, .. } = terms;
            (watch.clone(), Coverage::new(&lane.subscription, WatchId(id), patterns, *recursive))
        };
        let coverages: Vec<_> =
            (0_u16..).zip(places.watches.iter().zip(&self.watches)).map(coverage).collect();
        let look = |(watch, coverage): &(String, Coverage)| {
            ledger.first_look(&lane.name, watch, &coverage.to_text(), since)
        };
        let looks = coverages.iter().map(look).collect();
        takers.subscribe((id, &lane.name), coverages);
        looks
    }
}

/// A plugin's first look at a watch.
#[derive(Debug)]
pub(super) struct Look {
    of: Of,
    /// How many files it did not get that the subscription covers newly.
    skipped: u64,
}

#[derive(Debug)]
enum Of {
    /// All that was changed before then was there before.
    Everything(u64),
    /// The same, but for what was covered already.
    Rest(u64, Box<Coverage>),
    /// It has been taken.
    Nothing,
}

/// When was a file changed, for the question whether it was there before?
#[derive(Debug, Clone, Copy)]
pub(super) enum Changed {
    /// Then: nanoseconds since 1970.
    At(u64),
    /// Before. The clock of a file server may be another than ours.
    Before,
}

impl Look {
    pub(super) fn new(look: FirstLook) -> Look {
        let of = match look {
            FirstLook::Before(time) => Of::Everything(time),
            // What is not understood is taken for one that covered everything.
            FirstLook::Changed { before, covered } => {
                Coverage::parse(&covered).map_or(Of::Nothing, |coverage| Of::Rest(before, Box::new(coverage)))
            }
            FirstLook::Taken => Of::Nothing,
        };
        Look { of, skipped: 0 }
    }

    /// Does a file that is unfinished count as one that was there before?
    pub(super) fn was_there(&mut self, relative: &Path, changed: Changed) -> bool {
        let is_before = |time: u64| match changed {
            Changed::At(at) => at < time,
            Changed::Before => true,
        };
        match &self.of {
            Of::Everything(time) => is_before(*time),
            Of::Rest(time, covered) => {
                let skip = is_before(*time) && !covered.covers(relative);
                self.skipped += u64::from(skip);
                skip
            }
            Of::Nothing => false,
        }
    }

    /// Says what a changed subscription has not brought.
    pub(super) fn say_skipped(&mut self, plugin: &str, watch: &str) {
        match std::mem::take(&mut self.skipped) {
            0 => {}
            count => info!(
                "plugin `{plugin}` subscribes to more files of `{watch}` than before: {count} that were there already \
                 count as finished; `notifyit replay` hands them out"
            ),
        }
    }
}
