//! Is a file complete that nobody has told us is?
//!
//! A close-write says so by itself. A file that was created (a hard link perhaps, or `O_TMPFILE` with `linkat`) or
//! renamed to its place says nothing: the kernel is asked for a read lease on it, which it grants only while nobody
//! has the file open or mapped for writing, and the lease is given back in the same breath.
//!
//! | answer | what follows |
//! |---|---|
//! | free | wait for a fence: if the file's close-write comes first, that is the event; else deliver |
//! | busy | ask again, after 10 ms, doubling to 10 s; the close-write takes its place if it comes |
//! | no lease to be had | complete when the file has not changed for [`STABLE_FOR`] |
//!
//! A file that is empty and young is taken for busy without asking: `open(2)` with `O_CREAT` makes the file, and tells
//! of that, a moment before it opens it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::sys::{self, Lease, Stat};

/// Without leases: so long unchanged is complete.
const STABLE_FOR: Duration = Duration::from_secs(2);
/// The first pause before a busy file is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// The longest one.
const ASK_AT_LEAST: Duration = Duration::from_secs(10);

/// What is known of a file that is only supposed to be complete.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    asked: u32,
    unchanged: Option<(Stat, Instant)>,
    /// The kernel has said that nobody writes to it.
    pub(super) is_free: bool,
}

impl Inquiry {
    /// Asks. Returns how long to wait before the next time, or `None` if the file is free.
    pub(super) fn ask(&mut self, path: &Path, stat: Stat, now: Instant) -> Option<Duration> {
        if !is_just_made(stat, sys::wall_nanos()) {
            match sys::ask_for_lease(path) {
                Lease::Free => self.is_free = true,
                Lease::Unavailable => self.compare(stat, now),
                Lease::Busy => {}
            }
        }
        if self.is_free {
            return None;
        }
        let pause = ASK_AGAIN.saturating_mul(1_u32.checked_shl(self.asked).unwrap_or(u32::MAX));
        self.asked += 1;
        Some(pause.min(if self.unchanged.is_some() { STABLE_FOR } else { ASK_AT_LEAST }))
    }

    fn compare(&mut self, stat: Stat, now: Instant) {
        match self.unchanged {
            Some((before, since)) if before == stat => self.is_free = now - since >= STABLE_FOR,
            _ => self.unchanged = Some((stat, now)),
        }
    }
}

/// Empty, and modified within the last second? A time in the future is not young.
fn is_just_made(stat: Stat, wall_nanos: u64) -> bool {
    stat.size == 0 && wall_nanos.checked_sub(stat.modified_nanos()).is_some_and(|age| age < 1_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;

    fn stat(path: &Path) -> Stat {
        sys::stat(path).unwrap().unwrap()
    }

    #[test]
    fn a_file_is_busy_while_someone_may_write_to_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let mut writer = File::create(&path).unwrap();
        std::io::Write::write_all(&mut writer, b"x").unwrap();
        let (mut inquiry, now) = (Inquiry::default(), Instant::now());
        let pauses: Vec<u128> =
            (0..12).map(|_| inquiry.ask(&path, stat(&path), now).unwrap().as_millis()).collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_000, 10_000]);
        drop(writer);
        assert_eq!(inquiry.ask(&path, stat(&path), now), None);
        let reader = File::open(&path).unwrap();
        assert_eq!(Inquiry::default().ask(&path, stat(&path), now), None, "a reader does not matter");
        drop(reader);
    }

    #[test]
    fn a_file_that_was_made_empty_just_now_is_not_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        File::create(&path).unwrap();
        let stat = stat(&path);
        assert!(Inquiry::default().ask(&path, stat, Instant::now()).is_some());
        let modified = stat.modified_nanos();
        assert!(is_just_made(stat, modified) && is_just_made(stat, modified + 999_999_999));
        assert!(!is_just_made(stat, modified + 1_000_000_000));
        assert!(!is_just_made(stat, modified - 1), "a time in the future is not young");
        assert!(!is_just_made(Stat { size: 1, ..stat }, modified));
    }

    #[test]
    fn without_a_lease_a_file_is_complete_when_it_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "1").unwrap();
        let (mut inquiry, start) = (Inquiry::default(), Instant::now());
        let one = stat(&path);
        inquiry.compare(one, start);
        std::fs::write(&path, "22").unwrap();
        let two = stat(&path);
        inquiry.compare(two, start + STABLE_FOR);
        assert!(!inquiry.is_free, "it has changed");
        inquiry.compare(two, start + STABLE_FOR + Duration::from_secs(1));
        assert!(!inquiry.is_free);
        inquiry.compare(two, start + 2 * STABLE_FOR);
        assert!(inquiry.is_free);
    }
}
