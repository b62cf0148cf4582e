//! Which node a directory is, once it has its watch: the one it was looked for as, or one that it was all along.

use super::Sink;
use super::follow::{Look, Refusal};
use super::inotify::Source;
use super::rescan::Arrival;
use crate::event::NodeId;
use crate::sys::{self, Identity};

impl<S: Sink> Source<S> {
    /// Gives a node the watch descriptor that its directory got. If that is the watch of a node whose own path leads
    /// elsewhere, it is the same directory, renamed, and that node takes this one's place. If that node's path leads
    /// there too, the directory has gone back in the meantime, and ours is where nothing is: but for bind mounts, none
    /// is at two places.
    pub(super) fn claim(&mut self, node: NodeId, wd: i32, identity: Identity) -> Result<NodeId, Refusal> {
        let others: Vec<NodeId> = self.tree.read().by_wd(wd).filter(|other| *other != node).collect();
        for other in others {
            let (place, same_watch, is_root) = {
                let tree = self.tree.read();
                (tree.place(node), tree.watch(other) == tree.watch(node), tree.is_root(other))
            };
            if !same_watch || is_root {
                continue;
            }
            if self.look(other) == Look::Same {
                if identity.mount.is_some() && self.identity_at(other) == Some(identity) {
                    return Err(Refusal::Vanished);
                }
                continue;
            }
            // A directory that would lie within itself: what the tree says of one of the two is long past.
            let is_within_itself = |parent: NodeId| {
                let tree = self.tree.read();
                tree.is_within(other, node) || tree.is_within(parent, other)
            };
            if let Some((parent, name)) = place.filter(|(parent, _)| !is_within_itself(*parent)) {
                let left = self.tree.read().place(other);
                let replaced = self.tree.write().rename(other, parent, &name);
                self.drop_watches(&replaced);
                if let Some((parent, name)) = left {
                    // Another directory may lie where it was.
                    self.look_for_mistakes_at(other, (parent, &name));
                    self.doubt(parent, &name, Arrival::Doubted);
                }
                return Ok(other);
            }
            let left = self.tree.read().place(other);
            self.drop_subtree(other);
            if let Some((parent, name)) = left {
                self.doubt(parent, &name, Arrival::Doubted);
            }
            if !self.tree.read().is_alive(node) {
                return Err(Refusal::Vanished);
            }
        }
        let node = self.revived(node, wd, identity.lasting());
        let mut tree = self.tree.write();
        tree.set_identity(node, identity.lasting());
        let replaced = tree.set_wd(node, wd);
        drop(tree);
        self.drop_watches(replaced.as_slice());
        Ok(node)
    }

    /// Which directory lies at a node's path.
    fn identity_at(&self, node: NodeId) -> Option<Identity> {
        sys::identity_of(&self.open(node).ok()?).ok()
    }

    /// Was the directory that a node was made for in the tree before, and taken out of it for another reason than its
    /// end? Then it is that node again: what is finished stays finished, and what is under way finds its files.
    fn revived(&self, node: NodeId, wd: i32, identity: Option<u64>) -> NodeId {
        let mut tree = self.tree.write();
        let identity = identity.filter(|_| !tree.is_root(node));
        let before = identity.and_then(|identity| tree.buried_as(tree.watch(node), identity));
        let Some(before) = before else { return node };
        let mut dropped = tree.revive(before, node);
        drop(tree);
        dropped.retain(|dropped| *dropped != wd);
        self.drop_watches(&dropped);
        before
    }
}
