//! What the host of a test lends beside the log: a store, figures, the stop signal.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use super::TestHost;
use super::heard::lock;
use crate::abi::asks::{
    self, COUNT, ENDS, GAUGE, LARGEST_STORE, OVERHEAD, STOPPING, STORE_GET, STORE_KEYS, STORE_OPEN,
    STORE_PUT, STORE_REMOVE,
};
use crate::abi::{DONE, REJECT, RETRY, UNKNOWN_OPERATION};

/// What the plugin asks of its host.
impl TestHost {
    /// What lies in the plugin's [`Store`](crate::Store). It is there for as long as the test host and its workers, also after
    /// [`TestHost::shutdown`]; in memory, with the limits of a host.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result, Store};
    /// # struct Last(Store);
    /// impl Plugin for Last {
    ///     # type Config = ();
    ///     # fn new(_: (), host: Host) -> Result<Self> { Ok(Last(host.store()?)) }
    ///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    ///         self.0.put("last", event.relative().as_os_str().as_encoded_bytes())
    ///     }
    /// }
    ///
    /// let mut host = TestHost::start::<Last>(json!({})).unwrap();
    /// host.write("a.txt", "content").assert_done();
    /// assert_eq!(host.stored()[&b"last"[..]], b"a.txt");
    /// host.shutdown().assert_done();
    /// let mut next = host.worker().unwrap(); // the next start
    /// next.write("b.txt", "content").assert_done();
    /// assert_eq!(next.stored()[&b"last"[..]], b"b.txt");
    /// ```
    pub fn stored(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        lock(&self.heard().lent.store).clone()
    }

    /// From now on every call of the plugin's store fails with this message, as on a full disk.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result, Store};
    /// # struct Last(Store);
    /// # impl Plugin for Last {
    /// #     type Config = ();
    /// #     fn new(_: (), host: Host) -> Result<Self> { Ok(Last(host.store()?)) }
    /// #     fn on_event(&mut self, _: &Event<'_>) -> Result<()> { self.0.put("last", "x") }
    /// # }
    /// let mut host = TestHost::start::<Last>(json!({})).unwrap();
    /// host.break_store("disk full");
    /// let verdict = host.write("a.txt", "content");
    /// verdict.assert_unavailable("disk full");
    /// ```
    pub fn break_store(&self, message: &str) {
        *lock(&self.heard().lent.broken) = Some(message.to_owned());
    }

    /// A figure that the plugin has [counted](crate::Host::count) or [set](crate::Host::gauge): a counter's sum over all
    /// workers, a gauge's last value.
    pub fn metric(&self, name: &str) -> Option<f64> {
        lock(&self.heard().lent.metrics).get(name).map(|metric| metric.value)
    }

    /// Tells the plugin that it is to come to its end, as a host does: [`Host::stopping`](crate::Host::stopping) is true from
    /// now on. [`TestHost::shutdown`] comes after that.
    pub fn stop(&self) {
        let lent = &self.heard().lent;
        lock(&lent.stopping).all = true;
        lent.stops.notify_all();
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Lent {
    store: Mutex<BTreeMap<Vec<u8>, Vec<u8>>>,
    broken: Mutex<Option<String>>,
    metrics: Mutex<BTreeMap<String, Metric>>,
    /// Of which names it has been said that they are left out.
    left_out: Mutex<BTreeSet<String>>,
    stopping: Mutex<Stopping>,
    stops: Condvar,
}

#[derive(Debug, Default)]
struct Stopping {
    all: bool,
    /// These instances are dropped.
    contexts: BTreeSet<u64>,
}

#[derive(Debug)]
struct Metric {
    operation: u32,
    value: f64,
}

/// As many of the keys as a host gives at once.
const KEYS_AT_ONCE: usize = 1_000;

impl Lent {
    /// The plugin has been shut down, and is made once more.
    pub(super) fn starts_anew(&self) {
        lock(&self.stopping).all = false;
    }

    pub(super) fn answer(
        &self,
        context: u64,
        operation: u32,
        payload: &[u8],
        warn: impl Fn(String),
    ) -> (u32, Vec<u8>) {
        let answer = match operation {
            STORE_OPEN | STORE_GET | STORE_PUT | STORE_REMOVE | STORE_KEYS => {
                match lock(&self.broken).clone() {
                    Some(message) => return (RETRY, message.into_bytes()),
                    None => self.of_store(operation, payload),
                }
            }
            STOPPING => Ok(vec![u8::from(self.is_stopping_within(context, payload))]),
            ENDS => {
                lock(&self.stopping).contexts.insert(context);
                self.stops.notify_all();
                Ok(Vec::new())
            }
            COUNT | GAUGE => {
                self.figure(operation, payload, warn);
                Ok(Vec::new())
            }
            _ => return (UNKNOWN_OPERATION, Vec::new()),
        };
        match answer {
            Ok(payload) => (DONE, payload),
            Err((status, message)) => (status, message.into_bytes()),
        }
    }

    fn of_store(&self, operation: u32, payload: &[u8]) -> Result<Vec<u8>, (u32, String)> {
        let mut store = lock(&self.store);
        match operation {
            STORE_GET => {
                asks::check_key(payload).map_err(mistaken)?;
                Ok(store.get(payload).map_or_else(Vec::new, |value| [&[1], &value[..]].concat()))
            }
            STORE_REMOVE => {
                asks::check_key(payload).map_err(mistaken)?;
                store.remove(payload);
                Ok(Vec::new())
            }
            STORE_PUT => {
                let (key, value) =
                    asks::split(payload).ok_or_else(|| mistaken("that is no key and value"))?;
                asks::check_key(key).map_err(mistaken)?;
                asks::check_value(value).map_err(mistaken)?;
                let size = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.len() + value.len()) as u64 + OVERHEAD;
                let others: u64 = store.iter().filter(|(other, _)| *other != key).map(size).sum();
                if others + (key.len() + value.len()) as u64 + OVERHEAD > LARGEST_STORE {
                    return Err((RETRY, asks::full("test")));
                }
                store.insert(key.to_vec(), value.to_vec());
                Ok(Vec::new())
            }
            STORE_KEYS => {
                let (prefix, after) = asks::split(payload).ok_or_else(|| mistaken("that is no prefix"))?;
                let keys = store.keys().filter(|key| key.starts_with(prefix) && key.as_slice() > after);
                let mut answer = Vec::new();
                keys.take(KEYS_AT_ONCE).for_each(|key| asks::append(&mut answer, key));
                Ok(answer)
            }
            _ => Ok(Vec::new()),
        }
    }

    fn is_stopping_within(&self, context: u64, payload: &[u8]) -> bool {
        let nanos = payload.first_chunk().map_or(0, |nanos| u64::from_le_bytes(*nanos));
        let is_to = |stopping: &Stopping| stopping.all || stopping.contexts.contains(&context);
        let waits = self
            .stops
            .wait_timeout_while(lock(&self.stopping), Duration::from_nanos(nanos), |now| !is_to(now));
        is_to(&waits.unwrap_or_else(PoisonError::into_inner).0)
    }

    fn figure(&self, operation: u32, payload: &[u8], warn: impl Fn(String)) {
        let Some((value, name)) = asks::split_number(payload) else { return };
        let mut metrics = lock(&self.metrics);
        let value = match operation {
            COUNT => {
                #[expect(clippy::cast_precision_loss, reason = "a test counts to less than 2^53")]
                let more = u64::from_le_bytes(value) as f64;
                more
            }
            _ => f64::from_le_bytes(value),
        };
        let known = metrics.get(name).map(|metric| metric.operation);
        if let Some(why) = asks::left_out(name, operation, value, known, metrics.len()) {
            if lock(&self.left_out).insert(name.to_owned()) {
                warn(format!("the figure {name:?} is left out: {why}"));
            }
            return;
        }
        let metric = metrics.entry(name.to_owned()).or_insert(Metric { operation, value: 0.0 });
        metric.value = if operation == COUNT { metric.value + value } else { value };
    }
}

fn mistaken(why: impl Into<String>) -> (u32, String) {
    (REJECT, why.into())
}
