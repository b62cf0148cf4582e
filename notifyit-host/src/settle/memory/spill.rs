//! A table of hashes, none of them 0, in an unlinked temporary file.
//!
//! It is extendible hashing: the first bits of a place's hash are a slot, the slot names a page, and the page holds the
//! entry. A page that is full is split in two by the next bit; when its slot was the only one, there are twice as many
//! slots first. So a look-up reads one page, a change writes one, a split two, and nothing is ever done to all of the
//! file at once. In memory are the slots, four bytes for some hundred entries.
//!
//! Nothing outlives the process, so nothing is synced: what the kernel keeps of the file in memory it can write and let
//! go.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::Errno;

/// An entry: place and stamp.
type Entry = (u64, u64);

const PAGE: usize = 4096;
const ENTRY: usize = 16;
const MOST: usize = PAGE / ENTRY;

/// See the module.
#[derive(Debug)]
pub(super) struct Spill {
    file: File,
    /// A power of two of them; those of one page lie side by side.
    slots: Vec<u32>,
    pages: u32,
    entries: usize,
}

impl Spill {
    /// An empty one, in the first of these directories that takes it.
    ///
    /// # Errors
    ///
    /// None does: why the last one does not.
    pub(super) fn create(directories: &[PathBuf]) -> Result<Spill> {
        let mut error = None;
        for directory in directories {
            let file = unlinked_file(directory);
            match file.with_context(|| format!("failed to make a temporary file in {directory:?}")) {
                Ok(file) => return Spill::empty(file),
                Err(refused) => error = Some(refused),
            }
        }
        match error {
            Some(error) => Err(error),
            None => bail!("no directory for temporary files is known"),
        }
    }

    fn empty(file: File) -> Result<Spill> {
        let spill = Spill { file, slots: vec![0], pages: 1, entries: 0 };
        spill.write_at(0, 0, &Page::of(&[]).0)?;
        Ok(spill)
    }

    pub(super) fn len(&self) -> usize {
        self.entries
    }

    pub(super) fn get(&self, place: u64) -> io::Result<Option<u64>> {
        let page = self.read(self.page_of(place))?;
        Ok(page.find(place).map(|at| page.entry(at).1))
    }

    pub(super) fn insert(&mut self, place: u64, stamp: u64) -> io::Result<()> {
        loop {
            let number = self.page_of(place);
            let page = self.read(number)?;
            let known = page.find(place);
            let at = known.unwrap_or_else(|| page.len());
            if at < MOST {
                self.write_at(number, at, &bytes_of((place, stamp)))?;
                self.entries += usize::from(known.is_none());
                return Ok(());
            }
            self.split(place, &page)?;
        }
    }

    pub(super) fn remove(&mut self, place: u64) -> io::Result<()> {
        let number = self.page_of(place);
        let mut page = self.read(number)?;
        if let Some(at) = page.find(place) {
            page.swap_remove(at);
            self.write_at(number, 0, &page.0)?;
            self.entries -= 1;
        }
        Ok(())
    }

    /// Half of the slots of the page that `place` is on get a page of their own, with what belongs there. A write that
    /// fails leaves all as it was.
    fn split(&mut self, place: u64, page: &Page) -> io::Result<()> {
        let (at, number) = (self.slot(place), self.page_of(place));
        let is_same = |slot: &&u32| **slot == number;
        let first = at - self.slots[..at].iter().rev().take_while(is_same).count();
        let end = at + self.slots[at..].iter().take_while(is_same).count();
        if end - first == 1 {
            self.slots = self.slots.iter().flat_map(|slot| [*slot, *slot]).collect();
            return Ok(());
        }
        let middle = first.midpoint(end);
        let entries = (0..page.len()).map(|at| page.entry(at));
        let (lower, upper) = entries.partition::<Vec<_>, _>(|(place, _)| self.slot(*place) < middle);
        self.write_at(self.pages, 0, &Page::of(&upper).0)?;
        self.write_at(number, 0, &Page::of(&lower).0)?;
        self.slots[middle..end].fill(self.pages);
        self.pages += 1;
        Ok(())
    }

    #[expect(clippy::cast_possible_truncation, reason = "less than the number of slots")]
    fn slot(&self, place: u64) -> usize {
        ((u128::from(place) * self.slots.len() as u128) >> 64) as usize
    }

    fn page_of(&self, place: u64) -> u32 {
        self.slots[self.slot(place)]
    }

    /// From now on every write fails.
    #[cfg(test)]
    pub(super) fn make_read_only(&mut self) {
        use std::os::fd::AsRawFd;
        self.file = File::open(format!("/proc/self/fd/{}", self.file.as_raw_fd())).unwrap();
    }

    fn read(&self, number: u32) -> io::Result<Page> {
        let mut page = Page::of(&[]);
        self.file.read_exact_at(&mut page.0, u64::from(number) * PAGE as u64)?;
        Ok(page)
    }

    /// Writes to a page, from its entry `at` on.
    fn write_at(&self, number: u32, at: usize, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, u64::from(number) * PAGE as u64 + (at * ENTRY) as u64)
    }
}

/// Entries, and zeros behind them.
struct Page([u8; PAGE]);

impl Page {
    fn of(entries: &[Entry]) -> Page {
        let mut page = Page([0; PAGE]);
        entries.iter().enumerate().for_each(|(at, entry)| page.set(at, *entry));
        page
    }

    fn len(&self) -> usize {
        self.find(0).unwrap_or(MOST)
    }

    fn find(&self, place: u64) -> Option<usize> {
        self.0.chunks_exact(ENTRY).position(|entry| number(entry) == place)
    }

    fn entry(&self, at: usize) -> Entry {
        let bytes = &self.0[at * ENTRY..];
        (number(bytes), number(&bytes[8..]))
    }

    fn set(&mut self, at: usize, entry: Entry) {
        self.0[at * ENTRY..][..ENTRY].copy_from_slice(&bytes_of(entry));
    }

    fn swap_remove(&mut self, at: usize) {
        let last = self.len() - 1;
        self.set(at, self.entry(last));
        self.set(last, (0, 0));
    }
}

fn bytes_of((place, stamp): Entry) -> [u8; ENTRY] {
    let mut bytes = [0; ENTRY];
    bytes[..8].copy_from_slice(&place.to_ne_bytes());
    bytes[8..].copy_from_slice(&stamp.to_ne_bytes());
    bytes
}

/// The first of these bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |bytes| u64::from_ne_bytes(*bytes))
}

/// A file that has no name, or has none any more.
fn unlinked_file(directory: &Path) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::EXCL | OFlags::RDWR | OFlags::CLOEXEC;
    match openat(CWD, directory, flags, Mode::RUSR | Mode::WUSR) {
        // Not every file system has files without a name.
        Err(Errno::OPNOTSUPP | Errno::ISDIR) => named_file(directory),
        opened => Ok(File::from(opened?)),
    }
}

/// A new file: no link that somebody has laid there is followed, and what is there already is not taken.
fn named_file(directory: &Path) -> io::Result<File> {
    let mut number = 0;
    loop {
        let path = directory.join(format!(".notifyit-{}-{number}", std::process::id()));
        match File::options().read(true).write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && number < 100 => number += 1,
            opened => {
                let file = opened?;
                fs::remove_file(&path)?;
                return Ok(file);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;
    use std::hash::{BuildHasher, RandomState};
    use std::os::unix::fs::MetadataExt;

    fn create() -> (tempfile::TempDir, Spill) {
        let dir = tempfile::tempdir().unwrap();
        let spill = Spill::create(&[dir.path().to_owned()]).unwrap();
        (dir, spill)
    }

    #[test]
    fn it_is_as_a_map_would_be() {
        let ((_dir, mut spill), keys, mut map) = (create(), RandomState::new(), HashMap::new());
        // Three of four are there already or will be again; every fifth step takes one out.
        for step in 0..50_000_u64 {
            let place = keys.hash_one(keys.hash_one(step) % 20_000);
            if step % 5 == 4 {
                spill.remove(place).unwrap();
                map.remove(&place);
            } else {
                spill.insert(place, step).unwrap();
                map.insert(place, step);
            }
            assert_eq!(spill.len(), map.len());
        }
        assert!(spill.pages > 60, "pages were split");
        for place in (0..20_000_u64).map(|place| keys.hash_one(place)) {
            assert_eq!(spill.get(place).unwrap(), map.get(&place).copied());
        }
    }

    #[test]
    fn its_file_has_no_name_and_is_for_nobody_else() {
        let (dir, spill) = create();
        let mut named = named_file(dir.path()).unwrap();
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
        for file in [&spill.file, &mut named] {
            let metadata = file.metadata().unwrap();
            assert_eq!((metadata.nlink(), metadata.mode() & 0o777), (0, 0o600));
        }
    }

    #[test]
    fn no_link_is_followed_to_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let victim = dir.path().join("victim");
        fs::write(&victim, "mine").unwrap();
        let link = dir.path().join(format!(".notifyit-{}-0", std::process::id()));
        std::os::unix::fs::symlink(&victim, &link).unwrap();
        named_file(dir.path()).unwrap().write_all_at(b"ours", 0).unwrap();
        assert_eq!(fs::read(&victim).unwrap(), b"mine");
    }

    #[test]
    fn a_write_that_fails_leaves_all_as_it_was() {
        let ((_dir, mut spill), keys) = (create(), RandomState::new());
        let places: Vec<u64> = (0..=MOST as u64).map(|place| keys.hash_one(place)).collect();
        for place in &places[..MOST] {
            spill.insert(*place, 7).unwrap();
        }
        spill.make_read_only();
        assert!(spill.insert(places[MOST], 7).is_err() && spill.remove(places[0]).is_err());
        assert_eq!(spill.len(), MOST);
        assert!(places[..MOST].iter().all(|place| spill.get(*place).unwrap() == Some(7)));
        assert_eq!(spill.get(places[MOST]).unwrap(), None);
    }

    #[test]
    fn the_first_directory_that_takes_it_is_taken() {
        let (dir, _) = create();
        let missing = dir.path().join("missing");
        assert!(Spill::create(&[missing.clone(), dir.path().to_owned()]).is_ok());
        let error = format!("{:#}", Spill::create(&[missing]).unwrap_err());
        assert!(error.contains("temporary file in") && error.contains("missing"), "{error}");
    }
}
