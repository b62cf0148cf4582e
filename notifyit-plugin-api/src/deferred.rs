//! A verdict that comes later.

use std::path::Path;

use crate::abi::notes::{Emission, HandsOn, Notes, to_json};
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
    hands_on: HandsOn,
    emission: Emission,
}

impl Deferred {
    pub(crate) fn new(host: Host, ticket: u64, hands_on: HandsOn) -> Deferred {
        Deferred { host, ticket, hands_on, emission: Emission::default() }
    }

    /// As [`Event::emit`](crate::Event::emit), of the event that the verdict is about: if it is [`Deferred::complete`]d with
    /// `Ok`, its file goes on to other plugins. `[before that, on any thread]`
    ///
    /// # Errors
    ///
    /// See [`Event::emit`](crate::Event::emit).
    pub fn emit(&mut self) -> crate::Result<()> {
        self.hands_on.check()?;
        self.emission.own = true;
        Ok(())
    }

    /// As [`Event::emit_file`](crate::Event::emit_file). `[before the verdict, on any thread]`
    ///
    /// # Errors
    ///
    /// See [`Event::emit_file`](crate::Event::emit_file).
    pub fn emit_file(&mut self, path: impl AsRef<Path>) -> crate::Result<()> {
        self.hands_on.check()?;
        self.emission.add(path.as_ref())
    }

    /// Says what became of the event, as the return value of [`on_event`](crate::Plugin::on_event) does: with `Ok` it is
    /// finished, and never comes again: to be said when what was done is safe, for no [`flush`](crate::Plugin::flush) is
    /// waited for. Any error is a retry, or what
    /// [`Reject`](crate::Reject), [`RetryAfter`](crate::RetryAfter) and [`Unavailable`](crate::Unavailable) make of it.
    /// `[any thread, at any time; returns at once]`
    ///
    /// If the host does not wait for it any more, because the time of the event is over or the instance is gone, this
    /// changes nothing.
    pub fn complete(mut self, result: crate::Result<()>) {
        let mut result = guard::to_wire(verdict(result));
        result.notes = to_json(Notes::default(), &std::mem::take(&mut self.emission)).into();
        self.host.complete(self.ticket, result);
        // Its drop would tell another verdict.
        std::mem::forget(self);
    }
}

impl Drop for Deferred {
    fn drop(&mut self) {
        let result = CallResult::new(RETRY, "the plugin has dropped its deferred verdict");
        self.host.complete(self.ticket, result);
    }
}
