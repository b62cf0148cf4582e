//! Pruning: what the ledger knows of files and directories that are gone is forgotten, directory by directory.
//!
//! Nothing is forgotten beneath a root that is away: each directory is reached from the root anew, and only while that
//! is the directory it was at the beginning. The same holds for what is mounted beneath a root. What was renamed while
//! it was looked for is left for the next time.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use rustc_hash::FxHashSet;
use rustix::fs::fstatvfs;
use tracing::debug;

use super::filesystem::Kind;
use super::rescan::{Finder, Order, Rescan};
use super::tree::Tree;
use super::walk;
use crate::event::{NodeId, WatchId};
use crate::sys::{self, Identity, Stat};

/// After so many findings they are forgotten.
const MANY: usize = 10_000;
/// How long the source may take to say that it has read what was queued. A stop does not wait longer.
const PATIENCE: Duration = Duration::from_secs(1);

/// A root, as far as it tells whether it is the one that the ledger was filled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootSeen {
    /// Its watch.
    pub watch: WatchId,
    /// The file system's own number, which lasts; where there is none, that of its kind.
    pub filesystem: u64,
    /// The directory's inode; 0 where inodes do not last.
    pub inode: u64,
    /// Is nothing in it?
    pub is_empty: bool,
}

/// What has a name in a directory.
pub type Lookup<'a> = dyn Fn(&OsStr) -> io::Result<Option<Stat>> + 'a;

/// A directory in which what the ledger knows is looked for.
#[expect(missing_debug_implementations, reason = "a function has no such form")]
#[derive(Clone, Copy)]
pub struct LookedInto<'a> {
    /// Its node.
    pub node: NodeId,
    /// Its number.
    pub number: u64,
    /// If it is another mount than its parent: the file system and the inode of what is mounted there.
    pub mounted: Option<(u64, u64)>,
    /// What is in it.
    pub lookup: &'a Lookup<'a>,
}

impl<F: Finder> Rescan<F> {
    /// Looks for what the ledger knows and is gone, beneath each root that is there.
    pub(super) fn prune(&mut self) {
        let watched = self.tree.read().all();
        let is_root = |node: &NodeId| {
            let tree = self.tree.read();
            tree.is_alive(*node) && tree.is_root(*node)
        };
        let roots: Vec<NodeId> =
            watched.into_iter().chain(self.polled.keys().copied()).filter(is_root).collect();
        for root in roots {
            let Ok((seen, identity)) = self.see(root) else { continue };
            if self.finder.may_forget(&seen) {
                self.prune_beneath(root, identity);
            }
        }
        self.finder.end_pruning();
    }

    /// Tells of the roots that an order is about to look into for the first time, or again.
    pub(super) fn note_roots(&mut self, order: &Order) {
        let tops: &[NodeId] = match order {
            Order::Start { nodes } => nodes,
            Order::Root(node) | Order::Poll { root: node, .. } => std::slice::from_ref(node),
            _ => return,
        };
        let is_root = |node: &&NodeId| {
            let tree = self.tree.read();
            tree.is_alive(**node) && tree.is_root(**node)
        };
        let seen: Vec<RootSeen> =
            tops.iter().filter(is_root).filter_map(|node| Some(self.see(*node).ok()?.0)).collect();
        seen.iter().for_each(|root| self.finder.root_is(root));
    }

    /// Is there a directory for each root?
    pub(super) fn are_all_there(&self) -> bool {
        let tree = self.tree.read();
        let watched: FxHashSet<WatchId> = tree.all().into_iter().map(|node| tree.watch(node)).collect();
        (0_u16..)
            .zip(&self.roots)
            .all(|(id, _)| watched.contains(&WatchId(id)) || tree.terms(WatchId(id)).polled)
    }

    fn see(&self, root: NodeId) -> io::Result<(RootSeen, Identity)> {
        let (watch, terms) = {
            let tree = self.tree.read();
            (tree.watch(root), tree.terms(tree.watch(root)))
        };
        let top = walk::open_root(&self.roots[usize::from(watch.0)])?;
        let identity = sys::identity_of(&top.directory)?;
        let filesystem = filesystem(&top.directory)?;
        let inode = if terms.inodes_last { identity.inode } else { 0 };
        Ok((RootSeen { watch, filesystem, inode, is_empty: top.is_empty()? }, identity))
    }

    fn prune_beneath(&mut self, root: NodeId, identity: Identity) {
        let nodes: Vec<NodeId> = std::iter::once(root).chain(self.tree.read().below(root)).collect();
        let mut looked = Vec::new();
        for node in nodes {
            if self.handle.is_stopped() {
                return;
            }
            let begin = Instant::now();
            match self.look_for_gone(node, identity, &mut looked) {
                Ok(count) if count >= MANY => self.forget_gone(&mut looked),
                Ok(_) => {}
                Err(error) => debug!("failed to look for what is gone: {error}"),
            }
            self.handle.rest(begin.elapsed());
        }
        self.forget_gone(&mut looked);
    }

    /// Returns how much there is to be forgotten.
    fn look_for_gone(
        &mut self,
        node: NodeId,
        identity: Identity,
        looked: &mut Vec<(NodeId, PathBuf)>,
    ) -> io::Result<usize> {
        let (watch, number, relative) = {
            let tree = self.tree.read();
            if !tree.is_alive(node) {
                return Ok(0);
            }
            (tree.watch(node), tree.serial(node), tree.relative_dir(node))
        };
        let top = walk::open_root(&self.roots[usize::from(watch.0)])?;
        if sys::identity_of(&top.directory)? != identity {
            return Err(io::Error::other("its root is another directory now"));
        }
        let directory = top.open_beneath(relative.as_os_str().as_bytes())?;
        looked.push((node, relative));
        let (mounted, lookup) =
            (mounted(&directory, identity)?, |name: &OsStr| sys::stat_in(directory.as_fd(), name));
        Ok(self.finder.look_for_gone(LookedInto { node, number, mounted, lookup: &lookup }))
    }

    /// Has forgotten what was found gone in directories that are still where they were when it was looked for.
    fn forget_gone(&mut self, looked: &mut Vec<(NodeId, PathBuf)>) {
        let looked = std::mem::take(looked);
        if !self.finder.has_gone() {
            return;
        }
        let (passed, wait) = channel();
        self.source.fence(move || {
            let _ = passed.send(());
        });
        if wait.recv_timeout(PATIENCE).is_err() {
            return self.finder.forget_gone(&FxHashSet::default(), FxHashSet::default());
        }
        // Until that is noted the tree stands still: a directory that is made anew has the number of the one before.
        let tree = self.tree.read();
        let is_in_place = |(node, relative): &(NodeId, PathBuf)| {
            tree.is_alive(*node) && tree.relative_dir(*node) == *relative
        };
        let in_place = looked.into_iter().filter(is_in_place).map(|(node, _)| node).collect();
        self.finder.forget_gone(&in_place, tree.serials());
    }
}

/// The file system's own number, which lasts; where there is none, that of its kind.
fn filesystem(directory: &OwnedFd) -> io::Result<u64> {
    let number = fstatvfs(directory)?.f_fsid;
    // Device numbers are given anew at each boot.
    if number == 0 { Ok(u64::from(Kind::of(directory)?.magic())) } else { Ok(number) }
}

/// What is mounted at a directory beneath a root, if anything is.
fn mounted(directory: &OwnedFd, root: Identity) -> io::Result<Option<(u64, u64)>> {
    let there = sys::identity_of(directory)?;
    if there.mount == root.mount || sys::identity_of(&walk::open_above(directory)?)?.mount == there.mount {
        return Ok(None);
    }
    Ok(Some((filesystem(directory)?, there.inode)))
}

impl Tree {
    /// The numbers of all directories of which anything is known, also of those that are buried.
    pub fn serials(&self) -> FxHashSet<u64> {
        self.nodes.iter().flatten().map(|node| node.serial).collect()
    }
}
