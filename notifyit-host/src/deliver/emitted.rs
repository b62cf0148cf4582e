//! What a plugin hands on to others: `event.emit()`.
//!
//! With the outcome *delivered* of the event that it was said of, and before it, each file goes into the *inbox* of every
//! plugin that takes what is emitted (see `settle::inbox`), and from there to its lane. The inbox is what counts: an event
//! that the lane has no room for, or that a crash swallows, is found by the next look, for what lies in an inbox and is not
//! finished is unfinished. So a plugin that is away gets it when it is back; who takes what is known from the ledger, too.
//!
//! An inbox names a version of a file. Who has put another in its place since has not been through the emitting plugin yet.

use std::collections::VecDeque;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result, bail};
use notifyit_plugin_api::abi::{Emission, Emitted, Left};
use notifyit_plugin_api::{Kind, Origin};
use tracing::debug;

use super::Outside;
use super::retry::Work;
use super::worker::Worker;
use crate::event::{Certainty, FileEvent, LaneId, NodeId, Outcome, WatchId};
use crate::settle::inbox::Inbox;
use crate::settle::ledger::{Stamp, Version};
use crate::sys::{self, Stat};

/// So often a file, and what is made of it, is handed on: plugins that emit in a circle come to an end.
const MOST_HOPS: u8 = 8;

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
    /// Where it was when the plugin had answered, if its directory was in the tree.
    event: Option<FileEvent>,
}

/// Where a file lies that is emitted.
struct Spot {
    watch: WatchId,
    /// From its root.
    relative: PathBuf,
    /// The number of its directory.
    directory: u64,
    /// What an event of it begins with, if its directory is in the tree.
    event: Option<FileEvent>,
}

/// A version of a file that is emitted.
struct File {
    spot: Spot,
    stamp: Stamp,
    /// This lane has it finished.
    not_for: Option<LaneId>,
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
    pub(super) fn emits(&self, emission: &Emission) -> Box<Emits> {
        let other = |emitted: &Emitted| {
            // What is no path comes of no plugin that is in its senses.
            let path = emitted.path()?;
            let event = self.spot_of(&path).ok().and_then(|spot| spot.event);
            Some(Other { path, left: emitted.left, event })
        };
        Box::new(Emits { own: emission.own, others: emission.files.iter().filter_map(other).collect() })
    }

    /// Hands on what was emitted with these events, which are done. Those of which it could not be are taken out, and what
    /// becomes of them is for [`Worker::not_handed_on`].
    pub(super) fn hand_on_all(&self, burst: &mut Vec<Work>) -> Vec<(Work, NotHandedOn)> {
        let mut failed = Vec::new();
        if burst.iter().any(|work| work.emits.is_some()) {
            for work in std::mem::take(burst) {
                match self.hand_on(&work) {
                    Ok(()) => burst.push(work),
                    Err(why) => failed.push((work, why)),
                }
            }
        }
        failed
    }

    /// Was the same file handed on to this plugin before, and is that still to be flushed? A version comes once.
    pub(super) fn may_come_twice(&self, event: &FileEvent) -> bool {
        let is_same = |work: &Work| (work.event.node, &work.event.name) == (event.node, &event.name);
        event.kind == Kind::Emitted && self.burst.iter().any(is_same)
    }

    pub(super) fn not_handed_on(&mut self, work: Work, why: NotHandedOn, behind: VecDeque<FileEvent>) {
        self.attempt.locate(&work.event);
        match why {
            NotHandedOn::Failed(message) => self.failed(work, behind, &message, None),
            NotHandedOn::Circle(message) => self.end(&work, &Outcome::Rejected(message), behind),
        }
    }

    /// Before the outcome of the event is entered: what a crash in between leaves is said twice, not never.
    pub(super) fn hand_on(&self, work: &Work) -> Result<(), NotHandedOn> {
        let Some(emits) = &work.emits else { return Ok(()) };
        let hops = work.via.as_ref().map_or(0, |via| via.hops) + 1;
        if hops > MOST_HOPS {
            let message = format!("it was handed on {MOST_HOPS} times before: do plugins emit in a circle?");
            return Err(NotHandedOn::Circle(message));
        }
        // All of them, or none.
        let files = self.files_of(work, emits).map_err(NotHandedOn::Failed)?;
        let put_in = |file: File| {
            let relative = file.spot.relative.clone();
            self.put_in(file, hops).map_err(|error| NotHandedOn::Failed(say(&relative, &error)))
        };
        files.into_iter().try_for_each(put_in)
    }

    /// What was emitted with an event, but for what is gone.
    fn files_of(&self, work: &Work, emits: &Emits) -> Result<Vec<File>, String> {
        let mut files = Vec::new();
        if let (true, Some(version)) = (emits.own, &work.version) {
            let (stamp, not_for) = (version.stamp(), Some(self.lane.id));
            files.extend(self.spot_of_event(&work.event).map(|spot| File { spot, stamp, not_for }));
        }
        for Other { path, left, event } in &emits.others {
            let spot = match event {
                Some(event) => self.spot_of_event(event),
                None => Some(self.spot_of(path).map_err(|error| say(path, &error))?),
            };
            files.extend(spot.map(|spot| {
                let terms = self.attempt.terms(usize::from(spot.watch.0));
                let stamp = Stamp::of(&terms.stamp(stat_of(*left)));
                File { spot, stamp, not_for: None }
            }));
        }
        Ok(files)
    }

    /// Puts a file into the inboxes of all that take it, and then tells them.
    fn put_in(&self, File { mut spot, stamp, not_for }: File, hops: u8) -> Result<()> {
        let Outside { ledger, takers, places, .. } = &self.outside;
        let by = &self.lane.name;
        let watch = &places.watches[usize::from(spot.watch.0)];
        let version = Version::of(spot.directory, spot.relative.file_name().unwrap_or_default(), stamp);
        let mut entered = Vec::new();
        for taker in takers.of(by, watch, &spot.relative) {
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
            spot.event = self.spot_of(&self.path_of(&spot)?).ok().and_then(|spot| spot.event);
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
                ledger.follow(*inbox, &version, (directory, &event.name));
            }
            version = version.at((directory, &event.name));
        }
    }

    /// `None`: its directory is gone.
    fn spot_of_event(&self, event: &FileEvent) -> Option<Spot> {
        let mut event = emitted(event.clone());
        self.outside.places.renames.follow(&mut event);
        let tree = self.outside.places.tree.read();
        if !tree.is_known(event.node) {
            return None;
        }
        let (watch, directory) = (tree.watch(event.node), tree.serial(event.node));
        Some(Spot { watch, relative: tree.relative(event.node, &event.name), directory, event: Some(event) })
    }

    /// # Errors
    ///
    /// It is beneath no watched directory.
    fn spot_of(&self, path: &Path) -> Result<Spot> {
        let Outside { places, ledger, rescans, .. } = &self.outside;
        let sequence = rescans.sequence();
        let tops = places.tree.read().tops();
        let (top, relative) = top_above(&tops, path).context("it lies beneath no watched directory")?;
        let tree = places.tree.read();
        if !tree.is_alive(top) {
            bail!("the watched directory has gone");
        }
        let name = relative.file_name().context("it is no file's path")?;
        let (mut node, mut directory) = (Some(top), tree.serial(top));
        for component in relative.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(name) = component else { bail!("its path holds {component:?}") };
            node = node.and_then(|node| tree.child(node, name));
            directory = node.map_or_else(|| ledger.number((directory, name)), |node| tree.serial(node));
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
        Ok(Spot { watch: tree.watch(top), relative, directory, event })
    }

    fn path_of(&self, spot: &Spot) -> Result<PathBuf> {
        let tree = self.outside.places.tree.read();
        let top = tree.top(spot.watch).context("the watched directory has gone")?;
        Ok(tree.path(top).join(&spot.relative))
    }
}

/// The deepest root above a path, and the path from there. What was named by way of a link is found by both names.
fn top_above(tops: &[(NodeId, PathBuf)], path: &Path) -> Option<(NodeId, PathBuf)> {
    let above = |path: &Path, name: &dyn Fn(&Path) -> Option<PathBuf>| {
        let beneath = |(top, root): &(NodeId, PathBuf)| {
            let root = name(root)?;
            let relative = path.strip_prefix(&root).ok()?.to_owned();
            Some((root.components().count(), *top, relative))
        };
        tops.iter().filter_map(beneath).max_by_key(|(depth, ..)| *depth)
    };
    let found = above(path, &|root| Some(root.to_owned())).or_else(|| {
        let real = path.parent()?.canonicalize().ok()?.join(path.file_name()?);
        above(&real, &|root| root.canonicalize().ok())
    });
    found.map(|(_, top, relative)| (top, relative))
}

fn say(path: &Path, error: &anyhow::Error) -> String {
    format!("failed to emit {path:?}: {error:#}")
}

/// The event of a file, for those that it is emitted to.
fn emitted(event: FileEvent) -> FileEvent {
    FileEvent {
        kind: Kind::Emitted,
        certainty: Certainty::Told,
        origin: Origin::Live,
        seen_nanos: sys::wall_nanos(),
        renamed_from: None,
        ..event
    }
}

/// What the plugin saw of it.
fn stat_of(left: Left) -> Stat {
    let Left { inode, size, mtime_seconds, mtime_nanos, ctime_nanos } = left;
    Stat { device: 0, inode, size, mode: 0, mtime_seconds, mtime_nanos, ctime_nanos }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_of_the_deepest_root_above_it_by_whatever_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        std::fs::create_dir_all(path("real/in/sub")).unwrap();
        std::os::unix::fs::symlink(path("real"), path("link")).unwrap();
        let top = |number| NodeId(number, 0);
        let tops = [(top(0), path("real/in")), (top(1), path("real/in/sub")), (top(2), path("link/in"))];
        let above = |path: PathBuf| top_above(&tops, &path);
        assert_eq!(above(path("real/in/a")), Some((top(0), "a".into())));
        assert_eq!(above(path("real/in/sub/b/c")), Some((top(1), "b/c".into())));
        assert_eq!(above(path("link/in/a")), Some((top(2), "a".into())));
        assert_eq!(above(path("real/inn/a")), None);
        let tops = &tops[..2];
        assert_eq!(top_above(tops, &path("link/in/sub/c")), Some((top(1), "c".into())));
        assert_eq!(top_above(tops, &path("link/in/none/c")), None, "nothing is there");
    }
}
