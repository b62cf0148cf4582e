//! The ledger against plain maps, step by step, in memory and on disk; on disk with kills at any moment.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs;
use std::sync::Arc;

use proptest::prelude::*;
use proptest::sample::select;
use rustc_hash::FxHashSet;

use super::super::disk::directory_key;
use super::super::ledger::{FirstLook, Ledger, Place, Stamp, Version};
use super::super::memory::Memory;
use super::super::trouble::{State as Fate, Trouble};
use super::{Batch, Store};
use crate::event::LaneId;
use crate::sys::Stat;

const INSTANCES: [&str; 2] = ["one", "two"];

/// A file: its directory's number, its name.
type File = (u64, &'static str);
/// A directory: its parent's number, its name.
type Directory = (u64, &'static str);

#[derive(Debug, Clone)]
enum Step {
    Finish(usize, File, u64),
    Bury(usize, File, u64),
    Note(usize, File, u64),
    Gone(usize, File),
    Forget(usize, File),
    Rename(usize, File, File),
    Follow(usize, File, u64, File),
    Number(Directory),
    Move(Directory, Directory),
    Exchange(Directory, Directory),
    FirstLooksTaken,
    /// The writer takes what has gathered …
    Begin,
    /// … and has written it.
    End,
    /// The host is killed, and the next has its instances in another order.
    Kill,
    /// It stops in good order.
    Stop,
}

fn named(ledger: Ledger, names: &[&str]) -> Ledger {
    for name in names {
        ledger.lane_of(name).unwrap();
    }
    ledger
}

fn step() -> impl Strategy<Value = Step> {
    let lane = || 0..INSTANCES.len();
    let file = || (1_u64..3, select(&["a", "b", "c"][..]));
    let directory = || (0_u64..3, select(&["x", "y"][..]));
    let size = || 1_u64..4;
    prop_oneof![
        6 => (lane(), file(), size()).prop_map(|(lane, file, size)| Step::Finish(lane, file, size)),
        2 => (lane(), file(), size()).prop_map(|(lane, file, size)| Step::Bury(lane, file, size)),
        4 => (lane(), file(), size()).prop_map(|(lane, file, size)| Step::Note(lane, file, size)),
        1 => (lane(), file()).prop_map(|(lane, file)| Step::Gone(lane, file)),
        2 => (lane(), file()).prop_map(|(lane, file)| Step::Forget(lane, file)),
        4 => (lane(), file(), file()).prop_map(|(lane, from, to)| Step::Rename(lane, from, to)),
        2 => (lane(), file(), size(), file())
            .prop_map(|(lane, from, size, to)| Step::Follow(lane, from, size, to)),
        3 => directory().prop_map(Step::Number),
        2 => (directory(), directory()).prop_map(|(from, to)| Step::Move(from, to)),
        1 => (directory(), directory()).prop_map(|(one, other)| Step::Exchange(one, other)),
        1 => Just(Step::FirstLooksTaken),
        4 => Just(Step::Begin),
        4 => Just(Step::End),
        2 => Just(Step::Kill),
        1 => Just(Step::Stop),
    ]
}

/// What a ledger should hold.
#[derive(Debug, Default, Clone)]
struct Held {
    files: BTreeMap<(usize, File), (Option<Stamp>, Option<Trouble>)>,
    directories: BTreeMap<Directory, u64>,
    given: u64,
    looks_taken: bool,
}

impl Held {
    fn of(&self, lane: usize, file: File) -> (Option<Stamp>, Option<Trouble>) {
        self.files.get(&(lane, file)).cloned().unwrap_or_default()
    }

    fn settle(&mut self, lane: usize, file: File, stamp: Option<Stamp>, trouble: Option<Trouble>) {
        let known = self.files.entry((lane, file)).or_default();
        if stamp.is_some() || trouble.is_some() {
            known.0 = stamp;
        }
        known.1 = trouble;
    }

    fn rename(&mut self, lane: usize, from: File, to: File) {
        let known = self.of(lane, from);
        self.files.remove(&(lane, to));
        if known != (None, None) {
            self.files.remove(&(lane, from));
            self.files.insert((lane, to), known);
        }
    }

    fn number(&mut self, directory: Directory) -> u64 {
        *self.directories.entry(directory).or_insert_with(|| {
            self.given += 1;
            self.given
        })
    }
}

fn stat(size: u64) -> Stat {
    Stat { device: 1, inode: 2, size, mode: 0, mtime_seconds: 3, mtime_nanos: 4, ctime_nanos: 5 }
}

fn stamp(size: u64) -> Stamp {
    Stamp::of(&stat(size))
}

fn version((directory, name): File, size: u64) -> Version {
    Version::new(directory, &OsStr::new(name).into(), &stat(size))
}

fn place((directory, name): (u64, &'static str)) -> Place<'static> {
    (directory, OsStr::new(name))
}

fn trouble(size: u64) -> Trouble {
    Trouble { attempts: 3, next_nanos: 9, error: "it is down".to_owned(), ..Trouble::replay(stamp(size)) }
}

fn letter(size: u64) -> Trouble {
    Trouble { state: Fate::Rejected, ..trouble(size) }
}

/// What files need, in the ledger and in the model. Returns whether it was such a step.
fn change(ledger: &Ledger, lane_of: impl Fn(usize) -> LaneId, held: &mut Held, step: &Step) -> bool {
    match *step {
        Step::Finish(lane, file, size) => {
            ledger.finish(lane_of(lane), &version(file, size));
            held.settle(lane, file, Some(stamp(size)), None);
        }
        Step::Bury(lane, file, size) => {
            ledger.bury(lane_of(lane), &version(file, size), letter(size));
            held.settle(lane, file, Some(stamp(size)), Some(letter(size)));
        }
        Step::Note(lane, file, size) => {
            ledger.note(lane_of(lane), &version(file, size), trouble(size));
            held.settle(lane, file, None, Some(trouble(size)));
        }
        Step::Gone(lane, file) => {
            ledger.is_gone(lane_of(lane), place(file));
            held.settle(lane, file, None, None);
        }
        Step::Forget(lane, file) => {
            ledger.forget(lane_of(lane), place(file));
            held.files.remove(&(lane, file));
        }
        Step::Rename(lane, from, to) => {
            ledger.rename(lane_of(lane), place(from), place(to));
            held.rename(lane, from, to);
        }
        Step::Follow(lane, from, size, to) => {
            ledger.follow(lane_of(lane), &version(from, size), place(to));
            let (finished, trouble) = held.of(lane, from);
            if finished == Some(stamp(size)) || trouble.is_some_and(|known| known.stamp == stamp(size)) {
                held.rename(lane, from, to);
            }
        }
        _ => return false,
    }
    true
}

/// Is each file known as it should be?
fn agree(ledger: &Ledger, lane_of: impl Fn(usize) -> LaneId, held: &Held) -> Result<(), TestCaseError> {
    for lane in 0..INSTANCES.len() {
        for file in (1..3).flat_map(|directory| ["a", "b", "c"].map(|name| (directory, name))) {
            let (finished, trouble) = held.of(lane, file);
            let waiting = trouble.filter(|trouble| !trouble.state.is_dead());
            for size in 1..4 {
                let is_finished = ledger.has(lane_of(lane), place(file), stamp(size));
                prop_assert_eq!(is_finished, finished == Some(stamp(size)), "{} {:?}", lane, file);
                let found = ledger.waiting(lane_of(lane), place(file), stamp(size));
                let expected = waiting.clone().filter(|trouble| trouble.stamp == stamp(size));
                prop_assert_eq!(
                    found.map(|trouble| trouble.attempts),
                    expected.map(|trouble| trouble.attempts),
                    "{} {:?}",
                    lane,
                    file
                );
            }
        }
    }
    Ok(())
}

fn begin_pruning(ledger: &Ledger, is_pruning: &mut bool) {
    ledger.memory().unwrap().begin_pruning(&[LaneId(0), LaneId(1)]);
    *is_pruning = true;
}

/// Every file is there.
fn end_pruning(ledger: &Ledger, is_pruning: &mut bool) {
    let memory = ledger.memory().unwrap();
    for lane in 0..INSTANCES.len() {
        for file in (1..3).flat_map(|directory| ["a", "b", "c"].map(|name| (directory, name))) {
            memory.keep(LaneId(lane), place(file));
        }
    }
    memory.end_pruning(&[LaneId(0), LaneId(1)], &FxHashSet::default());
    *is_pruning = false;
}

/// A store that is written to only when the test says so, and what it should hold.
struct Disk {
    ledger: Ledger,
    directory: tempfile::TempDir,
    /// Are the instances in their second order?
    is_turned: bool,
    now: Held,
    writing: Option<(Arc<Batch>, Held)>,
    committed: Held,
}

impl Disk {
    fn new() -> Disk {
        let directory = tempfile::tempdir().unwrap();
        let ledger = named(Ledger::Store(Store::without_writer(directory.path()).unwrap()), &INSTANCES);
        let (now, committed) = (Held::default(), Held::default());
        let disk = Disk { ledger, directory, is_turned: false, now, writing: None, committed };
        disk.look().unwrap();
        disk
    }

    fn store(&self) -> &Store {
        let Ledger::Store(store) = &self.ledger else { panic!("it is one") };
        store
    }

    fn lane_of(is_turned: bool) -> impl Fn(usize) -> LaneId {
        move |instance| LaneId(if is_turned { INSTANCES.len() - 1 - instance } else { instance })
    }

    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        match *step {
            Step::Number(directory) => {
                let expected = self.now.number(directory);
                prop_assert_eq!(self.ledger.number(place(directory)), expected);
            }
            Step::Move(from, to) => {
                if let Some(number) = self.now.directories.remove(&from) {
                    self.ledger.directory_renamed(number, place(from), place(to));
                    self.now.directories.insert(to, number);
                }
            }
            Step::Exchange(one, other) => {
                let known = |directory| self.now.directories.get(directory).copied();
                if let (Some(first), Some(second)) = (known(&one), known(&other)) {
                    self.ledger.directories_are(&[(second, place(one)), (first, place(other))]);
                    self.now.directories.extend([(one, second), (other, first)]);
                }
            }
            Step::FirstLooksTaken => {
                self.ledger.first_looks_taken(&|_, _| true);
                self.now.looks_taken = true;
            }
            Step::Begin => self.begin(),
            Step::End => self.end(),
            Step::Kill => self.kill()?,
            Step::Stop => {
                // The first round may be of what was begun before.
                for _ in 0..2 {
                    self.begin();
                    self.end();
                }
                self.kill()?;
            }
            _ => drop(change(&self.ledger, Disk::lane_of(self.is_turned), &mut self.now, step)),
        }
        self.agree()
    }

    fn begin(&mut self) {
        if self.writing.is_none() {
            let batch = self.store().inner.lock().next_batch();
            self.writing = Some((batch, self.now.clone()));
        }
    }

    fn end(&mut self) {
        if let Some((batch, held)) = self.writing.take() {
            self.store().inner.write(&batch).unwrap();
            self.store().inner.written();
            self.committed = held;
        }
    }

    /// The next host finds the file as it lies there now.
    fn kill(&mut self) -> Result<(), TestCaseError> {
        let next = tempfile::tempdir().unwrap();
        fs::copy(self.directory.path().join("ledger.redb"), next.path().join("ledger.redb")).unwrap();
        self.is_turned = !self.is_turned;
        let mut names = INSTANCES;
        if self.is_turned {
            names.reverse();
        }
        self.ledger = named(Ledger::Store(Store::without_writer(next.path()).unwrap()), &names);
        self.directory = next;
        self.writing = None;
        self.now = self.committed.clone();
        self.look()
    }

    /// A first look is as old as the first host that began it.
    fn look(&self) -> Result<(), TestCaseError> {
        let now = 100 + u64::from(self.is_turned);
        for name in INSTANCES {
            let look = self.ledger.first_look(name, "in", "s", now).unwrap();
            let expected = if self.committed.looks_taken { FirstLook::Taken } else { FirstLook::Before(100) };
            prop_assert_eq!(look, expected);
        }
        Ok(())
    }

    fn agree(&self) -> Result<(), TestCaseError> {
        agree(&self.ledger, Disk::lane_of(self.is_turned), &self.now)?;
        for directory in (0..3).flat_map(|parent| ["x", "y"].map(|name| (parent, name))) {
            let known = self.store().inner.known_number(&directory_key(place(directory)));
            prop_assert_eq!(known, self.now.directories.get(&directory).copied(), "{:?}", directory);
        }
        for ((lane, file), (_, trouble)) in &self.now.files {
            let found = self.store().trouble(Disk::lane_of(self.is_turned)(*lane), place(*file));
            prop_assert_eq!(&found, trouble, "{} {:?}", lane, file);
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(200) })]

    /// However many entries it has room for, also while it is pruned.
    #[test]
    fn in_memory_it_is_as_a_map_would_be(
        most in 0_usize..12,
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let memory = Memory::holding(most, vec![std::env::temp_dir()]);
        let (ledger, mut held) = (named(Ledger::Memory(memory), &INSTANCES), Held::default());
        let mut is_pruning = false;
        for step in &steps {
            match step {
                Step::Begin if !is_pruning => begin_pruning(&ledger, &mut is_pruning),
                Step::End if is_pruning => end_pruning(&ledger, &mut is_pruning),
                step => drop(change(&ledger, LaneId, &mut held, step)),
            }
            agree(&ledger, LaneId, &held)?;
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(30) })]

    /// What was committed is there after a kill; what was not is not, so that nothing is finished that was not.
    #[test]
    fn on_disk_it_is_as_a_map_would_be_and_after_a_kill_as_the_last_commit(
        steps in proptest::collection::vec(step(), 0..60),
    ) {
        let mut disk = Disk::new();
        for step in &steps {
            disk.step(step)?;
        }
    }
}
