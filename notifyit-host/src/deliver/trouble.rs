//! When an attempt has failed: what the ledger notes of it, and where the event waits.
//!
//! About half of a lane's queue may be retries at most, or files that always fail would keep all others out. What
//! comes on top is *spilled*: it waits in the ledger alone, and the lane has it looked for when it is due.

use std::collections::VecDeque;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notifyit_plugin_api::Origin;

use super::lane::From;
use super::pause::Why;
use super::retry::{FENCES, Work, jitter};
use super::worker::Worker;
use crate::event::{Certainty, FileEvent, Outcome, Sequence};
use crate::settle::ledger::{Stamp, Version};
use crate::settle::trouble::{State, Trouble, Wish};
use crate::sys;

impl Worker {
    /// An attempt has failed, but the event may still be handled.
    pub(super) fn failed(
        &mut self,
        mut work: Work,
        behind: VecDeque<FileEvent>,
        message: &str,
        after: Option<Duration>,
    ) {
        work.tried = work.tried.saturating_add(1);
        self.lane.account.failed();
        let now = Instant::now();
        let lane = Arc::clone(&self.lane);
        if work.fences >= FENCES {
            self.give_probe_back();
            return self.end(&work, &Outcome::Gone, behind);
        }
        let was_pausing = lane.pause.is_pausing();
        let why = Why::Files(message);
        let change = lane.pause.failed(hash_of(&work.event), now, &lane.policy, why);
        lane.say_pause(&change, why);
        if was_pausing {
            // The plugin is at fault, not the file: this attempt does not count.
            if !self.may_spill(&work, &behind) {
                return self.put_off(work, now, behind);
            }
            let pause = change.pause().unwrap_or(lane.policy.first);
            self.note(&work, message, pause);
            return self.wait_out(work, pause, behind);
        }
        work.failed += 1;
        let since = *work.since.get_or_insert(now);
        if lane.policy.is_exhausted(work.failed, now - since) {
            let outcome = Outcome::Exhausted { message: message.to_owned(), attempts: work.failed };
            return self.end(&work, &outcome, behind);
        }
        let pause = lane.policy.pause(work.failed, after, jitter());
        lane.say_failure(self.attempt.path(), work.failed, message, pause);
        self.note(&work, message, pause);
        self.wait_out(work, pause, behind);
    }

    /// The plugin says that no file would work.
    pub(super) fn unavailable(
        &mut self,
        work: Work,
        behind: VecDeque<FileEvent>,
        message: &str,
        after: Option<Duration>,
    ) {
        let now = Instant::now();
        self.lane.account.failed();
        self.lane.breaks(now, Why::Unavailable(message, after));
        self.put_off(work, now, behind);
    }

    /// What the ledger has noted of an event is to be tried after this pause: here, or from there.
    pub(super) fn wait_out(&mut self, work: Work, pause: Duration, behind: VecDeque<FileEvent>) {
        let due = Instant::now() + pause;
        if !self.may_spill(&work, &behind) {
            return self.put_off(work, due, behind);
        }
        if !self.racy.is_empty() || self.burst.iter().any(|older| older.racy.is_some()) {
            // An older version that is done may have its stamp: entered, it would hide this one from who looks for it.
            self.flush();
            self.bring_along();
            self.racy.drop_at(&work.event);
        }
        self.lane.look_again(due);
        self.lane.settled(1);
    }

    /// May a rescan find this event again as it is, and does the lane need its place?
    fn may_spill(&self, work: &Work, behind: &VecDeque<FileEvent>) -> bool {
        let is_found_again = work.version.is_some()
            && work.event.is_landing()
            && work.event.renamed_from.is_none()
            && behind.is_empty();
        is_found_again && self.lane.is_crowded(0) && self.lane.closing().is_none()
    }

    fn note(&self, work: &Work, message: &str, pause: Duration) {
        let Some(version) = work.version.as_ref().filter(|_| work.event.is_landing()) else { return };
        let now = sys::wall_nanos();
        let next_nanos = now.saturating_add(nanos(pause));
        let first_nanos = work.since.map_or(0, |since| now.saturating_sub(nanos(since.elapsed())));
        let error = Trouble::error_of(message);
        let known = Trouble {
            attempts: work.failed,
            first_nanos,
            last_nanos: now,
            next_nanos,
            error,
            ..begun(work, version.stamp())
        };
        self.outside.ledger.note(self.lane.id, version, known);
        self.catch_up(&work.event, version);
    }

    /// Notes how an event ended.
    pub(super) fn note_end(&mut self, work: &Work, outcome: &Outcome) {
        let (state, error, attempts) = match outcome {
            Outcome::Delivered => return self.conclude(work, None),
            Outcome::Gone => return self.is_gone(work),
            Outcome::Rejected(message) => (State::Rejected, message, work.failed + 1),
            Outcome::Exhausted { message, attempts } => (State::Exhausted, message, *attempts),
        };
        let Some(version) = work.version.as_ref().filter(|_| work.event.is_landing()) else { return };
        let now = sys::wall_nanos();
        let first_nanos = work.since.map_or(now, |since| now.saturating_sub(nanos(since.elapsed())));
        let error = Trouble::error_of(error);
        let letter =
            Trouble { state, attempts, first_nanos, last_nanos: now, error, ..begun(work, version.stamp()) };
        self.conclude(work, Some(letter));
    }

    /// If the source has told of a rename of the file since its last attempt, that found nothing to take along. If
    /// that attempt was made with another file, which had come to the old place: returns the event where its own is.
    pub(super) fn catch_up(&self, event: &FileEvent, version: &Version) -> Option<FileEvent> {
        let ledger = &self.outside.ledger;
        if !self.attempt.has_left(event, Sequence(u64::MAX)) {
            return None;
        }
        let mut event = event.clone();
        self.attempt.follow(&self.lane, &mut event);
        match self.attempt.directory(&event) {
            Some(directory) if !self.lane.subscription.wants_landed() => {
                if self.attempt.is_other(&event, version.stamp()) {
                    return Some(event);
                }
                ledger.follow(self.lane.id, version, (directory, &event.name));
            }
            // It has landed there, and comes from there.
            _ => ledger.is_gone(self.lane.id, version.place()),
        }
        None
    }

    /// Brings an event to where its file was renamed to. Returns whether the plugin hears of that by itself.
    pub(super) fn follow(&mut self, event: &mut FileEvent) -> bool {
        let Some(sequence) = self.attempt.left_at(event) else { return false };
        let found = event.is_found().then(|| FileEvent { sequence, ..event.clone() });
        let hears = self.attempt.follow(&self.lane, event);
        // What a rescan has found may have come there by then, though the rename before that was told of only since.
        if let Some(found) = found.filter(|_| !hears) {
            self.look_at(found);
        }
        hears
    }

    /// What was done for an event was done with another file than its own: that one is to be looked at yet.
    pub(super) fn look_at(&self, event: FileEvent) {
        if self.lane.room(From::Rescan) == 0 {
            return self.lane.refuse(1);
        }
        let seen_nanos = sys::wall_nanos();
        let event = FileEvent { certainty: Certainty::Supposed, seen_nanos, ..event };
        self.lane.take(self.index, &mut vec![event]);
    }

    fn is_gone(&mut self, work: &Work) {
        if let Some((_, directory)) = self.attempt.locate(&work.event) {
            self.outside.ledger.is_gone(self.lane.id, (directory, &work.event.name));
        }
    }
}

/// An entry about this version, of which nothing else is known.
fn begun(work: &Work, stamp: Stamp) -> Trouble {
    let wish = if work.event.origin == Origin::Replay { Wish::Replay } else { Wish::None };
    Trouble { wish, crashes: work.crashes, ..Trouble::replay(stamp) }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

fn hash_of(event: &FileEvent) -> u64 {
    let mut hasher = DefaultHasher::new();
    (event.node, &event.name).hash(&mut hasher);
    hasher.finish()
}
