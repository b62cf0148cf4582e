//! The directories that the user named, and how a directory beneath them gets its watch.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::fs::fstat;
use rustix::io::Errno;
use tracing::{error, info, warn};

use super::filesystem::Kind;
use super::inotify::Source;
use super::rescan::{Order, Turn};
use super::{Backend, MayBeMissing, Root, Sink, walk};
use crate::event::{NodeId, WatchId};
use crate::sys::{self, Identity};

/// How often a root that is not there is looked for.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(500);

/// After an overflow the tree is repaired once the flood has had this long to end.
const REPAIR_AFTER: Duration = Duration::from_millis(200);
/// The longest that it waits if one repair is followed by an overflow again and again.
const REPAIR_AT_LEAST: Duration = Duration::from_secs(10);
/// Overflows closer together than this are one episode.
const EPISODE: Duration = Duration::from_secs(5);

/// A root as it stands.
#[derive(Debug)]
pub(super) struct Rooted {
    pub(super) root: Root,
    pub(super) state: State,
}

/// Is a root there?
#[derive(Debug)]
pub(super) enum State {
    /// Watched: its node, and which directory it was when its watch was added.
    Watched(NodeId, Identity),
    /// Polled: the rescan looks after it.
    Polled,
    /// Not there: looked for again at this time.
    Missing(Instant),
}

/// Is a root there, for who asks?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Watched.
    Watched,
    /// Polled.
    Polled,
    /// Not there, and waited for.
    Missing,
}

/// All roots, in their order. Empty before the source has looked at them.
#[derive(Debug, Default)]
pub(super) struct Standings(Mutex<Vec<Standing>>);

impl Standings {
    pub(super) fn all(&self) -> Vec<Standing> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, index: usize, standing: Standing) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let length = all.len().max(index + 1);
        all.resize(length, Standing::Missing);
        all[index] = standing;
    }
}

impl<S: Sink> Source<S> {
    pub(super) fn stands(&mut self, index: usize, state: State) {
        let standing = match state {
            State::Watched(..) => Standing::Watched,
            State::Polled => Standing::Polled,
            State::Missing(_) => Standing::Missing,
        };
        self.handle.roots.set(index, standing);
        self.roots[index].state = state;
    }

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
                Ok(Some(_)) => self
                    .add_root(index, Turn::AtStart)
                    .with_context(|| format!("failed to watch {path:?}"))?,
                Err(error) => return Err(error).with_context(|| format!("failed to watch {path:?}")),
            }
        }
        Ok(())
    }

    fn add_root(&mut self, index: usize, turn: Turn) -> Result<()> {
        let watch = watch_id(index);
        let (name, path) = (self.roots[index].root.name.clone(), self.roots[index].root.path.clone());
        let top = walk::open_root(&self.roots[index].root)?;
        let kind = Kind::of(&top.directory)?;
        let mut terms = kind.terms(&self.roots[index].root);
        if self.roots[index].root.cross_mounts {
            terms.device = Some(fstat(&top.directory)?.st_dev);
        }
        self.tree.write().set_terms(watch, terms);
        if terms.polled {
            top.open_beneath(b"")?;
            say_polled(&self.roots[index].root, kind);
            self.poll_root(index, turn);
            return Ok(());
        }
        if !kind.is_seen() {
            warn!(
                "{path:?} is on {}: inotify is used there, as was asked for, and does not see what others write",
                kind.name
            );
        }
        let node = self.tree.write().add_root(watch, &name, &path);
        self.stands(index, State::Watched(node, sys::identity_of(&top.directory)?));
        let added = self.watch_beneath(&top, node, &mut HashSet::new());
        if added.is_err() || self.tree.read().wd(node).is_none() {
            self.drop_subtree(node);
            self.stands(index, State::Missing(Instant::now() + LOOK_EVERY));
        }
        added
    }

    /// From now on the rescan looks after that root.
    fn poll_root(&mut self, index: usize, turn: Turn) {
        let root = &self.roots[index].root;
        let node = self.tree.write().add_root(watch_id(index), &root.name, &root.path);
        self.rescans.repeat(Order::Poll { root: node, turn }, root.poll_every, Instant::now());
        self.stands(index, State::Polled);
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
        self.stands(index, State::Missing(now + LOOK_EVERY));
        let path = self.roots[index].root.path.clone();
        if !matches!(sys::stat_followed(&path), Ok(Some(stat)) if stat.is_directory()) {
            return;
        }
        match self.add_root(index, Turn::Appeared) {
            Ok(()) => {
                if let State::Watched(node, _) = self.roots[index].state {
                    info!("watching {path:?}");
                    self.rescans.order(Order::Root(node));
                }
            }
            Err(error) => error!("failed to watch {path:?}: {error:#}; trying again"),
        }
    }

    /// The directory at a root's path may be another one now, or none.
    pub(super) fn check_root(&mut self, node: NodeId) {
        let found = self.roots.iter().position(|r| matches!(r.state, State::Watched(n, _) if n == node));
        let Some(index) = found else { return };
        let State::Watched(_, identity) = self.roots[index].state else { return };
        let path = self.roots[index].root.path.clone();
        match sys::identity(&path) {
            Some(there) if there == identity && self.tree.read().wd(node).is_some() => return,
            Some(_) => warn!(
                "{path:?} is another directory than before: made anew, or something was mounted or unmounted; watching \
                 what is there now"
            ),
            None => warn!("{path:?} is gone: removed, renamed or unmounted; waiting for it to come back"),
        }
        self.drop_subtree(node);
        self.stands(index, State::Missing(Instant::now()));
    }

    pub(super) fn say_failed(&mut self, path: &Path, error: &anyhow::Error) {
        let now = Instant::now();
        if self.failed_said.is_none_or(|at| now - at > Duration::from_secs(60)) {
            self.failed_said = Some(now);
            error!("failed to watch {path:?}: {error:#}; what lands in it is not seen");
        }
    }

    /// The kernel has dropped events.
    pub(super) fn overflowed(&mut self) {
        self.sink.lost();
        let now = Instant::now();
        if self.last_overflow.is_none_or(|at| now - at > EPISODE) {
            warn!(
                "the kernel's event queue overflowed (limit {}); rescanning. If it happens often, raise it with sysctl \
                 fs.inotify.max_queued_events={}",
                self.queue_limit,
                self.queue_limit.saturating_mul(8)
            );
        }
        self.last_overflow = Some(now);
        if self.repair_at.is_none() {
            // A repair opens every directory. Should it be that which has filled the queue again, as it may where a
            // plugin asks for `open`, the next one has to wait longer.
            let pause = match self.repaired {
                Some((at, pause)) if now - at < EPISODE => (2 * pause).min(REPAIR_AT_LEAST),
                _ => REPAIR_AFTER,
            };
            self.repair_at = Some(now + pause);
            self.repaired = Some((now + pause, pause));
        }
    }

    /// How many roots are not there yet.
    pub fn missing(&self) -> usize {
        self.roots.iter().filter(|r| matches!(r.state, State::Missing(_))).count()
    }

    /// After an overflow the tree may be wrong: walks every root again.
    pub(super) fn repair(&mut self) {
        for index in 0..self.roots.len() {
            if let State::Watched(node, _) = self.roots[index].state {
                self.check_root(node);
            }
            if let State::Watched(node, _) = self.roots[index].state {
                self.repair_root(index, node);
            }
        }
    }

    /// Walks a root again, adds what is missing, drops what is gone.
    pub(super) fn repair_root(&mut self, index: usize, node: NodeId) {
        let path = self.roots[index].root.path.clone();
        let mut seen = HashSet::new();
        let walked = walk::open_root(&self.roots[index].root)
            .map_err(anyhow::Error::from)
            .and_then(|top| self.watch_beneath(&top, node, &mut seen));
        match walked {
            Ok(()) => {
                let gone = self.tree.read().below(node).filter(|n| !seen.contains(n)).collect::<Vec<_>>();
                for node in gone {
                    self.drop_subtree(node);
                }
            }
            Err(error) => self.say_failed(&path, &error),
        }
    }
}

fn say_polled(root: &Root, kind: Kind) {
    let (path, every) = (&root.path, root.poll_every);
    match root.backend {
        Backend::Poll => info!("{path:?} is polled every {every:?}, as was asked for"),
        Backend::Auto | Backend::Inotify => warn!(
            "{path:?} is on {}, where inotify does not see what others write: it is polled every {every:?}",
            kind.name
        ),
    }
}

/// The watch of a root, by its place.
pub(super) fn watch_id(index: usize) -> WatchId {
    WatchId(u16::try_from(index).expect("run refuses more than 65,535 watches"))
}

pub(super) fn no_watch_left() -> String {
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
