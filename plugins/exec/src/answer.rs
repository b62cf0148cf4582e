//! What a child with `mode = "lines"` can answer: `done`, `retry REASON`, `reject REASON`, or JSON.

use notifyit_plugin_api::{Config, Error, Reject, Result, RetryAfter, anyhow, bail, config};

use crate::output::quoted;

#[config]
struct Answer {
    verdict: Word,
    #[serde(default)]
    reason: String,
    after: Option<String>,
}

#[config]
#[serde(rename_all = "lowercase")]
enum Word {
    Done,
    Retry,
    Reject,
}

/// The verdict that a line stands for.
pub(crate) fn parse(line: &str) -> Result<()> {
    let line = line.trim();
    if line.starts_with('{') {
        return json(line).unwrap_or_else(|error| Err(unreadable(line, Some(error))));
    }
    let (word, reason) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    match word {
        "done" if reason.is_empty() => Ok(()),
        "retry" => Err(anyhow!(said(reason, "asked for a retry"))),
        "reject" => bail!(Reject::new(said(reason, "rejected"))),
        _ => Err(unreadable(line, None)),
    }
}

fn json(line: &str) -> Result<Result<()>> {
    let Answer { verdict, reason, after } = Answer::from_json(line)?;
    let after = after.as_deref().map(humantime::parse_duration).transpose()?;
    Ok(match (verdict, after) {
        (Word::Done, _) => Ok(()),
        (Word::Reject, _) => Err(Reject::new(said(&reason, "rejected")).into()),
        (Word::Retry, None) => Err(anyhow!(said(&reason, "asked for a retry"))),
        (Word::Retry, Some(after)) => {
            Err(Error::new(RetryAfter(after)).context(said(&reason, "asked for a retry")))
        }
    })
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
        format!("{:#}", parse(line).unwrap_err())
    }

    #[test]
    fn words_are_verdicts() {
        assert!(parse("done").is_ok() && parse(" done\t").is_ok());
        assert_eq!(text("retry"), "asked for a retry");
        assert_eq!(text("retry  the disk is full "), "the disk is full");
        let reject = parse("reject no image").unwrap_err();
        assert_eq!(reject.downcast::<Reject>().unwrap().to_string(), "no image");
    }

    #[test]
    fn json_is_a_verdict() {
        assert!(parse(r#"{"verdict":"done"}"#).is_ok());
        assert!(parse(r#"{"verdict":"reject"}"#).unwrap_err().is::<Reject>());
        let retry = parse(r#"{"verdict":"retry","reason":"busy","after":"10s"}"#).unwrap_err();
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
