//! What the host calls: one instance of a plugin.

use std::fmt;
use std::time::Duration;

use notifyit_plugin_api::abi::{
    CREATED, CallResult, CreateResult, EventRaw, HandlerBox, Notes, PANICKED, REJECT, guard,
};
use notifyit_plugin_api::{Blame, Verdict};

use super::load::LoadedLibrary;

/// One instance of a plugin: each worker of a lane has its own. Dropping it drops the plugin's value, on the thread
/// that drops it.
pub struct Instance {
    handler: HandlerBox,
    notes: Notes,
    /// Keeps the staged file for as long as its code may be in a backtrace.
    library: LoadedLibrary,
}

/// A plugin's answer to a call. Messages may hold several lines and any character: see
/// [`one_line`](crate::log::one_line).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It worked.
    Done,
    /// It failed and may work later.
    Retry {
        /// The error with its causes.
        message: String,
        /// The shortest pause that the plugin asked for.
        after: Option<Duration>,
        /// Whose fault it was.
        blame: Blame,
    },
    /// It can never work.
    Reject {
        /// The error with its causes.
        message: String,
    },
    /// It panicked: the instance is of no more use and must be made anew.
    Panicked {
        /// What the panic said, and where; a backtrace may follow in further lines.
        message: String,
    },
}

/// Why there is no instance. `Display` is the plugin's message, which may hold several lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreateError {
    /// It will not have this configuration: the same call cannot work later.
    Rejected(String),
    /// It failed and may work later.
    Failed(String),
    /// It panicked.
    Panicked(String),
    /// It said that there was an instance, and gave none.
    Lied,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Rejected(message) | CreateError::Failed(message) => f.write_str(message),
            CreateError::Panicked(message) => write!(f, "the plugin panicked: {message}"),
            CreateError::Lied => {
                f.write_str("the plugin lied: it says that it made an instance, but gave none")
            }
        }
    }
}

impl std::error::Error for CreateError {}

impl Instance {
    pub(super) fn from_wire(made: CreateResult, library: LoadedLibrary) -> Result<Instance, CreateError> {
        handler(made).map(|handler| Instance { handler, notes: Notes::default(), library })
    }

    /// The library that it was made from.
    pub fn library(&self) -> &LoadedLibrary {
        &self.library
    }

    /// Hands it one event. Blocks for as long as the plugin takes.
    pub fn on_event(&mut self, event: &EventRaw<'_>) -> Reply {
        let result = self.handler.on_event(event);
        self.notes = guard::notes(&result);
        Reply::from_wire(result)
    }

    /// What it said of the last event beside its reply.
    pub fn notes(&self) -> Notes {
        self.notes
    }

    /// Ends a burst: what was [`Reply::Done`] since the last flush is safe when this is, too.
    pub fn flush(&mut self) -> Reply {
        Reply::from_wire(self.handler.flush())
    }

    /// The last call before the drop. Not to be made after a panic.
    pub fn shutdown(&mut self) -> Reply {
        Reply::from_wire(self.handler.shutdown())
    }
}

fn handler(made: CreateResult) -> Result<HandlerBox, CreateError> {
    let message = made.message.into_string();
    match (made.status, made.handler.into_option()) {
        (CREATED, Some(handler)) => Ok(handler),
        (CREATED, None) => Err(CreateError::Lied),
        (REJECT, _) => Err(CreateError::Rejected(message)),
        (PANICKED, _) => Err(CreateError::Panicked(message)),
        _ => Err(CreateError::Failed(message)),
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("library", &self.library).finish_non_exhaustive()
    }
}

impl Reply {
    fn from_wire(result: CallResult) -> Reply {
        match guard::from_wire(result) {
            Ok(Verdict::Done) => Reply::Done,
            Ok(Verdict::Retry { message, after, blame }) => Reply::Retry { message, after, blame },
            Ok(Verdict::Reject { message }) => Reply::Reject { message },
            Ok(other) => Reply::Retry { message: format!("{other:?}"), after: None, blame: Blame::File },
            Err(message) => Reply::Panicked { message },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notifyit_plugin_api::abi::{DONE, FLAG_RETRY_AFTER, RETRY};

    #[test]
    fn a_plugin_that_makes_no_instance_has_its_error() {
        let error = |status| {
            let handler = abi_stable::std_types::RNone;
            super::handler(CreateResult { status, message: "m".into(), handler }).err().unwrap()
        };
        assert_eq!(error(CREATED), CreateError::Lied);
        assert_eq!(error(REJECT), CreateError::Rejected("m".into()));
        assert_eq!(error(PANICKED).to_string(), "the plugin panicked: m");
        assert_eq!(error(RETRY), CreateError::Failed("m".into()));
        assert_eq!(error(77), CreateError::Failed("m".into()));
    }

    #[test]
    fn every_status_has_its_reply() {
        let reply = |status| Reply::from_wire(CallResult::new(status, "m"));
        let message = || "m".to_owned();
        assert_eq!(reply(DONE), Reply::Done);
        assert_eq!(reply(REJECT), Reply::Reject { message: message() });
        assert_eq!(reply(PANICKED), Reply::Panicked { message: message() });
        assert_eq!(reply(RETRY), Reply::Retry { message: message(), after: None, blame: Blame::File });
        assert_eq!(reply(77), Reply::Retry { message: message(), after: None, blame: Blame::File });
        let mut later = CallResult::new(RETRY, "m");
        (later.flags, later.number) = (FLAG_RETRY_AFTER, 1_500_000_000);
        assert_eq!(
            Reply::from_wire(later),
            Reply::Retry { message: message(), after: Some(Duration::from_millis(1500)), blame: Blame::File }
        );
    }
}
