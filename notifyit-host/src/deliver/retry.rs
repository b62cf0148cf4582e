//! When to try again, and what waits until then.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::ffi::OsStr;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::complete::Inquiry;
use super::emitted::Emits;
use super::racy::Racy;
use super::takers::Via;
use crate::event::{Certainty, FileEvent, NodeId};
use crate::settle::ledger::Version;
use crate::settle::recorder::Begun;

/// How often and how long an event is tried.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// The pause behind the first failed attempt; each further one is twice as long …
    pub first: Duration,
    /// … but never longer than this.
    pub max: Duration,
    /// After so long since the first failure the event is given up.
    pub within: Duration,
    /// After so many attempts, if set, too.
    pub attempts: Option<u32>,
    /// After so many attempts in which the process died, too.
    pub crashes: u32,
}

impl RetryPolicy {
    /// The pause behind failed attempt number `attempt` (from 1). `jitter` in 0..1 spreads it over the upper half,
    /// so that what failed together is not tried together for ever.
    pub fn pause(&self, attempt: u32, asked: Option<Duration>, jitter: f64) -> Duration {
        let doubled =
            self.first.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
        let capped = doubled.min(self.max);
        let spread = capped.mul_f64(0.75 + jitter.clamp(0.0, 1.0) / 4.0);
        spread.max(self.wait_as_asked(asked))
    }

    /// For what the plugin has asked for is not waited beyond the time in which an event would be given up.
    pub(super) fn wait_as_asked(&self, asked: Option<Duration>) -> Duration {
        asked.unwrap_or(Duration::ZERO).min(self.within.max(self.max))
    }

    /// Is it over after this failed attempt?
    pub fn is_exhausted(&self, attempt: u32, since_first: Duration) -> bool {
        self.attempts.is_some_and(|most| attempt >= most) || since_first >= self.within
    }
}

/// A number in 0..1 that is another one at each call.
pub(super) fn jitter() -> f64 {
    let bits = RandomState::new().hash_one(0_u8) >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

/// An event and what has become of it so far.
#[derive(Debug)]
pub(super) struct Work {
    pub(super) event: FileEvent,
    /// Failed attempts.
    pub(super) tried: u32,
    /// Those of them that count: not the ones during a pause.
    pub(super) failed: u32,
    /// Attempts in which the process died.
    pub(super) crashes: u32,
    /// When the first of them failed.
    pub(super) since: Option<Instant>,
    /// Is it to be in the plugin's hands alone? The instance was lost over several, and any of them may be at fault.
    pub(super) is_suspect: bool,
    /// Was its file missing when it was last looked for?
    pub(super) is_missing: bool,
    /// How many fences have been passed since its file was found missing.
    pub(super) fences: u8,
    /// What the file was like at the last attempt: what is finished if that was the last.
    pub(super) version: Option<Version>,
    /// Is that stamp racy?
    pub(super) racy: Option<Racy>,
    /// For an event that is only supposed: what is known of its file.
    pub(super) inquiry: Inquiry,
    /// By what way it was emitted to this plugin, if it was.
    pub(super) via: Option<Box<Via>>,
    /// What the plugin has emitted with it.
    pub(super) emits: Option<Arc<Emits>>,
}

impl Work {
    /// Is it still to be found out whether its file is complete?
    pub(super) fn is_to_be_asked(&self) -> bool {
        self.event.certainty == Certainty::Supposed && !self.inquiry.is_free
    }

    /// Is it to be in the plugin's hands alone?
    pub(super) fn is_alone(&self) -> bool {
        self.is_suspect || self.crashes > 0
    }

    /// Is its outcome to be held, as its stamp does not tell the file's versions apart yet?
    pub(super) fn is_to_be_held(&self) -> bool {
        self.racy.is_some() && self.version.is_some() && self.event.is_landing()
    }

    /// An attempt begins: for the recorder.
    pub(super) fn begun<'a>(&'a self, began_nanos: u64, path: &'a [u8]) -> Begun<'a> {
        let version = self.version.as_ref().filter(|_| self.event.is_landing());
        let (is_racy, failed, crashes) = (self.racy.is_some(), self.failed, self.crashes);
        Begun { version, is_racy, failed, crashes, began_nanos, path }
    }
}

/// After so many fences a missing file is gone for sure: none of what the kernel told was a rename of it.
pub(super) const FENCES: u8 = 2;

impl Work {
    pub(super) fn new(event: FileEvent) -> Work {
        Work {
            event,
            tried: 0,
            failed: 0,
            crashes: 0,
            since: None,
            is_suspect: false,
            is_missing: false,
            fences: 0,
            version: None,
            racy: None,
            inquiry: Inquiry::default(),
            via: None,
            emits: None,
        }
    }
}

/// A file, for order: what comes for a file that waits, waits behind it.
pub(super) type Key = (NodeId, Arc<OsStr>);

pub(super) fn key(event: &FileEvent) -> Key {
    (event.node, Arc::clone(&event.name))
}

#[derive(Debug)]
struct Entry {
    work: Work,
    /// `None` while it waits for a fence.
    due: Option<Instant>,
    serial: u64,
    behind: VecDeque<FileEvent>,
}

/// What a worker has put off. Bounded by the lane's queue: everything in here counts as queued.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Boxed: a rescan may put off half a queue at once, and a table that grows is there twice.
    entries: HashMap<Key, Box<Entry>>,
    due: BTreeMap<(Instant, u64), Key>,
    fenced: HashMap<u64, Key>,
    serial: u64,
}

/// What is to be done with an event that has just arrived.
#[derive(Debug)]
pub(super) enum Arrival {
    /// Nothing waits for that file: go on.
    Free(FileEvent),
    /// A newer version: go on with it, which settles the older one. This is to stay behind it.
    Replaces(FileEvent, VecDeque<FileEvent>),
    /// It waits behind an older one.
    Behind,
}

impl Waiting {
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Puts an event off until `due`, and with it what is to stay behind it. Returns how many events are settled by
    /// that: none, or one of two that are versions of the same file.
    #[must_use]
    pub(super) fn until(&mut self, work: Work, due: Instant, behind: VecDeque<FileEvent>) -> usize {
        self.put(work, Some(due), behind)
    }

    /// Puts an event off until a fence. Returns the number to call back [`Waiting::passed`] with, and how many events
    /// are settled as [`Waiting::until`] does.
    #[must_use]
    pub(super) fn until_fence(&mut self, work: Work, behind: VecDeque<FileEvent>) -> (u64, usize) {
        let settled = self.put(work, None, behind);
        (self.serial, settled)
    }

    fn put(&mut self, mut work: Work, mut due: Option<Instant>, mut behind: VecDeque<FileEvent>) -> usize {
        let key = key(&work.event);
        let mut settled = 0;
        self.serial += 1;
        // What stays as it is stays with its number: the fence that it waits for will call it by that.
        let mut serial = self.serial;
        // Another event waits there already: the file came twice in a burst that is undone, or was renamed to there.
        if let Some(mut other) = self.take(&key) {
            if !(other.work.event.is_landing() && work.event.is_landing() && other.behind.is_empty()) {
                other.behind.push_back(work.event);
                other.behind.append(&mut behind);
                (work, due, serial, behind) = (other.work, other.due, other.serial, other.behind);
            } else {
                settled = 1;
                if other.work.event.sequence > work.event.sequence {
                    (work, due, serial) = (other.work, other.due, other.serial);
                }
            }
        }
        match due {
            Some(due) => drop(self.due.insert((due, serial), key.clone())),
            None => drop(self.fenced.insert(serial, key.clone())),
        }
        self.entries.insert(key, Box::new(Entry { work, due, serial, behind }));
        settled
    }

    /// Takes what waits for a file out, wherever it is noted.
    fn take(&mut self, key: &Key) -> Option<Box<Entry>> {
        let entry = self.entries.remove(key)?;
        match entry.due {
            Some(due) => drop(self.due.remove(&(due, entry.serial))),
            None => drop(self.fenced.remove(&entry.serial)),
        }
        Some(entry)
    }

    /// What waits for the file of that name.
    pub(super) fn at(&self, event: &FileEvent) -> Option<&FileEvent> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&key(event)).map(|entry| &entry.work.event)
    }

    /// Takes what waits for the file of that name, with what stays behind it and when it was due.
    pub(super) fn take_at(
        &mut self,
        event: &FileEvent,
    ) -> Option<(Work, Option<Instant>, VecDeque<FileEvent>)> {
        self.take(&key(event)).map(|entry| (entry.work, entry.due, entry.behind))
    }

    /// When the next one is due.
    pub(super) fn next_due(&self) -> Option<Instant> {
        self.due.keys().next().map(|(at, _)| *at)
    }

    /// The next one that is due, with what stays behind it.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<(Work, VecDeque<FileEvent>)> {
        let (at, _) = self.due.keys().next()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.due.pop_first()?;
        self.entries.remove(&key).map(|entry| (entry.work, entry.behind))
    }

    /// A file was closed: what waits with that watch is due.
    pub(super) fn closed(&mut self, watch: u64, now: Instant) {
        let mut entries = self.entries.iter_mut();
        let found =
            entries.find_map(|(key, entry)| entry.work.inquiry.is_closed(watch).then_some((key, entry)));
        let Some((key, entry)) = found else { return };
        let Some(due) = entry.due else { return };
        entry.due = Some(now);
        self.due.remove(&(due, entry.serial));
        self.due.insert((now, entry.serial), key.clone());
    }

    /// The one that waited for that fence, if it still does.
    pub(super) fn passed(&mut self, serial: u64) -> Option<(Work, VecDeque<FileEvent>)> {
        let key = self.fenced.remove(&serial)?;
        self.entries.remove(&key).map(|entry| (entry.work, entry.behind))
    }

    /// What waits for a file.
    pub(super) fn get(&self, event: &FileEvent) -> Option<&Work> {
        if self.entries.is_empty() {
            return None;
        }
        self.entries.get(&key(event)).map(|entry| &entry.work)
    }

    /// Has the kernel told of another version of that file, which waits?
    pub(super) fn has_news(&self, event: &FileEvent) -> bool {
        let is_news = |event: &FileEvent| event.is_landing() && !event.is_found();
        let has_news = |entry: &Entry| is_news(&entry.work.event) || entry.behind.iter().any(is_news);
        !self.entries.is_empty() && self.entries.get(&key(event)).is_some_and(|entry| has_news(entry))
    }

    /// An event arrives: what waits for its file?
    pub(super) fn arrives(&mut self, event: FileEvent) -> Arrival {
        if self.entries.is_empty() {
            return Arrival::Free(event);
        }
        let key = key(&event);
        let Some(entry) = self.entries.get_mut(&key) else { return Arrival::Free(event) };
        // What is only supposed, and not tried yet, may never be an event: it holds up no other.
        let is_supposed = entry.work.event.certainty == Certainty::Supposed && entry.work.tried == 0;
        if is_supposed && !event.is_landing() {
            return Arrival::Free(event);
        }
        let is_newer = event.is_landing() && entry.work.event.is_landing();
        if !(is_newer && (is_supposed || entry.behind.is_empty())) {
            entry.behind.push_back(event);
            return Arrival::Behind;
        }
        let behind = self.take(&key).map_or_else(VecDeque::new, |entry| entry.behind);
        Arrival::Replaces(event, behind)
    }

    /// Everything, in no order: the lane stops, and it is counted.
    pub(super) fn drain(&mut self) -> Vec<FileEvent> {
        (self.due, self.fenced) = Default::default();
        self.entries
            .drain()
            .flat_map(|(_, entry)| std::iter::once(entry.work.event).chain(entry.behind))
            .collect()
    }

    /// What waits for a fence, in no order: the source has stopped.
    pub(super) fn drain_unfenced(&mut self) -> Vec<(Work, VecDeque<FileEvent>)> {
        let keys: Vec<Key> = self.fenced.drain().map(|(_, key)| key).collect();
        keys.iter().filter_map(|key| self.entries.remove(key)).map(|e| (e.work, e.behind)).collect()
    }
}

/// Removes the events that only suppose what another of them says too. Returns how many those are.
pub(super) fn supposed_twice(events: &mut Vec<FileEvent>) -> usize {
    let is_supposed = |event: &FileEvent| event.certainty == Certainty::Supposed;
    events.sort_by_key(is_supposed);
    let (before, mut known) = (events.len(), HashSet::new());
    events.retain(|event| known.insert(key(event)) || !is_supposed(event));
    before - events.len()
}

#[cfg(test)]
impl Waiting {
    /// Every event in here, in no order.
    pub(super) fn events(&self) -> impl Iterator<Item = &FileEvent> {
        self.entries.values().flat_map(|entry| std::iter::once(&entry.work.event).chain(&entry.behind))
    }

    /// Does anything wait for a time, rather than for a fence?
    pub(super) fn has_due(&self) -> bool {
        !self.due.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Sequence;
    use crate::source::fence::SourceHandle;
    use notifyit_plugin_api::{Kind, Origin};

    fn policy() -> RetryPolicy {
        RetryPolicy {
            first: Duration::from_secs(1),
            max: Duration::from_secs(600),
            within: Duration::from_secs(86_400),
            attempts: None,
            crashes: 3,
        }
    }

    fn event(name: &str, kind: Kind) -> FileEvent {
        FileEvent {
            sequence: Sequence(1),
            node: NodeId(0, 0),
            name: OsStr::new(name).into(),
            kind,
            certainty: Certainty::Told,
            origin: Origin::Live,
            directory: false,
            seen_nanos: 0,
            renamed_from: None,
        }
    }

    #[test]
    fn pauses_double_up_to_the_longest_and_never_overflow() {
        let at = |attempt| policy().pause(attempt, None, 1.0).as_secs();
        assert_eq!([at(1), at(2), at(3), at(10), at(11), at(u32::MAX)], [1, 2, 4, 512, 600, 600]);
        assert_eq!(policy().pause(1, None, 0.0), Duration::from_millis(750));
        assert_eq!(policy().pause(1, Some(Duration::from_secs(9)), 0.5), Duration::from_secs(9));
    }

    #[test]
    fn it_is_over_by_time_or_by_attempts() {
        let mut policy = policy();
        assert!(!policy.is_exhausted(1_000, Duration::from_secs(86_399)));
        assert!(policy.is_exhausted(1, Duration::from_secs(86_400)));
        policy.attempts = Some(3);
        assert!(!policy.is_exhausted(2, Duration::ZERO));
        assert!(policy.is_exhausted(3, Duration::ZERO));
    }

    #[test]
    fn a_newer_version_replaces_one_that_waits_and_other_events_wait_behind_it() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut waiting = Waiting::default();
        assert_eq!(waiting.until(Work::new(event("a", Kind::Landed)), later, VecDeque::new()), 0);
        assert!(matches!(waiting.arrives(event("b", Kind::Landed)), Arrival::Free(_)));
        assert!(matches!(waiting.arrives(event("a", Kind::Landed)), Arrival::Replaces(..)));
        assert!(waiting.is_empty() && waiting.next_due().is_none());

        assert_eq!(waiting.until(Work::new(event("a", Kind::Landed)), later, VecDeque::new()), 0);
        assert!(matches!(waiting.arrives(event("a", Kind::Delete)), Arrival::Behind));
        assert!(matches!(waiting.arrives(event("a", Kind::Landed)), Arrival::Behind));
        assert!(waiting.take_due(now).is_none());
        let (work, behind) = waiting.take_due(later).unwrap();
        assert_eq!((work.event.kind, behind.len(), waiting.is_empty()), (Kind::Landed, 2, true));
    }

    #[test]
    fn what_is_only_supposed_holds_up_nothing_and_gives_way_to_what_is_told() {
        let later = Instant::now() + Duration::from_secs(5);
        let mut waiting = Waiting::default();
        let supposed = FileEvent { certainty: Certainty::Supposed, ..event("a", Kind::Landed) };
        assert_eq!(waiting.until(Work::new(supposed), later, VecDeque::new()), 0);
        assert!(matches!(waiting.arrives(event("a", Kind::Modify)), Arrival::Free(_)));
        let failed = Work { tried: 1, failed: 1, ..Work::new(event("a", Kind::Modify)) };
        assert_eq!(waiting.until(failed, later, VecDeque::new()), 0);
        let Arrival::Replaces(told, behind) = waiting.arrives(event("a", Kind::Landed)) else {
            panic!("the close is the event");
        };
        assert_eq!((told.certainty, behind.len(), waiting.is_empty()), (Certainty::Told, 1, true));
    }

    #[test]
    fn two_versions_of_a_file_are_one_and_nothing_else_is_dropped() {
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut waiting = Waiting::default();
        let mut newer = Work::new(event("a", Kind::Landed));
        (newer.event.sequence, newer.failed) = (Sequence(2), 7);
        assert_eq!(waiting.until(newer, later, VecDeque::new()), 0);
        let older = Work::new(event("a", Kind::Landed));
        assert_eq!(waiting.until(older, now, VecDeque::new()), 1, "the older one is settled");
        assert!(waiting.take_due(now).is_none());
        let (work, _) = waiting.take_due(later).unwrap();
        assert!(work.failed == 7 && waiting.is_empty() && waiting.next_due().is_none());

        assert_eq!(waiting.until(Work::new(event("a", Kind::Modify)), now, VecDeque::new()), 0);
        assert_eq!(
            waiting.until(Work::new(event("a", Kind::Delete)), now, [event("a", Kind::Create)].into()),
            0
        );
        let (work, behind) = waiting.take_due(now).unwrap();
        let kinds: Vec<Kind> = behind.iter().map(|event| event.kind).collect();
        assert_eq!((work.event.kind, kinds), (Kind::Modify, vec![Kind::Delete, Kind::Create]));
        assert!(waiting.is_empty() && waiting.next_due().is_none());
    }

    #[test]
    fn what_waits_for_a_fence_still_does_when_an_older_version_is_put_off_beside_it() {
        let mut waiting = Waiting::default();
        let newer = FileEvent { sequence: Sequence(2), ..event("a", Kind::Landed) };
        let (fence, _) = waiting.until_fence(Work::new(newer), VecDeque::new());
        let older = Work::new(event("a", Kind::Landed));
        assert_eq!(waiting.until(older, Instant::now(), VecDeque::new()), 1);
        assert!(waiting.passed(fence).is_some_and(|(work, _)| work.event.sequence == Sequence(2)));
        assert!(waiting.is_empty());
    }

    #[test]
    fn what_waits_for_a_writer_is_due_when_it_closes() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        std::fs::write(&path, "x").unwrap();
        let source = SourceHandle::new().unwrap();
        let now = Instant::now();
        let later = now + Duration::from_secs(5);
        let mut waiting = Waiting::default();
        let mut work = Work::new(event("a", Kind::Landed));
        let watch = source.watch_close(&path, |_| ()).unwrap();
        let id = watch.id();
        work.inquiry.is_watched_by(Some(watch));
        assert_eq!(waiting.until(work, later, VecDeque::new()), 0);
        waiting.closed(id + 1, now);
        assert_eq!(waiting.next_due(), Some(later));
        waiting.closed(id, now);
        assert!(waiting.take_due(now).is_some() && waiting.is_empty() && waiting.next_due().is_none());
    }

    #[test]
    fn a_fence_brings_back_its_own_event_unless_a_newer_one_came() {
        let mut waiting = Waiting::default();
        let (one, _) = waiting.until_fence(Work::new(event("a", Kind::Landed)), VecDeque::new());
        let (two, _) = waiting.until_fence(Work::new(event("b", Kind::Landed)), VecDeque::new());
        assert!(matches!(waiting.arrives(event("a", Kind::Landed)), Arrival::Replaces(..)));
        assert!(waiting.passed(one).is_none());
        assert!(waiting.passed(two).is_some());
        assert!(waiting.passed(two).is_none());
    }
}
