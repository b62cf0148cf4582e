//! What a version of a file is.

use std::ffi::OsStr;
use std::sync::Arc;

use crate::sys::Stat;

/// What tells one version of a file from another: inode, size, mtime. ctime is no part of it, for `chown -R`, a backup
/// or a new link change nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Stamp {
    pub(super) inode: u64,
    pub(super) size: u64,
    pub(super) mtime_seconds: i64,
    pub(super) mtime_nanos: u32,
}

impl Stamp {
    /// The stamp of a file that looks like this.
    pub fn of(stat: &Stat) -> Stamp {
        let Stat { inode, size, mtime_seconds, mtime_nanos, .. } = *stat;
        Stamp { inode, size, mtime_seconds, mtime_nanos }
    }

    /// Is this what a file looks like? Where inodes do not last, the stamp has none.
    pub fn is_of(&self, stat: &Stat) -> bool {
        let seen = Stamp::of(stat);
        *self == seen || *self == Stamp { inode: 0, ..seen }
    }

    /// Are these of two files? One that has but another time or size is the same file: `rsync` sets the time of what it has
    /// closed. Where inodes do not last, whatever differs may be another file.
    pub fn is_of_another_file(&self, other: &Stamp) -> bool {
        if self.inode == 0 || other.inode == 0 { self != other } else { self.inode != other.inode }
    }

    /// The file's part of what is told of it: inode, size, and modification time in seconds and nanoseconds.
    pub fn parts(&self) -> (u64, u64, i64, u32) {
        (self.inode, self.size, self.mtime_seconds, self.mtime_nanos)
    }
}

/// One version of one file.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Version {
    pub(super) directory: u64,
    pub(super) name: Arc<OsStr>,
    pub(super) stamp: Stamp,
}

impl Version {
    /// The version of a file that is in a directory (by number) under a name.
    pub fn new(directory: u64, name: &Arc<OsStr>, stat: &Stat) -> Version {
        Version { directory, name: Arc::clone(name), stamp: Stamp::of(stat) }
    }

    /// The version with this stamp of a file that is in a directory (by number) under a name.
    pub fn of(directory: u64, name: &OsStr, stamp: Stamp) -> Version {
        Version { directory, name: Arc::from(name), stamp }
    }

    /// What tells it from the file's other versions.
    pub fn stamp(&self) -> Stamp {
        self.stamp
    }

    /// Another version of the same file.
    pub fn with_stamp(&self, stat: &Stat) -> Version {
        Version { directory: self.directory, name: Arc::clone(&self.name), stamp: Stamp::of(stat) }
    }

    /// The same version at another place.
    pub fn at(&self, (directory, name): (u64, &Arc<OsStr>)) -> Version {
        Version { directory, name: Arc::clone(name), stamp: self.stamp }
    }

    /// Where it is.
    pub fn place(&self) -> Place<'_> {
        (self.directory, &self.name)
    }
}

/// Where a file is: the number of its directory, and its name.
pub type Place<'a> = (u64, &'a OsStr);

/// Names a version of a file: watch, relative path, inode, size, mtime. FNV-1a, 64 bits: a handler may keep these
/// numbers for years, so the function can never change.
pub fn identity(watch: &str, relative: &[u8], stamp: Option<Stamp>) -> u64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    let mut feed = |bytes: &[u8]| {
        for byte in bytes {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    };
    feed(watch.as_bytes());
    feed(&[0]);
    feed(relative);
    feed(&[0]);
    if let Some(stamp) = stamp {
        feed(&stamp.inode.to_le_bytes());
        feed(&stamp.size.to_le_bytes());
        feed(&stamp.mtime_seconds.to_le_bytes());
        feed(&stamp.mtime_nanos.to_le_bytes());
    }
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stat(size: u64) -> Stat {
        Stat { device: 1, inode: 2, size, mode: 0, mtime_seconds: 3, mtime_nanos: 4, ctime_nanos: 5 }
    }

    fn version(directory: u64, name: &str, size: u64) -> Version {
        Version::new(directory, &OsStr::new(name).into(), &stat(size))
    }

    #[test]
    fn ctime_and_mode_are_no_part_of_a_version() {
        let changed = Stat { mode: 0o600, ctime_nanos: 99, ..stat(1) };
        assert_eq!(version(7, "a", 1), Version::new(7, &OsStr::new("a").into(), &changed));
    }

    #[test]
    fn the_identity_of_a_version_never_changes() {
        let stamp = Stamp { inode: 2, size: 3, mtime_seconds: 5, mtime_nanos: 6 };
        let larger = Stamp { size: 4, ..stamp };
        assert_ne!(identity("in", b"a/b.txt", Some(stamp)), identity("in", b"a/b.txt", Some(larger)));
        assert_ne!(identity("ina", b"/b", None), identity("in", b"a/b", None));
        assert_eq!(format!("{:016x}", identity("in", b"a/b.txt", Some(stamp))), "90ecea534aca7128");
    }
}
