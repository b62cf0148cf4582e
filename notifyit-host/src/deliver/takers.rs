//! Who takes what plugins hand on, and by which inboxes it comes to them: plugins that are away, too.

use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use anyhow::Result;
use notifyit_plugin_api::abi::Extra;

use super::entrance::Gate;
use super::lane::From;
use super::lineup::Lineup;
use crate::event::{FileEvent, LaneId};
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
    inboxes: RwLock<Vec<(Inbox, LaneId)>>,
}

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
        let mut subscriptions = ledger.subscriptions()?;
        subscriptions.sort();
        for of_one in subscriptions.chunk_by(|one, other| one.0 == other.0) {
            let covers =
                of_one.iter().filter_map(|(_, watch, text)| Some((watch.clone(), Coverage::parse(text)?)));
            let covers: Vec<_> = covers.collect();
            let name = &of_one[0].0;
            if let Some(lane) = ledger.lane_if_known(name)? {
                takers.subscribe((lane, name), covers);
            }
        }
        for inbox in ledger.inboxes()? {
            let taker = takers.all().iter().find(|taker| taker.name == inbox.to).cloned();
            if let Some(taker) = taker {
                taker.lane_of(inbox, ledger)?;
            }
        }
        Ok(takers)
    }

    /// From now on this plugin has these subscriptions, each of a watch.
    pub(super) fn subscribe(&self, (lane, name): (LaneId, &str), covers: Vec<(String, Coverage)>) {
        let mut all = self.all.write().unwrap_or_else(PoisonError::into_inner);
        let known = all.iter().position(|taker| taker.lane == lane).map(|place| all.swap_remove(place));
        // What it was sent before it changed its mind, and has not handled, it may still want.
        let inboxes = known.map(|known| known.inboxes().clone()).unwrap_or_default();
        let takes_any = covers.iter().any(|(_, coverage)| coverage.takes_emitted());
        if takes_any || !inboxes.is_empty() {
            all.push(Arc::new(Taker { name: name.to_owned(), lane, covers, inboxes: RwLock::new(inboxes) }));
        }
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

    /// A file was renamed: what lies in an inbox goes along.
    pub(super) fn renamed(&self, ledger: &Ledger, from: Place<'_>, to: Place<'_>) {
        self.inboxes().into_iter().for_each(|inbox| ledger.rename(inbox, from, to));
    }

    /// Those that take this file from that plugin.
    pub(super) fn of(&self, by: &str, watch: &str, relative: &Path) -> Vec<Arc<Taker>> {
        let takes = |taker: &&Arc<Taker>| {
            let mut covers = taker.covers.iter();
            covers.any(|(name, coverage)| name == watch && coverage.takes(by, relative))
        };
        self.all().iter().filter(takes).cloned().collect()
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

impl Taker {
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
