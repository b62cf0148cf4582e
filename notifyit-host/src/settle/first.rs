//! When each instance first looked at each watch, and with which subscription: what was there before that is not
//! delivered if the user does not ask for it.
//!
//! Written down before anything else happens, so that a look that is interrupted is taken again with the same time.

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::disk::{FACTS, fact, facts};
use super::store::Store;

/// One instance's first look at one watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FirstLook {
    /// It is still to be taken: what was last changed before this time (nanoseconds since 1970) was there before.
    Before(u64),
    /// It was taken with another subscription: of what that did not cover, what was last changed before this time was
    /// there before.
    Changed {
        /// Nanoseconds since 1970.
        before: u64,
        /// The other subscription.
        covered: String,
    },
    /// It has been taken: what is unfinished has landed since.
    Taken,
}

/// As it is in the ledger, for one instance and one watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Look {
    time: u64,
    taken: bool,
    subscription: String,
    /// The subscription of the look before this one.
    before: Option<String>,
}

impl Look {
    /// The look that is to be taken now, by what is known of one before.
    pub(super) fn next(known: Option<Look>, subscription: &str, now: u64) -> Look {
        let fresh = || Look { time: now, taken: false, subscription: subscription.to_owned(), before: None };
        known.map_or_else(fresh, |known| known.go_on(subscription, now))
    }

    pub(super) fn to_take(&self) -> FirstLook {
        match &self.before {
            _ if self.taken => FirstLook::Taken,
            Some(covered) => FirstLook::Changed { before: self.time, covered: covered.clone() },
            None => FirstLook::Before(self.time),
        }
    }

    pub(super) fn is_taken(&mut self) {
        (self.taken, self.before) = (true, None);
    }

    /// How it goes on with this subscription, now.
    fn go_on(self, subscription: &str, now: u64) -> Look {
        let subscription = subscription.to_owned();
        // An earlier version of the host has kept no subscription: all that is there is taken for covered by it.
        let is_same = self.subscription == subscription || self.subscription.is_empty();
        if !self.taken || is_same {
            return Look { subscription, ..self };
        }
        Look { time: now, taken: false, subscription, before: Some(self.subscription) }
    }

    fn parse(bytes: &[u8]) -> Option<Look> {
        serde_json::from_slice(bytes).ok().or_else(|| Look::parse_older(bytes))
    }

    /// A hash of the subscription, the time, whether it was taken.
    fn parse_older(bytes: &[u8]) -> Option<Look> {
        let (times, taken) = bytes.split_at_checked(16)?;
        let time = u64::from_be_bytes(times[8..].try_into().ok()?);
        Some(Look { time, taken: taken == [1], subscription: String::new(), before: None })
    }

    fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("numbers and texts have a JSON form")
    }
}

impl Store {
    pub(super) fn first_look(
        &self,
        lane: &str,
        watch: &str,
        subscription: &str,
        now: u64,
    ) -> Result<FirstLook> {
        let name = format!("first/{lane}/{watch}");
        let known = fact(&self.inner.database, &name)?.as_deref().and_then(Look::parse);
        let look = Look::next(known.clone(), subscription, now);
        if known.as_ref() != Some(&look) {
            self.write_look(&name, &look)?;
        }
        if !look.taken {
            let (to_take, of) = (&mut self.inner.lock().first_looks, (lane.to_owned(), watch.to_owned()));
            if !to_take.contains(&of) {
                to_take.push(of);
            }
        }
        Ok(look.to_take())
    }

    /// The subscriptions with which instances have looked last: instance, watch, and the subscription as a text.
    pub(super) fn subscriptions(&self) -> Result<Vec<(String, String, String)>> {
        let known = facts(&self.inner.database, "first/")?.into_iter().filter_map(|(name, value)| {
            let (instance, watch) = name.split_once('/')?;
            Some((instance.to_owned(), watch.to_owned(), Look::parse(&value)?.subscription))
        });
        Ok(known.collect())
    }

    fn write_look(&self, name: &str, look: &Look) -> Result<()> {
        let write = || -> Result<(), redb::Error> {
            let transaction = self.inner.database.begin_write()?;
            transaction.open_table(FACTS)?.insert(name, look.to_bytes().as_slice())?;
            Ok(transaction.commit()?)
        };
        self.inner.room.waits_for_late(write).context("failed to write to the ledger")
    }

    /// Those of the instances and watches that `is_there` names.
    pub(super) fn first_looks_taken(&self, is_there: &dyn Fn(&str, &str) -> bool) {
        let is_there = |of: &mut (String, String)| is_there(&of.0, &of.1);
        let taken: Vec<_> = self.inner.lock().first_looks.extract_if(.., is_there).collect();
        for (lane, watch) in taken {
            let name = format!("first/{lane}/{watch}");
            let known = fact(&self.inner.database, &name).ok().flatten();
            let Some(mut look) = known.as_deref().and_then(Look::parse) else { continue };
            look.is_taken();
            self.inner.change(|batch| batch.facts.push((name, look.to_bytes())));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(dir: &tempfile::TempDir, subscription: &str, now: u64) -> (Store, FirstLook) {
        let store = Store::with(dir.path(), &["one"]).unwrap();
        let look = store.first_look("one", "in", subscription, now).unwrap();
        (store, look)
    }

    #[test]
    fn an_interrupted_first_look_is_taken_again_with_the_same_time() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(again(&dir, "s", 100).1, FirstLook::Before(100));
        let (store, look) = again(&dir, "s", 200);
        assert_eq!(look, FirstLook::Before(100));
        store.first_looks_taken(&|_, watch| watch != "in");
        drop(store);
        let (store, look) = again(&dir, "s", 300);
        assert_eq!(look, FirstLook::Before(100), "its root was not there");
        store.first_looks_taken(&|_, _| true);
        drop(store);
        let (store, look) = again(&dir, "s", 400);
        assert_eq!(look, FirstLook::Taken);
        assert_eq!(store.first_look("one", "other", "s", 400).unwrap(), FirstLook::Before(400));
    }

    #[test]
    fn a_changed_subscription_is_looked_at_with_the_old_one_until_that_is_done() {
        let dir = tempfile::tempdir().unwrap();
        again(&dir, "old", 100).0.first_looks_taken(&|_, _| true);
        let changed = || FirstLook::Changed { before: 200, covered: "old".to_owned() };
        assert_eq!(again(&dir, "new", 200).1, changed());
        assert_eq!(again(&dir, "newer", 300).1, changed(), "it was interrupted");
        again(&dir, "newer", 400).0.first_looks_taken(&|_, _| true);
        assert_eq!(again(&dir, "newer", 500).1, FirstLook::Taken);
    }

    #[test]
    fn what_an_earlier_version_has_written_is_understood() {
        let dir = tempfile::tempdir().unwrap();
        let write = |taken: u8| {
            let store = Store::with(dir.path(), &["one"]).unwrap();
            let mut value = [7_u64.to_be_bytes(), 100_u64.to_be_bytes()].concat();
            value.push(taken);
            store.inner.change(|batch| batch.facts.push(("first/one/in".to_owned(), value)));
        };
        write(0);
        assert_eq!(again(&dir, "s", 200).1, FirstLook::Before(100));
        write(1);
        assert_eq!(again(&dir, "s", 200).1, FirstLook::Taken);
        assert_eq!(again(&dir, "s", 300).1, FirstLook::Taken);
        assert_eq!(again(&dir, "t", 300).1, FirstLook::Changed { before: 300, covered: "s".to_owned() });
    }
}
