//! What polls have put into the lanes: a poll comes round long before a slow plugin has handled what the last one
//! found, and must not fill its queue with the same files.

use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use crate::event::LaneId;
use crate::settle::ledger::Version;

/// After so long a file that is still unfinished is put in again. Should it wait in the lane, nothing comes of it; but
/// it may have been gone for a moment when its turn came.
const AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What has been put in lately, for each lane. Bounded by the unfinished files that there are.
#[derive(Debug, Default)]
pub(super) struct Offered(FxHashMap<LaneId, FxHashMap<Version, Instant>>);

impl Offered {
    /// Has this version been put into this lane?
    pub(super) fn has(&self, lane: LaneId, version: &Version) -> bool {
        self.0.get(&lane).is_some_and(|versions| versions.contains_key(version))
    }

    /// It is put in now.
    pub(super) fn note(&mut self, lane: LaneId, version: Version, now: Instant) {
        self.0.entry(lane).or_default().insert(version, now);
    }

    /// What was put into this lane may be put in again.
    pub(super) fn forget(&mut self, lane: LaneId) {
        self.0.remove(&lane);
    }

    /// What was put in long ago may be put in again.
    pub(super) fn forget_older_than(&mut self, now: Instant) {
        self.0.retain(|_, versions| {
            versions.retain(|_, at| now - *at < AGAIN_AFTER);
            !versions.is_empty()
        });
    }
}
