//! A verdict that comes later.

use crate::abi::{CallResult, RETRY, guard};
use crate::error::verdict;
use crate::services::Host;

/// The verdict on one event, which is still to come: made by [`Event::defer`](crate::Event::defer). It may be sent to any
/// thread or task, and [`Deferred::complete`]d there, once.
///
/// Dropped without that, by a panic or a task that is cancelled, say, it is an error like any other: the event is tried
/// again.
#[must_use = "dropped, it has the event tried again"]
#[derive(Debug)]
pub struct Deferred {
    host: Host,
    ticket: u64,
}

impl Deferred {
    pub(crate) fn new(host: Host, ticket: u64) -> Deferred {
        Deferred { host, ticket }
    }

    /// Says what became of the event, as the return value of [`on_event`](crate::Plugin::on_event) does: with `Ok` it is
    /// finished, and never comes again: to be said when what was done is safe, for no [`flush`](crate::Plugin::flush) is
    /// waited for. Any error is a retry, or what
    /// [`Reject`](crate::Reject), [`RetryAfter`](crate::RetryAfter) and [`Unavailable`](crate::Unavailable) make of it.
    /// `[any thread, at any time; returns at once]`
    ///
    /// If the host does not wait for it any more, because the time of the event is over or the instance is gone, this
    /// changes nothing.
    pub fn complete(self, result: crate::Result<()>) {
        self.tell(guard::to_wire(verdict(result)));
        // Its drop would tell another verdict.
        std::mem::forget(self);
    }

    fn tell(&self, result: CallResult) {
        self.host.complete(self.ticket, result);
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        self.tell(CallResult::new(RETRY, "the plugin has dropped its deferred verdict"));
    }
}
