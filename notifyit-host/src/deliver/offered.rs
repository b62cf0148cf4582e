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
#[derive(Debug)]
pub(super) struct Offered(Vec<FxHashMap<Version, Instant>>);

impl Offered {
    pub(super) fn new(lanes: usize) -> Offered {
        Offered((0..lanes).map(|_| FxHashMap::default()).collect())
    }

    /// Has this version been put into this lane?
    pub(super) fn has(&self, lane: LaneId, version: &Version) -> bool {
        self.0[lane.0].contains_key(version)
    }

    /// It is put in now.
    pub(super) fn note(&mut self, lane: LaneId, version: Version, now: Instant) {
        self.0[lane.0].insert(version, now);
    }

    /// What was put in long ago may be put in again.
    pub(super) fn forget_older_than(&mut self, now: Instant) {
        for lane in &mut self.0 {
            lane.retain(|_, at| now - *at < AGAIN_AFTER);
        }
    }
}
