//! Who takes what plugins hand on, and by which inboxes it comes to them: plugins that are away, too.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use anyhow::Result;
use notifyit_plugin_api::abi::Extra;

use super::entrance::Gate;
use super::lane::From;
use super::lineup::Lineup;
use crate::event::{FileEvent, LaneId, WatchId};
use crate::route::coverage::Coverage;
use crate::settle::inbox::Inbox;
use crate::settle::ledger::{Ledger, Place, Version};

/// Who takes what is emitted, whether it runs or not.
#[derive(Debug, Default)]
pub struct Takers {
    pub(super) lineup: Arc<Lineup>,
    all: RwLock<Vec<Arc<Taker>>>,
}

/// A plugin that takes what is emitted.
#[derive(Debug)]
pub(super) struct Taker {
    pub(super) name: String,
    pub(super) lane: LaneId,
    /// What it takes of each watch, by the watch's name.
    covers: Vec<(String, Coverage)>,
    /// The same ones, whatever it subscribes to.
    inboxes: Inboxes,
}

/// Each with its lane.
type Inboxes = Arc<RwLock<Vec<(Inbox, LaneId)>>>;

/// What each inbox held of a file that was renamed.
#[derive(Debug, Default)]
pub(super) struct Moved(Vec<(LaneId, Option<u64>)>);

/// What a file has come by that was emitted.
#[derive(Debug, Clone)]
pub(super) struct Via {
    pub(super) hops: u8,
    /// What the plugin is told of it.
    pub(super) extra: String,
}

impl Takers {
    /// Those that are known from earlier runs.
    ///
    /// # Errors
    ///
    /// The ledger cannot be read.
    pub fn known(ledger: &Ledger) -> Result<Takers> {
        let takers = Takers::default();
        let inboxes = ledger.inboxes()?;
        let mut subscriptions = ledger.subscriptions()?;
        subscriptions.sort();
        for of_one in subscriptions.chunk_by(|one, other| one.0 == other.0) {
            let covers =
                of_one.iter().filter_map(|(_, watch, text)| Some((watch.clone(), Coverage::parse(text)?)));
            let covers: Vec<_> = covers.collect();
            let name = &of_one[0].0;
            let is_sent_any = inboxes.iter().any(|inbox| inbox.to == *name);
            // Only then: each lane that is known takes one of the ledger's places.
            if (is_sent_any || takes_any(&covers))
                && let Some(lane) = ledger.lane_if_known(name)?
            {
                takers.enter((lane, name), covers, Arc::default());
            }
        }
        for inbox in inboxes {
            let taker = takers.all().iter().find(|taker| taker.name == inbox.to).cloned();
            if let Some(taker) = taker {
                taker.lane_of(inbox, ledger)?;
            }
        }
        Ok(takers)
    }

    /// From now on this plugin has these subscriptions, each of a watch.
    pub(super) fn subscribe(&self, (lane, name): (LaneId, &str), covers: Vec<(String, Coverage)>) {
        let known =
            self.all().iter().find(|taker| taker.lane == lane).map(|taker| Arc::clone(&taker.inboxes));
        // What it was sent before it changed its mind, and has not handled, it may still want; and who has asked whether it
        // takes a file may be about to put that in.
        if known.is_some() || takes_any(&covers) {
            self.enter((lane, name), covers, known.unwrap_or_default());
        }
    }

    fn enter(&self, (lane, name): (LaneId, &str), covers: Vec<(String, Coverage)>, inboxes: Inboxes) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|taker| taker.lane != lane);
        all.push(Arc::new(Taker { name: name.to_owned(), lane, covers, inboxes }));
    }

    /// How this version has come to that plugin, if it was emitted to it.
    pub(super) fn via(&self, ledger: &Ledger, lane: LaneId, version: &Version) -> Option<Box<Via>> {
        let taker = self.all().iter().find(|taker| taker.lane == lane).cloned()?;
        let inboxes = taker.inboxes();
        let holding = inboxes.iter().filter(|(_, inbox)| ledger.is_finished(*inbox, version));
        // The shortest way is the one that counts.
        let (Inbox { by, hops, .. }, _) = holding.min_by_key(|(inbox, _)| inbox.hops)?;
        Some(Box::new(Via { hops: *hops, extra: Extra { emitted_by: Some(by.clone()) }.to_json() }))
    }

    /// Every inbox.
    pub(super) fn inboxes(&self) -> Vec<LaneId> {
        let all = self.all();
        all.iter()
            .flat_map(|taker| taker.inboxes().iter().map(|(_, lane)| *lane).collect::<Vec<_>>())
            .collect()
    }

    /// A file was renamed: what lies in an inbox goes along. Returns what that was.
    pub(super) fn renamed(&self, ledger: &Ledger, from: Place<'_>, to: Place<'_>) -> Moved {
        let goes_along = |inbox| {
            let held = ledger.held(inbox, from);
            ledger.goes_along(inbox, from, to);
            (inbox, held)
        };
        Moved(self.inboxes().into_iter().map(goes_along).collect())
    }

    /// Now everybody can know of the rename. What was put in under the old name since goes along yet; what was there before
    /// does not once more, for what it has become has been put in at the new place perhaps.
    pub(super) fn rename_is_noted(&self, ledger: &Ledger, (from, to): (Place<'_>, Place<'_>), moved: &Moved) {
        for inbox in self.inboxes() {
            let before = moved.0.iter().find(|(known, _)| *known == inbox).and_then(|(_, held)| *held);
            if ledger.held(inbox, from) != before {
                ledger.goes_along(inbox, from, to);
            }
        }
    }

    /// Those that take this file from that plugin.
    pub(super) fn of(&self, by: &str, watch: &str, relative: &Path) -> Vec<Arc<Taker>> {
        let takes = |taker: &&Arc<Taker>| {
            let mut covers = taker.covers.iter();
            covers.any(|(name, coverage)| name == watch && coverage.takes(by, relative))
        };
        self.all().iter().filter(takes).cloned().collect()
    }

    /// A file that was changed without a close: those that want files as they land are to look at it, and hand it on.
    pub(super) fn look_at(
        &self,
        (watch, name): (WatchId, &str),
        (taker, relative): (LaneId, &Path),
        event: &FileEvent,
    ) {
        let taker = self.all().iter().find(|known| known.lane == taker).cloned();
        if !taker.is_some_and(|taker| taker.is_there_for(name, relative)) {
            return;
        }
        for seat in self.lineup.seats().iter() {
            let subscription = &seat.lane.subscription;
            let kind = subscription.wants_file(watch, relative).filter(|_| subscription.wants_files());
            if let Some(kind) = kind {
                self.tell(seat.lane.id, FileEvent { kind, ..event.clone() });
            }
        }
    }

    /// Puts an event into a lane, if that is there. What it has no room for it looks for.
    pub(super) fn tell(&self, lane: LaneId, event: FileEvent) {
        if let Some(seat) = self.lineup.seats().iter().find(|seat| seat.lane.id == lane) {
            let mut gate = Gate::new(Arc::clone(&seat.lane), From::Kernel);
            gate.take(event);
            gate.hand_over();
        }
    }

    fn all(&self) -> RwLockReadGuard<'_, Vec<Arc<Taker>>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }
}

fn takes_any(covers: &[(String, Coverage)]) -> bool {
    covers.iter().any(|(_, coverage)| coverage.takes_emitted())
}

impl Taker {
    /// Does it take the file at this path from anybody?
    fn is_there_for(&self, watch: &str, relative: &Path) -> bool {
        self.covers.iter().any(|(name, coverage)| name == watch && coverage.takes_any(relative))
    }

    fn inboxes(&self) -> RwLockReadGuard<'_, Vec<(Inbox, LaneId)>> {
        self.inboxes.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The lane of one of its inboxes.
    pub(super) fn lane_of(&self, inbox: Inbox, ledger: &Ledger) -> Result<LaneId> {
        if let Some((_, lane)) = self.inboxes().iter().find(|(known, _)| *known == inbox) {
            return Ok(*lane);
        }
        // Not while others wait for the list: the disk may take its time.
        let lane = ledger.lane_of_inbox(&inbox)?;
        let mut inboxes = self.inboxes.write().unwrap_or_else(PoisonError::into_inner);
        inboxes.retain(|(_, known)| *known != lane);
        inboxes.push((inbox, lane));
        Ok(lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::Patterns;
    use crate::route::Subscription;
    use crate::settle::ledger::Stamp;
    use crate::sys::Stat;
    use notifyit_plugin_api::Kind;
    use std::ffi::OsStr;

    fn coverage(kind: Kind) -> Coverage {
        let subscription = Subscription::new([kind].into_iter().collect(), None, Patterns::default());
        Coverage::new(&subscription, WatchId(0), &Patterns::default(), true)
    }

    fn covers(kind: Kind) -> Vec<(String, Coverage)> {
        vec![("in".to_owned(), coverage(kind))]
    }

    fn version() -> Version {
        let stat =
            Stat { device: 1, inode: 2, size: 3, mode: 0, mtime_seconds: 4, mtime_nanos: 5, ctime_nanos: 6 };
        Version::of(7, OsStr::new("a"), Stamp::of(&stat))
    }

    fn inbox() -> Inbox {
        Inbox { to: "take".to_owned(), by: "scan".to_owned(), hops: 1 }
    }

    /// Plugin `take` has subscribed so last.
    fn looked(ledger: &Ledger, name: &str, kind: Kind) -> LaneId {
        ledger.first_look(name, "in", &coverage(kind).to_text(), 1).unwrap();
        ledger.lane_of(name).unwrap()
    }

    #[test]
    fn what_is_put_in_while_a_rename_is_told_lies_where_its_file_is() {
        let (ledger, takers) = (Ledger::in_memory(&[]), Takers::default());
        let lane = ledger.lane_of("take").unwrap();
        takers.subscribe((lane, "take"), covers(Kind::Emitted));
        let inbox = takers.of("scan", "in", Path::new("log"))[0].lane_of(inbox(), &ledger).unwrap();
        let at = |name: &'static str, size| {
            let stat =
                Stat { device: 1, inode: 2, size, mode: 0, mtime_seconds: 4, mtime_nanos: 5, ctime_nanos: 6 };
            Version::of(7, OsStr::new(name), Stamp::of(&stat))
        };
        let place = |name: &'static str| (7, OsStr::new(name));
        let (log, log_1) = (place("log"), place("log.1"));
        ledger.finish(inbox, &at("log", 1));
        // Put in at the new place by who knows of the rename already.
        let moved = takers.renamed(&ledger, log, log_1);
        ledger.finish(inbox, &at("log.1", 2));
        takers.rename_is_noted(&ledger, (log, log_1), &moved);
        assert!(ledger.is_finished(inbox, &at("log.1", 2)), "not what was put in before");
        // Put in at the old one by who does not.
        let moved = takers.renamed(&ledger, log, log_1);
        ledger.finish(inbox, &at("log", 3));
        takers.rename_is_noted(&ledger, (log, log_1), &moved);
        assert!(ledger.is_finished(inbox, &at("log.1", 3)));
    }

    #[test]
    fn what_is_put_in_by_who_has_asked_before_it_subscribed_anew_is_found() {
        let (ledger, takers) = (Ledger::in_memory(&[]), Takers::default());
        let lane = ledger.lane_of("take").unwrap();
        takers.subscribe((lane, "take"), covers(Kind::Emitted));
        let asked = takers.of("scan", "in", Path::new("a"));
        takers.subscribe((lane, "take"), covers(Kind::Landed));
        ledger.finish(asked[0].lane_of(inbox(), &ledger).unwrap(), &version());
        assert!(takers.via(&ledger, lane, &version()).is_some());
        assert!(takers.of("scan", "in", Path::new("a")).is_empty());
    }

    #[test]
    fn what_lies_in_an_inbox_is_known_to_the_run_after_next_whatever_its_plugin_takes_now() {
        let dir = tempfile::tempdir().unwrap();
        for kind in [Kind::Emitted, Kind::Landed, Kind::Landed] {
            let ledger = Ledger::in_directory(dir.path()).unwrap();
            let takers = Takers::known(&ledger).unwrap();
            let lane = looked(&ledger, "take", kind);
            takers.subscribe((lane, "take"), covers(kind));
            if let Some(taker) = takers.of("scan", "in", Path::new("a")).first() {
                ledger.finish(taker.lane_of(inbox(), &ledger).unwrap(), &version());
            }
            ledger.first_looks_taken(&|_, _| true);
            assert!(takers.via(&ledger, lane, &version()).is_some(), "{kind:?}");
        }
    }

    #[test]
    fn plugins_that_have_nothing_to_do_with_it_take_no_place() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::in_directory(dir.path()).unwrap();
        looked(&ledger, "other", Kind::Landed);
        drop(ledger);
        let ledger = Ledger::in_directory(dir.path()).unwrap();
        Takers::known(&ledger).unwrap();
        assert_eq!(looked(&ledger, "first", Kind::Landed), LaneId(0));
    }
}
