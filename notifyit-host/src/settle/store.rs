//! The ledger in a state directory: one `redb` file, written in groups.
//!
//! | table | from | to |
//! |---|---|---|
//! | `files` | instance, directory number, file name | stamp |
//! | `troubles` | as `files` | what could not be handled: see `trouble` |
//! | `directories` | directory number of the parent, name | directory number |
//! | `facts` | a name | what else has to be known: instances' numbers, first looks, where the watches are |
//!
//! What is called finished counts at once and is on disk a few tens of milliseconds later, in one transaction with
//! all that came in the meantime. A crash in between costs duplicates. While the disk is full (see `room`) the host goes
//! on, says so, and waits for room; what waits is bounded, and beyond that it is forgotten, which costs duplicates too.
//!
//! Why redb: an embedded store without a server, without threads of its own when idle and without C, in one file, whose
//! commits are atomic and checked. The keys of one directory lie side by side, so that a burst in one directory is
//! written in order.

use std::fs::{DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::atomic::AtomicU32;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result};
use redb::{Database, ReadableTableMetadata};
use tracing::{error, info};

use super::changes::{Batch, Changes};
use super::disk::{
    DIRECTORIES, Disk, FACTS, FILES, Key, TROUBLES, damaged, decode, directory_key, encode, fact_number,
    file_key, lock, make_tables, opening, refuse_file, snapshot,
};
use super::instances::Instance;
use super::ledger::{Place, Stamp};
use super::prune::Size;
use super::room::{Backend, Room};
use super::slots::Slots;
use crate::event::LaneId;

/// How long outcomes gather before they are written.
const GATHER: Duration = Duration::from_millis(30);
/// How long after a failed write the next is tried.
const TRY_AGAIN: Duration = Duration::from_secs(1);
/// The store's cache.
const CACHE: usize = 16 << 20;

/// See the module.
#[derive(Debug)]
pub struct Store {
    pub(super) inner: Arc<Inner>,
    pub(super) lanes: Slots<Instance>,
    writer: Mutex<Option<JoinHandle<()>>>,
    _lock: File,
}

pub(super) struct Inner {
    pub(super) database: Database,
    changes: Mutex<Changes>,
    wake: Condvar,
    /// All that there was to write has been written.
    written: Condvar,
    /// How many instances there ever were.
    pub(super) instances: AtomicU32,
    pub(super) size: Size,
    pub(super) room: Arc<Room>,
    /// What is on disk, as of the last commit.
    pub(super) disk: RwLock<Disk>,
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Inner")
    }
}

impl Store {
    pub(super) fn open(directory: &Path) -> Result<Store> {
        let store = Store::without_writer(directory)?;
        let inner = Arc::clone(&store.inner);
        let writer =
            thread::Builder::new().name("ledger".into()).spawn(move || inner.write_until_closed())?;
        *store.writer.lock().unwrap_or_else(PoisonError::into_inner) = Some(writer);
        Ok(store)
    }

    /// One that nothing is written to unless somebody does.
    fn without_writer(directory: &Path) -> Result<Store> {
        let opening = || opening(directory);
        refuse_file(directory).with_context(opening)?;
        DirBuilder::new().recursive(true).mode(0o700).create(directory).with_context(opening)?;
        let lock = lock(directory, "one host at a time").with_context(opening)?;
        let file = directory.join("ledger.redb");
        let room = Arc::<Room>::default();
        let database = open(&file, &room).map_err(|error| damaged(&file, &error))?;
        make_tables(&database).with_context(opening)?;
        let disk = snapshot(&database).with_context(opening)?;
        let next_number = fact_number(&database, "next")?.unwrap_or(1);
        let changes = Changes { next_number, ..Changes::default() };
        let size = Size::default();
        size.is(disk.files.len()?);
        let inner = Inner {
            instances: u32::try_from(fact_number(&database, "instances")?.unwrap_or(0))?.into(),
            database,
            changes: Mutex::new(changes),
            wake: Condvar::new(),
            written: Condvar::new(),
            size,
            room,
            disk: RwLock::new(disk),
        };
        Ok(Store { inner: Arc::new(inner), lanes: Slots::new(), writer: Mutex::default(), _lock: lock })
    }

    pub(super) fn key(&self, lane: LaneId, place: Place<'_>) -> Key {
        file_key(self.lanes.get(lane).number, place)
    }

    pub(super) fn get(&self, lane: LaneId, place: Place<'_>) -> Option<Stamp> {
        let key = self.key(lane, place);
        {
            let changes = self.inner.lock();
            let changed = changes.now.files.get(&key).or_else(|| changes.writing.files.get(&key));
            if let Some(changed) = changed {
                return *changed;
            }
        }
        let disk = self.inner.disk.read().unwrap_or_else(PoisonError::into_inner);
        disk.files.get(&*key).ok().flatten().and_then(|value| decode(value.value()))
    }

    pub(super) fn number(&self, place: Place<'_>) -> u64 {
        let key = directory_key(place);
        let is_pruning = self.inner.lock().is_pruning();
        if let Some(number) = self.inner.known_number(&key) {
            if is_pruning {
                // Behind what is pruned: that may be the directory that was there before.
                self.inner.change(|batch| {
                    batch.directories.insert(key, Some(number));
                });
            }
            return number;
        }
        let mut changes = self.inner.lock();
        let number = changes.next_number;
        changes.next_number += 1;
        let next = changes.next_number.to_be_bytes().to_vec();
        changes.now.facts.retain(|(name, _)| name != "next");
        changes.now.facts.push(("next".to_owned(), next));
        changes.now.directories.insert(key, Some(number));
        drop(changes);
        self.inner.wake.notify_one();
        number
    }

    pub(super) fn directory_renamed(&self, number: u64, from: Place<'_>, to: Place<'_>) {
        let (from, to) = (directory_key(from), directory_key(to));
        self.inner.change(|batch| {
            batch.directories.insert(from, None);
            batch.directories.insert(to, Some(number));
        });
    }

    pub(super) fn directories_are(&self, places: &[(u64, Place<'_>)]) {
        self.inner.change(|batch| {
            for (number, place) in places {
                batch.directories.insert(directory_key(*place), Some(*number));
            }
        });
    }

    pub(super) fn close(&self) {
        self.inner.lock().closing = true;
        self.inner.room.close();
        self.inner.wake.notify_one();
        let writer = self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(writer) = writer {
            let _ = writer.join();
        }
    }
}

fn open(file: &Path, room: &Arc<Room>) -> Result<Database, redb::Error> {
    let opened = File::options().read(true).write(true).create(true).truncate(false).open(file)?;
    let disk = Backend::new(opened, Arc::clone(room))?;
    Ok(Database::builder().set_cache_size(CACHE).create_with_backend(disk)?)
}

impl Drop for Store {
    fn drop(&mut self) {
        self.close();
    }
}

impl Inner {
    pub(super) fn lock(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change(&self, change: impl FnOnce(&mut Batch)) {
        self.change_knowing(|changes| change(&mut changes.now));
    }

    /// As [`Inner::change`], by what has been changed before.
    pub(super) fn change_knowing(&self, change: impl FnOnce(&mut Changes)) {
        let mut changes = self.lock();
        let was_empty = changes.now.is_empty();
        change(&mut changes);
        changes.stay_bounded();
        drop(changes);
        if was_empty {
            self.wake.notify_one();
        }
    }

    fn known_number(&self, key: &[u8]) -> Option<u64> {
        {
            let changes = self.lock();
            let changed = changes.now.directories.get(key).or_else(|| changes.writing.directories.get(key));
            if let Some(changed) = changed {
                return *changed;
            }
        }
        let disk = self.disk.read().unwrap_or_else(PoisonError::into_inner);
        disk.directories.get(key).ok().flatten().map(|number| number.value())
    }

    fn write_until_closed(&self) {
        while let Some(closing) = self.wait_for_changes() {
            if !closing {
                thread::sleep(GATHER);
            }
            let batch = self.lock().next_batch();
            match self.room.waits_for(|| self.write(&batch)) {
                Ok(()) => self.written(),
                Err(error) => {
                    self.say_failed(&error);
                    if closing {
                        return;
                    }
                    thread::sleep(TRY_AGAIN);
                }
            }
        }
    }

    /// Waits until there is something to write. `None` at the end, else whether the end has come.
    fn wait_for_changes(&self) -> Option<bool> {
        let mut changes = self.lock();
        loop {
            if !changes.now.is_empty() || !changes.writing.is_empty() {
                return Some(changes.closing);
            }
            if changes.closing {
                return None;
            }
            changes = self.wake.wait(changes).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write(&self, batch: &Batch) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        {
            let mut files = transaction.open_table(FILES)?;
            let mut troubles = transaction.open_table(TROUBLES)?;
            let mut directories = transaction.open_table(DIRECTORIES)?;
            for pruned in &batch.gone {
                pruned.forget((&mut files, &mut troubles), &mut directories, self.instances())?;
            }
            let mut keys: Vec<_> = batch.files.iter().collect();
            keys.sort_unstable_by_key(|(key, _)| *key);
            for (key, stamp) in keys {
                match stamp {
                    Some(stamp) => drop(files.insert(&**key, encode(stamp).as_slice())?),
                    None => drop(files.remove(&**key)?),
                }
            }
            for (key, trouble) in &batch.troubles {
                match trouble {
                    Some(trouble) => drop(troubles.insert(&**key, trouble.to_bytes().as_slice())?),
                    None => drop(troubles.remove(&**key)?),
                }
            }
            for (key, number) in &batch.directories {
                match number {
                    Some(number) => drop(directories.insert(&**key, number)?),
                    None => drop(directories.remove(&**key)?),
                }
            }
            let mut facts = transaction.open_table(FACTS)?;
            for (name, value) in &batch.facts {
                facts.insert(name.as_str(), value.as_slice())?;
            }
            self.size.is(files.len()?);
        }
        transaction.commit()?;
        let disk = snapshot(&self.database)?;
        *self.disk.write().unwrap_or_else(PoisonError::into_inner) = disk;
        Ok(())
    }

    fn written(&self) {
        let mut changes = self.lock();
        changes.writing = Arc::default();
        if std::mem::take(&mut changes.failing) {
            info!("the ledger is written again");
        }
        self.room.written();
        self.written.notify_all();
    }

    pub(super) fn is_written(&self, within: Duration) -> bool {
        let is_open = |changes: &mut Changes| !changes.now.is_empty() || !changes.writing.is_empty();
        let waited = self.written.wait_timeout_while(self.lock(), within, is_open);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }

    fn say_failed(&self, error: &redb::Error) {
        let mut changes = self.lock();
        if !std::mem::replace(&mut changes.failing, true) && !self.room.is_full() {
            error!(
                "failed to write the ledger: {error}; events are delivered all the same, and after a crash again"
            );
        }
    }
}

#[cfg(test)]
impl Store {
    /// With lanes of these names, in this order.
    pub(super) fn with(directory: &Path, names: &[&str]) -> Result<Store> {
        let store = Store::open(directory)?;
        names.iter().try_for_each(|name| store.lane_of(name).map(drop))?;
        Ok(store)
    }
}

#[cfg(test)]
mod model;

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;
    use std::fs;

    fn stamp(size: u64) -> Stamp {
        Stamp { inode: 1, size, mtime_seconds: -3, mtime_nanos: 4 }
    }

    fn place(directory: u64, name: &str) -> Place<'_> {
        (directory, OsStr::new(name))
    }

    #[test]
    fn what_is_finished_is_finished_in_the_next_run_whatever_the_order_of_the_instances() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        let number = store.number(place(0, "in"));
        let below = store.number(place(number, "sub"));
        assert_ne!(number, below);
        store.settle(LaneId(0), place(below, "f"), Some(stamp(1)), None);
        store.settle(LaneId(1), place(below, "g"), Some(stamp(2)), None);
        drop(store);
        let store = Store::with(dir.path(), &["new", "two", "one"]).unwrap();
        assert_eq!(store.number(place(0, "in")), number);
        assert_eq!(store.number(place(number, "sub")), below);
        assert_eq!(store.get(LaneId(2), place(below, "f")), Some(stamp(1)));
        assert_eq!(store.get(LaneId(1), place(below, "g")), Some(stamp(2)));
        assert_eq!(store.get(LaneId(0), place(below, "f")), None);
        assert!(store.number(place(number, "other")) > below, "a number is not given twice");
    }

    #[test]
    fn a_renamed_directory_takes_its_number_along() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::with(dir.path(), &["one"]).unwrap();
        let number = store.number(place(1, "a"));
        store.directory_renamed(number, place(1, "a"), place(2, "b"));
        assert_eq!(store.number(place(2, "b")), number);
        drop(store);
        let store = Store::with(dir.path(), &["one"]).unwrap();
        assert_eq!(store.number(place(2, "b")), number);
        assert_ne!(store.number(place(1, "a")), number);
    }

    #[test]
    fn a_second_host_is_refused_and_told_of_the_first() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Store::with(dir.path(), &["one"]).unwrap();
        let error = format!("{:#}", Store::open(dir.path()).unwrap_err());
        assert!(error.contains(&format!("process {} has it", std::process::id())), "{error}");
    }

    #[test]
    fn a_damaged_store_is_no_fresh_start() {
        let dir = tempfile::tempdir().unwrap();
        drop(Store::with(dir.path(), &["one"]).unwrap());
        fs::write(dir.path().join("ledger.redb"), vec![7; 5000]).unwrap();
        let error = format!("{:#}", Store::open(dir.path()).unwrap_err());
        assert!(error.contains("ledger.redb") && error.contains("move it away"), "{error}");
    }
}
