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
    let counted = count(in_hand, version, known, way);
    let Trouble { crashes, attempts, .. } = counted;
    let most = policy.crashes;
    let before = Duration::from_nanos(in_hand.began_nanos.saturating_sub(counted.first_nanos));
    // Another version of the file may have that stamp, and would be taken for finished.
    if !in_hand.is_racy && (crashes >= most || policy.is_exhausted(attempts, before)) {
        let message = counted.error.clone();
        ledger.bury(lane, version, Trouble { state: State::Exhausted, ..counted });
        outside.settle.record(plugin, path, &Outcome::Exhausted { message, attempts });
        return Ok(());
    }
    let pause = policy.pause(attempts, None, jitter());
    let next_nanos = counted.last_nanos.saturating_add(u64::try_from(pause.as_nanos()).unwrap_or(u64::MAX));
    ledger.note(lane, version, Trouble { next_nanos, ..counted });
    say(plugin, path, way, &format!("crash {crashes} of {most}, next try in {pause:.1?}"));
    Ok(())
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
    #[cfg_attr(not(test), expect(dead_code, reason = "no plugin has a process of its own yet"))]
    pub(super) fn process_died(&mut self, mut work: Work, behind: VecDeque<FileEvent>, way: &dyn Display) {
        work.crashes = work.crashes.saturating_add(1);
        let message = said(&format!("its process {way}"), work.crashes);
        if work.crashes >= self.lane.policy.crashes {
            self.give_probe_back();
            let outcome = Outcome::Exhausted { message, attempts: work.failed.saturating_add(1) };
            return self.end(&work, &outcome, behind);
        }
        self.failed(work, behind, &message, None);
    }
}
