//! What a test expects of a verdict, and what it shows when that is not so.

use std::cell::RefCell;
use std::sync::Arc;

use super::heard::Heard;
use crate::verdict::{Blame, Verdict};

/// For tests. Each fails with the verdict, its message, and what was logged to the last
/// [`TestHost`](super::TestHost) that this thread has called.
///
/// ```
/// # use std::time::Duration;
/// # use notifyit_plugin_api::testing::TestHost;
/// # use notifyit_plugin_api::{Context, Event, Host, Plugin, Reject, Result, RetryAfter, Unavailable, json};
/// # struct Numbers;
/// impl Plugin for Numbers {
///     # type Config = ();
///     # fn new(_: (), _: Host) -> Result<Self> { Ok(Numbers) }
///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
///         let text = std::io::read_to_string(event.open()?)?;
///         let number: u64 = text.trim().parse().context(Reject::new("no number"))?;
///         # match number {
///         #     1 => Err(RetryAfter(Duration::from_secs(5)).into()),
///         #     2 => Err(Unavailable::new("no database").into()),
///         #     _ => Ok(()),
///         # }
///         // …
///     }
/// }
///
/// # let mut host = TestHost::start::<Numbers>(json!({})).unwrap();
/// host.write("good", "42").assert_done();
/// host.write("bad", "x").assert_reject("no number");
/// host.event("gone").deliver().assert_retry("No such file");
///
/// let busy = host.write("busy", "1");
/// busy.assert_retry("try again in 5s");
/// assert_eq!(busy.retry_after(), Some(Duration::from_secs(5)));
/// host.write("down", "2").assert_unavailable("no database");
/// ```
impl Verdict {
    /// Fails the test if it is not [`Verdict::Done`].
    #[track_caller]
    pub fn assert_done(&self) {
        self.check(self.is_done(), "done");
    }

    /// Fails the test if it is not [`Verdict::Retry`], by whosoever's fault, with this text in its message.
    #[track_caller]
    pub fn assert_retry(&self, text: &str) {
        self.check(self.is_retry() && self.says(text), &with("a retry", text));
    }

    /// Fails the test if it is not a [`Verdict::Retry`] for which the plugin is to blame
    /// ([`Unavailable`](crate::Unavailable)), with this text in its message.
    #[track_caller]
    pub fn assert_unavailable(&self, text: &str) {
        let is_unavailable = matches!(self, Verdict::Retry { blame: Blame::Plugin, .. });
        self.check(is_unavailable && self.says(text), &with("a retry with `Unavailable`", text));
    }

    /// Fails the test if it is not [`Verdict::Reject`], with this text in its message.
    #[track_caller]
    pub fn assert_reject(&self, text: &str) {
        self.check(self.is_reject() && self.says(text), &with("a reject", text));
    }

    fn says(&self, text: &str) -> bool {
        self.message().contains(text)
    }

    #[track_caller]
    fn check(&self, holds: bool, expected: &str) {
        if !holds {
            let logs = LAST.with_borrow(|last| last.as_ref().map(|heard| heard.shown()));
            panic!("expected {expected}, but it is {}\n{}", self.shown(), logs.unwrap_or_default());
        }
    }

    /// For a person.
    fn shown(&self) -> String {
        match self {
            Verdict::Done => "done".to_owned(),
            Verdict::Reject { message } => format!("a reject: {message}"),
            Verdict::Retry { message, after, blame } => {
                let with = if *blame == Blame::Plugin { " with `Unavailable`" } else { "" };
                let after = after.map(|after| format!(" after {after:?}")).unwrap_or_default();
                format!("a retry{with}{after}: {message}")
            }
        }
    }
}

fn with(verdict: &str, text: &str) -> String {
    if text.is_empty() { verdict.to_owned() } else { format!("{verdict} that says {text:?}") }
}

thread_local! {
    /// Of the host that this thread has called last: most probably the one that the verdict comes from.
    static LAST: RefCell<Option<Arc<Heard>>> = const { RefCell::new(None) };
}

pub(super) fn was_called(heard: &Arc<Heard>) {
    LAST.set(Some(Arc::clone(heard)));
}
