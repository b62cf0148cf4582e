//! Directories that a rescan has not found where the tree says that they are.
//!
//! Whoever renames a directory is ahead of the source, which may have been told of it and not read that yet. What landed
//! in the directory before its watch was in place is told by no event: it is the rescan's to find, and the rescan has
//! come in vain, or to another directory that lay there for a moment. So it hands the directory over: the source has it looked into as soon as it lies where the tree says,
//! and forgets it when it leaves the tree.

use super::Sink;
use super::fence::{Request, SourceHandle};
use super::follow::Look;
use super::inotify::Source;
use super::rescan::{Arrival, Order};
use crate::event::NodeId;
use crate::sys;

/// What an order has not come to. Bounded by the directories that there are.
#[derive(Debug)]
pub(super) struct Unreached {
    nodes: Vec<NodeId>,
    arrival: Arrival,
    since_nanos: u64,
}

impl Unreached {
    /// `None` if nothing depends on it.
    fn of(order: &Order, nodes: Vec<NodeId>) -> Option<Unreached> {
        let (arrival, since_nanos) = match order {
            Order::Prune | Order::Quiet { .. } => return None,
            Order::NewDirectories { arrival, since_nanos, .. } => (*arrival, *since_nanos),
            // What was there at first has been told from what has come, by its time.
            _ => (Arrival::Replaced, 0),
        };
        Some(Unreached { nodes, arrival, since_nanos })
    }
}

impl SourceHandle {
    /// An order has not found these directories where the tree says that they are: they are about to leave the tree, or
    /// to get another place in it, or their root is not there.
    pub(super) fn look_for(&self, order: &Order, nodes: Vec<NodeId>) {
        if nodes.is_empty() {
            return;
        }
        self.check_roots();
        if let Some(unreached) = Unreached::of(order, nodes) {
            self.send(Request::LookFor(unreached));
        }
    }
}

impl<S: Sink> Source<S> {
    /// Has those looked into that are at their place by now. To be called when something may have changed.
    pub(super) fn look_for_unreached(&mut self) {
        for Unreached { nodes, arrival, since_nanos } in std::mem::take(&mut self.unreached) {
            let alive = nodes.into_iter().filter(|node| self.tree.read().is_alive(*node));
            let alive: Vec<NodeId> = alive.collect();
            let (nodes, missing): (Vec<_>, Vec<_>) =
                alive.into_iter().partition(|node| self.is_at_its_place(*node));
            if !missing.is_empty() {
                self.unreached.push(Unreached { nodes: missing, arrival, since_nanos });
            }
            if !nodes.is_empty() {
                self.rescans.order(Order::NewDirectories { nodes, arrival, since_nanos });
            }
        }
    }

    fn is_at_its_place(&mut self, node: NodeId) -> bool {
        let Ok(directory) = self.open(node) else { return false };
        if self.look_at(node, &directory) != Look::Same {
            return false;
        }
        // An overlay's directory may have got another time of birth, with the first file that was put into it.
        if let Ok(identity) = sys::identity_of(&directory) {
            self.tree.write().set_identity(node, identity.lasting());
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::prune::{LookedInto, RootSeen};
    use super::super::rescan::{Finder, Found, Rescan, RescanHandle, Share};
    use super::super::shared::SharedTree;
    use super::super::{Backend, MayBeMissing, Root};
    use super::*;
    use crate::event::{Happened, LaneId, WatchId};
    use crate::patterns::Patterns;
    use inotify::WatchMask;
    use rustc_hash::FxHashSet;
    use std::ffi::OsStr;
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::Duration;

    struct Nobody;

    impl Sink for Nobody {
        fn lineup_changed(&mut self) {}
        fn interest(&self, _: WatchId) -> WatchMask {
            WatchMask::CLOSE_WRITE
        }
        fn event(&mut self, _: &Happened<'_>) {}
        fn end_of_burst(&mut self) {}
        fn renamed(&mut self, _: (u64, &OsStr), _: (u64, &OsStr)) {}
        fn lost(&mut self) {}
        fn is_idle(&self) -> bool {
            true
        }
    }

    #[derive(Default)]
    struct Names(Vec<String>);

    impl Finder for Names {
        fn found(&mut self, found: &Found<'_>) -> bool {
            self.0.push(found.name.to_string_lossy().into_owned());
            true
        }
        fn end_of_directory(&mut self) {}
        fn is_full(&self, _: LaneId) -> bool {
            false
        }
        fn begin(&mut self, _: &Order) {}
        fn end(&mut self, _: &Order) {}
        fn knows_directories(&self) -> bool {
            false
        }
        fn root_is(&mut self, _: &RootSeen) {}
        fn may_forget(&mut self, _: &RootSeen) -> bool {
            false
        }
        fn look_for_gone(&mut self, _: LookedInto<'_>) -> usize {
            0
        }
        fn has_gone(&self) -> bool {
            false
        }
        fn forget_gone(&mut self, _: &FxHashSet<NodeId>, _: FxHashSet<u64>) {}
        fn end_pruning(&mut self) {}
    }

    fn root(path: &Path) -> Root {
        Root {
            name: "in".to_owned(),
            path: path.to_owned(),
            recursive: true,
            cross_mounts: false,
            patterns: Patterns::default(),
            may_be_missing: MayBeMissing::No,
            backend: Backend::Inotify,
            poll_every: Duration::ZERO,
            stable_for: None,
        }
    }

    /// The source and the rescan, on this thread, a step at a time.
    struct Both {
        source: Source<Nobody>,
        rescan: Rescan<Names>,
        buffer: Vec<u8>,
    }

    impl Both {
        fn start(path: &Path) -> Both {
            let (tree, handle) = (Arc::<SharedTree>::default(), SourceHandle::new().unwrap());
            let rescans = RescanHandle::default();
            let source = Source::start(
                vec![root(path)],
                Arc::clone(&tree),
                Arc::default(),
                handle.clone(),
                rescans.clone(),
                Nobody,
            );
            let finder = Names::default();
            let rescan = Rescan::new(Share::Prompt, rescans, tree, vec![root(path)], handle, finder);
            Both { source: source.unwrap(), rescan, buffer: vec![0; 4096] }
        }

        /// As the source does when it wakes.
        fn read(&mut self) {
            let _ = self.source.answer(&mut self.buffer).unwrap();
            while self.source.queued_bytes() > 0 {
                self.source.read(&mut self.buffer).unwrap();
            }
            self.source.look_for_unreached();
        }

        fn rescan(&mut self) -> Vec<String> {
            for order in self.rescan.handle.take_orders() {
                self.rescan.carry_out(&order);
            }
            std::mem::take(&mut self.rescan.finder.0)
        }
    }

    #[test]
    fn a_directory_that_was_renamed_before_the_rescan_came_is_looked_into_at_its_new_place() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut both = Both::start(directory.path());
        fs::create_dir(at("a")).unwrap();
        fs::write(at("a/f"), "x").unwrap();
        both.read();
        fs::rename(at("a"), at("b")).unwrap();
        assert!(both.rescan().is_empty());
        both.read();
        // Nor is it there now.
        fs::rename(at("b"), at("c")).unwrap();
        assert!(both.rescan().is_empty());
        both.read();
        assert_eq!(both.rescan(), ["f"]);
        both.read();
        assert!(both.rescan().is_empty() && both.source.unreached.is_empty());
    }

    #[test]
    fn another_directory_that_lay_at_its_place_is_not_taken_for_it() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut both = Both::start(directory.path());
        for name in ["a", "other"] {
            fs::create_dir(at(name)).unwrap();
            fs::write(at(name).join(name), "x").unwrap();
        }
        both.read();
        fs::rename(at("a"), at("b")).unwrap();
        fs::rename(at("other"), at("a")).unwrap();
        assert!(both.rescan().is_empty());
        // Nothing shows any more that it was there.
        fs::rename(at("a"), at("other")).unwrap();
        both.read();
        let mut found = both.rescan();
        found.sort();
        assert_eq!(found, ["a", "other"]);
        both.read();
        assert!(both.rescan().is_empty() && both.source.unreached.is_empty());
    }

    #[test]
    fn one_that_is_gone_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mut both = Both::start(directory.path());
        fs::create_dir(at("a")).unwrap();
        both.read();
        fs::remove_dir(at("a")).unwrap();
        assert!(both.rescan().is_empty());
        both.read();
        assert!(both.rescan().is_empty() && both.source.unreached.is_empty());
    }
}
