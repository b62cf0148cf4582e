//! Nothing is lost: cases in which other tools lose files, each from outside, with `recorder` (which asks for
//! `landed`) and `print` (close-write alone) side by side.
//!
//! | file | holds |
//! |---|---|
//! | `trees` | whole trees at once: made, copied, unpacked, cloned, moved in |
//! | `writers` | those who write in their own ways: long, mapped, dying, by a temporary name, unnamed |
//! | `versions` | files written again while queued, while in hand, or soon after |
//! | `flood` | more than a queue holds: the kernel's, a lane's |
//! | `moves` | directories renamed under load, links, changes of owner and mode |
//! | `churn` | everything at once, then quiet |
//! | `start` | what is there before, and what lands during the start |
//! | `restarts` | what happens while the host is down, stopped or killed |
//! | `kills` | a host that is killed again and again |
//! | `table` | what all of that came to |
//!
//! A file is **handled** when a delivery had the inode, size and modification time that it has at the end; for
//! `recorder` also the path, for `print` under any name (what it has finished stays finished when it is renamed). Where
//! the host is started again, `closes` takes the place of `print`: it asks for the same and writes to a file. A
//! delivery is **doubled** when one of the same id was answered with `done` before.
//!
//! Each case is run once, or `NOTIFYIT_TESTS_REPEAT` times; with `NOTIFYIT_TESTS_SLOW` the floods are larger, the kills
//! more and the churn longer. With `--nocapture` each run says `case | written | handled | doubled`. If
//! `NOTIFYIT_TESTS_REPEAT` is set, `target/lossless.md` has these numbers as one table, a row for each case with the
//! sums over its runs:
//!
//! ```sh
//! NOTIFYIT_TESTS_SLOW=1 NOTIFYIT_TESTS_REPEAT=20 cargo test --release -p notifyit-tests --test host lossless -- --test-threads=1
//! ```

mod churn;
mod flood;
mod kills;
mod moves;
mod restarts;
mod start;
mod table;
mod trees;
mod versions;
mod writers;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use notifyit_tests::{DEADLINE, Host, Patience, Place, Running, spawn};
use serde_json::Value;

use self::table::Row;

/// So long without a delivery is quiet.
const QUIET: Duration = Duration::from_millis(250);

/// Both plugins, beneath a directory that is watched all the way down.
fn both() -> Host {
    Host::new().plugin("recorder").plugin("print").set("print.format='json'").arg("-r")
}

/// Two plugins that both write to files, which last: `recorder`, and `closes`, which asks for close-write alone.
const LASTING: &str = r#"
[host]
state_dir = "{temp}/state"

[[watch]]
path = "{root}"
recursive = true
exclude = ["*.part"]

[plugin.recorder]
retry = { first = "20ms", max = "100ms" }
[plugin.recorder.config]
out = "{temp}/recorder.jsonl"
hold = "{temp}/hold"
fail_while = "{temp}/fail"

[plugin.closes]
library = "recorder"
events = ["close-write"]
[plugin.closes.config]
out = "{temp}/closes.jsonl"
hold = "{temp}/hold"
"#;

/// The plugins of [`LASTING`] with a state directory: the first host of a place, or the next.
fn lasting(place: &Place) -> Host {
    Host::at(place.clone()).named_plugin("recorder").config(LASTING)
}

/// One number in the normal run, another in the slow profile.
fn many(normal: usize, slow: usize) -> usize {
    if std::env::var_os("NOTIFYIT_TESTS_SLOW").is_some() { slow } else { normal }
}

fn repeat(mut case: impl FnMut()) {
    let times = std::env::var("NOTIFYIT_TESTS_REPEAT").ok().and_then(|times| times.parse().ok());
    for _ in 0..times.unwrap_or(1) {
        case();
    }
}

/// Inode, size, and the time of day of the modification, in nanoseconds.
type Stamp = (u64, u64, u64);

/// One file that a plugin has handled.
#[derive(Debug, Clone)]
struct Delivery {
    file: PathBuf,
    stamp: Stamp,
    id: String,
    origin: String,
    text: String,
}

impl Delivery {
    fn new(event: &Value, text: &str) -> Option<Delivery> {
        let word = |key: &str| event[key].as_str().map(str::to_owned);
        let modified = nanos_of_day(event["modified"].as_str()?);
        Some(Delivery {
            file: word("relative")?.into(),
            stamp: (event["inode"].as_u64()?, event["size"].as_u64()?, modified),
            id: word("id")?,
            origin: word("origin")?,
            text: text.to_owned(),
        })
    }
}

/// `2026-01-02T03:04:05.000000006Z` → the nanoseconds since midnight.
fn nanos_of_day(time: &str) -> u64 {
    let (_, clock) = time.trim_end_matches('Z').split_once('T').expect("RFC 3339");
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let seconds = clock.split(':').fold(0, |sum, part| sum * 60 + part.parse::<u64>().expect("a number"));
    seconds * 1_000_000_000 + format!("{fraction:0<9}").parse::<u64>().expect("a number")
}

/// What a plugin has handled so far, oldest first: what it was told is there no more says nothing.
fn deliveries(host: &Running, plugin: &str) -> Vec<Delivery> {
    if plugin == "print" {
        let lines = host.stdout_lines();
        let events = lines.iter().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        return events.filter_map(|event| Delivery::new(&event, "")).collect();
    }
    recorded(host, plugin)
}

/// The same for a plugin that writes to a file, also of hosts that have ended.
fn recorded(place: &Place, plugin: &str) -> Vec<Delivery> {
    let done = place.records(plugin).into_iter().filter(|record| record.say == "done");
    done.filter_map(|record| Delivery::new(&record.event, &record.text)).collect()
}

/// How much a plugin has put out.
fn output(host: &Running, plugin: &str) -> usize {
    if plugin == "print" {
        return host.stdout().len();
    }
    let size = fs::metadata(host.temp().join(format!("{plugin}.jsonl"))).map_or(0, |meta| meta.len());
    usize::try_from(size).expect("it fits into memory")
}

/// The regular files that are there now, by their paths relative to the root. `.part` files are excluded everywhere.
fn files(root: &Path) -> BTreeMap<PathBuf, Stamp> {
    let mut found = BTreeMap::new();
    let mut todo = vec![root.to_owned()];
    while let Some(directory) = todo.pop() {
        for entry in fs::read_dir(&directory).expect("nothing goes away now").flatten() {
            let meta = entry.metadata().expect("nothing goes away now");
            if meta.is_dir() {
                todo.push(entry.path());
            } else if meta.is_file() {
                let of_day = u64::try_from(meta.mtime().rem_euclid(86_400)).expect("not negative");
                let nanos = of_day * 1_000_000_000 + u64::try_from(meta.mtime_nsec()).expect("not negative");
                let path = entry.path();
                let relative = path.strip_prefix(root).expect("found below it").to_owned();
                found.insert(relative, (meta.ino(), meta.len(), nanos));
            }
        }
    }
    found
}

/// A case that has been played, to be judged.
struct Case<'a> {
    name: &'a str,
    host: &'a Running,
    /// For each plugin, the files that it is to handle.
    expected: Vec<(&'a str, BTreeMap<PathBuf, Stamp>)>,
    names: Names,
    told: Told,
}

/// Is it a row of the table?
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    /// It is a case.
    Yes,
    /// It is a moment in the middle of one.
    No,
}

/// What a file is known by.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Names {
    /// `recorder` hears of renames and knows it by its path, `print` by its stamp.
    Paths,
    /// Its directory was renamed meanwhile: `recorder` knows it by its own name and its stamp.
    OwnNames,
}

impl<'a> Case<'a> {
    /// Both plugins are to handle all that is there now.
    fn all(name: &'a str, host: &'a Running) -> Case<'a> {
        Case::of(name, host, ["recorder", "print"])
    }

    /// The same for the plugins that [`lasting`] starts.
    fn lasting(name: &'a str, host: &'a Running) -> Case<'a> {
        Case::of(name, host, ["recorder", "closes"])
    }

    fn of(name: &'a str, host: &'a Running, plugins: [&'a str; 2]) -> Case<'a> {
        let there = files(&host.root());
        let expected = plugins.map(|plugin| (plugin, there.clone())).to_vec();
        Case { name, host, expected, names: Names::Paths, told: Told::Yes }
    }

    /// It is but a moment in the middle of a case.
    fn untold(mut self) -> Case<'a> {
        self.told = Told::No;
        self
    }

    /// Directories were renamed meanwhile.
    fn by_own_name(mut self) -> Case<'a> {
        self.names = Names::OwnNames;
        self
    }

    /// What the plugin is to handle is less.
    fn but(mut self, plugin: &str, wanted: impl Fn(&Path) -> bool) -> Case<'a> {
        for (_, files) in self.expected.iter_mut().filter(|(name, _)| *name == plugin) {
            files.retain(|path, _| wanted(path));
        }
        self
    }

    /// Waits until each plugin has handled its files and all is quiet; nothing may be lost or doubled.
    fn exactly_once(&self) {
        let doubled = self.at_least_once();
        assert!(doubled.is_empty(), "{}: doubled: {:#?}", self.name, &doubled[..doubled.len().min(10)]);
    }

    /// Waits until each plugin has handled its files and all is quiet. Returns what was doubled.
    fn at_least_once(&self) -> Vec<Delivery> {
        for (plugin, files) in &self.expected {
            self.wait_for(plugin, files);
        }
        self.wait_for_quiet();
        self.tell();
        self.doubled()
    }

    fn doubled(&self) -> Vec<Delivery> {
        let mut doubled = Vec::new();
        for (plugin, _) in &self.expected {
            let mut known = HashSet::new();
            let all = deliveries(self.host, plugin);
            doubled.extend(all.into_iter().filter(|delivery| !known.insert(delivery.id.clone())));
        }
        doubled
    }

    /// Enters how it stands into the table.
    fn tell(&self) {
        if self.told == Told::No {
            return;
        }
        let written: BTreeSet<&PathBuf> = self.expected.iter().flat_map(|(_, files)| files.keys()).collect();
        let missing = self.expected.iter().flat_map(|(plugin, files)| self.missing(plugin, files));
        let missing: BTreeSet<PathBuf> = missing.collect();
        let handled = written.len() - missing.len();
        table::add(self.name, Row { written: written.len(), handled, doubled: self.doubled().len() });
    }

    /// As long as anything comes there is hope.
    fn wait_for(&self, plugin: &str, files: &BTreeMap<PathBuf, Stamp>) {
        let (mut last, mut patience) = (output(self.host, plugin), Patience::new(DEADLINE));
        loop {
            let begin = Instant::now();
            let missing = self.missing(plugin, files);
            if missing.is_empty() {
                return;
            }
            let now = output(self.host, plugin);
            if now != last {
                (last, patience) = (now, Patience::new(DEADLINE));
            }
            assert!(self.host.exited().is_none(), "the host has ended");
            let some = &missing[..missing.len().min(10)];
            let is_over = patience.is_over();
            if is_over {
                self.tell();
            }
            assert!(
                !is_over,
                "{}: {plugin} has lost {} of {}: {some:?}; of {:?}, it was told {:#?}",
                self.name,
                missing.len(),
                files.len(),
                files[&missing[0]],
                of_inode(self.host, plugin, files[&missing[0]].0)
            );
            std::thread::sleep(Duration::from_millis(5).max(begin.elapsed() * 2));
        }
    }

    /// The files that a plugin has not handled as they are now.
    fn missing(&self, plugin: &str, files: &BTreeMap<PathBuf, Stamp>) -> Vec<PathBuf> {
        let done = deliveries(self.host, plugin);
        let by_stamp: HashSet<Stamp> = done.iter().map(|delivery| delivery.stamp).collect();
        let own = |path: &Path| match self.names {
            Names::Paths => path.to_owned(),
            Names::OwnNames => path.file_name().expect("a file has a name").into(),
        };
        let by_name: HashSet<(PathBuf, Stamp)> = done.iter().map(|d| (own(&d.file), d.stamp)).collect();
        let is_handled = |path: &Path, stamp: Stamp| {
            let is_told_of_renames = !["print", "closes"].contains(&plugin);
            if is_told_of_renames { by_name.contains(&(own(path), stamp)) } else { by_stamp.contains(&stamp) }
        };
        let left = files.iter().filter(|(path, stamp)| !is_handled(path, **stamp));
        left.map(|(path, _)| path.clone()).collect()
    }

    fn wait_for_quiet(&self) {
        let outputs = || self.expected.iter().map(|(plugin, _)| output(self.host, plugin)).collect();
        let mut last: (Vec<usize>, Instant) = (outputs(), Instant::now());
        let end = Instant::now() + 6 * DEADLINE;
        while last.1.elapsed() < QUIET {
            assert!(Instant::now() < end, "{}: it never ends", self.name);
            std::thread::sleep(Duration::from_millis(10));
            let now: Vec<usize> = outputs();
            if now != last.0 {
                last = (now, Instant::now());
            }
        }
    }
}

/// What a plugin was told of a file.
fn about(host: &Running, plugin: &str, file: &Path) -> Vec<Delivery> {
    deliveries(host, plugin).into_iter().filter(|delivery| delivery.file == file).collect()
}

/// What a plugin was told of an inode.
fn of_inode(host: &Running, plugin: &str, inode: u64) -> Vec<Delivery> {
    deliveries(host, plugin).into_iter().filter(|delivery| delivery.stamp.0 == inode).collect()
}

/// The files that a plugin has handled, by whatever name.
fn names(host: &Running, plugin: &str) -> BTreeSet<PathBuf> {
    deliveries(host, plugin).into_iter().map(|delivery| delivery.file).collect()
}

/// Runs a shell's commands in the watched directory; `$0` is the test's own directory.
fn sh(host: &Running, script: &str) {
    let mut command = Command::new("sh");
    command.args(["-ec", script]).arg(host.temp()).current_dir(host.root());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = spawn(&mut command).wait_with_output().expect("it is our child");
    assert!(output.status.success(), "{script}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Is a program installed here?
fn has(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
