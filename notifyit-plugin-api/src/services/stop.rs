//! Is the instance to come to its end?

use std::thread;
use std::time::Duration;

use super::Host;
use crate::abi::asks::{ENDS, STOPPING};

const WHAT: &str = "stop signal";

impl Host {
    /// Is this instance to come to its end: because the host stops, because its plugin is removed or replaced by newer code,
    /// or because it is dropped?
    ///
    /// A call that takes long asks it now and then, and if so saves what it has and returns: [`Ok`] if the file is handled,
    /// else any error, and the file comes again, in the next start or to the newer code. What lies in the queue may still
    /// be handed over after that, for as long as the user lets the host wait (`grace`); a plugin that handles its
    /// files in a moment need not ask. Once it is true it stays so. It is false on a host older than 1.2 of this crate.
    ///
    /// It costs a microsecond at most.
    ///
    /// ```
    /// # use notifyit_plugin_api::{bail, json, testing::TestHost, Event, Host, Plugin, Result};
    /// # use std::io::Read;
    /// struct Upload { host: Host }
    ///
    /// impl Plugin for Upload {
    ///     # type Config = ();
    ///     # fn new(_: (), host: Host) -> Result<Self> { Ok(Upload { host }) }
    ///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    ///         let (mut file, mut piece) = (event.open()?, vec![0; 1 << 20]);
    ///         while file.read(&mut piece)? > 0 {
    ///             // … send it …
    ///             if self.host.stopping() {
    ///                 bail!("the host stops"); // and the file comes again
    ///             }
    ///         }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut host = TestHost::start::<Upload>(json!({})).unwrap();
    /// host.write("a", "content").assert_done();
    /// host.stop();
    /// host.write("b", "content").assert_retry("the host stops");
    /// ```
    pub fn stopping(&self) -> bool {
        self.asked_to_stop(Duration::ZERO).unwrap_or(false)
    }

    /// Waits until [`Host::stopping`] is true, so long at most, and returns whether it is. What a thread of the plugin's own
    /// sleeps in, and what a handler pauses in.
    ///
    /// On a host older than 1.2 of this crate it waits for all of that time.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, log, testing::TestHost, Event, Host, Plugin, Result};
    /// # use std::time::Duration;
    /// # struct Ping(Option<std::thread::JoinHandle<()>>);
    /// impl Plugin for Ping {
    ///     # type Config = ();
    ///     fn new(_: (), host: Host) -> Result<Self> {
    ///         let ping = move || {
    ///             host.attach_thread();
    ///             while !host.wait_for_stop(Duration::from_secs(60)) {
    ///                 // … ping …
    ///             }
    ///             log::info!("no more pings");
    ///         };
    ///         Ok(Ping(Some(std::thread::spawn(ping))))
    ///     }
    ///     # fn on_event(&mut self, _: &Event<'_>) -> Result<()> { Ok(()) }
    ///     fn shutdown(&mut self) -> Result<()> {
    ///         self.0.take().map(|thread| thread.join());
    ///         Ok(())
    ///     }
    /// }
    ///
    /// let mut host = TestHost::start::<Ping>(json!({})).unwrap();
    /// host.stop();
    /// host.shutdown().assert_done();
    /// host.assert_logged("no more pings");
    /// ```
    pub fn wait_for_stop(&self, timeout: Duration) -> bool {
        self.asked_to_stop(timeout).unwrap_or_else(|| {
            thread::sleep(timeout);
            false
        })
    }

    /// Before the plugin is dropped: its own threads, which that may wait for, are to end.
    pub(crate) fn ends(&self) {
        let _ = self.ask(ENDS, &[], WHAT);
    }

    fn asked_to_stop(&self, within: Duration) -> Option<bool> {
        let nanos = u64::try_from(within.as_nanos()).unwrap_or(u64::MAX);
        let answer = self.ask(STOPPING, &nanos.to_le_bytes(), WHAT).ok()?;
        Some(answer.first() == Some(&1))
    }
}
