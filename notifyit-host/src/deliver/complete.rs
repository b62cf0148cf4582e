//! Is a file complete that nobody has told us is?
//!
//! A close-write says so by itself. A file that was created (a hard link perhaps, or `O_TMPFILE` with `linkat`) or
//! renamed to its place says nothing: the kernel is asked for a read lease on it, which it grants only while nobody
//! has the file open or mapped for writing, and the lease is given back in the same breath.
//!
//! | answer | what follows |
//! |---|---|
//! | free | wait for a fence: if the file's close-write comes first, that is the event; else deliver |
//! | busy | ask again, after 10 ms, doubling to 10 s, and at once when a writer closes it; the close-write takes its place if it comes |
//! | no lease to be had | complete when the file has not changed for `stable_for` |
//!
//! A file that is empty and young is taken for busy without asking: `open(2)` with `O_CREAT` makes the file, and tells
//! of that, a moment before it opens it.
//!
//! Where the file system's leases mean nothing, as across a network, none is asked. A plugin may also want a file to be
//! `quiet`: not changed for so long, whatever told of it.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::source::closes::CloseWatch;
use crate::source::filesystem::Terms;
use crate::sys::{self, Lease, Stat};

/// The first pause before a busy file is asked again.
const ASK_AGAIN: Duration = Duration::from_millis(10);
/// The longest one.
const ASK_AT_LEAST: Duration = Duration::from_secs(10);

/// So often a file is asked by the clock alone: most writers are done within a quarter of a second.
const ASKED_OFTEN: u32 = 4;

/// What is known of a file that is only supposed to be complete.
#[derive(Debug, Default)]
pub(super) struct Inquiry {
    asked: u32,
    /// Tells of a close, once it has taken long.
    watch: Option<CloseWatch>,
    unchanged: Option<(Stat, Instant)>,
    /// The kernel has said that nobody writes to it.
    pub(super) is_free: bool,
}

impl Inquiry {
    /// Asks. Returns how long to wait before the next time, or `None` if the file is free.
    pub(super) fn ask(&mut self, path: &Path, stat: Stat, terms: Terms, now: Instant) -> Option<Duration> {
        if !terms.leases {
            return self.compare(terms.stamp(stat), terms.stable_for, now);
        }
        if !is_just_made(stat, sys::wall_nanos()) {
            match sys::ask_for_lease(path) {
                Lease::Free => (self.is_free, self.watch) = (true, None),
                Lease::Unavailable => return self.compare(stat, terms.stable_for, now),
                Lease::Busy => {}
            }
        }
        if self.is_free {
            return None;
        }
        let pause = ASK_AGAIN.saturating_mul(1_u32.checked_shl(self.asked).unwrap_or(u32::MAX));
        self.asked += 1;
        Some(pause.min(ASK_AT_LEAST))
    }

    /// Has the kernel said often enough that somebody writes to it, for a close to be worth a watch?
    pub(super) fn is_to_be_watched(&self) -> bool {
        self.asked > ASKED_OFTEN && self.watch.is_none()
    }

    pub(super) fn is_watched_by(&mut self, watch: Option<CloseWatch>) {
        self.watch = watch;
    }

    /// Was it this one that was closed? Then it is asked again from the beginning: the kernel tells of a close a moment
    /// before it lets the writer go, and there may be another one.
    pub(super) fn is_closed(&mut self, watch: u64) -> bool {
        let is_it = self.watch.as_ref().is_some_and(|own| own.id() == watch);
        if is_it {
            (self.watch, self.asked) = (None, 0);
        }
        is_it
    }

    /// Without a lease: has it been the same for so long?
    fn compare(&mut self, stat: Stat, stable_for: Duration, now: Instant) -> Option<Duration> {
        let left = self.unchanged_since(stat, now) + stable_for;
        self.is_free = left <= now;
        (!self.is_free).then(|| left - now)
    }

    /// How long to wait until the file has been quiet for so long: by its change time, which nobody can set, or, where
    /// that is in the future, since it was first seen like this. `None` if it has.
    pub(super) fn wait_for_quiet(
        &mut self,
        stat: Stat,
        quiet: Duration,
        wall_nanos: u64,
        now: Instant,
    ) -> Option<Duration> {
        let age = wall_nanos.checked_sub(stat.ctime_nanos);
        let age = age.map_or_else(|| now - self.unchanged_since(stat, now), Duration::from_nanos);
        (age < quiet).then(|| quiet - age)
    }

    fn unchanged_since(&mut self, stat: Stat, now: Instant) -> Instant {
        match self.unchanged {
            Some((before, since)) if before == stat => since,
            _ => self.unchanged.insert((stat, now)).1,
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
    use crate::source::fence::SourceHandle;
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
        let pauses: Vec<u128> = (0..12)
            .map(|_| inquiry.ask(&path, stat(&path), Terms::default(), now).unwrap().as_millis())
            .collect();
        assert_eq!(pauses, [10, 20, 40, 80, 160, 320, 640, 1280, 2560, 5120, 10_000, 10_000]);
        drop(writer);
        sys::wait_until_free(&path);
        assert_eq!(inquiry.ask(&path, stat(&path), Terms::default(), now), None);
        let reader = File::open(&path).unwrap();
        assert_eq!(
            Inquiry::default().ask(&path, stat(&path), Terms::default(), now),
            None,
            "a reader does not matter"
        );
        drop(reader);
    }

    #[test]
    fn a_file_that_was_made_empty_just_now_is_not_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        File::create(&path).unwrap();
        let stat = stat(&path);
        assert!(Inquiry::default().ask(&path, stat, Terms::default(), Instant::now()).is_some());
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
        let writer = File::options().append(true).open(&path).unwrap();
        let (mut inquiry, start, second) = (Inquiry::default(), Instant::now(), Duration::from_secs(1));
        let terms = Terms { leases: false, stable_for: 3 * second, ..Terms::default() };
        let one = stat(&path);
        assert_eq!(inquiry.ask(&path, one, terms, start), Some(3 * second));
        std::fs::write(&path, "22").unwrap();
        let two = stat(&path);
        assert_eq!(inquiry.ask(&path, two, terms, start + 3 * second), Some(3 * second), "it has changed");
        assert_eq!(inquiry.ask(&path, two, terms, start + 5 * second), Some(second));
        assert!(!inquiry.is_free);
        assert_eq!(inquiry.ask(&path, two, terms, start + 6 * second), None, "no lease was asked");
        assert!(inquiry.is_free);
        drop(writer);
    }

    #[test]
    fn where_the_kernel_gives_no_lease_a_file_is_complete_when_it_has_not_changed() {
        let dir = tempfile::tempdir().unwrap();
        // No lease is to be had of what is no file, whoever asks.
        let path = dir.path();
        let (mut inquiry, start, second) = (Inquiry::default(), Instant::now(), Duration::from_secs(1));
        let terms = Terms { stable_for: 3 * second, ..Terms::default() };
        let one = Stat { size: 1, ..stat(path) };
        assert_eq!(inquiry.ask(path, one, terms, start), Some(3 * second));
        let two = Stat { size: 2, ..one };
        assert_eq!(inquiry.ask(path, two, terms, start + 3 * second), Some(3 * second), "it has changed");
        assert!(!inquiry.is_free);
        assert_eq!(inquiry.ask(path, two, terms, start + 6 * second), None);
        assert!(inquiry.is_free);
    }

    #[test]
    fn a_file_whose_writer_has_closed_it_is_asked_from_the_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "1").unwrap();
        let writer = File::options().append(true).open(&path).unwrap();
        let (mut inquiry, now) = (Inquiry::default(), Instant::now());
        let ask = |inquiry: &mut Inquiry| inquiry.ask(&path, stat(&path), Terms::default(), now);
        while !inquiry.is_to_be_watched() {
            ask(&mut inquiry).unwrap();
        }
        assert!(ask(&mut inquiry) > Some(ASK_AGAIN));
        let source = SourceHandle::new().unwrap();
        let watch = source.watch_close(&path, |_| ()).unwrap();
        let id = watch.id();
        inquiry.is_watched_by(Some(watch));
        assert!(!inquiry.is_closed(id + 1) && inquiry.is_closed(id));
        assert_eq!(ask(&mut inquiry), Some(ASK_AGAIN), "there is another writer");
        drop(writer);
    }

    #[test]
    fn where_inodes_do_not_last_another_one_is_no_change() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        std::fs::write(&path, "1").unwrap();
        let (stat, start, second) = (stat(&path), Instant::now(), Duration::from_secs(1));
        let other = Stat { inode: stat.inode + 1, ..stat };
        let left = |inodes_last| {
            let terms = Terms { leases: false, inodes_last, stable_for: second, ..Terms::default() };
            let mut inquiry = Inquiry::default();
            inquiry.ask(&path, stat, terms, start);
            inquiry.ask(&path, other, terms, start + second)
        };
        assert_eq!((left(false), left(true)), (None, Some(second)));
    }

    #[test]
    fn a_file_is_quiet_when_it_has_not_changed_for_so_long() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        File::create(&path).unwrap();
        let (stat, start, second) = (stat(&path), Instant::now(), Duration::from_secs(1));
        let at = |nanos: u64, now| Inquiry::default().wait_for_quiet(stat, 2 * second, nanos, now);
        assert_eq!(at(stat.ctime_nanos, start), Some(2 * second));
        assert_eq!(at(stat.ctime_nanos + 500_000_000, start), Some(3 * second / 2));
        assert_eq!(at(stat.ctime_nanos + 2_000_000_000, start), None);
        let old = Stat { mtime_seconds: 0, ..stat };
        let wait = |stat, nanos| Inquiry::default().wait_for_quiet(stat, second, nanos, start);
        assert_eq!(wait(old, stat.ctime_nanos), Some(second), "whoever sets mtime back has changed it");

        let mut inquiry = Inquiry::default();
        let mut ahead = |now| inquiry.wait_for_quiet(stat, second, stat.ctime_nanos - 1, now);
        assert_eq!(ahead(start), Some(second), "by a clock that is ahead of ours");
        assert_eq!(ahead(start + second), None);
    }
}
