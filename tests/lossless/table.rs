//! What each case came to, as one table: `lossless.md` in the target directory.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::ops::AddAssign;
use std::sync::{Mutex, PoisonError};

use notifyit_tests::{say, skip, target_directory};
use rustix::fs::{FlockOperation, flock};

const HEAD: &str = "| case | runs | written | handled | doubled |\n|---|---:|---:|---:|---:|\n";

/// One case, over all its runs.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Row {
    /// Files that are to be handled.
    pub(super) written: usize,
    /// Those of them that each plugin that is to handle them has handled.
    pub(super) handled: usize,
    /// Deliveries, by whichever plugin, of what had been handled before.
    pub(super) doubled: usize,
}

impl AddAssign for Row {
    fn add_assign(&mut self, other: Row) {
        self.written += other.written;
        self.handled += other.handled;
        self.doubled += other.doubled;
    }
}

/// One more run of a case.
pub(super) fn add(case: &str, row: Row) {
    static ROWS: Mutex<BTreeMap<String, (usize, Row)>> = Mutex::new(BTreeMap::new());
    let mut rows = ROWS.lock().unwrap_or_else(PoisonError::into_inner);
    let (runs, sum) = rows.entry(case.to_owned()).or_default();
    *runs += 1;
    *sum += row;
    let Row { written, handled, doubled } = *sum;
    say(&format!("{case} | {} | {} | {}", row.written, row.handled, row.doubled));
    write(case, &format!("| {case} | {runs} | {written} | {handled} | {doubled} |"));
}

/// A case that cannot be run here.
pub(super) fn left_out(case: &str, why: &str) {
    skip(&format!("{case}: {why}"));
    write(case, &format!("| {case} | {why} | | | |"));
}

/// Puts the row in its place, which may be that of an earlier run's.
fn write(case: &str, row: &str) {
    if std::env::var_os("NOTIFYIT_TESTS_REPEAT").is_none() {
        return;
    }
    let path = target_directory().join("lossless.md");
    // Another process may be at another case.
    let lock = File::create(path.with_extension("lock")).expect("the target directory is writable");
    flock(&lock, FlockOperation::LockExclusive).expect("files here can be locked");
    let known = fs::read_to_string(&path).unwrap_or_default();
    let others = known.lines().skip(2).filter(|line| !line.starts_with(&format!("| {case} |")));
    let mut rows: Vec<&str> = others.chain([row]).collect();
    rows.sort_unstable();
    fs::write(&path, format!("{HEAD}{}\n", rows.join("\n"))).expect("the target directory is writable");
}
