//! The `log` crate's records, on their way to the host, and whose they are.

use std::cell::Cell;
use std::sync::OnceLock;

use super::Host;
use crate::abi::Text;

impl Host {
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
