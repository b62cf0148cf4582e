//! Verdicts that come later: each has a ticket, which says where it goes.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use notifyit_plugin_api::abi::CallResult;

use super::instance::{Answer, Reply};
use super::services;

type Deliver = dyn Fn(u64, Answer) + Send + Sync;

/// Those of one worker, who gets what is said under them for as long as this is kept.
#[derive(Debug)]
pub struct Tickets {
    worker: u64,
    next: u64,
}

/// So many bits of a ticket number a worker's own.
const OF_WORKER: u32 = 40;

struct Worker {
    /// The instance's name: another plugin's words are not for it.
    name: String,
    deliver: Arc<Deliver>,
}

impl fmt::Debug for Worker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.name).finish_non_exhaustive()
    }
}

/// As with the contexts of [`services`]: a plugin has but a number.
static WORKERS: RwLock<(u64, BTreeMap<u64, Worker>)> = RwLock::new((0, BTreeMap::new()));

impl Tickets {
    /// For a worker with an instance of this name. `deliver` is called on any thread, with a ticket and what was said; it
    /// must not block.
    pub fn open(name: &str, deliver: impl Fn(u64, Answer) + Send + Sync + 'static) -> Tickets {
        let mut workers = WORKERS.write().unwrap_or_else(PoisonError::into_inner);
        workers.0 += 1;
        let number = workers.0;
        workers.1.insert(number, Worker { name: name.to_owned(), deliver: Arc::new(deliver) });
        Tickets { worker: number, next: 0 }
    }

    /// One more. Never 0.
    pub fn issue(&mut self) -> u64 {
        self.next = (self.next + 1) % (1 << OF_WORKER);
        (self.worker << OF_WORKER) | self.next
    }
}

impl Drop for Tickets {
    fn drop(&mut self) {
        WORKERS.write().unwrap_or_else(PoisonError::into_inner).1.remove(&self.worker);
    }
}

/// In the process of an isolated plugin: the way to its host.
type ToHost = dyn Fn(u64, &CallResult) + Send + Sync;
static TO_HOST: OnceLock<Box<ToHost>> = OnceLock::new();

/// From now on what this process's plugins say under a ticket goes to its host.
pub(super) fn send(send: impl Fn(u64, &CallResult) + Send + Sync + 'static) {
    let _ = TO_HOST.set(Box::new(send));
}

/// What the instance with this context says under a ticket. It may lie.
pub(super) fn complete(context: u64, ticket: u64, result: CallResult) {
    if let Some(send) = TO_HOST.get() {
        return send(ticket, &result);
    }
    let deliver = {
        let workers = WORKERS.read().unwrap_or_else(PoisonError::into_inner);
        let worker = workers.1.get(&(ticket >> OF_WORKER));
        worker.filter(|worker| worker.name == services::instance(context)).map(|w| Arc::clone(&w.deliver))
    };
    let Some(deliver) = deliver else { return };
    let mut answer = Answer::from_wire(result);
    if matches!(answer.reply, Reply::Lost(_) | Reply::Deferred) {
        let message = "the plugin lied: that is no verdict".to_owned();
        answer.reply = Reply::Retry { message, after: None, blame: notifyit_plugin_api::Blame::File };
    }
    deliver(ticket, answer);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Services;
    use notifyit_plugin_api::abi::{DEFERRED, DONE, PANICKED};
    use std::sync::Mutex;

    #[test]
    fn a_verdict_goes_to_its_worker_and_nobody_elses_does() {
        let services = Services::new(|_, _| {});
        let entries = ["own", "other"].map(|name| services.grant(name).enter().unwrap());
        let [own, other] = entries.each_ref().map(|entry| entry.context());
        let heard: Arc<Mutex<Vec<(u64, Answer)>>> = Arc::default();
        let to = Arc::clone(&heard);
        let mut tickets =
            Tickets::open("own", move |ticket, answer| to.lock().unwrap().push((ticket, answer)));
        let mut others = Tickets::open("own", |_, _| {});
        let (first, second, elsewhere) = (tickets.issue(), tickets.issue(), others.issue());
        assert!(first != second && first != elsewhere && first != 0);
        let done = || CallResult::new(DONE, "");
        complete(other, first, done());
        complete(u64::MAX, first, done());
        complete(own, elsewhere, done());
        complete(own, 7, done());
        complete(own, second, done());
        for status in [DEFERRED, PANICKED] {
            complete(own, first, CallResult::new(status, "m"));
        }
        let said: Vec<_> = heard.lock().unwrap().drain(..).collect();
        let retry = |answer: &Answer| matches!(&answer.reply, Reply::Retry { message, .. } if message.contains("lied"));
        assert_eq!((said.len(), said[0].0, &said[0].1.reply), (3, second, &Reply::Done));
        assert!(retry(&said[1].1) && retry(&said[2].1), "{said:?}");
        drop(tickets);
        complete(own, first, done());
        assert!(heard.lock().unwrap().is_empty());
    }
}
