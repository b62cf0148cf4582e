//! Watching a directory and all beneath it.
//!
//! Whoever may write beneath a root may swap a directory for a link at any moment. So each directory is opened from
//! the root's own descriptor, following no link, and the watch is added through `/proc/self/fd`: what is watched is
//! what was opened.

use std::ffi::OsStr;
use std::io;
use std::ops::ControlFlow;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;

use super::Root;

/// The most bytes of a path that are handed to the kernel at once (its limit is 4,096, with the NUL).
const PIECE: usize = 4_000;

/// A root that is open: for looking at what is beneath it.
#[derive(Debug)]
pub(super) struct Top {
    pub(super) directory: OwnedFd,
    resolve: ResolveFlags,
}

/// Opens a directory that the user has named. Its own path may hold links: it is the user's.
pub(super) fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the directory above one, only to be looked at.
pub(super) fn open_above(directory: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(openat(directory, "..", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens a root.
pub(super) fn open_root(root: &Root) -> io::Result<Top> {
    let mounts = if root.cross_mounts { ResolveFlags::empty() } else { ResolveFlags::NO_XDEV };
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | mounts;
    Ok(Top { directory: open(&root.path)?, resolve })
}

impl Top {
    /// Opens a directory beneath the root for listing, at any depth, following no link, and onto another mount only if
    /// the root is to cross mounts: else that is `XDEV`, and the mount is not touched. An empty path is the root.
    pub(super) fn open_beneath(&self, relative: &[u8]) -> io::Result<OwnedFd> {
        if relative.is_empty() {
            return Ok(openat(&self.directory, ".", LIST, Mode::empty())?);
        }
        let mut rest = relative;
        let mut here: Option<OwnedFd> = None;
        while rest.len() > PIECE {
            let cut = rest[..PIECE].iter().rposition(|b| *b == b'/').ok_or(Errno::NAMETOOLONG)?;
            here = Some(self.step(here.as_ref(), &rest[..cut], PASS)?);
            rest = &rest[cut + 1..];
        }
        self.step(here.as_ref(), rest, LIST)
    }

    /// Lists the root, to see whether it is empty.
    pub(super) fn is_empty(&self) -> io::Result<bool> {
        let mut listing = Dir::new(self.open_beneath(b"")?)?;
        let is_own = |name: &[u8]| name == b"." || name == b"..";
        let other = listing.find(|entry| entry.as_ref().is_ok_and(|e| !is_own(e.file_name().to_bytes())));
        Ok(other.is_none())
    }

    fn step(&self, from: Option<&OwnedFd>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
        let from = from.unwrap_or(&self.directory);
        match openat2(from, path, flags, Mode::empty(), self.resolve) {
            // Kernels before 5.6, and sandboxes that do not know the call: one component after the other.
            Err(Errno::NOSYS | Errno::PERM) => {
                let mut here: Option<OwnedFd> = None;
                let mut parts = path.split(|b| *b == b'/').peekable();
                while let Some(part) = parts.next() {
                    let how = if parts.peek().is_some() { PASS } else { flags };
                    here = Some(openat(here.as_ref().unwrap_or(from), part, how, Mode::empty())?);
                }
                here.ok_or_else(|| Errno::NOENT.into())
            }
            other => Ok(other?),
        }
    }
}

const LIST: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
const PASS: OFlags = OFlags::PATH.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// The path through which a watch is added to what was opened.
pub(super) fn watch_path(directory: &OwnedFd) -> String {
    format!("/proc/self/fd/{}", directory.as_raw_fd())
}

/// Calls back with the name of each directory in a directory.
pub(super) fn for_each_directory(directory: OwnedFd, mut found: impl FnMut(&OsStr)) -> io::Result<()> {
    let mut listing = Dir::new(directory)?;
    while let Some(entry) = listing.next() {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name == b"." || name == b".." {
            continue;
        }
        let is_directory = match entry.file_type() {
            FileType::Directory => true,
            FileType::Unknown => is_directory(&listing, name),
            _ => false,
        };
        if is_directory {
            found(OsStr::from_bytes(name));
        }
    }
    Ok(())
}

/// Calls back with each name in a directory that is not, or may not be, a directory's, until it has enough.
pub(super) fn for_each_file(
    directory: OwnedFd,
    mut found: impl FnMut(BorrowedFd<'_>, &OsStr) -> ControlFlow<()>,
) -> io::Result<()> {
    let mut listing = Dir::new(directory)?;
    while let Some(entry) = listing.next() {
        let entry = entry?;
        if matches!(entry.file_type(), FileType::RegularFile | FileType::Unknown)
            && found(listing.fd()?, OsStr::from_bytes(entry.file_name().to_bytes())).is_break()
        {
            break;
        }
    }
    Ok(())
}

/// For file systems that do not tell types in a listing.
fn is_directory(listing: &Dir, name: &[u8]) -> bool {
    let Ok(fd) = listing.fd() else { return false };
    statat(fd, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Directory)
}
