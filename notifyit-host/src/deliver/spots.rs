//! Where a file lies that is emitted: its watch, its path from the root, and its directory in the tree.

use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use notifyit_plugin_api::abi::Left;
use notifyit_plugin_api::{Kind, Origin};

use super::Outside;
use super::worker::Worker;
use crate::event::{Certainty, FileEvent, NodeId, Sequence, WatchId};
use crate::settle::ledger::Stamp;
use crate::sys;

/// Where a file lies in one watch.
#[derive(Debug, Clone)]
pub(super) struct Spot {
    pub(super) watch: WatchId,
    pub(super) root: NodeId,
    /// From its root.
    pub(super) relative: PathBuf,
    /// What an event of it begins with, if its directory is in the tree.
    pub(super) event: Option<FileEvent>,
}

impl Worker {
    /// A file that was emitted during the call may have been renamed before the plugin answered.
    pub(super) fn renamed_since(&self, since: Sequence, at: &FileEvent, left: Left) -> Option<FileEvent> {
        let mut renamed = FileEvent { sequence: since, ..at.clone() };
        self.outside.places.renames.follow(&mut renamed);
        let tree = self.outside.places.tree.read();
        let path = tree.is_known(renamed.node).then(|| tree.path(renamed.node).join(&*renamed.name));
        drop(tree);
        path.is_some_and(|path| is_at(&path, left)).then_some(renamed)
    }

    /// Is the directory that a file was in still where it was?
    pub(super) fn is_in_place(&self, event: &FileEvent, path: &Path) -> bool {
        let Some(directory) = path.parent() else { return false };
        let there = sys::identity(directory).and_then(|identity| identity.lasting());
        let tree = self.outside.places.tree.read();
        tree.is_alive(event.node) && tree.path(event.node) == directory && tree.is_it(event.node, there)
    }

    /// The event of the file that was in hand. One whose event came before another took its place has been renamed since;
    /// what was looked at then is that other one, and none of those renames was of it.
    pub(super) fn own(&self, event: &FileEvent, stamp: Stamp) -> FileEvent {
        let Outside { places, rescans, .. } = &self.outside;
        let sequence = rescans.sequence();
        let mut from = event.clone();
        loop {
            // Before the look: a rename that is told during it is of the file that was looked for.
            let left_at = places.renames.left_at(&from);
            let mut now = from.clone();
            places.renames.follow(&mut now);
            match left_at.filter(|_| self.attempt.is_other(&now, stamp)) {
                Some(at) => from.sequence = at,
                None => {
                    now.sequence = now.sequence.max(sequence);
                    return now;
                }
            }
        }
    }

    /// `None`: its directory is gone.
    pub(super) fn spot_of_event(&self, event: &FileEvent) -> Option<Spot> {
        let mut event = emitted(event.clone());
        self.outside.places.renames.follow(&mut event);
        let tree = self.outside.places.tree.read();
        if !tree.is_known(event.node) {
            return None;
        }
        let (watch, relative) = (tree.watch(event.node), tree.relative(event.node, &event.name));
        Some(Spot { watch, root: tree.root(event.node), relative, event: Some(event) })
    }

    /// Where a file lies, once for each watch that it lies in.
    ///
    /// # Errors
    ///
    /// It is beneath no watched directory.
    pub(super) fn spots_of(&self, path: &Path) -> Result<Vec<Spot>> {
        let spots = self.spots_in_tree(path);
        if spots.iter().any(|spot| spot.event.is_some()) {
            return Ok(spots);
        }
        // Its directory is new, or is called by way of a link, as the root may be. Nobody waits for this with the tree.
        let (above, name) = path.parent().zip(path.file_name()).context("it is no file's path")?;
        let real = above.canonicalize()?.join(name);
        let roots = self.outside.places.tree.read().roots();
        let roots = roots.into_iter().filter_map(|(root, path)| Some((root, path.canonicalize().ok()?)));
        let spots = self.spots_beneath(roots, &real);
        if spots.is_empty() {
            bail!("it lies beneath no watched directory; add a [[watch]] for it");
        }
        Ok(spots)
    }

    /// The same, by the names in the tree.
    pub(super) fn spots_in_tree(&self, path: &Path) -> Vec<Spot> {
        let roots = self.outside.places.tree.read().roots();
        self.spots_beneath(roots.into_iter(), path)
    }

    fn spots_beneath(&self, roots: impl Iterator<Item = (NodeId, PathBuf)>, path: &Path) -> Vec<Spot> {
        let beneath = |(root, above): (NodeId, PathBuf)| {
            self.spot_beneath(root, path.strip_prefix(above).ok()?.to_owned())
        };
        roots.filter_map(beneath).collect()
    }

    /// `None`: the root is gone, or that is no file's path.
    pub(super) fn spot_beneath(&self, root: NodeId, relative: PathBuf) -> Option<Spot> {
        let Outside { places, rescans, .. } = &self.outside;
        let sequence = rescans.sequence();
        let name = relative.file_name()?;
        let tree = places.tree.read();
        if !tree.is_alive(root) {
            return None;
        }
        let mut node = Some(root);
        for component in relative.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(name) = component else { return None };
            node = node.and_then(|node| tree.child(node, name));
        }
        let event = node.map(|node| FileEvent {
            sequence,
            node,
            name: Arc::from(name),
            kind: Kind::Emitted,
            certainty: Certainty::Told,
            origin: Origin::Live,
            directory: false,
            seen_nanos: sys::wall_nanos(),
            renamed_from: None,
        });
        let watch = tree.watch(root);
        drop(tree);
        Some(Spot { watch, root, relative, event })
    }

    /// The number of its directory, also of one that the tree does not have yet. `None`: it is gone.
    pub(super) fn number_of(&self, spot: &Spot) -> Option<u64> {
        if let Some(event) = &spot.event {
            return self.attempt.directory(event);
        }
        let tree = self.outside.places.tree.read();
        let mut number = tree.is_known(spot.root).then(|| tree.serial(spot.root))?;
        drop(tree);
        for name in spot.relative.parent().into_iter().flat_map(Path::components) {
            number = self.outside.ledger.number((number, name.as_os_str()));
        }
        Some(number)
    }
}

/// Is the file that the plugin saw at this path?
pub(super) fn is_at(path: &Path, left: Left) -> bool {
    matches!(sys::stat(path), Ok(Some(stat)) if stat.inode == left.inode)
}

/// The event of a file, for those that it is emitted to.
pub(super) fn emitted(event: FileEvent) -> FileEvent {
    FileEvent {
        kind: Kind::Emitted,
        certainty: Certainty::Told,
        origin: Origin::Live,
        seen_nanos: sys::wall_nanos(),
        renamed_from: None,
        ..event
    }
}
