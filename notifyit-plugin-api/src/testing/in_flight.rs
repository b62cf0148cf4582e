//! What the plugin has in hand: batches, and verdicts that come later.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::TestHost;
use super::event::TestEvent;
use super::heard::lock;
use crate::abi::{CallResult, DEFERRED, guard};
use crate::verdict::{Blame, Verdict};

/// How long a deferred verdict is waited for.
const PATIENCE: Duration = Duration::from_secs(10);

/// The verdicts that have come later, by their tickets.
#[derive(Debug, Default)]
pub(super) struct Completed {
    all: Mutex<BTreeMap<u64, CallResult>>,
    more: Condvar,
}

impl Completed {
    pub(super) fn ticket() -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        NEXT.fetch_add(1, Ordering::Relaxed)
    }

    pub(super) fn put(&self, ticket: u64, result: CallResult) {
        lock(&self.all).entry(ticket).or_insert(result);
        self.more.notify_all();
    }

    fn wait(&self, ticket: u64) -> Option<CallResult> {
        let waited =
            self.more.wait_timeout_while(lock(&self.all), PATIENCE, |all| !all.contains_key(&ticket));
        waited.unwrap_or_else(PoisonError::into_inner).0.remove(&ticket)
    }
}

impl TestHost {
    /// Hands events over as a host does, in batches if the plugin takes any, and waits for the verdicts that come later.
    #[track_caller]
    pub(super) fn hand_over(&self, events: &[TestEvent<'_>]) -> Vec<Verdict> {
        let most = usize::from(self.place.in_flight);
        let mut verdicts = Vec::new();
        for events in events.chunks(most) {
            verdicts.extend(self.hand_over_at_once(events));
        }
        verdicts
    }

    #[track_caller]
    fn hand_over_at_once(&self, events: &[TestEvent<'_>]) -> Vec<Verdict> {
        for event in events {
            assert!(event.is_of(self), "the event is of another host: {:?}", event.path());
        }
        let tickets: Vec<u64> = events.iter().map(|_| Completed::ticket()).collect();
        let raws: Vec<_> = events.iter().zip(&tickets).map(|(event, ticket)| event.raw(*ticket)).collect();
        let results = self.called(|handler| match raws.as_slice() {
            [raw] if self.place.in_flight == 1 => vec![handler.on_event(raw)],
            raws => handler.on_batch(raws.into()).into_vec(),
        });
        if results.iter().any(|result| result.status == DEFERRED) {
            // Nothing is waiting: a plugin that collects has to get on with what it has.
            self.flush_in_time();
        }
        let mut left = None;
        let mut verdicts = Vec::new();
        // No closure: a panic is to show the test's own line.
        for ((mut result, ticket), event) in results.into_iter().zip(tickets).zip(events) {
            let (mut notes, mut emission) = (guard::notes(&result), guard::emission(&result));
            let is_deferred = result.status == DEFERRED;
            if is_deferred {
                let Some(later) = self.heard().completed.wait(ticket) else { self.never_completed() };
                result = later;
                emission = guard::emission(&result).with_earlier(emission);
                notes.rewrote = guard::notes(&result).rewrote.or(notes.rewrote);
            }
            left = notes.rewrote;
            let verdict = self.judge(result);
            let (verdict, files) = self.emits(event.path(), &emission, verdict);
            verdicts.push(verdict);
            if is_deferred {
                self.hand_on(files);
            } else {
                lock(&self.instance).emits.extend(files);
            }
        }
        if let Some(event) = events.last() {
            self.has_left(event.path(), left);
        }
        verdicts
    }

    #[track_caller]
    fn flush_in_time(&self) {
        let flush = self.call_flush();
        assert!(flush.is_done(), "failed to flush, with verdicts to come: {}", flush.message());
    }

    #[track_caller]
    fn never_completed(&self) -> ! {
        panic!(
            "a deferred verdict was neither completed nor dropped within {PATIENCE:?}; {}",
            self.heard().shown()
        )
    }
}

/// What was done is a retry if the flush behind it fails.
pub(super) fn undo(verdicts: &mut [Verdict], flush: &Verdict) {
    if flush.is_done() {
        return;
    }
    let message = format!("failed to flush: {}", flush.message());
    let retry = Verdict::Retry { message, after: None, blame: Blame::File };
    verdicts.iter_mut().filter(|verdict| verdict.is_done()).for_each(|done| *done = retry.clone());
}
