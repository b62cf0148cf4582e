//! What the host lends a plugin: itself, and its log.

use std::cell::Cell;
use std::fmt;
use std::sync::OnceLock;

use crate::abi::{CallResult, HostApi_Ref, Text};

/// The host, as this instance sees it. Cheap to copy; all of it may be called from any thread, from `Plugin::new` until the
/// process ends, and never waits.
#[derive(Clone, Copy)]
pub struct Host {
    api: HostApi_Ref,
    context: u64,
}

impl Host {
    pub(crate) fn new(api: HostApi_Ref, context: u64) -> Self {
        Host { api, context }
    }

    /// Asks the host to stop, in an orderly way and with exit status 0, as `print` does when nobody reads its output
    /// any more. Returns at once; more events may come until the host has stopped.
    pub fn stop(&self, reason: &str) {
        self.api.stop()(self.context, Text::from_str(reason));
    }

    /// The name under which this instance runs: `alpha` of `[plugin.alpha]`. All its workers have the same, and two
    /// instances of one library never do: a plugin that keeps files of its own can name them by it. None if the host
    /// is older than 1.1 of this crate.
    pub fn instance(&self) -> Option<String> {
        let name = self.api.instance()?(self.context).into_string();
        (!name.is_empty()).then_some(name)
    }

    pub(crate) fn complete(&self, ticket: u64, result: CallResult) {
        if let Some(complete) = self.api.complete() {
            complete(self.context, ticket, result);
        }
    }

    /// Makes the log records of the current thread carry this instance's name. Calls of the plugin have it already;
    /// this is for threads that a plugin starts itself, whose records otherwise carry the name of the library's first
    /// instance.
    pub fn attach_thread(&self) {
        CURRENT.set(Some(*self));
    }

    /// Runs `f` with log records carrying this instance's name.
    pub(crate) fn during<T>(self, f: impl FnOnce() -> T) -> T {
        let before = CURRENT.replace(Some(self));
        let result = f();
        CURRENT.set(before);
        result
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("context", &self.context).finish_non_exhaustive()
    }
}

thread_local! {
    /// Whose call this thread is in. Several instances of one library share the `log` crate's one logger.
    static CURRENT: Cell<Option<Host>> = const { Cell::new(None) };
}

/// Who speaks on threads that are in no call and were not attached: a library's first instance. Not set in tests, where
/// nobody may speak for another's.
static FIRST: OnceLock<Host> = OnceLock::new();

/// Makes this instance speak for threads that belong to none; all but the first call do nothing.
pub(crate) fn speak_for_threads(host: Host) {
    let _ = FIRST.set(host);
}

fn speaker() -> Option<Host> {
    CURRENT.get().or_else(|| FIRST.get().copied())
}

/// Sends the `log` crate's records to the host. It is the plugin's own copy of that crate.
struct Bridge;

static BRIDGE: Bridge = Bridge;

/// Called before each `Plugin::new`; all but the first call do nothing.
pub(crate) fn install_logger() {
    if log::set_logger(&BRIDGE).is_ok() {
        log::set_max_level(log::LevelFilter::Trace);
    }
}

impl log::Log for Bridge {
    fn enabled(&self, metadata: &log::Metadata<'_>) -> bool {
        speaker().is_some_and(|host| {
            host.api.log_enabled()(host.context, level(metadata.level()), Text::from_str(metadata.target()))
        })
    }

    fn log(&self, record: &log::Record<'_>) {
        let Some(host) = speaker() else { return };
        if !self.enabled(record.metadata()) {
            return;
        }
        let literal = record.args().as_str();
        let formatted = if literal.is_none() { record.args().to_string() } else { String::new() };
        host.api.log()(
            host.context,
            level(record.level()),
            Text::from_str(record.target()),
            Text::from_str(literal.unwrap_or(&formatted)),
            Text::from_str(record.file().unwrap_or("")),
            record.line().unwrap_or(0),
        );
    }

    fn flush(&self) {}
}

/// 1 error, 2 warn, 3 info, 4 debug, 5 trace.
fn level(level: log::Level) -> u32 {
    match level {
        log::Level::Error => 1,
        log::Level::Warn => 2,
        log::Level::Info => 3,
        log::Level::Debug => 4,
        log::Level::Trace => 5,
    }
}
