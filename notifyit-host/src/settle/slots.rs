//! What a ledger keeps for each lane. Plugins come while the host runs, and so do their lanes; a lane keeps its place
//! for as long as the host runs, and who comes back under the same name has it again.

use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Result, bail};

use crate::event::LaneId;

/// So many different names of plugins one run of the host may see.
const MOST: usize = 1024;

/// A place for each name, never moved: who reads waits for nobody.
#[derive(Debug)]
pub(super) struct Slots<T> {
    names: Mutex<Vec<String>>,
    kept: Box<[OnceLock<Box<T>>]>,
}

impl<T> Slots<T> {
    pub(super) fn new() -> Slots<T> {
        Slots { names: Mutex::default(), kept: (0..MOST).map(|_| OnceLock::new()).collect() }
    }

    /// The place of that name. If it is new, `make` makes what is kept there.
    pub(super) fn of(&self, name: &str, make: impl FnOnce() -> Result<T>) -> Result<LaneId> {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(place) = names.iter().position(|known| known == name) {
            return Ok(LaneId(place));
        }
        let place = names.len();
        let Some(slot) = self.kept.get(place) else {
            bail!("plugins of {MOST} different names have run since the start; restart the host");
        };
        // Nobody else fills it: the names are locked.
        let _ = slot.set(Box::new(make()?));
        names.push(name.to_owned());
        Ok(LaneId(place))
    }

    /// What is kept at a place that [`Slots::of`] gave.
    pub(super) fn get(&self, lane: LaneId) -> &T {
        self.kept[lane.0].get().expect("a lane's place is filled before anyone knows it")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_place_and_what_cannot_be_made_takes_none() {
        let slots = Slots::new();
        assert!(slots.of("one", || bail!("no room")).is_err());
        let one = slots.of("one", || Ok(1)).unwrap();
        let two = slots.of("two", || Ok(2)).unwrap();
        assert_eq!(slots.of("one", || Ok(3)).unwrap(), one);
        assert_eq!((*slots.get(one), *slots.get(two)), (1, 2));
        for number in 2..MOST {
            slots.of(&number.to_string(), || Ok(number)).unwrap();
        }
        let error = slots.of("one too many", || Ok(0)).unwrap_err().to_string();
        assert!(error.contains("1024 different names"), "{error}");
    }
}
