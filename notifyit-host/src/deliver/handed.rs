//! What a worker has handed to the plugin, and what the plugin's answers make of it.
//!
//! Inline an event is answered when its call is over. To an instance in a process of its own, and to a plugin that takes
//! several at a time, events go in batches: a turn of the worker hands over as many as lie before it and there is room for,
//! and then takes all answers. Which of them come later still, `in_flight` keeps.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::time::Instant;

use notifyit_plugin_api::Blame;
use rustc_hash::{FxHashSet, FxHasher};

use super::attempt::Looked;
use super::desk::Message;
use super::pause::Why;
use super::retry::Work;
use super::worker::Worker;
use crate::event::{Certainty, FileEvent, Outcome};
use crate::plugin::{Answer, Answers, Instance, Lost, Reply};

/// A burst is flushed when it is this long, or when nothing waits.
const BURST: usize = 1024;

/// An event in the plugin's hands.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) work: Work,
    /// What is to stay behind it.
    pub(super) behind: VecDeque<FileEvent>,
    pub(super) looked: Looked,
    /// Under this its verdict may come later; 0 if it may not.
    pub(super) ticket: u64,
}

/// Those that are not answered yet, in order.
#[derive(Debug, Default)]
pub(super) struct Hand {
    all: Vec<Handed>,
    /// Hashes of their places.
    places: FxHashSet<u64>,
}

impl Hand {
    pub(super) fn put(&mut self, handed: Handed) {
        self.places.insert(place(&handed.work.event));
        self.all.push(handed);
    }

    /// May there be an event of the same file among them?
    pub(super) fn may_hold(&self, event: &FileEvent) -> bool {
        self.places.contains(&place(event))
    }

    fn take(&mut self) -> Vec<Handed> {
        self.places.clear();
        std::mem::take(&mut self.all)
    }
}

fn place(event: &FileEvent) -> u64 {
    let mut hasher = FxHasher::default();
    (event.node, &event.name).hash(&mut hasher);
    hasher.finish()
}

impl Worker {
    /// Hands over what else may go with what was handed over in this turn.
    pub(super) fn hand_more(&mut self) {
        while self.may_hand_more() {
            // None if what was first came to nothing. What has failed before is not for a batch, however due it is.
            if let Some((work, behind)) = self.next_message() {
                self.handle(work, behind);
            }
        }
    }

    /// Only what the kernel has told, and one event of a file: whether to try the next is a matter of how this one ends.
    fn may_hand_more(&self) -> bool {
        let Some(last) = self.hand.all.last() else { return false };
        // Whether it is the plugin that is at fault shows one by one.
        if self.lane.pause.is_troubled() || last.work.is_alone() || self.room() <= self.hand.all.len() {
            return false;
        }
        let Some(Message::Event(next)) = self.local.front() else { return false };
        let is_sure = next.certainty == Certainty::Told || self.is_told_behind(next);
        is_sure && !self.hand.may_hold(next)
    }

    /// Waits for the answers to all that was handed over.
    pub(super) fn take_answers(&mut self) {
        let all = self.hand.take();
        if all.is_empty() {
            return;
        }
        let Answers { each, lost, suspects } = match self.instance.as_mut() {
            Some(instance) => self.attempt.call(&self.lane, self.index, &all, instance),
            None => Answers::default(),
        };
        match lost {
            Some(lost) if suspects.is_empty() => self.lose_idle_instance(&lost),
            Some(lost) => {
                self.lose_instance(&lost);
                self.redo_burst();
            }
            None => {}
        }
        let mut answers = each.into_iter();
        let mut others = Vec::new();
        for (place, mut handed) in all.into_iter().enumerate() {
            handed.work.is_suspect |= suspects.contains(&place);
            match answers.next().flatten() {
                // First of all: whatever has the instance flushed now, flushes these too.
                Some(answer) if answer.reply == Reply::Done => self.done(handed, answer),
                // Then these: whatever loses the instance now, by a flush that fails, say, loses these too.
                Some(answer) if answer.reply == Reply::Deferred => {
                    self.is_deferred(handed, (answer.notes, answer.emission))
                }
                answer => others.push((handed, answer)),
            }
        }
        for (handed, answer) in others {
            match answer {
                Some(answer) => {
                    self.attempt.locate(&handed.work.event);
                    self.answered(handed, answer);
                }
                // The plugin has not come to it, or it went with what the instance held.
                None => {
                    self.give_probe_back();
                    self.put_off(handed.work, Instant::now(), handed.behind);
                }
            }
        }
        self.flush_if_long();
    }

    /// It was in the middle of no call. If nothing was in flight none is at fault, and the next may fare no better.
    pub(super) fn lose_idle_instance(&mut self, lost: &Lost) {
        let is_unexplained = self.in_flight.is_empty();
        self.lose_instance(lost);
        self.redo_burst();
        if is_unexplained && !matches!(lost, Lost::GivenUp) {
            self.lane.breaks(Instant::now(), Why::Lost(lost));
        }
    }

    /// The plugin has answered. The attempt's path is the event's.
    pub(super) fn answered(&mut self, handed: Handed, answer: Answer) {
        if answer.reply == Reply::Done {
            self.done(handed, answer);
            return self.flush_if_long();
        }
        if answer.reply == Reply::Deferred {
            return self.is_deferred(handed, (answer.notes, answer.emission));
        }
        let Handed { mut work, behind, looked, .. } = handed;
        self.unflushed = true;
        self.attempt.has_called((&self.lane, &mut work), &looked, &answer);
        // It was alone, and the instance lives.
        work.is_suspect &= matches!(answer.reply, Reply::Lost(_));
        match answer.reply {
            Reply::Done | Reply::Deferred => {}
            Reply::Reject { message } => {
                self.worked();
                self.end(&work, &Outcome::Rejected(message), behind);
            }
            Reply::Retry { message, after, blame: Blame::Plugin } => {
                self.unavailable(work, behind, &message, after);
            }
            Reply::Retry { message, after, blame: Blame::File } => self.failed(work, behind, &message, after),
            Reply::Lost(lost) => {
                let has_died = matches!(lost, Lost::Died(_));
                if has_died && !self.in_flight.is_empty() {
                    // Or of one of those.
                    work.is_suspect = true;
                    self.give_probe_back();
                    self.put_off(work, Instant::now(), behind);
                    self.lose_instance(&lost);
                    return self.redo_burst();
                }
                self.lose_instance(&lost);
                self.redo_burst();
                match lost {
                    Lost::Died(how) => self.process_died(work, behind, &how),
                    lost => self.failed(work, behind, &lost.to_string(), None),
                }
            }
        }
    }

    fn done(&mut self, handed: Handed, answer: Answer) {
        let Handed { mut work, behind, looked, .. } = handed;
        self.unflushed = true;
        self.attempt.has_called((&self.lane, &mut work), &looked, &answer);
        work.emits = answer.emission.map(|emission| self.emits(&emission));
        self.burst.push(work);
        self.bring_forward(behind);
    }

    fn flush_if_long(&mut self) {
        if self.burst.len() >= BURST {
            self.flush();
        }
    }

    /// The instance is of no more use, and what it holds is lost.
    pub(super) fn lose_instance(&mut self, lost: &Lost) {
        self.lane.say_lost(lost);
        let instance = self.works_with(None);
        let takes_all_with_it = instance.as_ref().is_some_and(Instance::is_isolated);
        drop(instance);
        if takes_all_with_it && !self.in_flight.is_empty() {
            self.ground(lost);
        }
    }
}
