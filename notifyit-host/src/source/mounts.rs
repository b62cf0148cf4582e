//! Is a root still the directory that is watched? A mount over it, an unmount, a renamed directory above it: of these
//! inotify tells nothing, and the watches go on telling of files that nobody can reach.
//!
//! So the identities of the roots are compared: every few seconds, when the mount table has changed, and when what an
//! event named is unexpectedly missing. A mount *beneath* a root is no other root, but its tree is walked again.

use std::collections::HashSet;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use tracing::{info, warn};

use super::Sink;
use super::inotify::Source;
use super::rescan::Order;
use super::roots::{Rooted, State};
use crate::event::NodeId;

/// How often the roots' identities are compared, whatever is told.
const COMPARE_EVERY: Duration = Duration::from_secs(10);
/// proc(5): polls as urgent when something was mounted or unmounted.
const TABLE: &str = "/proc/self/mountinfo";

/// Why a mount point is left out, and what can be done.
pub(super) const WHY_NOT_CROSSED: &str = "another file system is mounted there; give it a watch of its own, or have \
                                          this one cross mounts (cross_mounts = true, --cross-mounts)";

/// What is mounted, as far as the roots are concerned.
#[derive(Debug)]
pub(super) struct Mounts {
    /// `None` without `/proc`.
    table: Option<File>,
    /// What is mounted beneath each root.
    beneath: Vec<Vec<Mounted>>,
    /// Mount points that were said to be left out.
    said: HashSet<PathBuf>,
    compare_at: Instant,
}

/// A mount: its number and where it is, as the table has them.
type Mounted = (Vec<u8>, Vec<u8>);

impl Mounts {
    /// To be called before the first look at a root.
    pub(super) fn new(roots: &[Rooted], now: Instant) -> Mounts {
        let table = File::open(TABLE).ok();
        let (beneath, said) = (beneath_each(roots), HashSet::new());
        Mounts { table, beneath, said, compare_at: now + COMPARE_EVERY }
    }

    /// To be polled with the other descriptors.
    pub(super) fn poll_fd(&self) -> Option<PollFd<'_>> {
        self.table.as_ref().map(|table| PollFd::new(table, PollFlags::PRI))
    }
}

impl<S: Sink> Source<S> {
    /// Compares the identities of all roots, if it is time to. Returns when to do so next.
    pub(super) fn compare_roots(&mut self, now: Instant) -> Option<Instant> {
        // A directory that is not where an event said it was may be so because its root is another one now.
        if self.mounts.compare_at <= now || !self.doubts.is_empty() {
            self.check_roots();
            self.mounts.compare_at = now + COMPARE_EVERY;
        }
        let is_watched = |rooted: &Rooted| matches!(rooted.state, State::Watched(..));
        self.roots.iter().any(is_watched).then_some(self.mounts.compare_at)
    }

    /// Compares the identities of all roots.
    pub(super) fn check_roots(&mut self) {
        for index in 0..self.roots.len() {
            if let State::Watched(node, _) = self.roots[index].state {
                self.check_root(node);
            }
        }
    }

    /// A directory is left out, for something is mounted there.
    pub(super) fn say_mounted(&mut self, node: NodeId) {
        let path = self.tree.read().path(node);
        if self.mounts.said.insert(path.clone()) {
            warn!("{path:?} is left out: {}", WHY_NOT_CROSSED);
        }
    }

    /// Something was mounted or unmounted, anywhere.
    pub(super) fn mounts_changed(&mut self) {
        self.check_roots();
        let beneath = beneath_each(&self.roots);
        let before = std::mem::replace(&mut self.mounts.beneath, beneath);
        for (index, before) in before.iter().enumerate() {
            let Rooted { root, state: State::Watched(node, _) } = &self.roots[index] else { continue };
            if root.recursive && *before != self.mounts.beneath[index] {
                info!("something was mounted or unmounted beneath {:?}; looking at all of it", root.path);
                let node = *node;
                self.repair_root(index, node);
                self.rescans.order(Order::Root(node));
            }
        }
    }
}

fn beneath_each(roots: &[Rooted]) -> Vec<Vec<Mounted>> {
    let table = fs::read(TABLE).unwrap_or_default();
    let beneath = |rooted: &Rooted| {
        let path = &rooted.root.path;
        beneath(&table, &path.canonicalize().unwrap_or_else(|_| path.clone()))
    };
    roots.iter().map(beneath).collect()
}

/// What the table says is mounted beneath a directory.
fn beneath(table: &[u8], root: &Path) -> Vec<Mounted> {
    let mut prefix = root.as_os_str().as_bytes().to_vec();
    if prefix.last() != Some(&b'/') {
        prefix.push(b'/');
    }
    let mounted = table.split(|b| *b == b'\n').filter_map(|line| {
        let mut fields = line.split(|b| *b == b' ');
        let (number, place) = (fields.next()?.to_vec(), unescaped(fields.nth(3)?));
        (place.len() > prefix.len() && place.starts_with(&prefix)).then_some((number, place))
    });
    mounted.collect()
}

/// Blanks and backslashes in a path are written as three octal digits.
fn unescaped(field: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        let digits = behind.get(..3).filter(|_| first == b'\\').and_then(|d| std::str::from_utf8(d).ok());
        match digits.and_then(|digits| u8::from_str_radix(digits, 8).ok()) {
            Some(byte) => (out.push(byte), rest = &behind[3..]),
            None => (out.push(first), rest = behind),
        };
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_mounted_beneath_a_directory_is_told_from_what_is_beside_it() {
        let table = b"21 1 8:1 / / rw - ext4 /dev/a rw\n\
            30 21 0:5 / /srv/in rw - tmpfs t rw\n\
            31 30 0:6 / /srv/in/a\\040b\\134 rw - tmpfs t rw\n\
            32 21 0:7 / /srv/inner rw - tmpfs t rw\n\n";
        let found = |root: &str| beneath(table, Path::new(root));
        assert_eq!(found("/srv/in"), [(b"31".to_vec(), b"/srv/in/a b\\".to_vec())]);
        assert_eq!(found("/").len(), 3);
        assert_eq!(found("/srv/in/a b\\"), []);
    }
}
