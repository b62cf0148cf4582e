//! The loop: waits, reads, decodes, keeps the tree true, hands each event to the sink.

use std::collections::VecDeque;
use std::ffi::OsStr;
use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use inotify::{EventMask, Inotify};
use rustix::io::ioctl_fionread;

use super::answer::Turn;
use super::bell::Bells;
use super::closes::Closes;
use super::doubt::Doubt;
use super::fence::{Fences, SourceHandle, queued_bytes};
use super::gather::Gather;
use super::mounts::Mounts;
use super::refused::Refused;
use super::renames::{Place, Renames};
use super::rescan::{Arrival, Order, RescanHandle};
use super::roots::{self, Rooted, State};
use super::shared::SharedTree;
use super::tree::Spot;
use super::unreached::Unreached;
use super::{Root, Sink};
use crate::event::{Happened, NodeId, RenamedFrom, Sequence, WatchId};
use crate::patterns::Entry;
use crate::sys;

/// The read buffer: two thousand events with short names.
const BUFFER: usize = 64 * 1024;
/// The least that an event takes in the kernel's queue, with a name of up to 15 bytes.
const USUAL_BYTES: u64 = 32;
/// How long the second half of a rename is waited for. The kernel queues both within one call, but on a busy machine
/// whoever renames may have to wait in between: the first half has woken us.
const PAIR_WITHIN: Duration = Duration::from_millis(500);

/// The source. Lives on its own thread once [`Source::spawn`]ed.
#[derive(Debug)]
pub struct Source<S> {
    pub(super) inotify: Inotify,
    pub(super) tree: Arc<SharedTree>,
    pub(super) roots: Vec<Rooted>,
    pub(super) sink: S,
    pub(super) failed_said: Option<Instant>,
    /// Directories that were not where they should be. Bounded by the directories that there are.
    pub(super) doubts: Vec<Doubt>,
    pub(super) unreached: Vec<Unreached>,
    pub(super) refused: Refused,
    pub(super) closes: Closes,
    pub(super) mounts: Mounts,
    renames: Arc<Renames>,
    pub(super) handle: SourceHandle,
    pub(super) rescans: RescanHandle,
    /// When the kernel's queue was last known to be empty: what is read now happened after that.
    pub(super) drained_nanos: u64,
    pub(super) bells: Bells,
    pub(super) fences: Fences,
    gather: Gather,
    pub(super) queue_limit: u64,
    sequence: u64,
    moves: VecDeque<MovedAway>,
    pub(super) last_overflow: Option<Instant>,
    pub(super) repair_at: Option<Instant>,
    /// When the tree was last repaired after an overflow, and how long after it.
    pub(super) repaired: Option<(Instant, Duration)>,
}

/// The first half of a rename, waiting for its second.
#[derive(Debug)]
pub(super) struct MovedAway {
    cookie: u32,
    pub(super) node: NodeId,
    pub(super) name: Arc<OsStr>,
    pub(super) directory: bool,
    pub(super) from: RenamedFrom,
    at: Instant,
}

impl<S: Sink> Source<S> {
    /// Watches every root that is there. When it returns, every watch is in place.
    ///
    /// # Errors
    ///
    /// A root that is not there and not awaited; a limit reached; no permission for a root.
    pub fn start(
        roots: Vec<Root>,
        tree: Arc<SharedTree>,
        renames: Arc<Renames>,
        handle: SourceHandle,
        rescans: RescanHandle,
        sink: S,
    ) -> Result<Self> {
        let now = Instant::now();
        let rooted = |root| Rooted { root, state: State::Missing(now) };
        let roots: Vec<Rooted> = roots.into_iter().map(rooted).collect();
        let mut source = Source {
            inotify: roots::instance()?,
            tree,
            renames,
            mounts: Mounts::new(&roots, now),
            roots,
            sink,
            failed_said: None,
            doubts: Vec::new(),
            unreached: Vec::new(),
            refused: Refused::default(),
            closes: Closes::default(),
            handle,
            rescans,
            drained_nanos: sys::wall_nanos(),
            bells: Bells::default(),
            fences: Fences::default(),
            gather: Gather::new(now),
            queue_limit: sys::queue_limit(),
            sequence: 0,
            moves: VecDeque::new(),
            last_overflow: None,
            repair_at: None,
            repaired: None,
        };
        for index in 0..source.roots.len() {
            source.stands(index, State::Missing(now));
        }
        source.add_roots()?;
        Ok(source)
    }

    /// Runs the loop on a thread of its own, until [`SourceHandle::stop`]. `ended` is told if it fails.
    ///
    /// # Errors
    ///
    /// No thread to be had.
    pub fn spawn(mut self, ended: impl FnOnce(anyhow::Error) + Send + 'static) -> Result<JoinHandle<()>>
    where
        S: 'static,
    {
        let body = move || {
            if let Err(error) = self.run() {
                ended(error.context("the inotify loop failed"));
            }
        };
        thread::Builder::new().name("source".into()).spawn(body).context("failed to start a thread")
    }

    fn run(&mut self) -> Result<()> {
        let mut buffer = vec![0; BUFFER];
        loop {
            let now = Instant::now();
            let next = self.due(now);
            self.look_for_unreached();
            self.tidy();
            let ready = self.wait(next.map(|at| at.saturating_duration_since(now)))?;
            if ready.requests && matches!(self.answer(&mut buffer)?, Turn::Leave) {
                return Ok(());
            }
            if ready.events {
                self.gather_and_read(&mut buffer)?;
            }
            if ready.mounts {
                self.mounts_changed();
            }
        }
    }

    /// Does what time has come for. Returns when the next such time is.
    fn due(&mut self, now: Instant) -> Option<Instant> {
        let compare = self.compare_roots(now);
        let look = self.look_for_roots(now);
        let waits = [compare, look, self.settle_doubts(now), self.try_refused(now)];
        let mut next = waits.into_iter().flatten().min();
        let mut sooner = |at: Instant| next = Some(next.map_or(at, |n| n.min(at)));
        if let Some(at) = self.repair_at {
            if at <= now {
                self.repair_at = None;
                self.repair();
                self.rescans.order(Order::Overflow);
            } else {
                sooner(at);
            }
        }
        if let Some(at) = self.give_up_pairs(now) {
            sooner(at);
        }
        next
    }

    /// Takes for moved out what has waited too long for the second half of its rename. Returns when the next one has.
    fn give_up_pairs(&mut self, now: Instant) -> Option<Instant> {
        let is_over = |moved: &MovedAway| moved.at + PAIR_WITHIN <= now;
        // If it was us who did not come to read, the second half lies in the queue.
        if self.moves.front().is_some_and(is_over) && self.queued_bytes() == 0 {
            let over = self.moves.iter().take_while(|moved| is_over(moved)).count();
            for moved in self.moves.drain(..over).collect::<Vec<_>>() {
                self.moved_out(&moved);
            }
        }
        self.moves.front().map(|moved| moved.at + PAIR_WITHIN)
    }

    /// Frees what was kept for events under way, once there are none.
    fn tidy(&mut self) {
        if !self.sink.is_idle() || !self.rescans.is_idle() {
            if self.tree.read().has_too_many_buried() {
                self.tree.write().forget_oldest();
            }
            return;
        }
        self.renames.clear();
        let is_settled = self.moves.is_empty() && self.doubts.is_empty() && self.repair_at.is_none();
        if is_settled && self.tree.read().has_buried() {
            let mut tree = self.tree.write();
            self.refused.forget_beneath_buried(&tree);
            // What is polled is buried by another thread, behind the last event that it has handed over.
            if self.sink.is_idle() {
                tree.sweep();
            }
        }
    }

    pub(super) fn queued_bytes(&self) -> u64 {
        ioctl_fionread(&self.inotify).unwrap_or(0)
    }

    fn gather_and_read(&mut self, buffer: &mut [u8]) -> Result<()> {
        let queued = || ioctl_fionread(&self.inotify).unwrap_or(0) / USUAL_BYTES;
        if let Some(nap) = self.gather.wait(Instant::now(), queued, self.queue_limit) {
            thread::sleep(nap);
        }
        while self.read(buffer)? > buffer.len() as u64 / 2 {}
        self.settle_doubts(Instant::now());
        Ok(())
    }

    /// Reads and decodes one buffer. Returns how many bytes of the kernel's queue that were.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<u64> {
        let events = match self.inotify.read_events(buffer) {
            Ok(events) => events,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.fences.pass_all();
                self.drained_nanos = sys::wall_nanos();
                return Ok(0);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(0),
            Err(error) => return Err(error).context("failed to read events"),
        };
        let seen_nanos = sys::wall_nanos();
        let (mut bytes, mut count) = (0, 0);
        for event in events {
            bytes += queued_bytes(event.name.map(OsStr::len));
            count += 1;
            self.decode(event.wd.get_watch_descriptor_id(), event.mask, event.cookie, event.name, seen_nanos);
        }
        self.sink.end_of_burst();
        self.bells.ring();
        self.rescans.decoded(self.sequence);
        self.fences.advance(bytes);
        self.gather.read(count);
        Ok(bytes)
    }

    fn decode(&mut self, wd: i32, what: EventMask, cookie: u32, name: Option<&OsStr>, seen_nanos: u64) {
        self.sequence += 1;
        if what.contains(EventMask::Q_OVERFLOW) {
            self.bells.missed();
            return self.overflowed();
        }
        if !self.closes.is_empty() && self.closes.told(wd) {
            return;
        }
        if what.contains(EventMask::IGNORED) {
            self.bells.ended(wd);
            return self.unwatched(wd);
        }
        let mut next = self.tree.read().first(wd);
        if next.is_none() {
            self.bells.heard(wd);
        }
        while let Some(Spot { node, watch, twin }) = next {
            match name {
                Some(name) => self.entry((node, watch), what, cookie, name, seen_nanos),
                // What an event without a name says of a directory, its parent's event says with one.
                None if what
                    .intersects(EventMask::MOVE_SELF | EventMask::DELETE_SELF | EventMask::UNMOUNT) =>
                {
                    self.check_root(node);
                }
                None => {}
            }
            next = twin.map(|twin| self.tree.read().spot(twin));
        }
    }

    /// Something happened to an entry of a directory.
    fn entry(
        &mut self,
        (node, watch): (NodeId, WatchId),
        what: EventMask,
        cookie: u32,
        name: &OsStr,
        seen_nanos: u64,
    ) {
        let directory = what.contains(EventMask::ISDIR);
        let mut renamed = None;
        if what.contains(EventMask::MOVED_FROM) {
            self.moved_from(node, cookie, name, directory);
        } else if what.contains(EventMask::MOVED_TO) {
            renamed = self.moved_to(node, cookie, name, directory);
        } else if directory && what.contains(EventMask::CREATE) {
            self.adopt(node, name, Arrival::Made);
        }
        let happened = Happened {
            sequence: Sequence(self.sequence),
            node,
            watch,
            name,
            what,
            directory,
            seen_nanos,
            renamed_from: renamed.as_ref().map(|moved| &moved.from),
        };
        self.sink.event(&happened);
    }

    fn moved_from(&mut self, node: NodeId, cookie: u32, name: &OsStr, directory: bool) {
        let (watch, relative) = {
            let tree = self.tree.read();
            (tree.watch(node), tree.relative(node, name))
        };
        let was_wanted = self.roots[usize::from(watch.0)].root.patterns.accepts(&relative, Entry::File);
        let name = Arc::from(name);
        let place = (node, Arc::clone(&name));
        let from = RenamedFrom { watch, place, relative: Arc::from(relative.as_path()), was_wanted };
        self.moves.push_back(MovedAway { cookie, node, name, directory, from, at: Instant::now() });
    }

    /// The second half of a rename, or a move from outside. Returns the first half.
    fn moved_to(&mut self, node: NodeId, cookie: u32, name: &OsStr, directory: bool) -> Option<MovedAway> {
        let watch = self.tree.read().watch(node);
        // A directory reached from two roots tells each rename twice: its own root's half is the better one.
        let halves = || self.moves.iter().enumerate().rev().filter(|(_, half)| half.cookie == cookie);
        let own = halves().find(|(_, half)| half.from.watch == watch);
        let found = own.or_else(|| halves().next()).map(|(index, _)| index);
        let moved = found.and_then(|index| self.moves.remove(index));
        match (&moved, directory) {
            (Some(moved), false) => self.file_renamed(moved, node, name),
            (None, false) => {}
            (Some(moved), true) if self.refused_renamed(moved, node, name) => {}
            (Some(moved), true) => self.directory_renamed(moved, node, name),
            (None, true) => self.adopt(node, name, Arrival::MovedIn),
        }
        moved
    }

    fn file_renamed(&mut self, moved: &MovedAway, node: NodeId, name: &OsStr) {
        let (from, to) = {
            let tree = self.tree.read();
            (tree.serial(moved.node), tree.serial(node))
        };
        self.sink.renamed((from, &moved.name), (to, name));
        if !self.sink.is_idle() || !self.rescans.is_idle() {
            self.note_rename(moved, (node, Arc::from(name)));
        }
        self.sink.rename_is_noted((from, &moved.name), (to, name));
    }

    fn note_rename(&self, moved: &MovedAway, to: Place) {
        let at = Sequence(self.sequence);
        let from = (moved.node, Arc::clone(&moved.name));
        // The kernel tells an exchange (`RENAME_EXCHANGE`) as a rename there and one back.
        let first = self.renames.there(at, &from, &to).filter(|_| {
            let path = self.tree.read().path(moved.node).join(&*moved.name);
            matches!(sys::stat(&path), Ok(Some(_)))
        });
        self.renames.note(first.unwrap_or(at), from, to);
    }

    /// For messages: how many directories are watched.
    pub fn directories(&self) -> usize {
        self.tree.read().len()
    }
}
