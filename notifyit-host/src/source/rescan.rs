//! The rescan: looks at the files that are there, so that nothing depends on what the kernel told.
//!
//! inotify is a hint: it cannot tell of what landed before a watch was in place, drops what its queue has no room for,
//! and a lane that is full keeps no event. All of these are one thing here: directories are listed, and whatever is
//! not finished in the ledger is delivered. What is found is only *supposed* to be complete; the lane asks the kernel,
//! and waits for a fence, so that a file whose close-write is on its way comes once.
//!
//! No events, no watches: the source's thread never waits for it. Two threads, for a file system across a network may
//! hang: one carries out what must be quick, beneath the roots that are watched; the other what comes by the clock.

use std::ffi::OsStr;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use notifyit_plugin_api::Origin;
use rustc_hash::{FxHashMap, FxHashSet};
use tracing::debug;

use super::fence::SourceHandle;
pub use super::orders::{RescanHandle, Share};
use super::poll::Memory;
use super::prune::{LookedInto, RootSeen};
use super::shared::SharedTree;
use super::tally::{SAY_EVERY, Tally, say, say_progress};
use super::{Root, walk};
use crate::event::{LaneId, NodeId, Sequence, WatchId};
use crate::sys::{self, Stat};

/// Why, and so what, is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The host has started: what was last changed before it is not delivered, if `existing` says so.
    Start {
        /// The directories that were there. What is moved in later, with old files in it, is none of this.
        nodes: Vec<NodeId>,
    },
    /// These directories have appeared.
    NewDirectories {
        /// The directories.
        nodes: Vec<NodeId>,
        /// How.
        arrival: Arrival,
        /// They did so after this (nanoseconds since 1970).
        since_nanos: u64,
    },
    /// The kernel's queue has overflowed.
    Overflow,
    /// A lane has had no room.
    Behind(LaneId),
    /// A lane has come while the host runs: its first look, which goes to the end whether or not it has room.
    Joined(LaneId),
    /// A root is there, or there again.
    Root(NodeId),
    /// Directories without a watch, each by its parent and its name there.
    Unwatched {
        /// The directories.
        directories: Vec<(NodeId, Box<OsStr>)>,
    },
    /// The ledger is to forget the files that are gone.
    Prune,
    /// A root that is polled.
    Poll {
        /// The root.
        root: NodeId,
        /// Which poll it is.
        turn: Turn,
    },
    /// In case something was not told: what has not changed for so long should all be finished.
    Quiet {
        /// What has changed since then is left to those who tell of it.
        unchanged_for: Duration,
    },
}

/// Which poll of a root it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The first, before the host is ready: what is there was there before.
    AtStart,
    /// The first of a root that was not there at the start.
    Appeared,
    /// Another one.
    Usual,
}

/// How a directory has come into the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It was made.
    Made,
    /// It was moved in, with what was in it.
    MovedIn,
    /// It has left its place to another one, for which it may have been taken until the source had read of that.
    Replaced,
    /// It may have been in the tree before: what the kernel told did not fit what is there.
    Doubted,
}

/// A file that a rescan has come across.
#[derive(Debug)]
pub struct Found<'a> {
    /// What the source had decoded when it was found.
    pub sequence: Sequence,
    /// Its directory.
    pub node: NodeId,
    /// The directory's serial number.
    pub directory: u64,
    /// The directory's watch.
    pub watch: WatchId,
    /// Its name.
    pub name: &'a OsStr,
    /// What it is like.
    pub stat: Stat,
    /// Why it is looked at.
    pub order: &'a Order,
}

impl Order {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Order::Start { .. } => "start",
            Order::NewDirectories { .. } => "new directories",
            Order::Overflow => "overflow",
            Order::Behind(_) => "a plugin that was behind",
            Order::Joined(_) => "a plugin that has come",
            Order::Root(_) => "a root that is there again",
            Order::Unwatched { .. } => "directories without a watch",
            Order::Prune => "pruning",
            Order::Poll { .. } => "poll",
            Order::Quiet { .. } => "quiet look",
        }
    }

    /// The origin of what is delivered.
    pub fn origin(&self) -> Origin {
        match self {
            Order::Start { .. } | Order::Poll { turn: Turn::AtStart, .. } => Origin::Start,
            Order::NewDirectories { .. } => Origin::NewDirectory,
            _ => Origin::Rescan,
        }
    }

    pub(super) fn share(&self) -> Share {
        match self {
            Order::Poll { .. } | Order::Quiet { .. } | Order::Unwatched { .. } | Order::Prune => {
                Share::Patient
            }
            _ => Share::Prompt,
        }
    }
}

/// Where findings go. Called on the rescan's thread; must not wait.
pub trait Finder: Send {
    /// Which file. Returns whether it is to be delivered to anyone.
    fn found(&mut self, found: &Found<'_>) -> bool;

    /// A directory is done: hand on what was found.
    fn end_of_directory(&mut self);

    /// Has there been no room in a lane since the order began?
    fn is_full(&self, lane: LaneId) -> bool;

    /// An order begins.
    fn begin(&mut self, order: &Order);

    /// An order is done.
    fn end(&mut self, order: &Order);

    /// Can it be asked what it knows of a directory?
    fn knows_directories(&self) -> bool;

    /// This is a root that is about to be looked into.
    fn root_is(&mut self, root: &RootSeen);

    /// May what is gone beneath this root be forgotten?
    fn may_forget(&mut self, root: &RootSeen) -> bool;

    /// Finds what is known of a directory, and gone. Returns how much has been found in all.
    fn look_for_gone(&mut self, directory: LookedInto<'_>) -> usize;

    /// Has anything been found?
    fn has_gone(&self) -> bool;

    /// Forgets what has been found in directories that are `in_place`; numbers that are `known` are in use elsewhere.
    fn forget_gone(&mut self, in_place: &FxHashSet<NodeId>, known: FxHashSet<u64>);

    /// All roots have been gone through.
    fn end_pruning(&mut self);
}

/// A thread of the rescan.
#[derive(Debug)]
pub struct Rescan<F> {
    pub(super) handle: RescanHandle,
    pub(super) tree: Arc<SharedTree>,
    pub(super) roots: Vec<Root>,
    pub(super) finder: F,
    pub(super) source: SourceHandle,
    /// Of each root that is polled, what polls remember.
    pub(super) polled: FxHashMap<NodeId, Memory>,
    /// Where a lane that was behind was full again: there the next look for it begins.
    full_at: FxHashMap<LaneId, NodeId>,
    share: Share,
}

impl<F: Finder> Rescan<F> {
    /// `roots` are those of the watches, in their order. One thread for each share.
    pub fn new(
        share: Share,
        handle: RescanHandle,
        tree: Arc<SharedTree>,
        roots: Vec<Root>,
        source: SourceHandle,
        finder: F,
    ) -> Self {
        let (polled, full_at) = Default::default();
        Rescan { handle, tree, roots, finder, source, polled, full_at, share }
    }

    /// Works on a thread of its own, until [`RescanHandle::stop`].
    ///
    /// # Errors
    ///
    /// No thread to be had.
    pub fn spawn(mut self) -> Result<JoinHandle<()>>
    where
        F: 'static,
    {
        let name = if self.share == Share::Prompt { "rescan" } else { "poll" };
        let body = move || {
            while let Some(order) = self.handle.next(self.share) {
                self.carry_out(&order);
            }
        };
        thread::Builder::new().name(name.into()).spawn(body).context("failed to start a thread")
    }

    pub(super) fn carry_out(&mut self, order: &Order) {
        if matches!(order, Order::Prune) && self.finder.knows_directories() {
            return self.prune();
        }
        let begin = Instant::now();
        let nodes = match order {
            Order::Start { nodes } | Order::NewDirectories { nodes, .. } => nodes.clone(),
            Order::Root(root) if self.tree.read().is_alive(*root) => {
                std::iter::once(*root).chain(self.tree.read().below(*root)).collect()
            }
            Order::Root(_) | Order::Poll { .. } | Order::Unwatched { .. } => Vec::new(),
            Order::Prune if !self.can_reach_all() || !self.are_all_there() => return,
            Order::Behind(lane) => self.all_for(*lane),
            Order::Overflow | Order::Joined(_) | Order::Prune | Order::Quiet { .. } => self.tree.read().all(),
        };
        let mut tally = Tally::default();
        self.note_roots(order);
        self.finder.begin(order);
        let unreached = self.look_into_each(nodes, order, &mut tally);
        self.source.look_for(order, unreached);
        if self.handle.is_stopped() {
            return;
        }
        match order {
            Order::Poll { root, turn } => self.poll(*root, *turn, &mut tally),
            Order::Unwatched { directories } => self.go_through_unwatched(directories, order, &mut tally),
            Order::Prune => self.go_through_polled(order, &mut tally),
            _ => {}
        }
        self.finder.end(order);
        if matches!(order, Order::Behind(_)) {
            self.handle.looked(begin.elapsed());
        }
        if matches!(order, Order::Start { .. } | Order::Root(_)) && self.finder.knows_directories() {
            self.handle.order(Order::Prune);
        }
        say(order, &tally, begin.elapsed());
    }

    /// Every directory, once round from where the lane was full the last time: no file is looked at again and again
    /// for the sake of those behind it.
    fn all_for(&mut self, lane: LaneId) -> Vec<NodeId> {
        let mut nodes = self.tree.read().all();
        if let Some(from) = self.full_at.remove(&lane) {
            let place = nodes.partition_point(|node| *node < from);
            nodes.rotate_left(place);
        }
        nodes
    }

    /// Returns the directories that were not there.
    fn look_into_each(&mut self, nodes: Vec<NodeId>, order: &Order, tally: &mut Tally) -> Vec<NodeId> {
        let (mut unreached, mut said) = (Vec::new(), Instant::now());
        for node in nodes {
            if self.handle.is_stopped() {
                break;
            }
            let begin = Instant::now();
            if begin - said > SAY_EVERY {
                said = begin;
                say_progress(order, tally);
            }
            if !self.look_into(node, order, tally) {
                unreached.push(node);
            }
            self.finder.end_of_directory();
            match order {
                Order::Behind(lane) if self.finder.is_full(*lane) => {
                    self.full_at.insert(*lane, node);
                    break;
                }
                Order::Quiet { .. } => self.handle.rest(begin.elapsed()),
                _ => {}
            }
        }
        unreached
    }

    /// Looks at each file of one directory. What cannot be read is the watch's to say. Returns whether it was there.
    pub(super) fn look_into(&mut self, node: NodeId, order: &Order, tally: &mut Tally) -> bool {
        let sequence = self.handle.sequence();
        let (watch, directory, relative) = {
            let tree = self.tree.read();
            if !tree.is_alive(node) {
                return true;
            }
            (tree.watch(node), tree.serial(node), tree.relative_dir(node))
        };
        let opened = walk::open_root(&self.roots[usize::from(watch.0)])
            .and_then(|top| top.open_beneath(relative.as_os_str().as_bytes()));
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => {
                debug!("failed to rescan {relative:?}: {error}");
                return error.kind() != std::io::ErrorKind::NotFound;
            }
        };
        let there = sys::identity_of(&opened).ok().and_then(|identity| identity.lasting());
        if self.tree.read().is_other(node, there) {
            debug!("another directory lies at {relative:?}");
            return false;
        }
        tally.directories += 1;
        let (finder, handle) = (&mut self.finder, &self.handle);
        let listed = walk::for_each_file(opened, |dir, name| {
            let Ok(Some(stat)) = sys::stat_in(dir, name) else { return ControlFlow::Continue(()) };
            if !stat.is_file() {
                return ControlFlow::Continue(());
            }
            tally.files += 1;
            let found = Found { sequence, node, directory, watch, name, stat, order };
            tally.due += u64::from(finder.found(&found));
            let is_enough = match order {
                Order::Behind(lane) => finder.is_full(*lane),
                _ => tally.files.is_multiple_of(1024) && handle.is_stopped(),
            };
            if is_enough { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        if let Err(error) = listed {
            debug!("failed to rescan {relative:?}: {error}");
        }
        true
    }
}
