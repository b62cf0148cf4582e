//! How the ledger lies on disk: tables, keys, values, the lock.

use std::fs::{self, File};
use std::io::{self, Read, Seek, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use anyhow::{Context, Result, bail};
use redb::{Database, ReadOnlyTable, ReadableDatabase, TableDefinition};
use rustix::fs::{Access, FlockOperation, access, flock};

use super::ledger::{Place, Stamp};

pub(super) const FILES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("files");
pub(super) const TROUBLES: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("troubles");
pub(super) const DIRECTORIES: TableDefinition<'_, &[u8], u64> = TableDefinition::new("directories");
pub(super) const FACTS: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("facts");

pub(super) type Key = Box<[u8]>;
pub(super) type FileTable = ReadOnlyTable<&'static [u8], &'static [u8]>;
pub(super) type DirectoryTable = ReadOnlyTable<&'static [u8], u64>;

/// What is on disk, as of one commit.
pub(super) struct Disk {
    pub(super) files: FileTable,
    pub(super) troubles: FileTable,
    pub(super) directories: DirectoryTable,
}

/// What a state directory is not.
pub(super) fn refuse_file(directory: &Path) -> Result<()> {
    if directory.is_file() {
        bail!("it is a file, not a directory");
    }
    Ok(())
}

/// Could a ledger be kept there, as far as can be told without a trace, and while a host may have it?
pub(super) fn check(directory: &Path) -> Result<()> {
    refuse_file(directory).with_context(|| opening(directory))?;
    // It is made when it is needed. With the dot, what is there must be a directory.
    let there = directory.ancestors().find(|there| there.exists()).unwrap_or(directory);
    let access = access(there.join("."), Access::WRITE_OK | Access::EXEC_OK);
    access.map_err(io::Error::from).with_context(|| opening(directory))
}

/// What an error was in the way of.
pub(super) fn opening(directory: &Path) -> String {
    format!("failed to open the state directory {directory:?}")
}

/// Why a ledger cannot be opened, and what can be done.
pub(super) fn damaged(file: &Path, error: &dyn std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!(
        "failed to open the ledger {file:?}: {error}; if it is damaged, move it away: the files that are there then \
         count as existing, and `existing = \"deliver\"` has them handled again"
    )
}

/// The lock file holds the pid of who has it. `remedy` is what to do about that.
pub(super) fn lock(directory: &Path, remedy: &str) -> Result<File> {
    let mut file = fs::OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(directory.join("lock"))?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut pid = String::new();
        let _ = file.read_to_string(&mut pid);
        bail!("process {} has it; {remedy}", pid.trim());
    }
    file.set_len(0)?;
    file.rewind()?;
    writeln!(file, "{}", std::process::id())?;
    Ok(file)
}

pub(super) fn make_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(FILES)?;
    transaction.open_table(TROUBLES)?;
    transaction.open_table(DIRECTORIES)?;
    transaction.open_table(FACTS)?;
    Ok(transaction.commit()?)
}

pub(super) fn snapshot(database: &Database) -> Result<Disk, redb::Error> {
    let transaction = database.begin_read()?;
    Ok(Disk {
        files: transaction.open_table(FILES)?,
        troubles: transaction.open_table(TROUBLES)?,
        directories: transaction.open_table(DIRECTORIES)?,
    })
}

/// The key of a file of an instance.
pub(super) fn file_key(instance: u32, place: Place<'_>) -> Key {
    let mut key = Vec::with_capacity(12 + place.1.len());
    key.extend(instance.to_be_bytes());
    key.extend(place.0.to_be_bytes());
    key.extend(place.1.as_bytes());
    key.into_boxed_slice()
}

/// The instance whose file's key this is.
pub(super) fn instance_of(key: &[u8]) -> Option<u32> {
    key.first_chunk().map(|number| u32::from_be_bytes(*number))
}

/// The entries of one instance.
pub(super) fn of_instance(
    table: &FileTable,
    instance: u32,
) -> Result<redb::Range<'static, &'static [u8], &'static [u8]>, redb::Error> {
    let (first, next) = (instance.to_be_bytes(), instance.saturating_add(1).to_be_bytes());
    Ok(table.range::<&[u8]>(first.as_slice()..next.as_slice())?)
}

pub(super) fn fact(database: &Database, name: &str) -> Result<Option<Vec<u8>>> {
    let read = || -> Result<Option<Vec<u8>>, redb::Error> {
        let table = database.begin_read()?.open_table(FACTS)?;
        Ok(table.get(name)?.map(|value| value.value().to_vec()))
    };
    read().context("failed to read the ledger")
}

/// The facts whose names begin so, without that beginning.
pub(super) fn facts(database: &Database, prefix: &str) -> Result<Vec<(String, Vec<u8>)>> {
    let read = || -> Result<_, redb::Error> {
        let mut found = Vec::new();
        for entry in database.begin_read()?.open_table(FACTS)?.range(prefix..)? {
            let (name, value) = entry?;
            let Some(rest) = name.value().strip_prefix(prefix) else { break };
            found.push((rest.to_owned(), value.value().to_vec()));
        }
        Ok(found)
    };
    read().context("failed to read the ledger")
}

pub(super) fn fact_number(database: &Database, name: &str) -> Result<Option<u64>> {
    Ok(fact(database, name)?.as_deref().and_then(number_of))
}

pub(super) fn number_of(bytes: &[u8]) -> Option<u64> {
    bytes.try_into().ok().map(u64::from_be_bytes)
}

pub(super) fn directory_key(place: Place<'_>) -> Key {
    let mut key = place.0.to_be_bytes().to_vec();
    key.extend(place.1.as_bytes());
    key.into_boxed_slice()
}

pub(super) fn encode(stamp: &Stamp) -> [u8; 28] {
    let mut bytes = [0; 28];
    bytes[..8].copy_from_slice(&stamp.inode.to_be_bytes());
    bytes[8..16].copy_from_slice(&stamp.size.to_be_bytes());
    bytes[16..24].copy_from_slice(&stamp.mtime_seconds.to_be_bytes());
    bytes[24..].copy_from_slice(&stamp.mtime_nanos.to_be_bytes());
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Option<Stamp> {
    Some(Stamp {
        inode: u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?),
        size: u64::from_be_bytes(bytes.get(8..16)?.try_into().ok()?),
        mtime_seconds: i64::from_be_bytes(bytes.get(16..24)?.try_into().ok()?),
        mtime_nanos: u32::from_be_bytes(bytes.get(24..28)?.try_into().ok()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stamps_come_back_as_they_were() {
        let stamp = Stamp { inode: 1, size: u64::MAX, mtime_seconds: -3, mtime_nanos: 4 };
        assert_eq!(decode(&encode(&stamp)), Some(stamp));
        assert_eq!(decode(b"short"), None);
    }
}
