//! Directories that refused their watch: listed from time to time, and tried again until they take it.
//!
//! The directory may not be read until somebody changes its mode, or there is no watch left until another program
//! ends. They are part of the tree, but for the source only as far as their names: what is beneath them is found by
//! the rescan's patient thread, which lists what can be listed. When the watch is in place, the source takes over.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use rustix::io::Errno;
use tracing::{debug, info, warn};

use super::Sink;
use super::inotify::{MovedAway, Source};
use super::rescan::{Finder, Order, Rescan};
use super::tally::Tally;
use super::tree::Tree;
use super::walk;
use crate::event::NodeId;

/// How often they are tried, and listed.
const TRY_AGAIN: Duration = Duration::from_secs(5);
/// How soon a new one is.
const SOON: Duration = Duration::from_millis(500);
/// At most so often is it said that there are more of them.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// What has refused its watch: a parent and a name. Bounded by the directories that there are.
#[derive(Debug, Default)]
pub(super) struct Refused {
    directories: HashSet<(NodeId, Box<OsStr>)>,
    at: Option<Instant>,
    /// What has not been said yet: how many, and of one its path and why.
    fresh: usize,
    example: Option<(PathBuf, String)>,
    say_at: Option<Instant>,
}

impl Refused {
    /// Notes a directory.
    pub(super) fn note(&mut self, parent: NodeId, name: &OsStr, path: PathBuf, why: &str) {
        if self.directories.insert((parent, name.into())) {
            self.fresh += 1;
            self.example.get_or_insert_with(|| (path, why.to_owned()));
            let now = Instant::now();
            // Something may have landed in it already. Where each directory of a storm of them is refused, the list is
            // not to be gone through for each.
            let soon = now + SOON;
            self.at = Some(self.at.map_or(soon, |at| at.min(soon)));
            self.say_at.get_or_insert(now);
        }
    }

    /// Forgets those whose parents are gone: their numbers are about to be used again.
    pub(super) fn forget_beneath_buried(&mut self, tree: &Tree) {
        self.directories.retain(|(parent, _)| tree.is_alive(*parent));
    }

    fn forget(&mut self, parent: NodeId, name: &OsStr) -> bool {
        self.directories.remove(&(parent, Box::from(name)))
    }

    /// Says what has not been said yet. Returns when to do so next.
    fn say(&mut self, now: Instant) -> Option<Instant> {
        if self.say_at? <= now {
            self.say_at = (self.fresh > 0).then_some(now + SAY_EVERY);
            if let Some((path, why)) = self.example.take() {
                let others = match std::mem::take(&mut self.fresh) {
                    1 => String::new(),
                    2 => ", nor is another directory".to_owned(),
                    count => format!(", nor are {} other directories", count - 1),
                };
                warn!(
                    "{path:?} is not watched{others}: {why}; what can be listed is listed every {TRY_AGAIN:?}, until it \
                     can be watched"
                );
            }
        }
        self.say_at
    }
}

impl<S: Sink> Source<S> {
    /// Tries what has refused its watch, and has it listed. Returns when to go on.
    pub(super) fn try_refused(&mut self, now: Instant) -> Option<Instant> {
        let say = self.refused.say(now);
        if self.refused.at.is_some_and(|at| at <= now) {
            self.try_each();
            let mut directories: Vec<_> = self.refused.directories.iter().cloned().collect();
            directories.sort_unstable();
            self.refused.at = (!directories.is_empty()).then_some(now + TRY_AGAIN);
            if !directories.is_empty() {
                self.rescans.order(Order::Unwatched { directories });
            }
        }
        [say, self.refused.at].into_iter().flatten().min()
    }

    /// Tries what has refused its watch.
    fn try_each(&mut self) {
        let all: Vec<_> = self.refused.directories.iter().cloned().collect();
        for (parent, name) in all {
            if !self.tree.read().is_alive(parent) {
                self.refused.forget(parent, &name);
            } else if !self.try_one(parent, &name) {
                // There is no watch left for the others either.
                break;
            }
        }
    }

    /// Returns whether it is worth while to try others.
    fn try_one(&mut self, parent: NodeId, name: &OsStr) -> bool {
        let (watch, relative, path, known) = {
            let tree = self.tree.read();
            let known = tree.child(parent, name);
            (tree.watch(parent), tree.relative(parent, name), tree.path(parent).join(name), known)
        };
        if known.is_some_and(|node| self.tree.read().wd(node).is_some()) {
            self.refused.forget(parent, name);
            return true;
        }
        let root = walk::open_root(&self.roots[usize::from(watch.0)].root);
        let opened = root.and_then(|top| Ok((top.open_beneath(relative.as_os_str().as_bytes())?, top)));
        // What is beneath it is known by listing; it stays known unless there is a watch.
        match opened.and_then(|(directory, fd)| self.add_watch(parent, &directory).map(|_| fd)) {
            Err(error) => {
                debug!("failed to watch {path:?}: {error}");
                if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) {
                    self.refused.forget(parent, name);
                    known.into_iter().for_each(|node| self.drop_subtree(node));
                }
                error.raw_os_error() != Some(Errno::NOSPC.raw_os_error())
            }
            Ok(fd) => {
                let node = self.tree.write().add_child(parent, name);
                let mut seen = HashSet::new();
                if let Err(error) = self.watch_beneath(&fd, node, &mut seen) {
                    debug!("failed to watch {path:?}: {error:#}");
                }
                if seen.contains(&node) {
                    self.refused.forget(parent, name);
                    info!("{path:?} is watched now");
                    self.rescans.order(Order::Root(node));
                }
                true
            }
        }
    }

    /// A directory without a watch was renamed: takes it along, with what is known beneath it. Returns whether it was
    /// one.
    pub(super) fn refused_renamed(&mut self, moved: &MovedAway, parent: NodeId, name: &OsStr) -> bool {
        if !self.refused.forget(moved.node, &moved.name) {
            return false;
        }
        let known = self.tree.read().child(moved.node, &moved.name);
        if let Some(node) = known {
            let (watch, relative) = {
                let tree = self.tree.read();
                (tree.watch(parent), tree.relative(parent, name))
            };
            let root = &self.roots[usize::from(watch.0)].root;
            if !root.recursive || root.patterns.excludes_dir(&relative) {
                self.drop_subtree(node);
                return true;
            }
            if !self.tree.read().is_within(parent, node) {
                let replaced = self.tree.write().rename(node, parent, name);
                self.drop_watches(&replaced);
                self.refused.directories.insert((parent, name.into()));
                return true;
            }
        }
        false
    }
}

/// A walk through directories without a watch.
#[derive(Default)]
struct Walk {
    todo: Vec<NodeId>,
    seen: FxHashSet<NodeId>,
    /// Those that were listed to their end.
    listed: FxHashSet<NodeId>,
}

impl<F: Finder> Rescan<F> {
    /// Looks into directories that have no watch, and all beneath them.
    pub(super) fn go_through_unwatched(
        &mut self,
        directories: &[(NodeId, Box<OsStr>)],
        order: &Order,
        tally: &mut Tally,
    ) {
        for (parent, name) in directories {
            let Some(top) = self.unwatched_child(*parent, name) else { continue };
            let mut walk = Walk { todo: vec![top], ..Walk::default() };
            while let Some(node) = walk.todo.pop() {
                if self.handle.is_stopped() {
                    return;
                }
                let begin = Instant::now();
                self.look_into(node, order, tally);
                self.finder.end_of_directory();
                if let Err(error) = self.find_directories(&mut walk, node) {
                    debug!("failed to list a directory without a watch: {error}");
                }
                self.handle.rest(begin.elapsed());
            }
            self.bury_gone(&walk, top);
        }
    }

    /// The node of a directory that has no watch.
    fn unwatched_child(&self, parent: NodeId, name: &OsStr) -> Option<NodeId> {
        let mut tree = self.tree.write();
        let node = tree.is_alive(parent).then(|| tree.add_child(parent, name))?;
        tree.wd(node).is_none().then_some(node)
    }

    fn find_directories(&self, walk: &mut Walk, node: NodeId) -> io::Result<()> {
        let (root, relative) = {
            let tree = self.tree.read();
            if !tree.is_alive(node) {
                return Ok(());
            }
            (&self.roots[usize::from(tree.watch(node).0)], tree.relative_dir(node))
        };
        let opened = walk::open_root(root)?.open_beneath(relative.as_os_str().as_bytes())?;
        if root.recursive {
            walk::for_each_directory(opened, |name| {
                if !root.patterns.excludes_dir(&relative.join(name))
                    && let Some(child) = self.unwatched_child(node, name)
                    && walk.seen.insert(child)
                {
                    walk.todo.push(child);
                }
            })?;
        }
        walk.listed.insert(node);
        Ok(())
    }

    /// Takes out of the tree what was not listed where it was, unless the source has taken over.
    fn bury_gone(&self, walk: &Walk, top: NodeId) {
        let mut tree = self.tree.write();
        if !tree.is_alive(top) {
            return;
        }
        let is_gone = |node: &NodeId| {
            let parent = tree.place(*node).map(|(parent, _)| parent);
            !walk.seen.contains(node)
                && tree.wd(*node).is_none()
                && parent.is_some_and(|p| walk.listed.contains(&p) && tree.wd(p).is_none())
        };
        let gone: Vec<NodeId> = tree.below(top).filter(is_gone).collect();
        for node in gone {
            tree.bury(node);
        }
    }
}
