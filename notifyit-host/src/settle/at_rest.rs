//! A state directory that no host has open, for a person's commands.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use redb::{Database, ReadableDatabase, ReadableTable, Table};

use super::disk::{
    DIRECTORIES, FACTS, FILES, TROUBLES, damaged, decode, directory_key, encode, fact, facts, file_key, lock,
    make_tables, number_of, of_instance, opening, refuse_file, snapshot,
};
use super::inbox::{self, inboxes_of};
use super::ledger::{Place, Stamp};
use super::trouble::Trouble;

/// See the module. While it is open, no host starts with it.
#[derive(Debug)]
pub struct AtRest {
    database: Database,
    _lock: File,
}

/// A watch, as the last host that had it wrote it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    /// Its name.
    pub name: String,
    /// Its root's absolute path.
    pub root: PathBuf,
    /// Are the directories beneath watched too?
    pub recursive: bool,
}

/// An instance of a plugin that the directory knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its name.
    pub name: String,
    number: u32,
}

/// Where a file of an entry is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Spot {
    /// Its directory's number.
    pub directory: u64,
    /// Its name.
    pub name: OsString,
}

impl Spot {
    fn place(&self) -> Place<'_> {
        (self.directory, &self.name)
    }
}

/// Every directory's place, by its number.
#[derive(Debug)]
pub struct Directories {
    above: HashMap<u64, (u64, OsString)>,
    numbers: HashMap<(u64, OsString), u64>,
}

impl Directories {
    /// The watch that a directory belongs to, and its path from there.
    pub fn path(&self, number: u64) -> Option<(&OsStr, PathBuf)> {
        let mut names = Vec::new();
        let mut here = number;
        while here != 0 {
            let (above, name) = self.above.get(&here)?;
            names.push(name.as_os_str());
            // A ledger that was damaged could lead in a circle.
            if names.len() > self.above.len() {
                return None;
            }
            here = *above;
        }
        let watch = names.pop()?;
        Some((watch, names.iter().rev().collect()))
    }

    /// The number of a directory, if it has one.
    pub fn number(&self, above: u64, name: &OsStr) -> Option<u64> {
        self.numbers.get(&(above, name.to_owned())).copied()
    }
}

impl AtRest {
    /// Opens one that is there.
    ///
    /// # Errors
    ///
    /// There is none; a host runs with it, which is named; it is damaged.
    pub fn open(directory: &Path) -> Result<AtRest> {
        let opening = || opening(directory);
        refuse_file(directory).with_context(opening)?;
        let file = directory.join("ledger.redb");
        if !file.try_exists().with_context(opening)? {
            return Err(anyhow::anyhow!(
                "no host has kept a ledger there; is it the directory of --state-dir?"
            ))
            .with_context(opening);
        }
        let lock = lock(directory, "stop it first").with_context(opening)?;
        let database = Database::open(&file).map_err(|error| damaged(&file, &error))?;
        make_tables(&database).with_context(opening)?;
        Ok(AtRest { database, _lock: lock })
    }

    /// The instances, by name.
    ///
    /// # Errors
    ///
    /// It cannot be read, as in all that follows.
    pub fn instances(&self) -> Result<Vec<Known>> {
        let facts = facts(&self.database, "instance/")?;
        let known = facts.into_iter().filter_map(|(name, value)| {
            Some(Known { name, number: u32::try_from(number_of(&value)?).ok()? })
        });
        Ok(known.collect())
    }

    /// The watches, by name.
    ///
    /// # Errors
    ///
    /// See [`AtRest::instances`].
    pub fn watches(&self) -> Result<Vec<Watch>> {
        let facts = facts(&self.database, "watch/")?;
        let watches = facts.into_iter().filter_map(|(name, value)| {
            let (recursive, root) = value.split_first()?;
            let root = OsStr::from_bytes(root).into();
            Some(Watch { name, root, recursive: *recursive == 1 })
        });
        Ok(watches.collect())
    }

    /// Has this instance looked at this watch?
    ///
    /// # Errors
    ///
    /// See [`AtRest::instances`].
    pub fn looks_at(&self, instance: &Known, watch: &Watch) -> Result<bool> {
        Ok(fact(&self.database, &format!("first/{}/{}", instance.name, watch.name))?.is_some())
    }

    /// Every directory.
    ///
    /// # Errors
    ///
    /// See [`AtRest::instances`].
    pub fn directories(&self) -> Result<Directories> {
        let read = || -> Result<Directories, redb::Error> {
            let (mut above, mut numbers) = (HashMap::new(), HashMap::new());
            for entry in snapshot(&self.database)?.directories.iter()? {
                let (key, number) = entry?;
                let Some((parent, name)) = key.value().split_at_checked(8) else { continue };
                let Some(parent) = number_of(parent) else { continue };
                let name = OsString::from_vec(name.to_vec());
                above.insert(number.value(), (parent, name.clone()));
                numbers.insert((parent, name), number.value());
            }
            Ok(Directories { above, numbers })
        };
        read().context("failed to read the ledger")
    }

    /// Calls back with all that an instance has finished.
    ///
    /// # Errors
    ///
    /// See [`AtRest::instances`].
    pub fn for_each_finished(&self, instance: &Known, mut each: impl FnMut(Spot, Stamp)) -> Result<()> {
        let mut read = || -> Result<(), redb::Error> {
            for entry in of_instance(&snapshot(&self.database)?.files, instance.number)? {
                let (key, value) = entry?;
                if let Some((spot, stamp)) = spot_of(key.value()).zip(decode(value.value())) {
                    each(spot, stamp);
                }
            }
            Ok(())
        };
        read().context("failed to read the ledger")
    }

    /// The troubles of an instance.
    ///
    /// # Errors
    ///
    /// See [`AtRest::instances`].
    pub fn troubles(&self, instance: &Known) -> Result<Vec<(Spot, Trouble)>> {
        let read = || -> Result<_, redb::Error> {
            let mut found = Vec::new();
            for entry in of_instance(&snapshot(&self.database)?.troubles, instance.number)? {
                let (key, value) = entry?;
                found.extend(spot_of(key.value()).zip(Trouble::from_bytes(value.value())));
            }
            Ok(found)
        };
        read().context("failed to read the ledger")
    }

    /// What an instance has finished at that place.
    ///
    /// # Errors
    ///
    /// See [`AtRest::instances`].
    pub fn finished(&self, instance: &Known, spot: &Spot) -> Result<Option<Stamp>> {
        let read = || -> Result<_, redb::Error> {
            let key = file_key(instance.number, spot.place());
            let files = self.database.begin_read()?.open_table(FILES)?;
            Ok(files.get(&*key)?.and_then(|value| decode(value.value())))
        };
        read().context("failed to read the ledger")
    }

    /// Makes all changes of a command, or none.
    ///
    /// # Errors
    ///
    /// What `edit` returns; it cannot be written.
    pub fn change(&self, edit: impl FnOnce(&mut Edit<'_>) -> Result<()>) -> Result<()> {
        let transaction = self.database.begin_write().context("failed to write to the ledger")?;
        {
            let mut tables = Edit {
                files: transaction.open_table(FILES)?,
                troubles: transaction.open_table(TROUBLES)?,
                directories: transaction.open_table(DIRECTORIES)?,
                facts: transaction.open_table(FACTS)?,
            };
            edit(&mut tables)?;
        }
        transaction.commit().context("failed to write to the ledger")
    }

    /// Drops all entries of an instance, and its name. It is as new when it comes back.
    ///
    /// # Errors
    ///
    /// It cannot be written.
    pub fn forget(&self, instance: &Known) -> Result<()> {
        let watches = self.watches()?;
        let inboxes = inboxes_of(&self.database, &instance.name)?;
        let mut files = self.keys(instance.number)?;
        for (_, number) in &inboxes {
            files.append(&mut self.keys(*number)?);
        }
        self.change(|edit| {
            for key in &files {
                edit.files.remove(&**key)?;
                edit.troubles.remove(&**key)?;
            }
            for (inbox, _) in &inboxes {
                edit.facts.remove(inbox::fact_of(inbox).as_str())?;
            }
            for watch in &watches {
                edit.facts.remove(format!("first/{}/{}", instance.name, watch.name).as_str())?;
            }
            edit.facts.remove(format!("instance/{}", instance.name).as_str())?;
            Ok(())
        })
    }

    fn keys(&self, instance: u32) -> Result<Vec<Vec<u8>>> {
        let read = || -> Result<_, redb::Error> {
            let disk = snapshot(&self.database)?;
            let mut keys = Vec::new();
            for table in [&disk.files, &disk.troubles] {
                for entry in of_instance(table, instance)? {
                    keys.push(entry?.0.value().to_vec());
                }
            }
            Ok(keys)
        };
        read().context("failed to read the ledger")
    }
}

fn spot_of(key: &[u8]) -> Option<Spot> {
    let (directory, name) = key.get(4..)?.split_at_checked(8)?;
    Some(Spot { directory: number_of(directory)?, name: OsString::from_vec(name.to_vec()) })
}

/// The changes of one command.
pub struct Edit<'a> {
    files: Table<'a, &'static [u8], &'static [u8]>,
    troubles: Table<'a, &'static [u8], &'static [u8]>,
    directories: Table<'a, &'static [u8], u64>,
    facts: Table<'a, &'static str, &'static [u8]>,
}

impl std::fmt::Debug for Edit<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Edit")
    }
}

impl Edit<'_> {
    /// This version is unfinished, and a person wants it again.
    ///
    /// # Errors
    ///
    /// It cannot be written, as in all that follows.
    pub fn hand_out(&mut self, instance: &Known, spot: &Spot, stamp: Stamp) -> Result<()> {
        let key = file_key(instance.number, spot.place());
        self.files.remove(&*key)?;
        self.troubles.insert(&*key, Trouble::replay(stamp).to_bytes().as_slice())?;
        Ok(())
    }

    /// This version is finished, and there is no trouble with it.
    ///
    /// # Errors
    ///
    /// See [`Edit::hand_out`].
    pub fn finish(&mut self, instance: &Known, spot: &Spot, stamp: Stamp) -> Result<()> {
        let key = file_key(instance.number, spot.place());
        self.files.insert(&*key, encode(&stamp).as_slice())?;
        self.troubles.remove(&*key)?;
        Ok(())
    }

    /// The trouble is forgotten: what is finished stays so.
    ///
    /// # Errors
    ///
    /// See [`Edit::hand_out`].
    pub fn drop_trouble(&mut self, instance: &Known, spot: &Spot) -> Result<()> {
        self.troubles.remove(&*file_key(instance.number, spot.place()))?;
        Ok(())
    }

    /// The number of a directory: it gets one if it has none.
    ///
    /// # Errors
    ///
    /// See [`Edit::hand_out`].
    pub fn number(&mut self, above: u64, name: &OsStr) -> Result<u64> {
        let key = directory_key((above, name));
        if let Some(number) = self.directories.get(&*key)? {
            return Ok(number.value());
        }
        let next = self.facts.get("next")?.and_then(|value| number_of(value.value())).unwrap_or(1);
        if next == u64::MAX {
            bail!("there are no numbers left for directories");
        }
        self.facts.insert("next", (next + 1).to_be_bytes().as_slice())?;
        self.directories.insert(&*key, next)?;
        Ok(next)
    }
}

#[cfg(test)]
mod tests {
    use super::super::store::Store;
    use super::super::trouble::State;
    use super::*;
    use crate::event::LaneId;

    #[test]
    fn what_a_host_has_written_is_read_and_changed() {
        let dir = tempfile::tempdir().unwrap();
        let stamp = Stamp { inode: 1, size: 2, mtime_seconds: 3, mtime_nanos: 4 };
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        let root = store.number((0, OsStr::new("in")));
        let below = store.number((root, OsStr::new("sub")));
        for lane in [LaneId(0), LaneId(1)] {
            store.settle(lane, (below, OsStr::new("f")), Some(stamp), None);
        }
        let letter = Trouble { state: State::Rejected, attempts: 1, ..Trouble::replay(stamp) };
        store.settle(LaneId(0), (root, OsStr::new("g")), Some(stamp), Some(letter.clone()));
        store.first_look("one", "in", "s", 7).unwrap();
        drop(store);

        let state = AtRest::open(dir.path()).unwrap();
        let instances = state.instances().unwrap();
        assert_eq!(instances.iter().map(|i| i.name.as_str()).collect::<Vec<_>>(), ["one", "two"]);
        let directories = state.directories().unwrap();
        assert_eq!(directories.path(below), Some((OsStr::new("in"), PathBuf::from("sub"))));
        assert_eq!(directories.path(root), Some((OsStr::new("in"), PathBuf::new())));
        assert_eq!((directories.path(99), directories.number(root, OsStr::new("sub"))), (None, Some(below)));
        let g = Spot { directory: root, name: "g".into() };
        assert_eq!(state.troubles(&instances[0]).unwrap(), [(g.clone(), letter)]);

        state.change(|edit| edit.hand_out(&instances[0], &g, stamp)).unwrap();
        assert_eq!(state.finished(&instances[0], &g).unwrap(), None);
        assert_eq!(state.troubles(&instances[0]).unwrap(), [(g.clone(), Trouble::replay(stamp))]);
        state.change(|edit| edit.finish(&instances[0], &g, stamp)).unwrap();
        assert_eq!(state.troubles(&instances[0]).unwrap(), []);

        state.forget(&instances[0]).unwrap();
        assert_eq!(state.instances().unwrap(), instances[1..]);
        let mut left = Vec::new();
        for instance in &instances {
            state.for_each_finished(instance, |spot, _| left.push((instance.number, spot.name))).unwrap();
        }
        assert_eq!(left, [(instances[1].number, OsString::from("f"))]);
    }

    #[test]
    fn what_is_no_state_directory_stays_as_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let error = format!("{:#}", AtRest::open(dir.path()).unwrap_err());
        assert!(error.contains("no host has kept a ledger there"), "{error}");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
