//! Where each instance stands.

use std::fmt;
use std::time::{Duration, Instant};

use super::spec::Shape;
use crate::deliver::Change;
use crate::plugin::PluginLibrary;

/// The pause after the first failure to make an instance; it doubles with each, up to the longest.
const FIRST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(60);

/// Where one instance stands.
#[derive(Debug)]
pub(super) struct Standing {
    pub(super) state: State,
    /// The code whose instances are made, whatever runs meanwhile.
    pub(super) making: Option<Making>,
    /// The code that could not take over: not to be tried again until there is other code, or it is time.
    failed: Option<Failed>,
}

/// What runs.
#[derive(Debug)]
pub(super) enum State {
    /// Its lane takes events.
    Running(Code),
    /// Its lane takes events; its workers change over to other code.
    Changing { from: Code, to: Code, change: Change },
    /// It has no lane.
    Absent,
}

/// Code whose instances are made. The number tells what has come to nothing from what is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Making {
    pub(super) hash: u64,
    pub(super) number: u64,
    pub(super) since: Instant,
}

/// The code that runs, or is to.
#[derive(Debug, Clone)]
pub(super) struct Code {
    pub(super) hash: u64,
    version: String,
    pub(super) shape: Shape,
}

/// The version and the build: two builds may have one version.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:08x})", self.version, self.hash >> 32)
    }
}

#[derive(Debug)]
struct Failed {
    hash: u64,
    times: u32,
    /// `None`: nothing but other code can help.
    again: Option<Instant>,
    why: String,
}

impl Code {
    pub(super) fn of(library: &PluginLibrary, shape: Shape) -> Code {
        Code { hash: library.hash, version: library.info.version.clone(), shape }
    }
}

impl Standing {
    pub(super) fn new(state: State) -> Standing {
        Standing { state, making: None, failed: None }
    }

    /// Is this code to be tried?
    pub(super) fn may_try(&self, hash: u64, now: Instant) -> bool {
        let failed = self.failed.as_ref().filter(|failed| failed.hash == hash);
        failed.is_none_or(|failed| failed.again.is_some_and(|again| again <= now))
    }

    /// Has this code never failed?
    pub(super) fn is_news(&self, hash: u64) -> bool {
        self.failed.as_ref().is_none_or(|failed| failed.hash != hash)
    }

    /// This code could not be made. Returns after what pause it is tried again, if it is.
    pub(super) fn has_failed(
        &mut self,
        hash: u64,
        (why, may_work_later): (String, bool),
        now: Instant,
    ) -> Option<Duration> {
        let times =
            self.failed.as_ref().filter(|failed| failed.hash == hash).map_or(0, |failed| failed.times);
        let pause = may_work_later.then(|| FIRST.saturating_mul(1 << times.min(16)).min(LONGEST));
        self.failed = Some(Failed { hash, times: times + 1, again: pause.map(|pause| now + pause), why });
        pause
    }

    /// When what has failed is to be tried again, if that is still to come.
    pub(super) fn again(&self, now: Instant) -> Option<Instant> {
        self.failed.as_ref().and_then(|failed| failed.again).filter(|again| *again > now)
    }

    /// Why what has failed last has failed, and when it is tried again, if it is.
    pub(super) fn failure(&self) -> Option<(&str, Option<Instant>)> {
        self.failed.as_ref().map(|failed| (failed.why.as_str(), failed.again))
    }

    /// It runs.
    pub(super) fn works(&mut self) {
        self.failed = None;
    }

    /// The code that its lane runs, or changes over to.
    pub(super) fn code(&self) -> Option<&Code> {
        match &self.state {
            State::Running(code) | State::Changing { to: code, .. } => Some(code),
            State::Absent => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_is_tried_again_after_growing_pauses_and_other_code_at_once() {
        let (mut standing, now) = (Standing::new(State::Absent), Instant::now());
        let seconds = |n| Some(Duration::from_secs(n));
        assert!(standing.is_news(7) && standing.again(now).is_none());
        let pauses = [(); 8].map(|()| standing.has_failed(7, (String::new(), true), now));
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 60, 60].map(seconds));
        assert_eq!((standing.again(now), standing.again(now + LONGEST)), (Some(now + LONGEST), None));
        assert!(!standing.is_news(7) && standing.is_news(8));
        let later = now + LONGEST;
        assert_eq!(
            [(7, now), (7, later), (8, now)].map(|(hash, at)| standing.may_try(hash, at)),
            [false, true, true]
        );
        assert_eq!(
            standing.has_failed(8, ("no".to_owned(), false), now),
            None,
            "nothing but other code can help"
        );
        assert!(!standing.may_try(8, later) && standing.may_try(7, now));
        assert_eq!(standing.failure(), Some(("no", None)));
        standing.works();
        assert_eq!(standing.failure(), None);
        assert!(standing.may_try(8, now));
    }
}
