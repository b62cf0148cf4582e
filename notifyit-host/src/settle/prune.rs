//! Pruning the ledger on disk: entries of files that are gone, troubles and dead letters with them, and directories
//! that are gone with all that is in them.
//!
//! | fact | is |
//! |---|---|
//! | `root/WATCH` | the file system and the inode of the root that the ledger was filled from |
//! | `mount/NUMBER` | the same of what is mounted at a directory beneath a root |
//!
//! What a commit of the writer has changed since it was looked at stays.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use anyhow::Result;
use redb::{ReadableTable, Table};
use rustc_hash::FxHashSet;
use tracing::{debug, info};

use super::disk::{Key, fact, number_of, snapshot};
use super::store::Store;

/// Below this many entries the ledger does not count as doubled.
const WORTH_PRUNING: u64 = 100_000;

/// What is gone.
#[derive(Debug, Clone)]
pub enum Gone {
    /// A file: its entry's key and value.
    File(Key, Box<[u8]>),
    /// A file with a trouble or a dead letter: its key and value.
    Trouble(Key, Box<[u8]>),
    /// A directory: its key and number.
    Directory(Key, u64),
}

/// What a name in a directory stands for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum There {
    /// A file.
    File,
    /// A directory.
    Directory,
    /// Neither.
    Nothing,
    /// That could not be found out.
    Unknown,
}

/// When it was last pruned, and how large it is.
#[derive(Debug, Default)]
pub(super) struct Size {
    entries: AtomicU64,
    pruned_to: AtomicU64,
    /// Has it doubled, and is to be pruned?
    doubled: AtomicBool,
}

impl Size {
    /// So many entries are on disk now.
    pub(super) fn is(&self, entries: u64) {
        self.entries.store(entries, Ordering::Relaxed);
    }

    /// Has it doubled since it was last pruned? Says so once.
    fn has_doubled(&self) -> bool {
        let limit = (2 * self.pruned_to.load(Ordering::Relaxed)).max(WORTH_PRUNING);
        self.entries.load(Ordering::Relaxed) > limit && !self.doubled.swap(true, Ordering::Relaxed)
    }

    fn pruned(&self) {
        self.pruned_to.store(self.entries.load(Ordering::Relaxed), Ordering::Relaxed);
        self.doubled.store(false, Ordering::Relaxed);
    }
}

impl Store {
    pub(super) fn is_due_for_pruning(&self) -> bool {
        self.inner.size.has_doubled()
    }

    pub(super) fn pruned(&self) {
        self.inner.size.pruned();
    }

    /// May what is gone beneath a watch's root be forgotten? Not if another file system is there than the ledger was
    /// filled from. Another directory of the same one, or one that is empty, may be there for a while only: not before
    /// the ledger has doubled.
    pub(super) fn may_forget(&self, watch: &str, (filesystem, inode): (u64, u64), is_empty: bool) -> bool {
        // What has not been written down yet is not old enough to be pruned.
        let name = root_name(watch);
        let Some(known) = self.known_root(&name) else { return false };
        let has_doubled = self.inner.size.doubled.load(Ordering::Relaxed);
        if known.0 != filesystem {
            info!(
                "the ledger keeps what it knows of watch `{watch}`: another file system is there than before"
            );
            return false;
        }
        let may = has_doubled || (known.1 == inode && !is_empty);
        if may && known.1 != inode {
            self.write_root(name, Some((filesystem, inode)));
        }
        may
    }

    /// This is a watch's root, which is about to be looked into: what is finished from now on is from there, unless
    /// there are entries already.
    pub(super) fn root_is(&self, watch: &str, root: (u64, u64)) {
        let name = root_name(watch);
        let known = self.known_root(&name);
        if known.is_none() || (known != Some(root) && matches!(self.has_entries(watch), Ok(false))) {
            self.write_root(name, Some(root));
        }
    }

    /// May what is gone in this directory be forgotten? Not while something else is mounted there than before, or
    /// nothing, nor while the mount has taken its directory along; but when the ledger has doubled.
    fn may_forget_in(&self, (directory, mounted): (u64, Option<(u64, u64)>)) -> bool {
        let name = format!("mount/{directory}");
        let known = self.known_root(&name);
        if known != mounted && (known.is_none() || self.inner.size.doubled.load(Ordering::Relaxed)) {
            self.write_root(name, mounted);
            // What is known may be of the directory beneath the mount.
            return known.is_some();
        }
        known == mounted
    }

    fn known_root(&self, name: &str) -> Option<(u64, u64)> {
        let waiting = {
            let changes = self.inner.lock();
            let facts = changes.writing.facts.iter().chain(&changes.now.facts);
            facts.rev().find(|(fact, _)| fact == name).map(|(_, value)| value.clone())
        };
        let known = waiting.or_else(|| fact(&self.inner.database, name).ok().flatten())?;
        let (filesystem, inode) = known.split_at_checked(8)?;
        Some((number_of(filesystem)?, number_of(inode)?))
    }

    fn write_root(&self, name: String, root: Option<(u64, u64)>) {
        let bytes =
            |(filesystem, inode): (u64, u64)| [filesystem.to_be_bytes(), inode.to_be_bytes()].concat();
        self.inner.change(|batch| batch.facts.push((name, root.map_or_else(Vec::new, bytes))));
    }

    fn has_entries(&self, watch: &str) -> Result<bool> {
        let number = self.number((0, OsStr::new(watch)));
        let is_in = |key: &Key| key.get(4..12) == Some(&number.to_be_bytes()[..]);
        {
            let changes = self.inner.lock();
            if changes.now.files.keys().chain(changes.writing.files.keys()).any(is_in) {
                return Ok(true);
            }
        }
        let disk = snapshot(&self.inner.database)?;
        for (from, to) in files_in(number, self.inner.instances()) {
            if disk.files.range::<&[u8]>(&*from..&*to)?.next().is_some() {
                return Ok(true);
            }
        }
        let (from, to) = children(number);
        Ok(disk.directories.range::<&[u8]>(&*from..&*to)?.next().is_some())
    }

    /// What is known of a directory, and gone.
    pub(super) fn gone_in(
        &self,
        (directory, mounted): (u64, Option<(u64, u64)>),
        look: &dyn Fn(&OsStr) -> There,
    ) -> Result<Vec<Gone>> {
        let mut gone = Vec::new();
        if !self.may_forget_in((directory, mounted)) {
            return Ok(gone);
        }
        let disk = snapshot(&self.inner.database)?;
        let is_gone =
            |key: &[u8]| matches!(look(OsStr::from_bytes(&key[12..])), There::Nothing | There::Directory);
        for (from, to) in files_in(directory, self.inner.instances()) {
            for entry in disk.files.range::<&[u8]>(&*from..&*to)? {
                let (key, value) = entry?;
                if is_gone(key.value()) {
                    gone.push(Gone::File(key.value().into(), value.value().into()));
                }
            }
            for entry in disk.troubles.range::<&[u8]>(&*from..&*to)? {
                let (key, value) = entry?;
                if is_gone(key.value()) {
                    gone.push(Gone::Trouble(key.value().into(), value.value().into()));
                }
            }
        }
        let (from, to) = children(directory);
        for entry in disk.directories.range::<&[u8]>(&*from..&*to)? {
            let (key, number) = entry?;
            let is_gone = matches!(look(OsStr::from_bytes(&key.value()[8..])), There::Nothing | There::File);
            if is_gone && self.may_forget_in((number.value(), None)) {
                gone.push(Gone::Directory(key.value().into(), number.value()));
            }
        }
        Ok(gone)
    }

    /// Forgets what is gone, but for directories whose number is `known` to the tree: they were renamed. While there is
    /// no room for more, it is left for the next time.
    pub(super) fn forget_gone(&self, gone: Vec<Gone>, known: FxHashSet<u64>) {
        if !self.inner.room.is_full() {
            self.inner.change(|batch| batch.gone.push(Pruned { gone, known }));
        }
    }
}

fn root_name(watch: &str) -> String {
    format!("root/{watch}")
}

/// What is gone, and what only seems so: what has a number that is known.
#[derive(Debug, Clone)]
pub(super) struct Pruned {
    gone: Vec<Gone>,
    known: FxHashSet<u64>,
}

type Files<'t> = Table<'t, &'static [u8], &'static [u8]>;
type Directories<'t> = Table<'t, &'static [u8], u64>;

impl Pruned {
    /// Within a transaction.
    pub(super) fn forget(
        &self,
        (files, troubles): (&mut Files<'_>, &mut Files<'_>),
        directories: &mut Directories<'_>,
        instances: u32,
    ) -> Result<(), redb::Error> {
        let (mut entries, mut count, mut todo) = (0_u64, 0_u64, Vec::new());
        for one in &self.gone {
            match one {
                Gone::File(key, value) => {
                    let is_same = files.get(&**key)?.is_some_and(|now| now.value() == &**value);
                    if is_same {
                        files.remove(&**key)?;
                        entries += 1;
                    }
                }
                Gone::Trouble(key, value) => {
                    let is_same = troubles.get(&**key)?.is_some_and(|now| now.value() == &**value);
                    if is_same {
                        troubles.remove(&**key)?;
                    }
                }
                Gone::Directory(key, number) => todo.push((key.clone(), *number)),
            }
        }
        while let Some((place, number)) = todo.pop() {
            let is_same = directories.get(&*place)?.is_some_and(|now| now.value() == number);
            if !is_same || self.known.contains(&number) {
                continue;
            }
            for (from, to) in files_in(number, instances) {
                files.retain_in::<&[u8], _>(&*from..&*to, |_, _| {
                    entries += 1;
                    false
                })?;
                troubles.retain_in::<&[u8], _>(&*from..&*to, |_, _| false)?;
            }
            let (from, to) = children(number);
            for child in directories.range::<&[u8]>(&*from..&*to)? {
                let (key, number) = child?;
                todo.push((key.value().into(), number.value()));
            }
            directories.remove(&*place)?;
            count += 1;
        }
        debug!("the ledger forgets {entries} entries and {count} directories that are gone");
        Ok(())
    }
}

/// The keys of a directory's files: a range for each instance that there ever was.
fn files_in(directory: u64, instances: u32) -> impl Iterator<Item = (Key, Key)> {
    let key = |instance: u32, directory: u64| -> Key {
        [&instance.to_be_bytes()[..], &directory.to_be_bytes()[..]].concat().into()
    };
    (0..instances).map(move |instance| (key(instance, directory), key(instance, directory + 1)))
}

fn children(directory: u64) -> (Key, Key) {
    (directory.to_be_bytes().into(), (directory + 1).to_be_bytes().into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::LaneId;
    use crate::settle::ledger::Stamp;

    fn stamp(size: u64) -> Stamp {
        Stamp { inode: 1, size, mtime_seconds: 3, mtime_nanos: 4 }
    }

    /// A ledger of two instances, whose directory 1 has the directories 2 and 3, and 3 has 4. Each has the files `a`
    /// and `b`.
    fn filled(dir: &tempfile::TempDir) -> Store {
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        let places = [(0, "in"), (1, "x"), (1, "y"), (3, "z")];
        let numbers = places.map(|(parent, name)| store.number((parent, OsStr::new(name))));
        assert_eq!(numbers, [1, 2, 3, 4]);
        for (directory, name) in numbers.iter().flat_map(|number| [(*number, "a"), (*number, "b")]) {
            store.settle(LaneId(0), (directory, OsStr::new(name)), Some(stamp(1)), None);
            store.settle(LaneId(1), (directory, OsStr::new(name)), Some(stamp(1)), None);
        }
        drop(store);
        Store::with(dir.path(), &["one", "two"]).unwrap()
    }

    fn has(store: &Store, lane: usize, directory: u64, name: &str) -> bool {
        store.get(LaneId(lane), (directory, OsStr::new(name))).is_some()
    }

    #[test]
    fn what_is_gone_is_forgotten_for_every_instance_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(&dir);
        let look = |name: &OsStr| match name.as_bytes() {
            b"a" => There::File,
            b"b" | b"y" => There::Nothing,
            _ => There::Unknown,
        };
        let gone = store.gone_in((1, None), &look).unwrap();
        store.forget_gone(gone, FxHashSet::default());
        drop(store);
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        for lane in [0, 1] {
            assert!(has(&store, lane, 1, "a") && has(&store, lane, 2, "b"));
            assert!(!has(&store, lane, 1, "b") && !has(&store, lane, 3, "a") && !has(&store, lane, 4, "b"));
        }
        assert_eq!(store.number((1, OsStr::new("x"))), 2);
        assert!(store.number((1, OsStr::new("y"))) > 4, "a new directory");
    }

    #[test]
    fn what_has_come_in_the_meantime_stays() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(&dir);
        let gone = store.gone_in((1, None), &|_| There::Nothing).unwrap();
        store.settle(LaneId(0), (1, OsStr::new("a")), Some(stamp(2)), None);
        // Both directories were renamed.
        store.forget_gone(gone, [2, 3].into_iter().collect());
        drop(store);
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        assert!(!has(&store, 1, 1, "a") && !has(&store, 0, 1, "b"));
        assert_eq!(store.get(LaneId(0), (1, OsStr::new("a"))), Some(stamp(2)));
        assert!(has(&store, 0, 2, "a") && has(&store, 0, 4, "a"));
    }

    #[test]
    fn a_directory_that_is_made_anew_while_it_is_forgotten_keeps_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let store = filled(&dir);
        let gone = store.gone_in((1, None), &|_| There::Nothing).unwrap();
        store.forget_gone(gone, FxHashSet::default());
        // The source finds it before that is written.
        let number = store.number((1, OsStr::new("x")));
        store.settle(LaneId(0), (number, OsStr::new("c")), Some(stamp(2)), None);
        drop(store);
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        assert_eq!(store.number((1, OsStr::new("x"))), number);
        assert!(has(&store, 0, number, "c") && !has(&store, 0, number, "a"));
    }

    #[test]
    fn nothing_is_forgotten_beneath_a_root_that_may_be_away() {
        let dir = tempfile::tempdir().unwrap();
        let again = |root, is_empty| {
            let store = Store::with(dir.path(), &["one"]).unwrap();
            store.may_forget("in", root, is_empty)
        };
        let starts = |root| Store::with(dir.path(), &["one"]).unwrap().root_is("in", root);
        assert!(!again((7, 1), false), "nothing is known");
        starts((7, 1));
        starts((1, 1));
        assert!(again((1, 1), false), "nothing was there at first, and what is mounted there counts");
        let store = Store::with(dir.path(), &["one"]).unwrap();
        store.settle(LaneId(0), (store.number((0, OsStr::new("in"))), OsStr::new("a")), Some(stamp(1)), None);
        drop(store);
        starts((2, 1));
        assert!(!again((1, 1), true) && !again((1, 2), false) && !again((2, 1), false));
        let store = Store::with(dir.path(), &["one"]).unwrap();
        store.inner.size.is(WORTH_PRUNING + 1);
        assert!(store.is_due_for_pruning() && !store.is_due_for_pruning(), "said once");
        assert!(store.may_forget("in", (1, 1), true) && !store.may_forget("in", (2, 1), false));
        assert!(store.may_forget("in", (1, 2), false), "it has been there for long");
        store.pruned();
        drop(store);
        assert!(again((1, 2), false) && !again((1, 1), false));
    }

    #[test]
    fn a_ledger_is_pruned_when_it_has_doubled() {
        let size = Size::default();
        size.is(WORTH_PRUNING);
        assert!(!size.has_doubled());
        size.is(WORTH_PRUNING + 1);
        assert!(size.has_doubled());
        size.pruned();
        size.is(2 * WORTH_PRUNING + 2);
        assert!(!size.has_doubled());
        size.is(2 * WORTH_PRUNING + 3);
        assert!(size.has_doubled());
    }
}
