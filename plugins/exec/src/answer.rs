//! What a child with `mode = "lines"` can answer: `done`, `retry REASON`, `reject REASON`, or JSON.

use notifyit_plugin_api::{Config, Error, Reject, Result, RetryAfter, anyhow, bail, config};

use crate::output::quoted;

/// What a child has answered.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) verdict: Result<()>,
    /// It says that the event's file is its work now.
    pub(crate) rewrote: bool,
    /// It hands the event's file on.
    pub(crate) emits: bool,
}

impl From<Result<()>> for Answer {
    fn from(verdict: Result<()>) -> Self {
        Answer { verdict, rewrote: false, emits: false }
    }
}

#[config]
struct Written {
    verdict: Word,
    #[serde(default)]
    reason: String,
    after: Option<String>,
    #[serde(default)]
    rewrote: bool,
    #[serde(default)]
    emits: bool,
}

#[config]
#[serde(rename_all = "lowercase")]
enum Word {
    Done,
    Retry,
    Reject,
}

/// The answer that a line stands for.
pub(crate) fn parse(line: &str) -> Answer {
    let line = line.trim();
    if line.starts_with('{') {
        return json(line).unwrap_or_else(|error| Err(unreadable(line, Some(error))).into());
    }
    word(line).into()
}

fn word(line: &str) -> Result<()> {
    let (word, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match word {
        "done" if reason.is_empty() => Ok(()),
        "retry" => Err(anyhow!(said(reason, "asked for a retry"))),
        "reject" => bail!(Reject::new(said(reason, "rejected"))),
        _ => Err(unreadable(line, None)),
    }
}

fn json(line: &str) -> Result<Answer> {
    let Written { verdict, reason, after, rewrote, emits } = Written::from_json(line)?;
    let after = after.as_deref().map(humantime::parse_duration).transpose()?;
    let verdict = match (verdict, after) {
        (Word::Done, _) => Ok(()),
        (Word::Reject, _) => Err(Reject::new(said(&reason, "rejected")).into()),
        (Word::Retry, None) => Err(anyhow!(said(&reason, "asked for a retry"))),
        (Word::Retry, Some(after)) => {
            Err(Error::new(RetryAfter(after)).context(said(&reason, "asked for a retry")))
        }
    };
    Ok(Answer { verdict, rewrote, emits })
}

fn said(reason: &str, otherwise: &str) -> String {
    let reason = reason.trim();
    if reason.is_empty() { otherwise.to_owned() } else { reason.to_owned() }
}

fn unreadable(line: &str, why: Option<Error>) -> Error {
    let error = anyhow!("answered {:?}, which is no verdict", quoted(line));
    match why {
        Some(why) => error.context(why.to_string()),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn text(line: &str) -> String {
        format!("{:#}", parse(line).verdict.unwrap_err())
    }

    #[test]
    fn words_are_verdicts() {
        assert!(parse("done").verdict.is_ok() && parse(" done\t").verdict.is_ok() && !parse("done").rewrote);
        assert_eq!(text("retry"), "asked for a retry");
        assert_eq!(text("retry  the disk is full "), "the disk is full");
        let reject = parse("reject no image").verdict.unwrap_err();
        assert_eq!(reject.downcast::<Reject>().unwrap().to_string(), "no image");
    }

    #[test]
    fn json_is_a_verdict() {
        let done = parse(r#"{"verdict":"done"}"#);
        assert!(done.verdict.is_ok() && !done.rewrote);
        let rewrote = parse(r#"{"verdict":"done","rewrote":true}"#);
        assert!(rewrote.verdict.is_ok() && rewrote.rewrote && !rewrote.emits);
        assert!(parse(r#"{"verdict":"done","emits":true}"#).emits);
        assert!(parse(r#"{"verdict":"reject"}"#).verdict.unwrap_err().is::<Reject>());
        let retry = parse(r#"{"verdict":"retry","reason":"busy","after":"10s"}"#).verdict.unwrap_err();
        assert_eq!(retry.downcast_ref::<RetryAfter>().unwrap().0, Duration::from_secs(10));
        assert_eq!(format!("{retry:#}"), "busy: try again in 10s");
    }

    #[test]
    fn anything_else_is_shown() {
        for line in ["ok", "done it", "DONE", "", "doneretry"] {
            assert_eq!(text(line), format!("answered {line:?}, which is no verdict"));
        }
        let error = text(r#"{"verdict":"retry","aftr":"10s"}"#);
        assert!(
            error.contains("unknown key `aftr`") && error.contains(r#"answered "{\"verdict\""#),
            "{error}"
        );
        assert!(text(r#"{"verdict":"retry","after":"soon"}"#).contains("answered"));
    }
}
