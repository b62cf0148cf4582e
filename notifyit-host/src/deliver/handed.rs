//! What a worker has handed to the plugin, and what the plugin's answers make of it.
//!
//! Inline an event is answered when its call is over. To an instance in a process of its own events go in batches: a
//! turn of the worker hands over as many as lie before it and the instance has room for, and then takes all answers.

use std::collections::VecDeque;
use std::hash::{Hash, Hasher};
use std::sync::Arc;
use std::time::Instant;

use notifyit_plugin_api::Blame;
use rustc_hash::{FxHashSet, FxHasher};

use super::attempt::Looked;
use super::desk::Message;
use super::pause::Why;
use super::retry::Work;
use super::worker::Worker;
use crate::event::{Certainty, FileEvent, Outcome};
use crate::plugin::{Answer, Lost, Reply};

/// A burst is flushed when it is this long, or when nothing waits.
const BURST: usize = 1024;

/// An event in the plugin's hands.
#[derive(Debug)]
pub(super) struct Handed {
    pub(super) work: Work,
    /// What is to stay behind it.
    pub(super) behind: VecDeque<FileEvent>,
    pub(super) looked: Looked,
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
    fn may_hold(&self, event: &FileEvent) -> bool {
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
            let Some((work, behind)) = self.next() else { return };
            self.handle(work, behind);
        }
    }

    /// Only what the kernel has told, and one event of a file: whether to try the next is a matter of how this one ends.
    fn may_hand_more(&self) -> bool {
        let count = self.hand.all.len();
        if count == 0
            || self.is_probe
            || self.instance.as_ref().is_none_or(|instance| instance.room() <= count)
        {
            return false;
        }
        let Some(Message::Event(next)) = self.local.front() else { return false };
        next.certainty == Certainty::Told && !self.hand.may_hold(next)
    }

    /// Waits for the answers to all that was handed over.
    pub(super) fn take_answers(&mut self) {
        let all = self.hand.take();
        if all.is_empty() {
            return;
        }
        let lane = Arc::clone(&self.lane);
        let answers = self.instance.as_mut().map(|instance| instance.answers(&|| lane.is_given_up()));
        let (answers, lost) = answers.map_or_else(Default::default, |answers| (answers.each, answers.lost));
        if let Some(lost) = lost {
            self.lose_idle_instance(&lost);
        }
        let mut answers = answers.into_iter();
        let mut others = Vec::new();
        for handed in all {
            match answers.next().flatten() {
                // First of all: whatever has the instance flushed now, flushes these too.
                Some(answer) if answer.reply == Reply::Done => self.done(handed, &answer),
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

    /// It was at work on no event: none is at fault, and the next may fare no better.
    fn lose_idle_instance(&mut self, lost: &Lost) {
        self.lose_instance(lost);
        self.redo_burst();
        if !matches!(lost, Lost::GivenUp) {
            self.lane.breaks(Instant::now(), Why::Lost(lost));
        }
    }

    /// The plugin has answered. The attempt's path is the event's.
    pub(super) fn answered(&mut self, handed: Handed, answer: Answer) {
        if answer.reply == Reply::Done {
            self.done(handed, &answer);
            return self.flush_if_long();
        }
        let Handed { mut work, behind, looked } = handed;
        self.unflushed = true;
        self.attempt.has_called((&self.lane, &mut work), &looked, &answer);
        match answer.reply {
            Reply::Done => {}
            Reply::Reject { message } => {
                self.worked();
                self.end(&work, &Outcome::Rejected(message), behind);
            }
            Reply::Retry { message, blame: Blame::Plugin, .. } => self.unavailable(work, behind, &message),
            Reply::Retry { message, after, blame: Blame::File } => self.failed(work, behind, &message, after),
            Reply::Lost(lost) => {
                self.lose_instance(&lost);
                self.redo_burst();
                match lost {
                    Lost::Died(how) => self.process_died(work, behind, &how),
                    lost => self.failed(work, behind, &lost.to_string(), None),
                }
            }
        }
    }

    fn done(&mut self, handed: Handed, answer: &Answer) {
        let Handed { mut work, behind, looked } = handed;
        self.unflushed = true;
        self.attempt.has_called((&self.lane, &mut work), &looked, answer);
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
        drop(self.works_with(None));
    }
}
