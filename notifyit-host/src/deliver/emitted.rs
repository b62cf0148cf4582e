//! What a plugin hands on to others: `event.emit()`.
//!
//! With the outcome *delivered* of the event that it was said of, and before it, each file goes into the *inbox* of every
//! plugin that takes what is emitted (see `settle::inbox`), and from there to its lane. The inbox is what counts: an event
//! that the lane has no room for, or that a crash swallows, is found by the next look, for what lies in an inbox and is not
//! finished is unfinished. So a plugin that is away gets it when it is back; who takes what is known from the ledger, too.
//!
//! An inbox names a version of a file. Who has put another in its place since has not been through the emitting plugin yet.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};
use notifyit_plugin_api::abi::{Emission, Emitted, Left};
use notifyit_plugin_api::{Kind, Origin};
use tracing::debug;

use super::Outside;
use super::echo::stat_of;
use super::lane::Lane;
use super::retry::Work;
use super::spots::{Spot, emitted, is_at};
use super::worker::Worker;
use crate::event::{Certainty, FileEvent, LaneId, Outcome};
use crate::settle::inbox::Inbox;
use crate::settle::ledger::{Stamp, Version};

/// So often a file, and what is made of it, is handed on: plugins that emit in a circle come to an end.
const MOST_HOPS: u8 = 8;

/// So long the source is waited for, at most; and so long until it is looked whether the lane stops.
const HEARD_WITHIN: Duration = Duration::from_secs(10);
const A_MOMENT: Duration = Duration::from_millis(20);

/// What a plugin has emitted with one event.
#[derive(Debug)]
pub(super) struct Emits {
    /// The event's file.
    own: bool,
    others: Vec<Other>,
}

/// Another file than the event's.
#[derive(Debug)]
struct Other {
    path: PathBuf,
    left: Left,
    /// Where it was when the plugin had answered.
    spots: Vec<Spot>,
}

/// A version of a file that is emitted.
struct File {
    spot: Spot,
    stamp: Stamp,
    /// This lane has it finished.
    not_for: Option<LaneId>,
}

/// An event that is done, and what it hands on.
#[derive(Clone, Copy)]
pub(super) struct Passing<'a> {
    pub(super) event: &'a FileEvent,
    pub(super) version: Option<&'a Version>,
    pub(super) emits: &'a Emits,
    /// How often it was handed on before.
    pub(super) hops: u8,
    /// Is it the first attempt?
    pub(super) is_first: bool,
}

impl Work {
    /// What it hands on now.
    pub(super) fn passing(&self) -> Option<Passing<'_>> {
        let emits = self.emits.as_ref().filter(|_| !self.is_to_be_held())?;
        let (event, version, hops) = (&self.event, self.version.as_ref(), self.hops());
        Some(Passing { event, version, emits, hops, is_first: self.tried == 0 })
    }

    /// How often it was handed on before.
    pub(super) fn hops(&self) -> u8 {
        self.via.as_ref().map_or(0, |via| via.hops)
    }
}

/// Does the source know what the kernel has told?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    All,
    NotAll,
}

/// Why what was emitted is not handed on.
pub(super) enum NotHandedOn {
    /// It may be later.
    Failed(String),
    /// It never will.
    Circle(String),
}

impl Worker {
    /// The plugin is done with an event: what it has emitted with it.
    pub(super) fn emits(&self, emission: &Emission) -> Arc<Emits> {
        let other = |emitted: &Emitted| {
            // What is no path comes of no plugin that is in its senses.
            let path = emitted.path()?;
            Some(Other { spots: self.spots_in_tree(&path), path, left: emitted.left })
        };
        Arc::new(Emits { own: emission.own, others: emission.files.iter().filter_map(other).collect() })
    }

    /// Hands on what was emitted with these events, which are done. Those of which it could not be are taken out, and what
    /// becomes of them is for [`Worker::not_handed_on`]. An outcome that is held holds back what was emitted with it.
    pub(super) fn hand_on_all(&self, burst: &mut Vec<Work>) -> Vec<(Work, NotHandedOn)> {
        let mut failed = Vec::new();
        if burst.iter().any(|work| work.passing().is_some()) {
            let heard = self.hear_of_all(burst);
            for work in std::mem::take(burst) {
                let handed_on = work.passing().map_or(Ok(()), |passing| self.hand_on(&passing, heard));
                match handed_on {
                    Ok(()) => burst.push(work),
                    Err(why) => failed.push((work, why)),
                }
            }
        }
        failed
    }

    /// Waits until the source has read what the kernel has told by now. A rename that has brought a file to its place, or
    /// has taken another one from there before, would else be told of when it is handed on; and new directories are in the
    /// tree then.
    pub(super) fn hear_of_all(&self, works: &[Work]) -> Heard {
        if works.iter().all(|work| work.passing().is_none()) {
            return Heard::All;
        }
        let (passed, wait) = channel();
        self.outside.source.fence(move || {
            let _ = passed.send(());
        });
        let until = Instant::now() + HEARD_WITHIN;
        // A source that has stopped reads nothing more.
        while Instant::now() < until && self.lane.closing().is_none() {
            if wait.recv_timeout(A_MOMENT).is_ok() {
                return Heard::All;
            }
        }
        Heard::NotAll
    }

    /// Was the same file handed on to this plugin before, and is that still to be flushed? A version comes once.
    pub(super) fn may_come_twice(&self, event: &FileEvent) -> bool {
        let is_same = |work: &Work| (work.event.node, &work.event.name) == (event.node, &event.name);
        event.kind == Kind::Emitted && self.burst.iter().any(is_same)
    }

    /// The host stops: may others that stop too hand something on to this plugin yet?
    pub(super) fn others_may_emit(&self) -> bool {
        let may_emit = |lane: &Lane| lane.id != self.lane.id && lane.may_emit();
        let seats = || self.outside.takers.lineup.seats();
        self.lane.subscription.wants_emitted() && seats().iter().any(|seat| may_emit(&seat.lane))
    }

    /// Waits a moment for that.
    pub(super) fn wait_for_others(&self) {
        let desk = self.desk();
        desk.through_with.store(self.lane.under_way() + 1, Ordering::SeqCst);
        desk.wait(Some(Instant::now() + A_MOMENT));
        desk.through_with.store(0, Ordering::SeqCst);
    }

    pub(super) fn not_handed_on(&mut self, work: Work, why: NotHandedOn, behind: VecDeque<FileEvent>) {
        self.attempt.locate(&work.event);
        match why {
            NotHandedOn::Failed(message) => self.failed(work, behind, &message, None),
            NotHandedOn::Circle(message) => self.end(&work, &Outcome::Rejected(message), behind),
        }
    }

    /// Before the outcome of the event is entered: what a crash in between leaves is said twice, not never.
    pub(super) fn hand_on(&self, passing: &Passing<'_>, heard: Heard) -> Result<(), NotHandedOn> {
        let hops = passing.hops + 1;
        if hops > MOST_HOPS {
            let message = format!("it was handed on {MOST_HOPS} times before: do plugins emit in a circle?");
            return Err(NotHandedOn::Circle(message));
        }
        // All of them, or none.
        let files = self.files_of(passing, heard).map_err(NotHandedOn::Failed)?;
        let put_in = |file: File| {
            let relative = file.spot.relative.clone();
            self.put_in(file, hops).map_err(|error| NotHandedOn::Failed(say(&relative, &error)))
        };
        files.into_iter().try_for_each(put_in)
    }

    /// What was emitted with an event, but for what is gone.
    fn files_of(&self, passing: &Passing<'_>, heard: Heard) -> Result<Vec<File>, String> {
        let mut files = Vec::new();
        let Passing { event, version, emits, .. } = *passing;
        if let (true, Some(version)) = (emits.own, version) {
            let (stamp, not_for) = (version.stamp(), Some(self.lane.id));
            let spot = self.spot_of_event(&self.own(event, stamp));
            files.extend(spot.map(|spot| File { spot, stamp, not_for }));
        }
        for Other { path, left, spots } in &emits.others {
            let is_there = is_at(path, *left);
            let was_new = spots.iter().all(|spot| spot.event.is_none());
            let is_first = passing.is_first || heard == Heard::NotAll;
            // If it is not where it was, what knew its directory then tells where that is.
            let now = if is_there || was_new {
                Some(self.spots_of(path).map_err(|error| say(path, &error))?)
            } else {
                None
            };
            for spot in now.as_ref().unwrap_or(spots) {
                let event = match &spot.event {
                    Some(at) if !is_there => match self.renamed_since(event.sequence, at, *left) {
                        None if is_first || was_new || !self.is_in_place(at, path) => {
                            let why = anyhow!("it is not there any more, and nothing is known of a rename");
                            return Err(say(path, &why));
                        }
                        // Again, though its directory was watched this time: somebody takes it away.
                        None => continue,
                        renamed => renamed,
                    },
                    event => event.clone(),
                };
                let spot = match &event {
                    Some(event) => self.spot_of_event(event),
                    None => Some(spot.clone()),
                };
                files.extend(spot.map(|spot| {
                    let terms = self.attempt.terms(usize::from(spot.watch.0));
                    let stamp = Stamp::of(&terms.stamp(stat_of(*left)));
                    File { spot, stamp, not_for: None }
                }));
            }
        }
        Ok(files)
    }

    /// Puts a file into the inboxes of all that take it, and then tells them.
    fn put_in(&self, File { mut spot, stamp, not_for }: File, hops: u8) -> Result<()> {
        let Outside { ledger, takers, places, .. } = &self.outside;
        let by = &self.lane.name;
        let takers_of = takers.of(by, &places.watches[usize::from(spot.watch.0)], &spot.relative);
        if takers_of.is_empty() {
            return Ok(());
        }
        let Some(directory) = self.number_of(&spot) else { return Ok(()) };
        let version = Version::of(directory, spot.relative.file_name().unwrap_or_default(), stamp);
        let mut entered = Vec::new();
        for taker in takers_of {
            let has_it = ledger.is_finished(taker.lane, &version)
                || ledger.waiting(taker.lane, version.place(), stamp).is_some();
            if has_it || Some(taker.lane) == not_for {
                continue;
            }
            let inbox = taker.lane_of(Inbox { to: taker.name.clone(), by: by.clone(), hops }, ledger)?;
            ledger.finish(inbox, &version);
            debug!("plugin `{by}` hands {:?} on to plugin `{}`", spot.relative, taker.name);
            entered.push((taker.lane, inbox));
        }
        if spot.event.is_none() {
            // Its directory may have come into the tree before that was entered, and been looked into.
            spot.event = self.spot_beneath(spot.root, spot.relative).and_then(|spot| spot.event);
        }
        let Some(mut event) = spot.event else { return Ok(()) };
        self.follow_into(&mut event, version, &entered);
        for (lane, _) in entered {
            takers.tell(lane, event.clone());
        }
        Ok(())
    }

    /// What was renamed before it was put in is to lie there under its new name.
    fn follow_into(&self, event: &mut FileEvent, mut version: Version, entered: &[(LaneId, LaneId)]) {
        let Outside { ledger, places, .. } = &self.outside;
        while places.renames.follow(event) {
            let Some(directory) = self.attempt.directory(event) else { return };
            for (_, inbox) in entered {
                ledger.goes_along(*inbox, version.place(), (directory, &event.name));
            }
            version = version.at((directory, &event.name));
        }
    }

    /// What lies there is another version than the one that was handed on to this plugin. If it was changed without a close
    /// nobody has told of that: those that hear of files have it looked at, as a rescan would, and hand it on.
    pub(super) fn goes_through_again(&self, event: &FileEvent) {
        let Outside { takers, places, rescans, .. } = &self.outside;
        let sequence = rescans.sequence();
        let (watch, relative) = {
            let tree = places.tree.read();
            if !tree.is_alive(event.node) {
                return;
            }
            (tree.watch(event.node), tree.relative(event.node, &event.name))
        };
        let (certainty, origin, renamed_from) = (Certainty::Supposed, Origin::Rescan, None);
        let event = FileEvent { sequence, certainty, origin, renamed_from, ..emitted(event.clone()) };
        takers.look_at((watch, &places.watches[usize::from(watch.0)]), (self.lane.id, &relative), &event);
    }
}

fn say(path: &Path, error: &anyhow::Error) -> String {
    format!("failed to emit {path:?}: {error:#}")
}
