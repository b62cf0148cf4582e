//! The few things that are asked of the kernel beside files and threads.

pub mod page;
pub mod death;
pub mod exit;

use std::ffi::OsStr;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags, Statx, StatxFlags, openat, statx};
use rustix::io::Errno;
use rustix::time::{ClockId, clock_gettime};

/// What a file was like at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stat {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// Size in bytes.
    pub size: u64,
    /// Type and permissions.
    pub mode: u32,
    /// Modification time: seconds since 1970.
    pub mtime_seconds: i64,
    /// Modification time: nanoseconds of the second.
    pub mtime_nanos: u32,
    /// Change time, which no one can set: nanoseconds since 1970.
    pub ctime_nanos: u64,
}

impl Stat {
    /// Modification time: nanoseconds since 1970.
    pub fn modified_nanos(&self) -> u64 {
        nanos(self.mtime_seconds, self.mtime_nanos)
    }

    /// Is it a directory?
    pub fn is_directory(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::Directory
    }

    /// Is it a regular file?
    pub fn is_file(&self) -> bool {
        FileType::from_raw_mode(self.mode) == FileType::RegularFile
    }
}

/// What lies at an absolute path, or `None` if nothing does. A symbolic link is not followed.
///
/// # Errors
///
/// Anything but "not there": missing permissions, a path longer than `PATH_MAX`, an I/O error.
pub fn stat(path: &Path) -> io::Result<Option<Stat>> {
    look(path, AtFlags::SYMLINK_NOFOLLOW)
}

/// As [`stat`], but a symbolic link is followed.
///
/// # Errors
///
/// As [`stat`].
pub fn stat_followed(path: &Path) -> io::Result<Option<Stat>> {
    look(path, AtFlags::empty())
}

fn look(path: &Path, flags: AtFlags) -> io::Result<Option<Stat>> {
    looked(statx(CWD, path, flags, WANTED))
}

/// Which directory it is: its device and inode, and the mount through which it is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`.
    pub inode: u64,
    /// The number of its mount; unknown before Linux 5.8.
    pub mount: Option<u64>,
    /// When it was made: seconds and nanoseconds, if the file system tells.
    born: Option<(i64, u32)>,
}

impl Identity {
    /// Names the directory for as long as it lives, on whatever mount: unlike an inode alone it never names another one
    /// later. `None` where the file system tells no time of birth.
    pub fn lasting(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        (self.device, self.inode, self.born?).hash(&mut hasher);
        Some(hasher.finish())
    }
}

const NAMING: StatxFlags = WANTED.union(StatxFlags::MNT_ID).union(StatxFlags::BTIME);

/// Which directory is at a path, a link followed. `None` if there is none that can be reached.
pub fn identity(path: &Path) -> Option<Identity> {
    let told = statx(CWD, path, AtFlags::empty(), NAMING).ok()?;
    let is_directory = FileType::from_raw_mode(u32::from(told.stx_mode)) == FileType::Directory;
    is_directory.then(|| identified(&told))
}

/// Which directory it is that is open.
///
/// # Errors
///
/// An I/O error.
pub fn identity_of(directory: &OwnedFd) -> io::Result<Identity> {
    Ok(identified(&statx(directory, "", AtFlags::EMPTY_PATH, NAMING)?))
}

fn identified(told: &Statx) -> Identity {
    let has = |what: StatxFlags| told.stx_mask & what.bits() != 0;
    Identity {
        device: rustix::fs::makedev(told.stx_dev_major, told.stx_dev_minor),
        inode: told.stx_ino,
        mount: has(StatxFlags::MNT_ID).then_some(told.stx_mnt_id),
        born: has(StatxFlags::BTIME).then_some((told.stx_btime.tv_sec, told.stx_btime.tv_nsec)),
    }
}

/// As [`stat`], for a name in an open directory.
///
/// # Errors
///
/// As [`stat`].
pub fn stat_in(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<Option<Stat>> {
    looked(statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, WANTED))
}

/// As [`stat`], but not from what a network file system remembers: its server is asked.
///
/// # Errors
///
/// As [`stat`].
pub fn stat_anew(path: &Path) -> io::Result<Option<Stat>> {
    look(path, AtFlags::SYMLINK_NOFOLLOW | AtFlags::STATX_FORCE_SYNC)
}

const WANTED: StatxFlags = StatxFlags::TYPE
    .union(StatxFlags::MODE)
    .union(StatxFlags::INO)
    .union(StatxFlags::SIZE)
    .union(StatxFlags::MTIME)
    .union(StatxFlags::CTIME);

fn looked(told: Result<Statx, Errno>) -> io::Result<Option<Stat>> {
    match told {
        Ok(x) => Ok(Some(Stat {
            device: rustix::fs::makedev(x.stx_dev_major, x.stx_dev_minor),
            inode: x.stx_ino,
            size: x.stx_size,
            mode: u32::from(x.stx_mode),
            mtime_seconds: x.stx_mtime.tv_sec,
            mtime_nanos: x.stx_mtime.tv_nsec,
            ctime_nanos: nanos(x.stx_ctime.tv_sec, x.stx_ctime.tv_nsec),
        })),
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// A time as nanoseconds since 1970; what is before is 0.
fn nanos(seconds: i64, nanos: u32) -> u64 {
    u64::try_from(seconds).unwrap_or(0).saturating_mul(1_000_000_000).saturating_add(u64::from(nanos))
}

/// Nanoseconds since 1970 by the wall clock.
pub fn wall_nanos() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Nanoseconds since 1970 by the clock that file times are taken from. It ticks every few milliseconds: by
/// [`wall_nanos`] a file that was changed after a moment may bear a time before it.
pub fn file_nanos() -> u64 {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    nanos(now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or(0))
}

/// Sees to it that the exit statuses of children can be had, also if whoever started us left SIGCHLD ignored.
///
/// # Errors
///
/// A signal handler cannot be set.
pub fn take_back_children() -> io::Result<()> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    if mask & (1 << (libc::SIGCHLD - 1)) != 0 {
        // A handler, of whatever kind, ends the ignoring.
        signal_hook::flag::register(libc::SIGCHLD, Arc::default())?;
    }
    Ok(())
}

/// Which run of the kernel this is; 0 if it does not tell.
pub fn boot() -> u128 {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    u128::from_str_radix(&text.trim().replace('-', ""), 16).unwrap_or(0)
}

/// A limit of inotify: the smaller of the system's (`fs.inotify.…`) and the user namespace's (`user.…`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limit {
    /// Its value.
    pub value: u64,
    /// The name that `sysctl` knows it by.
    pub sysctl: &'static str,
}

/// How many directories this user may watch.
pub fn watch_limit() -> Option<Limit> {
    smaller(&["fs.inotify.max_user_watches", "user.max_inotify_watches"])
}

/// How many inotify instances this user may have.
pub fn instance_limit() -> Option<Limit> {
    smaller(&["fs.inotify.max_user_instances", "user.max_inotify_instances"])
}

/// How many events the kernel queues before it drops.
pub fn queue_limit() -> u64 {
    smaller(&["fs.inotify.max_queued_events"]).map_or(16_384, |limit| limit.value)
}

fn smaller(names: &[&'static str]) -> Option<Limit> {
    let read = |name: &&'static str| {
        let text = fs::read_to_string(Path::new("/proc/sys").join(name.replace('.', "/"))).ok()?;
        Some(Limit { value: text.trim().parse().ok()?, sysctl: name })
    };
    names.iter().filter_map(read).min_by_key(|limit| limit.value)
}

/// What the kernel says when it is asked for a read lease.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// Nobody has the file open or mapped for writing.
    Free,
    /// Somebody has, or holds a lease on it.
    Busy,
    /// The kernel does not say: not our file and no `CAP_LEASE`, no permission, or a file system without leases.
    Unavailable,
}

/// Asks for a read lease on a file, and gives it back at once (`F_SETLEASE` in fcntl(2)).
///
/// A file that is gone or is no regular file is `Unavailable`.
pub fn ask_for_lease(path: &Path) -> Lease {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match openat(CWD, path, flags, Mode::empty()) {
        Ok(file) => file,
        Err(Errno::WOULDBLOCK) => return Lease::Busy,
        Err(_) => return Lease::Unavailable,
    };
    if !rustix::fs::fstat(&file)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile)
    {
        return Lease::Unavailable;
    }
    match take_lease(&file) {
        Ok(()) => {
            let _ = fcntl(&file, libc::F_SETLEASE, libc::F_UNLCK);
            Lease::Free
        }
        Err(Errno::WOULDBLOCK) => Lease::Busy,
        Err(_) => Lease::Unavailable,
    }
}

/// Waits until nobody has a file open for writing that has just been closed here: a test beside may be starting a process,
/// which has what is open in this one until its own exec.
#[cfg(test)]
pub fn wait_until_free(path: &Path) {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while ask_for_lease(path) == Lease::Busy {
        assert!(std::time::Instant::now() < end, "{path:?} is still open");
        std::thread::yield_now();
    }
}

/// Takes a read lease. A writer who opens the file before it is given back breaks it, and has the kernel signal us: with
/// one that is ignored.
fn take_lease(file: &OwnedFd) -> Result<(), Errno> {
    fcntl(file, F_SETSIG, libc::SIGURG)?;
    fcntl(file, libc::F_SETLEASE, libc::F_RDLCK)
}

/// Which signal tells of a broken lease; not in the `libc` crate.
const F_SETSIG: i32 = 10;

fn fcntl(file: &OwnedFd, operation: i32, value: i32) -> Result<(), Errno> {
    #[expect(unsafe_code, reason = "rustix does not have these operations")]
    // SAFETY: the descriptor is open, and both operations take an integer and touch no memory of ours.
    let result = unsafe { libc::fcntl(file.as_raw_fd(), operation, value) };
    if result == -1 {
        Err(Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::INVAL))
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::{OpenOptionsExt, symlink};
    use std::sync::mpsc::channel;

    #[test]
    fn no_lease_is_had_of_what_is_no_regular_file_and_nothing_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        wait_until_free(&at("file"));
        symlink(at("file"), at("link")).unwrap();
        rustix::fs::mkfifoat(CWD, at("fifo"), Mode::RWXU).unwrap();
        assert_eq!(ask_for_lease(&at("file")), Lease::Free);
        let (told, answers) = channel();
        let paths = ["link", "fifo", "missing", ""].map(at);
        // On a thread of its own: who opens a fifo to read it waits for a writer.
        std::thread::spawn(move || paths.iter().for_each(|path| told.send(ask_for_lease(path)).unwrap()));
        for _ in 0..4 {
            assert_eq!(answers.recv_timeout(Duration::from_secs(20)), Ok(Lease::Unavailable));
        }
    }

    #[test]
    fn a_file_on_which_another_holds_a_lease_is_busy() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let other = OwnedFd::from(File::create(&path).unwrap());
        fcntl(&other, F_SETSIG, libc::SIGURG).unwrap();
        fcntl(&other, libc::F_SETLEASE, libc::F_WRLCK).unwrap();
        assert_eq!(ask_for_lease(&path), Lease::Busy);
        drop(other);
        wait_until_free(&path);
        assert_eq!(ask_for_lease(&path), Lease::Free);
    }

    #[test]
    fn whoever_opens_a_file_while_its_lease_is_held_does_not_end_the_host() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        wait_until_free(&path);
        let file = OwnedFd::from(File::open(&path).unwrap());
        take_lease(&file).unwrap();
        let flags = OFlags::NONBLOCK.bits().cast_signed();
        // With the kernel's own choice of a signal this ends the process.
        let opened = OpenOptions::new().write(true).custom_flags(flags).open(&path);
        assert_eq!(opened.unwrap_err().kind(), io::ErrorKind::WouldBlock, "the lease was broken");
    }
}
