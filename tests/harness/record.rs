//! What the fixture plugin `recorder` wrote down.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

/// One call of a recorder.
#[derive(Debug, Clone)]
pub struct Record {
    /// What it answered, or which call it was: `done`, `retry`, `reject`, `new`, `flush`, `flush failed`, `shutdown`.
    pub say: String,
    /// The content of the file if it was opened, or the error.
    pub text: String,
    /// When it answered, since 1970.
    pub at: Duration,
    /// The number of the instance.
    pub instance: u64,
    /// Which build of the library it was.
    pub build: String,
    /// The worker's thread.
    pub thread: String,
    /// The path relative to the root, if it was an event.
    pub relative: Option<PathBuf>,
    /// Which attempt, 0 if it was no event.
    pub attempt: u64,
    /// The event's JSON form.
    pub event: Value,
}

/// The records in a file, none if it is not there.
pub(crate) fn read(file: &Path) -> Vec<Record> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // The last line may be half written, and so may the last of a host that was killed: that is no record.
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    whole.lines().filter_map(|line| serde_json::from_str(line).ok()).map(to_record).collect()
}

fn to_record(value: Value) -> Record {
    let text = |key: &str| value[key].as_str().unwrap_or_default().to_owned();
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    Record {
        say: text("say"),
        text: text("text"),
        at: Duration::from_nanos(number(&value["at_nanos"])),
        instance: number(&value["instance"]),
        build: text("build").trim_end_matches('_').to_owned(),
        thread: text("thread"),
        relative: bytes_of(&value["event"], "relative").map(|bytes| PathBuf::from(OsString::from_vec(bytes))),
        attempt: number(&value["event"]["attempt"]),
        event: value["event"].clone(),
    }
}

/// The bytes of a path in an event's JSON form, which are under `KEY` or under `KEY_base64`.
pub fn bytes_of(event: &Value, key: &str) -> Option<Vec<u8>> {
    if let Some(text) = event[key].as_str() {
        return Some(text.as_bytes().to_vec());
    }
    let encoded = event[format!("{key}_base64")].as_str()?;
    Some(STANDARD.decode(encoded).unwrap_or_else(|e| panic!("{e} in {encoded}")))
}
