//! One attempt: where is the file now, what is it like, what is the plugin handed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use notifyit_plugin_api::abi::{Bytes, EventRaw, FLAG_DIRECTORY, FLAG_HANDS_ON, Text};
use notifyit_plugin_api::{Kind, Origin};
use tracing::debug;

use super::Outside;
use super::handed::Handed;
use super::handled::Handled;
use super::lane::Lane;
use super::racy::Racy;
use super::retry::{FENCES, Waiting, Work};
use super::takers::Takers;
use crate::event::{Certainty, FileEvent, Sequence, WatchId};
use crate::plugin::{Answer, Answers, Instance};
use crate::settle::ledger::{Ledger, Stamp, Version, identity};
use crate::settle::recorder::Recorder;
use crate::settle::trouble::Wish;
use crate::source::filesystem::Terms;
use crate::source::renames::Renames;
use crate::source::shared::SharedTree;
use crate::sys::{self, Stat};

/// What attempts need to know of the tree and the watches.
#[derive(Debug)]
pub struct Places {
    /// Where directories are.
    pub tree: Arc<SharedTree>,
    /// Where files went.
    pub renames: Arc<Renames>,
    /// The names of the watches.
    pub watches: Vec<String>,
}

/// Why an attempt is not made.
#[derive(Debug)]
pub(super) enum NotMade {
    /// The file is missing, and may have been renamed.
    Missing,
    /// The file is gone.
    Gone,
    /// There is nothing to deliver. It is no file, or is finished.
    Moot,
    /// It was handed on in another version than the one that is there.
    NotPassed,
    /// Somebody may still be writing to the file. To be asked again after this.
    Busy(Duration),
    /// It has failed before, in another run perhaps, and its next try is due after this.
    NotYet(Duration),
    /// Nobody is writing to the file; its close-write may be on its way.
    Free,
}

/// A file as it was before the call that is about it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Looked {
    /// A moment before that look: nanoseconds since 1970.
    pub(super) at: u64,
    /// If it was there.
    pub(super) stat: Option<Stat>,
    pub(super) terms: Terms,
    watch: usize,
}

/// Makes attempts; keeps the path's memory from one to the next.
#[derive(Debug)]
pub(super) struct Attempt {
    places: Arc<Places>,
    ledger: Arc<Ledger>,
    takers: Arc<Takers>,
    path: Vec<u8>,
    root: usize,
    pub(super) handled: Handled,
    pub(super) recorder: Recorder,
}

impl Attempt {
    pub(super) fn new(outside: &Outside) -> Self {
        let Outside { places, ledger, takers, .. } = outside;
        let (places, ledger, takers) = (Arc::clone(places), Arc::clone(ledger), Arc::clone(takers));
        let (path, handled, recorder) = (Vec::with_capacity(256), Handled::default(), Recorder::default());
        Attempt { places, ledger, takers, path, root: 0, handled, recorder }
    }

    /// The path of the last attempt.
    pub(super) fn path(&self) -> &Path {
        Path::new(OsStr::from_bytes(&self.path))
    }

    /// Makes the path of an event without an attempt. Returns its watch and its directory's serial number, or `None` if
    /// its directory went so long ago that it is forgotten: then the path is but the name.
    pub(super) fn locate(&mut self, event: &FileEvent) -> Option<(usize, u64)> {
        let tree = self.places.tree.read();
        if !tree.is_known(event.node) {
            self.path.clear();
            self.path.extend_from_slice(event.name.as_bytes());
            return None;
        }
        self.root = tree.write_path(event.node, &mut self.path);
        self.path.extend_from_slice(event.name.as_bytes());
        Some((usize::from(tree.watch(event.node).0), tree.serial(event.node)))
    }

    /// Looks at the event's file: is the plugin to be called with it?
    pub(super) fn look(&mut self, lane: &Lane, work: &mut Work) -> Result<Looked, NotMade> {
        let Some((watch, directory)) = self.locate(&work.event) else { return Err(NotMade::Gone) };
        let (began, losses) = (sys::wall_nanos(), lane.losses());
        let terms = self.terms(watch);
        let is_supposed = work.event.certainty == Certainty::Supposed;
        let is_to_be_compared = !terms.leases && work.is_to_be_asked();
        let looked = if is_to_be_compared { sys::stat_anew(self.path()) } else { sys::stat(self.path()) };
        let stat = looked.as_ref().ok().and_then(Option::as_ref);
        work.version = stat.map(|stat| Version::new(directory, &work.event.name, &terms.stamp(*stat)));
        work.racy = None;
        // Without an inode, what was moved to a file's place looks like what was there if it has its size and time.
        let is_emitted = work.event.kind == Kind::Emitted;
        let is_to_be_known = is_emitted || is_supposed && (terms.inodes_last || work.event.is_found());
        if is_to_be_known && work.version.as_ref().is_some_and(|v| self.ledger.is_finished(lane.id, v)) {
            return Err(NotMade::Moot);
        }
        if is_emitted && !self.was_emitted(lane, work) {
            // It may have been renamed, and another one be in its place.
            return Err(if work.fences < FENCES { NotMade::Missing } else { NotMade::NotPassed });
        }
        if let Some(pause) = self.resume(lane, work) {
            return Err(NotMade::NotYet(pause));
        }
        let stat = match looked {
            Ok(None) if work.event.is_landing() && work.fences < FENCES => {
                return Err(NotMade::Missing);
            }
            Ok(None) if is_supposed || is_emitted || work.event.kind == Kind::Landed => {
                return Err(NotMade::Gone);
            }
            Ok(Some(stat))
                if (is_supposed || is_emitted || work.event.kind == Kind::Landed) && !stat.is_file() =>
            {
                return Err(NotMade::Moot);
            }
            Ok(Some(stat)) => {
                let racy = terms.racy(&stat, || (began, sys::wall_nanos()));
                if let Some(pause) = self.wait(lane, work, (terms.stamp(stat), racy)) {
                    return Err(NotMade::Busy(pause));
                }
                work.racy = racy.map(|grain| Racy { grain, losses });
                if work.is_to_be_asked() {
                    let pause = work.inquiry.ask(self.path(), stat, terms, Instant::now());
                    return Err(pause.map_or(NotMade::Free, NotMade::Busy));
                }
                Some(stat)
            }
            Ok(None) => None,
            Err(error) => {
                debug!("failed to look at {:?}: {error}", self.path());
                None
            }
        };
        Ok(Looked { at: began, stat, terms, watch })
    }

    /// Was the version that is there handed on to this plugin, or has it been tried before, or is it asked for? What is not
    /// there may have been renamed.
    fn was_emitted(&self, lane: &Lane, work: &mut Work) -> bool {
        let Some(version) = &work.version else { return true };
        work.via = self.takers.via(&self.ledger, lane.id, version);
        let was =
            work.via.is_some() || self.ledger.waiting(lane.id, version.place(), version.stamp()).is_some();
        if was {
            work.fences = 0;
        }
        was
    }

    /// Hands the event to the plugin, with the path of the last look. Returns its answer, if it gives that at once.
    pub(super) fn hand(
        &self,
        lane: &Lane,
        worker: usize,
        (work, looked, ticket): (&Work, &Looked, u64),
        instance: &mut Instance,
    ) -> Option<Answer> {
        let raw = EventRaw { spare: [ticket, 0, 0, 0, 0, 0, 0, 0], ..self.raw(lane, work, looked) };
        if instance.is_isolated() || lane.in_flight.is_some() {
            return instance.hand(&raw);
        }
        lane.begins(worker, &self.path);
        self.recorder.begin(&work.begun(looked.at, &self.path));
        let answer = instance.hand(&raw);
        self.recorder.end();
        lane.has_ended(worker, || format!("{:?}", self.path()));
        answer
    }

    /// Calls the plugin with what has been handed over, or has its process do so, and waits for the answers.
    pub(super) fn call(
        &mut self,
        lane: &Lane,
        worker: usize,
        handed: &[Handed],
        instance: &mut Instance,
    ) -> Answers {
        let is_given_up = || lane.is_given_up();
        let Some(first) = handed.first().filter(|_| !instance.is_isolated()) else {
            return instance.answers(&is_given_up);
        };
        self.locate(&first.work.event);
        lane.begins(worker, &self.path);
        if let [only] = handed {
            // Of several any may be to blame, and so none is: the next host hands them over one by one.
            self.recorder.begin(&only.work.begun(only.looked.at, &self.path));
        }
        let answers = instance.answers(&is_given_up);
        self.recorder.end();
        lane.has_ended(worker, || format!("{:?}", self.path()));
        answers
    }

    /// Was the file of an event renamed before another event came for its name?
    pub(super) fn has_left(&self, waiting: &FileEvent, before: Sequence) -> bool {
        waiting.is_landing() && self.places.renames.has_left(waiting, before)
    }

    /// When was the file of an event renamed first, if it was?
    pub(super) fn left_at(&self, event: &FileEvent) -> Option<Sequence> {
        if event.is_landing() { self.places.renames.left_at(event) } else { None }
    }

    /// Brings the event to where its file was renamed to. Returns whether the plugin hears of that by itself.
    pub(super) fn follow(&self, lane: &Lane, event: &mut FileEvent) -> bool {
        // Events of other kinds are about what happened at their path, wherever the file is now.
        if !self.has_left(event, Sequence(u64::MAX)) {
            return false;
        }
        let before = (event.node, Arc::clone(&event.name));
        self.places.renames.follow(event);
        let tree = self.places.tree.read();
        if !tree.is_known(before.0) || !tree.is_known(event.node) {
            return false;
        }
        let from = tree.relative(before.0, &before.1);
        let to = tree.relative(event.node, &event.name);
        let watch = tree.watch(event.node);
        event.renamed_from = Some(Arc::from(from.as_path()));
        event.kind == Kind::Landed && lane.subscription.hears_of_rename(watch, &to)
    }

    /// The number of an event's directory, if that is known.
    pub(super) fn directory(&self, event: &FileEvent) -> Option<u64> {
        let tree = self.places.tree.read();
        tree.is_known(event.node).then(|| tree.serial(event.node))
    }

    /// Is what lies at an event's place now another file than this stamp's? If nothing does, the
    /// rename that it left by is still to be told, and the ledger will be compared then.
    pub(super) fn is_other(&self, event: &FileEvent, stamp: Stamp) -> bool {
        let (path, terms) = {
            let tree = self.places.tree.read();
            if !tree.is_known(event.node) {
                return false;
            }
            (tree.path(event.node).join(&*event.name), tree.terms(tree.watch(event.node)))
        };
        matches!(sys::stat(&path), Ok(Some(stat)) if Stamp::of(&terms.stamp(stat)).is_of_another_file(&stamp))
    }

    /// An event that a rescan has found goes on where the ledger says that it stands. Returns how long it has to wait
    /// yet, if it has.
    fn resume(&self, lane: &Lane, work: &mut Work) -> Option<Duration> {
        if work.failed > 0 || work.event.origin == Origin::Live || !work.event.is_landing() {
            return None;
        }
        let version = work.version.as_ref()?;
        let trouble = self.ledger.waiting(lane.id, version.place(), version.stamp())?;
        let now = sys::wall_nanos();
        work.failed = trouble.attempts;
        work.tried = work.tried.max(trouble.attempts);
        work.crashes = trouble.crashes;
        if trouble.first_nanos > 0 {
            let ago = Duration::from_nanos(now.saturating_sub(trouble.first_nanos));
            work.since = Some(Instant::now().checked_sub(ago).unwrap_or_else(Instant::now));
        }
        if trouble.wish == Wish::Replay {
            work.event.origin = Origin::Replay;
        }
        Some(Duration::from_nanos(trouble.wait(now))).filter(|wait| !wait.is_zero())
    }

    /// How long this lane is to wait until the file is quiet, or until it may have another version of it, or until the
    /// stamp of what a rescan has found tells its versions apart.
    fn wait(&self, lane: &Lane, work: &mut Work, (stat, racy): (Stat, Option<Duration>)) -> Option<Duration> {
        if !work.event.is_landing() {
            return None;
        }
        let now = Instant::now();
        let quiet =
            lane.quiet.and_then(|quiet| work.inquiry.wait_for_quiet(stat, quiet, sys::wall_nanos(), now));
        // What is tried again keeps its own time.
        let again = self.handled.wait(&work.event, now).filter(|_| work.failed == 0);
        quiet.max(again).max(racy.filter(|_| work.event.is_found()))
    }

    pub(super) fn terms(&self, watch: usize) -> Terms {
        u16::try_from(watch)
            .map_or_else(|_| Terms::default(), |id| self.places.tree.read().terms(WatchId(id)))
    }

    /// Has a rescan found what waits here, in the same version? It is looked at anew when it is due.
    pub(super) fn waits_already(&mut self, waiting: &Waiting, event: &FileEvent) -> bool {
        let Some(work) = waiting.get(event).filter(|_| event.origin != Origin::Live) else { return false };
        if work.since.is_none() {
            return true;
        }
        let Some((watch, directory)) = self.locate(event) else { return true };
        let terms = self.terms(watch);
        let stat = sys::stat(self.path()).ok().flatten();
        stat.map(|stat| Version::new(directory, &event.name, &terms.stamp(stat))) == work.version
    }

    fn raw<'a>(&'a self, lane: &Lane, work: &'a Work, looked: &Looked) -> EventRaw<'a> {
        let Looked { stat, terms, watch, .. } = *looked;
        let name = self.places.watches[watch].as_str();
        let event = &work.event;
        let root = &self.path[..self.root];
        let root = if root.len() > 1 { &root[..root.len() - 1] } else { root };
        let from = event.renamed_from.as_ref().map_or(&[][..], |path| path.as_os_str().as_bytes());
        EventRaw {
            id: identity(name, &self.path[self.root..], stat.map(|stat| Stamp::of(&terms.stamp(stat)))),
            kind: event.kind.code(),
            origin: event.origin.code(),
            attempt: work.tried.saturating_add(1),
            flags: FLAG_HANDS_ON | if event.directory { FLAG_DIRECTORY } else { 0 },
            watch: Text::from_str(name),
            root: Bytes::from_slice(root),
            path: Bytes::from_slice(&self.path),
            relative_from: self.root as u64,
            renamed_from: Bytes::from_slice(from),
            device: stat.map_or(0, |s| s.device),
            inode: stat.map_or(0, |s| s.inode),
            size: stat.map_or(0, |s| s.size),
            mode: stat.map_or(0, |s| s.mode),
            mtime_nanos: stat.map_or(0, |s| s.mtime_nanos),
            mtime_seconds: stat.map_or(0, |s| s.mtime_seconds),
            seen_nanos: event.seen_nanos,
            timeout_nanos: lane.timeout.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)),
            spare: [0; 8],
            extra: Bytes::from_slice(work.via.as_ref().map_or(&[][..], |via| via.extra.as_bytes())),
        }
    }
}
