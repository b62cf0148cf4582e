//! The trait that an author implements.

use crate::Result;
use crate::config::Config;
use crate::event::Event;
use crate::kind::Kind;
use crate::services::Host;

/// A plugin. One instance lives in each worker of its lane; an instance is never called from two threads at once,
/// so a plugin needs no locks.
///
/// Panics are caught: the instance is dropped, a new one is made, and the event is tried again.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not a plugin yet",
    label = "needs `impl Plugin for {Self}` with `type Config`, `fn new` and `fn on_event`",
    note = "see the front page of notifyit-plugin-api for a whole plugin in 20 lines"
)]
pub trait Plugin: Send + Sized + 'static {
    /// What the user writes under `[plugin.NAME.config]`: a struct with [`#[config]`](macro@crate::config), or `()`.
    type Config: Config;

    /// The kinds of events that it wants if the user does not say otherwise. `[read when the library is loaded, as are the
    /// other constants]`
    const EVENTS: &'static [Kind] = &[Kind::Landed];

    /// The most workers that it can have: 1 if its state must see every file.
    const MAX_WORKERS: u16 = u16::MAX;

    /// Does it never open the file of an event for writing? Then the host need not remember each call to tell the
    /// plugin's own closes from those of others, which saves some time for each event. If it says so and writes all the
    /// same, it gets the file again.
    const READS_ONLY: bool = false;

    /// How many events it may have in hand at a time: in one call of [`Plugin::on_batch`], and
    /// [deferred](Event::defer). 1: one after the other, and `on_event` alone is called. The user may allow less
    /// (`in_flight`).
    const IN_FLIGHT: u16 = 1;

    /// Makes an instance. `[before its first event, and again after a panic, on the worker's thread; or on another one of
    /// the host's, if the instance is to take the place of older code that is still at work]`
    ///
    /// # Errors
    ///
    /// An error at the start of a host that was told to run this plugin ends it; later the host tries again, with growing
    /// pauses, or, after a [`Reject`](crate::Reject), when the plugin's file or configuration changes.
    fn new(config: Self::Config, host: Host) -> Result<Self>;

    /// Handles one event. `[on the worker's thread]`
    ///
    /// # Errors
    ///
    /// `Ok` = done. Any error = try again later, with growing pauses; [`RetryAfter`](crate::RetryAfter) in its chain
    /// asks for a longer one, [`Unavailable`](crate::Unavailable) says that it is not this file's fault,
    /// [`Reject`](crate::Reject) that it can never work. A text is no error: see [`Result`].
    fn on_event(&mut self, event: &Event<'_>) -> Result<()>;

    /// Handles several events, of as many files: what lay before the worker when it came to the first, nobody waits for more.
    /// Called instead of `on_event`, for a single event too, if [`IN_FLIGHT`](Plugin::IN_FLIGHT) is more than 1, and at
    /// most with so many. `[as on_event]` What has failed before comes alone.
    ///
    /// A host that is older than 1.2 of this crate calls `on_event`, which may then be
    /// `self.on_batch(std::slice::from_ref(event))`.
    ///
    /// # Errors
    ///
    /// As `on_event`: the verdict of each event that has no other by [`Event::settle`] or [`Event::defer`]. After a panic
    /// all of the batch are tried again, one at a time: so the one that is at fault is found.
    fn on_batch(&mut self, events: &[Event<'_>]) -> Result<()> {
        for event in events {
            let result = self.on_event(event);
            if result.is_err() {
                event.settle(result);
            }
        }
        Ok(())
    }

    /// End of a burst: what `on_event` called done must be safe when this returns. For plugins that buffer.
    /// `[on the worker's thread, when no event is waiting, and at least every 1,024 events; never without one, but whatever its
    /// verdict was; a deferred one is not waited for]`
    ///
    /// # Errors
    ///
    /// An error makes every event of the burst a retry.
    fn flush(&mut self) -> Result<()> {
        Ok(())
    }

    /// The last call before the drop, not made after a panic. `[once, after a flush; on the worker's thread, or, of an
    /// instance that never got an event, on that of `new`]`
    ///
    /// # Errors
    ///
    /// An error is logged.
    fn shutdown(&mut self) -> Result<()> {
        Ok(())
    }
}
