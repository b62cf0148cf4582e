//! One worker's place in its lane.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use crate::event::FileEvent;
use crate::plugin::Answer;
use crate::settle::recorder::Glance;

/// More verdicts than can be in flight that wait for a worker are those of a plugin that lies: what comes on top is not
/// kept.
const VERDICTS: usize = 2 * (1 << 16);
/// Where more than this wait, messages are cut to so many bytes.
const WHOLE: usize = 1024;
const SHORT: usize = 256;

/// One worker's place: what lies before it, and what it has in hand. Its queue is bounded by the lane's capacity.
#[derive(Debug, Default)]
pub(super) struct Desk {
    inbox: Mutex<Inbox>,
    ready: Condvar,
    /// Does the worker hold outcomes back?
    holds: AtomicBool,
    /// While its worker was stuck something came for it, and was not kept.
    pub(super) has_missed: AtomicBool,
    pub(super) in_hand: InHand,
    /// At a stop: so many events are under way, and 1, of which none can be handled any more. 0: there may be some.
    pub(super) through_with: AtomicUsize,
    /// The process that its instance lives in. 0: this one, or none.
    process: AtomicU32,
    /// What its flight recorder holds.
    pub(super) glance: OnceLock<Glance>,
    stage: Mutex<Option<(Stage, Instant)>>,
}

/// What a worker is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// It makes its instance.
    Starts,
    /// It waits for its lane to begin.
    Ready,
    /// It handles events.
    Works,
    /// Its old instance makes room for new code.
    ChangesOver,
    /// Its instance makes its last call.
    Ends,
    /// It has ended.
    Gone,
}

#[derive(Debug, Default)]
struct Inbox {
    queue: VecDeque<Message>,
    /// Verdicts that have come later, with their tickets.
    completed: Vec<(u64, Answer)>,
    nudged: bool,
}

/// What comes to a worker, in the kernel's order: what lies before a fence was told before it was passed.
#[derive(Debug)]
pub(super) enum Message {
    Event(FileEvent),
    /// The fence of this number has been passed.
    Fence(u64),
    /// So has that for the racy stamps up to this number.
    Racy(u64),
    /// The watch of this number has told of a close.
    Closed(u64),
}

/// What a worker has in hand, for the watchdog. Kept only in lanes with a timeout.
#[derive(Debug, Default)]
pub(super) struct InHand {
    path: Mutex<Option<(Instant, Vec<u8>)>>,
    /// It has been in hand for longer than it may. Set and cleared under the lock.
    is_stuck: AtomicBool,
}

impl Desk {
    pub(super) fn put(&self, burst: &mut Vec<FileEvent>) {
        self.lock().queue.extend(burst.drain(..).map(Message::Event));
        self.ready.notify_one();
    }

    /// A fence has been passed.
    pub(super) fn fence_passed(&self, serial: u64) {
        self.tell(Message::Fence(serial));
    }

    /// The fence for what is held up to this number has been passed.
    pub(super) fn racy_passed(&self, last: u64) {
        self.tell(Message::Racy(last));
    }

    fn tell(&self, message: Message) {
        self.lock().queue.push_back(message);
        self.ready.notify_one();
    }

    /// The verdict on an event in flight.
    pub(super) fn completed(&self, ticket: u64, mut answer: Answer) {
        let mut inbox = self.lock();
        if inbox.completed.len() >= VERDICTS {
            return;
        }
        if inbox.completed.len() >= WHOLE {
            answer.cut(SHORT);
        }
        inbox.completed.push((ticket, answer));
        inbox.nudged = true;
        self.ready.notify_all();
    }

    /// Takes those that are there.
    pub(super) fn take_completed(&self) -> Vec<(u64, Answer)> {
        std::mem::take(&mut self.lock().completed)
    }

    #[cfg(test)]
    pub(super) fn has_completed(&self) -> bool {
        !self.lock().completed.is_empty()
    }

    /// Has it look at the pause or the closing again.
    pub(super) fn nudge(&self) {
        self.lock().nudged = true;
        self.ready.notify_all();
    }

    /// The worker holds outcomes back, or none.
    pub(super) fn holds(&self, any: bool) {
        self.holds.store(any, Ordering::Release);
    }

    /// Does it?
    pub(super) fn holds_any(&self) -> bool {
        self.holds.load(Ordering::Acquire)
    }

    /// A file that is waited for was closed.
    pub(super) fn closed(&self, watch: u64) {
        self.lock().queue.push_back(Message::Closed(watch));
        self.ready.notify_one();
    }

    /// Takes what is there into `local`, which is empty, without waiting.
    pub(super) fn fetch(&self, local: &mut VecDeque<Message>) {
        std::mem::swap(&mut self.lock().queue, local);
    }

    /// Waits until something is there, a nudge comes, or time is up.
    pub(super) fn wait(&self, until: Option<Instant>) {
        self.wait_while(until, |inbox| inbox.queue.is_empty());
    }

    /// Waits until a nudge comes or time is up, whatever lies there.
    pub(super) fn wait_for_nudge(&self, until: Option<Instant>) {
        self.wait_while(until, |_| true);
    }

    fn wait_while(&self, until: Option<Instant>, idle: impl Fn(&Inbox) -> bool) {
        let mut inbox = self.lock();
        while idle(&inbox) && !inbox.nudged {
            let Some(until) = until else {
                inbox = self.ready.wait(inbox).unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            inbox = self.ready.wait_timeout(inbox, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        inbox.nudged = false;
    }

    fn lock(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Desk {
    /// The worker's instance lives there from now on: in that process, or in none of its own.
    pub(super) fn lives_in(&self, process: Option<u32>) {
        self.process.store(process.unwrap_or(0), Ordering::Relaxed);
    }

    pub(super) fn process(&self) -> Option<u32> {
        Some(self.process.load(Ordering::Relaxed)).filter(|process| *process != 0)
    }

    /// The worker is about something else now.
    pub(super) fn enters(&self, stage: Stage) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Some((stage, Instant::now()));
    }

    /// Does it handle events?
    pub(super) fn is_at_work(&self) -> bool {
        matches!(self.stage(), Some((Stage::Works | Stage::ChangesOver, _)))
    }

    /// What it is about, and since when. `None`: it has not begun.
    pub(super) fn stage(&self) -> Option<(Stage, Instant)> {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl InHand {
    pub(super) fn begin(&self, path: &[u8]) {
        *self.lock() = Some((Instant::now(), path.to_owned()));
    }

    /// Returns how long that took, if the worker was stuck in it.
    pub(super) fn end(&self) -> Option<Duration> {
        let (since, _) = self.lock().take()?;
        self.is_stuck.swap(false, Ordering::SeqCst).then(|| since.elapsed())
    }

    /// Is what it has in hand over its time, and was not yet? Returns what that is.
    pub(super) fn is_stuck_now(&self, timeout: Duration) -> Option<Vec<u8>> {
        let in_hand = self.lock();
        let (_, path) = in_hand.as_ref().filter(|(since, _)| since.elapsed() > timeout)?;
        (!self.is_stuck.swap(true, Ordering::SeqCst)).then(|| path.clone())
    }

    /// What it is, and since when.
    pub(super) fn view(&self) -> Option<(Instant, Vec<u8>)> {
        self.lock().clone()
    }

    pub(super) fn is_stuck(&self) -> bool {
        self.is_stuck.load(Ordering::SeqCst)
    }

    fn lock(&self) -> MutexGuard<'_, Option<(Instant, Vec<u8>)>> {
        self.path.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Reply;

    #[test]
    fn a_flood_of_verdicts_takes_no_more_than_a_little_memory() {
        let desk = Desk::default();
        let message = "ä".repeat(1000);
        for ticket in 0..=WHOLE as u64 {
            let reply = Reply::Reject { message: message.clone() };
            desk.completed(ticket, reply.into());
        }
        let lengths = desk.take_completed().into_iter().map(|(_, answer)| match answer.reply {
            Reply::Reject { message } => message.len(),
            other => panic!("{other:?}"),
        });
        let lengths: Vec<usize> = lengths.collect();
        assert_eq!((lengths[WHOLE - 1], lengths[WHOLE]), (2000, SHORT));
    }
}
