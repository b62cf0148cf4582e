//! What a plugin says of an event.

use std::time::Duration;

/// What a plugin says of an event: done, retry, or reject.
///
/// Authors return a [`Result`](crate::Result), from which the adapter makes the verdict; the test harness shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// The file is handled.
    Done,
    /// It failed; the host tries again with growing pauses.
    Retry {
        /// The error with its causes.
        message: String,
        /// The shortest pause that the plugin asked for ([`RetryAfter`](crate::RetryAfter)).
        after: Option<Duration>,
        /// Whose fault it was.
        blame: Blame,
    },
    /// It can never work ([`Reject`](crate::Reject)); the host does not try again.
    Reject {
        /// The error with its causes.
        message: String,
    },
}

/// Whose fault a failure was.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Blame {
    /// This file's, as far as anyone knows: the attempt counts.
    File,
    /// The plugin's ([`Unavailable`](crate::Unavailable)): no file would have worked, and the attempt does not count.
    Plugin,
}

impl Verdict {
    /// Is it [`Verdict::Done`]?
    pub fn is_done(&self) -> bool {
        matches!(self, Verdict::Done)
    }

    /// Is it [`Verdict::Retry`]?
    pub fn is_retry(&self) -> bool {
        matches!(self, Verdict::Retry { .. })
    }

    /// Is it [`Verdict::Reject`]?
    pub fn is_reject(&self) -> bool {
        matches!(self, Verdict::Reject { .. })
    }
}
