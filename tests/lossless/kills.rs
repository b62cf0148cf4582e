//! A host that is killed at any moment: what it had entered as finished does not come again, and all else does.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;
use std::time::Duration;

use notifyit_tests::{Host, Place, Running, say};
use rustix::process::Signal;

use super::churn::Random;
use super::{Case, Stamp, files, lasting, many, recorded, repeat};

/// A file by its own name in one version: its directory may have had another name when it was handled.
type Version = (OsString, Stamp);

/// How a host comes down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Down {
    Stopped,
    Killed,
}

/// What a host of [`lasting`] has left behind.
pub(super) struct Left {
    plugins: [PluginLeft; 2],
}

struct PluginLeft {
    plugin: &'static str,
    /// How many deliveries it has had.
    deliveries: usize,
    /// What of that the ledger calls finished.
    finished: HashSet<(PathBuf, Stamp)>,
    /// How many files it has handled as they are now that the ledger does not call finished.
    uncommitted: usize,
}

impl Down {
    /// Brings a host down.
    pub(super) fn end(self, host: Running) -> (Place, Left) {
        let exit = match self {
            Down::Stopped => host.stop(),
            Down::Killed => {
                host.signal(Signal::KILL);
                host.wait()
            }
        };
        let place = (*exit).clone();
        let left = Left::of(&place);
        if self == Down::Stopped {
            exit.success();
            assert_eq!(left.uncommitted(), 0, "a stop in good order leaves nothing open");
        }
        (place, left)
    }
}

impl Left {
    /// Asks a copy of the state directory, so that the next host finds it as the last one left it.
    fn of(place: &Place) -> Left {
        let copy = place.temp().join("state-copy");
        let status = Command::new("cp").args(["-rT"]).arg(place.temp().join("state")).arg(&copy).status();
        assert!(status.is_ok_and(|status| status.success()), "the state directory can be copied");
        let host = Host::at(place.clone()).verb("replay").args(["--dry-run", "--state-dir"]).arg(copy);
        let exit = host.watching([""; 0]).run();
        let told = String::from_utf8_lossy(exit.success().stdout()).into_owned();
        let there = files(&place.root());
        let now: HashSet<Version> = there.iter().map(|(path, stamp)| (own_name(path), *stamp)).collect();
        let plugins = ["recorder", "closes"].map(|plugin| {
            let begin = format!("{plugin}: {}/", place.root().display());
            let finished = told.lines().filter_map(|line| line.strip_prefix(&begin)).map(Path::new);
            let finished: HashSet<(PathBuf, Stamp)> =
                finished.map(|path| (path.to_owned(), there[path])).collect();
            let finished_versions = finished.iter().map(|(path, stamp)| (own_name(path), *stamp)).collect();
            let done = recorded(place, plugin);
            let known: HashSet<Version> = done.iter().map(|d| (own_name(&d.file), d.stamp)).collect();
            let invented: Vec<_> = HashSet::difference(&finished_versions, &known).collect();
            assert!(invented.is_empty(), "{plugin} has finished what it never handled: {invented:?}");
            let uncommitted =
                known.difference(&finished_versions).filter(|version| now.contains(version)).count();
            PluginLeft { plugin, deliveries: done.len(), finished, uncommitted }
        });
        Left { plugins }
    }

    /// How much was handled but not finished: the most that may come again.
    fn uncommitted(&self) -> usize {
        self.plugins.iter().map(|left| left.uncommitted).sum()
    }

    /// Nothing of what was finished has come again since.
    pub(super) fn nothing_again(&self, place: &Place) {
        for PluginLeft { plugin, deliveries, finished, .. } in &self.plugins {
            let since = recorded(place, plugin).split_off(*deliveries);
            let again: Vec<_> =
                since.iter().filter(|d| finished.contains(&(d.file.clone(), d.stamp))).collect();
            assert!(again.is_empty(), "{plugin}: finished, and handled again: {again:#?}");
        }
    }
}

fn own_name(path: &Path) -> OsString {
    path.file_name().map(OsStr::to_owned).expect("a file has a name")
}

/// Duplicates are at most what was in flight or not committed at a kill, which is asked of each file: what the ledger
/// had at a kill never comes again.
#[test]
fn killed_at_random_moments() {
    let (kills, files) = (many(6, 20), many(400, 1000));
    let mut seed = 0;
    repeat(|| {
        seed += 1;
        let mut random = Random(seed);
        let mut below = |limit: usize| {
            usize::try_from(random.below(u64::try_from(limit).expect("small"))).expect("small")
        };
        let mut host = lasting(&Host::new()).start();
        let mut all_left = Vec::new();
        for kill in 0..kills {
            let write = |place: &Place, from: usize, to: usize| {
                for n in from..to {
                    let directory = format!("{}/{}", n % 7, kill % 3);
                    if !place.path(&directory).exists() {
                        place.mkdir(&directory);
                    }
                    place.write(format!("{directory}/{kill}-{n}"), "x");
                }
            };
            let (now, down) = (below(files), below(files / 4));
            write(&host, 0, now);
            // A commit is made every few tens of milliseconds.
            sleep(Duration::from_millis(u64::try_from(below(60)).expect("small")));
            let (place, left) = Down::Killed.end(host);
            all_left.push(left);
            let down = (now + down).min(files);
            write(&place, now, down);
            // A start may be cut short, too.
            host = if below(3) == 0 { lasting(&place).spawn() } else { lasting(&place).start() };
            write(&host, down, files);
        }
        let case = Case::lasting("f: killed again and again", &host);
        let doubled = case.at_least_once().len();
        let most: usize = all_left.iter().map(Left::uncommitted).sum();
        say(&format!("{doubled} came twice; {most} were handled but not committed at a kill"));
        assert!(doubled <= most);
        all_left.iter().for_each(|left| left.nothing_again(&host));
        host.stop().success();
    });
}
