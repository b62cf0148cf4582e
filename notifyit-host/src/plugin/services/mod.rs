//! What the plugins call: the host's log, its stop, their own names, and what they ask for by number.
//!
//! | file | holds |
//! |---|---|
//! | `grant` | who calls: a name, the code that runs under it, each of its instances |
//! | `signal` | an instance is to come to its end |
//! | `metrics` | figures of a plugin's own |
//! | `shelf` | the plugins' stores, in the state directory |
//!
//! The functions that a plugin calls have no state but a number, the *context*; what the numbers stand for is
//! therefore kept once per process, for as long as it lives. In the process of an isolated plugin they stand for the
//! same; what only the host has goes to it.

mod grant;
mod metrics;
mod shelf;
mod signal;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use notifyit_plugin_api::abi::asks::{
    COUNT, ENDS, GAUGE, STOPPING, STORE_GET, STORE_KEYS, STORE_OPEN, STORE_PUT, STORE_REMOVE,
};
use notifyit_plugin_api::abi::{DONE, UNKNOWN_OPERATION};

use self::grant::{Client, caller};
use self::shelf::Shelf;
use crate::log::one_line;

pub(super) use self::grant::Entry;
pub use self::grant::Grant;
pub use self::metrics::Metrics;
pub(super) use self::metrics::Tally;
pub use self::shelf::forget;
pub(super) use self::signal::Signal;

/// A status of the wire, and what comes with it.
pub(super) type Answer = (u32, Vec<u8>);

/// What the host lends its plugins. Cheap to clone.
#[derive(Clone)]
pub struct Services(Arc<Lends>);

type Stop = dyn Fn(&str, &str) + Send + Sync;

struct Lends {
    stop: Box<Stop>,
    shelf: Shelf,
    is_stopping: AtomicBool,
}

impl Services {
    /// Without a store. `stop` is called with an instance's name and its reason when that instance asks the host to stop:
    /// on any thread, any number of times; it must not block.
    pub fn new(stop: impl Fn(&str, &str) + Send + Sync + 'static) -> Services {
        Services::with_state(stop, None)
    }

    /// The same, with the plugins' stores in this directory, if there is one.
    pub fn with_state(
        stop: impl Fn(&str, &str) + Send + Sync + 'static,
        directory: Option<&Path>,
    ) -> Services {
        let (stop, shelf) = (Box::new(stop), Shelf::new(directory));
        Services(Arc::new(Lends { stop, shelf, is_stopping: AtomicBool::new(false) }))
    }

    /// What is lent to one code under this name.
    pub fn grant(&self, name: &str) -> Grant {
        Grant::new(Client::of(&self.0, name))
    }

    /// The host stops: every instance is to come to its end, and all that are made yet.
    pub fn host_stops(&self) {
        self.0.is_stopping.store(true, Ordering::SeqCst);
        Client::all_of(&self.0).iter().for_each(|client| client.end_all());
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

/// In the process of an isolated plugin: the ways to its host.
pub(super) struct ToHost {
    /// Up to which level it wants records.
    pub(super) most: u32,
    pub(super) log: Box<Log>,
    pub(super) ask: Box<Ask>,
}

type Log = dyn Fn(u32, &str) + Send + Sync;
type Ask = dyn Fn(u32, &[u8]) -> Answer + Send + Sync;

static TO_HOST: OnceLock<ToHost> = OnceLock::new();

/// From now on this process's plugins log to its host, and ask it.
pub(super) fn go_to_host(ways: ToHost) {
    let _ = TO_HOST.set(ways);
}

/// The least severe level of which a record would be written.
pub(super) fn most_enabled() -> u32 {
    (1..=5).take_while(|level| enabled(*level)).last().unwrap_or(0)
}

/// Would a record of this level (1 error … 5 trace) be written?
pub(super) fn enabled(level: u32) -> bool {
    if let Some(to_host) = TO_HOST.get() {
        return level <= to_host.most;
    }
    match level {
        0 | 1 => tracing::enabled!(target: "plugin", tracing::Level::ERROR),
        2 => tracing::enabled!(target: "plugin", tracing::Level::WARN),
        3 => tracing::enabled!(target: "plugin", tracing::Level::INFO),
        4 => tracing::enabled!(target: "plugin", tracing::Level::DEBUG),
        _ => tracing::enabled!(target: "plugin", tracing::Level::TRACE),
    }
}

/// Writes a plugin's record to the log: target `plugin`, the instance's name in the field `plugin`.
pub(super) fn log(number: u64, level: u32, message: &str) {
    if !enabled(level) {
        return;
    }
    if let Some(to_host) = TO_HOST.get() {
        return (to_host.log)(level, message);
    }
    let caller = caller(number);
    let plugin = caller.as_ref().map_or("?", |(client, _)| client.name());
    let message = one_line(message);
    match level {
        0 | 1 => tracing::error!(target: "plugin", plugin, "{message}"),
        2 => tracing::warn!(target: "plugin", plugin, "{message}"),
        3 => tracing::info!(target: "plugin", plugin, "{message}"),
        4 => tracing::debug!(target: "plugin", plugin, "{message}"),
        _ => tracing::trace!(target: "plugin", plugin, "{message}"),
    }
}

/// The name of the instance with this context; empty if there is none.
pub(super) fn instance(number: u64) -> String {
    caller(number).map_or_else(String::new, |(client, _)| client.name().to_owned())
}

/// Hands a plugin's wish to stop to the host.
pub(super) fn stop(number: u64, reason: &str) {
    if let Some((client, _)) = caller(number) {
        (client.lends().stop)(client.name(), reason);
    }
}

/// What a plugin asks for, as [`asks`](notifyit_plugin_api::abi::asks) lists it.
pub(super) fn ask(number: u64, operation: u32, payload: &[u8]) -> Answer {
    match operation {
        STOPPING => {
            let is_ending = caller(number).is_none_or(|(client, serial)| client.is_ending(serial, payload));
            (DONE, vec![u8::from(is_ending)])
        }
        ENDS => {
            caller(number).inspect(|(client, serial)| client.ends(*serial));
            (DONE, Vec::new())
        }
        COUNT | GAUGE => {
            let left_out =
                caller(number).and_then(|(client, serial)| client.figure(serial, operation, payload));
            if let Some(left_out) = left_out {
                log(number, WARN, &left_out);
            }
            (DONE, Vec::new())
        }
        _ => match TO_HOST.get() {
            Some(to_host) => (to_host.ask)(operation, payload),
            None => ask_host(number, operation, payload),
        },
    }
}

const WARN: u32 = 2;

/// The part of it that the host alone has.
pub(super) fn ask_host(number: u64, operation: u32, payload: &[u8]) -> Answer {
    match (operation, caller(number)) {
        (STORE_OPEN | STORE_GET | STORE_PUT | STORE_REMOVE | STORE_KEYS, Some((client, _))) => {
            client.lends().shelf.answer(client.name(), operation, payload)
        }
        _ => (UNKNOWN_OPERATION, Vec::new()),
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use std::sync::Mutex;

    /// What the log says of what `f` logs, at INFO.
    pub(in crate::plugin) fn logged(f: impl FnOnce()) -> String {
        #[derive(Clone, Default)]
        struct Buffer(Arc<Mutex<Vec<u8>>>);
        impl std::io::Write for Buffer {
            fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
                self.0.lock().unwrap().write(bytes)
            }
            fn flush(&mut self) -> std::io::Result<()> {
                Ok(())
            }
        }
        let buffer = Buffer::default();
        let writer = buffer.clone();
        let subscriber =
            tracing_subscriber::fmt().with_ansi(false).without_time().with_writer(move || writer.clone());
        tracing::subscriber::with_default(subscriber.with_max_level(tracing::Level::INFO).finish(), f);
        let bytes = buffer.0.lock().unwrap();
        String::from_utf8(bytes.clone()).unwrap()
    }

    #[test]
    fn a_record_carries_the_instances_name_and_stays_on_its_line() {
        let said = logged(|| {
            let context = Services::new(|_, _| {}).grant("print").context();
            assert_eq!([1, 2, 3, 4, 5].map(enabled), [true, true, true, false, false]);
            log(context, 3, "a\nERROR forged");
            log(context, 4, "not asked for");
        });
        assert_eq!(said, " INFO plugin: a\\nERROR forged plugin=\"print\"\n");
    }

    #[test]
    fn each_instance_stops_its_own_host_under_its_own_name() {
        let said: Arc<Mutex<Vec<String>>> = Arc::default();
        let hosts = ["one", "two"].map(|host| {
            let said = said.clone();
            Services::new(move |name, reason| said.lock().unwrap().push(format!("{host} {name} {reason}")))
        });
        let (a, b) = (hosts[0].grant("print").context(), hosts[1].grant("print").context());
        assert_ne!(a, b);
        assert_eq!(hosts[0].grant("print").context(), a);
        let other = hosts[0].grant("exec").context();
        assert_eq!([a, b, other, u64::MAX].map(instance), ["print", "print", "exec", ""]);
        stop(b, "x");
        stop(a, "y");
        stop(u64::MAX, "z");
        assert_eq!(*said.lock().unwrap(), ["two print x", "one print y"]);
    }
}
