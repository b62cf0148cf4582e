//! A lane's worker: one thread with one instance of the plugin.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use super::Outside;
use super::attempt::{Attempt, NotMade};
use super::desk::{Message, Stage};
use super::handed::{Hand, Handed};
use super::in_flight::InFlight;
use super::lane::Lane;
use super::pause::{Leave, Why};
use super::racy::Holding;
use super::retry::{FENCES, Waiting, Work};
use crate::event::{Certainty, FileEvent, Outcome};
use crate::plugin::{Create, CreateError, Instance, Tickets};
use crate::source::closes::CloseWatch;

/// What a worker is made of.
pub(super) struct Worker {
    pub(super) lane: Arc<Lane>,
    pub(super) index: usize,
    pub(super) create: Arc<Create>,
    pub(super) instance: Option<Instance>,
    /// The number of the last offer of new code that was taken up.
    pub(super) offers_seen: u64,
    pub(super) outside: Outside,
    pub(super) attempt: Attempt,
    /// Events taken from the inbox, in order; what waited behind another goes to the front.
    pub(super) local: VecDeque<Message>,
    pub(super) waiting: Waiting,
    /// In the plugin's hands. Empty between two turns.
    pub(super) hand: Hand,
    /// The plugin will answer later.
    pub(super) in_flight: InFlight,
    pub(super) tickets: Option<Tickets>,
    /// Done, but the ledger is not to know yet.
    pub(super) racy: Holding,
    /// Done, but not flushed yet.
    pub(super) burst: Vec<Work>,
    /// Since the last flush, something was called.
    pub(super) unflushed: bool,
    /// What is tried now finds out whether a pause is over.
    pub(super) is_probe: bool,
}

/// Does the worker go on?
#[derive(PartialEq, Eq)]
enum Flow {
    GoOn,
    Leave,
}

impl Worker {
    pub(super) fn new(lane: Arc<Lane>, index: usize, create: Arc<Create>, outside: Outside) -> Self {
        Worker {
            lane,
            index,
            create,
            instance: None,
            offers_seen: 0,
            attempt: Attempt::new(&outside),
            outside,
            local: VecDeque::new(),
            waiting: Waiting::default(),
            hand: Hand::default(),
            in_flight: InFlight::default(),
            tickets: None,
            racy: Holding::default(),
            burst: Vec::new(),
            unflushed: false,
            is_probe: false,
        }
    }

    /// Makes the first instance. An error here is the start's error.
    pub(super) fn make_instance(&mut self) -> Result<(), CreateError> {
        let instance = self.create.instance(&|| self.lane.is_given_up())?;
        self.works_with(Some(instance));
        Ok(())
    }

    /// Works until the lane is closed.
    pub(super) fn run(mut self) {
        self.desk().enters(Stage::Works);
        self.open_tickets();
        while self.turn() == Flow::GoOn {}
        self.take_completed();
        self.flush();
        self.dismiss();
    }

    fn turn(&mut self) -> Flow {
        let closing = self.lane.closing();
        if closing.is_some_and(|until| Instant::now() >= until) {
            return Flow::Leave;
        }
        self.take_completed();
        self.look_for_successor();
        if self.is_to_land() {
            return self.wait_for_landing(closing);
        }
        if self.local.is_empty() {
            self.lane.desks[self.index].fetch(&mut self.local);
        }
        if !self.racy.is_empty() {
            self.ask_for_racy();
        }
        let leave = self.lane.pause.leave(Instant::now);
        if let Leave::Wait(until) = leave {
            return self.hold(until, closing);
        }
        self.is_probe = leave == Leave::Probe;
        if let Some((work, behind)) = self.next() {
            self.handle(work, behind);
            self.hand_more();
            self.take_answers();
            return Flow::GoOn;
        }
        self.give_probe_back();
        if self.local.is_empty() { self.idle(closing) } else { Flow::GoOn }
    }

    /// The lane pauses.
    fn hold(&mut self, until: Instant, closing: Option<Instant>) -> Flow {
        self.flush();
        if closing.is_some() {
            return if self.in_flight.is_empty() { Flow::Leave } else { self.wait_for_landing(closing) };
        }
        self.desk().wait_for_nudge(self.next_look().into_iter().chain([until]).min());
        Flow::GoOn
    }

    /// The plugin has its hands full.
    fn wait_for_landing(&mut self, closing: Option<Instant>) -> Flow {
        self.flush();
        // The instance may have been lost in it, with all of them.
        if !self.in_flight.is_empty() {
            self.desk().wait_for_nudge(closing.into_iter().chain(self.next_look()).min());
        }
        Flow::GoOn
    }

    /// Nothing to do: flush, then wait.
    fn idle(&mut self, closing: Option<Instant>) -> Flow {
        if self.unflushed {
            self.flush();
            return Flow::GoOn;
        }
        if closing.is_some() {
            // Before it is looked what has come: the last of it may have come just now.
            let others_may_emit = self.others_may_emit();
            // What has come meanwhile may say for sure what something here supposes.
            self.lane.desks[self.index].fetch(&mut self.local);
            if !self.local.is_empty() {
                return Flow::GoOn;
            }
            // Nothing more comes: no fence will be passed any more.
            let unfenced = self.waiting.drain_unfenced();
            if unfenced.is_empty() && !self.in_flight.is_empty() {
                return self.wait_for_landing(closing);
            }
            if unfenced.is_empty() {
                if !others_may_emit {
                    return Flow::Leave;
                }
                self.wait_for_others();
                return Flow::GoOn;
            }
            for (mut work, behind) in unfenced {
                work.fences = FENCES;
                self.handle(work, behind);
            }
            return Flow::GoOn;
        }
        self.forget_void();
        let next = [self.waiting.next_due(), self.racy.next_due(), self.next_look()];
        let next = next.into_iter().flatten().min();
        self.desk().wait(next);
        Flow::GoOn
    }

    /// Hands an event to the plugin, or does what the state of its file asks for.
    pub(super) fn handle(&mut self, mut work: Work, behind: VecDeque<FileEvent>) {
        if self.follow(&mut work.event) {
            self.give_probe_back();
            self.lane.settled(1);
            return self.bring_forward(behind);
        }
        if work.event.renamed_from.is_some() && self.hand.may_hold(&work.event) {
            self.take_answers();
        }
        if let Some(flight) = self.in_flight.of_file(&work.event) {
            // It was renamed to there since it came.
            flight.push_back(work.event);
            flight.extend(behind);
            return self.give_probe_back();
        }
        let is_supposed = work.event.certainty == Certainty::Supposed;
        if is_supposed || work.tried > 0 || work.is_suspect || self.may_come_twice(&work.event) {
            // Whether it is finished the ledger tells only of what has been flushed. What has failed before may take
            // the instance with it, and what that has not flushed.
            self.flush();
        }
        if work.is_alone() && !self.in_flight.is_empty() {
            self.in_flight.lands = true;
            self.give_probe_back();
            return self.put_off(work, Instant::now(), behind);
        }
        if !self.racy.is_empty()
            && let Some(until) = self.held_until(&work.event)
        {
            self.give_probe_back();
            return self.put_off(work, until, behind);
        }
        self.make_sure_of_instance();
        let Some(instance) = self.instance.as_mut() else {
            let again = Instant::now() + self.lane.policy.first;
            return self.put_off(work, again, behind);
        };
        let looked = match self.attempt.look(&self.lane, &mut work) {
            Ok(looked) => looked,
            Err(why) => return self.not_made(why, work, behind),
        };
        let ticket = self.tickets.as_mut().map_or(0, Tickets::issue);
        let answer = self.attempt.hand(&self.lane, self.index, (&work, &looked, ticket), instance);
        let handed = Handed { work, behind, looked, ticket };
        match answer {
            Some(answer) => self.answered(handed, answer),
            None => self.hand.put(handed),
        }
    }

    /// The plugin is not called.
    fn not_made(&mut self, why: NotMade, mut work: Work, behind: VecDeque<FileEvent>) {
        self.give_probe_back();
        match why {
            NotMade::Missing | NotMade::Free => {
                work.is_missing = matches!(why, NotMade::Missing);
                self.fence(work, behind);
            }
            NotMade::Busy(pause) => {
                if work.inquiry.is_to_be_watched() {
                    work.inquiry.is_watched_by(self.watch_close());
                }
                self.put_off(work, Instant::now() + pause, behind);
            }
            NotMade::NotYet(pause) => self.wait_out(work, pause, behind),
            NotMade::Gone => self.end(&work, &Outcome::Gone, behind),
            NotMade::NotPassed => {
                self.goes_through_again(&work.event);
                self.lane.settled(1);
                self.bring_forward(behind);
            }
            NotMade::Moot => {
                self.lane.settled(1);
                self.bring_forward(behind);
            }
        }
    }

    /// Has the source tell of a close of the last attempt's file.
    fn watch_close(&self) -> Option<CloseWatch> {
        let (lane, index) = (Arc::clone(&self.lane), self.index);
        let reply = move |watch| lane.desks[index].closed(watch);
        self.outside.source.watch_close(self.attempt.path(), reply)
    }

    /// Asks the source whether everything up to now, a rename of this file perhaps, has been read.
    fn fence(&mut self, work: Work, behind: VecDeque<FileEvent>) {
        if work.is_missing {
            self.outside.source.check_roots();
        }
        self.make_way_if_left(&work.event);
        let (serial, settled) = self.waiting.until_fence(work, behind);
        self.lane.settled(settled);
        let (lane, index) = (Arc::clone(&self.lane), self.index);
        self.outside.source.fence(move || lane.desks[index].fence_passed(serial));
    }

    /// Puts an event off until `due`, under the name that its file has now.
    pub(super) fn put_off(&mut self, mut work: Work, due: Instant, behind: VecDeque<FileEvent>) {
        if self.follow(&mut work.event) {
            self.lane.settled(1);
            return self.bring_forward(behind);
        }
        self.make_way_if_left(&work.event);
        let settled = self.waiting.until(work, due, behind);
        self.lane.settled(settled);
    }

    /// There was nothing to try: whoever has something may.
    pub(super) fn give_probe_back(&mut self) {
        if std::mem::take(&mut self.is_probe) {
            self.lane.pause.not_tried();
        }
    }

    /// The event of the last attempt is settled.
    pub(super) fn end(&mut self, work: &Work, outcome: &Outcome, behind: VecDeque<FileEvent>) {
        if !self.burst.is_empty() && *outcome != Outcome::Gone {
            // An older version of the file may be in the burst; the ledger is to know of this one last.
            self.flush();
        }
        self.note_end(work, outcome);
        self.lane.account.record(self.attempt.path(), outcome);
        self.lane.settled(1);
        self.bring_forward(behind);
    }

    /// What waited behind an event is next.
    pub(super) fn bring_forward(&mut self, behind: VecDeque<FileEvent>) {
        for event in behind.into_iter().rev() {
            self.local.push_front(Message::Event(event));
        }
    }

    /// Makes the instance anew if it has to be. If that fails, the lane pauses.
    fn make_sure_of_instance(&mut self) {
        if self.instance.is_some() {
            return;
        }
        match self.create.instance(&|| self.lane.is_given_up()) {
            Ok(instance) => drop(self.works_with(Some(instance))),
            // That is why there is none.
            Err(_) if self.lane.is_given_up() => {}
            Err(error) => self.lane.breaks(Instant::now(), Why::NotMade(&error.to_string())),
        }
    }

    /// From now on it works with this instance, or has none. Returns the one that it had.
    pub(super) fn works_with(&mut self, instance: Option<Instance>) -> Option<Instance> {
        self.desk().lives_in(instance.as_ref().and_then(Instance::process));
        std::mem::replace(&mut self.instance, instance)
    }

    pub(super) fn desk(&self) -> &super::desk::Desk {
        &self.lane.desks[self.index]
    }
}

#[cfg(test)]
mod model;
