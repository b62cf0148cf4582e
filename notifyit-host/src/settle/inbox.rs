//! What has been handed on to a plugin by others. There is an *inbox* for each plugin that it comes from, and for how often
//! it was handed on by then, for that is to come to an end.
//!
//! An inbox holds the last version of each file that was put in, as a lane holds what it has finished: so it goes along with
//! renames, and is pruned. What lies in an inbox and is not finished by its plugin is still to be handled.

use anyhow::{Context, Result};
use redb::Database;

use super::disk::{facts, number_of};
use super::store::Store;
use crate::event::LaneId;

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbox {
    /// The plugin that takes what lies in it.
    pub to: String,
    /// The plugin that has put it in.
    pub by: String,
    /// How often it has been handed on, that time included.
    pub hops: u8,
}

/// No name of a plugin has a `/` in it.
pub(super) fn fact_of(Inbox { to, by, hops }: &Inbox) -> String {
    format!("inbox/{to}/{hops}/{by}")
}

fn parse(to: &str, rest: &str) -> Option<Inbox> {
    let (hops, by) = rest.split_once('/')?;
    Some(Inbox { to: to.to_owned(), by: by.to_owned(), hops: hops.parse().ok()? })
}

/// The inboxes of one plugin, each with its number.
pub(super) fn inboxes_of(database: &Database, to: &str) -> Result<Vec<(Inbox, u32)>> {
    let known = facts(database, &format!("inbox/{to}/"))?
        .into_iter()
        .filter_map(|(rest, value)| Some((parse(to, &rest)?, u32::try_from(number_of(&value)?).ok()?)));
    Ok(known.collect())
}

impl Store {
    pub(super) fn lane_of_inbox(&self, inbox: &Inbox) -> Result<LaneId> {
        let Inbox { to, by, .. } = inbox;
        let lane = self.lane_called(&fact_of(inbox)).with_context(|| {
            format!("failed to enter in the ledger what plugin `{by}` emits for plugin `{to}`")
        })?;
        self.inner.lock().inboxes.insert(self.lanes.get(lane).number);
        Ok(lane)
    }

    pub(super) fn inboxes(&self) -> Result<Vec<Inbox>> {
        let known = facts(&self.inner.database, "inbox/")?.into_iter();
        Ok(known.filter_map(|(name, _)| parse(name.split_once('/')?.0, name.split_once('/')?.1)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settle::at_rest::AtRest;
    use crate::settle::ledger::{Ledger, Version};
    use crate::sys::Stat;
    use std::ffi::OsStr;

    fn version() -> Version {
        let stat =
            Stat { device: 1, inode: 2, size: 3, mode: 0, mtime_seconds: 4, mtime_nanos: 5, ctime_nanos: 6 };
        Version::new(7, &OsStr::new("a").into(), &stat)
    }

    #[test]
    fn what_lies_in_an_inbox_is_there_in_the_next_run_and_goes_with_its_plugin() {
        let dir = tempfile::tempdir().unwrap();
        let inbox = |to: &str, hops| Inbox { to: to.to_owned(), by: "scan".to_owned(), hops };
        let ledger = Ledger::in_directory(dir.path()).unwrap();
        for name in ["scan", "upload"] {
            ledger.lane_of(name).unwrap();
        }
        let own = ledger.lane_of_inbox(&inbox("upload", 1)).unwrap();
        let others = ledger.lane_of_inbox(&inbox("upload-2", 1)).unwrap();
        assert_ne!(own, others);
        ledger.finish(own, &version());
        ledger.finish(others, &version());
        assert!(ledger.inboxes().unwrap().contains(&inbox("upload", 1)));
        drop(ledger);

        let rest = AtRest::open(dir.path()).unwrap();
        let names: Vec<String> = rest.instances().unwrap().into_iter().map(|known| known.name).collect();
        assert_eq!(names, ["scan", "upload"], "an inbox is no plugin");
        rest.forget(&rest.instances().unwrap()[1]).unwrap();
        drop(rest);

        let ledger = Ledger::in_directory(dir.path()).unwrap();
        assert_eq!(ledger.inboxes().unwrap(), [inbox("upload-2", 1)]);
        let is_there = |to| ledger.is_finished(ledger.lane_of_inbox(&inbox(to, 1)).unwrap(), &version());
        assert_eq!(["upload", "upload-2"].map(is_there), [false, true]);
    }
}
