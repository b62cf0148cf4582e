//! A private copy, which nobody can overwrite while it is loaded: `cp` over a mapped file ends the process, and
//! `dlopen` of a path that it has seen returns the library that it has.

use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{
    FlockOperation, MemfdFlags, SealFlags, StatVfsMountFlags, fcntl_add_seals, flock, memfd_create, statvfs,
};
use rustix::io::Errno;

/// Where this host's copies are: a private directory that no other host uses and that is removed at the end, or
/// memory.
#[derive(Debug)]
pub(super) enum Staging {
    /// A directory and its lock, by which the next host knows that this one lives.
    Directory(PathBuf, File),
    /// No directory would do.
    Memory,
}

impl Staging {
    /// Makes a private directory beneath the first of these that exists, is acceptable, and is not mounted noexec;
    /// and removes what dead hosts left in any of them.
    pub(super) fn open(candidates: &[PathBuf], acceptable: impl Fn(&Path) -> Result<(), String>) -> Staging {
        let mut staging = Staging::Memory;
        for dir in candidates.iter().filter_map(|dir| std::path::absolute(dir).ok()) {
            let usable = acceptable(&dir).and_then(|()| executable(&dir).map_err(|e| e.to_string()));
            if let Err(why) = usable {
                tracing::debug!("plugins are not staged beneath {dir:?}: {why}");
                continue;
            }
            remove_left_overs(&dir);
            if matches!(staging, Staging::Memory) {
                match make_directory(&dir) {
                    Ok((path, lock)) => staging = Staging::Directory(path, lock),
                    Err(error) => tracing::debug!("plugins are not staged beneath {dir:?}: {error}"),
                }
            }
        }
        staging
    }

    /// Copies what is left to read of `from`. `name` shows in backtraces and in `/proc/PID/maps`. Where the directory has
    /// no room, memory has to do.
    pub(super) fn copy(&self, from: &mut File, name: &OsStr) -> io::Result<Staged> {
        let Staging::Directory(dir, _) = self else { return in_memory(from, name) };
        let begin = from.stream_position()?;
        on_disk(dir, from, name).or_else(|error| {
            tracing::debug!("failed to stage a plugin in {dir:?}: {error}; it is staged in memory");
            from.seek(SeekFrom::Start(begin))?;
            in_memory(from, name)
        })
    }
}

fn on_disk(dir: &Path, from: &mut File, name: &OsStr) -> io::Result<Staged> {
    let mut unique = OsString::from(format!("{}-", fresh()));
    unique.push(tail(name));
    let path = dir.join(unique);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
    // From here on whatever fails removes it.
    let place = Place { path, memory: None };
    let hash = transfer(from, &mut file)?;
    // A worker process that has become another user loads it by its descriptor; the directory keeps others out.
    file.set_permissions(Permissions::from_mode(0o444))?;
    Staged::at(place, hash)
}

impl Drop for Staging {
    fn drop(&mut self) {
        if let Staging::Directory(path, _lock) = self
            && let Err(error) = fs::remove_dir_all(&*path)
        {
            tracing::debug!("failed to remove {path:?}: {error}");
        }
    }
}

/// A private copy; dropping it removes it, unless it is loaded.
#[derive(Debug)]
pub(super) struct Staged {
    place: Arc<Place>,
    hash: u64,
    /// Kept open: whoever tidies up `/tmp` may remove it, and a process that is started later has to load it, too.
    file: File,
}

/// Where a copy is.
#[derive(Debug)]
struct Place {
    path: PathBuf,
    /// If it is no file.
    memory: Option<File>,
}

impl Staged {
    fn at(place: Place, hash: u64) -> io::Result<Staged> {
        Ok(Staged { file: File::open(&place.path)?, place: Arc::new(place), hash })
    }

    /// What to give to the dynamic linker: a path that it has never seen.
    pub(super) fn path(&self) -> &Path {
        &self.place.path
    }

    /// The copy, open for reading; whoever loads it opens it anew by its descriptor.
    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// FNV-1a of the content.
    pub(super) fn hash(&self) -> u64 {
        self.hash
    }

    /// It is loaded now. A file stays until the host ends, for backtraces read it. A descriptor of memory stays open for
    /// ever: so its number, which is its path, can never come again.
    pub(super) fn keep(&self) {
        std::mem::forget(Arc::clone(&self.place));
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.memory.is_none() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// `dlopen` maps code, which a mount can forbid.
fn executable(dir: &Path) -> io::Result<()> {
    if statvfs(dir)?.f_flag.contains(StatVfsMountFlags::NOEXEC) {
        return Err(io::Error::other("it is mounted noexec"));
    }
    Ok(())
}

const PREFIX: &str = "notifyit-staged-";

/// A number that this process has not used before.
fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The end of a plugin file's name, short enough to be put behind a number.
fn tail(name: &OsStr) -> &OsStr {
    let bytes = name.as_bytes();
    OsStr::from_bytes(&bytes[bytes.len().saturating_sub(200)..])
}

fn make_directory(parent: &Path) -> io::Result<(PathBuf, File)> {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    for _ in 0..16 {
        let name = format!("{PREFIX}{}-{:x}-{}", std::process::id(), since.as_nanos(), fresh());
        let path = parent.join(name);
        DirBuilder::new().mode(0o700).create(&path)?;
        if let Some(lock) = lock_new(&path)? {
            return Ok((path, lock));
        }
    }
    Err(io::Error::other("other hosts removed it each time"))
}

/// Locks a directory that was just made. `None`: between the two steps another host took it for a left-over.
fn lock_new(dir: &Path) -> io::Result<Option<File>> {
    let path = dir.join("lock");
    let lock = match OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => return Ok(None),
        other => other?,
    }
    // Who got the lock first has removed the file that we hold.
    let still_there =
        fs::metadata(&path).is_ok_and(|now| lock.metadata().is_ok_and(|ours| ours.ino() == now.ino()));
    Ok(still_there.then_some(lock))
}

/// Removes the directories of hosts that live no more: of those, nobody holds the lock.
fn remove_left_overs(parent: &Path) {
    let us = rustix::process::geteuid().as_raw();
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for entry in entries.filter(|e| e.file_name().as_bytes().starts_with(PREFIX.as_bytes())) {
        let dir = entry.path();
        // The entry's own metadata: a link is not followed.
        if entry.metadata().is_ok_and(|stat| stat.is_dir() && stat.uid() == us)
            && let Err(error) = remove_left_over(&dir)
        {
            tracing::debug!("failed to remove the left-over {dir:?}: {error}");
        }
    }
}

fn remove_left_over(dir: &Path) -> io::Result<()> {
    let lock = match OpenOptions::new().read(true).write(true).open(dir.join("lock")) {
        // Its host died, or is, between making the directory and the lock: then it tries again.
        Err(error) if error.kind() == io::ErrorKind::NotFound => return fs::remove_dir(dir),
        other => other?,
    };
    match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
        Err(Errno::WOULDBLOCK) => Ok(()),
        Err(error) => Err(error.into()),
        Ok(()) => fs::remove_dir_all(dir),
    }
}

fn in_memory(from: &mut File, name: &OsStr) -> io::Result<Staged> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    let memfd = match memfd_create(tail(name), flags | MemfdFlags::EXEC) {
        // Kernels before 6.3 do not know the flag, and do not need it.
        Err(Errno::INVAL) => memfd_create(tail(name), flags),
        other => other,
    };
    let mut file = File::from(memfd?);
    let hash = transfer(from, &mut file)?;
    fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    let path = PathBuf::from(format!("/proc/self/fd/{}", file.as_raw_fd()));
    Staged::at(Place { path, memory: Some(file) }, hash)
}

/// The FNV-1a of a regular file's content.
pub(super) fn fingerprint(path: &Path) -> io::Result<u64> {
    let mut file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    transfer(&mut file, &mut io::sink())
}

/// Copies in small pieces, so that a large plugin leaves no large hole in the heap; returns the content's FNV-1a.
fn transfer(from: &mut File, to: &mut impl Write) -> io::Result<u64> {
    let mut buffer = vec![0; 64 * 1024];
    let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(hash),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            other => other?,
        };
        for byte in &buffer[..read] {
            hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
        to.write_all(&buffer[..read])?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::FileExt;

    fn open(dir: &Path) -> Staging {
        Staging::open(&[dir.to_owned()], |_| Ok(()))
    }

    fn directory(staging: &Staging) -> PathBuf {
        match staging {
            Staging::Directory(path, _) => path.clone(),
            Staging::Memory => panic!("staged in memory"),
        }
    }

    fn source(dir: &Path, text: &str) -> File {
        fs::write(dir.join("source"), text).unwrap();
        File::open(dir.join("source")).unwrap()
    }

    fn content(staged: &Staged) -> String {
        fs::read_to_string(staged.path()).unwrap()
    }

    #[test]
    fn the_directory_is_private_and_goes_at_the_end() {
        let parent = tempfile::tempdir().unwrap();
        let staging = open(parent.path());
        let dir = directory(&staging);
        assert_eq!(fs::metadata(&dir).unwrap().permissions().mode() & 0o777, 0o700);
        let copy = staging.copy(&mut source(parent.path(), "x"), OsStr::new("x.so")).unwrap();
        assert_eq!(fs::metadata(copy.path()).unwrap().permissions().mode() & 0o777, 0o444);
        copy.keep();
        drop(staging);
        assert!(!dir.exists());
    }

    #[test]
    fn two_copies_never_have_one_path() {
        let parent = tempfile::tempdir().unwrap();
        let long = "n".repeat(255);
        for staging in [open(parent.path()), Staging::Memory] {
            let copy =
                |name: &str| staging.copy(&mut source(parent.path(), "abc"), OsStr::new(name)).unwrap();
            let (one, two) = (copy("x.so"), copy(&long));
            assert_ne!(one.path(), two.path());
            assert_eq!((content(&one), content(&two)), ("abc".into(), "abc".into()));
            assert_eq!((one.hash(), one.hash()), (two.hash(), 0xe71f_a219_0541_574b));
            let path = one.path().to_owned();
            one.keep();
            drop(one);
            assert!(path.exists());
            assert_ne!(copy("x.so").path(), path);
        }
    }

    /// Of code that is replaced again and again there is one for each time.
    #[test]
    fn a_file_that_is_kept_holds_no_descriptor() {
        let parent = tempfile::tempdir().unwrap();
        let staging = open(parent.path());
        let staged = staging.copy(&mut source(parent.path(), "x"), OsStr::new("x.so")).unwrap();
        let path = staged.path().to_owned();
        let is_open = || {
            let mut all = fs::read_dir("/proc/self/fd").unwrap().flatten();
            all.any(|fd| fs::read_link(fd.path()).is_ok_and(|link| link == path))
        };
        staged.keep();
        assert!(is_open());
        drop(staged);
        assert!(!is_open());
    }

    #[test]
    fn what_is_not_loaded_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let staging = open(parent.path());
        let staged = staging.copy(&mut source(parent.path(), "x"), OsStr::new("x.so")).unwrap();
        let path = staged.path().to_owned();
        drop(staged);
        assert!(!path.exists());
    }

    #[test]
    fn a_copy_in_memory_cannot_be_changed() {
        let parent = tempfile::tempdir().unwrap();
        let staged = Staging::Memory.copy(&mut source(parent.path(), "x"), OsStr::new("x.so")).unwrap();
        assert!(staged.place.memory.as_ref().unwrap().write_at(b"y", 0).is_err());
    }

    #[test]
    fn what_dead_hosts_left_is_removed_and_nothing_else() {
        let parent = tempfile::tempdir().unwrap();
        let at = |name: &str| parent.path().join(name);
        let living = open(parent.path());
        for dead in ["notifyit-staged-1-a", "notifyit-staged-2-b", "other"] {
            fs::create_dir(at(dead)).unwrap();
        }
        fs::write(at("notifyit-staged-2-b/lock"), "").unwrap();
        fs::write(at("notifyit-staged-2-b/1-x.so"), "").unwrap();
        std::os::unix::fs::symlink(at("other"), at("notifyit-staged-link")).unwrap();
        let second = open(parent.path());
        assert!(!at("notifyit-staged-1-a").exists() && !at("notifyit-staged-2-b").exists());
        assert!(at("other").exists() && at("notifyit-staged-link").exists());
        assert!(directory(&living).exists() && directory(&second).exists());
    }

    #[test]
    fn a_directory_that_was_taken_for_a_left_over_is_noticed() {
        let parent = tempfile::tempdir().unwrap();
        let dir = parent.path().join("notifyit-staged-x");
        assert!(lock_new(&dir).unwrap().is_none());
        fs::create_dir(&dir).unwrap();
        assert!(lock_new(&dir).unwrap().is_some());
    }

    #[test]
    fn the_first_directory_that_will_do_is_taken() {
        let parent = tempfile::tempdir().unwrap();
        let candidates = [parent.path().join("missing"), parent.path().to_owned()];
        let staging = Staging::open(&candidates, |_| Ok(()));
        assert!(directory(&staging).starts_with(parent.path()));
        assert!(matches!(Staging::open(&candidates, |_| Err("no".into())), Staging::Memory));
        assert!(matches!(Staging::open(&[], |_| Ok(())), Staging::Memory));
    }
}
