//! What stands in [`CallResult::notes`](super::CallResult::notes).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

/// The notes of a call, as JSON; nothing at all if there is nothing to say. Grows by keys, and a key that the reader
/// does not know is left alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// The event's file as the plugin has left it: [`Event::rewrote`](crate::Event::rewrote).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrote: Option<Left>,
}

/// What a file was like when the plugin said that it is its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Left {
    /// `st_ino`.
    pub inode: u64,
    /// `st_size` in bytes.
    pub size: u64,
    /// Seconds of `st_mtim`.
    pub mtime_seconds: i64,
    /// Nanoseconds of `st_mtim`.
    pub mtime_nanos: u32,
    /// `st_ctim`: nanoseconds since 1970.
    pub ctime_nanos: u64,
}

impl Left {
    /// The file that looks like this.
    pub fn of(metadata: &Metadata) -> Left {
        let seconds = u64::try_from(metadata.ctime()).unwrap_or(0);
        let nanos = |nanos: i64| u32::try_from(nanos).unwrap_or(0);
        Left {
            inode: metadata.ino(),
            size: metadata.size(),
            mtime_seconds: metadata.mtime(),
            mtime_nanos: nanos(metadata.mtime_nsec()),
            ctime_nanos: seconds.saturating_mul(1_000_000_000) + u64::from(nanos(metadata.ctime_nsec())),
        }
    }
}

/// What the plugin says during a call beside its verdict.
#[derive(Debug, Default)]
pub struct Said(Mutex<Notes>);

impl Said {
    pub(crate) fn rewrote(&self, left: Left) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).rewrote = Some(left);
    }

    pub(crate) fn into_notes(self) -> Notes {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// As they cross.
    pub(crate) fn to_json(self) -> String {
        if self == Notes::default() {
            return String::new();
        }
        serde_json::to_string(&self).unwrap_or_default()
    }

    /// What has crossed. What cannot be read says nothing.
    pub fn from_json(text: &str) -> Notes {
        if text.is_empty() { Notes::default() } else { serde_json::from_str(text).unwrap_or_default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_cross_and_may_grow() {
        assert_eq!(Notes::default().to_json(), "");
        let left = Left { inode: u64::MAX, size: 1, mtime_seconds: -1, mtime_nanos: 2, ctime_nanos: 3 };
        let json = Notes { rewrote: Some(left) }.to_json();
        assert_eq!(Notes::from_json(&json).rewrote, Some(left));
        let grown = json.replacen('{', r#"{"later":[],"#, 1).replacen(r#"{"inode"#, r#"{"more":1,"inode"#, 1);
        assert_eq!(Notes::from_json(&grown).rewrote, Some(left));
        for other in ["", "{}", "no JSON", r#"{"rewrote":7}"#] {
            assert_eq!(Notes::from_json(other), Notes::default(), "{other}");
        }
    }
}
