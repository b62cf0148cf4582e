//! What file system a root is on, and so on which terms its files are judged.
//!
//! inotify tells what this kernel did to a file. What another machine, or a program behind a FUSE mount, did to it,
//! it cannot tell; nor can a lease say that such a writer is at work. Roots on these file systems are polled.
//!
//! **Grain.** Two versions of a file that are written within a grain of the file system's clock may have the same time,
//! and if they have the same size, the same stamp. A stamp that was taken within a grain of its own time is *racy*: the
//! next version may look like it. What follows from that is in `deliver`'s `racy`.
//!
//! | where | grain |
//! |---|---|
//! | ext4, xfs, btrfs, tmpfs, overlayfs since Linux 6.13 (multigrain timestamps) | none |
//! | times in whole seconds: FAT, ext4 with inodes of 128 bytes | 2 s |
//! | anywhere else, and on what is mounted beneath a root whose mounts are crossed | 10 ms, a kernel's slowest tick |

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::OnceLock;
use std::time::Duration;

use rustix::fs::{fstat, fstatfs};

use super::tree::Tree;
use super::{Backend, Root, walk};
use crate::event::WatchId;
use crate::sys::Stat;

/// A file system that others than this kernel write to, or whose inode numbers do not last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kind {
    magic: u32,
    /// As people call it.
    pub(super) name: &'static str,
    sees: Sees,
    inodes: Inodes,
}

/// Does inotify see all that is written there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sees {
    All,
    OwnOnly,
}

/// Does a file keep its inode number for as long as it is there?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Inodes {
    Last,
    /// They are made up when a file is first looked at, and anew when it was evicted from memory.
    MadeUp,
}

const fn remote(magic: u32, name: &'static str) -> Kind {
    Kind { magic, name, sees: Sees::OwnOnly, inodes: Inodes::Last }
}

const fn made_up(magic: u32, name: &'static str) -> Kind {
    Kind { magic, name, sees: Sees::OwnOnly, inodes: Inodes::MadeUp }
}

/// From statfs(2), `linux/magic.h` and the file systems' own sources. What is not here is a local one like any other.
const KINDS: [Kind; 26] = [
    remote(0x6969, "NFS"),
    made_up(0xff53_4d42, "CIFS"),
    made_up(0xfe53_4d42, "SMB"),
    made_up(0x517b, "SMB"),
    made_up(0x6573_5546, "FUSE"),
    remote(0x0102_1997, "9p"),
    remote(0x00c3_6400, "Ceph"),
    remote(0x5346_414f, "AFS"),
    remote(0x6b41_4653, "AFS"),
    remote(0x7375_7245, "Coda"),
    remote(0x564c, "NCP"),
    remote(0x0bd0_0bd0, "Lustre"),
    remote(0x4750_4653, "GPFS"),
    remote(0x1983_0326, "BeeGFS"),
    remote(0x2003_0528, "OrangeFS"),
    remote(0xaad7_aaea, "PanFS"),
    remote(0x0116_1970, "GFS2"),
    remote(0x7461_636f, "OCFS2"),
    remote(0xbeef_dead, "StorNext"),
    remote(0x6163_6673, "ACFS"),
    made_up(0x786f_4256, "a VirtualBox shared folder"),
    made_up(0xbacb_acbc, "a VMware shared folder"),
    made_up(0x7c7c_6013, "a Parallels shared folder"),
    Kind { magic: 0x4d44, name: "FAT", sees: Sees::All, inodes: Inodes::MadeUp },
    Kind { magic: 0x2011_bab0, name: "exFAT", sees: Sees::All, inodes: Inodes::MadeUp },
    LOCAL,
];

const LOCAL: Kind = Kind { magic: 0, name: "a local file system", sees: Sees::All, inodes: Inodes::Last };

impl Kind {
    /// That of an open directory.
    pub(super) fn of(directory: &OwnedFd) -> io::Result<Kind> {
        let magic = fstatfs(directory)?.f_type;
        // The field's type and sign differ between machines; the number has 32 bits on all of them.
        Ok(Kind::from_magic(u32::try_from(i128::from(magic) & 0xffff_ffff).unwrap_or(0)))
    }

    fn from_magic(magic: u32) -> Kind {
        let known = KINDS.into_iter().find(|kind| kind.magic == magic);
        known.unwrap_or(Kind { magic, ..LOCAL })
    }

    /// What the kernel calls it.
    pub(super) fn magic(self) -> u32 {
        self.magic
    }

    /// Does inotify see all that is written there?
    pub(super) fn is_seen(self) -> bool {
        self.sees == Sees::All
    }

    /// The terms for a root that lies there.
    pub(super) fn terms(self, root: &Root) -> Terms {
        let polled = match root.backend {
            Backend::Auto => !self.is_seen(),
            Backend::Inotify => false,
            Backend::Poll => true,
        };
        let leases = !polled && self.is_seen();
        let usual = if leases { Terms::default().stable_for } else { STABLE_WHERE_CACHED };
        Terms {
            polled,
            leases,
            inodes_last: self.inodes == Inodes::Last,
            stable_for: root.stable_for.unwrap_or(usual),
            own_times: self.gives_own_times(),
            device: None,
            own_times_elsewhere: true,
        }
    }

    fn gives_own_times(self) -> bool {
        MULTIGRAIN.contains(&self.magic) && is_multigrain_kernel()
    }
}

/// On these each version of a file that was looked at has a time of its own, since Linux 6.13: ext4, xfs, btrfs, tmpfs,
/// and overlayfs, which lies on one of them.
const MULTIGRAIN: [u32; 5] = [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630];

fn is_multigrain_kernel() -> bool {
    static ANSWER: OnceLock<bool> = OnceLock::new();
    *ANSWER.get_or_init(|| {
        let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        at_least(&release, (6, 13))
    })
}

fn at_least(release: &str, wanted: (u32, u32)) -> bool {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|n| n.parse().ok());
    let version: Option<(u32, u32)> = numbers.next().zip(numbers.next());
    version.is_some_and(|version| version >= wanted)
}

/// Is the inode a part of a file's version there?
///
/// # Errors
///
/// The directory cannot be opened.
pub fn inodes_last(directory: &Path) -> io::Result<bool> {
    Ok(Kind::of(&walk::open(directory)?)?.inodes == Inodes::Last)
}

/// NFS and CIFS show a file as it was up to this long ago (`acregmin`), more if it has not changed for long.
const STABLE_WHERE_CACHED: Duration = Duration::from_secs(3);

/// On which terms the files of a root are judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Is it listed from time to time, instead of watched?
    pub polled: bool,
    /// Can a lease tell whether somebody writes to a file? NFS and CIFS refuse one without a writer, FUSE grants one
    /// with a writer behind the mount.
    pub leases: bool,
    /// Is the inode a part of a file's version?
    pub inodes_last: bool,
    /// Without leases: so long unchanged is complete.
    pub stable_for: Duration,
    /// Has each version of a file a time of its own? It has none where times are whole seconds, all the same.
    pub own_times: bool,
    /// On this device alone, where others may be mounted beneath the root …
    pub device: Option<u64>,
    /// … and has it on those?
    pub own_times_elsewhere: bool,
}

impl Default for Terms {
    fn default() -> Self {
        Terms {
            polled: false,
            leases: true,
            inodes_last: true,
            stable_for: Duration::from_secs(2),
            own_times: true,
            device: None,
            own_times_elsewhere: true,
        }
    }
}

impl Terms {
    /// What of a file's state tells its versions apart.
    pub fn stamp(&self, stat: Stat) -> Stat {
        if self.inodes_last { stat } else { Stat { inode: 0, ..stat } }
    }

    /// So long two versions of a file that looks like this may have the same time.
    pub fn grain(&self, stat: &Stat) -> Duration {
        let is_elsewhere = self.device.is_some_and(|device| device != stat.device);
        let own_times = if is_elsewhere { self.own_times_elsewhere } else { self.own_times };
        match (self.is_in_whole_seconds(stat), own_times) {
            (true, _) => Duration::from_secs(2),
            (false, true) => Duration::ZERO,
            (false, false) => Duration::from_millis(10),
        }
    }

    /// Where the kernel keeps whole seconds, it does so of both times. A modification time alone may have been set, as
    /// `tar` does; but FAT keeps the other one finer.
    fn is_in_whole_seconds(&self, stat: &Stat) -> bool {
        stat.mtime_nanos == 0 && (stat.ctime_nanos.is_multiple_of(1_000_000_000) || !self.inodes_last)
    }

    /// Is the stamp of a file that looked like this racy? It was looked at `within` these times (nanoseconds since 1970).
    /// If so, returns the grain.
    pub fn racy(&self, stat: &Stat, within: impl FnOnce() -> (u64, u64)) -> Option<Duration> {
        let grain = self.grain(stat);
        (!grain.is_zero() && is_racy(stat, grain, within())).then_some(grain)
    }
}

/// Was the file looked at, between these times, within a grain of its own time? One in the future was set by somebody,
/// and is not young.
pub fn is_racy(stat: &Stat, grain: Duration, (from, to): (u64, u64)) -> bool {
    let nanos = u64::try_from(grain.as_nanos()).unwrap_or(u64::MAX);
    let modified = stat.modified_nanos();
    nanos > 0 && modified <= to && modified.saturating_add(nanos) >= from
}

impl Tree {
    /// On which terms the files of a root are judged.
    pub fn terms(&self, watch: WatchId) -> Terms {
        self.terms.get(&watch).copied().unwrap_or_default()
    }

    /// This directory, about to be watched, may be on another file system than its root.
    pub(super) fn note_device(&mut self, watch: WatchId, directory: &OwnedFd) -> io::Result<()> {
        let Some(terms) = self.terms.get_mut(&watch) else { return Ok(()) };
        let is_coarse = match terms.device {
            Some(device) if terms.own_times_elsewhere && fstat(directory)?.st_dev != device => {
                !Kind::of(directory)?.gives_own_times()
            }
            _ => false,
        };
        terms.own_times_elsewhere &= !is_coarse;
        Ok(())
    }

    /// Notes on which terms the files of a root are judged.
    pub fn set_terms(&mut self, watch: WatchId, terms: Terms) {
        self.terms.insert(watch, terms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::Patterns;
    use crate::source::MayBeMissing;

    fn root(backend: Backend, stable_for: Option<Duration>) -> Root {
        Root {
            name: String::new(),
            path: "/".into(),
            recursive: true,
            cross_mounts: false,
            patterns: Patterns::default(),
            may_be_missing: MayBeMissing::No,
            backend,
            poll_every: Duration::from_secs(10),
            stable_for,
        }
    }

    #[test]
    fn what_inotify_cannot_see_is_polled_unless_it_is_told_otherwise() {
        let (nfs, ext4, fat) = (Kind::from_magic(0x6969), Kind::from_magic(0xef53), Kind::from_magic(0x4d44));
        let seconds = |n| Duration::from_secs(n);
        let terms = |kind: Kind, backend| kind.terms(&root(backend, None));
        assert_eq!(
            terms(nfs, Backend::Auto),
            Terms {
                polled: true,
                leases: false,
                inodes_last: true,
                stable_for: seconds(3),
                own_times: false,
                device: None,
                own_times_elsewhere: true
            }
        );
        assert_eq!(terms(nfs, Backend::Inotify), Terms { polled: false, ..terms(nfs, Backend::Auto) });
        let own_times = is_multigrain_kernel();
        assert_eq!(terms(ext4, Backend::Auto), Terms { own_times, ..Terms::default() });
        assert_eq!(terms(ext4, Backend::Poll), Terms { own_times, ..terms(nfs, Backend::Auto) });
        let of_fat = Terms { inodes_last: false, own_times: false, ..Terms::default() };
        assert_eq!(terms(fat, Backend::Auto), of_fat);
        assert_eq!(ext4.terms(&root(Backend::Auto, Some(seconds(9)))).stable_for, seconds(9));
    }

    #[test]
    fn each_number_is_there_once_and_an_unknown_one_is_local() {
        for (at, kind) in KINDS.iter().enumerate() {
            assert!(KINDS[..at].iter().all(|other| other.magic != kind.magic), "{kind:?}");
        }
        assert_ne!(Kind::from_magic(1), Kind::from_magic(2));
        assert!(Kind::from_magic(0x794c_7630).is_seen(), "overlayfs");
        assert!(
            !Kind::from_magic(0xff53_4d42).is_seen(),
            "a number that is negative where the field has 32 bits"
        );
    }

    #[test]
    fn kernels_are_told_apart() {
        for (release, is) in
            [("6.13.0-rc1\n", true), ("6.18.44-x", true), ("7.0", true), ("6.9.1", false), ("", false)]
        {
            assert_eq!(at_least(release, (6, 13)), is, "{release}");
        }
    }

    #[test]
    fn a_time_is_as_fine_as_its_file_system_unless_it_is_in_whole_seconds() {
        let stat = |mtime_nanos, ctime_nanos| Stat {
            device: 1,
            inode: 2,
            size: 3,
            mode: 0,
            mtime_seconds: 4,
            mtime_nanos,
            ctime_nanos,
        };
        let (coarse, seconds) = (Duration::from_millis(10), Duration::from_secs(2));
        let grain =
            |own_times, nanos, changed| Terms { own_times, ..Terms::default() }.grain(&stat(nanos, changed));
        assert_eq!([grain(true, 1, 5), grain(false, 1, 5)], [Duration::ZERO, coarse]);
        assert_eq!([grain(true, 0, 5_000_000_000), grain(false, 0, 5_000_000_000)], [seconds; 2]);
        assert_eq!([grain(true, 0, 5), grain(false, 0, 5)], [Duration::ZERO, coarse], "tar has set it");
        let fat = Terms { own_times: false, inodes_last: false, ..Terms::default() };
        assert_eq!(fat.grain(&stat(0, 5)), seconds);
        let crossed = |device, own_times_elsewhere| {
            Terms { device: Some(device), own_times_elsewhere, ..Terms::default() }.grain(&stat(1, 5))
        };
        assert_eq!([crossed(1, false), crossed(2, false)], [Duration::ZERO, coarse], "mounted beneath");
        assert_eq!(crossed(2, true), Duration::ZERO);
    }

    #[test]
    fn a_stamp_is_racy_within_a_grain_of_its_own_time_and_not_before_it() {
        let own = Stat {
            device: 1,
            inode: 2,
            size: 3,
            mode: 0,
            mtime_seconds: 1,
            mtime_nanos: 500,
            ctime_nanos: 0,
        };
        let time = own.modified_nanos();
        let racy = |own_times, from, to| Terms { own_times, ..Terms::default() }.racy(&own, || (from, to));
        let grain = Duration::from_millis(10);
        for (from, to, is) in [
            (time, time, true),
            (time - 1, time, true),
            (time + 10_000_000, time + 10_000_000, true),
            (time + 10_000_001, time + 10_000_001, false),
            (time - 2, time - 1, false),
        ] {
            assert_eq!(racy(false, from, to), is.then_some(grain), "{from} to {to}");
            assert_eq!(racy(true, from, to), None);
        }
    }
}
