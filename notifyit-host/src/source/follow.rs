//! Keeps the tree true: watches directories as they appear, follows them as they move, lets go of them as they leave.
//!
//! What an event tells is past, and what is opened because of it is present: by the time that a directory is looked
//! for where the event says, it may be elsewhere, or another may lie there. So:
//!
//! - A directory is known by its watch descriptor, which stands for the inode: the same one, the same directory.
//! - A watch that turns out to belong to a node whose path leads elsewhere shows a rename whose event is still
//!   queued: the node is moved at once, with all beneath it, and no watch is lost.
//! - What could not be found is doubted: looked for again when everything that was queued has been read, and twice
//!   after that.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use anyhow::{Result, bail};
use inotify::WatchMask;
use rustix::io::Errno;
use tracing::debug;

use super::inotify::{MovedAway, Source};
use super::rescan::{Arrival, Order};
use super::roots::no_watch_left;
use super::walk::{self, Top};
use super::{Root, Sink};
use crate::event::{NodeId, WatchId};
use crate::sys;

/// File times may be older than the clock by a tick, and the clock may be set.
const CLOCK_SLACK: u64 = 2_000_000_000;

/// What lies at a node's path?
#[derive(PartialEq, Eq)]
pub(super) enum Look {
    /// The directory that its watch was added to.
    Same,
    /// Another one.
    Other,
    /// None.
    Missing,
}

/// Why a directory has no watch.
pub(super) enum Refusal {
    /// It is gone, or no directory any more: an event tells, or has told.
    Vanished,
    /// Something is mounted there, and the root is not to cross mounts.
    Mounted,
    /// It cannot be read: said, and left out.
    Denied(io::Error),
    /// The kernel has no watch left for this user.
    NoWatchLeft,
    /// Anything else.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => Refusal::Vanished,
            Some(Errno::XDEV) => Refusal::Mounted,
            Some(Errno::ACCESS | Errno::PERM) => Refusal::Denied(error),
            Some(Errno::NOSPC) => Refusal::NoWatchLeft,
            _ => Refusal::Failed(error),
        }
    }
}

impl<S: Sink> Source<S> {
    /// A directory has appeared: watches it and all beneath it, and has it looked into: files may have landed in it
    /// before its watch was in place.
    pub(super) fn adopt(&mut self, parent: NodeId, name: &OsStr, arrival: Arrival) {
        let (watch, relative) = {
            let tree = self.tree.read();
            (tree.watch(parent), tree.relative(parent, name))
        };
        let root = &self.roots[usize::from(watch.0)].root;
        if !root.recursive || root.patterns.excludes_dir(&relative) {
            return;
        }
        let known = self.tree.read().child(parent, name);
        match known.map(|known| self.look(known)) {
            Some(Look::Same) => return,
            Some(Look::Missing) => return self.doubt(parent, name, arrival),
            Some(Look::Other) | None => {}
        }
        if let Some(other) = known {
            self.drop_subtree(other);
        }
        let node = self.tree.write().add_child(parent, name);
        let mut seen = HashSet::new();
        let result = walk::open_root(self.root_of(node))
            .map_err(anyhow::Error::from)
            .and_then(|top| self.watch_beneath(&top, node, &mut seen));
        if let Err(error) = result {
            self.say_failed(&self.root_of(node).path.join(relative), &error);
        }
        if !seen.is_empty() {
            let since_nanos = self.drained_nanos.saturating_sub(CLOCK_SLACK);
            self.rescans.order(Order::NewDirectories {
                nodes: seen.into_iter().collect(),
                arrival,
                since_nanos,
            });
        }
    }

    /// A directory has got another place in the tree.
    pub(super) fn directory_renamed(&mut self, moved: &MovedAway, parent: NodeId, name: &OsStr) {
        let known = self.tree.read().child(moved.node, &moved.name);
        let Some(known) = known else { return self.adopt(parent, name, Arrival::Doubted) };
        let (watch, relative) = {
            let tree = self.tree.read();
            (tree.watch(parent), tree.relative(parent, name))
        };
        match self.look(known) {
            // There and back, or the other half of an exchange.
            Look::Same => return,
            Look::Other if self.exchanged(known, parent, name) => return,
            Look::Other | Look::Missing => {}
        }
        let root = &self.roots[usize::from(watch.0)].root;
        if !root.recursive || root.patterns.excludes_dir(&relative) {
            return self.drop_subtree(known);
        }
        if self.tree.read().is_within(parent, known) {
            // The kernel allows no such rename: the node had been given another directory.
            self.drop_subtree(known);
            return self.doubt(moved.node, &moved.name, Arrival::Doubted);
        }
        // Other patterns hold there, or the same ones say something else of the new path.
        let walk_again = moved.from.watch != watch || root.patterns.needs_path();
        let replaced = self.tree.write().rename(known, parent, name);
        self.drop_watches(&replaced);
        let now = self.look(known);
        if now == Look::Same {
            self.look_for_mistakes_at(known, (moved.node, &moved.name));
        }
        match now {
            Look::Same if walk_again => self.adopt_again(known),
            Look::Same => {}
            // It has moved on; its next event is queued.
            Look::Missing => self.doubt(parent, name, Arrival::Doubted),
            // The node had been given the directory that has the old name now.
            Look::Other => {
                self.drop_subtree(known);
                self.doubt(moved.node, &moved.name, Arrival::Doubted);
                self.adopt(parent, name, Arrival::Doubted);
            }
        }
    }

    /// A directory has left its place. If another one lies there, files of that one may have been tried for those of
    /// this one until now.
    pub(super) fn look_for_mistakes_at(&self, node: NodeId, (parent, name): (NodeId, &OsStr)) {
        let place = self.tree.read().path(parent).join(name);
        if matches!(sys::stat(&place), Ok(Some(stat)) if stat.is_directory()) {
            self.look_for_mistakes(node);
        }
    }

    fn look_for_mistakes(&self, node: NodeId) {
        let nodes = std::iter::once(node).chain(self.tree.read().below(node)).collect();
        self.rescans.order(Order::NewDirectories { nodes, arrival: Arrival::Replaced, since_nanos: 0 });
    }

    /// Has a directory changed places with another one (`RENAME_EXCHANGE`)? The kernel tells that as two renames.
    fn exchanged(&mut self, known: NodeId, parent: NodeId, name: &OsStr) -> bool {
        let other = {
            let tree = self.tree.read();
            let other = tree.child(parent, name);
            other.filter(|other| !tree.is_within(known, *other) && !tree.is_within(*other, known))
        };
        let Some(other) = other else { return false };
        self.tree.write().exchange(known, other);
        if self.look(known) != Look::Same || self.look(other) != Look::Same {
            self.tree.write().exchange(known, other);
            return false;
        }
        let watches = [known, other].map(|node| self.tree.read().watch(node));
        let needs_path = |watch: &WatchId| self.roots[usize::from(watch.0)].root.patterns.needs_path();
        self.look_for_mistakes(known);
        self.look_for_mistakes(other);
        if watches[0] != watches[1] || watches.iter().any(needs_path) {
            self.adopt_again(known);
            self.adopt_again(other);
        }
        true
    }

    /// The second half of a rename has not come: it went out of the tree.
    pub(super) fn moved_out(&mut self, moved: &MovedAway) {
        if !moved.directory {
            return;
        }
        let known = self.tree.read().child(moved.node, &moved.name);
        let Some(node) = known else { return };
        // Another directory may have that name by now; its own event has been, or will be, seen.
        if self.look(node) != Look::Same {
            debug!("{:?} was moved out of the watched tree", self.tree.read().path(node));
            self.drop_subtree(node);
            self.doubt(moved.node, &moved.name, Arrival::Doubted);
        }
    }

    /// The kernel has dropped a watch: its directory is gone.
    pub(super) fn unwatched(&mut self, wd: i32) {
        let nodes = self.tree.write().forget_wd(wd);
        for node in nodes {
            let place = self.tree.read().place(node);
            match place {
                None => self.check_root(node),
                Some((parent, name)) => {
                    self.drop_subtree(node);
                    self.doubt(parent, &name, Arrival::Made);
                }
            }
        }
    }

    /// Watches a directory and, if its root is recursive, all beneath it. `seen` gets every node that is there.
    ///
    /// # Errors
    ///
    /// There is no watch for the root itself, or it cannot be read. What refuses its watch further down is listed.
    pub(super) fn watch_beneath(
        &mut self,
        top: &Top,
        start: NodeId,
        seen: &mut HashSet<NodeId>,
    ) -> Result<()> {
        let mut todo = vec![start];
        while let Some(node) = todo.pop() {
            if !self.tree.read().is_alive(node) {
                continue;
            }
            match self.watch_one(top, node, &mut todo) {
                Ok(node) => {
                    seen.insert(node);
                }
                Err(Refusal::Vanished) => {
                    let place = self.tree.read().place(node);
                    self.drop_subtree(node);
                    if let Some((parent, name)) = place {
                        self.doubt(parent, &name, Arrival::Made);
                    }
                }
                Err(Refusal::Mounted) => {
                    self.say_mounted(node);
                    self.drop_subtree(node);
                }
                Err(Refusal::NoWatchLeft) if self.tree.read().is_root(node) => bail!(no_watch_left()),
                Err(Refusal::NoWatchLeft) => self.refuse(node, &no_watch_left()),
                Err(Refusal::Denied(error) | Refusal::Failed(error)) => {
                    if self.tree.read().is_root(node) {
                        return Err(error.into());
                    }
                    self.refuse(node, &error.to_string());
                }
            }
        }
        Ok(())
    }

    /// A directory that has refused its watch is listed until it has one.
    fn refuse(&mut self, node: NodeId, why: &str) {
        let (place, path) = {
            let tree = self.tree.read();
            (tree.place(node), tree.path(node))
        };
        self.drop_subtree(node);
        if let Some((parent, name)) = place {
            self.refused.note(parent, &name, path, why);
        }
    }

    /// Watches one directory, then lists it: what appears in between is told by an event *and* found by the listing.
    /// Returns the node that it has: another one, if its watch shows that it was renamed.
    fn watch_one(&mut self, top: &Top, node: NodeId, todo: &mut Vec<NodeId>) -> Result<NodeId, Refusal> {
        let (watch, relative) = {
            let tree = self.tree.read();
            (tree.watch(node), tree.relative_dir(node))
        };
        let directory = top.open_beneath(relative.as_os_str().as_bytes())?;
        let wd = self.add_watch(node, &directory)?;
        let node = self.claim(node, wd, sys::identity_of(&directory)?)?;
        let root = &self.roots[usize::from(watch.0)].root;
        if !root.recursive {
            return Ok(node);
        }
        let mut relative = relative.into_os_string().into_vec();
        if !relative.is_empty() {
            relative.push(b'/');
        }
        let length = relative.len();
        let mut tree = self.tree.write();
        walk::for_each_directory(directory, |name| {
            relative.truncate(length);
            relative.extend_from_slice(name.as_bytes());
            if !root.patterns.excludes_dir(Path::new(OsStr::from_bytes(&relative))) {
                todo.push(tree.add_child(node, name));
            }
        })?;
        Ok(node)
    }

    pub(super) fn add_watch(&mut self, node: NodeId, directory: &OwnedFd) -> io::Result<i32> {
        let (watch, is_root) = {
            let tree = self.tree.read();
            (tree.watch(node), tree.is_root(node))
        };
        // Renames are needed to carry work along, new directories to follow them. One directory may be reached from
        // two roots, which want different things of its one watch: so add to the mask.
        let mut mask = WatchMask::ONLYDIR | WatchMask::MASK_ADD | WatchMask::MOVE | self.sink.interest(watch);
        if self.roots[usize::from(watch.0)].root.recursive {
            mask |= WatchMask::CREATE;
        }
        if is_root {
            mask |= WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
        }
        if self.roots[usize::from(watch.0)].root.cross_mounts {
            self.tree.write().note_device(watch, directory)?;
        }
        let wd = self.inotify.watches().add(walk::watch_path(directory), mask)?;
        Ok(wd.get_watch_descriptor_id())
    }

    /// Looks at what lies at a node's path.
    pub(super) fn look(&mut self, node: NodeId) -> Look {
        match self.open(node) {
            Ok(directory) => self.look_at(node, &directory),
            Err(_) => Look::Missing,
        }
    }

    /// Opens what lies at a node's path.
    pub(super) fn open(&self, node: NodeId) -> io::Result<OwnedFd> {
        let relative = self.tree.read().relative_dir(node);
        walk::open_root(self.root_of(node))?.open_beneath(relative.as_os_str().as_bytes())
    }

    /// The same as [`Source::look`], for what has been opened there.
    pub(super) fn look_at(&mut self, node: NodeId, directory: &OwnedFd) -> Look {
        match self.add_watch(node, directory) {
            Ok(wd) if Some(wd) == self.tree.read().wd(node) => Look::Same,
            Ok(wd) => {
                // Another directory, and nobody's yet: its own event will find it.
                if self.tree.read().by_wd(wd).next().is_none() {
                    self.drop_watches(&[wd]);
                }
                Look::Other
            }
            Err(_) => Look::Missing,
        }
    }

    /// A directory was renamed to where other patterns hold, or the same say something else: drops what is excluded
    /// now, and watches what no longer is.
    fn adopt_again(&mut self, node: NodeId) {
        let below: Vec<NodeId> = self.tree.read().below(node).collect();
        for node in below {
            let tree = self.tree.read();
            let root = &self.roots[usize::from(tree.watch(node).0)].root;
            let excluded = tree.is_alive(node) && root.patterns.excludes_dir(&tree.relative_dir(node));
            drop(tree);
            if excluded {
                self.drop_subtree(node);
            }
        }
        let walked = walk::open_root(self.root_of(node))
            .map_err(anyhow::Error::from)
            .and_then(|top| self.watch_beneath(&top, node, &mut HashSet::new()));
        if let Err(error) = walked {
            self.say_failed(&self.root_of(node).path.clone(), &error);
        }
    }

    pub(super) fn root_of(&self, node: NodeId) -> &Root {
        let watch = self.tree.read().watch(node);
        &self.roots[usize::from(watch.0)].root
    }

    /// Takes a directory and all beneath it out of the tree and out of the kernel.
    pub(super) fn drop_subtree(&mut self, node: NodeId) {
        let dropped = self.tree.write().bury(node);
        self.drop_watches(&dropped);
    }

    pub(super) fn drop_watches(&self, dropped: &[i32]) {
        for wd in dropped {
            // The kernel may have dropped it by itself, with the directory.
            let _ = rustix::fs::inotify::remove_watch(&self.inotify, *wd);
        }
    }
}
