//! Errors that mean more than "try again", when `on_event` returns them.

use std::fmt;
use std::time::Duration;

use crate::verdict::{Blame, Verdict};

/// This event can never be handled: do not try again.
///
/// Anywhere in the chain of an error that [`Plugin::on_event`](crate::Plugin::on_event) returns it makes the verdict a
/// reject. From [`Plugin::new`](crate::Plugin::new) it says that no instance can be made until the plugin's file or
/// configuration changes; from `flush` it is an error like any other. It may be made on any thread.
///
/// ```
/// # use notifyit_plugin_api::{bail, Context, Reject, Result};
/// fn number(text: &str) -> Result<u32> {
///     if text.is_empty() {
///         bail!(Reject::new("empty"));
///     }
///     let digits = text.strip_prefix("n=").ok_or(Reject::new("no n="))?;
///     digits.parse().context(Reject::new("not a number"))
/// }
/// # assert_eq!(number("n=1").unwrap(), 1);
/// # assert_eq!(number("x").unwrap_err().to_string(), "no n=");
/// ```
#[derive(Debug, Clone)]
pub struct Reject(String);

impl Reject {
    /// A rejection and its reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Reject(reason.into())
    }
}

impl fmt::Display for Reject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Reject {}

/// It failed; try again, but not before this time has passed.
///
/// Works like [`Reject`], anywhere in an error's chain, and like it may be made on any thread. The host's own backoff applies
/// where it is longer. A [`Reject`] in the same chain wins. From `new` and `flush` it is an error like any other.
#[derive(Debug, Clone)]
pub struct RetryAfter(pub Duration);

impl fmt::Display for RetryAfter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "try again in {:?}", self.0)
    }
}

impl std::error::Error for RetryAfter {}

/// It is not this file: what the plugin needs is not there (a database, a program, a disk), and no file would work.
///
/// The host pauses the plugin at once and tries one file at a time until one works; no file loses an attempt by it.
/// Works like [`Reject`], anywhere in an error's chain, and like it may be made on any thread. A [`Reject`] in the same chain
/// wins. With a [`RetryAfter`] in the chain the pause is that long at least. From `flush` it says so of the whole
/// burst; from `new` it is an error like any other.
#[derive(Debug, Clone)]
pub struct Unavailable(String);

impl Unavailable {
    /// What is missing.
    pub fn new(what: impl Into<String>) -> Self {
        Unavailable(what.into())
    }
}

impl fmt::Display for Unavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unavailable {}

/// The verdict that a result stands for.
pub(crate) fn verdict(result: anyhow::Result<()>) -> Verdict {
    let Err(error) = result else { return Verdict::Done };
    let message = format!("{error:#}");
    if find::<Reject>(&error).is_some() {
        Verdict::Reject { message }
    } else {
        let blame = if find::<Unavailable>(&error).is_some() { Blame::Plugin } else { Blame::File };
        Verdict::Retry { message, after: find::<RetryAfter>(&error).map(|r| r.0), blame }
    }
}

/// Looks through contexts (which only `downcast_ref` of the whole error sees) and through sources.
fn find<E: std::error::Error + Send + Sync + 'static>(error: &anyhow::Error) -> Option<&E> {
    error.downcast_ref::<E>().or_else(|| error.chain().find_map(|cause| cause.downcast_ref::<E>()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::{Context, anyhow};

    #[derive(Debug)]
    struct Wrapped(Reject);
    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("wrapped")
        }
    }
    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_reject_anywhere_in_the_chain_rejects() {
        let as_context = Err(anyhow!("cause")).context(Reject::new("no")).context("outer");
        assert_eq!(verdict(as_context), Verdict::Reject { message: "outer: no: cause".into() });
        let as_cause = Err::<(), _>(Reject::new("no")).context("outer");
        assert!(verdict(as_cause).is_reject());
        let as_source = Err(anyhow::Error::new(Wrapped(Reject::new("no"))));
        assert!(verdict(as_source).is_reject());
    }

    #[test]
    fn any_other_error_retries_with_the_pause_asked_for() {
        assert_eq!(verdict(Ok(())), Verdict::Done);
        assert_eq!(
            verdict(Err(anyhow!("x"))),
            Verdict::Retry { message: "x".into(), after: None, blame: Blame::File }
        );
        let missing = Err(anyhow!("refused")).context(Unavailable::new("no database"));
        let message = "no database: refused".into();
        assert_eq!(verdict(missing), Verdict::Retry { message, after: None, blame: Blame::Plugin });
        let paused = Err(anyhow!("busy")).context(RetryAfter(Duration::from_secs(3)));
        assert!(matches!(verdict(paused), Verdict::Retry { after: Some(d), .. } if d.as_secs() == 3));
    }
}
