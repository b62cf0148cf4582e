//! Which event a process has in hand, and since when: a few bytes in a file in memory, which outlive it.
//!
//! Not a mapping: whoever shares one with a broken process can be ended by it (`ftruncate`). To write costs a quarter of
//! a microsecond.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::time::{ClockId, clock_gettime};

/// The file.
#[derive(Debug)]
pub(super) struct InHand(pub(super) File);

/// What stands in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Begun {
    /// Its place among the events of the batch.
    pub(super) place: usize,
    /// How many there are in that call, from that place on.
    pub(super) count: usize,
    /// How long ago it was begun.
    pub(super) ago: Duration,
}

impl InHand {
    pub(super) fn new() -> io::Result<InHand> {
        Ok(InHand(File::from(memfd_create("in hand", MemfdFlags::CLOEXEC)?)))
    }

    /// From now on the plugin is called with so many events of the batch, from this place on; or with none.
    pub(super) fn set(&self, call: Option<(usize, usize)>) -> io::Result<()> {
        let number = call.map_or(0, |(place, count)| (count as u64) << 32 | (place as u64 + 1));
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&number.to_le_bytes());
        bytes[8..].copy_from_slice(&now().to_le_bytes());
        self.0.write_all_at(&bytes, 0)
    }

    /// What is in hand. Whatever a process has written there is no harm.
    pub(super) fn get(&self) -> Option<Begun> {
        let mut bytes = [0; 16];
        self.0.read_exact_at(&mut bytes, 0).ok()?;
        let (number, at) = bytes.split_at(8);
        let number = u64::from_le_bytes(number.try_into().ok()?);
        // Who says that it begins only in the future is not believed.
        let ago = now().checked_sub(u64::from_le_bytes(at.try_into().ok()?)).unwrap_or(u64::MAX);
        let place = usize::try_from((number & u64::from(u32::MAX)).checked_sub(1)?).ok()?;
        let count = usize::try_from(number >> 32).ok()?;
        Some(Begun { place, count, ago: Duration::from_nanos(ago) })
    }
}

/// By the monotonic clock, which all processes share.
fn now() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |part: i64| u64::try_from(part).unwrap_or(0);
    part(now.tv_sec).saturating_mul(1_000_000_000).saturating_add(part(now.tv_nsec))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_hand_can_be_read_and_garbage_is_none_or_no_harm() {
        let in_hand = InHand::new().unwrap();
        assert_eq!(in_hand.get(), None);
        in_hand.set(Some((3, 2))).unwrap();
        let is_so = |begun: Begun| begun.place == 3 && begun.count == 2;
        assert!(in_hand.get().is_some_and(|begun| is_so(begun) && begun.ago < Duration::from_secs(60)));
        in_hand.set(None).unwrap();
        assert_eq!(in_hand.get(), None);
        in_hand.0.write_all_at(&[0xff; 16], 0).unwrap();
        assert!(in_hand.get().is_some_and(|begun| begun.ago > Duration::from_secs(1 << 30)));
        in_hand.0.set_len(3).unwrap();
        assert_eq!(in_hand.get(), None);
    }
}
