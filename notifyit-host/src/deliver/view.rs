//! How a lane stands, for who asks. Nothing here waits for a worker or for a plugin.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::desk::{Desk, Stage};
use super::lane::Lane;
use super::pause::Pausing;
use crate::plugin::Metrics;
use crate::settle::Counts;
use crate::sys;

/// A lane at one moment.
#[derive(Debug, Clone)]
pub struct LaneView {
    /// The instance's name.
    pub name: String,
    /// How many events are under way: queued, put off or in hand.
    pub under_way: usize,
    /// How many there may be.
    pub capacity: usize,
    /// Has it fallen behind, so that files are looked for when there is room?
    pub is_behind: bool,
    /// Does it take no more events, and go when it is through?
    pub is_leaving: bool,
    /// Does it pause?
    pub pausing: Option<Pausing>,
    /// How long a call may take.
    pub timeout: Option<Duration>,
    /// Its workers.
    pub workers: Vec<WorkerView>,
    /// What became of its events, since the host has started.
    pub counts: Counts,
    /// What its plugin counts and measures itself.
    pub metrics: Metrics,
}

/// A worker at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    /// The process that its instance lives in, if that is one of its own.
    pub process: Option<u32>,
    /// What it is about.
    pub stage: Stage,
    /// For how long.
    pub since: Duration,
    /// What it has in hand. Of inline plugins with a timeout, or, but for flushes, with a flight recorder.
    pub in_hand: Option<InHandView>,
}

/// What a worker has in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InHandView {
    /// The file. `None`: it is a flush.
    pub path: Option<PathBuf>,
    /// For how long.
    pub since: Duration,
}

impl Lane {
    pub(super) fn view(&self, is_leaving: bool, now: Instant) -> LaneView {
        LaneView {
            name: self.name.clone(),
            under_way: self.under_way(),
            capacity: self.capacity,
            is_behind: self.behind.load(Ordering::Acquire),
            is_leaving,
            pausing: self.pause.view(now),
            timeout: self.timeout,
            workers: self.desks.iter().map(|desk| desk.view(now)).collect(),
            counts: self.account.counts(),
            metrics: self.metrics(),
        }
    }
}

impl Desk {
    fn view(&self, now: Instant) -> WorkerView {
        let (stage, since) = self.stage().unwrap_or((Stage::Starts, now));
        let timed = self.in_hand.view().map(|(since, path)| InHandView {
            path: (!path.is_empty()).then(|| PathBuf::from(OsString::from_vec(path))),
            since: now.saturating_duration_since(since),
        });
        let in_hand = timed.or_else(|| self.recorded());
        WorkerView { process: self.process(), stage, since: now.saturating_duration_since(since), in_hand }
    }

    fn recorded(&self) -> Option<InHandView> {
        let in_hand = self.glance.get()?.in_hand()?;
        let since = Duration::from_nanos(sys::wall_nanos().saturating_sub(in_hand.began_nanos));
        Some(InHandView { path: Some(in_hand.path), since })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LaneId;
    use crate::patterns::Patterns;
    use crate::route::{Kinds, Subscription};
    use crate::settle::Settle;
    use crate::source::rescan::RescanHandle;

    #[test]
    fn a_lane_shows_what_its_workers_are_about() {
        let (first, max, within) = (Duration::ZERO, Duration::ZERO, Duration::ZERO);
        let policy = super::super::retry::RetryPolicy { first, max, within, attempts: None, crashes: 3 };
        let subscription = Subscription::new(Kinds::default(), None, Patterns::default());
        let (account, rescans) = (Settle::default().account("test"), RescanHandle::default());
        let timeout = Some(Duration::from_secs(1));
        let name = (LaneId(0), "test".to_owned());
        let lane =
            Lane::new(name, subscription, account, policy, (timeout, None, None), (8, 2, None), rescans);
        lane.begins(0, b"/in/a");
        lane.desks[0].lives_in(Some(7));
        lane.desks[0].enters(Stage::Works);
        lane.begins(1, b"");
        lane.refuse(3);
        let now = Instant::now() + Duration::from_secs(60);
        let view = lane.view(true, now);
        assert_eq!((view.under_way, view.capacity, view.is_behind, view.is_leaving), (0, 8, true, true));
        let [one, other] = view.workers.as_slice() else { panic!("there are two") };
        assert_eq!(
            (one.process, one.stage, other.process, other.stage),
            (Some(7), Stage::Works, None, Stage::Starts)
        );
        let in_hand = one.in_hand.as_ref().unwrap();
        assert_eq!(in_hand.path.as_deref(), Some("/in/a".as_ref()));
        assert!(in_hand.since >= Duration::from_secs(60) && one.since >= Duration::from_secs(60));
        assert_eq!(other.in_hand.as_ref().unwrap().path, None, "a flush");
        lane.has_ended(0, String::new);
        assert_eq!(lane.view(true, now).workers[0].in_hand, None);
    }
}
