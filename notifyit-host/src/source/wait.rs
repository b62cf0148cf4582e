//! What the loop waits for: the kernel's events, requests of other threads, a change of the mount table.

use std::time::Duration;

use anyhow::{Context, Result};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::Sink;
use super::inotify::Source;

/// What there is to do.
#[derive(Debug, Default)]
pub(super) struct Ready {
    /// Events are queued.
    pub(super) events: bool,
    /// Another thread has asked for something.
    pub(super) requests: bool,
    /// Something was mounted or unmounted.
    pub(super) mounts: bool,
}

impl<S: Sink> Source<S> {
    /// Waits until there is something to do, `None` for ever.
    pub(super) fn wait(&self, timeout: Option<Duration>) -> Result<Ready> {
        let timeout = timeout.map(|t| Timespec {
            tv_sec: i64::try_from(t.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(t.subsec_nanos()),
        });
        let wake = self.handle.wake();
        let mut fds = vec![PollFd::new(&self.inotify, PollFlags::IN), PollFd::new(&wake, PollFlags::IN)];
        fds.extend(self.mounts.poll_fd());
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) => {}
            Err(Errno::INTR) => return Ok(Ready::default()),
            Err(error) => return Err(error).context("failed to poll"),
        }
        let is_ready = |place: usize| fds.get(place).is_some_and(|fd| !fd.revents().is_empty());
        Ok(Ready { events: is_ready(0), requests: is_ready(1), mounts: is_ready(2) })
    }
}
