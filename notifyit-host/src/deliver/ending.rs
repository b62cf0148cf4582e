//! A worker's end: what it leaves is named and counted, its instance is shut down.

use std::collections::VecDeque;

use super::desk::{Message, Stage};
use super::retry::supposed_twice;
use super::worker::Worker;
use crate::plugin::{Instance, Reply};

/// So many files are named, for each worker, when a stop leaves them.
const NAMED: usize = 100;

impl Worker {
    /// Its lane is closed, or is not to be after all.
    pub(super) fn dismiss(mut self) {
        self.count_left();
        self.desk().enters(Stage::Ends);
        if let Some(instance) = self.instance.take() {
            self.shut_down(instance);
        }
        self.desk().lives_in(None);
        self.desk().enters(Stage::Gone);
    }

    /// What is left when the lane stops is told as a number of events: of those that only suppose what another one
    /// tells for sure, or that suppose the same, one counts.
    fn count_left(&mut self) {
        let mut left = self.waiting.drain();
        left.extend(self.in_flight.drain());
        let mut inbox = VecDeque::new();
        self.desk().fetch(&mut inbox);
        for message in self.local.drain(..).chain(inbox) {
            if let Message::Event(event) = message {
                left.push(event);
            }
        }
        let doubled = supposed_twice(&mut left);
        self.lane.settled(doubled);
        for event in left.iter().take(NAMED) {
            self.attempt.locate(event);
            self.lane.say_left(self.attempt.path());
        }
    }

    /// The last call of an instance.
    pub(super) fn shut_down(&self, mut instance: Instance) {
        match instance.shutdown(&|| self.lane.is_given_up()) {
            Reply::Done | Reply::Deferred => {}
            Reply::Lost(lost) => self.lane.say_lost(&lost),
            Reply::Retry { message, .. } | Reply::Reject { message } => self.lane.say_shutdown(&message),
        }
    }
}
