//! The plugins' stores: one `redb` file in the state directory, `plugins.redb`, beside the ledger's, so that no plugin ever
//! holds up the ledger. It is opened when the first plugin asks for its store.
//!
//! Whoever has something to write waits for its turn, and then writes all that has gathered meanwhile, in one transaction: it
//! takes one sync of the disk, however many workers put at the same time. A store that has seen a failed write trusts its file
//! no more until it is opened anew, so after one it is, by whoever comes next.

use std::fmt::Display;
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Context;
use notifyit_plugin_api::abi::asks::{
    LARGEST_STORE, OVERHEAD, STORE_GET, STORE_KEYS, STORE_PUT, STORE_REMOVE, append, check_key, check_value,
    full, split,
};
use notifyit_plugin_api::abi::{DONE, REJECT, RETRY};
use redb::{Database, ReadableDatabase, ReadableTable, Table, TableDefinition};

use super::Answer;

/// By the instance's name and the key.
const VALUES: TableDefinition<'_, (&str, &[u8]), &[u8]> = TableDefinition::new("values");
/// How much each instance has.
const SIZES: TableDefinition<'_, &str, u64> = TableDefinition::new("sizes");
/// The store's cache.
const CACHE: usize = 4 << 20;
/// So many keys are given at once.
const KEYS_AT_ONCE: usize = 1_000;

const FILE: &str = "plugins.redb";

type Values<'t> = Table<'t, (&'static str, &'static [u8]), &'static [u8]>;
type Sizes<'t> = Table<'t, &'static str, u64>;

/// See the module.
pub(super) struct Shelf {
    /// None without a state directory.
    file: Option<PathBuf>,
    database: Mutex<Option<Arc<Database>>>,
    /// What waits to be written.
    waiting: Mutex<Vec<Arc<Change>>>,
    /// Whoever has it writes.
    turn: Mutex<()>,
}

/// Why not, and as which status.
type Refusal = (u32, String);

struct Change {
    instance: String,
    key: Vec<u8>,
    /// None: it is to go.
    value: Option<Vec<u8>>,
    outcome: OnceLock<Result<(), Refusal>>,
}

impl Shelf {
    pub(super) fn new(directory: Option<&Path>) -> Shelf {
        let (database, waiting, turn) = Default::default();
        Shelf { file: directory.map(|directory| directory.join(FILE)), database, waiting, turn }
    }

    pub(super) fn answer(&self, instance: &str, operation: u32, payload: &[u8]) -> Answer {
        let answer = || match operation {
            STORE_GET => self.get(instance, payload),
            STORE_PUT => self.put(instance, payload),
            STORE_REMOVE => self.change(instance, payload, None),
            STORE_KEYS => self.keys(instance, payload),
            _ => self.database().map(|_| Vec::new()),
        };
        // A damaged file may do this to who reads it.
        let answer = catch_unwind(AssertUnwindSafe(answer)).unwrap_or_else(|_| Err(self.is_damaged()));
        answer.map_or_else(|(status, message)| (status, message.into_bytes()), |payload| (DONE, payload))
    }

    fn get(&self, instance: &str, key: &[u8]) -> Result<Vec<u8>, Refusal> {
        check_key(key).map_err(mistaken)?;
        self.read(|database| {
            let values = database.begin_read()?.open_table(VALUES)?;
            let value = values.get((instance, key))?;
            Ok(value.map_or_else(Vec::new, |value| [&[1], value.value()].concat()))
        })
    }

    fn put(&self, instance: &str, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (key, value) = split(payload).ok_or_else(|| mistaken("that is no key and value"))?;
        check_value(value).map_err(mistaken)?;
        self.change(instance, key, Some(value))
    }

    fn keys(&self, instance: &str, payload: &[u8]) -> Result<Vec<u8>, Refusal> {
        let (prefix, after) = split(payload).ok_or_else(|| mistaken("that is no prefix"))?;
        let from = if after < prefix {
            Bound::Included((instance, prefix))
        } else {
            Bound::Excluded((instance, after))
        };
        self.read(|database| {
            let values = database.begin_read()?.open_table(VALUES)?;
            let mut answer = Vec::new();
            for entry in values.range::<(&str, &[u8])>((from, Bound::Unbounded))?.take(KEYS_AT_ONCE) {
                let (key, _) = entry?;
                let (of, key) = key.value();
                if of != instance || !key.starts_with(prefix) {
                    break;
                }
                append(&mut answer, key);
            }
            Ok(answer)
        })
    }

    fn change(&self, instance: &str, key: &[u8], value: Option<&[u8]>) -> Result<Vec<u8>, Refusal> {
        check_key(key).map_err(mistaken)?;
        let (instance, key, value) = (instance.to_owned(), key.to_vec(), value.map(<[u8]>::to_vec));
        let mine = Arc::new(Change { instance, key, value, outcome: OnceLock::new() });
        lock(&self.waiting).push(Arc::clone(&mine));
        let turn = lock(&self.turn);
        if mine.outcome.get().is_none() {
            let all = std::mem::take(&mut *lock(&self.waiting));
            self.write(&all);
        }
        drop(turn);
        let outcome = mine.outcome.get().cloned();
        outcome.unwrap_or_else(|| Err((RETRY, "the store was not written".to_owned()))).map(|()| Vec::new())
    }

    /// All of them or, if the disk fails, none.
    fn write(&self, all: &[Arc<Change>]) {
        let written = self
            .database()
            .and_then(|database| write(&database, all).map_err(|error| self.has_failed("write", &error)));
        for change in all {
            let _ = change.outcome.set(written.clone());
        }
    }

    fn read<T>(&self, read: impl FnOnce(&Database) -> Result<T, redb::Error>) -> Result<T, Refusal> {
        let database = self.database()?;
        read(&database).map_err(|error| self.has_failed("read", &error))
    }

    fn database(&self) -> Result<Arc<Database>, Refusal> {
        let Some(file) = &self.file else { return Err((RETRY, NO_STATE.to_owned())) };
        let mut there = lock(&self.database);
        if let Some(database) = &*there {
            return Ok(Arc::clone(database));
        }
        let database = open(file).map_err(|error| (RETRY, failed("open", file, &error)))?;
        Ok(Arc::clone(there.insert(Arc::new(database))))
    }

    /// What was opened of it is dropped, and may panic once more then.
    fn is_damaged(&self) -> Refusal {
        let opened = lock(&self.database).take();
        let _ = catch_unwind(AssertUnwindSafe(|| drop(opened)));
        let file = self.file.as_deref().unwrap_or(Path::new(FILE));
        (RETRY, format!("the plugins' stores {file:?} are damaged; stop the host and move the file away"))
    }

    /// It is opened anew by whoever comes next.
    fn has_failed(&self, what: &str, error: &redb::Error) -> Refusal {
        *lock(&self.database) = None;
        (RETRY, failed(what, self.file.as_deref().unwrap_or(Path::new(FILE)), error))
    }
}

const NO_STATE: &str = "no state directory, so that there is no store; name one with --state-dir";

fn failed(what: &str, file: &Path, error: &dyn Display) -> String {
    format!("failed to {what} the plugins' stores {file:?}: {error}")
}

fn mistaken(what: impl Into<String>) -> Refusal {
    (REJECT, what.into())
}

fn open(file: &Path) -> Result<Database, redb::Error> {
    let database = Database::builder().set_cache_size(CACHE).create(file)?;
    let transaction = database.begin_write()?;
    transaction.open_table(VALUES)?;
    transaction.open_table(SIZES)?;
    transaction.commit()?;
    Ok(database)
}

fn write(database: &Database, all: &[Arc<Change>]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let (mut values, mut sizes) = (transaction.open_table(VALUES)?, transaction.open_table(SIZES)?);
        for change in all {
            if let Some(refusal) = apply(change, &mut values, &mut sizes)? {
                let _ = change.outcome.set(Err(refusal));
            }
        }
    }
    Ok(transaction.commit()?)
}

/// Returns why it is not done, if it is too much.
fn apply(
    change: &Change,
    values: &mut Values<'_>,
    sizes: &mut Sizes<'_>,
) -> Result<Option<Refusal>, redb::Error> {
    let (instance, key) = (change.instance.as_str(), change.key.as_slice());
    let size_with = |value: &[u8]| (key.len() + value.len()) as u64 + OVERHEAD;
    let before = values.get((instance, key))?.map_or(0, |value| size_with(value.value()));
    let others = sizes.get(instance)?.map_or(0, |size| size.value()).saturating_sub(before);
    let now = match &change.value {
        Some(value) if others + size_with(value) > LARGEST_STORE => return Ok(Some((RETRY, full(instance)))),
        Some(value) => {
            values.insert((instance, key), value.as_slice())?;
            others + size_with(value)
        }
        None => {
            values.remove((instance, key))?;
            others
        }
    };
    sizes.insert(instance, now)?;
    Ok(None)
}

/// Drops an instance's store, in a state directory that no host has open. Returns how many entries it had; with `keep` it
/// only counts them.
///
/// # Errors
///
/// It cannot be read or written.
pub fn forget(directory: &Path, instance: &str, keep: bool) -> anyhow::Result<u64> {
    let file = directory.join(FILE);
    let run = || -> Result<u64, redb::Error> {
        let database = open(&file)?;
        let transaction = database.begin_write()?;
        let mut count = 0;
        {
            let mut values = transaction.open_table(VALUES)?;
            let keys = values.range::<(&str, &[u8])>((instance, &[][..])..)?;
            let keys = keys.map_while(|entry| match entry {
                Ok((key, _)) if key.value().0 != instance => None,
                Ok((key, _)) => Some(Ok(key.value().1.to_vec())),
                Err(error) => Some(Err(error)),
            });
            let keys = keys.collect::<Result<Vec<_>, _>>()?;
            for key in &keys {
                count += 1;
                values.remove((instance, key.as_slice()))?;
            }
            transaction.open_table(SIZES)?.remove(instance)?;
        }
        if keep {
            transaction.abort()?
        } else {
            transaction.commit()?
        };
        Ok(count)
    };
    if !file.try_exists()? {
        return Ok(0);
    }
    run().with_context(|| format!("failed to open the plugins' stores {file:?}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use notifyit_plugin_api::abi::asks::{LARGEST_VALUE, STORE_OPEN, pair};

    fn put(shelf: &Shelf, instance: &str, key: &str, value: &[u8]) -> Answer {
        shelf.answer(instance, STORE_PUT, &pair(key.as_bytes(), value))
    }

    fn get(shelf: &Shelf, instance: &str, key: &str) -> Answer {
        shelf.answer(instance, STORE_GET, key.as_bytes())
    }

    fn keys(shelf: &Shelf, instance: &str, prefix: &str, after: &str) -> Vec<String> {
        let (status, answer) = shelf.answer(instance, STORE_KEYS, &pair(prefix.as_bytes(), after.as_bytes()));
        assert_eq!(status, DONE);
        let (mut rest, mut keys) = (answer.as_slice(), Vec::new());
        while let Some((key, behind)) = split(rest) {
            keys.push(String::from_utf8(key.to_vec()).unwrap());
            rest = behind;
        }
        keys
    }

    fn told((status, message): Answer) -> (u32, String) {
        (status, String::from_utf8(message).unwrap())
    }

    #[test]
    fn each_instance_has_a_store_of_its_own_that_the_next_run_finds() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(Some(dir.path()));
        assert!(!dir.path().join(FILE).exists(), "nobody has asked");
        assert_eq!(put(&shelf, "a", "k", b"one"), (DONE, vec![]));
        assert_eq!(put(&shelf, "b", "k", b""), (DONE, vec![]));
        drop(shelf);
        let shelf = Shelf::new(Some(dir.path()));
        assert_eq!(get(&shelf, "a", "k"), (DONE, b"\x01one".to_vec()));
        assert_eq!(get(&shelf, "b", "k"), (DONE, b"\x01".to_vec()), "empty, but there");
        assert_eq!(get(&shelf, "c", "k"), (DONE, vec![]));
        assert_eq!(shelf.answer("a", STORE_REMOVE, b"k"), (DONE, vec![]));
        assert_eq!(get(&shelf, "a", "k"), (DONE, vec![]));
        assert_eq!(get(&shelf, "b", "k").1, b"\x01");
    }

    #[test]
    fn keys_come_in_order_by_their_prefix_and_behind_another() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(Some(dir.path()));
        for key in ["d/2", "d/1", "c", "e", "d/3"] {
            put(&shelf, "a", key, b"");
        }
        put(&shelf, "b", "d/0", b"");
        assert_eq!(keys(&shelf, "a", "d/", ""), ["d/1", "d/2", "d/3"]);
        assert_eq!(keys(&shelf, "a", "d/", "d/1"), ["d/2", "d/3"]);
        assert_eq!(keys(&shelf, "a", "", "d/3"), ["e"]);
        assert_eq!(keys(&shelf, "a", "x", "").len() + keys(&shelf, "a", "d/", "d/3").len(), 0);
    }

    #[test]
    fn what_is_no_key_or_no_value_is_a_mistake() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(Some(dir.path()));
        let large = vec![0; LARGEST_VALUE + 1];
        let answers = [
            get(&shelf, "a", ""),
            put(&shelf, "a", "", b""),
            put(&shelf, "a", "k", &large),
            shelf.answer("a", STORE_PUT, b"\xff\xff\xff\xff"),
            shelf.answer("a", STORE_KEYS, b""),
        ];
        assert_eq!(answers.map(|(status, _)| status), [REJECT; 5]);
    }

    #[test]
    fn a_store_that_is_full_takes_nothing_more_until_something_goes() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(Some(dir.path()));
        let (value, each) = (vec![7; LARGEST_VALUE], LARGEST_VALUE as u64 + 2 + OVERHEAD);
        let most = LARGEST_STORE / each;
        for n in 0..most {
            assert_eq!(put(&shelf, "a", &format!("{n:02}"), &value).0, DONE);
        }
        let (status, message) = told(put(&shelf, "a", "xx", &value));
        assert_eq!(status, RETRY);
        assert!(message.starts_with("the store of plugin `a` is full: it may hold 64 MiB"), "{message}");
        assert_eq!(get(&shelf, "a", "xx").1, b"");
        assert_eq!(put(&shelf, "a", "00", &value).0, DONE, "in the place of another");
        assert_eq!(put(&shelf, "b", "xx", &value).0, DONE, "another's");
        assert_eq!(shelf.answer("a", STORE_REMOVE, b"01").0, DONE);
        assert_eq!(put(&shelf, "a", "xx", &value).0, DONE);
    }

    #[test]
    fn many_at_once_are_all_written() {
        let dir = tempfile::tempdir().unwrap();
        let shelf = Shelf::new(Some(dir.path()));
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let shelf = &shelf;
                scope.spawn(move || {
                    for n in 0..20 {
                        assert_eq!(put(shelf, "a", &format!("{thread}/{n}"), b"v").0, DONE);
                    }
                });
            }
        });
        assert_eq!(keys(&shelf, "a", "", "").len(), 8 * 20);
    }

    #[test]
    fn without_a_state_directory_there_is_none() {
        let shelf = Shelf::new(None);
        let (status, message) = told(shelf.answer("a", STORE_OPEN, b""));
        assert_eq!((status, message.as_str()), (RETRY, NO_STATE));
    }

    #[test]
    fn a_file_that_is_damaged_is_told_and_one_that_was_mended_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        std::fs::write(&file, vec![7; 5000]).unwrap();
        let shelf = Shelf::new(Some(dir.path()));
        let (status, message) = told(put(&shelf, "a", "k", b"v"));
        assert_eq!(status, RETRY);
        assert!(
            message.contains("failed to open the plugins' stores") && message.contains(FILE),
            "{message}"
        );
        std::fs::remove_file(file).unwrap();
        assert_eq!(put(&shelf, "a", "k", b"v").0, DONE);
    }

    #[test]
    fn what_is_forgotten_is_counted_and_gone() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(forget(dir.path(), "a", false).unwrap(), 0);
        assert!(!dir.path().join(FILE).exists());
        let shelf = Shelf::new(Some(dir.path()));
        for (instance, key) in [("a", "1"), ("a", "2"), ("ab", "1")] {
            put(&shelf, instance, key, b"v");
        }
        drop(shelf);
        assert_eq!(forget(dir.path(), "a", true).unwrap(), 2);
        assert_eq!(forget(dir.path(), "a", false).unwrap(), 2);
        assert_eq!(forget(dir.path(), "a", false).unwrap(), 0);
        assert_eq!(get(&Shelf::new(Some(dir.path())), "ab", "1").1, b"\x01v");
    }

    #[test]
    fn a_damaged_file_is_an_error_for_who_asks_and_no_panic() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(FILE);
        let shelf = Shelf::new(Some(dir.path()));
        for number in 0..200 {
            put(&shelf, "a", &format!("key{number}"), &[7; 300]);
        }
        drop(shelf);
        let (whole, mut refused) = (std::fs::read(&file).unwrap(), 0);
        for place in (0..whole.len()).step_by(20_011) {
            let mut damaged = whole.clone();
            damaged[place..].iter_mut().take(64).for_each(|byte| *byte ^= 0xa5);
            std::fs::write(&file, &damaged).unwrap();
            let shelf = Shelf::new(Some(dir.path()));
            for _ in 0..2 {
                let all = shelf.answer("a", STORE_KEYS, &pair(b"", b""));
                let answers = [get(&shelf, "a", "key7"), put(&shelf, "a", "key9", b"new"), all];
                refused += answers.iter().filter(|(status, _)| *status == RETRY).count();
            }
        }
        assert!(refused > 0);
    }
}
