//! What stands in [`CallResult::notes`](super::CallResult::notes).

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::{Deserialize, Serialize};

use crate::bail;
use crate::deferred::Deferred;
use crate::error::Unavailable;
use crate::services::Host;
use crate::verdict::Verdict;

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

/// What the plugin says of an event beside what its call returns.
#[derive(Debug, Default)]
pub struct Said {
    /// Who hears of a verdict that comes later.
    host: Option<Host>,
    /// How many events the plugin may have in hand.
    in_flight: u16,
    words: Mutex<Words>,
}

#[derive(Debug, Default)]
struct Words {
    notes: Notes,
    verdict: Option<Word>,
}

/// What it says of the verdict.
#[derive(Debug)]
pub(crate) enum Word {
    /// This is it.
    Settled(Verdict),
    /// It comes later.
    Deferred,
}

impl Said {
    pub(crate) fn new(host: Host, in_flight: u16) -> Said {
        Said { host: Some(host), in_flight, words: Mutex::default() }
    }

    pub(crate) fn rewrote(&self, left: Left) {
        self.lock().notes.rewrote = Some(left);
    }

    pub(crate) fn settle(&self, verdict: Verdict) {
        self.lock().verdict = Some(Word::Settled(verdict));
    }

    /// The verdict comes later, under this ticket.
    pub(crate) fn defer(&self, ticket: u64) -> crate::Result<Deferred> {
        if self.in_flight <= 1 {
            bail!("the plugin's IN_FLIGHT is 1: no verdict can be deferred");
        }
        let Some(host) = self.host.filter(|_| ticket != 0) else {
            bail!(Unavailable::new(
                "the host is older than 1.2 of notifyit-plugin-api and takes no deferred verdict: update notifyit"
            ));
        };
        self.lock().verdict = Some(Word::Deferred);
        Ok(Deferred::new(host, ticket))
    }

    pub(crate) fn into_words(self) -> (Notes, Option<Word>) {
        let words = self.words.into_inner().unwrap_or_else(PoisonError::into_inner);
        (words.notes, words.verdict)
    }

    fn lock(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
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
