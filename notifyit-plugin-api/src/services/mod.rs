//! What the host lends a plugin: itself.
//!
//! | file | holds |
//! |---|---|
//! | `log` | its log |
//! | `store` | a small store that survives it |
//! | `stop` | whether it is to end |
//! | `metrics` | figures of its own |

mod log;
mod store;
mod stop;
mod metrics;

use std::fmt;

use anyhow::anyhow;

use crate::abi::{Bytes, CallResult, DONE, HostApi_Ref, REJECT, Text, UNKNOWN_OPERATION};
use crate::error::Unavailable;

pub(crate) use self::log::{install_logger, speak_for_threads};
pub use store::Store;

/// The host, as this instance sees it. Cheap to copy; all of it may be called from any thread, from `Plugin::new` until the
/// process ends. What waits says so.
///
/// | | |
/// |---|---|
/// | [`Host::store`] | a small store of its own, which survives restarts |
/// | [`Host::stopping`], [`Host::wait_for_stop`] | is this instance to come to its end? |
/// | [`Host::count`], [`Host::gauge`] | figures of its own in `notifyit status` |
/// | [`Host::instance`] | its name |
/// | [`Host::stop`] | ends the host |
/// | [`Host::attach_thread`] | for the log records of its own threads |
#[derive(Clone, Copy)]
pub struct Host {
    api: HostApi_Ref,
    context: u64,
}

impl Host {
    pub(crate) fn new(api: HostApi_Ref, context: u64) -> Self {
        Host { api, context }
    }

    /// Asks the host to stop, in an orderly way and with exit status 0, as `print` does when nobody reads its output
    /// any more. Returns at once; more events may come until the host has stopped.
    pub fn stop(&self, reason: &str) {
        self.api.stop()(self.context, Text::from_str(reason));
    }

    /// The name under which this instance runs: `alpha` of `[plugin.alpha]`. All its workers have the same, and two
    /// instances of one library never do: a plugin that keeps files of its own can name them by it. None if the host
    /// is older than 1.1 of this crate.
    pub fn instance(&self) -> Option<String> {
        let name = self.api.instance()?(self.context).into_string();
        (!name.is_empty()).then_some(name)
    }

    pub(crate) fn complete(&self, ticket: u64, result: CallResult) {
        if let Some(complete) = self.api.complete() {
            complete(self.context, ticket, result);
        }
    }

    /// Asks for one of the services of [`asks`](crate::abi::asks); `what` it is, for the error.
    fn ask(&self, operation: u32, payload: &[u8], what: &str) -> Result<Vec<u8>, Unanswered> {
        let older = || Unanswered::OlderHost(format!("it has no {what}"));
        let ask = self.api.ask().ok_or_else(older)?;
        let answer = ask(self.context, operation, Bytes::from_slice(payload));
        let payload = answer.payload.into_vec();
        match answer.status {
            DONE => Ok(payload),
            UNKNOWN_OPERATION => Err(older()),
            status => {
                let message = String::from_utf8_lossy(&payload).into_owned();
                Err(if status == REJECT {
                    Unanswered::Mistaken(message)
                } else {
                    Unanswered::Failed(message)
                })
            }
        }
    }
}

/// Why the host does not do what was asked of it.
enum Unanswered {
    /// It does not know how.
    OlderHost(String),
    /// It cannot, whoever asks.
    Failed(String),
    /// It never will.
    Mistaken(String),
}

impl Unanswered {
    /// For the author: what no file can help is [`Unavailable`].
    fn into_error(self) -> anyhow::Error {
        match self {
            Unanswered::OlderHost(lacks) => Unavailable::new(format!(
                "the host is older than 1.2 of notifyit-plugin-api: {lacks}; update notifyit"
            ))
            .into(),
            Unanswered::Failed(message) => Unavailable::new(message).into(),
            Unanswered::Mistaken(message) => anyhow!(message),
        }
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host").field("context", &self.context).finish_non_exhaustive()
    }
}
