//! Harm by way of descriptors.

use std::fs::{File, OpenOptions};
use std::ops::Range;
use std::os::fd::{AsRawFd, IntoRawFd};
use std::time::Duration;

use notifyit_plugin_api::Result;

use crate::harms::done;

pub(crate) fn open_all() -> Result<()> {
    while let Ok(file) = File::open("/dev/null") {
        let _ = file.into_raw_fd();
    }
    Ok(())
}

pub(crate) fn close(which: Range<i32>) -> Result<()> {
    for fd in which {
        // SAFETY: none: they belong to others.
        unsafe { libc::close(fd) };
    }
    Ok(())
}

pub(crate) fn no_blocking() -> Result<()> {
    for fd in 0..3 {
        // SAFETY: it touches no memory.
        unsafe { libc::fcntl(fd, libc::F_SETFL, libc::fcntl(fd, libc::F_GETFL) | libc::O_NONBLOCK) };
    }
    Ok(())
}

pub(crate) fn write_garbage() -> Result<()> {
    let mut garbage = [0xa5_u8; 512];
    // Where there are lines the next one is whole.
    garbage[511] = b'\n';
    for fd in pipes_and_sockets() {
        // SAFETY: the buffer is as long as is said.
        unsafe { libc::write(fd, garbage.as_ptr().cast(), garbage.len()) };
    }
    Ok(())
}

/// For whoever reads frames: the length of something that never comes. Where there are lines they are empty ones.
pub(crate) fn drip() -> Result<()> {
    let write = |bytes: &[u8]| {
        for fd in pipes_and_sockets() {
            // SAFETY: the bytes are as many as is said.
            unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
        }
    };
    write(&[0, 0, 16, 0, b'\n']);
    loop {
        std::thread::sleep(Duration::from_millis(1));
        write(b"\n");
    }
}

pub(crate) fn read_away() -> Result<()> {
    let mut buffer = [0_u8; 4096];
    for fd in pipes_and_sockets() {
        // SAFETY: the buffer is as long as is said. What is read belongs to others.
        unsafe {
            let mut ready = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
            while libc::poll(&mut ready, 1, 0) == 1
                && libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) > 0
            {}
        }
    }
    Ok(())
}

/// All that are open but stdin, stdout and stderr.
fn pipes_and_sockets() -> Vec<i32> {
    let links =
        (3..1024).filter_map(|fd| Some((fd, std::fs::read_link(format!("/proc/self/fd/{fd}")).ok()?)));
    let ours = links.filter(|(_, link)| {
        let link = link.to_string_lossy();
        link.starts_with("pipe:") || link.starts_with("socket:")
    });
    ours.map(|(fd, _)| fd).collect()
}

/// A file of its own, which is no longer there.
pub(crate) fn lock() -> Result<()> {
    let path = std::env::temp_dir().join(format!("notifyit-misbehaves-{}", std::process::id()));
    let file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path)?;
    std::fs::remove_file(path)?;
    // SAFETY: all zeros is a valid lock: of the whole file, from its beginning.
    let mut lock: libc::flock = unsafe { std::mem::zeroed() };
    lock.l_type = libc::c_short::try_from(libc::F_WRLCK)?;
    // SAFETY: the structure is read alone.
    done(unsafe { libc::fcntl(file.into_raw_fd().as_raw_fd(), libc::F_SETLKW, &lock) })
}
