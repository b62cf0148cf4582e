//! Which lanes take events: plugins come and go while the source and the rescan run. Each of those has gates of its own
//! and makes them anew when the lineup has changed.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use super::lane::Lane;
use crate::settle::ledger::FirstLook;

/// The lanes that take events, in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Lineup(RwLock<Arc<Vec<Seat>>>);

/// A lane's place in the lineup.
#[derive(Debug, Clone)]
pub(super) struct Seat {
    pub(super) lane: Arc<Lane>,
    /// Its first look at each watch.
    pub(super) looks: Arc<[FirstLook]>,
    /// Of each: is it still to be taken, of a lane that has come while the host runs? Until then whatever looks is the
    /// first.
    pub(super) pending: Arc<[AtomicBool]>,
}

impl Seat {
    pub(super) fn is_pending(&self, watch: usize) -> bool {
        self.pending[watch].load(Ordering::Acquire)
    }
}

impl Lineup {
    /// As it is now. Whoever has it sees by the pointer whether it has changed.
    pub(super) fn seats(&self) -> Arc<Vec<Seat>> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// A lane takes events from now on, in the place of those that had its name.
    pub(super) fn add(&self, seat: Seat) {
        self.change(|seats| {
            seats.retain(|other| other.lane.id != seat.lane.id);
            seats.push(seat);
        });
    }

    /// A lane takes no more events.
    pub(super) fn remove(&self, lane: &Arc<Lane>) {
        self.change(|seats| seats.retain(|seat| !Arc::ptr_eq(&seat.lane, lane)));
    }

    fn change(&self, change: impl FnOnce(&mut Vec<Seat>)) {
        let mut seats = self.0.write().unwrap_or_else(PoisonError::into_inner);
        change(Arc::make_mut(&mut seats));
    }
}
