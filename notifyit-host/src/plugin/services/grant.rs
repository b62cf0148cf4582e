//! Who calls. A *client* is a name at one host: all that ever runs under it. A *grant* is what one code has under a name,
//! and an *entry* what one instance has, until it is gone.
//!
//! A context is the client's place among all (the upper half) and the entry's serial (the lower half). Clients are never
//! dropped, for a thread that a plugin has left behind may speak at any time.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{self, PipeReader};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use super::Lends;
use super::metrics::{Metrics, Tally};
use super::signal::Signal;

static CLIENTS: RwLock<Vec<Arc<Client>>> = RwLock::new(Vec::new());

/// Who calls by this context, and the serial of its entry.
pub(super) fn caller(context: u64) -> Option<(Arc<Client>, u32)> {
    let (place, serial) = (context >> 32, context & u64::from(u32::MAX));
    let clients = CLIENTS.read().unwrap_or_else(PoisonError::into_inner);
    let client = clients.get(usize::try_from(place).ok()?)?;
    Some((Arc::clone(client), u32::try_from(serial).ok()?))
}

pub(super) struct Client {
    name: Box<str>,
    place: u64,
    lends: Arc<Lends>,
    entries: Mutex<Entries>,
}

#[derive(Default)]
struct Entries {
    last: u32,
    there: BTreeMap<u32, Arc<Lent>>,
    /// The counters of those that are gone.
    past: Metrics,
}

/// What one instance is lent.
struct Lent {
    /// Of its grant.
    has_ended: Arc<AtomicBool>,
    signal: Signal,
    tally: Tally,
}

impl Client {
    pub(super) fn of(lends: &Arc<Lends>, name: &str) -> Arc<Client> {
        let mut all = CLIENTS.write().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().find(|client| *client.name == *name && Arc::ptr_eq(&client.lends, lends));
        if let Some(client) = known {
            return Arc::clone(client);
        }
        let (place, lends) = (all.len() as u64, Arc::clone(lends));
        let client = Arc::new(Client { name: name.into(), place, lends, entries: Mutex::default() });
        all.push(Arc::clone(&client));
        client
    }

    pub(super) fn all_of(lends: &Arc<Lends>) -> Vec<Arc<Client>> {
        let all = CLIENTS.read().unwrap_or_else(PoisonError::into_inner);
        all.iter().filter(|client| Arc::ptr_eq(&client.lends, lends)).cloned().collect()
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn lends(&self) -> &Lends {
        &self.lends
    }

    /// Every instance is to come to its end.
    pub(super) fn end_all(&self) {
        self.lock().there.values().for_each(|lent| lent.signal.raise());
    }

    /// Is this instance to come to its end, within the time that the payload says? One that is gone is.
    pub(super) fn is_ending(&self, serial: u32, payload: &[u8]) -> bool {
        let nanos = payload.first_chunk().map_or(0, |nanos| u64::from_le_bytes(*nanos));
        let lent = self.lock().there.get(&serial).cloned();
        lent.is_none_or(|lent| lent.signal.is_raised_within(Duration::from_nanos(nanos)))
    }

    /// This instance is about to be dropped.
    pub(super) fn ends(&self, serial: u32) {
        self.lock().there.get(&serial).inspect(|lent| lent.signal.raise());
    }

    /// Takes a figure; returns what is to be said of it, if it is left out.
    pub(super) fn figure(&self, serial: u32, operation: u32, payload: &[u8]) -> Option<String> {
        let mut entries = self.lock();
        match entries.there.get(&serial) {
            Some(lent) => lent.tally.take(operation, payload),
            None => {
                // A thread that an instance has left behind: what it counts counts.
                let late = Tally::default();
                late.take(operation, payload);
                entries.past.add_counters(&late.metrics());
                None
            }
        }
    }

    fn metrics(&self) -> Metrics {
        let entries = self.lock();
        let mut all = entries.past.clone();
        entries.there.values().for_each(|lent| all.add(&lent.tally.metrics()));
        all
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What the instances of one code are lent, under one name. Cheap to clone.
#[derive(Clone)]
pub struct Grant {
    client: Arc<Client>,
    has_ended: Arc<AtomicBool>,
}

impl Grant {
    pub(super) fn new(client: Arc<Client>) -> Grant {
        Grant { client, has_ended: Arc::default() }
    }

    /// All that the plugins of this name count and measure.
    pub fn metrics(&self) -> Metrics {
        self.client.metrics()
    }

    /// The code's instances are to come to their end, and those that are made yet.
    pub fn end(&self) {
        self.has_ended.store(true, Ordering::SeqCst);
        let entries = self.client.lock();
        let mine = entries.there.values().filter(|lent| Arc::ptr_eq(&lent.has_ended, &self.has_ended));
        mine.for_each(|lent| lent.signal.raise());
    }

    pub(in crate::plugin) fn name(&self) -> &str {
        self.client.name()
    }

    /// What may be said and asked under the name, without being an instance.
    #[cfg(test)]
    pub(in crate::plugin) fn context(&self) -> u64 {
        self.client.place << 32
    }

    /// One more instance, in this process.
    pub(in crate::plugin) fn enter(&self) -> io::Result<Entry> {
        Ok(self.enters(Signal::new()?, Tally::default()))
    }

    /// One more instance, in a process of its own: what that is to be given.
    pub(in crate::plugin) fn enter_apart(&self) -> io::Result<(Entry, PipeReader, File)> {
        let (signal, tally) = (Signal::new()?, Tally::of_a_process()?);
        let (reader, file) = (signal.reader()?, tally.file()?);
        Ok((self.enters(signal, tally), reader, file))
    }

    /// The same at the other end.
    pub(in crate::plugin) fn enters(&self, signal: Signal, tally: Tally) -> Entry {
        let mut entries = self.client.lock();
        let lent = Lent { has_ended: Arc::clone(&self.has_ended), signal, tally };
        // Asked under the lock, as the others are told.
        let is_late = |flag: &AtomicBool| flag.load(Ordering::SeqCst);
        if is_late(&self.has_ended) || is_late(&self.client.lends.is_stopping) {
            lent.signal.raise();
        }
        entries.last += 1;
        let serial = entries.last;
        entries.there.insert(serial, Arc::new(lent));
        Entry { client: Arc::clone(&self.client), serial }
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Grant").field(&self.client.name).finish()
    }
}

/// One instance's. When it is dropped, the instance is gone.
pub(in crate::plugin) struct Entry {
    client: Arc<Client>,
    serial: u32,
}

impl Entry {
    /// What the instance calls by.
    pub(in crate::plugin) fn context(&self) -> u64 {
        self.client.place << 32 | u64::from(self.serial)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let mut entries = self.client.lock();
        if let Some(lent) = entries.there.remove(&self.serial) {
            lent.signal.raise();
            entries.past.add_counters(&lent.tally.metrics());
        }
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Entry").field(&self.client.name).field(&self.serial).finish()
    }
}

impl fmt::Debug for Lends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lends")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Services;
    use crate::plugin::services::ask;
    use notifyit_plugin_api::abi::asks::{COUNT, ENDS, GAUGE, STOPPING};

    fn is_stopping(entry: &Entry) -> bool {
        ask(entry.context(), STOPPING, &[0; 8]).1 == [1]
    }

    fn counts(entry: &Entry, operation: u32, value: [u8; 8]) {
        ask(entry.context(), operation, &[&value[..], b"n"].concat());
    }

    #[test]
    fn a_codes_end_is_told_to_its_own_instances_and_the_hosts_to_all() {
        let services = Services::new(|_, _| {});
        let (old, new) = (services.grant("p"), services.grant("p"));
        let (first, second, other) =
            (old.enter().unwrap(), new.enter().unwrap(), services.grant("q").enter().unwrap());
        let all = || [&first, &second, &other].map(is_stopping);
        assert_eq!(all(), [false; 3]);
        old.end();
        assert_eq!(all(), [true, false, false]);
        assert!(is_stopping(&old.enter().unwrap()), "one that is made too late");
        services.host_stops();
        assert_eq!(all(), [true; 3]);
        assert!(is_stopping(&services.grant("r").enter().unwrap()));
        assert!(!is_stopping(&Services::new(|_, _| {}).grant("p").enter().unwrap()), "another host's");
    }

    #[test]
    fn who_waits_for_the_end_of_an_instance_is_told_when_it_is_dropped() {
        let entry = Services::new(|_, _| {}).grant("p").enter().unwrap();
        let context = entry.context();
        let waits = std::thread::spawn(move || ask(context, STOPPING, &u64::MAX.to_le_bytes()).1);
        drop(entry);
        assert_eq!(waits.join().unwrap(), [1]);
    }

    #[test]
    fn who_ends_by_itself_ends_alone() {
        let grant = Services::new(|_, _| {}).grant("p");
        let (first, second) = (grant.enter().unwrap(), grant.enter().unwrap());
        ask(first.context(), ENDS, &[]);
        assert_eq!([&first, &second].map(is_stopping), [true, false]);
    }

    #[test]
    fn counters_outlive_their_instances_and_gauges_are_those_of_who_is_there() {
        let grant = Services::new(|_, _| {}).grant("p");
        let entries = [(); 2].map(|()| grant.enter().unwrap());
        entries.iter().for_each(|entry| counts(entry, COUNT, 2_u64.to_le_bytes()));
        assert_eq!(grant.metrics().counters["n"], 4);
        let [first, second] = entries;
        let context = second.context();
        drop((first, second));
        ask(context, COUNT, &[&1_u64.to_le_bytes()[..], b"n"].concat());
        assert_eq!(grant.metrics().counters["n"], 5);
        let grant = Services::new(|_, _| {}).grant("p");
        let (first, second) = (grant.enter().unwrap(), grant.enter().unwrap());
        counts(&first, GAUGE, 1.5_f64.to_le_bytes());
        counts(&second, GAUGE, 1.0_f64.to_le_bytes());
        counts(&second, GAUGE, 3.0_f64.to_le_bytes());
        assert_eq!(grant.metrics().gauges["n"], 4.5);
        drop(second);
        assert_eq!(grant.metrics().gauges["n"], 1.5);
    }
}
