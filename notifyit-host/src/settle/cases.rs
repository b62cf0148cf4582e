//! The store's entries of one file: its finished version and its trouble, changed together.

use std::os::unix::ffi::OsStrExt;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::changes::Changes;
use super::disk::Key;
use super::ledger::{Place, Stamp, Watched};
use super::store::{Inner, Store};
use super::trouble::Trouble;
use crate::event::LaneId;

impl Store {
    pub(super) fn trouble(&self, lane: LaneId, place: Place<'_>) -> Option<Trouble> {
        if self.troubled(lane).load(Ordering::Acquire) == 0 {
            return None;
        }
        let key = self.key(lane, place);
        let changes = self.inner.lock();
        self.inner.trouble(&changes, &key)
    }

    /// What is at that place is finished, if there is a stamp, and in this trouble or in none: both in one commit. What
    /// waits for another try is not finished, whatever was known before.
    pub(super) fn settle(
        &self,
        lane: LaneId,
        place: Place<'_>,
        stamp: Option<Stamp>,
        trouble: Option<Trouble>,
    ) {
        let count = self.troubled(lane);
        if stamp.is_none() && trouble.is_none() && count.load(Ordering::Acquire) == 0 {
            return;
        }
        let undone = trouble.is_some() && stamp.is_none() && self.get(lane, place).is_some();
        let key = self.key(lane, place);
        self.inner.change_knowing(|changes| {
            self.inner.set_trouble(changes, count, &key, trouble);
            if stamp.is_some() || undone {
                changes.now.files.insert(key, stamp);
            }
        });
    }

    pub(super) fn rename(&self, lane: LaneId, from: Place<'_>, to: Place<'_>) {
        let (stamp, trouble) = (self.get(lane, from), self.trouble(lane, from));
        self.remove(lane, to);
        if stamp.is_some() || trouble.is_some() {
            self.remove(lane, from);
            self.settle(lane, to, stamp, trouble);
        }
    }

    pub(super) fn goes_along(&self, inbox: LaneId, from: Place<'_>, to: Place<'_>) {
        if let Some(stamp) = self.get(inbox, from) {
            self.settle(inbox, to, Some(stamp), None);
        }
    }

    pub(super) fn remove(&self, lane: LaneId, place: Place<'_>) {
        let is_finished = self.get(lane, place).is_some();
        let count = self.troubled(lane);
        if !is_finished && count.load(Ordering::Acquire) == 0 {
            return;
        }
        let key = self.key(lane, place);
        self.inner.change_knowing(|changes| {
            self.inner.set_trouble(changes, count, &key, None);
            if is_finished {
                changes.now.files.insert(key, None);
            }
        });
    }

    pub(super) fn watches_are(&self, watches: &[Watched<'_>]) {
        self.inner.change(|batch| {
            for watch in watches {
                let mut value = vec![u8::from(watch.recursive)];
                value.extend(watch.root.as_os_str().as_bytes());
                batch.facts.push((format!("watch/{}", watch.name), value));
            }
        });
    }
}

impl Inner {
    fn trouble(&self, changes: &Changes, key: &Key) -> Option<Trouble> {
        let changed = changes.now.troubles.get(key).or_else(|| changes.writing.troubles.get(key));
        if let Some(changed) = changed {
            return changed.clone();
        }
        let disk = self.disk.read().unwrap_or_else(PoisonError::into_inner);
        disk.troubles.get(&**key).ok().flatten().and_then(|value| Trouble::from_bytes(value.value()))
    }

    /// Where there are no troubles, this costs nothing.
    fn set_trouble(&self, changes: &mut Changes, count: &AtomicUsize, key: &Key, trouble: Option<Trouble>) {
        if trouble.is_none() && count.load(Ordering::Acquire) == 0 {
            return;
        }
        match (self.trouble(changes, key).is_some(), trouble.is_some()) {
            (false, false) => return,
            (false, true) => drop(count.fetch_add(1, Ordering::AcqRel)),
            (true, false) => drop(count.fetch_sub(1, Ordering::AcqRel)),
            (true, true) => {}
        }
        changes.now.troubles.insert(key.clone(), trouble);
    }
}

#[cfg(test)]
mod tests {
    use super::super::trouble::State;
    use super::*;
    use std::ffi::OsStr;

    fn trouble(attempts: u32) -> Trouble {
        let stamp = Stamp { inode: 1, size: 2, mtime_seconds: 3, mtime_nanos: 4 };
        Trouble { attempts, error: "it is down".to_owned(), ..Trouble::replay(stamp) }
    }

    #[test]
    fn trouble_outlives_the_run_and_is_counted() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (LaneId(0), LaneId(1));
        let [a, b] = ["a", "b"].map(|name| (7, OsStr::new(name)));
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        let counts =
            |store: &Store| [0, 1].map(|lane: usize| store.troubled(LaneId(lane)).load(Ordering::Acquire));
        store.settle(one, a, None, Some(trouble(1)));
        store.settle(one, a, None, Some(trouble(2)));
        let letter = Trouble { state: State::Exhausted, ..trouble(3) };
        store.settle(one, b, Some(letter.stamp), Some(letter.clone()));
        store.settle(two, a, Some(letter.stamp), None);
        assert_eq!(counts(&store), [2, 0]);
        drop(store);
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        assert_eq!(counts(&store), [2, 0]);
        assert_eq!(store.trouble(one, a), Some(trouble(2)));
        assert_eq!(store.trouble(one, b), Some(letter.clone()));
        assert_eq!((store.trouble(two, a), store.get(one, b)), (None, Some(letter.stamp)));
        store.settle(one, a, Some(letter.stamp), None);
        store.remove(one, b);
        store.remove(one, b);
        assert_eq!(counts(&store), [0, 0]);
        drop(store);
        let store = Store::with(dir.path(), &["one", "two"]).unwrap();
        assert_eq!((counts(&store), store.get(one, b)), ([0, 0], None));
    }
}
