//! The socket's file: made for its owner alone, replaced if the host that made it is dead, removed at the end.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::{
    Access, AtFlags, FileType, FlockOperation, Mode, OFlags, StatxFlags, accessat, fchmod, flock, open,
    statat, statx, unlinkat,
};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, bind, connect, listen, socket_with,
};

use super::ask;

/// So many connections wait until the host comes to them.
const BACKLOG: i32 = 16;
/// So long another host may take to make its socket in the same directory.
const MADE_WITHIN: Duration = Duration::from_secs(1);

/// A socket that is listened at. Its drop removes it.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) listener: UnixListener,
    pub(super) spot: Arc<Spot>,
}

/// Where its file is.
#[derive(Debug)]
pub struct Spot {
    directory: OwnedFd,
    name: OsString,
    file: File,
}

impl Place {
    /// Listens at a path, which a dead host may have left.
    ///
    /// # Errors
    ///
    /// A host answers there; something else is there; the socket cannot be made.
    pub(super) fn claim(path: &Path) -> Result<Place> {
        Place::claimed(path).with_context(|| format!("failed to listen at {path:?}"))
    }

    fn claimed(path: &Path) -> Result<Place> {
        let (directory, name) = opened(path)?;
        // Of several hosts that find the same dead socket one replaces it. Where it cannot be had, there is no such lock.
        wait_for_lock(&directory);
        let address = address(path, &directory, name)?;
        make_room(&directory, name, path, &address)?;
        let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
        // The file gets the mode that the socket has when it is bound, but for the umask.
        fchmod(&socket, Mode::RUSR | Mode::WUSR)?;
        bind(&socket, &address).map_err(told)?;
        let stat = statat(&directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        let spot = Spot { file: file(&directory, name)?, directory, name: name.to_owned() };
        let place = Place { listener: UnixListener::from(socket), spot: Arc::new(spot) };
        if !(Mode::RWXG | Mode::RWXO).intersection(Mode::from_raw_mode(stat.st_mode)).is_empty() {
            bail!("its file system lets others connect; name another place with --socket");
        }
        listen(&place.listener, BACKLOG)?;
        place.listener.set_nonblocking(true)?;
        let _ = flock(&place.spot.directory, FlockOperation::Unlock);
        Ok(place)
    }
}

/// Could [`Place::claim`] make one there, if it had to be made?
///
/// # Errors
///
/// As [`Place::claim`], but for what is found out only when it is made, and another host.
pub(super) fn check(path: &Path) -> Result<()> {
    let check = || -> Result<()> {
        let (directory, name) = opened(path)?;
        address(path, &directory, name)?;
        is_socket(&directory, name)?;
        let access = Access::WRITE_OK | Access::EXEC_OK;
        Ok(accessat(&directory, ".", access, AtFlags::EACCESS).map_err(io::Error::from)?)
    };
    check().with_context(|| format!("failed to listen at {path:?}"))
}

/// Which file it is: its inode, and, for that may be used again at once, when it was made.
type File = (u64, i64, u32);

fn file(directory: &OwnedFd, name: &OsStr) -> io::Result<File> {
    let told = statx(directory, name, AtFlags::SYMLINK_NOFOLLOW, StatxFlags::INO | StatxFlags::BTIME)?;
    Ok((told.stx_ino, told.stx_btime.tv_sec, told.stx_btime.tv_nsec))
}

/// Another host listens there; which one.
#[derive(Debug)]
struct Taken(String);

impl fmt::Display for Taken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "another host{} listens there; name other places with --state-dir or --socket", self.0)
    }
}

impl std::error::Error for Taken {}

/// Is it that another host has the place?
pub fn is_taken(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| cause.is::<Taken>())
}

const FLAGS: SocketFlags = SocketFlags::CLOEXEC.union(SocketFlags::NONBLOCK);

impl Drop for Place {
    fn drop(&mut self) {
        self.spot.remove();
    }
}

impl Spot {
    /// Removes the file, unless something else has taken its place.
    pub fn remove(&self) {
        if file(&self.directory, &self.name).is_ok_and(|there| there == self.file) {
            let _ = unlinkat(&self.directory, &self.name, AtFlags::empty());
        }
    }
}

/// The directory that a path leads into, and the name there.
fn opened(path: &Path) -> io::Result<(OwnedFd, &OsStr)> {
    let name = path.file_name().ok_or_else(|| io::Error::from(Errno::INVAL))?;
    let directory = path.parent().unwrap_or(Path::new("/"));
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    Ok((open(directory, flags, Mode::empty())?, name))
}

fn wait_for_lock(directory: &OwnedFd) {
    let patience = Instant::now() + MADE_WITHIN;
    while flock(directory, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK)
        && Instant::now() < patience
    {
        thread::sleep(Duration::from_millis(5));
    }
}

/// A socket's address holds 107 bytes. A longer path is reached through its directory, which is open.
fn address(path: &Path, directory: &OwnedFd, name: &OsStr) -> Result<SocketAddrUnix> {
    let through = || PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name);
    match SocketAddrUnix::new(path).or_else(|_| SocketAddrUnix::new(through())) {
        Ok(address) => Ok(address),
        Err(_) => bail!("its name is too long for a socket; name another place with --socket"),
    }
}

/// What a dead host has left is removed.
fn make_room(directory: &OwnedFd, name: &OsStr, path: &Path, address: &SocketAddrUnix) -> Result<()> {
    if !is_socket(directory, name)? {
        return Ok(());
    }
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, FLAGS, None)?;
    match connect(&socket, address) {
        Err(Errno::CONNREFUSED) => Ok(unlinkat(directory, name, AtFlags::empty())?),
        // Nobody comes to those that wait: that is a living one, too.
        Ok(()) | Err(Errno::AGAIN) => {
            drop(socket);
            let who = ask::status(path).map(|answer| format!(" (process {})", answer.status.pid));
            bail!(Taken(who.unwrap_or_default()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Or is nothing there?
fn is_socket(directory: &OwnedFd, name: &OsStr) -> Result<bool> {
    let stat = match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Err(Errno::NOENT) => return Ok(false),
        stat => stat?,
    };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        bail!("something else is there; name another place with --socket");
    }
    Ok(true)
}

/// The kernel's word for a place where sockets cannot be is of no use.
fn told(error: Errno) -> anyhow::Error {
    match error {
        Errno::PERM | Errno::OPNOTSUPP | Errno::INVAL => anyhow::Error::new(io::Error::from(error))
            .context("no socket can be made on its file system; name another place with --socket"),
        error => io::Error::from(error).into(),
    }
}

/// Connects, within this time.
///
/// # Errors
///
/// Nothing is there; nobody listens; the path's last name is too long.
pub(super) fn connected(path: &Path, within: Duration) -> Result<OwnedFd> {
    let (directory, name) = opened(path)?;
    let address = address(path, &directory, name)?;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    rustix::net::sockopt::set_socket_timeout(&socket, rustix::net::sockopt::Timeout::Send, Some(within))?;
    connect(&socket, &address).map_err(io::Error::from)?;
    Ok(socket)
}
