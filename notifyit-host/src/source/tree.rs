//! The watched directories: which node is where, and which watch descriptor stands for which nodes.
//!
//! The source alone changes it; lanes read it to make paths. A directory that is removed is *buried*: it keeps its
//! place, so that events that name it can still tell their path, until [`Tree::sweep`] finds that no event is left.

use std::collections::HashMap;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use rustc_hash::FxHashMap;

use super::filesystem::Terms;
use crate::event::{NodeId, WatchId};

/// One watched directory.
#[derive(Debug)]
struct Node {
    /// `None` for a root.
    parent: Option<NodeId>,
    /// The name in the parent; of a root the absolute path.
    name: Box<OsStr>,
    watch: WatchId,
    /// Never used again, unlike a node's number: the ledger knows a directory by it.
    serial: u64,
    /// The watch descriptor, once it has one.
    wd: Option<i32>,
    /// The next node with the same watch descriptor: one directory reached on two ways (overlapping roots, bind
    /// mounts).
    twin: Option<NodeId>,
    /// Its children are a list through `next` and `previous`: a removal costs the same in a directory of a million.
    first_child: Option<NodeId>,
    next: Option<NodeId>,
    previous: Option<NodeId>,
    buried: bool,
}

impl Node {
    fn new(parent: Option<NodeId>, name: &OsStr, watch: WatchId) -> Node {
        Node {
            parent,
            name: name.into(),
            watch,
            serial: 0,
            wd: None,
            twin: None,
            first_child: None,
            next: None,
            previous: None,
            buried: false,
        }
    }
}

/// What an event needs to know of its directory.
#[derive(Debug, Clone, Copy)]
pub struct Spot {
    /// The directory.
    pub node: NodeId,
    /// Its watch.
    pub watch: WatchId,
    /// The next node with the same watch descriptor.
    pub twin: Option<NodeId>,
}

/// The watched directories. See the module.
#[derive(Debug, Default)]
pub struct Tree {
    nodes: Vec<Option<Node>>,
    free: Vec<NodeId>,
    buried: Vec<NodeId>,
    children: HashMap<(NodeId, Box<OsStr>), NodeId>,
    by_wd: FxHashMap<i32, NodeId>,
    serials: u64,
    pub(super) terms: FxHashMap<WatchId, Terms>,
}

impl Tree {
    /// Adds a root at an absolute path.
    pub fn add_root(&mut self, watch: WatchId, path: &Path) -> NodeId {
        self.insert(Node::new(None, path.as_os_str(), watch))
    }

    /// Adds a directory; the one that is there already if its parent knows that name.
    pub fn add_child(&mut self, parent: NodeId, name: &OsStr) -> NodeId {
        if let Some(known) = self.child(parent, name) {
            return known;
        }
        let id = self.insert(Node::new(None, name, self.watch(parent)));
        self.link(id, parent, name);
        id
    }

    /// Puts a directory into its parent's list. What had that name there is in no list from now on.
    fn link(&mut self, id: NodeId, parent: NodeId, name: &OsStr) {
        if let Some(old) = self.child(parent, name) {
            self.unlink(old);
        }
        let next = self.node_mut(parent).first_child.replace(id);
        if let Some(next) = next {
            self.node_mut(next).previous = Some(id);
        }
        let node = self.node_mut(id);
        (node.parent, node.next, node.previous) = (Some(parent), next, None);
        node.name = name.into();
        self.children.insert((parent, name.into()), id);
    }

    /// Takes a directory out of its parent's list. Its own `parent` and `name` stay, for its path.
    fn unlink(&mut self, id: NodeId) {
        let node = self.node_mut(id);
        let (next, previous) = (node.next.take(), node.previous.take());
        let Some(parent) = node.parent else { return };
        let key = (parent, node.name.clone());
        if self.children.get(&key) != Some(&id) {
            return;
        }
        self.children.remove(&key);
        match previous {
            Some(previous) => self.node_mut(previous).next = next,
            None => self.node_mut(parent).first_child = next,
        }
        if let Some(next) = next {
            self.node_mut(next).previous = previous;
        }
    }

    fn insert(&mut self, mut node: Node) -> NodeId {
        self.serials += 1;
        node.serial = self.serials;
        if let Some(id) = self.free.pop() {
            self.nodes[id.0 as usize] = Some(node);
            return id;
        }
        let id = NodeId(u32::try_from(self.nodes.len()).expect("the kernel has fewer than 2^31 watches"));
        self.nodes.push(Some(node));
        id
    }

    fn node(&self, id: NodeId) -> &Node {
        self.nodes[id.0 as usize].as_ref().expect("a node is freed only when no event names it")
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.0 as usize].as_mut().expect("a node is freed only when no event names it")
    }

    /// The watch that the directory belongs to.
    pub fn watch(&self, id: NodeId) -> WatchId {
        self.node(id).watch
    }

    /// The directory's serial number, which no other ever gets.
    pub fn serial(&self, id: NodeId) -> u64 {
        self.node(id).serial
    }

    /// Every directory that is watched: not those that are polled.
    pub fn all(&self) -> Vec<NodeId> {
        let numbered = (0_u32..).map(NodeId).zip(&self.nodes);
        let watched = numbered.filter(|(_, node)| node.as_ref().is_some_and(|n| !n.buried && n.wd.is_some()));
        watched.map(|(id, _)| id).collect()
    }

    /// Is it a root?
    pub fn is_root(&self, id: NodeId) -> bool {
        self.node(id).parent.is_none()
    }

    /// Is it still part of the tree?
    pub fn is_alive(&self, id: NodeId) -> bool {
        !self.node(id).buried
    }

    /// The directory of that name.
    pub fn child(&self, parent: NodeId, name: &OsStr) -> Option<NodeId> {
        // Asked for directories only, never for each file: the allocation does not matter.
        self.children.get(&(parent, name.into())).copied()
    }

    /// The directory's watch descriptor.
    pub fn wd(&self, id: NodeId) -> Option<i32> {
        self.node(id).wd
    }

    /// Notes the watch descriptor that the kernel gave for a directory. Returns the one that it had before, if that
    /// was another and the kernel may drop it.
    pub fn set_wd(&mut self, id: NodeId, wd: i32) -> Option<i32> {
        if self.node(id).wd == Some(wd) {
            return None;
        }
        let before = self.clear_wd(id);
        let first = self.by_wd.insert(wd, id);
        let node = self.node_mut(id);
        node.wd = Some(wd);
        node.twin = first;
        before
    }

    /// Takes a directory's watch descriptor away. Returns it if no other node has it: then the kernel's watch can go.
    pub fn clear_wd(&mut self, id: NodeId) -> Option<i32> {
        let wd = self.node_mut(id).wd.take()?;
        let twin = self.node_mut(id).twin.take();
        let first = self.by_wd.get(&wd).copied();
        if first == Some(id) {
            match twin {
                Some(next) => self.by_wd.insert(wd, next),
                None => self.by_wd.remove(&wd),
            };
            return twin.is_none().then_some(wd);
        }
        let mut at = first;
        while let Some(here) = at {
            if self.node(here).twin == Some(id) {
                self.node_mut(here).twin = twin;
                break;
            }
            at = self.node(here).twin;
        }
        None
    }

    /// The nodes that a watch descriptor stands for.
    pub fn by_wd(&self, wd: i32) -> impl Iterator<Item = NodeId> + '_ {
        let mut next = self.by_wd.get(&wd).copied();
        std::iter::from_fn(move || {
            let here = next?;
            next = self.node(here).twin;
            Some(here)
        })
    }

    /// Where a directory stands: its parent and its name there. `None` for a root.
    pub fn place(&self, id: NodeId) -> Option<(NodeId, Box<OsStr>)> {
        let node = self.node(id);
        node.parent.map(|parent| (parent, node.name.clone()))
    }

    /// Is a directory beneath another, or that one itself?
    pub fn is_within(&self, id: NodeId, top: NodeId) -> bool {
        std::iter::successors(Some(id), |id| self.node(*id).parent).any(|id| id == top)
    }

    /// The first node of a watch descriptor.
    pub fn first(&self, wd: i32) -> Option<Spot> {
        self.by_wd.get(&wd).map(|id| self.spot(*id))
    }

    /// A node, with its watch and the next one of the same watch descriptor.
    pub fn spot(&self, id: NodeId) -> Spot {
        let node = self.node(id);
        Spot { node: id, watch: node.watch, twin: node.twin }
    }

    /// The kernel has dropped a watch: the directory is gone, or we took the watch away. Returns the nodes it stood
    /// for, which have no watch descriptor now.
    pub fn forget_wd(&mut self, wd: i32) -> Vec<NodeId> {
        let nodes: Vec<NodeId> = self.by_wd(wd).collect();
        for id in &nodes {
            let node = self.node_mut(*id);
            node.wd = None;
            node.twin = None;
        }
        self.by_wd.remove(&wd);
        nodes
    }

    /// Moves a directory, with all that is in it, to another place, which must not be within it. An (empty) directory that it replaces there is
    /// buried; returns the watch descriptors that the kernel may drop.
    pub fn rename(&mut self, id: NodeId, parent: NodeId, name: &OsStr) -> Vec<i32> {
        let replaced = self.child(parent, name).filter(|old| *old != id);
        let dropped = replaced.map(|old| self.bury(old)).unwrap_or_default();
        self.unlink(id);
        self.link(id, parent, name);
        let watch = self.watch(parent);
        if self.watch(id) != watch {
            for below in self.subtree(id) {
                self.node_mut(below).watch = watch;
            }
        }
        dropped
    }

    /// Takes a directory and all beneath it out of the tree. Returns the watch descriptors that the kernel may drop.
    pub fn bury(&mut self, id: NodeId) -> Vec<i32> {
        let below = self.subtree(id);
        let mut dropped = Vec::new();
        for id in below.into_iter().rev() {
            dropped.extend(self.clear_wd(id));
            self.unlink(id);
            if !std::mem::replace(&mut self.node_mut(id).buried, true) {
                self.buried.push(id);
            }
        }
        dropped
    }

    /// A directory and all beneath it, each behind its parent.
    fn subtree(&self, top: NodeId) -> Vec<NodeId> {
        let mut found = vec![top];
        let mut next = 0;
        while let Some(here) = found.get(next) {
            let first = self.node(*here).first_child;
            found.extend(std::iter::successors(first, |child| self.node(*child).next));
            next += 1;
        }
        found
    }

    /// All directories beneath one, each behind its parent.
    pub fn below(&self, top: NodeId) -> impl Iterator<Item = NodeId> {
        self.subtree(top).into_iter().skip(1)
    }

    /// Frees the places of buried directories. To be called when no event names them any more.
    pub fn sweep(&mut self) {
        for id in self.buried.drain(..) {
            self.nodes[id.0 as usize] = None;
            self.free.push(id);
        }
    }

    /// Is there anything to sweep?
    pub fn has_buried(&self) -> bool {
        !self.buried.is_empty()
    }

    /// How many directories are in the tree.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len() - self.buried.len()
    }

    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Writes the absolute path of a directory to `path`, with a `/` at its end, and returns how many bytes of it
    /// are the root's (with its `/`).
    pub fn write_path(&self, id: NodeId, path: &mut Vec<u8>) -> usize {
        let mut chain = [NodeId(0); 64];
        let mut depth = 0;
        let mut here = id;
        while let (Some(parent), true) = (self.node(here).parent, depth < chain.len()) {
            chain[depth] = here;
            depth += 1;
            here = parent;
        }
        // Deeper than the array: the rest first, by itself.
        let root = if self.node(here).parent.is_some() {
            self.write_path(here, path)
        } else {
            path.clear();
            path.extend_from_slice(self.node(here).name.as_bytes());
            if path.last() != Some(&b'/') {
                path.push(b'/');
            }
            path.len()
        };
        for id in chain[..depth].iter().rev() {
            path.extend_from_slice(self.node(*id).name.as_bytes());
            path.push(b'/');
        }
        root
    }

    /// The absolute path of a directory.
    pub fn path(&self, id: NodeId) -> PathBuf {
        let mut path = Vec::new();
        self.write_path(id, &mut path);
        if path.len() > 1 {
            path.pop();
        }
        PathBuf::from(OsString::from_vec(path))
    }

    /// The path of a directory relative to the root; empty for the root itself.
    pub fn relative_dir(&self, id: NodeId) -> PathBuf {
        let mut path = Vec::new();
        let root = self.write_path(id, &mut path);
        path.drain(..root);
        path.pop();
        PathBuf::from(OsString::from_vec(path))
    }

    /// The path of something in a directory, relative to the root.
    pub fn relative(&self, id: NodeId, name: &OsStr) -> PathBuf {
        let mut path = Vec::new();
        let root = self.write_path(id, &mut path);
        path.extend_from_slice(name.as_bytes());
        path.drain(..root);
        PathBuf::from(OsString::from_vec(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn tree() -> (Tree, NodeId) {
        let mut tree = Tree::default();
        let root = tree.add_root(WatchId(0), Path::new("/srv/in"));
        (tree, root)
    }

    #[test]
    fn paths_follow_renames() {
        let (mut tree, root) = tree();
        let a = tree.add_child(root, OsStr::new("a"));
        let b = tree.add_child(a, OsStr::new("b"));
        assert_eq!(tree.path(b), Path::new("/srv/in/a/b"));
        assert_eq!(tree.relative(b, OsStr::new("f")), Path::new("a/b/f"));
        tree.rename(a, root, OsStr::new("c"));
        assert_eq!(tree.path(b), Path::new("/srv/in/c/b"));
        assert_eq!(tree.child(root, OsStr::new("a")), None);
        assert_eq!(tree.child(root, OsStr::new("c")), Some(a));
    }

    #[test]
    fn a_root_at_the_top_of_the_file_system_has_no_double_slash() {
        let mut tree = Tree::default();
        let root = tree.add_root(WatchId(0), Path::new("/"));
        let a = tree.add_child(root, OsStr::new("a"));
        assert_eq!(tree.path(root), Path::new("/"));
        assert_eq!(tree.path(a), Path::new("/a"));
        assert_eq!(tree.relative(root, OsStr::new("f")), Path::new("f"));
    }

    #[test]
    fn a_very_deep_directory_has_its_whole_path() {
        let (mut tree, root) = tree();
        let mut here = root;
        for _ in 0..1000 {
            here = tree.add_child(here, OsStr::new("d"));
        }
        assert_eq!(tree.path(here).components().count(), 1003);
    }

    #[test]
    fn twins_share_a_watch_descriptor_and_lose_it_one_by_one() {
        let mut tree = Tree::default();
        let one = tree.add_root(WatchId(0), Path::new("/srv"));
        let two = tree.add_root(WatchId(1), Path::new("/srv/in"));
        let three = tree.add_root(WatchId(2), Path::new("/mnt"));
        for id in [one, two, three] {
            tree.set_wd(id, 7);
        }
        assert_eq!(tree.by_wd(7).count(), 3);
        assert_eq!(tree.clear_wd(two), None);
        assert_eq!(tree.by_wd(7).collect::<Vec<_>>(), [three, one]);
        assert_eq!(tree.clear_wd(three), None);
        assert_eq!(tree.clear_wd(one), Some(7));
        assert_eq!(tree.by_wd(7).count(), 0);
    }

    #[test]
    fn the_buried_keep_their_paths_until_the_sweep() {
        let (mut tree, root) = tree();
        let a = tree.add_child(root, OsStr::new("a"));
        let b = tree.add_child(a, OsStr::new("b"));
        tree.set_wd(a, 1);
        tree.set_wd(b, 2);
        let mut dropped = tree.bury(a);
        dropped.sort_unstable();
        assert_eq!(dropped, [1, 2]);
        assert_eq!(tree.path(b), Path::new("/srv/in/a/b"));
        let again = tree.add_child(root, OsStr::new("a"));
        assert_ne!(again, a);
        tree.sweep();
        assert_eq!(tree.len(), 2);
        assert!(tree.add_child(root, OsStr::new("x")) == a || tree.add_child(root, OsStr::new("y")) == a);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(usize, u8),
        Rename(usize, usize, u8),
        Bury(usize),
        Sweep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (any::<usize>(), 0..6_u8).prop_map(|(p, n)| Step::Add(p, n)),
            2 => (any::<usize>(), any::<usize>(), 0..6_u8).prop_map(|(i, p, n)| Step::Rename(i, p, n)),
            1 => any::<usize>().prop_map(Step::Bury),
            1 => Just(Step::Sweep),
        ];
        proptest::collection::vec(step, 0..60)
    }

    proptest! {
        /// Against a plain map from node to path.
        #[test]
        fn the_tree_is_a_map_of_paths(steps in steps()) {
            let (mut tree, root) = tree();
            let mut model: BTreeMap<NodeId, PathBuf> = BTreeMap::from([(root, PathBuf::from("/srv/in"))]);
            for step in steps {
                let pick = |i: usize| *model.keys().nth(i % model.len()).expect("the root is there");
                match step {
                    Step::Add(parent, name) => {
                        let parent = pick(parent);
                        let name = format!("n{name}");
                        let path = model[&parent].join(&name);
                        let id = tree.add_child(parent, OsStr::new(&name));
                        prop_assert_eq!(model.values().any(|p| *p == path), model.contains_key(&id));
                        model.insert(id, path);
                    }
                    Step::Rename(id, parent, name) => {
                        let (id, parent) = (pick(id), pick(parent));
                        let (old, target) = (model[&id].clone(), model[&parent].join(format!("n{name}")));
                        // The kernel allows no other: not the root, not into itself, not onto what is there.
                        if id == root || model[&parent].starts_with(&old) || model.values().any(|p| *p == target) {
                            continue;
                        }
                        tree.rename(id, parent, OsStr::new(&format!("n{name}")));
                        for path in model.values_mut() {
                            if let Ok(rest) = path.strip_prefix(&old) {
                                *path = if rest.as_os_str().is_empty() { target.clone() } else { target.join(rest) };
                            }
                        }
                    }
                    Step::Bury(id) => {
                        let id = pick(id);
                        if id == root { continue; }
                        let top = model[&id].clone();
                        tree.bury(id);
                        model.retain(|_, path| !path.starts_with(&top));
                    }
                    Step::Sweep => tree.sweep(),
                }
                prop_assert_eq!(tree.len(), model.len());
                for (id, path) in &model {
                    prop_assert_eq!(&tree.path(*id), path);
                    prop_assert!(tree.is_alive(*id));
                }
            }
        }
    }
}
