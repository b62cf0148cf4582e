//! What comes back from a call: the handler's own closes are dropped, and who goes round in circles is slowed down.
//! The rules are in `handled`.

use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Instant;

use notifyit_plugin_api::abi::Left;

use super::attempt::{Attempt, Looked};
use super::handled::{Claim, Echo, Ended};
use super::lane::Lane;
use super::retry::{Work, jitter};
use super::worker::Worker;
use crate::event::FileEvent;
use crate::plugin::{Answer, Reply};
use crate::settle::ledger::Version;
use crate::sys::{self, Stat};

/// After so many rounds in a row it is no accident.
const ROUNDS: u32 = 5;

impl Attempt {
    /// The plugin has answered: remembers the call, if it was about a version of a file. What the plugin claims as its
    /// work is what is finished.
    pub(super) fn has_called(&mut self, (lane, work): (&Lane, &mut Work), looked: &Looked, answer: &Answer) {
        let Looked { at: began, stat: Some(stat), terms, .. } = *looked else { return };
        if !work.event.is_landing() {
            return;
        }
        let claimed = answer.notes.rewrote.map(|left| terms.stamp(claimed(left, stat)));
        if let (Some(stat), Some(version)) = (claimed, &mut work.version) {
            *version = version.with_stamp(&stat);
            // It is taken at its word.
            work.racy = None;
        }
        if lane.reads_only.load(Ordering::Relaxed) && lane.coalesce.is_none() && claimed.is_none() {
            return;
        }
        let is_answer = matches!(answer.reply, Reply::Done | Reply::Reject { .. });
        let not_before =
            lane.coalesce.filter(|_| is_answer).and_then(|pause| Instant::now().checked_add(pause));
        let left = claimed.unwrap_or_else(|| terms.stamp(stat));
        let claim = if claimed.is_some() { Claim::Rewrote } else { Claim::None };
        let ended = Ended { began, ended: sys::wall_nanos(), left, claim, not_before };
        self.handled.note(&work.event, ended);
    }
}

/// The file as the plugin has left it.
fn claimed(left: Left, before: Stat) -> Stat {
    let Stat { device, mode, .. } = before;
    Stat { device, mode, ..stat_of(left) }
}

/// What the plugin saw of a file. Device and mode are not told.
pub(super) fn stat_of(left: Left) -> Stat {
    let Left { inode, size, mtime_seconds, mtime_nanos, ctime_nanos } = left;
    Stat { device: 0, inode, size, mode: 0, mtime_seconds, mtime_nanos, ctime_nanos }
}

impl Worker {
    /// Is this event the handler's own close of what is finished?
    pub(super) fn is_echo(&mut self, event: &FileEvent) -> bool {
        if !self.attempt.handled.may_be_echo(event) {
            return false;
        }
        let Some((watch, directory)) = self.attempt.locate(event) else { return false };
        let Ok(Some(stat)) = sys::stat(self.attempt.path()) else { return false };
        let terms = self.attempt.terms(watch);
        let stat = terms.stamp(stat);
        match self.attempt.handled.judge(event, &stat, terms.grain(&stat)) {
            Echo::No => false,
            Echo::Own(claim) => {
                let version = Version::new(directory, &event.name, &stat);
                if claim == Claim::Rewrote {
                    self.finish_again(event, &version);
                    return true;
                }
                self.has(event, &version)
            }
            Echo::Young(grain) => {
                self.attempt.handled.put_off(event, Instant::now() + grain);
                false
            }
            Echo::Round(rounds) => {
                let path = self.attempt.path().to_owned();
                self.slow_down(event, rounds, &path);
                false
            }
        }
    }

    /// Is this version finished, still to be flushed, or to be tried again? What has failed, or whose flush may fail,
    /// may have been about a file that went to another name, and goes on there: then this event is the file's only one.
    fn has(&self, event: &FileEvent, version: &Version) -> bool {
        self.waiting.at(event).is_some()
            || self.outside.ledger.is_finished(self.lane.id, version)
            || self.burst.iter().any(|work| {
                work.version.as_ref() == Some(version) && !self.attempt.has_left(&work.event, event.sequence)
            })
    }

    /// What was renamed to its place was forgotten when the source read of that.
    fn finish_again(&self, event: &FileEvent, version: &Version) {
        // What waits, or is still to be flushed, is finished at its own time.
        let is_settled = !self.unflushed && self.waiting.at(event).is_none();
        if is_settled && !self.outside.ledger.is_finished(self.lane.id, version) {
            self.outside.ledger.finish(self.lane.id, version);
        }
    }

    fn slow_down(&mut self, event: &FileEvent, rounds: u32, path: &Path) {
        if rounds >= ROUNDS {
            let pause = self.lane.policy.pause(rounds - ROUNDS + 1, None, jitter());
            self.attempt.handled.put_off(event, Instant::now() + pause);
            self.lane.say_round(path, rounds, pause);
        }
    }
}
