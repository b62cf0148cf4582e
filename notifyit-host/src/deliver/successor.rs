//! New code for a lane that goes on: its instances are made beside those that are at work; when there is one for each
//! worker, each changes over between two events.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use super::desk::Stage;
use super::worker::Worker;
use crate::plugin::{Create, CreateError, Instance};

/// Code that can take the place of a lane's: an instance of it for each worker.
pub struct Heirs {
    create: Arc<Create>,
    instances: Vec<Instance>,
}

impl std::fmt::Debug for Heirs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Heirs").field("instances", &self.instances).finish_non_exhaustive()
    }
}

impl Heirs {
    /// Makes an instance for each of so many workers, on the calling thread.
    ///
    /// # Errors
    ///
    /// The plugin's own, of the first that fails.
    pub fn make(create: Create, workers: u16) -> Result<Heirs, CreateError> {
        let mut heirs = Heirs { create: Arc::new(create), instances: Vec::new() };
        for _ in 0..workers {
            let instance = heirs.create.instance(&|| false)?;
            heirs.instances.push(instance);
        }
        Ok(heirs)
    }
}

impl Drop for Heirs {
    /// Those that are not wanted, after all.
    fn drop(&mut self) {
        let instances = std::mem::take(&mut self.instances);
        if !instances.is_empty() {
            self.create.end();
            dismiss(move || {
                instances.into_iter().for_each(|mut instance| drop(instance.shutdown(&|| false)))
            });
        }
    }
}

/// Ends what is not wanted on a thread of its own: it is a plugin's code that runs, and whoever lets go of it may hold a
/// lock, or be waited for.
pub(super) fn dismiss(end: impl FnOnce() + Send + 'static) {
    let _ = thread::Builder::new().name("dismiss".into()).spawn(end);
}

/// Heirs that are handed out.
pub(super) struct Successor {
    create: Arc<Create>,
    heirs: Mutex<Heirs>,
    to_change_over: AtomicUsize,
    /// Called when every worker has changed over.
    ended: Box<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Successor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Successor").field("to_change_over", &self.to_change_over).finish_non_exhaustive()
    }
}

impl Successor {
    pub(super) fn new(heirs: Heirs, ended: impl Fn() + Send + Sync + 'static) -> Successor {
        Successor {
            create: Arc::clone(&heirs.create),
            to_change_over: AtomicUsize::new(heirs.instances.len()),
            heirs: Mutex::new(heirs),
            ended: Box::new(ended),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.to_change_over.load(Ordering::Acquire) == 0
    }

    /// What makes its instances.
    pub(super) fn create(&self) -> &Arc<Create> {
        &self.create
    }

    fn take(&self) -> Option<Instance> {
        self.heirs.lock().unwrap_or_else(PoisonError::into_inner).instances.pop()
    }
}

/// What a lane is to change over to. Of several, the last one counts.
#[derive(Debug, Default)]
pub(super) struct Offer {
    serial: AtomicU64,
    successor: Mutex<Option<Arc<Successor>>>,
}

impl Offer {
    pub(super) fn make(&self, successor: Arc<Successor>) {
        let mut latest = self.successor.lock().unwrap_or_else(PoisonError::into_inner);
        *latest = Some(successor);
        self.serial.fetch_add(1, Ordering::Release);
    }

    /// Is there another one than when this was last asked?
    pub(super) fn is_newer_than(&self, seen: u64) -> bool {
        self.serial.load(Ordering::Acquire) != seen
    }

    /// The successor, if there is another one than when this was last asked.
    fn newer_than(&self, seen: &mut u64) -> Option<Arc<Successor>> {
        if !self.is_newer_than(*seen) {
            return None;
        }
        let latest = self.successor.lock().unwrap_or_else(PoisonError::into_inner);
        *seen = self.serial.load(Ordering::Acquire);
        latest.clone()
    }
}

impl Worker {
    /// Between two events: is there new code?
    pub(super) fn look_for_successor(&mut self) {
        if !self.in_flight.is_empty() {
            return;
        }
        let Some(successor) = self.lane.offer.newer_than(&mut self.offers_seen) else { return };
        let Some(heir) = successor.take() else { return };
        // What the old instance has done is flushed, or tried again by the new one.
        self.flush();
        let old = self.works_with(Some(heir));
        self.create = Arc::clone(&successor.create);
        if let Some(old) = old {
            self.desk().enters(Stage::ChangesOver);
            self.shut_down(old);
            self.desk().enters(Stage::Works);
        }
        // The old code's pause says nothing of the new.
        self.lane.pause.try_now(Instant::now());
        if successor.to_change_over.fetch_sub(1, Ordering::AcqRel) == 1 {
            (successor.ended)();
        }
    }
}
