//! What became of each event: counted, and said if a person should know.

pub mod ledger;
mod version;
pub mod trouble;
pub mod at_rest;
pub mod recorder;
mod slots;
mod memory;
mod store;
mod changes;
mod instances;
pub mod inbox;
mod cases;
mod first;
mod prune;
mod disk;
mod room;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tracing::{debug, error, warn};

use crate::event::Outcome;
use crate::log::one_line;

/// Counts outcomes, for each plugin.
#[derive(Debug, Default)]
pub struct Settle(Mutex<BTreeMap<String, Arc<Account>>>);

/// One plugin's counts since the host has started, whatever its code or its lane was meanwhile.
#[derive(Debug)]
pub struct Account {
    plugin: String,
    delivered: AtomicU64,
    rejected: AtomicU64,
    exhausted: AtomicU64,
    gone: AtomicU64,
    failed: AtomicU64,
}

/// What an account holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Events that were handled.
    pub delivered: u64,
    /// Events that the plugin has rejected.
    pub rejected: u64,
    /// Events that were given up.
    pub exhausted: u64,
    /// Events whose file was gone before they were handled.
    pub gone: u64,
    /// Attempts that failed.
    pub failed: u64,
}

impl Settle {
    /// The account of the plugin of this name. There are as many as there were names.
    pub fn account(&self, plugin: &str) -> Arc<Account> {
        let mut accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(account) = accounts.get(plugin) {
            return Arc::clone(account);
        }
        let account = Arc::new(Account::new(plugin));
        accounts.insert(plugin.to_owned(), Arc::clone(&account));
        account
    }

    /// One line for the end: `12 handled, 1 rejected`.
    pub fn summary(&self) -> String {
        let accounts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Counts> = accounts.values().map(|account| account.counts()).collect();
        let sum = |count: fn(&Counts) -> u64| all.iter().map(count).sum::<u64>();
        let mut line = format!("{} handled", sum(|counts| counts.delivered));
        let others = [
            (sum(|counts| counts.rejected), "rejected"),
            (sum(|counts| counts.exhausted), "given up"),
            (sum(|counts| counts.gone), "gone"),
        ];
        for (count, word) in others.into_iter().filter(|(count, _)| *count > 0) {
            line.push_str(&format!(", {count} {word}"));
        }
        line
    }
}

impl Account {
    fn new(plugin: &str) -> Account {
        let (delivered, rejected, exhausted, gone, failed) = Default::default();
        Account { plugin: plugin.to_owned(), delivered, rejected, exhausted, gone, failed }
    }

    /// Events that were handled, so many at once.
    pub fn delivered(&self, count: u64) {
        self.delivered.fetch_add(count, Ordering::Relaxed);
    }

    /// An attempt has failed.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// How one event ended: counted, and said if a person should know.
    pub fn record(&self, path: &Path, outcome: &Outcome) {
        let plugin = &self.plugin;
        match outcome {
            Outcome::Delivered => self.delivered(1),
            Outcome::Rejected(reason) => {
                self.rejected.fetch_add(1, Ordering::Relaxed);
                warn!("plugin `{plugin}` rejected {path:?}: {}", one_line(reason));
            }
            Outcome::Exhausted { message, attempts } => {
                self.exhausted.fetch_add(1, Ordering::Relaxed);
                let times = if *attempts == 1 { "attempt" } else { "attempts" };
                error!(
                    "plugin `{plugin}` gave up on {path:?} after {attempts} {times}: {}",
                    one_line(message)
                );
            }
            Outcome::Gone => {
                self.gone.fetch_add(1, Ordering::Relaxed);
                debug!("{path:?} was gone before plugin `{plugin}` had handled it");
            }
        }
    }

    /// As they are now.
    pub fn counts(&self) -> Counts {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Counts {
            delivered: count(&self.delivered),
            rejected: count(&self.rejected),
            exhausted: count(&self.exhausted),
            gone: count(&self.gone),
            failed: count(&self.failed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_plugin_has_an_account_and_the_end_sums_them_up() {
        let settle = Settle::default();
        assert_eq!(settle.summary(), "0 handled");
        settle.account("a").delivered(3);
        let (b, path) = (settle.account("b"), Path::new("x"));
        b.record(path, &Outcome::Delivered);
        b.record(path, &Outcome::Rejected("no".into()));
        b.record(path, &Outcome::Gone);
        b.failed();
        settle.account("b").record(path, &Outcome::Exhausted { message: "no".into(), attempts: 1 });
        let counts = Counts { delivered: 1, rejected: 1, exhausted: 1, gone: 1, failed: 1 };
        assert_eq!(settle.account("b").counts(), counts);
        assert_eq!(settle.summary(), "4 handled, 1 rejected, 1 given up, 1 gone");
    }
}
