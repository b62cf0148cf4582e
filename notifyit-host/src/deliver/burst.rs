//! What a worker has called done, until a flush has made it safe.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notifyit_plugin_api::Blame;

use super::pause::{Change, Why};
use super::worker::Worker;
use crate::plugin::{Lost, Reply};
use crate::source::rescan::Order;

impl Worker {
    pub(super) fn worked(&mut self) {
        if self.lane.pause.worked() == Change::GoesOn {
            self.lane.say_well();
            self.lane.nudge();
        }
    }

    /// Ends a burst: what was reported as done is settled, or tried again if the flush failed.
    pub(super) fn flush(&mut self) {
        self.take_answers();
        if !std::mem::take(&mut self.unflushed) {
            return;
        }
        let lane = Arc::clone(&self.lane);
        // Without an instance there is nothing to flush: what it had done went with it.
        let Some(instance) = self.instance.as_mut() else { return };
        if !instance.is_isolated() {
            lane.begins(self.index, b"");
        }
        let reply = instance.flush(&|| lane.is_given_up());
        lane.has_ended(self.index, || "its flush".to_owned());
        match reply {
            Reply::Done => {
                // Not before: what is in the ledger must survive a kill at any moment.
                let mut burst = std::mem::take(&mut self.burst);
                let not_handed_on = self.hand_on_all(&mut burst);
                // What the file was like before the call is finished, as far as this plugin goes.
                burst.iter().for_each(|work| self.conclude(work, None));
                self.lane.account.delivered(burst.len() as u64);
                self.lane.settled(burst.len());
                if !burst.is_empty() {
                    burst.clear();
                    self.burst = burst;
                    // An answer that no flush has made safe would be no sign of health.
                    self.worked();
                    if self.outside.ledger.is_due_for_pruning(self.lane.id) {
                        self.outside.rescans.order(Order::Prune);
                    }
                }
                for (work, why) in not_handed_on {
                    self.not_handed_on(work, why, VecDeque::new());
                }
            }
            Reply::Lost(Lost::GivenUp) => {
                self.lose_instance(&Lost::GivenUp);
                self.redo_burst();
            }
            Reply::Lost(lost) => {
                self.lose_instance(&lost);
                self.undo_burst(&format!("failed to flush: {lost}"), None);
            }
            Reply::Deferred => self.undo_burst("failed to flush", None),
            Reply::Retry { message, after, blame: Blame::Plugin } => {
                let message = format!("failed to flush: {message}");
                self.lane.breaks(Instant::now(), Why::Unavailable(&message, after));
                self.redo_burst();
            }
            Reply::Retry { message, after, blame: Blame::File } => {
                self.undo_burst(&format!("failed to flush: {message}"), after);
            }
            Reply::Reject { message } => {
                self.undo_burst(&format!("failed to flush: {message}"), None);
            }
        }
    }

    /// What was done and is not safe is handled anew, by no fault of its own: the instance is no more, or what it writes to is
    /// away.
    pub(super) fn redo_burst(&mut self) {
        let now = Instant::now();
        for work in std::mem::take(&mut self.burst) {
            self.put_off(work, now, VecDeque::new());
        }
    }

    fn undo_burst(&mut self, message: &str, after: Option<Duration>) {
        for work in std::mem::take(&mut self.burst) {
            self.attempt.locate(&work.event);
            self.failed(work, VecDeque::new(), message, after);
        }
    }
}
