//! The directories that the user named, and how a directory beneath them gets its watch.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use inotify::WatchMask;
use rustix::fs::fstat;
use rustix::io::Errno;
use tracing::{error, info, warn};

use super::inotify::Source;
use super::walk;
use super::{MayBeMissing, Root, Sink};
use crate::event::{NodeId, WatchId};
use crate::sys;

/// How often a root that is not there is looked for.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// A root as it stands.
#[derive(Debug)]
pub(super) struct Rooted {
    pub(super) root: Root,
    pub(super) state: State,
}

/// Is a root there?
#[derive(Debug)]
pub(super) enum State {
    /// Watched: its node, and which directory it was (device, inode) when its watch was added.
    Watched(NodeId, (u64, u64)),
    /// Not there: looked for again at this time.
    Missing(Instant),
}

/// Why a directory has no watch.
enum Refusal {
    /// It is gone, or no directory any more: an event tells, or has told.
    Vanished,
    /// It cannot be read: said, and left out.
    Denied(io::Error),
    /// The kernel has no watch left for this user.
    NoWatchLeft,
    /// Anything else.
    Failed(io::Error),
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        match error.raw_os_error().map(Errno::from_raw_os_error) {
            Some(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => Refusal::Vanished,
            Some(Errno::ACCESS | Errno::PERM) => Refusal::Denied(error),
            Some(Errno::NOSPC) => Refusal::NoWatchLeft,
            _ => Refusal::Failed(error),
        }
    }
}

impl<S: Sink> Source<S> {
    /// Watches every root that is there.
    pub(super) fn add_roots(&mut self) -> Result<()> {
        for index in 0..self.roots.len() {
            let root = &self.roots[index].root;
            let path = root.path.clone();
            match sys::stat_followed(&path) {
                Ok(None) if root.may_be_missing == MayBeMissing::Yes => {
                    info!("{path:?} is not there yet; waiting for it");
                }
                Ok(None) => bail!(
                    "failed to watch {path:?}: no such directory; create it, or wait for it with --wait"
                ),
                Ok(Some(stat)) if !stat.is_directory() => bail!("failed to watch {path:?}: not a directory"),
                Ok(Some(_)) => self.add_root(index).with_context(|| format!("failed to watch {path:?}"))?,
                Err(error) => return Err(error).with_context(|| format!("failed to watch {path:?}")),
            }
        }
        Ok(())
    }

    fn add_root(&mut self, index: usize) -> Result<()> {
        let watch = watch_id(index);
        let path = self.roots[index].root.path.clone();
        let fd = walk::open_root(&path)?;
        let stat = fstat(&fd)?;
        let node = self.tree.write().add_root(watch, &path);
        self.roots[index].state = State::Watched(node, (stat.st_dev, stat.st_ino));
        let added = self.watch_beneath(&fd, node, &mut HashSet::new());
        if added.is_err() || self.tree.read().wd(node).is_none() {
            self.drop_subtree(node);
            self.roots[index].state = State::Missing(Instant::now() + LOOK_EVERY);
        }
        added
    }

    /// Looks for the roots that are not there. Returns when to look again.
    pub(super) fn look_for_roots(&mut self, now: Instant) -> Option<Instant> {
        let mut next: Option<Instant> = None;
        for index in 0..self.roots.len() {
            let State::Missing(at) = self.roots[index].state else { continue };
            if at <= now {
                self.look_for_root(index, now);
            }
            if let State::Missing(at) = self.roots[index].state {
                next = Some(next.map_or(at, |n| n.min(at)));
            }
        }
        next
    }

    fn look_for_root(&mut self, index: usize, now: Instant) {
        self.roots[index].state = State::Missing(now + LOOK_EVERY);
        let path = self.roots[index].root.path.clone();
        if !matches!(sys::stat_followed(&path), Ok(Some(stat)) if stat.is_directory()) {
            return;
        }
        match self.add_root(index) {
            Ok(()) if matches!(self.roots[index].state, State::Watched(..)) => info!("watching {path:?}"),
            Ok(()) => {}
            Err(error) => error!("failed to watch {path:?}: {error:#}; trying again"),
        }
    }

    /// The directory at a root's path may be another one now, or none: an event hinted at it.
    pub(super) fn check_root(&mut self, node: NodeId) {
        let found = self.roots.iter().position(|r| matches!(r.state, State::Watched(n, _) if n == node));
        let Some(index) = found else { return };
        let State::Watched(_, identity) = self.roots[index].state else { return };
        let path = self.roots[index].root.path.clone();
        let there = sys::stat_followed(&path).ok().flatten();
        if there.is_some_and(|stat| (stat.device, stat.inode) == identity)
            && self.tree.read().wd(node).is_some()
        {
            return;
        }
        warn!("{path:?} is gone: removed, renamed or unmounted; waiting for it to come back");
        self.drop_subtree(node);
        self.roots[index].state = State::Missing(Instant::now());
    }

    /// A directory has appeared: watches it and all beneath it.
    pub(super) fn adopt(&mut self, parent: NodeId, name: &OsStr) {
        let (watch, relative) = {
            let tree = self.tree.read();
            (tree.watch(parent), tree.relative(parent, name))
        };
        let root = &self.roots[usize::from(watch.0)].root;
        if !root.recursive || root.patterns.excludes_dir(&relative) {
            return;
        }
        let path = root.path.clone();
        let result = walk::open_root(&path).map_err(anyhow::Error::from).and_then(|fd| {
            let node = self.known_or_new(&fd, parent, name, &relative)?;
            node.map_or(Ok(()), |node| self.watch_beneath(&fd, node, &mut HashSet::new()))
        });
        if let Err(error) = result {
            self.say_failed(&path.join(relative), &error);
        }
    }

    /// The node for a directory that has appeared, or `None` if it is known and watched already. What had its name
    /// before, if it is another directory, is dropped.
    fn known_or_new(
        &mut self,
        root: &OwnedFd,
        parent: NodeId,
        name: &OsStr,
        relative: &Path,
    ) -> Result<Option<NodeId>> {
        let Some(known) = self.tree.read().child(parent, name) else {
            return Ok(Some(self.tree.write().add_child(parent, name)));
        };
        let opened = walk::open_beneath(root, relative.as_os_str().as_bytes());
        let Ok(directory) = opened else { return Ok(None) };
        let wd = self.add_watch(known, &directory)?;
        if self.tree.read().wd(known) == Some(wd) {
            return Ok(None);
        }
        self.drop_subtree(known);
        Ok(Some(self.tree.write().add_child(parent, name)))
    }

    /// Watches a directory and, if its root is recursive, all beneath it. `seen` gets every node that is there.
    ///
    /// # Errors
    ///
    /// No watches left, or the start itself cannot be read. What is denied further down is said and left out.
    pub(super) fn watch_beneath(
        &mut self,
        root: &OwnedFd,
        start: NodeId,
        seen: &mut HashSet<NodeId>,
    ) -> Result<()> {
        let mut todo = vec![start];
        while let Some(node) = todo.pop() {
            match self.watch_one(root, node, &mut todo) {
                Ok(()) => {
                    seen.insert(node);
                }
                Err(Refusal::Vanished) => self.drop_subtree(node),
                Err(Refusal::NoWatchLeft) => {
                    self.drop_subtree(node);
                    bail!(no_watch_left());
                }
                Err(Refusal::Denied(error) | Refusal::Failed(error)) => {
                    if self.tree.read().is_root(node) {
                        return Err(error.into());
                    }
                    warn!(
                        "{:?} is not watched: {error}; what lands in it is not seen",
                        self.tree.read().path(node)
                    );
                    self.drop_subtree(node);
                }
            }
        }
        Ok(())
    }

    /// Watches one directory, then lists it: what appears in between is told by an event *and* found by the listing.
    fn watch_one(&mut self, root: &OwnedFd, node: NodeId, todo: &mut Vec<NodeId>) -> Result<(), Refusal> {
        let (watch, relative) = {
            let tree = self.tree.read();
            (tree.watch(node), tree.relative_dir(node))
        };
        let mut relative = relative.into_os_string().into_vec();
        let directory = walk::open_beneath(root, &relative)?;
        let wd = self.add_watch(node, &directory).map_err(Refusal::from)?;
        let replaced = self.tree.write().set_wd(node, wd);
        self.drop_watches(replaced.as_slice());
        let root = &self.roots[usize::from(watch.0)].root;
        if !root.recursive {
            return Ok(());
        }
        if !relative.is_empty() {
            relative.push(b'/');
        }
        let length = relative.len();
        let mut tree = self.tree.write();
        walk::for_each_directory(directory, |name| {
            relative.truncate(length);
            relative.extend_from_slice(name.as_bytes());
            if !root.patterns.excludes_dir(Path::new(OsStr::from_bytes(&relative))) {
                todo.push(tree.add_child(node, name));
            }
        })?;
        Ok(())
    }

    /// A directory was renamed to where other patterns hold, or the same say something else: drops what is excluded
    /// now, and watches what no longer is.
    pub(super) fn adopt_again(&mut self, node: NodeId) {
        let path = self.root_path(node);
        let below: Vec<NodeId> = self.tree.read().below(node).collect();
        for node in below {
            let tree = self.tree.read();
            let root = &self.roots[usize::from(tree.watch(node).0)].root;
            let excluded = tree.is_alive(node) && root.patterns.excludes_dir(&tree.relative_dir(node));
            drop(tree);
            if excluded {
                self.drop_subtree(node);
            }
        }
        let walked = walk::open_root(&path)
            .map_err(anyhow::Error::from)
            .and_then(|fd| self.watch_beneath(&fd, node, &mut HashSet::new()));
        if let Err(error) = walked {
            self.say_failed(&path, &error);
        }
    }

    /// Is the directory at its path the one that its watch was added to?
    pub(super) fn is_still_there(&mut self, node: NodeId) -> bool {
        let relative = self.tree.read().relative_dir(node);
        let opened = walk::open_root(&self.root_path(node))
            .and_then(|root| walk::open_beneath(&root, relative.as_os_str().as_bytes()));
        let wd = opened.and_then(|directory| self.add_watch(node, &directory)).ok();
        wd.is_some() && wd == self.tree.read().wd(node)
    }

    fn root_path(&self, node: NodeId) -> PathBuf {
        let watch = self.tree.read().watch(node);
        self.roots[usize::from(watch.0)].root.path.clone()
    }

    fn add_watch(&mut self, node: NodeId, directory: &OwnedFd) -> io::Result<i32> {
        let (watch, is_root) = {
            let tree = self.tree.read();
            (tree.watch(node), tree.is_root(node))
        };
        // Renames are needed to carry work along, new directories to follow them. One directory may be reached from
        // two roots, which want different things of its one watch: so add to the mask.
        let mut mask = WatchMask::ONLYDIR | WatchMask::MASK_ADD | WatchMask::MOVE | self.sink.interest(watch);
        if self.roots[usize::from(watch.0)].root.recursive {
            mask |= WatchMask::CREATE;
        }
        if is_root {
            mask |= WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
        }
        let wd = self.inotify.watches().add(walk::watch_path(directory), mask)?;
        Ok(wd.get_watch_descriptor_id())
    }

    /// Takes a directory and all beneath it out of the tree and out of the kernel.
    pub(super) fn drop_subtree(&mut self, node: NodeId) {
        let dropped = self.tree.write().bury(node);
        self.drop_watches(&dropped);
    }

    pub(super) fn drop_watches(&self, dropped: &[i32]) {
        for wd in dropped {
            // The kernel may have dropped it by itself, with the directory.
            let _ = rustix::fs::inotify::remove_watch(&self.inotify, *wd);
        }
    }

    fn say_failed(&mut self, path: &Path, error: &anyhow::Error) {
        let now = Instant::now();
        if self.failed_said.is_none_or(|at| now - at > Duration::from_secs(60)) {
            self.failed_said = Some(now);
            error!("failed to watch {path:?}: {error:#}; what lands in it is not seen");
        }
    }

    /// After an overflow the tree may be wrong: walks every root again, adds what is missing, drops what is gone.
    pub(super) fn repair(&mut self) {
        for index in 0..self.roots.len() {
            let State::Watched(node, _) = self.roots[index].state else { continue };
            let path = self.roots[index].root.path.clone();
            let mut seen = HashSet::new();
            let walked = walk::open_root(&path)
                .map_err(anyhow::Error::from)
                .and_then(|fd| self.watch_beneath(&fd, node, &mut seen));
            match walked {
                Ok(()) => {
                    let gone = self.tree.read().below(node).filter(|n| !seen.contains(n)).collect::<Vec<_>>();
                    for node in gone {
                        self.drop_subtree(node);
                    }
                }
                Err(error) => self.say_failed(&path, &error),
            }
            self.check_root(node);
        }
    }
}

/// The watch of a root, by its place.
pub(super) fn watch_id(index: usize) -> WatchId {
    WatchId(u16::try_from(index).expect("run refuses more than 65,535 watches"))
}

fn no_watch_left() -> String {
    match sys::watch_limit() {
        Some(limit) => {
            let more = limit.value.saturating_mul(4).max(524_288);
            format!(
                "no inotify watches left (limit {}); raise it with sysctl {}={more}, or exclude directories",
                limit.value, limit.sysctl
            )
        }
        None => "no inotify watches left; raise fs.inotify.max_user_watches with sysctl".to_owned(),
    }
}

/// An inotify instance, or why there is none.
///
/// # Errors
///
/// No instance or no descriptor left, each with its limit and its remedy.
pub(super) fn instance() -> Result<inotify::Inotify> {
    inotify::Inotify::init().map_err(|error| {
        if error.raw_os_error() != Some(Errno::MFILE.raw_os_error()) {
            return anyhow::Error::new(error).context("failed to start inotify");
        }
        let limit = sys::instance_limit();
        let told = limit.map_or_else(String::new, |l| {
            let more = l.value.saturating_mul(4).max(1024);
            format!(" (limit {}; raise it with sysctl {}={more})", l.value, l.sysctl)
        });
        anyhow::anyhow!("failed to start inotify: no inotify instances left{told}, or no file descriptors left (ulimit -n)")
    })
}
