//! What must hold, whatever has happened.

use super::*;

impl World {
    /// What must hold at each moment.
    pub(super) fn check(&mut self) -> Result<(), TestCaseError> {
        let worker = &mut self.host.as_mut().unwrap().worker;
        gather(worker);
        let queued = worker.local.iter().filter_map(|message| match message {
            Message::Event(event) => Some(event),
            Message::Fence(_) | Message::Racy(_) | Message::Closed(_) => None,
        });
        let burst = worker.burst.iter().map(|work| &work.event);
        let events: Vec<u64> = queued
            .chain(burst)
            .chain(worker.waiting.events())
            .chain(worker.in_flight.events())
            .map(|event| event.seen_nanos)
            .collect();
        prop_assert_eq!(events.len(), worker.lane.under_way(), "each event is at one place, and counted");
        prop_assert!(events.len() <= CAPACITY, "the queue is bounded");
        let files: HashSet<_> = worker.in_flight.files().collect();
        prop_assert_eq!(files.len(), worker.in_flight.files().count(), "one event of a file at a time");
        let now: HashSet<u64> = events.iter().copied().collect();
        prop_assert_eq!(now.len(), events.len(), "no event is twice");
        prop_assert!(now.is_disjoint(&self.settled), "what is settled does not come back");
        self.settled.extend(self.known.difference(&now));
        self.known = now;
        for file in self.files() {
            let (version, is_finished) = self.look(file);
            let is_safe = script(|script| script.safe.contains(&version));
            prop_assert!(is_safe || !is_finished, "{:?} is finished, and is not safe", file);
        }
        Ok(())
    }

    /// The number of a file's version, and whether it is finished as it is.
    pub(super) fn look(&self, file: Where) -> (u64, bool) {
        let stat = sys::stat(&self.path(file)).unwrap().unwrap();
        let serial = self.tree.read().serial(self.nodes[file.0]);
        let version = Version::new(serial, &Arc::from(OsStr::new(file.1)), &stat);
        (version_at(&self.path(file)).unwrap(), self.ledger.is_finished(LANE, &version))
    }

    /// Goes on until nothing is left to do, with a plugin that is well.
    pub(super) fn come_to_rest(&mut self) -> Result<(), TestCaseError> {
        script(|script| {
            script.events.clear();
            script.flushes.clear();
        });
        let end = Instant::now() + Duration::from_secs(60);
        while Instant::now() < end {
            self.read(usize::MAX);
            self.rescan();
            plugin::complete(0, Answer::Done);
            let is_busy =
                self.turn() || !self.queue.is_empty() || !self.host().worker.outside.rescans.is_idle();
            let worker = &self.host().worker;
            let waits = worker.lane.under_way() > 0 || !worker.racy.is_empty();
            if !is_busy && !self.look_again() && !waits {
                break;
            }
            self.check()?;
        }
        let worker = &self.host().worker;
        let state = format!(
            "{:?}, {} before it, burst of {}, {:?}",
            worker.waiting,
            worker.local.len(),
            worker.burst.len(),
            worker.lane.pause
        );
        prop_assert_eq!(worker.lane.under_way(), 0, "it comes to rest: {}", state);
        for file in self.files() {
            // Finished in the ledger it need not be: of a file that is renamed over one whose flush is still to come
            // the older version is entered, which costs a duplicate.
            let (version, _) = self.look(file);
            let is_safe = script(|script| script.safe.contains(&version));
            prop_assert!(is_safe, "version {} of {:?} is lost", version, file);
        }
        Ok(())
    }
}
