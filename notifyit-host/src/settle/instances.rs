//! What the store knows of each instance: its number, which all its entries begin with, and whether any of its files is
//! in trouble.

use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{Context, Result};
use redb::Database;

use super::disk::{FACTS, fact_number, of_instance};
use super::store::{Inner, Store};
use crate::event::LaneId;

/// What there is to know of a lane's instance.
#[derive(Debug)]
pub(super) struct Instance {
    pub(super) number: u32,
    /// How many entries it has among the troubles: with none, nobody looks.
    troubled: AtomicUsize,
}

impl Store {
    pub(super) fn lane_of(&self, name: &str) -> Result<LaneId> {
        self.lane_called(&fact_of(name))
            .with_context(|| format!("failed to enter plugin `{name}` in the ledger"))
    }

    /// The lane whose number that fact tells.
    pub(super) fn lane_called(&self, fact: &str) -> Result<LaneId> {
        self.lanes.of(fact, || {
            let Inner { database, room, instances, .. } = &*self.inner;
            let (number, in_all) = room.waits_for_late(|| number_of(database, fact))?;
            instances.store(in_all, Ordering::Relaxed);
            Ok(Instance { number, troubled: self.inner.count_troubles(number)? })
        })
    }

    pub(super) fn lane_if_known(&self, name: &str) -> Result<Option<LaneId>> {
        let number = fact_number(&self.inner.database, &fact_of(name))?;
        number.map(|_| self.lane_of(name)).transpose()
    }

    pub(super) fn troubled(&self, lane: LaneId) -> &AtomicUsize {
        &self.lanes.get(lane).troubled
    }
}

impl Inner {
    /// How many instances there ever were.
    pub(super) fn instances(&self) -> u32 {
        self.instances.load(Ordering::Relaxed)
    }

    fn count_troubles(&self, instance: u32) -> Result<AtomicUsize, redb::Error> {
        let disk = self.disk.read().unwrap_or_else(PoisonError::into_inner);
        Ok(AtomicUsize::new(of_instance(&disk.troubles, instance)?.count()))
    }
}

fn fact_of(name: &str) -> String {
    format!("instance/{name}")
}

/// The number that this fact tells, a new one is the next; and how many there are in all.
fn number_of(database: &Database, name: &str) -> Result<(u32, u32)> {
    let in_all = fact_number(database, "instances")?.unwrap_or(0);
    if let Some(number) = fact_number(database, name)? {
        return Ok((u32::try_from(number)?, u32::try_from(in_all)?));
    }
    let transaction = database.begin_write()?;
    {
        let mut facts = transaction.open_table(FACTS)?;
        facts.insert("instances", (in_all + 1).to_be_bytes().as_slice())?;
        facts.insert(name, in_all.to_be_bytes().as_slice())?;
    }
    transaction.commit()?;
    Ok((u32::try_from(in_all)?, u32::try_from(in_all + 1)?))
}
