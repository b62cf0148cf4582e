//! The host's log, on stderr: stdout belongs to the plugins.

use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::time::SystemTime;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::LogFormat;

/// Starts the log. A second call does nothing.
pub fn start(format: LogFormat, level: LevelFilter) {
    let builder = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_ansi(false)
        .log_internal_errors(false)
        .with_writer(std::io::stderr);
    // Only the first subscriber of a process can be set; a second one is a test's.
    let _ = match format {
        LogFormat::Text => builder.event_format(Line).try_init(),
        LogFormat::Json => {
            builder.json().flatten_event(true).with_current_span(false).with_span_list(false).try_init()
        }
    };
}

/// `2026-01-31T12:00:00.000Z  INFO print: message`: the time, the level, who speaks, what they say.
struct Line;

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut to: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let time = humantime::format_rfc3339_millis(SystemTime::now());
        let level = event.metadata().level();
        let who = said.plugin.as_deref().unwrap_or("notifyit");
        writeln!(to, "{time} {level:>5} {who}: {}", said.message)
    }
}

/// The parts of a record that a line shows.
#[derive(Default)]
struct Said {
    message: String,
    plugin: Option<String>,
}

impl Visit for Said {
    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "plugin" {
            self.plugin = Some(value.to_owned());
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.message = format!("{value:?}");
        }
    }
}

/// Longer texts are cut: a plugin may put a file's whole content into an error.
const LONGEST: usize = 64 * 1024;

/// The text as one line that no terminal acts on: control characters, line separators and marks that turn the
/// direction of writing are escaped. A plugin logs file names, and those are chosen by others. What lies behind the
/// first 64 KiB is left out.
pub fn one_line(text: &str) -> Cow<'_, str> {
    if text.len() > LONGEST {
        let end = (0..=LONGEST).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0);
        return Cow::Owned(format!("{} [cut: {} bytes more]", one_line(&text[..end]), text.len() - end));
    }
    if !text.chars().any(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut line = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        if is_unsafe(c) {
            let _ = write!(line, "{}", c.escape_default());
        } else {
            line.push(c);
        }
    }
    Cow::Owned(line)
}

fn is_unsafe(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{2028}' | '\u{2029}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_cut_where_nobody_would_read_on() {
        let line = one_line(&"ü".repeat(1 << 20)).into_owned();
        assert!(line.ends_with("ü [cut: 2031616 bytes more]"), "{}", &line[line.len() - 40..]);
        assert_eq!(one_line(&"x".repeat(LONGEST)).len(), LONGEST);
    }

    #[test]
    fn a_message_becomes_one_line() {
        assert!(matches!(one_line("plain “text” ü"), Cow::Borrowed(_)));
        assert_eq!(
            one_line("a\nERROR forged\r\t\u{1b}[31m\u{2028}\u{202e}x"),
            r"a\nERROR forged\r\t\u{1b}[31m\u{2028}\u{202e}x"
        );
    }
}
