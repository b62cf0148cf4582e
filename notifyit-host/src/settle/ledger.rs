//! Which version of which file each plugin has finished.
//!
//! A version is a place (the directory's number and the file's name) and a stamp. Where they are kept is the choice of
//! the state directory: `Memory` forgets at the end of the run, `Store` survives it.
//!
//! Losing an entry costs a duplicate, never a file.

use std::ffi::OsStr;
use std::hash::BuildHasher;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Result;
use rustc_hash::{FxBuildHasher, FxHashSet};

use super::disk::check;
pub use super::first::FirstLook;
use super::inbox::{self, Inbox};
use super::memory::Memory;
pub use super::prune::{Gone, There};
use super::store::Store;
use super::trouble::Trouble;
pub use super::version::{Place, Stamp, Version, identity};
use crate::event::LaneId;

/// A watch, as the state directory remembers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watched<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its root's absolute path.
    pub root: &'a Path,
    /// Are the directories beneath watched too?
    pub recursive: bool,
}

/// The ledger. Every call counts at once, also before it is on disk.
#[derive(Debug)]
pub enum Ledger {
    /// For this run.
    Memory(Memory),
    /// In a state directory.
    Store(Store),
}

impl Ledger {
    /// One in memory; when it grows, what comes is kept in a temporary file in the first of these directories that takes
    /// it.
    pub fn in_memory(directories: &[PathBuf]) -> Ledger {
        Ledger::Memory(Memory::new(directories.to_owned()))
    }

    /// One in a directory, which is made if it is not there.
    ///
    /// # Errors
    ///
    /// Another host has it; it cannot be read or written; it is damaged.
    pub fn in_directory(directory: &Path) -> Result<Ledger> {
        Store::open(directory).map(Ledger::Store)
    }

    /// Could there be a ledger in this directory, as far as can be told while another host may have it?
    ///
    /// # Errors
    ///
    /// It is a file, or cannot be written to.
    pub fn check(directory: &Path) -> Result<()> {
        check(directory)
    }

    /// The lane of the instance of this name: the same for as long as the host runs, whether its plugin comes or goes.
    ///
    /// # Errors
    ///
    /// The store cannot be written; too many names.
    pub fn lane_of(&self, instance: &str) -> Result<LaneId> {
        match self {
            Ledger::Memory(memory) => memory.lane_of(instance),
            Ledger::Store(store) => store.lane_of(instance),
        }
    }

    /// The lane of an inbox, of which what was put in counts as finished.
    ///
    /// # Errors
    ///
    /// As [`Ledger::lane_of`].
    pub fn lane_of_inbox(&self, inbox: &Inbox) -> Result<LaneId> {
        match self {
            Ledger::Memory(memory) => memory.lane_of(&inbox::fact_of(inbox)),
            Ledger::Store(store) => store.lane_of_inbox(inbox),
        }
    }

    /// The inboxes that are known from earlier runs.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn inboxes(&self) -> Result<Vec<Inbox>> {
        match self {
            Ledger::Memory(_) => Ok(Vec::new()),
            Ledger::Store(store) => store.inboxes(),
        }
    }

    /// The subscriptions that are known from earlier runs: instance, watch, and the text that was told to
    /// [`Ledger::first_look`] last.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn subscriptions(&self) -> Result<Vec<(String, String, String)>> {
        match self {
            Ledger::Memory(_) => Ok(Vec::new()),
            Ledger::Store(store) => store.subscriptions(),
        }
    }

    /// The lane of the instance of this name, if it is known from this run or an earlier one.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn lane_if_known(&self, instance: &str) -> Result<Option<LaneId>> {
        match self {
            Ledger::Memory(_) => Ok(None),
            Ledger::Store(store) => store.lane_if_known(instance),
        }
    }

    /// Waits until all that counts is on disk, so long at most. Returns whether it is.
    pub fn is_written(&self, within: Duration) -> bool {
        match self {
            Ledger::Memory(_) => true,
            Ledger::Store(store) => store.inner.is_written(within),
        }
    }

    /// The host has started: from now on what finds no room waits for it.
    pub fn host_is_ready(&self) {
        if let Ledger::Store(store) = self {
            store.inner.room.host_is_ready();
        }
    }

    /// Has this lane finished this version?
    pub fn is_finished(&self, lane: LaneId, version: &Version) -> bool {
        self.has(lane, version.place(), version.stamp)
    }

    /// Has this lane finished what is at that place, if it has this stamp?
    pub fn has(&self, lane: LaneId, place: Place<'_>, stamp: Stamp) -> bool {
        match self {
            Ledger::Memory(memory) => memory.has(lane, place, stamp),
            Ledger::Store(store) => store.get(lane, place) == Some(stamp),
        }
    }

    /// Has this lane finished any version of what is at that place?
    pub fn knows(&self, lane: LaneId, place: Place<'_>) -> bool {
        match self {
            Ledger::Memory(memory) => memory.knows(lane, place),
            Ledger::Store(store) => store.get(lane, place).is_some(),
        }
    }

    /// Has this lane finished what was at that place, and is that another file than the one with this stamp?
    pub fn is_of_another_file(&self, lane: LaneId, place: Place<'_>, stamp: Stamp) -> bool {
        match self {
            Ledger::Memory(memory) => memory.is_of_another_file(lane, place, stamp),
            Ledger::Store(store) => {
                store.get(lane, place).is_some_and(|known| known.is_of_another_file(&stamp))
            }
        }
    }

    /// This lane has finished this version, and so whatever trouble there was with the file.
    pub fn finish(&self, lane: LaneId, version: &Version) {
        self.settle(lane, version.place(), Some(version.stamp), None);
    }

    /// This lane will not try this version any more: it is finished, and a dead letter says why.
    pub fn bury(&self, lane: LaneId, version: &Version, letter: Trouble) {
        self.settle(lane, version.place(), Some(version.stamp), Some(letter));
    }

    /// This lane could not handle this version, and will try again: what a restart must not forget.
    pub fn note(&self, lane: LaneId, version: &Version, trouble: Trouble) {
        self.settle(lane, version.place(), None, Some(trouble));
    }

    /// The trouble that this lane has with this version, if it waits for another try.
    pub fn waiting(&self, lane: LaneId, place: Place<'_>, stamp: Stamp) -> Option<Trouble> {
        self.trouble(lane, place).filter(|trouble| trouble.stamp == stamp && !trouble.state.is_dead())
    }

    /// No file is at that place any more: there is no trouble with it either.
    pub fn is_gone(&self, lane: LaneId, place: Place<'_>) {
        self.settle(lane, place, None, None);
    }

    fn trouble(&self, lane: LaneId, place: Place<'_>) -> Option<Trouble> {
        match self {
            Ledger::Memory(memory) => memory.trouble(lane, place),
            Ledger::Store(store) => store.trouble(lane, place),
        }
    }

    fn settle(&self, lane: LaneId, place: Place<'_>, stamp: Option<Stamp>, trouble: Option<Trouble>) {
        match self {
            Ledger::Memory(memory) => memory.settle(lane, place, stamp, trouble),
            Ledger::Store(store) => store.settle(lane, place, stamp, trouble),
        }
    }

    /// Whatever is at that place, this lane has not finished it.
    pub fn forget(&self, lane: LaneId, place: Place<'_>) {
        match self {
            Ledger::Memory(memory) => memory.remove(lane, place),
            Ledger::Store(store) => store.remove(lane, place),
        }
    }

    /// A file was renamed: what this lane has finished stays finished under the new name, and its trouble goes along.
    pub fn rename(&self, lane: LaneId, from: Place<'_>, to: Place<'_>) {
        match self {
            Ledger::Memory(memory) => memory.rename(lane, from, to),
            Ledger::Store(store) => store.rename(lane, from, to),
        }
    }

    /// Names what this inbox holds at a place, to be compared with what it holds there later.
    pub fn held(&self, inbox: LaneId, place: Place<'_>) -> Option<u64> {
        match self {
            Ledger::Memory(memory) => memory.held(inbox, place),
            Ledger::Store(store) => store.get(inbox, place).map(|stamp| FxBuildHasher.hash_one(stamp)),
        }
    }

    /// A file was renamed: what this inbox holds of it, it holds at its new place too. A rename may be told of when another
    /// file has been put in from one of the two places, and so nothing is taken out: another file has another stamp.
    pub fn goes_along(&self, inbox: LaneId, from: Place<'_>, to: Place<'_>) {
        match self {
            Ledger::Memory(memory) => memory.goes_along(inbox, from, to),
            Ledger::Store(store) => store.goes_along(inbox, from, to),
        }
    }

    /// A rename that was told while this lane had the version in hand: what has been entered since is for the new name.
    pub fn follow(&self, lane: LaneId, version: &Version, to: Place<'_>) {
        let known = self.trouble(lane, version.place()).filter(|trouble| trouble.stamp == version.stamp);
        if known.is_some() || self.is_finished(lane, version) {
            self.rename(lane, version.place(), to);
        }
    }

    /// The number of a directory: the same for the same name in the same directory, in this run and, in a state
    /// directory, in every later one. The roots are the watches' names in directory 0.
    pub fn number(&self, place: Place<'_>) -> u64 {
        match self {
            Ledger::Memory(memory) => memory.number(place),
            Ledger::Store(store) => store.number(place),
        }
    }

    /// A directory was renamed: it takes its entries along.
    pub fn directory_renamed(&self, number: u64, from: Place<'_>, to: Place<'_>) {
        match self {
            Ledger::Memory(memory) => memory.directory_renamed(number, from, to),
            Ledger::Store(store) => store.directory_renamed(number, from, to),
        }
    }

    /// These directories are at these places now, whatever was there.
    pub fn directories_are(&self, places: &[(u64, Place<'_>)]) {
        match self {
            Ledger::Memory(memory) => {
                places.iter().for_each(|(number, place)| memory.directory_is(*number, *place));
            }
            Ledger::Store(store) => store.directories_are(places),
        }
    }

    /// Has this instance looked at this watch before, with the same subscription (as a text)? If not, `now` is
    /// written down before anything else happens, so that an interrupted first look is taken again with the same time.
    ///
    /// # Errors
    ///
    /// The store cannot be written.
    pub fn first_look(&self, lane: &str, watch: &str, subscription: &str, now: u64) -> Result<FirstLook> {
        match self {
            Ledger::Memory(memory) => Ok(memory.first_look(lane, watch, subscription, now)),
            Ledger::Store(store) => store.first_look(lane, watch, subscription, now),
        }
    }

    /// Where the watches' roots are, for who looks at the state directory later.
    pub fn watches_are(&self, watches: &[Watched<'_>]) {
        if let Ledger::Store(store) = self {
            store.watches_are(watches);
        }
    }

    /// The first looks of these instances at these watches have been taken.
    pub fn first_looks_taken(&self, is_there: &dyn Fn(&str, &str) -> bool) {
        match self {
            Ledger::Memory(memory) => memory.first_looks_taken(is_there),
            Ledger::Store(store) => store.first_looks_taken(is_there),
        }
    }

    /// Has it doubled since it was last pruned? Once it has said so, it is to be pruned.
    pub fn is_due_for_pruning(&self, lane: LaneId) -> bool {
        match self {
            Ledger::Memory(memory) => memory.is_due_for_pruning(lane),
            Ledger::Store(store) => store.is_due_for_pruning(),
        }
    }

    /// Does it know which entries belong to a directory?
    pub fn has_directories(&self) -> bool {
        matches!(self, Ledger::Store(_))
    }

    /// May what is gone beneath a watch's root (its file system and inode) be forgotten?
    pub fn may_forget(&self, watch: &str, root: (u64, u64), is_empty: bool) -> bool {
        match self {
            Ledger::Memory(_) => false,
            Ledger::Store(store) => store.may_forget(watch, root, is_empty),
        }
    }

    /// This is a watch's root (its file system and inode), which is about to be looked into.
    pub fn root_is(&self, watch: &str, root: (u64, u64)) {
        if let Ledger::Store(store) = self {
            store.root_is(watch, root);
        }
    }

    /// What is known of a directory, and gone. If something is mounted there, its file system and inode are told.
    ///
    /// # Errors
    ///
    /// The store cannot be read.
    pub fn gone_in(
        &self,
        directory: (u64, Option<(u64, u64)>),
        look: &dyn Fn(&OsStr) -> There,
    ) -> Result<Vec<Gone>> {
        match self {
            Ledger::Memory(_) => Ok(Vec::new()),
            Ledger::Store(store) => store.gone_in(directory, look),
        }
    }

    /// Forgets what is gone, but for directories whose number is `known` to be in use.
    pub fn forget_gone(&self, gone: Vec<Gone>, known: FxHashSet<u64>) {
        if let Ledger::Store(store) = self {
            store.forget_gone(gone, known);
        }
    }

    /// It has been pruned.
    pub fn pruned(&self) {
        if let Ledger::Store(store) = self {
            store.pruned();
        }
    }

    /// The entries in memory, which have to be pruned now and then.
    pub fn memory(&self) -> Option<&Memory> {
        match self {
            Ledger::Memory(memory) => Some(memory),
            Ledger::Store(_) => None,
        }
    }

    /// Writes what is not on disk yet. To be called at the end.
    pub fn close(&self) {
        if let Ledger::Store(store) = self {
            store.close();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::trouble::State;
    use super::*;
    use crate::sys::Stat;

    fn stat(size: u64) -> Stat {
        Stat { device: 1, inode: 2, size, mode: 0, mtime_seconds: 3, mtime_nanos: 4, ctime_nanos: 5 }
    }

    fn version(directory: u64, name: &str, size: u64) -> Version {
        Version::new(directory, &OsStr::new(name).into(), &stat(size))
    }

    fn place(directory: u64, name: &str) -> Place<'_> {
        (directory, OsStr::new(name))
    }

    /// Each rule holds in memory, when that has no room, and on disk.
    fn each(check: impl Fn(&Ledger)) {
        let check = |ledger: Ledger| {
            assert_eq!(["one", "two", "one"].map(|name| ledger.lane_of(name).unwrap().0), [0, 1, 0]);
            check(&ledger);
        };
        check(Ledger::in_memory(&[]));
        let dir = tempfile::tempdir().unwrap();
        check(Ledger::Memory(Memory::holding(0, vec![dir.path().to_owned()])));
        check(Ledger::in_directory(dir.path()).unwrap());
    }

    #[test]
    fn a_version_is_finished_for_its_lane_alone() {
        each(|ledger| {
            ledger.finish(LaneId(0), &version(7, "a", 1));
            assert!(ledger.is_finished(LaneId(0), &version(7, "a", 1)));
            assert!(!ledger.is_finished(LaneId(1), &version(7, "a", 1)));
            assert!(!ledger.is_finished(LaneId(0), &version(7, "a", 2)), "another version");
            assert!(!ledger.is_finished(LaneId(0), &version(8, "a", 1)), "another directory");
        });
    }

    #[test]
    fn a_directory_has_one_number_wherever_it_is_renamed_to() {
        each(|ledger| {
            let [one, other] = ["a", "b"].map(|name| ledger.number(place(7, name)));
            assert_eq!(ledger.number(place(7, "a")), one);
            ledger.directory_renamed(one, place(7, "a"), place(8, "c"));
            assert_eq!(ledger.number(place(8, "c")), one);
            assert!(![one, other].contains(&ledger.number(place(7, "a"))), "another directory");
            ledger.directories_are(&[(one, place(7, "b")), (other, place(8, "c"))]);
            assert_eq!((ledger.number(place(7, "b")), ledger.number(place(8, "c"))), (one, other));
        });
    }

    fn waiting(size: u64) -> Trouble {
        Trouble { attempts: 3, next_nanos: 9, ..Trouble::replay(Stamp::of(&stat(size))) }
    }

    #[test]
    fn trouble_is_of_one_version_and_over_when_any_is_finished() {
        each(|ledger| {
            let (lane, at) = (LaneId(0), place(7, "a"));
            ledger.note(lane, &version(7, "a", 1), waiting(1));
            let known = |size| ledger.waiting(lane, at, Stamp::of(&stat(size)));
            assert_eq!(known(1).map(|trouble| trouble.attempts), Some(3));
            assert_eq!(known(2), None, "another version");
            assert_eq!(ledger.waiting(LaneId(1), at, Stamp::of(&stat(1))), None, "another lane");
            assert!(!ledger.is_finished(lane, &version(7, "a", 1)));
            ledger.finish(lane, &version(7, "a", 2));
            assert_eq!(known(1), None);
            ledger.note(lane, &version(7, "a", 1), waiting(1));
            ledger.is_gone(lane, at);
            assert_eq!(known(1), None);
            ledger.finish(lane, &version(7, "a", 2));
            assert!(ledger.knows(lane, at) && !ledger.knows(lane, place(7, "b")));
            ledger.note(lane, &version(7, "a", 2), waiting(2));
            assert!(!ledger.is_finished(lane, &version(7, "a", 2)), "a version that came again and failed");
            assert!(!ledger.knows(lane, at));
        });
    }

    #[test]
    fn what_is_buried_is_finished_and_waits_for_nothing() {
        each(|ledger| {
            let version = version(7, "a", 1);
            ledger.note(LaneId(0), &version, waiting(1));
            ledger.bury(LaneId(0), &version, Trouble { state: State::Rejected, ..waiting(1) });
            assert!(ledger.is_finished(LaneId(0), &version));
            assert_eq!(ledger.waiting(LaneId(0), version.place(), version.stamp), None);
        });
    }

    #[test]
    fn trouble_goes_where_the_file_goes() {
        each(|ledger| {
            let (lane, stamp) = (LaneId(0), Stamp::of(&stat(1)));
            ledger.note(lane, &version(7, "a", 1), waiting(1));
            ledger.rename(lane, place(7, "a"), place(8, "b"));
            assert!(ledger.waiting(lane, place(8, "b"), stamp).is_some());
            assert!(ledger.waiting(lane, place(7, "a"), stamp).is_none());
            ledger.rename(lane, place(9, "a"), place(8, "b"));
            assert!(ledger.waiting(lane, place(8, "b"), stamp).is_none(), "another file is there now");
        });
    }

    #[test]
    fn what_lies_in_an_inbox_goes_along_and_nothing_is_taken_out() {
        each(|ledger| {
            let inbox = LaneId(0);
            ledger.finish(inbox, &version(8, "b", 2));
            ledger.goes_along(inbox, place(7, "a"), place(8, "b"));
            assert!(
                ledger.is_finished(inbox, &version(8, "b", 2)),
                "it was put in from there before that was told of"
            );
            ledger.finish(inbox, &version(7, "a", 1));
            ledger.goes_along(inbox, place(7, "a"), place(8, "b"));
            assert!(
                ["a", "b"]
                    .iter()
                    .zip([7, 8])
                    .all(|(name, directory)| { ledger.is_finished(inbox, &version(directory, name, 1)) })
            );
        });
    }

    #[test]
    fn a_rename_takes_the_entry_along_and_covers_what_was_there() {
        each(|ledger| {
            ledger.finish(LaneId(0), &version(7, "a", 1));
            ledger.finish(LaneId(0), &version(8, "b", 2));
            ledger.rename(LaneId(0), place(7, "a"), place(8, "b"));
            assert!(ledger.is_finished(LaneId(0), &version(8, "b", 1)));
            assert!(!ledger.is_finished(LaneId(0), &version(7, "a", 1)));
            ledger.rename(LaneId(0), place(9, "a"), place(8, "b"));
            assert!(!ledger.is_finished(LaneId(0), &version(8, "b", 1)), "another file is there now");
        });
    }
}
