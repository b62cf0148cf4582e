//! A lane pauses when not the files but the plugin seems to be at fault: a database is down, a program is missing.
//!
//! After ten different files in a row have failed, one event at a time is tried, with growing pauses, until one
//! works. What waits meanwhile loses no attempt.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::retry::RetryPolicy;
use crate::log::one_line;
use crate::plugin::Lost;

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
    since: Instant,
    until: Instant,
    tries: u32,
    /// A worker is trying one event.
    probing: bool,
    /// Of the last failure.
    why: String,
}

/// Why a lane pauses. `Display` is one line.
#[derive(Debug, Clone, Copy)]
pub(super) enum Why<'a> {
    /// One file after the other has failed: what the last one's error was.
    Files(&'a str),
    /// The plugin says that no file would work, and perhaps for how long.
    Unavailable(&'a str, Option<Duration>),
    /// An instance was lost between two events.
    Lost(&'a Lost),
    /// There is no new instance.
    NotMade(&'a str),
}

/// A pause as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pausing {
    /// How long ago it began.
    pub since: Duration,
    /// In what time the next event is tried. Zero: one is being tried.
    pub next: Duration,
    /// Why, by the last failure: one line.
    pub why: String,
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
    /// The lane pauses from now on: for so long at first.
    Pauses(Duration),
    /// It goes on pausing: for so long.
    StillPauses(Duration),
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
    pub(super) fn failed(&self, file: u64, now: Instant, policy: &RetryPolicy, why: Why<'_>) -> Change {
        let mut state = self.lock();
        self.troubled.store(true, Ordering::Release);
        if state.paused.is_some() {
            return state.longer(now, policy, why);
        }
        if !state.failed.contains(&file) {
            state.failed.push(file);
        }
        if state.failed.len() < FAILURES { Change::None } else { state.longer(now, policy, why) }
    }

    /// The plugin itself is broken: pauses at once.
    pub(super) fn broken(&self, now: Instant, policy: &RetryPolicy, why: Why<'_>) -> Change {
        self.troubled.store(true, Ordering::Release);
        self.lock().longer(now, policy, why)
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

    /// Has anything failed since the last success?
    pub(super) fn is_troubled(&self) -> bool {
        self.troubled.load(Ordering::Acquire)
    }

    /// Is the lane pausing?
    pub(super) fn is_pausing(&self) -> bool {
        self.troubled.load(Ordering::Acquire) && self.lock().paused.is_some()
    }

    /// The pause, if there is one.
    pub(super) fn view(&self, now: Instant) -> Option<Pausing> {
        let state = self.lock();
        let paused = state.paused.as_ref()?;
        let next = if paused.probing { Duration::ZERO } else { paused.until.saturating_duration_since(now) };
        let since = now.saturating_duration_since(paused.since);
        Some(Pausing { since, next, why: paused.why.clone() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Pauses, or goes on pausing because the probe has failed. What was begun before the pause and fails in it says
    /// nothing new.
    fn longer(&mut self, now: Instant, policy: &RetryPolicy, why: Why<'_>) -> Change {
        if self.paused.as_ref().is_some_and(|paused| !paused.probing) {
            return Change::None;
        }
        let (tries, since) = self.paused.as_ref().map_or((1, now), |paused| (paused.tries + 1, paused.since));
        let asked = match why {
            Why::Unavailable(_, asked) => policy.wait_as_asked(asked),
            _ => Duration::ZERO,
        };
        let pause = policy.pause(tries, None, 1.0).min(LONGEST).max(asked);
        self.paused = Some(Paused { since, until: now + pause, tries, probing: false, why: why.to_string() });
        if tries == 1 { Change::Pauses(pause) } else { Change::StillPauses(pause) }
    }
}

impl Change {
    /// How long the lane pauses now.
    pub(super) fn pause(&self) -> Option<Duration> {
        match self {
            Change::Pauses(pause) | Change::StillPauses(pause) => Some(*pause),
            Change::None | Change::GoesOn => None,
        }
    }
}

impl fmt::Display for Why<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Files(message) => {
                write!(f, "one file after the other failed, the last: {}", one_line(message))
            }
            Why::Unavailable(message, _) => write!(f, "it is unavailable: {}", one_line(message)),
            Why::Lost(lost) => write!(f, "it had no event in hand: {}", one_line(&lost.to_string())),
            Why::NotMade(message) => write!(f, "it cannot be made anew: {}", one_line(message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHY: Why<'_> = Why::Files("no\nway");

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
            assert_eq!(pause.failed(file, now, &policy, WHY), Change::None);
            assert_eq!(pause.failed(file, now, &policy, WHY), Change::None); // the same file again
        }
        assert_eq!(pause.leave(|| now), Leave::Go);
        assert_eq!(pause.failed(9, now, &policy, WHY), Change::Pauses(Duration::from_secs(1)));
        let due = now + Duration::from_secs(1);
        assert_eq!(pause.leave(|| now), Leave::Wait(due));
        assert_eq!(pause.leave(|| due), Leave::Probe);
        assert!(matches!(pause.leave(|| due), Leave::Wait(_)), "one at a time");
        assert_eq!(pause.failed(10, due, &policy, WHY), Change::StillPauses(Duration::from_secs(2)));
        let due = due + Duration::from_secs(2);
        assert_eq!(pause.leave(|| due), Leave::Probe);
        assert_eq!(pause.worked(), Change::GoesOn);
        assert_eq!(pause.leave(|| due), Leave::Go);
    }

    #[test]
    fn a_burst_of_failures_is_one_pause_and_not_a_longer_one_each_time() {
        let (pause, policy, now) = (Pause::default(), policy(), Instant::now());
        let changes: Vec<_> = (0..1000).map(|file| pause.failed(file, now, &policy, WHY)).collect();
        assert_eq!(changes.iter().filter(|change| **change != Change::None).count(), 1);
        assert_eq!(pause.broken(now, &policy, WHY), Change::None);
        assert_eq!(pause.leave(|| now), Leave::Wait(now + Duration::from_secs(1)));
    }

    #[test]
    fn a_pause_is_never_longer_than_a_minute() {
        let policy = RetryPolicy { max: Duration::from_secs(600), ..policy() };
        let (pause, mut now) = (Pause::default(), Instant::now());
        let mut longest = Duration::ZERO;
        for _ in 0..20 {
            let pausing = pause.broken(now, &policy, WHY).pause().unwrap();
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
            assert_eq!(pause.failed(file, now, &policy, WHY), Change::None);
            if file % 9 == 8 {
                assert_eq!(pause.worked(), Change::None);
            }
        }
    }

    #[test]
    fn a_broken_plugin_pauses_at_once_and_a_probe_without_work_gives_its_place_back() {
        let (pause, policy, now) = (Pause::default(), policy(), Instant::now());
        assert_eq!(pause.broken(now, &policy, WHY), Change::Pauses(Duration::from_secs(1)));
        let due = now + Duration::from_secs(1);
        assert_eq!(pause.leave(|| due), Leave::Probe);
        pause.not_tried();
        assert_eq!(pause.leave(|| due), Leave::Probe);
        assert!(pause.is_pausing());
    }

    #[test]
    fn a_pause_says_since_when_why_and_when_the_next_try_is() {
        let (pause, policy, now) = (Pause::default(), policy(), Instant::now());
        let seconds = Duration::from_secs;
        assert_eq!(pause.view(now), None);
        pause.broken(now, &policy, WHY);
        let view = |why: &str, since, next| {
            Some(Pausing { since: seconds(since), next: seconds(next), why: why.into() })
        };
        let first = r"one file after the other failed, the last: no\nway";
        assert_eq!(pause.view(now), view(first, 0, 1));
        let due = now + seconds(1);
        assert_eq!(pause.leave(|| due), Leave::Probe);
        assert_eq!(pause.view(due), view(first, 1, 0), "one is being tried");
        pause.broken(due, &policy, Why::NotMade("gone"));
        assert_eq!(pause.view(due), view("it cannot be made anew: gone", 1, 2));
        assert_eq!(pause.worked(), Change::GoesOn);
        assert_eq!(pause.view(due), None);
    }
}
