//! What the plugin will answer later: its verdict is deferred.
//!
//! Such an event is under way as one that is in hand: it counts, holds its file's next event back, and has its time. Its
//! verdict comes to the worker's desk under a ticket, and goes the way of every other.

use std::collections::{BTreeMap, VecDeque};
#[cfg(test)]
use std::ffi::OsStr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notifyit_plugin_api::abi::{Emission, Notes};
use rustc_hash::FxHashMap;

use super::handed::Handed;
use super::retry::{Key, key};
use super::worker::Worker;
#[cfg(test)]
use crate::event::NodeId;
use crate::event::{FileEvent, Outcome};
use crate::plugin::{Answer, Instance, Lost, Reply, SLACK, Tickets};

/// How often is looked whether a process with events in flight still lives.
const LIFE_SIGN: Duration = Duration::from_millis(100);

/// The events of one worker whose verdicts are to come.
#[derive(Debug, Default)]
pub(super) struct InFlight {
    by_ticket: BTreeMap<u64, Flight>,
    /// Their files.
    places: FxHashMap<Key, u64>,
    /// When the first of them is late.
    late_at: Option<Instant>,
    /// The next event is to be alone, and waits until none is here.
    pub(super) lands: bool,
}

#[derive(Debug)]
struct Flight {
    handed: Handed,
    /// What was said of it in the call.
    said: (Notes, Option<Box<Emission>>),
    /// It finds out whether a pause is over.
    is_probe: bool,
    late_at: Option<Instant>,
}

impl InFlight {
    pub(super) fn is_empty(&self) -> bool {
        self.by_ticket.is_empty()
    }

    fn put(&mut self, flight: Flight) {
        let ticket = flight.handed.ticket;
        self.late_at = self.late_at.into_iter().chain(flight.late_at).min();
        self.places.insert(key(&flight.handed.work.event), ticket);
        self.by_ticket.insert(ticket, flight);
    }

    fn take(&mut self, ticket: u64) -> Option<Flight> {
        let flight = self.by_ticket.remove(&ticket)?;
        self.places.remove(&key(&flight.handed.work.event));
        self.lands &= !self.is_empty();
        if flight.late_at == self.late_at {
            self.late_at = self.by_ticket.values().filter_map(|flight| flight.late_at).min();
        }
        Some(flight)
    }

    fn take_all(&mut self) -> impl Iterator<Item = Flight> + use<> {
        std::mem::take(self).by_ticket.into_values()
    }

    /// The ticket of one that is over its time.
    fn late(&self, now: Instant) -> Option<u64> {
        self.late_at.filter(|at| *at <= now)?;
        let is_late = |flight: &Flight| flight.late_at.is_some_and(|at| at <= now);
        self.by_ticket.iter().find(|(_, flight)| is_late(flight)).map(|(ticket, _)| *ticket)
    }

    /// An event of a file that is in flight waits behind that; any other comes back.
    pub(super) fn arrives(&mut self, event: FileEvent) -> Option<FileEvent> {
        let Some(behind) = self.of_file(&event) else { return Some(event) };
        behind.push_back(event);
        None
    }

    /// What waits behind the one in flight that is about the same file, if there is one.
    pub(super) fn of_file(&mut self, event: &FileEvent) -> Option<&mut VecDeque<FileEvent>> {
        if self.is_empty() {
            return None;
        }
        let flight = self.by_ticket.get_mut(self.places.get(&key(event))?)?;
        Some(&mut flight.handed.behind)
    }

    /// All that is here, in no order: the lane stops, and it is counted.
    pub(super) fn drain(&mut self) -> Vec<FileEvent> {
        let all = self.take_all().map(|flight| flight.handed);
        all.flat_map(|handed| std::iter::once(handed.work.event).chain(handed.behind)).collect()
    }
}

#[cfg(test)]
impl InFlight {
    /// Every event in here, in no order.
    pub(super) fn events(&self) -> impl Iterator<Item = &FileEvent> {
        let all = self.by_ticket.values().map(|flight| &flight.handed);
        all.flat_map(|handed| std::iter::once(&handed.work.event).chain(&handed.behind))
    }

    /// The files of those whose verdicts are to come.
    pub(super) fn files(&self) -> impl Iterator<Item = (NodeId, &OsStr)> {
        let events = self.by_ticket.values().map(|flight| &flight.handed.work.event);
        events.map(|event| (event.node, &*event.name))
    }

    /// The time of the first is over.
    pub(super) fn first_is_late(&mut self) {
        if let Some(flight) = self.by_ticket.values_mut().next() {
            flight.late_at = Some(Instant::now());
            self.late_at = flight.late_at;
        }
    }

    pub(super) fn has_late(&self) -> bool {
        self.late(Instant::now()).is_some()
    }
}

impl Worker {
    /// For a lane whose plugin may defer its verdicts.
    pub(super) fn open_tickets(&mut self) {
        if self.lane.in_flight.is_some() {
            let (lane, index) = (Arc::clone(&self.lane), self.index);
            let deliver = move |ticket, answer| lane.desks[index].completed(ticket, answer);
            self.tickets = Some(Tickets::open(&self.lane.name, deliver));
        }
    }

    /// How many more events may be handed over.
    pub(super) fn room(&self) -> usize {
        let instance = self.instance.as_ref().map_or(0, Instance::room);
        match self.lane.in_flight {
            None => instance,
            Some(most) => instance.min(most.saturating_sub(self.in_flight.by_ticket.len())),
        }
    }

    /// Has the plugin to answer first before it is handed anything more?
    pub(super) fn is_to_land(&self) -> bool {
        let InFlight { by_ticket, lands, .. } = &self.in_flight;
        !by_ticket.is_empty()
            && (*lands
                || self.lane.in_flight.is_some_and(|most| by_ticket.len() >= most)
                || self.lane.offer.is_newer_than(self.offers_seen)
                // Nothing else was there when it came, and nothing else comes.
                || by_ticket.values().next().is_some_and(|flight| flight.handed.work.is_alone()))
    }

    /// When to look at what is in flight, if nothing comes before.
    pub(super) fn next_look(&self) -> Option<Instant> {
        if self.in_flight.is_empty() {
            return None;
        }
        let is_isolated = self.instance.as_ref().is_some_and(Instance::is_isolated);
        let life_sign = is_isolated.then(|| Instant::now() + LIFE_SIGN);
        self.in_flight.late_at.into_iter().chain(life_sign).min()
    }

    /// Its verdict comes later.
    pub(super) fn is_deferred(&mut self, handed: Handed, said: (Notes, Option<Box<Emission>>)) {
        if handed.ticket == 0 {
            let message = "the plugin lied: it has deferred what it was to answer at once";
            self.attempt.locate(&handed.work.event);
            return self.failed(handed.work, handed.behind, message, None);
        }
        if self.instance.is_none() {
            // It was lost with the same answers: nobody is left who would say it.
            self.give_probe_back();
            return self.put_off(handed.work, Instant::now(), handed.behind);
        }
        // What it has collected may be what the verdict hangs on.
        self.unflushed = true;
        let is_probe = std::mem::take(&mut self.is_probe);
        let late_at = self.lane.timeout.and_then(|timeout| Instant::now().checked_add(timeout + SLACK));
        self.in_flight.put(Flight { handed, said, is_probe, late_at });
    }

    /// Takes the verdicts that have come, and looks whether any is overdue.
    pub(super) fn take_completed(&mut self) {
        if self.in_flight.is_empty() {
            return;
        }
        self.take_verdicts();
        if let Some(late) = self.in_flight.late(Instant::now()) {
            self.is_late(late);
        }
        if let Some(lost) = self.instance.as_mut().and_then(Instance::has_died) {
            self.lose_idle_instance(&lost);
        }
    }

    /// Verdicts that nobody waits for do not pile up.
    pub(super) fn forget_void(&self) {
        if self.tickets.is_some() && self.in_flight.is_empty() {
            drop(self.desk().take_completed());
        }
    }

    fn take_verdicts(&mut self) {
        for (ticket, mut answer) in self.desk().take_completed() {
            if let Some(flight) = self.in_flight.by_ticket.get_mut(&ticket) {
                let (notes, emission) = std::mem::take(&mut flight.said);
                answer.notes.rewrote = answer.notes.rewrote.or(notes.rewrote);
                answer.emission = match (answer.emission, emission) {
                    (Some(later), Some(earlier)) => Some(Box::new(later.with_earlier(*earlier))),
                    (later, earlier) => later.or(earlier),
                };
            }
            match self.take_flight(ticket) {
                Some(handed) if answer.reply == Reply::Done => self.has_landed(handed, answer),
                Some(handed) => self.answered(handed, answer),
                None => {}
            }
        }
    }

    /// By the plugin's word it is safe, whatever a flush would say.
    fn has_landed(&mut self, handed: Handed, answer: Answer) {
        let Handed { mut work, behind, looked, .. } = handed;
        self.attempt.has_called((&self.lane, &mut work), &looked, &answer);
        work.emits = answer.emission.map(|emission| self.emits(&emission));
        let heard = self.hear_of_all(std::slice::from_ref(&work));
        let handed_on = work.passing().map_or(Ok(()), |passing| self.hand_on(&passing, heard));
        if let Err(why) = handed_on {
            return self.not_handed_on(work, why, behind);
        }
        self.worked();
        self.end(&work, &Outcome::Delivered, behind);
    }

    /// It is as if it had just been in hand.
    fn take_flight(&mut self, ticket: u64) -> Option<Handed> {
        let Flight { handed, is_probe, .. } = self.in_flight.take(ticket)?;
        self.is_probe = is_probe;
        self.attempt.locate(&handed.work.event);
        Some(handed)
    }

    /// It is tried again. Whoever is at it in this process cannot be ended, but is not waited for; what he says is not heard
    /// any more.
    fn is_late(&mut self, ticket: u64) {
        let timeout = self.lane.timeout.unwrap_or_default();
        let Some(Handed { work, behind, .. }) = self.take_flight(ticket) else { return };
        if !self.instance.as_ref().is_some_and(Instance::is_isolated) {
            let message = format!("its deferred verdict has not come within {timeout:?}");
            return self.failed(work, behind, &message, None);
        }
        let lost = Lost::Late(timeout);
        self.failed(work, behind, &lost.to_string(), None);
        self.lose_instance(&lost);
        self.redo_burst();
    }

    /// The process that had it in flight is no more. If it has died, any of them may be at fault; that which was alone is.
    pub(super) fn ground(&mut self, lost: &Lost) {
        // Perhaps the worker was about to try one.
        let was_probe = self.is_probe;
        // What it had said before its end counts.
        self.take_verdicts();
        let all: Vec<Flight> = self.in_flight.take_all().collect();
        let now = Instant::now();
        for Flight { handed: Handed { mut work, behind, .. }, is_probe, .. } in all {
            self.attempt.locate(&work.event);
            self.is_probe = is_probe;
            match lost {
                Lost::Died(how) if work.is_alone() => self.process_died(work, behind, how),
                lost => {
                    self.give_probe_back();
                    work.is_suspect |= matches!(lost, Lost::Died(_));
                    self.put_off(work, now, behind);
                }
            }
        }
        self.is_probe = was_probe;
    }
}
