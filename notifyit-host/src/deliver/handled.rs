//! What a worker has handled lately: which closes are the handler's own, who goes round in circles, and which files
//! are to come at most once in a while.
//!
//! A handler that opens its file for writing makes a close-write of it, which comes back as an event. Whether an event
//! that comes after a call is such an **echo** is told by three things, all of which must hold:
//!
//! 1. **When**: it was read from the kernel's queue after the call began, and before or soon after it ended. What the
//!    handler closed was in the queue when the call ended; to read it takes the source a moment.
//! 2. **The stamp** of the file now is the one that is finished: that from before the call, or the one that the plugin
//!    has claimed as its work (`event.rewrote()`). Whoever has written to the file since has left another one. Where
//!    the file system's clock has a grain a racy stamp could be that of two versions: it tells nothing, and the event is
//!    delivered, a grain later. (That of a claimed file is always racy: there it is taken at its word.)
//! 3. **ctime**, which no one can set, lies before the end of the call: who wrote later and put mtime back is seen. (The
//!    kernel takes it from a clock that ticks, so that "later" is up to ten milliseconds later.)
//!
//! So no close is dropped that stands for other content than what was finished, with these exceptions: what another
//! wrote during the call, or in the tick in which it ended, and gave the very time and size of before; what another wrote between the handler's last
//! write and its claim; what another wrote to a claimed file within the same grain of the clock, to the same size;
//! and what a mapping that was dirty before the call put there without a new time. A rescan cannot see these either.
//!
//! An event that is no echo because the stamp is another, but whose file was last changed during the call, is a
//! **round**: the handler has, as it seems, rewritten its file without saying so. From the fifth round of one file in
//! a row on each further one waits for a growing pause. What was read in an earlier call of the row counts as read in
//! the last: a handler that closes its file twice in each call would else make two events of each. Whoever writes while
//! nothing is called ends the row: a file that others write to all the time is not held up for long.

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hash, Hasher, RandomState};
use std::time::{Duration, Instant};

use notifyit_plugin_api::Origin;
use rustc_hash::{FxHashMap, FxHasher};

use super::recent::Recent;
use crate::event::FileEvent;
use crate::settle::ledger::Stamp;
use crate::source::filesystem::is_racy;
use crate::sys::Stat;

/// So long the source may take to read what lay in the kernel's queue when a call ended, in nanoseconds. If it takes
/// longer, an echo is delivered.
const READ_WITHIN: u64 = 2_000_000_000;
/// So many of them are remembered: an echo comes behind no more than the lane's queue and the kernel's hold by default.
/// What is forgotten earlier costs an echo that is delivered, or a `coalesce` that is not kept.
const MOST: usize = 65_536 + 16_384;

/// The calls that still matter.
#[derive(Debug, Default)]
pub(super) struct Handled {
    recent: Recent,
    /// The calls of which more is known than what [`Recent`] holds, by a hash of the file's place. Bounded by [`MOST`];
    /// the oldest is forgotten first.
    calls: FxHashMap<u64, Call>,
    keys: RandomState,
    /// Keys and serial numbers, oldest first. Those of calls that another one has followed are stale.
    order: VecDeque<(u64, u64)>,
    serial: u64,
}

/// A call that has ended, as it is to be remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// A moment before the file was looked at for it: nanoseconds since 1970.
    pub(super) began: u64,
    /// Its end.
    pub(super) ended: u64,
    /// What is finished, or will be if it is tried again: the file as it was before the call, or as it was claimed.
    pub(super) left: Stat,
    /// Has the plugin claimed it?
    pub(super) claim: Claim,
    /// No version of the file is to be delivered before that.
    pub(super) not_before: Option<Instant>,
}

/// Whose word the finished stamp is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Claim {
    /// The file system's, before the call.
    None,
    /// The plugin's: what is there is its work.
    Rewrote,
}

#[derive(Debug, Clone, Copy)]
struct Call {
    serial: u64,
    /// When the file was looked at.
    looked: u64,
    /// When the row of calls began that caused one another.
    began: u64,
    ended: u64,
    /// What changed the file later was not the handler. On a file server's clock that may be another time.
    until: u64,
    /// A hash of the finished stamp, with keys that no file's author can know.
    stamp: u64,
    claim: Claim,
    /// How many rounds there were up to this call.
    rounds: u32,
    /// Has it caused the next?
    is_round: bool,
    not_before: Option<Instant>,
}

/// What an event is, in the light of the calls.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    /// An event like any other.
    No,
    /// The handler's own close of what is finished.
    Own(Claim),
    /// The stamp is the finished one, but so young that it tells nothing: so long later it would.
    Young(Duration),
    /// A new version that was written during the call: so many in a row.
    Round(u32),
}

impl Handled {
    /// A call for this file has ended.
    pub(super) fn note(&mut self, event: &FileEvent, ended: Ended) {
        let key = key(event);
        let stamp = self.keys.hash_one(Stamp::of(&ended.left));
        let before = self.calls.get(&key).filter(|call| call.is_round);
        let is_plain = before.is_none() && ended.claim == Claim::None && ended.not_before.is_none();
        if is_plain && ended.left.ctime_nanos <= ended.ended {
            self.calls.remove(&key);
            return self.recent.put(key, ended.began, ended.ended, stamp);
        }
        self.serial += 1;
        let call = Call {
            serial: self.serial,
            looked: ended.began,
            began: before.map_or(ended.began, |call| call.began),
            ended: ended.ended,
            until: ended.ended.max(ended.left.ctime_nanos),
            stamp,
            claim: ended.claim,
            rounds: before.map_or(0, |call| call.rounds + 1),
            is_round: false,
            not_before: ended.not_before,
        };
        self.insert(key, call);
    }

    fn insert(&mut self, key: u64, call: Call) {
        self.order.push_back((key, call.serial));
        self.calls.insert(key, call);
        if self.order.len() > MOST {
            self.forget_oldest();
        }
    }

    /// More is to be known of a recent call.
    fn promote(&mut self, key: u64, is_round: bool, not_before: Option<Instant>) {
        let Some((began, ended, stamp)) = self.recent.get(key) else { return };
        self.serial += 1;
        let call = Call {
            serial: self.serial,
            looked: began,
            began,
            ended,
            until: ended,
            stamp,
            claim: Claim::None,
            rounds: 0,
            is_round,
            not_before,
        };
        self.insert(key, call);
    }

    /// May this event be an echo? If so, its file is to be looked at, and then it is to be judged. Every event that
    /// arrives is to be asked about: what no longer matters is forgotten by it.
    pub(super) fn may_be_echo(&mut self, event: &FileEvent) -> bool {
        if event.origin != Origin::Live || !event.is_landing() {
            return false;
        }
        while self.order.front().is_some_and(|oldest| self.is_over(oldest, event.seen_nanos)) {
            self.forget_oldest();
        }
        let key = key(event);
        let Some(call) = self.calls.get_mut(&key) else {
            let recent = self.recent.get(key);
            return recent.is_some_and(|(began, ended, _)| is_near(began, ended, event.seen_nanos));
        };
        let is_near = is_near(call.began, call.ended, event.seen_nanos);
        call.is_round &= is_near;
        is_near
    }

    /// Is the event, whose file looks like this now, an echo? `grain` is that of the file system's clock.
    pub(super) fn judge(&mut self, event: &FileEvent, now: &Stat, grain: Duration) -> Echo {
        let key = key(event);
        let stamp = self.keys.hash_one(Stamp::of(now));
        let Some(call) = self.calls.get_mut(&key) else {
            let Some((began, ended, finished)) = self.recent.get(key) else { return Echo::No };
            if !is_near(began, ended, event.seen_nanos) || now.ctime_nanos > ended {
                return Echo::No;
            }
            if stamp != finished {
                self.promote(key, true, None);
                return Echo::Round(1);
            }
            return own_or_young(now, (began, ended), grain);
        };
        if !is_near(call.began, call.ended, event.seen_nanos) || now.ctime_nanos > call.until {
            call.is_round = false;
            return Echo::No;
        }
        if call.stamp != stamp {
            call.is_round = true;
            return Echo::Round(call.rounds + 1);
        }
        if call.claim == Claim::Rewrote {
            return Echo::Own(call.claim);
        }
        own_or_young(now, (call.looked, call.ended), grain)
    }

    /// No version of that file is to be delivered before then.
    pub(super) fn put_off(&mut self, event: &FileEvent, until: Instant) {
        let key = key(event);
        match self.calls.get_mut(&key) {
            Some(call) => call.not_before = call.not_before.max(Some(until)),
            None => self.promote(key, false, Some(until)),
        }
    }

    /// How long that file has to wait, if at all.
    pub(super) fn wait(&self, event: &FileEvent, now: Instant) -> Option<Duration> {
        if self.calls.is_empty() {
            return None;
        }
        let until = self.calls.get(&key(event))?.not_before?;
        until.checked_duration_since(now).filter(|left| !left.is_zero())
    }

    fn is_over(&self, (key, serial): &(u64, u64), seen_nanos: u64) -> bool {
        let Some(call) = self.calls.get(key).filter(|call| call.serial == *serial) else { return true };
        // What comes to a worker was read in that order.
        call.ended + READ_WITHIN < seen_nanos && call.not_before.is_none_or(|until| until <= Instant::now())
    }

    fn forget_oldest(&mut self) {
        let Some((key, serial)) = self.order.pop_front() else { return };
        if self.calls.get(&key).is_some_and(|call| call.serial == serial) {
            self.calls.remove(&key);
        }
        if self.calls.is_empty() {
            // After a storm.
            (self.calls, self.order) = Default::default();
        }
    }
}

/// Two files that share one have other stamps.
fn key(event: &FileEvent) -> u64 {
    let mut hasher = FxHasher::default();
    (event.node, &event.name).hash(&mut hasher);
    hasher.finish()
}

fn is_near(began: u64, ended: u64, seen_nanos: u64) -> bool {
    (began..=ended + READ_WITHIN).contains(&seen_nanos)
}

/// The stamp is the finished one: was it racy?
fn own_or_young(now: &Stat, looked: (u64, u64), grain: Duration) -> Echo {
    if is_racy(now, grain, looked) { Echo::Young(grain) } else { Echo::Own(Claim::None) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Certainty, NodeId, Sequence};
    use notifyit_plugin_api::Kind;
    use std::ffi::OsStr;

    const SECOND: u64 = 1_000_000_000;
    /// The call lasts from here …
    const BEGAN: u64 = 1_000 * SECOND;
    /// … to here.
    const ENDED: u64 = 1_001 * SECOND;

    fn event(name: &str, seen_nanos: u64) -> FileEvent {
        FileEvent {
            sequence: Sequence(1),
            node: NodeId(0, 0),
            name: OsStr::new(name).into(),
            kind: Kind::Landed,
            certainty: Certainty::Told,
            origin: Origin::Live,
            directory: false,
            seen_nanos,
            renamed_from: None,
        }
    }

    fn stat(size: u64, mtime_seconds: i64, ctime_nanos: u64) -> Stat {
        Stat { device: 1, inode: 2, size, mode: 0, mtime_seconds, mtime_nanos: 0, ctime_nanos }
    }

    fn called(left: Stat, claim: Claim) -> Handled {
        let mut handled = Handled::default();
        let ended = Ended { began: BEGAN, ended: ENDED, left, claim, not_before: None };
        handled.note(&event("a", BEGAN), ended);
        handled
    }

    const OLD: Stat = Stat {
        device: 1,
        inode: 2,
        size: 3,
        mode: 0,
        mtime_seconds: 900,
        mtime_nanos: 0,
        ctime_nanos: 900 * SECOND,
    };

    #[test]
    fn a_close_during_the_call_that_has_changed_nothing_is_an_echo() {
        let mut handled = called(OLD, Claim::None);
        for (seen, is_near) in [
            (BEGAN - 1, false),
            (BEGAN, true),
            (ENDED + 1, true),
            (ENDED + READ_WITHIN, true),
            (ENDED + READ_WITHIN + 1, false),
        ] {
            let echo = if is_near { Echo::Own(Claim::None) } else { Echo::No };
            assert_eq!(handled.judge(&event("a", seen), &OLD, Duration::ZERO), echo, "{seen}");
        }
        assert_eq!(handled.judge(&event("b", ENDED), &OLD, Duration::ZERO), Echo::No, "another file");
        let chmod = Stat { ctime_nanos: ENDED, mode: 1, ..OLD };
        assert_eq!(handled.judge(&event("a", ENDED), &chmod, Duration::ZERO), Echo::Own(Claim::None));
    }

    #[test]
    fn what_was_changed_behind_the_call_is_no_echo_whatever_its_mtime() {
        for claim in [Claim::None, Claim::Rewrote] {
            let mut handled = called(OLD, claim);
            let put_back = Stat { ctime_nanos: ENDED + 1, ..OLD };
            assert_eq!(handled.judge(&event("a", ENDED), &put_back, Duration::ZERO), Echo::No);
            let written = stat(4, 1_001, ENDED + 1);
            assert_eq!(handled.judge(&event("a", ENDED), &written, Duration::ZERO), Echo::No);
        }
    }

    #[test]
    fn a_young_stamp_tells_nothing_unless_it_is_claimed() {
        let young = stat(3, 1_000, BEGAN);
        let judge = |left: Stat, claim, grain| {
            called(left, claim).judge(&event("a", ENDED), &left, Duration::from_nanos(grain))
        };
        assert_eq!(judge(young, Claim::None, 0), Echo::Own(Claim::None), "each version has its own time");
        assert_eq!(judge(young, Claim::None, 1), Echo::Young(Duration::from_nanos(1)));
        assert_eq!(judge(young, Claim::Rewrote, 1), Echo::Own(Claim::Rewrote));
        assert_eq!(judge(OLD, Claim::None, 100 * SECOND), Echo::Young(Duration::from_secs(100)));
        assert_eq!(judge(OLD, Claim::None, 99 * SECOND), Echo::Own(Claim::None));
        let ahead = stat(3, 2_000, BEGAN);
        assert_eq!(judge(ahead, Claim::None, SECOND), Echo::Own(Claim::None), "set by somebody");
    }

    #[test]
    fn rounds_are_counted_as_long_as_each_call_causes_the_next() {
        let mut handled = Handled::default();
        let mut at = BEGAN;
        let mut round = |handled: &mut Handled, is_rewritten: bool| {
            at += SECOND;
            let ended = Ended {
                began: at,
                ended: at + 10,
                left: stat(at, 900, at),
                claim: Claim::None,
                not_before: None,
            };
            handled.note(&event("a", at), ended);
            let now = stat(at + u64::from(is_rewritten), 900, at + 5);
            handled.judge(&event("a", at + 20), &now, Duration::ZERO)
        };
        let mut next = |is_rewritten| round(&mut handled, is_rewritten);
        assert_eq!([next(true), next(true), next(true)], [Echo::Round(1), Echo::Round(2), Echo::Round(3)]);
        assert_eq!(next(false), Echo::Own(Claim::None));
        assert_eq!(next(true), Echo::Round(1));
    }

    #[test]
    fn what_was_read_in_an_earlier_call_of_the_row_is_a_round_too_and_another_writer_ends_the_row() {
        let mut handled = called(OLD, Claim::None);
        let rewritten = stat(4, 1_000, ENDED);
        assert_eq!(handled.judge(&event("a", ENDED), &rewritten, Duration::ZERO), Echo::Round(1));
        let next =
            |left| Ended { began: ENDED + 5, ended: ENDED + 9, left, claim: Claim::None, not_before: None };
        handled.note(&event("a", ENDED), next(rewritten));
        let again = stat(5, 1_001, ENDED + 8);
        assert_eq!(handled.judge(&event("a", ENDED), &again, Duration::ZERO), Echo::Round(2));
        let of_another = stat(6, 1_001, ENDED + 10);
        assert_eq!(handled.judge(&event("a", ENDED + 11), &of_another, Duration::ZERO), Echo::No);
        handled.note(&event("a", ENDED + 11), next(of_another));
        assert!(!handled.may_be_echo(&event("a", ENDED)), "the row is over");
        assert_eq!(handled.judge(&event("a", ENDED + 9), &again, Duration::ZERO), Echo::Round(1));
    }

    #[test]
    fn what_no_longer_matters_is_forgotten() {
        let mut handled = called(OLD, Claim::None);
        assert!(handled.may_be_echo(&event("a", ENDED)));
        let rescanned = FileEvent { origin: Origin::Rescan, ..event("a", ENDED) };
        assert!(!handled.may_be_echo(&rescanned));
        let now = Instant::now();
        handled.put_off(&event("a", ENDED), now + Duration::from_secs(60));
        assert!(!handled.may_be_echo(&event("b", ENDED + READ_WITHIN + 1)));
        assert_eq!(handled.wait(&event("a", ENDED), now), Some(Duration::from_secs(60)));
        handled.calls.values_mut().for_each(|call| call.not_before = Some(now));
        assert!(!handled.may_be_echo(&event("b", ENDED + READ_WITHIN + 1)));
        assert!(handled.calls.is_empty() && handled.order.is_empty());

        for number in 0..MOST + 10 {
            let ended =
                Ended { began: BEGAN, ended: ENDED, left: OLD, claim: Claim::Rewrote, not_before: None };
            handled.note(&event(&number.to_string(), BEGAN), ended);
        }
        assert_eq!((handled.calls.len(), handled.order.len()), (MOST, MOST));
        assert!(!handled.may_be_echo(&event("9", ENDED)) && handled.may_be_echo(&event("10", ENDED)));
    }
}
