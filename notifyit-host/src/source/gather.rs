//! When to wait for more events before a read.
//!
//! A wake-up costs more than ten events: a loop that wakes for each write spends several microseconds on it, reading
//! one more event of a full buffer a quarter of one. So when events come in quick succession, the source lets them
//! gather for a moment and reads them in one go. A single event, with nothing before it, is read at once.

use std::time::{Duration, Instant};

/// How long to wait under load.
const NAP: Duration = Duration::from_millis(1);
/// Load: so many reads within this time, or so many events in one read.
const READS: u32 = 6;
const WITHIN: Duration = Duration::from_millis(1);
const EVENTS: usize = 6;

/// Remembers how busy the last reads were.
#[derive(Debug)]
pub(super) struct Gather {
    since: Instant,
    reads: u32,
    busy: bool,
}

impl Gather {
    pub(super) fn new(now: Instant) -> Self {
        Gather { since: now, reads: 0, busy: false }
    }

    /// How long to wait before the read that is due now. `queued` (asked for only under load) and `limit` are in
    /// events.
    pub(super) fn wait(
        &mut self,
        now: Instant,
        queued: impl FnOnce() -> u64,
        limit: u64,
    ) -> Option<Duration> {
        if now - self.since >= WITHIN {
            (self.since, self.reads) = (now, 0);
        }
        self.reads += 1;
        let busy = self.busy || self.reads >= READS;
        (busy && queued() < limit / 4).then_some(NAP)
    }

    /// Notes how many events a read brought.
    pub(super) fn read(&mut self, events: usize) {
        self.busy = events >= EVENTS;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_at_a_low_rate_are_never_kept_waiting() {
        let start = Instant::now();
        let mut gather = Gather::new(start);
        for i in 0..1000_u32 {
            // A file: created, then closed, every 2 ms.
            let at = start + Duration::from_millis(2) * i;
            assert_eq!(gather.wait(at, || 1, 16_384), None);
            gather.read(1);
            assert_eq!(gather.wait(at + Duration::from_micros(10), || 1, 16_384), None);
            gather.read(1);
        }
    }

    #[test]
    fn a_flood_is_gathered_from_its_first_millisecond_to_its_end() {
        let start = Instant::now();
        let mut gather = Gather::new(start);
        let waits: Vec<bool> = (0..20_u32)
            .map(|i| {
                let wait = gather.wait(start + Duration::from_micros(20) * i, || 2, 16_384).is_some();
                gather.read(if wait { 200 } else { 2 });
                wait
            })
            .collect();
        assert_eq!(waits.iter().position(|w| *w), Some(5));
        assert!(waits[5..].iter().all(|w| *w));
        gather.read(1);
        assert_eq!(gather.wait(start + Duration::from_secs(1), || 1, 16_384), None);
    }

    #[test]
    fn a_queue_that_fills_is_read_at_once() {
        let start = Instant::now();
        let mut gather = Gather::new(start);
        gather.read(500);
        assert!(gather.wait(start, || 4_095, 16_384).is_some());
        assert_eq!(gather.wait(start, || 4_096, 16_384), None);
    }
}
