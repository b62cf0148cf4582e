//! The watched directories: which node is where, and which watch descriptor stands for which nodes.
//!
//! The source alone changes it; lanes read it to make paths. A directory that is removed stays known for a while: see
//! `burial`.

use std::collections::{HashMap, VecDeque};
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustc_hash::FxHashMap;

use super::filesystem::Terms;
use super::shared::Numbering;

use crate::event::{NodeId, WatchId};

/// One watched directory.
#[derive(Debug)]
pub(super) struct Node {
    /// How often its place has been used before.
    generation: u32,
    /// `None` for a root.
    pub(super) parent: Option<NodeId>,
    /// The name in the parent; of a root the absolute path.
    pub(super) name: Box<OsStr>,
    pub(super) watch: WatchId,
    /// The ledger's number for it, unlike the node's own not used again for another directory.
    pub(super) serial: u64,
    /// Names the directory itself, if the file system tells.
    pub(super) identity: Option<u64>,
    /// The watch descriptor, once it has one.
    wd: Option<i32>,
    /// The next node with the same watch descriptor: one directory reached on two ways (overlapping roots, bind
    /// mounts).
    twin: Option<NodeId>,
    /// Its children are a list through `next` and `previous`: a removal costs the same in a directory of a million.
    first_child: Option<NodeId>,
    next: Option<NodeId>,
    previous: Option<NodeId>,
    pub(super) buried: bool,
}

impl Node {
    fn new(parent: Option<NodeId>, name: &OsStr, watch: WatchId) -> Node {
        Node {
            generation: 0,
            parent,
            name: name.into(),
            watch,
            serial: 0,
            identity: None,
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
    pub(super) nodes: Vec<Option<Node>>,
    pub(super) free: Vec<NodeId>,
    pub(super) buried: VecDeque<NodeId>,
    /// The buried directories by their watch and identity.
    pub(super) graves: FxHashMap<(WatchId, u64), NodeId>,
    children: HashMap<(NodeId, Box<OsStr>), NodeId>,
    /// The last root of each watch.
    tops: FxHashMap<WatchId, NodeId>,
    by_wd: FxHashMap<i32, NodeId>,
    pub(super) numbering: Option<Arc<dyn Numbering>>,
    pub(super) terms: FxHashMap<WatchId, Terms>,
}

impl Tree {
    /// A tree whose directories get their numbers there.
    pub fn numbered_by(numbering: Arc<dyn Numbering>) -> Tree {
        Tree { numbering: Some(numbering), ..Tree::default() }
    }

    /// Adds a root at an absolute path, under its watch's name.
    pub fn add_root(&mut self, watch: WatchId, name: &str, path: &Path) -> NodeId {
        let serial = self.number(0, OsStr::new(name));
        let top = self.insert(Node { serial, ..Node::new(None, path.as_os_str(), watch) });
        self.tops.insert(watch, top);
        top
    }

    /// Adds a directory; the one that is there already if its parent knows that name.
    pub fn add_child(&mut self, parent: NodeId, name: &OsStr) -> NodeId {
        if let Some(known) = self.child(parent, name) {
            return known;
        }
        let serial = self.number(self.serial(parent), name);
        let id = self.insert(Node { serial, ..Node::new(None, name, self.watch(parent)) });
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
    pub(super) fn unlink(&mut self, id: NodeId) {
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

    fn number(&self, parent: u64, name: &OsStr) -> u64 {
        self.numbering.as_ref().map_or(0, |numbering| numbering.number(parent, name))
    }

    fn insert(&mut self, node: Node) -> NodeId {
        if let Some(id) = self.free.pop() {
            self.nodes[id.0 as usize] = Some(Node { generation: id.1, ..node });
            return id;
        }
        let id = NodeId(u32::try_from(self.nodes.len()).expect("the kernel has fewer than 2^31 watches"), 0);
        self.nodes.push(Some(node));
        id
    }

    pub(super) fn node(&self, id: NodeId) -> &Node {
        self.known(id).expect("who may name a directory that is forgotten asks whether it is known")
    }

    pub(super) fn node_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes[id.0 as usize].as_mut().expect("only directories that are known change")
    }

    pub(super) fn known(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0 as usize)?.as_ref().filter(|node| node.generation == id.1)
    }

    /// Is there anything to be told of it still? To be asked for what may have been buried long ago.
    pub fn is_known(&self, id: NodeId) -> bool {
        self.known(id).is_some()
    }

    /// The watch that the directory belongs to.
    pub fn watch(&self, id: NodeId) -> WatchId {
        self.node(id).watch
    }

    /// The number that the ledger knows the directory by.
    pub fn serial(&self, id: NodeId) -> u64 {
        self.node(id).serial
    }

    /// Every directory that is watched: not those that are polled.
    pub fn all(&self) -> Vec<NodeId> {
        let numbered = (0_u32..).zip(&self.nodes).filter_map(|(place, node)| Some((place, node.as_ref()?)));
        let watched = numbered.filter(|(_, node)| !node.buried && node.wd.is_some());
        watched.map(|(place, node)| NodeId(place, node.generation)).collect()
    }

    /// The root of a watch, if it is there.
    fn top(&self, watch: WatchId) -> Option<NodeId> {
        self.tops.get(&watch).copied().filter(|top| self.is_alive(*top))
    }

    /// The roots that are there, each with its path.
    pub fn roots(&self) -> Vec<(NodeId, PathBuf)> {
        let roots = self.tops.keys().filter_map(|watch| self.top(*watch));
        roots.map(|root| (root, self.path(root))).collect()
    }

    /// The root that a directory lies beneath.
    pub fn root(&self, id: NodeId) -> NodeId {
        std::iter::successors(Some(id), |id| self.node(*id).parent).last().unwrap_or(id)
    }

    /// Is it a root?
    pub fn is_root(&self, id: NodeId) -> bool {
        self.node(id).parent.is_none()
    }

    /// Is it still part of the tree?
    pub fn is_alive(&self, id: NodeId) -> bool {
        self.known(id).is_some_and(|node| !node.buried)
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
        if let (Some(numbering), Some((old, old_name))) = (&self.numbering, self.place(id)) {
            let (from, to) = (self.serial(old), self.serial(parent));
            numbering.renamed(self.serial(id), (from, &old_name), (to, name));
        }
        self.unlink(id);
        self.move_to(id, parent, name);
        dropped
    }

    /// Two directories, neither within the other and no roots, take each other's place.
    pub fn exchange(&mut self, one: NodeId, other: NodeId) {
        let (Some(place), Some(others)) = (self.place(one), self.place(other)) else { return };
        if let Some(numbering) = &self.numbering {
            let (from, to) = (self.serial(place.0), self.serial(others.0));
            numbering.exchanged((self.serial(one), (to, &others.1)), (self.serial(other), (from, &place.1)));
        }
        self.unlink(one);
        self.unlink(other);
        self.move_to(one, others.0, &others.1);
        self.move_to(other, place.0, &place.1);
    }

    pub(super) fn move_to(&mut self, id: NodeId, parent: NodeId, name: &OsStr) {
        self.link(id, parent, name);
        let watch = self.watch(parent);
        if self.watch(id) != watch {
            for below in self.subtree(id) {
                self.node_mut(below).watch = watch;
            }
        }
    }

    /// A directory and all beneath it, each behind its parent.
    pub(super) fn subtree(&self, top: NodeId) -> Vec<NodeId> {
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

    /// How many directories are in the tree.
    pub fn len(&self) -> usize {
        self.nodes.len() - self.free.len() - self.buried.len()
    }

    /// Is it empty?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::super::burial::KEPT;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::path::PathBuf;

    fn tree() -> (Tree, NodeId) {
        let mut tree = Tree::default();
        let root = tree.add_root(WatchId(0), "in", Path::new("/srv/in"));
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
        let root = tree.add_root(WatchId(0), "in", Path::new("/"));
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
        let one = tree.add_root(WatchId(0), "in", Path::new("/srv"));
        let two = tree.add_root(WatchId(1), "in", Path::new("/srv/in"));
        let three = tree.add_root(WatchId(2), "in", Path::new("/mnt"));
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
        let places = [tree.add_child(root, OsStr::new("x")).0, tree.add_child(root, OsStr::new("y")).0];
        assert!(places.contains(&a.0) && !tree.is_known(a) && !tree.is_alive(a));
    }

    #[test]
    fn of_the_buried_only_the_latest_are_kept_for_ever() {
        let (mut tree, root) = tree();
        let first = tree.add_child(root, OsStr::new("first"));
        tree.bury(first);
        for n in 0..3 * KEPT {
            let id = tree.add_child(root, OsStr::new(&n.to_string()));
            tree.bury(id);
            assert!(tree.is_known(id));
            if tree.has_too_many_buried() {
                tree.forget_oldest();
            }
        }
        assert!(!tree.is_known(first));
        assert_eq!((tree.len(), tree.nodes.len()), (1, KEPT + 2));
    }

    #[test]
    fn two_directories_take_each_others_place_with_all_that_is_in_them() {
        let (mut tree, root) = tree();
        let other_root = tree.add_root(WatchId(1), "in", Path::new("/mnt"));
        let (a, b) = (tree.add_child(root, OsStr::new("a")), tree.add_child(other_root, OsStr::new("b")));
        let (in_a, in_b) = (tree.add_child(a, OsStr::new("x")), tree.add_child(b, OsStr::new("y")));
        tree.exchange(a, b);
        assert_eq!((tree.path(in_a), tree.watch(in_a)), (PathBuf::from("/mnt/b/x"), WatchId(1)));
        assert_eq!((tree.path(in_b), tree.watch(in_b)), (PathBuf::from("/srv/in/a/y"), WatchId(0)));
        assert_eq!(tree.child(root, OsStr::new("a")), Some(b));
        assert_eq!(tree.below(root).collect::<Vec<_>>(), [b, in_b]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Add(usize, u8),
        Rename(usize, usize, u8),
        Bury(usize),
        Revive(usize, usize, u8),
        Sweep,
    }

    fn steps() -> impl Strategy<Value = Vec<Step>> {
        let step = prop_oneof![
            4 => (any::<usize>(), 0..6_u8).prop_map(|(p, n)| Step::Add(p, n)),
            2 => (any::<usize>(), any::<usize>(), 0..6_u8).prop_map(|(i, p, n)| Step::Rename(i, p, n)),
            1 => any::<usize>().prop_map(Step::Bury),
            1 => (any::<usize>(), any::<usize>(), 0..6_u8).prop_map(|(i, p, n)| Step::Revive(i, p, n)),
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
            let (mut buried, mut born): (Vec<(NodeId, u64)>, u64) = (Vec::new(), 0);
            let mut identities: BTreeMap<NodeId, u64> = BTreeMap::new();
            for step in steps {
                let pick = |i: usize| *model.keys().nth(i % model.len()).expect("the root is there");
                match step {
                    Step::Add(parent, name) => {
                        let parent = pick(parent);
                        let name = format!("n{name}");
                        let path = model[&parent].join(&name);
                        let id = tree.add_child(parent, OsStr::new(&name));
                        prop_assert_eq!(model.values().any(|p| *p == path), model.contains_key(&id));
                        if model.insert(id, path).is_none() {
                            born += 1;
                            tree.set_identity(id, Some(born));
                            identities.insert(id, born);
                        }
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
                        let gone = model.iter().filter(|(_, path)| path.starts_with(&top)).map(|(id, _)| *id);
                        buried.extend(gone.map(|id| (id, identities[&id])));
                        model.retain(|_, path| !path.starts_with(&top));
                    }
                    Step::Revive(which, parent, name) => {
                        let target = model[&pick(parent)].join(format!("n{name}"));
                        if buried.is_empty() || model.values().any(|p| *p == target) { continue; }
                        let stand_in = tree.add_child(pick(parent), OsStr::new(&format!("n{name}")));
                        let (id, identity) = buried.swap_remove(which % buried.len());
                        prop_assert_eq!(tree.buried_as(WatchId(0), identity), Some(id));
                        tree.revive(id, stand_in);
                        prop_assert_eq!(tree.buried_as(WatchId(0), identity), None);
                        model.insert(id, target);
                    }
                    Step::Sweep => {
                        tree.sweep();
                        buried.clear();
                    }
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
