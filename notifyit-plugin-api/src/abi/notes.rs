//! What stands in [`CallResult::notes`](super::CallResult::notes), and in [`EventRaw::extra`](super::EventRaw::extra).

use std::ffi::OsString;
use std::fs::{self, Metadata};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::anyhow::Context;
use crate::bail;
use crate::deferred::Deferred;
use crate::error::Unavailable;
use crate::services::Host;
use crate::verdict::Verdict;

/// The notes of a call, as JSON; nothing at all if there is nothing to say. Grows by keys, and a key that the reader
/// does not know is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// The event's file as the plugin has left it: [`Event::rewrote`](crate::Event::rewrote).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrote: Option<Left>,
    /// The event's own file is handed on: [`Event::emit`](crate::Event::emit). Since 1.2.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub emits: bool,
    /// Other files that are: [`Event::emit_file`](crate::Event::emit_file). Since 1.2.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub emitted: Vec<Emitted>,
}

/// A file that the plugin hands on to others, beside the event's own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emitted {
    /// Its absolute path, in base64.
    path: String,
    /// What it was like then.
    pub left: Left,
}

/// The most that a call's notes may take for the files that it hands on, in bytes.
const MOST_EMITTED: usize = 128 * 1024;

impl Emitted {
    /// This file, as it is now.
    fn of(path: &Path) -> crate::Result<Emitted> {
        let failed = || format!("failed to emit {path:?}");
        if !path.is_absolute() {
            bail!("{}: the path is not absolute", failed());
        }
        let metadata = fs::symlink_metadata(path).with_context(failed)?;
        if !metadata.is_file() {
            bail!("{}: it is no regular file", failed());
        }
        Ok(Emitted { path: STANDARD.encode(path.as_os_str().as_bytes()), left: Left::of(&metadata) })
    }

    /// Its absolute path, if that is one.
    pub fn path(&self) -> Option<PathBuf> {
        let bytes = STANDARD.decode(&self.path).ok().filter(|bytes| !bytes.contains(&0))?;
        Some(PathBuf::from(OsString::from_vec(bytes))).filter(|path| path.is_absolute())
    }

    /// How much of the notes it takes, with its numbers.
    fn bytes(&self) -> usize {
        self.path.len() + 192
    }
}

/// What stands in [`EventRaw::extra`](super::EventRaw::extra), as JSON; nothing at all if there is nothing to say. Grows by
/// keys, and a key that the reader does not know is left alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Extra {
    /// Which plugin has handed the file on. Since 1.2.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub emitted_by: Option<String>,
}

impl Extra {
    /// As it crosses.
    pub fn to_json(&self) -> String {
        if *self == Extra::default() {
            String::new()
        } else {
            serde_json::to_string(self).unwrap_or_default()
        }
    }

    /// What has crossed. What cannot be read says nothing.
    pub fn from_json(bytes: &[u8]) -> Extra {
        if bytes.is_empty() { Extra::default() } else { serde_json::from_slice(bytes).unwrap_or_default() }
    }
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

/// Does the host hand on what is emitted with an event?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HandsOn {
    Yes,
    /// It is too old for that.
    No,
}

impl HandsOn {
    pub(crate) fn check(self) -> crate::Result<()> {
        if self == HandsOn::No {
            bail!(Unavailable::new(
                "the host is older than 1.2 of notifyit-plugin-api and hands no file on to other plugins: update notifyit"
            ));
        }
        Ok(())
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

    /// The event's own file is for others, too.
    pub(crate) fn emit(&self) {
        self.lock().notes.emits = true;
    }

    /// So is this one.
    pub(crate) fn emit_file(&self, path: &Path) -> crate::Result<()> {
        self.lock().notes.emit_file(path)
    }

    pub(crate) fn settle(&self, verdict: Verdict) {
        self.lock().verdict = Some(Word::Settled(verdict));
    }

    /// The verdict comes later, under this ticket.
    pub(crate) fn defer(&self, ticket: u64, hands_on: HandsOn) -> crate::Result<Deferred> {
        if self.in_flight <= 1 {
            bail!("the plugin's IN_FLIGHT is 1: no verdict can be deferred");
        }
        let Some(host) = self.host.filter(|_| ticket != 0) else {
            bail!(Unavailable::new(
                "the host is older than 1.2 of notifyit-plugin-api and takes no deferred verdict: update notifyit"
            ));
        };
        self.lock().verdict = Some(Word::Deferred);
        Ok(Deferred::new(host, ticket, hands_on))
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
    pub(crate) fn emit_file(&mut self, path: &Path) -> crate::Result<()> {
        let emitted = Emitted::of(path)?;
        let before: usize = self.emitted.iter().map(Emitted::bytes).sum();
        if before + emitted.bytes() > MOST_EMITTED {
            bail!(
                "failed to emit {path:?}: {} files have been emitted with this event already",
                self.emitted.len()
            );
        }
        self.emitted.push(emitted);
        Ok(())
    }

    /// Adds what was said of the same event in its call, when that is the older word.
    pub fn with_earlier(mut self, earlier: Notes) -> Notes {
        self.rewrote = self.rewrote.or(earlier.rewrote);
        self.emits |= earlier.emits;
        self.emitted.splice(0..0, earlier.emitted);
        self
    }

    /// As they cross.
    pub(crate) fn to_json(&self) -> String {
        if *self == Notes::default() {
            return String::new();
        }
        serde_json::to_string(self).unwrap_or_default()
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
        let json = Notes { rewrote: Some(left), ..Notes::default() }.to_json();
        assert_eq!(Notes::from_json(&json).rewrote, Some(left));
        let grown = json.replacen('{', r#"{"later":[],"#, 1).replacen(r#"{"inode"#, r#"{"more":1,"inode"#, 1);
        assert_eq!(Notes::from_json(&grown).rewrote, Some(left));
        for other in ["", "{}", "no JSON", r#"{"rewrote":7}"#] {
            assert_eq!(Notes::from_json(other), Notes::default(), "{other}");
        }
    }

    #[test]
    fn what_is_emitted_crosses_whatever_its_name_and_is_bounded() {
        let dir = std::env::temp_dir().join(format!("notifyit-notes-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let path = dir.join(OsString::from_vec(b"\xff \n".to_vec()));
        fs::write(&path, "content").unwrap();
        let mut notes = Notes { emits: true, ..Notes::default() };
        let error = |notes: &mut Notes, path: &Path| format!("{:#}", notes.emit_file(path).unwrap_err());
        assert!(error(&mut notes, Path::new("relative")).ends_with("the path is not absolute"));
        assert!(error(&mut notes, &dir.join("gone")).contains("No such file"));
        assert!(error(&mut notes, &dir).ends_with("it is no regular file"));
        notes.emit_file(&path).unwrap();
        let crossed = Notes::from_json(&notes.to_json());
        assert_eq!(crossed, notes);
        assert_eq!((crossed.emitted[0].path(), crossed.emitted[0].left.size), (Some(path.clone()), 7));
        while notes.emit_file(&path).is_ok() {}
        assert!(error(&mut notes, &path).contains("files have been emitted with this event already"));
        assert!((400..1000).contains(&notes.emitted.len()), "{}", notes.emitted.len());
        assert!(notes.to_json().len() <= MOST_EMITTED + 100);
        fs::remove_dir_all(&dir).unwrap();
        for path in ["", "no base64!", "cmVsYXRpdmU="] {
            let lie = Emitted { path: path.to_owned(), left: notes.emitted[0].left };
            assert_eq!(lie.path(), None, "{path}");
        }
    }

    #[test]
    fn what_is_said_later_is_added_to_what_was_said_in_the_call() {
        let left = |inode| Left { inode, size: 1, mtime_seconds: 2, mtime_nanos: 3, ctime_nanos: 4 };
        let said = |inode, emits| Notes {
            rewrote: Some(left(inode)),
            emits,
            emitted: vec![Emitted { path: String::new(), left: left(inode) }],
        };
        let all = said(2, false).with_earlier(said(1, true));
        assert_eq!((all.rewrote, all.emits), (Some(left(2)), true));
        assert_eq!(all.emitted.iter().map(|emitted| emitted.left.inode).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn what_else_there_is_to_an_event_may_grow() {
        assert_eq!(Extra::default().to_json(), "");
        let extra = Extra { emitted_by: Some("scan".to_owned()) };
        assert_eq!(Extra::from_json(extra.to_json().as_bytes()), extra);
        assert_eq!(Extra::from_json(br#"{"later":1,"emitted_by":"scan"}"#), extra);
        for other in [&b""[..], b"{}", b"\xff"] {
            assert_eq!(Extra::from_json(other), Extra::default());
        }
    }
}
