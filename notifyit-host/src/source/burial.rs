//! Directories that are taken out of the tree: buried, forgotten in time, or back.
//!
//! A buried directory keeps its place, so that events that name it can still tell their path, until [`Tree::sweep`]
//! finds that no event is left, or until too many have been buried since: where an event waits for hours, directories
//! go on coming and going. One that turns out to be there after all is *revived*: it is the same node again, with its
//! number and its events.

use super::tree::Tree;
use crate::event::{NodeId, WatchId};

/// So many buried directories are kept while events are under way. What waits in one of the others is gone.
pub(super) const KEPT: usize = 16_384;

impl Tree {
    /// Takes a directory and all beneath it out of the tree. Returns the watch descriptors that the kernel may drop.
    pub fn bury(&mut self, id: NodeId) -> Vec<i32> {
        let below = self.subtree(id);
        let mut dropped = Vec::new();
        for id in below.into_iter().rev() {
            dropped.extend(self.clear_wd(id));
            self.unlink(id);
            if !std::mem::replace(&mut self.node_mut(id).buried, true) {
                self.buried.push_back(id);
                if let Some(grave) = self.grave(id) {
                    self.graves.insert(grave, id);
                }
            }
        }
        dropped
    }

    /// Notes which directory it is, by what lasts of its identity.
    pub fn set_identity(&mut self, id: NodeId, identity: Option<u64>) {
        self.node_mut(id).identity = identity;
    }

    /// Is what has that identity another directory, for all that is known?
    pub fn is_other(&self, id: NodeId, identity: Option<u64>) -> bool {
        let known = self.known(id).and_then(|node| node.identity);
        known.is_some() && identity.is_some() && known != identity
    }

    /// Is what has that identity this directory, without a doubt?
    pub fn is_it(&self, id: NodeId, identity: Option<u64>) -> bool {
        identity.is_some() && self.known(id).is_some_and(|node| node.identity == identity)
    }

    /// The buried directory of that identity.
    pub fn buried_as(&self, watch: WatchId, identity: u64) -> Option<NodeId> {
        self.graves.get(&(watch, identity)).copied()
    }

    /// A buried directory is there after all: it takes the place that `stand_in`, which is no root, was given for it.
    /// Returns the watch descriptors that the kernel may drop.
    pub fn revive(&mut self, id: NodeId, stand_in: NodeId) -> Vec<i32> {
        let Some((parent, name)) = self.place(stand_in) else { return Vec::new() };
        let dropped = self.bury(stand_in);
        self.exhume(id);
        if let Some(numbering) = &self.numbering {
            let to = (self.serial(parent), &*name);
            let left = self.place(id).filter(|(old, _)| self.is_known(*old));
            let from = left.as_ref().map_or(to, |(old, old_name)| (self.serial(*old), &**old_name));
            numbering.renamed(self.serial(id), from, to);
        }
        self.move_to(id, parent, &name);
        dropped
    }

    fn exhume(&mut self, id: NodeId) {
        self.buried.retain(|buried| *buried != id);
        self.node_mut(id).buried = false;
        self.leave_grave(id);
    }

    fn leave_grave(&mut self, id: NodeId) {
        let grave = self.grave(id);
        if let Some(grave) = grave.filter(|grave| self.graves.get(grave) == Some(&id)) {
            self.graves.remove(&grave);
        }
    }

    fn grave(&self, id: NodeId) -> Option<(WatchId, u64)> {
        let node = self.node(id);
        node.identity.map(|identity| (node.watch, identity))
    }

    /// Frees the places of buried directories. To be called when no event names them any more.
    pub fn sweep(&mut self) {
        self.forget_buried(0);
    }

    /// Frees the places of those that were buried long ago, though events may name them.
    pub fn forget_oldest(&mut self) {
        self.forget_buried(KEPT);
    }

    fn forget_buried(&mut self, kept: usize) {
        let too_many = self.buried.len().saturating_sub(kept);
        for id in self.buried.drain(..too_many).collect::<Vec<_>>() {
            self.leave_grave(id);
            self.nodes[id.0 as usize] = None;
            self.free.push(NodeId(id.0, id.1.wrapping_add(1)));
        }
    }

    /// Are there more buried directories than are kept?
    pub fn has_too_many_buried(&self) -> bool {
        self.buried.len() > KEPT
    }

    /// Is there anything to sweep?
    pub fn has_buried(&self) -> bool {
        !self.buried.is_empty()
    }
}
