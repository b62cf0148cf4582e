//! What the plugins call: the host's log, its stop, and their own names.

use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use crate::log::one_line;

type Stop = dyn Fn(&str, &str) + Send + Sync;

/// What the host lends its plugins. Cheap to clone.
///
/// The functions that a plugin calls have no state but a number, the *context*; what the numbers stand for is
/// therefore kept once per process, for as long as it lives.
#[derive(Clone)]
pub struct Services {
    stop: Arc<Stop>,
}

impl Services {
    /// `stop` is called with an instance's name and its reason when that instance asks the host to stop: on any
    /// thread, any number of times; it must not block.
    pub fn new(stop: impl Fn(&str, &str) + Send + Sync + 'static) -> Services {
        Services { stop: Arc::new(stop) }
    }

    /// The context of the instance of this name: all its workers share it. The same name gives the same context
    /// again.
    pub fn register(&self, name: &str) -> u64 {
        let mut all = CONTEXTS.write().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|c| &*c.name == name && Arc::ptr_eq(&c.stop, &self.stop));
        let number = known.unwrap_or_else(|| {
            all.push(Context { name: name.into(), stop: self.stop.clone() });
            all.len() - 1
        });
        number as u64
    }
}

impl fmt::Debug for Services {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Services")
    }
}

/// Who calls.
#[derive(Clone)]
struct Context {
    name: Arc<str>,
    stop: Arc<Stop>,
}

static CONTEXTS: RwLock<Vec<Context>> = RwLock::new(Vec::new());

fn context(number: u64) -> Option<Context> {
    let all = CONTEXTS.read().unwrap_or_else(PoisonError::into_inner);
    usize::try_from(number).ok().and_then(|n| all.get(n).cloned())
}

/// In the process of an isolated plugin: up to which level its host wants records, and the way to it.
type ToHost = (u32, Box<dyn Fn(u32, &str) + Send + Sync>);
static TO_HOST: OnceLock<ToHost> = OnceLock::new();

/// From now on this process's plugins log to its host, what is of this level or a more severe one.
pub(super) fn send_records(most: u32, send: impl Fn(u32, &str) + Send + Sync + 'static) {
    let _ = TO_HOST.set((most, Box::new(send)));
}

/// The least severe level of which a record would be written.
pub(super) fn most_enabled() -> u32 {
    (1..=5).take_while(|level| enabled(*level)).last().unwrap_or(0)
}

/// Would a record of this level (1 error … 5 trace) be written?
pub(super) fn enabled(level: u32) -> bool {
    if let Some((most, _)) = TO_HOST.get() {
        return level <= *most;
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
    if let Some((_, send)) = TO_HOST.get() {
        return send(level, message);
    }
    let context = context(number);
    let plugin = context.as_ref().map_or("?", |c| &*c.name);
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
    context(number).map_or_else(String::new, |c| c.name.to_string())
}

/// Hands a plugin's wish to stop to the host.
pub(super) fn stop(number: u64, reason: &str) {
    if let Some(context) = context(number) {
        (context.stop)(&context.name, reason);
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
            let context = Services::new(|_, _| {}).register("print");
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
        let (a, b) = (hosts[0].register("print"), hosts[1].register("print"));
        assert_ne!(a, b);
        assert_eq!(hosts[0].register("print"), a);
        let other = hosts[0].register("exec");
        assert_eq!([a, b, other, u64::MAX].map(instance), ["print", "print", "exec", ""]);
        stop(b, "x");
        stop(a, "y");
        stop(u64::MAX, "z");
        assert_eq!(*said.lock().unwrap(), ["two print x", "one print y"]);
    }
}
