//! A poll: the rescan of a root where inotify does not see what is written.
//!
//! There are no watches beneath such a root, so the walk itself keeps the tree true: directories are found by listing,
//! and what is not listed any more is gone. A directory that was renamed keeps its node, and with it what is known of
//! its files: it is recognised by its inode, where those last. Nothing is taken out of the tree while the root, or the
//! directory above, cannot be listed: a server that is down has lost no files.

use std::collections::hash_map::Entry;
use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustc_hash::{FxHashMap, FxHashSet};
use rustix::fs::{Dir, fstat};
use tracing::{debug, info, warn};

use super::Root;
use super::filesystem::{Kind, Terms};
use super::mounts::WHY_NOT_CROSSED;
use super::rescan::{Finder, Found, Order, Rescan, Turn};
use super::tally::Tally;
use super::walk::{self, Top};
use crate::event::{NodeId, WatchId};
use crate::sys::{self, Stat};

/// Which directory it is: its inode, if it is on the root's own file system. (The device's number changes when a
/// network file system is mounted anew.)
type Identity = (bool, u64);

/// What the polls of a root remember.
#[derive(Debug)]
pub(super) struct Memory {
    turn: Turn,
    /// The root's file system and device, once it has been listed.
    on: Option<(Kind, u64)>,
    /// Has it been said that it cannot be listed?
    is_away: bool,
    identities: FxHashMap<NodeId, Identity>,
    nodes: FxHashMap<Identity, NodeId>,
    /// Mount points that were said to be left out.
    mounts_said: FxHashSet<PathBuf>,
}

/// One walk.
struct Walk {
    root: NodeId,
    watch: WatchId,
    terms: Terms,
    top: Top,
    device: u64,
    /// Every directory that was found.
    seen: FxHashSet<NodeId>,
    /// Every directory that was listed to its end.
    listed: FxHashSet<NodeId>,
}

impl Memory {
    fn new(turn: Turn) -> Memory {
        Memory {
            turn,
            on: None,
            is_away: false,
            identities: FxHashMap::default(),
            nodes: FxHashMap::default(),
            mounts_said: FxHashSet::default(),
        }
    }

    fn learn(&mut self, node: NodeId, identity: Identity) {
        self.identities.insert(node, identity);
        self.nodes.entry(identity).or_insert(node);
    }

    fn forget(&mut self, node: NodeId) {
        let Some(identity) = self.identities.remove(&node) else { return };
        if let Entry::Occupied(entry) = self.nodes.entry(identity)
            && *entry.get() == node
        {
            entry.remove();
        }
    }
}

impl<F: Finder> Rescan<F> {
    /// Walks a root that is polled.
    pub(super) fn poll(&mut self, root: NodeId, turn: Turn, tally: &mut Tally) {
        let memory = self.polled.entry(root).or_insert_with(|| Memory::new(turn));
        let order = Order::Poll { root, turn: memory.turn };
        if self.walk_root(root, &order, tally)
            && let Some(memory) = self.polled.get_mut(&root)
        {
            memory.turn = Turn::Usual;
        }
    }

    /// Goes through all roots that are polled, for another order.
    pub(super) fn go_through_polled(&mut self, order: &Order, tally: &mut Tally) {
        let roots: Vec<NodeId> = self.polled.keys().copied().collect();
        for root in roots {
            self.walk_root(root, order, tally);
        }
    }

    /// Can every root that is polled be listed?
    pub(super) fn can_reach_all(&self) -> bool {
        self.polled.iter().all(|(root, memory)| {
            let root = self.root_of(*root);
            memory.on.is_none_or(|on| reach(root, on).is_ok())
        })
    }

    fn root_of(&self, root: NodeId) -> &Root {
        let watch = self.tree.read().watch(root);
        &self.roots[usize::from(watch.0)]
    }

    /// Returns whether the root could be listed.
    fn walk_root(&mut self, root: NodeId, order: &Order, tally: &mut Tally) -> bool {
        let path = self.root_of(root).path.clone();
        let Some(on) = self.polled.get(&root).map(|memory| memory.on) else { return false };
        let opened = match on {
            Some(on) => reach(self.root_of(root), on),
            None => open(self.root_of(root)),
        };
        let Some(memory) = self.polled.get_mut(&root) else { return false };
        let (top, kind, device) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                if !std::mem::replace(&mut memory.is_away, true) {
                    warn!("failed to poll {path:?}: {error}; trying again");
                }
                return false;
            }
        };
        if std::mem::replace(&mut memory.is_away, false) {
            info!("polling {path:?} again");
        }
        memory.on = Some((kind, device));
        let (watch, terms) = {
            let tree = self.tree.read();
            (tree.watch(root), tree.terms(tree.watch(root)))
        };
        let (seen, listed) = Default::default();
        let mut walk = Walk { root, watch, terms, top, device, seen, listed };
        let mut todo = vec![root];
        while let Some(node) = todo.pop() {
            if self.handle.is_stopped() {
                return true;
            }
            if let Err(error) = self.walk_one(&mut walk, node, order, &mut todo, tally) {
                debug!("failed to list {:?}: {error}", self.tree.read().path(node));
            }
            self.finder.end_of_directory();
        }
        self.bury_unseen(&walk);
        true
    }

    /// Something is mounted over a directory: what is known of it stays.
    fn leave_out(&mut self, walk: &mut Walk, parent: NodeId, name: &OsStr) {
        let (path, known) = {
            let tree = self.tree.read();
            (tree.path(parent).join(name), tree.child(parent, name))
        };
        walk.seen.extend(known);
        let memory = self.polled.get_mut(&walk.root);
        if memory.is_some_and(|memory| memory.mounts_said.insert(path.clone())) {
            warn!("{path:?} is left out: {WHY_NOT_CROSSED}");
        }
    }

    /// Lists one directory: looks at its files, notes its directories.
    fn walk_one(
        &mut self,
        walk: &mut Walk,
        node: NodeId,
        order: &Order,
        todo: &mut Vec<NodeId>,
        tally: &mut Tally,
    ) -> io::Result<()> {
        let sequence = self.handle.sequence();
        let (directory, relative) = {
            let tree = self.tree.read();
            (tree.serial(node), tree.relative_dir(node))
        };
        let opened = walk.top.open_beneath(relative.as_os_str().as_bytes())?;
        tally.directories += 1;
        let mut listing = Dir::new(opened)?;
        let mut directories: Vec<(OsString, Stat)> = Vec::new();
        let mut failed = None;
        while let Some(entry) = listing.next() {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let stat = match sys::stat_in(listing.fd()?, name) {
                Ok(Some(stat)) => stat,
                Ok(None) => continue,
                Err(error) => {
                    failed = Some(error);
                    continue;
                }
            };
            if stat.is_directory() {
                directories.push((name.to_owned(), stat));
            } else if stat.is_file() {
                tally.files += 1;
                let found = Found { sequence, node, directory, watch: walk.watch, name, stat, order };
                tally.due += u64::from(self.finder.found(&found));
            }
        }
        for (name, stat) in directories {
            let root = &self.roots[usize::from(walk.watch.0)];
            if root.recursive && !root.patterns.excludes_dir(&relative.join(&name)) {
                if stat.device != walk.device && !root.cross_mounts {
                    self.leave_out(walk, node, &name);
                    continue;
                }
                let child = self.place(walk, node, &name, (stat.device == walk.device, stat.inode));
                if walk.seen.insert(child) {
                    todo.push(child);
                }
            }
        }
        match failed {
            // What could not be looked at may be a directory.
            Some(error) => Err(error),
            None => {
                walk.listed.insert(node);
                Ok(())
            }
        }
    }

    /// The node of a directory that was found there: the one it had, wherever that was.
    fn place(&mut self, walk: &Walk, parent: NodeId, name: &OsStr, identity: Identity) -> NodeId {
        let memory = self.polled.entry(walk.root).or_insert_with(|| Memory::new(Turn::Usual));
        let known = self.tree.read().child(parent, name);
        let is_same = |node| !walk.terms.inodes_last || memory.identities.get(&node) == Some(&identity);
        if let Some(known) = known.filter(|node| is_same(*node)) {
            return known;
        }
        let mut tree = self.tree.write();
        if let Some(known) = known {
            // Another directory has its name. It may be found elsewhere; until then it has a name that none can have.
            let aside = format!("/{}", tree.serial(known));
            tree.rename(known, parent, OsStr::new(&aside));
        }
        let moved = memory.nodes.get(&identity).copied().filter(|node| {
            walk.terms.inodes_last && !walk.seen.contains(node) && !tree.is_within(parent, *node)
        });
        if let Some(moved) = moved {
            tree.rename(moved, parent, name);
            return moved;
        }
        let node = tree.add_child(parent, name);
        memory.learn(node, identity);
        node
    }

    /// Takes out of the tree what was not listed where it was before.
    fn bury_unseen(&mut self, walk: &Walk) {
        let mut tree = self.tree.write();
        let Some(memory) = self.polled.get_mut(&walk.root) else { return };
        let unseen: Vec<NodeId> = tree
            .below(walk.root)
            .filter(|node| !walk.seen.contains(node))
            .filter(|node| tree.place(*node).is_some_and(|(parent, _)| walk.listed.contains(&parent)))
            .collect();
        for top in unseen {
            let gone: Vec<NodeId> = std::iter::once(top).chain(tree.below(top)).collect();
            tree.bury(top);
            gone.into_iter().for_each(|node| memory.forget(node));
        }
    }
}

fn open(root: &Root) -> io::Result<(Top, Kind, u64)> {
    let top = walk::open_root(root)?;
    let (kind, device) = (Kind::of(&top.directory)?, fstat(&top.directory)?.st_dev);
    Ok((top, kind, device))
}

/// Opens a root that was on this file system and device before. A mount point whose file system is not mounted is not
/// the root: what was in it is not gone.
fn reach(root: &Root, (kind, device): (Kind, u64)) -> io::Result<(Top, Kind, u64)> {
    let opened = open(root)?;
    if opened.1 != kind {
        return Err(io::Error::other("another file system is there"));
    }
    if opened.2 != device && opened.0.is_empty()? {
        return Err(io::Error::other("an empty directory of another file system is there"));
    }
    Ok(opened)
}
