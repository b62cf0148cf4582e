//! Directories that refused their watch: tried again until they take it.
//!
//! The directory may not be read until somebody changes its mode, or there is no watch left until another program
//! ends. Said once; when the watch is in place, what has landed in the meantime is looked for.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::time::{Duration, Instant};

use tracing::{debug, info};

use super::Sink;
use super::inotify::Source;
use super::rescan::Order;
use super::tree::Tree;
use super::walk;
use crate::event::NodeId;

/// How often they are tried.
const TRY_AGAIN: Duration = Duration::from_secs(5);

/// What has refused its watch. Bounded by the directories that there are.
#[derive(Debug, Default)]
pub(super) struct Refused {
    directories: HashSet<(NodeId, Box<OsStr>)>,
    at: Option<Instant>,
}

impl Refused {
    /// Notes a directory. Returns whether that is news.
    pub(super) fn note(&mut self, parent: NodeId, name: &OsStr) -> bool {
        self.at.get_or_insert_with(|| Instant::now() + TRY_AGAIN);
        self.directories.insert((parent, name.into()))
    }

    /// Forgets those whose parents are gone: their numbers are about to be used again.
    pub(super) fn forget_beneath_buried(&mut self, tree: &Tree) {
        self.directories.retain(|(parent, _)| tree.is_alive(*parent));
    }
}

impl<S: Sink> Source<S> {
    /// Tries what has refused its watch. Returns when to try again.
    pub(super) fn try_refused(&mut self, now: Instant) -> Option<Instant> {
        if self.refused.at? > now {
            return self.refused.at;
        }
        self.refused.at = None;
        let all: Vec<_> = self.refused.directories.iter().cloned().collect();
        for (parent, name) in all {
            if !self.tree.read().is_alive(parent) {
                self.refused.directories.remove(&(parent, name));
                continue;
            }
            if !self.try_one(parent, &name) {
                // There is no watch left for the others either.
                break;
            }
        }
        if !self.refused.directories.is_empty() {
            self.refused.at = Some(now + TRY_AGAIN);
        }
        self.refused.at
    }

    /// Returns whether it is worth while to try others.
    fn try_one(&mut self, parent: NodeId, name: &OsStr) -> bool {
        let known = self.tree.read().child(parent, name);
        let is_watched = |node: NodeId| self.tree.read().wd(node).is_some();
        if known.is_some_and(is_watched) {
            self.refused.directories.remove(&(parent, name.into()));
            return true;
        }
        let node = self.tree.write().add_child(parent, name);
        let (watch, path) = {
            let tree = self.tree.read();
            (tree.watch(node), tree.path(node))
        };
        let mut seen = HashSet::new();
        let root = walk::open_root(&self.roots[usize::from(watch.0)].root.path);
        let tried = root.map_err(anyhow::Error::from).and_then(|fd| self.watch_beneath(&fd, node, &mut seen));
        if seen.contains(&node) {
            self.refused.directories.remove(&(parent, name.into()));
            info!("{path:?} is watched now");
            self.rescans.order(Order::Root(node));
        } else if self.tree.read().child(parent, name).is_none() && !self.is_there(parent, name) {
            self.refused.directories.remove(&(parent, name.into()));
        }
        if let Err(error) = &tried {
            debug!("failed to watch {path:?}: {error:#}");
        }
        tried.is_ok()
    }

    fn is_there(&self, parent: NodeId, name: &OsStr) -> bool {
        let path = self.tree.read().path(parent).join(name);
        !matches!(crate::sys::stat(&path), Ok(None))
    }
}
