//! Which event a worker tries next: what has come to its desk, and what it has put off, in the order of their files.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::desk::Message;
use super::retry::{Arrival, FENCES, Work};
use super::worker::Worker;
use crate::event::{Certainty, FileEvent, Sequence};

/// Between the two fences that show that a missing file was not renamed: the kernel tells of a rename a moment
/// *behind* doing it.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

impl Worker {
    /// The next event to try, with what is to stay behind it.
    pub(super) fn next(&mut self) -> Option<(Work, VecDeque<FileEvent>)> {
        if !self.is_probe
            && let Some(due) = self.take_due()
        {
            return Some(due);
        }
        while !self.local.is_empty() {
            let next = self.next_message();
            if next.is_some() || !self.is_probe {
                return next;
            }
        }
        // Of files that have failed any may be at fault itself: a probe is better made with one that has not. But it is
        // made: what comes to nothing may come again and again.
        self.take_due()
    }

    /// What the first message comes to, if there is one.
    pub(super) fn next_message(&mut self) -> Option<(Work, VecDeque<FileEvent>)> {
        match self.local.pop_front()? {
            Message::Event(event) => self.arrives(event),
            Message::Fence(serial) => self.passed(serial),
            Message::Racy(last) => {
                self.racy_passed(last);
                None
            }
            Message::Closed(watch) => {
                self.waiting.closed(watch, Instant::now());
                None
            }
        }
    }

    fn take_due(&mut self) -> Option<(Work, VecDeque<FileEvent>)> {
        if self.waiting.is_empty() { None } else { self.waiting.take_due(Instant::now()) }
    }

    fn arrives(&mut self, mut event: FileEvent) -> Option<(Work, VecDeque<FileEvent>)> {
        // What is compared with it below is about the file that is there now.
        if self.follow(&mut event) {
            self.lane.settled(1);
            return None;
        }
        // Before all else: what has another name now says nothing of the file that has come under the old one.
        if let Some(waiting) = self.waiting.at(&event)
            && self.attempt.has_left(waiting, event.sequence)
        {
            self.make_way(&event);
            self.local.push_front(Message::Event(event));
            return None;
        }
        let is_supposed = event.certainty == Certainty::Supposed;
        if is_supposed && (self.is_told_next(&event) || self.attempt.waits_already(&self.waiting, &event))
            || self.is_echo(&event)
        {
            self.lane.settled(1);
            return None;
        }
        let event = self.in_flight.arrives(event)?;
        match self.waiting.arrives(event) {
            Arrival::Free(event) => Some((Work::new(event), VecDeque::new())),
            Arrival::Replaces(event, behind) => {
                self.lane.settled(1);
                Some((Work::new(event), behind))
            }
            Arrival::Behind => None,
        }
    }

    /// What waits under the name of this event was renamed before that came there: it goes on under its own name.
    fn make_way(&mut self, event: &FileEvent) {
        let Some((work, due, behind)) = self.waiting.take_at(event) else { return };
        self.put_off(work, due.unwrap_or_else(Instant::now), behind);
    }

    /// This event is to wait under the name that its file has now. What waits there for a file that has left is another's.
    pub(super) fn make_way_if_left(&mut self, event: &FileEvent) {
        if self.waiting.at(event).is_some_and(|waiting| self.attempt.has_left(waiting, Sequence(u64::MAX))) {
            self.make_way(event);
        }
    }

    /// Does the kernel say next, for sure, what this event only supposes? So it is with most files: created, closed.
    fn is_told_next(&self, event: &FileEvent) -> bool {
        is_about(self.local.front(), event)
    }

    /// The same of the first that lies here.
    pub(super) fn is_told_behind(&self, first: &FileEvent) -> bool {
        is_about(self.local.get(1), first)
    }

    /// A fence has been passed: a file that is free was not closed just now, or one that is missing not renamed. For
    /// the latter that has to be shown twice.
    fn passed(&mut self, serial: u64) -> Option<(Work, VecDeque<FileEvent>)> {
        let (mut work, behind) = self.waiting.passed(serial)?;
        if work.is_missing {
            work.fences += 1;
        }
        if !work.is_missing || work.fences >= FENCES {
            return Some((work, behind));
        }
        self.put_off(work, Instant::now() + LOOK_AGAIN, behind);
        None
    }
}

/// Does this say that the same file has landed?
fn is_about(message: Option<&Message>, event: &FileEvent) -> bool {
    matches!(message, Some(Message::Event(next))
        if next.is_landing() && next.node == event.node && next.name == event.name)
}
