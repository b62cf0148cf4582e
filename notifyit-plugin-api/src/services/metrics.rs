//! Figures of a plugin's own.

use std::sync::Once;

use super::{Host, Unanswered};
use crate::abi::asks::{COUNT, GAUGE};

impl Host {
    /// Adds to a counter: a figure of the plugin's own that only grows, and is shown by `notifyit status` beside the host's
    /// own, added up over the workers and since the host has started (also over newer code and instances that were made anew).
    ///
    /// The name is made of `a-z`, `0-9` and `_`, begins with no digit, has 64 bytes at most, and is that of a counter or of a
    /// gauge, not both; an instance has 64 figures at most. What is not so is left out, and said once in the log. It never
    /// waits for anything, never fails, and costs a microsecond at most; on a host older than 1.2 of this crate it does
    /// nothing, and says so once.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Rows { host: Host, pending: Vec<u64> }
    /// impl Plugin for Rows {
    ///     # type Config = ();
    ///     # fn new(_: (), host: Host) -> Result<Self> { Ok(Rows { host, pending: Vec::new() }) }
    ///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    ///         let rows = std::io::read_to_string(event.open()?)?.lines().count();
    ///         self.pending.push(rows as u64);
    ///         self.host.gauge("files_pending", self.pending.len() as f64);
    ///         Ok(())
    ///     }
    ///     fn flush(&mut self) -> Result<()> {
    ///         self.host.count("rows_written", self.pending.drain(..).sum());
    ///         self.host.gauge("files_pending", 0.0);
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut host = TestHost::start::<Rows>(json!({})).unwrap();
    /// host.event("a").content("1\n2").deliver().assert_done();
    /// assert_eq!(host.metric("files_pending"), Some(1.0));
    /// host.flush().assert_done();
    /// assert_eq!((host.metric("rows_written"), host.metric("files_pending")), (Some(2.0), Some(0.0)));
    /// ```
    pub fn count(&self, name: &str, more: u64) {
        self.figure(COUNT, more.to_le_bytes(), name);
    }

    /// Sets a gauge: a figure of the plugin's own that goes up and down. Each worker has its own, and `notifyit status` shows
    /// their sum; it goes with its instance. For all else see [`Host::count`]; a value that is no finite number is left out.
    pub fn gauge(&self, name: &str, value: f64) {
        self.figure(GAUGE, value.to_le_bytes(), name);
    }

    fn figure(&self, operation: u32, value: [u8; 8], name: &str) {
        static SAID: Once = Once::new();
        let payload = [&value[..], name.as_bytes()].concat();
        if let Err(why @ Unanswered::OlderHost(_)) =
            self.ask(operation, &payload, "figures of a plugin's own")
        {
            SAID.call_once(|| self.during(|| log::warn!("{:#}", why.into_error())));
        }
    }
}
