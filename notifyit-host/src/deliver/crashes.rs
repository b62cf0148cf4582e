//! The process has died with an event in hand: a failed attempt, and one of a kind that there may be but a few of.
//!
//! An inline plugin takes the host with it. What the host had in hand then, the next one enters in the ledger before it
//! hands anything out: so a file that ends each host is a dead letter after `retry.crashes` of them.

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::Path;
use std::time::Duration;

use anyhow::Result;
use tracing::{info, warn};

use super::Outside;
use super::retry::{RetryPolicy, Work, jitter};
use super::worker::Worker;
use crate::event::{FileEvent, Outcome};
use crate::settle::ledger::Version;
use crate::settle::recorder::{Death, InHand};
use crate::settle::trouble::{State, Trouble, Wish};
use crate::sys;

/// So long the start waits for the ledger to be on disk: what kills the next host at once is to find it there.
const WRITTEN_WITHIN: Duration = Duration::from_secs(5);

/// Enters what the host before this one died of, by each plugin's policy. To be called before any lane comes.
///
/// # Errors
///
/// The ledger cannot be read.
pub fn enter_deaths(outside: &Outside, policy_of: impl Fn(&str) -> RetryPolicy) -> Result<()> {
    let deaths = outside.recorders.deaths();
    for death in &deaths {
        enter(outside, death, &policy_of(&death.plugin))?;
    }
    if !deaths.is_empty() && !outside.ledger.is_written(WRITTEN_WITHIN) {
        warn!(
            "the ledger is not written yet: should the host die again at once, what it died of is not counted"
        );
    }
    outside.recorders.clear();
    Ok(())
}

fn enter(outside: &Outside, death: &Death, policy: &RetryPolicy) -> Result<()> {
    let (ledger, Death { plugin, way, in_hand }) = (&outside.ledger, death);
    let Some(in_hand) = in_hand else {
        warn!(
            "the host {way} in the hands of plugin `{plugin}`, which had no event then: no file is to blame"
        );
        return Ok(());
    };
    let path = &in_hand.path;
    let Some(version) = &in_hand.version else {
        warn!(
            "the host {way} while plugin `{plugin}` had an event of {path:?} in hand, which does not come again"
        );
        return Ok(());
    };
    let Some(lane) = ledger.lane_if_known(plugin)? else {
        info!("the host {way} while plugin `{plugin}` had {path:?} in hand; the plugin is forgotten since");
        return Ok(());
    };
    if ledger.is_finished(lane, version) {
        info!("the host {way} while plugin `{plugin}` had {path:?} in hand, which is finished");
        return Ok(());
    }
    let known = ledger.waiting(lane, version.place(), version.stamp());
    if known.as_ref().is_some_and(|known| is_entered(in_hand, known)) {
        return Ok(());
    }
    let counted = count(in_hand, version, known, way);
    let Trouble { crashes, attempts, .. } = counted;
    let most = policy.crashes;
    let before = Duration::from_nanos(in_hand.began_nanos.saturating_sub(counted.first_nanos));
    // Another version of the file may have that stamp, and would be taken for finished.
    if !in_hand.is_racy && (crashes >= most || policy.is_exhausted(attempts, before)) {
        let message = counted.error.clone();
        ledger.bury(lane, version, Trouble { state: State::Exhausted, ..counted });
        outside.settle.account(plugin).record(path, &Outcome::Exhausted { message, attempts });
        return Ok(());
    }
    let pause = policy.pause(attempts, None, jitter());
    let next_nanos = counted.last_nanos.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
    ledger.note(lane, version, Trouble { next_nanos, ..counted });
    say(plugin, path, way, &format!("crash {crashes} of {most}, next try in {pause:.1?}"));
    Ok(())
}

/// Has it been entered already, by a start that was cut short behind that?
fn is_entered(in_hand: &InHand, known: &Trouble) -> bool {
    known.crashes > in_hand.crashes && known.last_nanos > in_hand.began_nanos
}

/// What is known of the version, with one crash more.
fn count(in_hand: &InHand, version: &Version, known: Option<Trouble>, way: &dyn Display) -> Trouble {
    let known = known.unwrap_or_else(|| Trouble { wish: Wish::None, ..Trouble::replay(version.stamp()) });
    let crashes = known.crashes.max(in_hand.crashes).saturating_add(1);
    let first_nanos = if known.first_nanos > 0 { known.first_nanos } else { in_hand.began_nanos };
    Trouble {
        attempts: known.attempts.max(in_hand.failed).saturating_add(1),
        crashes,
        first_nanos,
        last_nanos: sys::wall_nanos(),
        error: said(&format!("the host {way} in its hands"), crashes),
        ..known
    }
}

fn said(what: &str, crashes: u32) -> String {
    if crashes == 1 { what.to_owned() } else { format!("{what}, {crashes} times") }
}

fn say(plugin: &str, path: &Path, way: &dyn Display, what: &str) {
    warn!("the host {way} while plugin `{plugin}` had {path:?} in hand: {what}");
}

impl Worker {
    /// The plugin's own process has died with this event in hand; `way` goes on behind its name: `died of SIGSEGV`.
    pub(super) fn process_died(&mut self, mut work: Work, behind: VecDeque<FileEvent>, way: &dyn Display) {
        work.crashes = work.crashes.saturating_add(1);
        let message = said(&format!("its process {way}"), work.crashes);
        if work.crashes >= self.lane.policy.crashes {
            self.give_probe_back();
            // While the lane pauses, attempts do not count.
            let attempts = work.failed.saturating_add(1).max(work.crashes);
            let outcome = Outcome::Exhausted { message, attempts };
            return self.end(&work, &outcome, behind);
        }
        self.failed(work, behind, &message, None);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Places;
    use crate::settle::ledger::Ledger;
    use crate::settle::recorder::{Begun, Recorders};
    use crate::source::fence::SourceHandle;
    use crate::source::tree::Tree;
    use crate::sys::Stat;
    use std::ffi::OsStr;
    use std::sync::Arc;

    const POLICY: RetryPolicy = RetryPolicy {
        first: Duration::from_secs(1),
        max: Duration::from_secs(600),
        within: Duration::from_secs(60),
        attempts: None,
        crashes: 3,
    };
    const SECOND: u64 = 1_000_000_000;

    fn version(size: u64) -> Version {
        let stat =
            Stat { device: 1, inode: 2, size, mode: 0, mtime_seconds: 3, mtime_nanos: 4, ctime_nanos: 5 };
        Version::new(7, &OsStr::new("a").into(), &stat)
    }

    /// A host with this state directory, which knows the plugin `known`.
    fn outside(state: &Path) -> Outside {
        let ledger = Arc::new(Ledger::in_directory(state).unwrap());
        ledger.lane_of("known").unwrap();
        let tree =
            Arc::new(crate::source::shared::SharedTree::new(Tree::numbered_by(Arc::clone(&ledger) as _)));
        Outside {
            places: Arc::new(Places { tree, renames: Arc::default(), watches: Vec::new() }),
            settle: Arc::default(),
            takers: Arc::default(),
            ledger,
            recorders: Recorders::in_directory(state).unwrap(),
            source: SourceHandle::new().unwrap(),
            rescans: crate::source::rescan::RescanHandle::default(),
        }
    }

    fn begun(version: &Version) -> Begun<'_> {
        let began_nanos = sys::wall_nanos();
        Begun { version: Some(version), is_racy: false, failed: 0, crashes: 0, began_nanos, path: b"/in/a" }
    }

    /// Hosts die with this in the plugin's hands, one after the other: what is known of it then.
    fn die<const N: usize>(
        plugin: &str,
        known: Option<Trouble>,
        each: [Begun<'_>; N],
    ) -> (Outside, Option<Trouble>) {
        let state = tempfile::tempdir().unwrap();
        let outside = outside(state.path());
        let lane = outside.ledger.lane_of("known").unwrap();
        if let Some(known) = known {
            outside.ledger.note(lane, &version(1), known);
        }
        for begun in each {
            let recorder = outside.recorders.open(plugin);
            recorder.begin(&begun);
            enter_deaths(&outside, |_| POLICY).unwrap();
        }
        assert_eq!(outside.recorders.deaths(), [], "the pages are gone");
        let version = version(1);
        let known = outside.ledger.waiting(lane, version.place(), version.stamp());
        (outside, known)
    }

    fn is_finished(outside: &Outside) -> bool {
        outside.ledger.is_finished(outside.ledger.lane_of("known").unwrap(), &version(1))
    }

    #[test]
    fn a_crash_is_one_attempt_more_of_what_is_known_and_waits() {
        let version = version(1);
        let (_, known) = die("known", None, [begun(&version)]);
        let known = known.unwrap();
        assert_eq!((known.attempts, known.crashes, known.state), (1, 1, State::Waiting));
        let pause = known.next_nanos - known.last_nanos;
        assert!((SECOND * 3 / 4..=SECOND).contains(&pause), "{pause}");
        assert!(known.first_nanos > 0 && known.first_nanos <= known.last_nanos);
        let before = Trouble {
            attempts: 4,
            crashes: 1,
            wish: Wish::Replay,
            first_nanos: known.first_nanos,
            ..Trouble::replay(version.stamp())
        };
        // A fifth had failed, which was not on disk yet.
        let (_, known) = die("known", Some(before), [Begun { failed: 5, crashes: 1, ..begun(&version) }]);
        let known = known.unwrap();
        assert_eq!((known.attempts, known.crashes, known.wish), (6, 2, Wish::Replay));
        assert_eq!(known.error, "the host died (killed, perhaps) in its hands, 2 times");
    }

    #[test]
    fn what_a_start_that_is_cut_short_has_entered_is_not_entered_again() {
        let version = version(1);
        let one = begun(&version);
        let again = Begun { ..one };
        let (_, known) = die("known", None, [one, again]);
        assert_eq!(known.map(|known| (known.attempts, known.crashes)), Some((1, 1)));
        // The same by an event that knows nothing of the one before.
        let first = begun(&version);
        let (_, known) = die(
            "known",
            None,
            [first, Begun { began_nanos: sys::wall_nanos() + 30 * SECOND, ..begun(&version) }],
        );
        assert_eq!(known.map(|known| (known.attempts, known.crashes)), Some((2, 2)));
    }

    #[test]
    fn it_is_over_by_crashes_or_by_time_unless_the_stamp_may_be_another_versions_too() {
        let version = version(1);
        let third = || Begun { failed: 2, crashes: 2, ..begun(&version) };
        let (outside, known) = die("known", None, [third()]);
        assert!(known.is_none() && is_finished(&outside));
        let (outside, known) = die("known", None, [Begun { is_racy: true, ..third() }]);
        assert_eq!((known.map(|known| known.crashes), is_finished(&outside)), (Some(3), false));
        let first_nanos = sys::wall_nanos() - 61 * SECOND;
        let old = Trouble { attempts: 1, first_nanos, ..Trouble::replay(version.stamp()) };
        let (outside, _) = die("known", Some(old), [begun(&version)]);
        assert!(is_finished(&outside));
        // That the host was down for long says nothing of the file.
        let (outside, known) = die("known", None, [Begun { began_nanos: first_nanos, ..begun(&version) }]);
        assert!(known.is_some() && !is_finished(&outside));
    }

    #[test]
    fn nothing_is_entered_for_who_is_forgotten_or_of_what_is_finished_or_no_version() {
        let version = version(1);
        let (outside, known) = die("forgotten", None, [begun(&version)]);
        assert!(known.is_none() && outside.ledger.lane_if_known("forgotten").unwrap().is_none());
        let (_, known) = die("known", None, [Begun { version: None, ..begun(&version) }]);
        assert!(known.is_none());
        let state = tempfile::tempdir().unwrap();
        let outside = self::outside(state.path());
        outside.ledger.finish(outside.ledger.lane_of("known").unwrap(), &version);
        let recorder = outside.recorders.open("known");
        recorder.begin(&begun(&version));
        enter_deaths(&outside, |_| POLICY).unwrap();
        assert!(is_finished(&outside), "somebody has skipped it since");
    }
}
