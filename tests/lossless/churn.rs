//! Everything at once by four writers, then quiet.

use std::collections::HashSet;
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use notifyit_tests::{Running, until};
use serde_json::Value;

use super::{Case, Stamp, both, deliveries, files, many, repeat};

/// A row of numbers that is the same in each run.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % limit
    }

    /// One of some hundred paths, up to three deep: `d1/d0/f3`.
    fn directory(&mut self, root: &Path) -> PathBuf {
        (0..self.below(4)).fold(root.to_owned(), |path, _| path.join(format!("d{}", self.below(4))))
    }

    fn file(&mut self, root: &Path) -> PathBuf {
        let directory = self.directory(root);
        directory.join(format!("f{}", self.below(12)))
    }

    fn link(&mut self, root: &Path) -> PathBuf {
        let directory = self.directory(root);
        directory.join(format!("link{}", self.below(4)))
    }
}

/// A name that was never used before.
fn unique() -> String {
    static NAMES: AtomicU64 = AtomicU64::new(0);
    format!("once{}", NAMES.fetch_add(1, Ordering::Relaxed))
}

/// One change; whether it succeeds is no matter.
fn change(random: &mut Random, root: &Path) {
    let _ = match random.below(48) {
        0..6 => fs::create_dir_all(random.directory(root)),
        6..30 => fs::write(random.file(root), "x".repeat(usize::try_from(random.below(500)).unwrap_or(0))),
        30..34 => OpenOptions::new()
            .append(true)
            .create(true)
            .open(random.file(root))
            .and_then(|mut f| f.write_all(b"more")),
        34..39 => fs::rename(random.file(root), random.file(root)),
        39..41 => fs::rename(random.directory(root), random.directory(root)),
        // Once written, never again: what is written by one name is told of that name alone, which is its content. In
        // the root, for a directory may be gone with that name before it has a watch.
        41..43 => {
            let (name, link) = (unique(), random.link(root));
            let once = root.join(&name);
            fs::write(&once, name).and_then(|()| fs::hard_link(once, link))
        }
        43 => fs::rename(random.link(root), random.link(root)),
        44..47 => fs::remove_file(random.file(root)),
        _ => {
            let directory = random.directory(root);
            if directory == root { Ok(()) } else { fs::remove_dir_all(directory) }
        }
    };
}

fn own_name(path: &Path) -> String {
    path.file_name().expect("a file has a name").to_string_lossy().into_owned()
}

/// The names that `print` was told of, also of files that were gone by then.
fn told(host: &Running) -> HashSet<String> {
    let events =
        host.stdout_lines().into_iter().map(|line| serde_json::from_str::<Value>(&line).expect("JSON"));
    events.filter_map(|event| event["name"].as_str().map(str::to_owned)).collect()
}

fn directories(at: &Path) -> usize {
    let entries = fs::read_dir(at).expect("nothing goes away now").flatten();
    1 + entries.filter(|e| e.path().is_dir()).map(|e| directories(&e.path())).sum::<usize>()
}

#[test]
fn random_changes_by_four_writers() {
    let mut round = 0;
    repeat(|| {
        round += 1;
        let host = both().start();
        let root = host.root();
        let end = Instant::now() + Duration::from_secs(u64::try_from(many(3, 30)).unwrap());
        thread::scope(|scope| {
            for writer in 0..4_u64 {
                let (root, seed) = (&root, round * 1000 + writer);
                scope.spawn(move || {
                    let mut random = Random(seed);
                    while Instant::now() < end {
                        change(&mut random, root);
                        // Beyond some thousand changes in a second, the kernel's queue alone is tested.
                        thread::sleep(Duration::from_micros(100));
                    }
                });
            }
        });
        let is_link = |path: &Path| own_name(path).starts_with("link");
        let churn = Case::all("n: churn", &host).by_own_name().but("print", |path| !is_link(path));
        churn.at_least_once();
        // To `print`, which does not ask for links, the name that was written is told, perhaps when it is gone; or, if
        // the kernel had no room for that event, a name by which the file was found.
        let found: HashSet<Stamp> = deliveries(&host, "print").into_iter().map(|found| found.stamp).collect();
        for (link, stamp) in files(&root).into_iter().filter(|(path, _)| is_link(path)) {
            let written = fs::read_to_string(root.join(&link)).expect("nothing goes away now");
            let is_told = told(&host).contains(&written) || found.contains(&stamp);
            assert!(is_told, "{link:?}: print was not told of {written}");
        }
        let expected = directories(&root);
        let agreed = until(|| (host.watches() == expected).then_some(()));
        assert!(agreed.is_some(), "{} watches, {expected} directories", host.watches());
        host.stop().success();
    });
}
