//! The configuration as written: the keys that there are, and what each may be. Unknown keys are refused.

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU16, NonZeroU32};
use std::path::PathBuf;
use std::time::Duration;

use notifyit_plugin_api::{Kind, UnknownKind};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use toml::Spanned;

use super::Library;
use crate::cli::{self, Existing, Isolation, LogFormat, Trust};
use crate::patterns;

/// A configuration file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Written {
    pub(super) host: Host,
    #[serde(deserialize_with = "watches")]
    pub(super) watch: Vec<Spanned<Watch>>,
    pub(super) plugin: BTreeMap<Spanned<Name>, Plugin>,
}

/// `[host]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Host {
    pub(super) plugin_dirs: Vec<Spanned<FilePath>>,
    pub(super) state_dir: Option<Spanned<FilePath>>,
    pub(super) socket: Option<Spanned<FilePath>>,
    pub(super) trust: Option<Trust>,
    pub(super) grace: Option<Time>,
    pub(super) rescan_every: Option<Pause>,
    pub(super) log_format: Option<LogFormat>,
    pub(super) log_level: Option<LogLevel>,
}

/// `[[watch]]`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a table")]
pub(super) struct Watch {
    pub(super) name: Option<Spanned<WatchName>>,
    pub(super) path: Spanned<FilePath>,
    #[serde(default)]
    pub(super) recursive: bool,
    #[serde(default)]
    pub(super) cross_mounts: bool,
    #[serde(default)]
    pub(super) include: Vec<Glob>,
    #[serde(default)]
    pub(super) exclude: Vec<Glob>,
    #[serde(default)]
    pub(super) ignore_case: bool,
    #[serde(default)]
    pub(super) existing: Existing,
    #[serde(default)]
    pub(super) missing: Missing,
    pub(super) backend: Option<Backend>,
    pub(super) poll: Option<Spanned<TimeOverZero>>,
    pub(super) stable_for: Option<Time>,
}

/// `[plugin.NAME]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Plugin {
    pub(super) library: Option<Spanned<LibraryText>>,
    pub(super) watch: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) include: Vec<Glob>,
    pub(super) exclude: Vec<Glob>,
    pub(super) ignore_case: bool,
    pub(super) events: Option<Spanned<Vec<KindName>>>,
    pub(super) emitted_by: Option<Spanned<Vec<Spanned<String>>>>,
    pub(super) workers: Option<NonZeroU16>,
    pub(super) in_flight: Option<NonZeroU16>,
    pub(super) queue: Option<QueueLength>,
    pub(super) timeout: Option<TimeOverZero>,
    pub(super) quiet: Option<Time>,
    pub(super) coalesce: Option<Time>,
    pub(super) retry: Retry,
    pub(super) isolation: Option<Spanned<Isolation>>,
    pub(super) user: Option<Spanned<User>>,
    pub(super) umask: Option<Spanned<Umask>>,
    pub(super) limits: Option<Spanned<Limits>>,
    pub(super) sandbox: Option<Spanned<Sandbox>>,
    pub(super) config: JsonTable,
}

/// `retry = { … }`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(super) struct Retry {
    pub(super) first: Option<Spanned<TimeOverZero>>,
    pub(super) max: Option<Spanned<TimeOverZero>>,
    #[serde(rename = "for")]
    pub(super) for_: Option<Time>,
    pub(super) attempts: Option<NonZeroU32>,
    pub(super) crashes: Option<NonZeroU32>,
}

/// What to do if a watched directory is not there at the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Missing {
    /// Refuse to start.
    #[default]
    Error,
    /// Wait for it.
    Wait,
}

/// How it is known what lands in a watched directory.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Backend {
    /// By inotify where it sees everything, by polling elsewhere.
    #[default]
    Auto,
    /// By inotify.
    Inotify,
    /// By polling.
    Poll,
}

/// `log_level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum LogLevel {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

/// Defines a text that is checked while it is read. (A check after that, serde's `try_from`, would lose the place of
/// an element of an array.)
macro_rules! checked_text {
    ($(#[$meta:meta])* $name:ident($inner:ty), $expected:expr, $check:expr) => {
        $(#[$meta])*
        #[derive(Debug, Clone)]
        pub(in crate::config) struct $name(pub(in crate::config) $inner);

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let checked = CheckedText { expected: $expected, check: $check };
                deserializer.deserialize_str(checked).map($name)
            }
        }
    };
}

mod confined;
pub(super) use confined::{Limits, Sandbox, Umask, User};

struct CheckedText<T> {
    expected: &'static str,
    check: fn(&str) -> Result<T, String>,
}

impl<T> Visitor<'_> for CheckedText<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.check)(text).map_err(E::custom)
    }
}

checked_text!(
    /// The name of a plugin, or of an instance of one.
    #[derive(PartialEq, Eq, PartialOrd, Ord)]
    Name(String),
    "a plugin's name",
    |text| check_name(text).map(|()| text.to_owned())
);

checked_text!(
    /// The name of a watch.
    WatchName(String),
    "a name",
    |text| match text.is_empty() || text.contains(char::is_control) {
        true => Err(format!("{text:?} is no watch's name: it is empty or holds control characters")),
        false => Ok(text.to_owned()),
    }
);

checked_text!(
    /// A path; relative ones begin where the file lies.
    FilePath(PathBuf),
    "a path",
    |text| match text {
        "" => Err("a path cannot be empty".to_owned()),
        text if text.contains('\0') => Err("a path cannot contain NUL".to_owned()),
        text => Ok(PathBuf::from(text)),
    }
);

checked_text!(
    /// A library: a file or a name.
    LibraryText(Library),
    "a library's name or file",
    |text| Library::parse(text.as_ref())
);

checked_text!(
    /// A pattern that compiles.
    Glob(String),
    "a pattern",
    |text| patterns::check(text).map(|()| text.to_owned()).map_err(|e| e.to_string())
);

impl AsRef<str> for Glob {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

checked_text!(
    /// A kind of event, in any spelling.
    KindName(Kind),
    "a kind of event",
    |text| text.parse().map_err(|e: UnknownKind| e.to_string())
);

const DURATION: &str = "a duration such as \"30s\", \"10m\" or \"1h 30m\"";

checked_text!(
    /// A duration.
    Time(Duration),
    DURATION,
    cli::duration
);

checked_text!(
    /// A duration longer than zero.
    TimeOverZero(Duration),
    DURATION,
    cli::interval
);

/// The time between two of something that may be switched off: a duration, or 0 for never.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pause(pub(super) Option<Duration>);

impl<'de> Deserialize<'de> for Pause {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Pause;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{DURATION}, or 0 for never")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Pause, E> {
                let pause =
                    if text == "0" { Duration::ZERO } else { cli::duration(text).map_err(E::custom)? };
                Ok(Pause((!pause.is_zero()).then_some(pause)))
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Pause, E> {
                let wrong = || E::invalid_value(serde::de::Unexpected::Signed(number), &self);
                if number == 0 { Ok(Pause(None)) } else { Err(wrong()) }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// Is this a name that a plugin can have? It becomes part of file names and log lines.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || name.starts_with(['-', '.']) || !name.chars().all(plain) {
        return Err(format!("{name:?} is no plugin's name: letters, digits, `-`, `_` and `.` make one"));
    }
    Ok(())
}

/// How many events a lane may hold.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "u64")]
pub(super) struct QueueLength(pub(super) usize);

impl TryFrom<u64> for QueueLength {
    type Error = String;

    fn try_from(length: u64) -> Result<Self, String> {
        const MOST: usize = 16_777_216;
        match usize::try_from(length) {
            Ok(length @ 1..=MOST) => Ok(QueueLength(length)),
            _ => Err(format!("{length} is no queue's length: 1 to {MOST} are possible")),
        }
    }
}

/// A free table, as JSON: that is how plugins get it.
#[derive(Debug, Clone, Default)]
pub(super) struct JsonTable(pub(super) serde_json::Map<String, serde_json::Value>);

impl<'de> Deserialize<'de> for JsonTable {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let table = toml::Table::deserialize(deserializer)?;
        object(table).map(JsonTable).map_err(D::Error::custom)
    }
}

fn object(table: toml::Table) -> Result<serde_json::Map<String, serde_json::Value>, String> {
    table
        .into_iter()
        .map(|(key, value)| match json(value) {
            Ok(value) => Ok((key, value)),
            Err(e) => Err(format!("{}: {e}", key.escape_debug())),
        })
        .collect()
}

/// Dates and times become strings, which is what they look like.
fn json(value: toml::Value) -> Result<serde_json::Value, String> {
    Ok(match value {
        toml::Value::String(text) => text.into(),
        toml::Value::Integer(number) => number.into(),
        toml::Value::Boolean(value) => value.into(),
        toml::Value::Datetime(time) => time.to_string().into(),
        toml::Value::Float(number) => match serde_json::Number::from_f64(number) {
            Some(number) => number.into(),
            None => return Err(format!("a plugin cannot be given the number {number}")),
        },
        toml::Value::Array(values) => values.into_iter().map(json).collect::<Result<Vec<_>, _>>()?.into(),
        toml::Value::Table(table) => object(table)?.into(),
    })
}

fn watches<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<Spanned<Watch>>, D::Error> {
    struct List;
    impl<'de> Visitor<'de> for List {
        type Value = Vec<Spanned<Watch>>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list: each watch begins with [[watch]]")
        }

        fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            let mut watches = Vec::new();
            while let Some(watch) = seq.next_element()? {
                watches.push(watch);
            }
            Ok(watches)
        }
    }
    deserializer.deserialize_any(List)
}
