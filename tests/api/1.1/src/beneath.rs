//! Opening a file beneath a directory that others may write to, without being led elsewhere.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Component, Path};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;

/// Opens `relative` beneath `root` for reading: no symbolic link anywhere beneath `root`, a regular file, and the
/// inode that is expected. A FIFO or a device is never waited for.
pub(crate) fn open(root: &Path, relative: &Path, device: u64, inode: u64) -> io::Result<File> {
    let root = openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let file = match openat2(&root, relative, flags, Mode::empty(), resolve) {
        // Kernels before 5.6, and sandboxes that do not know the call.
        Err(Errno::NOSYS | Errno::PERM) => step_by_step(root, relative, flags)?,
        other => other?,
    };
    let stat = fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    if (stat.st_dev, stat.st_ino) != (device, inode) {
        return Err(io::Error::other("another file has taken the place of the one in the event"));
    }
    Ok(File::from(file))
}

/// What `openat2` does, component by component: each opened without following a link.
fn step_by_step(root: OwnedFd, relative: &Path, last: OFlags) -> io::Result<OwnedFd> {
    let mut here = root;
    let mut parts = relative.components().peekable();
    while let Some(part) = parts.next() {
        let Component::Normal(name) = part else { return Err(Errno::XDEV.into()) };
        let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let flags = if parts.peek().is_some() { directory } else { last };
        here = openat(&here, name, flags, Mode::empty())?;
    }
    Ok(here)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::unix::fs::{MetadataExt, symlink};

    fn temp(name: &str) -> std::path::PathBuf {
        let dir = std::env::temp_dir().join(format!("notifyit-beneath-{}-{name}", std::process::id()));
        let _ = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(dir.join("in/sub")).unwrap();
        std::fs::write(dir.join("in/sub/file"), "hello").unwrap();
        std::fs::write(dir.join("secret"), "secret").unwrap();
        dir
    }

    #[test]
    fn opens_the_expected_file_and_nothing_else() {
        let dir = temp("plain");
        let root = dir.join("in");
        let meta = std::fs::metadata(root.join("sub/file")).unwrap();
        let (dev, ino) = (meta.dev(), meta.ino());
        let mut text = String::new();
        open(&root, Path::new("sub/file"), dev, ino).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "hello");
        assert!(open(&root, Path::new("sub/file"), dev, ino + 1).is_err());
        assert!(open(&root, Path::new("../secret"), dev, ino).is_err());
        assert!(open(&root, Path::new("sub"), dev, ino).is_err());
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn a_link_is_refused_as_the_file_and_as_a_parent() {
        let dir = temp("link");
        let root = dir.join("in");
        let secret = std::fs::metadata(dir.join("secret")).unwrap();
        symlink(dir.join("secret"), root.join("link")).unwrap();
        symlink(&dir, root.join("parent")).unwrap();
        for path in ["link", "parent/secret"] {
            let error = open(&root, Path::new(path), secret.dev(), secret.ino()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::LOOP.raw_os_error()), "{path}: {error}");
        }
        std::fs::remove_dir_all(dir).unwrap();
    }

    #[test]
    fn the_way_without_openat2_refuses_the_same() {
        let dir = temp("steps");
        let root = || openat(CWD, dir.join("in"), OFlags::PATH, Mode::empty()).unwrap();
        let last = OFlags::RDONLY | OFlags::NOFOLLOW;
        symlink("sub", dir.join("in/parent")).unwrap();
        symlink("sub/file", dir.join("in/link")).unwrap();
        assert!(step_by_step(root(), Path::new("sub/file"), last).is_ok());
        for path in ["parent/file", "link", "../secret", "/etc/passwd"] {
            assert!(step_by_step(root(), Path::new(path), last).is_err(), "{path}");
        }
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
