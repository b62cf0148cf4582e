//! Racy stamps: what was called done so soon after the file was written that its next version may have the same stamp.
//!
//! Were such a stamp entered as finished at once, and the event of the next version lost, no rescan could tell that
//! there is anything to do. So the outcome is *held*: the plugin is called without delay, but the ledger is told a grain
//! later, and only if nothing can have been lost:
//!
//! 1. a grain after the call the next version of the file has another time;
//! 2. then a fence is set: what the kernel told up to there lies before it in the worker's queue;
//! 3. when it is passed, and the file has no newer event, and the lane has lost none, the outcome is entered.
//!
//! A newer event of the file takes the held outcome's place. What was lost is looked for by a rescan, which finds the
//! file unfinished; so does the next start after a kill, or after a stop within the grain. Each costs a duplicate at
//! worst. What a rescan finds is in no hurry: it is not called before the stamp tells versions apart. So **the ledger
//! holds no racy stamp**, and whoever compares with it need not ask.
//!
//! Where each version has a time of its own nothing is ever held. `source`'s `filesystem` says where that is.
//!
//! Not seen is who wrote within the same grain, to the same size, but closed later than that, if the close is lost. Nor
//! is what another wrote to a file within a grain of its being claimed (`event.rewrote()`): a claim is entered at once,
//! for a handler must not get its own work again. A stop leaves what is younger than a grain: nobody reads what the
//! kernel tells any more.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustc_hash::FxHashMap;

use super::emitted::{Emits, Heard, Passing};
use super::retry::Work;
use super::worker::Worker;
use crate::event::{FileEvent, NodeId, Sequence};
use crate::settle::ledger::Version;
use crate::settle::trouble::Trouble;

/// So many outcomes are held, for each worker; beyond that the oldest is forgotten, and its file comes again.
const MOST: usize = 65_536;
/// How long after an outcome is due it should be in the ledger.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// Why an outcome is to be held.
#[derive(Debug, Clone, Copy)]
pub(super) struct Racy {
    /// The clock's grain.
    pub(super) grain: Duration,
    /// How often the lane had lost events when the file was looked at.
    pub(super) losses: u64,
}

/// An outcome that the ledger does not know yet.
#[derive(Debug, Clone)]
pub(super) struct Held {
    pub(super) event: FileEvent,
    version: Version,
    /// Why it is no success.
    letter: Option<Trouble>,
    /// What is handed on with it, and how often that was before.
    emits: Option<(Arc<Emits>, u8)>,
    losses: u64,
    due: Instant,
    serial: u64,
}

type Key = (NodeId, Arc<OsStr>);

fn key(event: &FileEvent) -> Key {
    (event.node, Arc::clone(&event.name))
}

/// A worker's held outcomes, in the order in which they are due.
#[derive(Debug, Default)]
pub(super) struct Holding {
    queue: VecDeque<Held>,
    /// The serial numbers of those that still count.
    valid: FxHashMap<Key, u64>,
    serial: u64,
    /// How many renames had been told of when what is held was last brought along.
    renames: u64,
    /// A fence is under way.
    is_asking: bool,
}

impl Holding {
    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    fn hold(&mut self, mut held: Held) {
        self.serial += 1;
        held.serial = self.serial;
        held.due = self.queue.back().map_or(held.due, |last| held.due.max(last.due));
        self.valid.insert(key(&held.event), held.serial);
        self.queue.push_back(held);
        if self.queue.len() > MOST {
            self.pop();
        }
    }

    /// The oldest, if it still counts.
    fn pop(&mut self) -> Option<Held> {
        let oldest = self.queue.pop_front()?;
        let key = key(&oldest.event);
        let counts = self.valid.get(&key) == Some(&oldest.serial);
        counts.then(|| self.valid.remove(&key));
        counts.then_some(oldest)
    }

    /// What is held of the event's file.
    pub(super) fn at(&self, event: &FileEvent) -> Option<&Held> {
        self.held(&key(event))
    }

    fn held(&self, key: &Key) -> Option<&Held> {
        let serial = self.valid.get(key)?;
        let place = self.queue.binary_search_by_key(serial, |held| held.serial).ok()?;
        self.queue.get(place)
    }

    /// What is held of the event's file does not count any more.
    pub(super) fn drop_at(&mut self, event: &FileEvent) {
        if !self.is_empty() {
            self.valid.remove(&key(event));
        }
    }

    /// When the next fence is to be set.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.queue.front().filter(|_| !self.is_asking).map(|held| held.due)
    }

    /// If a fence is to be set now: the number of the last that it is for.
    fn ask(&mut self, now: Instant) -> Option<u64> {
        if self.next_due()? > now {
            return None;
        }
        let due = self.queue.partition_point(|held| held.due <= now);
        self.is_asking = true;
        self.queue.get(due - 1).map(|held| held.serial)
    }

    /// The next one up to that number, for which a fence has been passed.
    fn passed(&mut self, last: u64) -> Option<Held> {
        self.is_asking = false;
        while self.queue.front()?.serial <= last {
            if let Some(held) = self.pop() {
                return Some(held);
            }
        }
        None
    }
}

impl Worker {
    /// How an event ended, for the ledger: with a dead letter, or well.
    pub(super) fn conclude(&mut self, work: &Work, letter: Option<Trouble>) {
        let Some(version) = work.version.as_ref().filter(|_| work.event.is_landing()) else { return };
        let Some(Racy { grain, losses }) = work.racy.filter(|_| work.is_to_be_held()) else {
            self.racy.drop_at(&work.event);
            return self.enter(&work.event, version, letter);
        };
        let (event, version) = (work.event.clone(), version.clone());
        let due = Instant::now() + grain;
        let emits = work.emits.clone().filter(|_| letter.is_none()).map(|emits| (emits, work.hops()));
        self.hold_outcome(Held { event, version, letter, emits, losses, due, serial: 0 });
    }

    fn hold_outcome(&mut self, held: Held) {
        if self.racy.is_empty() {
            self.racy.renames = self.outside.places.renames.told();
        }
        if let Some(held) = self.brought(held) {
            self.racy.hold(held);
            self.lane.desks[self.index].holds(true);
        }
    }

    /// What is held, under the name that its file has now.
    fn brought(&self, mut held: Held) -> Option<Held> {
        if !self.attempt.has_left(&held.event, Sequence(u64::MAX)) {
            return Some(held);
        }
        if self.attempt.follow(&self.lane, &mut held.event) {
            return None;
        }
        if self.attempt.is_other(&held.event, held.version.stamp()) {
            self.look_at(held.event);
            return None;
        }
        let directory = self.attempt.directory(&held.event)?;
        held.version = held.version.at((directory, &held.event.name));
        Some(held)
    }

    fn enter(&self, event: &FileEvent, version: &Version, letter: Option<Trouble>) {
        match letter {
            None => self.outside.ledger.finish(self.lane.id, version),
            Some(letter) => self.outside.ledger.bury(self.lane.id, version, letter),
        }
        if let Some(event) = self.catch_up(event, version) {
            self.look_at(event);
        }
    }

    /// Sets a fence if anything that is held has waited for so long that its stamp tells.
    pub(super) fn ask_for_racy(&mut self) {
        let Some(last) = self.racy.ask(Instant::now()) else { return };
        let (lane, index) = (Arc::clone(&self.lane), self.index);
        self.outside.source.fence(move || lane.desks[index].racy_passed(last));
    }

    /// All that was told within a grain of what is held up to this number has been handled, or waits.
    pub(super) fn racy_passed(&mut self, last: u64) {
        self.bring_along();
        while let Some(held) = self.racy.passed(last) {
            if held.losses == self.lane.losses() && !self.waiting.has_news(&held.event) {
                if self.hands_on(&held) {
                    self.enter(&held.event, &held.version, held.letter);
                } else {
                    // It is handled anew, and by then its stamp tells.
                    self.look_at(held.event);
                }
            }
        }
        if self.racy.is_empty() {
            self.lane.desks[self.index].holds(false);
        }
    }

    fn hands_on(&self, held: &Held) -> bool {
        let Held { event, version, emits: Some((emits, hops)), .. } = held else { return true };
        let passing = Passing { event, version: Some(version), emits, hops: *hops, is_first: true };
        // The fence behind which it is handed on was set behind all that it is about.
        self.hand_on(&passing, Heard::All).is_ok()
    }

    /// An event is about to be handled. If a rescan has found what is held, it can be judged after that time; else the
    /// event is newer than what is held.
    pub(super) fn held_until(&mut self, event: &FileEvent) -> Option<Instant> {
        let mut event = event.clone();
        loop {
            self.bring_along();
            if self.attempt.follow(&self.lane, &mut event) {
                return None;
            }
            // No rename was told of in between: both are where the file is.
            if self.racy.is_empty() || self.outside.places.renames.told() == self.racy.renames {
                break;
            }
        }
        let held = self.racy.at(&event).filter(|_| event.is_landing())?;
        if event.is_found() && held.losses == self.lane.losses() {
            return Some(held.due.max(Instant::now()) + LOOK_AGAIN);
        }
        self.racy.drop_at(&event);
        None
    }

    /// What is held of files that were renamed since is held under their new names: a newer event comes from there.
    pub(super) fn bring_along(&mut self) {
        let renames = &self.outside.places.renames;
        if self.racy.is_empty() || renames.told() == self.racy.renames {
            return;
        }
        let (left, told) = renames.left_since(self.racy.renames);
        self.racy.renames = told;
        for place in left {
            let Some(held) = self.racy.held(&place) else { continue };
            if self.attempt.has_left(&held.event, Sequence(u64::MAX)) {
                let held = held.clone();
                self.racy.drop_at(&held.event);
                self.hold_outcome(held);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Certainty;
    use crate::sys::Stat;
    use notifyit_plugin_api::{Kind, Origin};

    fn event(name: &str) -> FileEvent {
        FileEvent {
            sequence: Sequence(1),
            node: NodeId(0, 0),
            name: OsStr::new(name).into(),
            kind: Kind::CloseWrite,
            certainty: Certainty::Told,
            origin: Origin::Live,
            directory: false,
            seen_nanos: 0,
            renamed_from: None,
        }
    }

    fn held(name: &str, due: Instant) -> Held {
        let stat =
            Stat { device: 1, inode: 2, size: 3, mode: 0, mtime_seconds: 4, mtime_nanos: 0, ctime_nanos: 5 };
        let event = event(name);
        let version = Version::new(1, &event.name, &stat);
        Held { event, version, letter: None, emits: None, losses: 0, due, serial: 0 }
    }

    fn passed(holding: &mut Holding, last: u64) -> Vec<String> {
        std::iter::from_fn(|| holding.passed(last))
            .map(|held| held.event.name.to_string_lossy().into_owned())
            .collect()
    }

    #[test]
    fn one_fence_is_set_for_all_that_is_due_and_no_other_until_it_is_passed() {
        let (now, grain) = (Instant::now(), Duration::from_millis(10));
        let mut holding = Holding::default();
        assert_eq!((holding.next_due(), holding.ask(now)), (None, None));
        for (name, due) in [("a", now), ("b", now), ("c", now + grain), ("d", now)] {
            holding.hold(held(name, due));
        }
        assert_eq!(holding.next_due(), Some(now));
        let last = holding.ask(now).unwrap();
        assert_eq!((holding.next_due(), holding.ask(now + 2 * grain)), (None, None));
        assert_eq!(passed(&mut holding, last), ["a", "b"]);
        assert_eq!(holding.ask(now), None);
        let last = holding.ask(now + grain).unwrap();
        assert_eq!(passed(&mut holding, last), ["c", "d"], "d keeps behind c");
        assert!(holding.is_empty() && holding.valid.is_empty());
    }

    #[test]
    fn the_newest_of_a_file_counts_until_it_is_dropped() {
        let now = Instant::now();
        let mut holding = Holding::default();
        ["a", "b", "a"].iter().for_each(|name| holding.hold(held(name, now)));
        assert_eq!(holding.at(&event("a")).unwrap().serial, 3);
        holding.drop_at(&event("b"));
        assert!(holding.at(&event("b")).is_none());
        let last = holding.ask(now).unwrap();
        holding.hold(held("b", now));
        assert_eq!(passed(&mut holding, last), ["a"]);
        assert!(holding.at(&event("b")).is_some(), "it came behind the fence");
    }

    #[test]
    fn beyond_the_most_the_oldest_is_forgotten() {
        let mut holding = Holding::default();
        (0..=MOST).for_each(|number| holding.hold(held(&number.to_string(), Instant::now())));
        assert_eq!((holding.queue.len(), holding.valid.len()), (MOST, MOST));
        assert!(holding.at(&event("0")).is_none() && holding.at(&event("1")).is_some());
    }
}
