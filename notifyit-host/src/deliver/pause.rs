//! A lane pauses when not the files but the plugin seems to be at fault: a database is down, a program is missing.
//!
//! After ten different files in a row have failed, one event at a time is tried, with growing pauses, until one
//! works. What waits meanwhile loses no attempt.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::retry::RetryPolicy;

/// So many different files in a row.
const FAILURES: usize = 10;

/// A lane asks this often at least whether it works again, however long a file may have to wait: those that land
/// meanwhile are not at fault.
const LONGEST: Duration = Duration::from_secs(60);

/// The pause of one lane, shared by its workers. One lock, taken only around failures.
#[derive(Debug, Default)]
pub(super) struct Pause {
    /// Is there anything to look at behind the lock?
    troubled: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The files that failed in a row, as hashes.
    failed: Vec<u64>,
    paused: Option<Paused>,
}

#[derive(Debug)]
struct Paused {
    until: Instant,
    tries: u32,
    /// A worker is trying one event.
    probing: bool,
}

/// May a worker try an event now?
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// Yes.
    Go,
    /// Yes, as the one that finds out whether it works again.
    Probe,
    /// Not before this.
    Wait(Instant),
}

/// What a result has changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// Nothing.
    None,
    /// The lane pauses, or goes on pausing: for so long.
    Pauses(Duration),
    /// The lane goes on.
    GoesOn,
}

impl Pause {
    /// Asked before each attempt.
    pub(super) fn leave(&self, now: impl FnOnce() -> Instant) -> Leave {
        if !self.troubled.load(Ordering::Acquire) {
            return Leave::Go;
        }
        let now = now();
        match &mut self.lock().paused {
            None => Leave::Go,
            // Whoever is trying reports soon; look again then, or in a moment.
            Some(paused) if paused.probing => Leave::Wait(now + Duration::from_millis(100)),
            Some(paused) if paused.until > now => Leave::Wait(paused.until),
            Some(paused) => {
                paused.probing = true;
                Leave::Probe
            }
        }
    }

    /// An attempt has worked: the plugin is well.
    pub(super) fn worked(&self) -> Change {
        if !self.troubled.load(Ordering::Acquire) {
            return Change::None;
        }
        let mut state = self.lock();
        state.failed.clear();
        self.troubled.store(false, Ordering::Release);
        if state.paused.take().is_some() { Change::GoesOn } else { Change::None }
    }

    /// An attempt has failed with a retry.
    pub(super) fn failed(&self, file: u64, now: Instant, policy: &RetryPolicy) -> Change {
        let mut state = self.lock();
        self.troubled.store(true, Ordering::Release);
        if state.paused.is_some() {
            return state.longer(now, policy);
        }
        if !state.failed.contains(&file) {
            state.failed.push(file);
        }
        if state.failed.len() < FAILURES { Change::None } else { state.longer(now, policy) }
    }

    /// The plugin itself is broken: pauses at once.
    pub(super) fn broken(&self, now: Instant, policy: &RetryPolicy) -> Change {
        self.troubled.store(true, Ordering::Release);
        self.lock().longer(now, policy)
    }

    /// A probe came to nothing: there was nothing to try.
    pub(super) fn not_tried(&self) {
        if let Some(paused) = &mut self.lock().paused {
            paused.probing = false;
        }
    }

    /// Something has changed: it is worth a try.
    pub(super) fn try_now(&self, now: Instant) {
        if let Some(paused) = &mut self.lock().paused {
            paused.until = paused.until.min(now);
        }
    }

    /// Is the lane pausing?
    pub(super) fn is_pausing(&self) -> bool {
        self.troubled.load(Ordering::Acquire) && self.lock().paused.is_some()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Pauses, or goes on pausing because the probe has failed. What was begun before the pause and fails in it says
    /// nothing new.
    fn longer(&mut self, now: Instant, policy: &RetryPolicy) -> Change {
        if self.paused.as_ref().is_some_and(|paused| !paused.probing) {
            return Change::None;
        }
        let tries = self.paused.as_ref().map_or(0, |paused| paused.tries) + 1;
        let pause = policy.pause(tries, None, 1.0).min(LONGEST);
        self.paused = Some(Paused { until: now + pause, tries, probing: false });
        Change::Pauses(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy() -> RetryPolicy {
        RetryPolicy {
            first: Duration::from_secs(1),
            max: Duration::from_secs(4),
            within: Duration::from_secs(100),
            attempts: None,
            crashes: 3,
        }
    }

    #[test]
    fn ten_different_files_in_a_row_pause_and_one_success_goes_on() {
        let (pause, policy, now) = (Pause::default(), policy(), Instant::now());
        for file in 0..9 {
            assert_eq!(pause.failed(file, now, &policy), Change::None);
            assert_eq!(pause.failed(file, now, &policy), Change::None); // the same file again
        }
        assert_eq!(pause.leave(|| now), Leave::Go);
        assert_eq!(pause.failed(9, now, &policy), Change::Pauses(Duration::from_secs(1)));
        let due = now + Duration::from_secs(1);
        assert_eq!(pause.leave(|| now), Leave::Wait(due));
        assert_eq!(pause.leave(|| due), Leave::Probe);
        assert!(matches!(pause.leave(|| due), Leave::Wait(_)), "one at a time");
        assert_eq!(pause.failed(10, due, &policy), Change::Pauses(Duration::from_secs(2)));
        let due = due + Duration::from_secs(2);
        assert_eq!(pause.leave(|| due), Leave::Probe);
        assert_eq!(pause.worked(), Change::GoesOn);
        assert_eq!(pause.leave(|| due), Leave::Go);
    }

    #[test]
    fn a_burst_of_failures_is_one_pause_and_not_a_longer_one_each_time() {
        let (pause, policy, now) = (Pause::default(), policy(), Instant::now());
        let changes: Vec<_> = (0..1000).map(|file| pause.failed(file, now, &policy)).collect();
        assert_eq!(changes.iter().filter(|change| **change != Change::None).count(), 1);
        assert_eq!(pause.broken(now, &policy), Change::None);
        assert_eq!(pause.leave(|| now), Leave::Wait(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_pause_is_never_longer_than_a_minute() {
        let policy = RetryPolicy { max: Duration::from_secs(600), ..policy() };
        let (pause, mut now) = (Pause::default(), Instant::now());
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let Change::Pauses(pausing) = pause.broken(now, &policy) else { panic!("it goes on") };
            longest = longest.max(pausing);
            now += pausing;
            assert_eq!(pause.leave(|| now), Leave::Probe);
        }
        assert_eq!(longest, LONGEST);
    }

    #[test]
    fn a_success_in_between_starts_the_count_anew() {
        let (pause, policy, now) = (Pause::default(), policy(), Instant::now());
        for file in 0..100 {
            assert_eq!(pause.failed(file, now, &policy), Change::None);
            if file % 9 == 8 {
                assert_eq!(pause.worked(), Change::None);
            }
        }
    }

    #[test]
    fn a_broken_plugin_pauses_at_once_and_a_probe_without_work_gives_its_place_back() {
        let (pause, policy, now) = (Pause::default(), policy(), Instant::now());
        assert_eq!(pause.broken(now, &policy), Change::Pauses(Duration::from_secs(1)));
        let due = now + Duration::from_secs(1);
        assert_eq!(pause.leave(|| due), Leave::Probe);
        pause.not_tried();
        assert_eq!(pause.leave(|| due), Leave::Probe);
        assert!(pause.is_pausing());
    }
}
