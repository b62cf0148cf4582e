//! The rescan: looks at the files that are there, so that nothing depends on what the kernel told.
//!
//! inotify is a hint: it cannot tell of what landed before a watch was in place, drops what its queue has no room for,
//! and a lane that is full keeps no event. All of these are one thing here: directories are listed, and whatever is
//! not finished in the ledger is delivered. What is found is only *supposed* to be complete; the lane asks the kernel,
//! and waits for a fence, so that a file whose close-write is on its way comes once.
//!
//! One thread, no events, no watches: the source's thread never waits for it.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use anyhow::{Context, Result};
use notifyit_plugin_api::Origin;
use tracing::{debug, info};

use super::shared::SharedTree;
use super::walk;
use crate::event::{LaneId, NodeId, Sequence, WatchId};
use crate::sys::{self, Stat};

/// So many orders may wait; more are one for everything.
const MOST_ORDERS: usize = 1024;

/// Why, and so what, is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// The host has started.
    Start,
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
    /// A root is there, or there again.
    Root(NodeId),
    /// The ledger is to forget the files that are gone.
    Prune,
}

/// How a directory has come into the tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrival {
    /// It was made.
    Made,
    /// It was moved in, with what was in it.
    MovedIn,
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
    fn name(&self) -> &'static str {
        match self {
            Order::Start => "start",
            Order::NewDirectories { .. } => "new directories",
            Order::Overflow => "overflow",
            Order::Behind(_) => "a plugin that was behind",
            Order::Root(_) => "a root that is there again",
            Order::Prune => "pruning",
        }
    }

    /// The origin of what is delivered.
    pub fn origin(&self) -> Origin {
        match self {
            Order::Start => Origin::Start,
            Order::NewDirectories { .. } => Origin::NewDirectory,
            Order::Overflow | Order::Behind(_) | Order::Root(_) | Order::Prune => Origin::Rescan,
        }
    }
}

/// Where findings go. Called on the rescan's thread; must not wait.
pub trait Finder: Send {
    /// Which file. Returns whether it is to be delivered to anyone.
    fn found(&mut self, found: &Found<'_>) -> bool;

    /// A directory is done: hand on what was found.
    fn end_of_directory(&mut self);

    /// An order begins.
    fn begin(&mut self, order: &Order);

    /// An order is done.
    fn end(&mut self, order: &Order);
}

/// The way to order a rescan, from any thread.
#[derive(Debug, Clone, Default)]
pub struct RescanHandle {
    inner: Arc<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    state: Mutex<State>,
    wake: Condvar,
    /// What the source has decoded: set by it after each read.
    decoded: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    orders: VecDeque<Order>,
    working: bool,
    stop: bool,
}

impl RescanHandle {
    /// Orders a rescan. The same order twice is one.
    pub fn order(&self, order: Order) {
        let mut state = self.lock();
        if state.orders.contains(&order) {
            return;
        }
        if state.orders.len() >= MOST_ORDERS {
            state.orders.retain(|order| !matches!(order, Order::NewDirectories { .. }));
            state.orders.push_back(Order::Overflow);
        } else {
            state.orders.push_back(order);
        }
        self.inner.wake.notify_one();
    }

    /// Is nothing ordered, and nothing being looked at?
    pub fn is_idle(&self) -> bool {
        let state = self.lock();
        state.orders.is_empty() && !state.working
    }

    /// What is being looked at is left, what is ordered forgotten.
    pub fn stop(&self) {
        self.lock().stop = true;
        self.inner.wake.notify_one();
    }

    /// The source has decoded everything up to here.
    pub(super) fn decoded(&self, sequence: u64) {
        self.inner.decoded.store(sequence, Ordering::Release);
    }

    fn sequence(&self) -> Sequence {
        Sequence(self.inner.decoded.load(Ordering::Acquire))
    }

    fn is_stopped(&self) -> bool {
        self.lock().stop
    }

    /// The next order, or `None` at the end.
    fn next(&self) -> Option<Order> {
        let mut state = self.lock();
        state.working = false;
        loop {
            if state.stop {
                return None;
            }
            if let Some(order) = state.orders.pop_front() {
                state.working = true;
                return Some(order);
            }
            state = self.inner.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The rescan's thread.
#[derive(Debug)]
pub struct Rescan<F> {
    handle: RescanHandle,
    tree: Arc<SharedTree>,
    roots: Vec<PathBuf>,
    finder: F,
}

/// What an order came to.
#[derive(Debug, Default)]
struct Tally {
    directories: u64,
    files: u64,
    due: u64,
}

impl<F: Finder> Rescan<F> {
    /// `roots` are the paths of the watches, in their order.
    pub fn new(handle: RescanHandle, tree: Arc<SharedTree>, roots: Vec<PathBuf>, finder: F) -> Self {
        Rescan { handle, tree, roots, finder }
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
        let body = move || {
            while let Some(order) = self.handle.next() {
                self.carry_out(&order);
            }
        };
        thread::Builder::new().name("rescan".into()).spawn(body).context("failed to start a thread")
    }

    fn carry_out(&mut self, order: &Order) {
        let begin = Instant::now();
        let nodes = match order {
            Order::NewDirectories { nodes, .. } => nodes.clone(),
            Order::Root(root) if self.tree.read().is_alive(*root) => {
                std::iter::once(*root).chain(self.tree.read().below(*root)).collect()
            }
            Order::Root(_) => Vec::new(),
            Order::Start | Order::Overflow | Order::Behind(_) | Order::Prune => self.tree.read().all(),
        };
        let mut tally = Tally::default();
        self.finder.begin(order);
        for node in nodes {
            if self.handle.is_stopped() {
                return;
            }
            self.look_into(node, order, &mut tally);
            self.finder.end_of_directory();
        }
        self.finder.end(order);
        let Tally { directories, files, due } = tally;
        let took = begin.elapsed();
        match order {
            Order::Overflow | Order::Root(_) => {
                info!("rescanned {directories} directories: {files} files, {due} to deliver ({took:.1?})");
            }
            _ => debug!(
                "rescanned {directories} directories: {files} files, {due} to deliver ({took:.1?}, {})",
                order.name()
            ),
        }
    }

    /// Looks at each file of one directory. What cannot be read is the watch's to say.
    fn look_into(&mut self, node: NodeId, order: &Order, tally: &mut Tally) {
        let sequence = self.handle.sequence();
        let (watch, directory, relative) = {
            let tree = self.tree.read();
            if !tree.is_alive(node) {
                return;
            }
            (tree.watch(node), tree.serial(node), tree.relative_dir(node))
        };
        let opened = walk::open_root(&self.roots[usize::from(watch.0)])
            .and_then(|root| walk::open_beneath(&root, relative.as_os_str().as_bytes()));
        let opened = match opened {
            Ok(opened) => opened,
            Err(error) => return debug!("failed to rescan {relative:?}: {error}"),
        };
        tally.directories += 1;
        let finder = &mut self.finder;
        let listed = walk::for_each_file(opened, |dir, name| {
            let Ok(Some(stat)) = sys::stat_in(dir, name) else { return };
            if stat.is_file() {
                tally.files += 1;
                let found = Found { sequence, node, directory, watch, name, stat, order };
                tally.due += u64::from(finder.found(&found));
            }
        });
        if let Err(error) = listed {
            debug!("failed to rescan {relative:?}: {error}");
        }
    }
}
