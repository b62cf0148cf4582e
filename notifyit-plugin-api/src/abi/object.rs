//! The handler object.

use abi_stable::sabi_trait;
use abi_stable::std_types::{RBox, RSlice, RVec};

use super::types::{CallResult, ControlResult, EventRaw};

/// One instance of a plugin: each worker of a lane has its own, and calls it from its own thread alone.
///
/// Grows only by methods appended behind `control`, with a default body: see the growth rules in [`super`].
#[sabi_trait]
pub trait Handler: Send {
    /// One event. `[worker thread; never at the same time as another call of this object]`
    fn on_event(&mut self, event: &EventRaw<'_>) -> CallResult;

    /// End of a burst: what was reported as done must be safe now. `[worker thread; after at least one on_event]`
    fn flush(&mut self) -> CallResult;

    /// The last call before the object is dropped; not made after a panic. `[once; worker thread, or that of `create` if
    /// there was no other call]`
    fn shutdown(&mut self) -> CallResult;

    /// Anything else, by number. `[worker thread, between two events]`
    #[sabi(last_prefix_field)]
    fn control(&mut self, operation: u32, payload: RSlice<'_, u8>) -> ControlResult;

    /// Several events at once, of as many files: a result for each, in order. If one is [`PANICKED`](crate::abi::PANICKED), all
    /// are. `[as on_event; at most Info::in_flight of them]` Since 1.2.
    fn on_batch(&mut self, events: RSlice<'_, EventRaw<'_>>) -> RVec<CallResult> {
        events.iter().map(|event| self.on_event(event)).collect()
    }
}

/// A boxed [`Handler`], owned by the host; its code and its memory are the plugin's.
pub type HandlerBox = Handler_TO<'static, RBox<()>>;
