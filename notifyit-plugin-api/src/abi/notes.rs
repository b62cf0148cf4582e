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
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Notes {
    /// The event's file as the plugin has left it: [`Event::rewrote`](crate::Event::rewrote).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rewrote: Option<Left>,
}

/// What a call hands on to other plugins: more keys of the same object. Since 1.2.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Emission {
    /// The event's own file: [`Event::emit`](crate::Event::emit).
    #[serde(rename = "emits", skip_serializing_if = "std::ops::Not::not")]
    pub own: bool,
    /// Other files: [`Event::emit_file`](crate::Event::emit_file).
    #[serde(rename = "emitted", skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Emitted>,
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
    emission: Emission,
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
        self.lock().emission.own = true;
    }

    /// So is this one.
    pub(crate) fn emit_file(&self, path: &Path) -> crate::Result<()> {
        self.lock().emission.add(path)
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

    /// The notes as they cross, and the verdict.
    pub(crate) fn into_words(self) -> (String, Option<Word>) {
        let words = self.words.into_inner().unwrap_or_else(PoisonError::into_inner);
        (to_json(words.notes, &words.emission), words.verdict)
    }

    fn lock(&self) -> MutexGuard<'_, Words> {
        self.words.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Notes {
    /// What has crossed. What cannot be read says nothing.
    pub fn from_json(text: &str) -> Notes {
        from_json(text)
    }
}

impl Emission {
    /// So far nothing was handed on.
    pub fn is_empty(&self) -> bool {
        !self.own && self.files.is_empty()
    }

    pub(crate) fn add(&mut self, path: &Path) -> crate::Result<()> {
        let file = Emitted::of(path)?;
        let before: usize = self.files.iter().map(Emitted::bytes).sum();
        if before + file.bytes() > MOST_EMITTED {
            bail!(
                "failed to emit {path:?}: {} files have been emitted with this event already",
                self.files.len()
            );
        }
        self.files.push(file);
        Ok(())
    }

    /// With what was said of the same event in its call.
    pub fn with_earlier(mut self, earlier: Emission) -> Emission {
        self.own |= earlier.own;
        self.files.splice(0..0, earlier.files);
        self
    }

    /// What has crossed. What cannot be read says nothing.
    pub fn from_json(text: &str) -> Emission {
        from_json(text)
    }
}

/// As they cross.
pub(crate) fn to_json(notes: Notes, emission: &Emission) -> String {
    #[derive(Serialize)]
    struct All<'a> {
        #[serde(flatten)]
        notes: Notes,
        #[serde(flatten)]
        emission: &'a Emission,
    }
    if notes == Notes::default() && emission.is_empty() {
        return String::new();
    }
    serde_json::to_string(&All { notes, emission }).unwrap_or_default()
}

fn from_json<'a, T: Default + Deserialize<'a>>(text: &'a str) -> T {
    if text.is_empty() { T::default() } else { serde_json::from_str(text).unwrap_or_default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_cross_and_may_grow() {
        assert_eq!(to_json(Notes::default(), &Emission::default()), "");
        let left = Left { inode: u64::MAX, size: 1, mtime_seconds: -1, mtime_nanos: 2, ctime_nanos: 3 };
        let json = to_json(Notes { rewrote: Some(left) }, &Emission::default());
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
        let mut emission = Emission { own: true, ..Emission::default() };
        let error = |emission: &mut Emission, path: &Path| format!("{:#}", emission.add(path).unwrap_err());
        assert!(error(&mut emission, Path::new("relative")).ends_with("the path is not absolute"));
        assert!(error(&mut emission, &dir.join("gone")).contains("No such file"));
        assert!(error(&mut emission, &dir).ends_with("it is no regular file"));
        emission.add(&path).unwrap();
        let crossed = Emission::from_json(&to_json(Notes::default(), &emission));
        assert_eq!(crossed, emission);
        assert_eq!((crossed.files[0].path(), crossed.files[0].left.size), (Some(path.clone()), 7));
        while emission.add(&path).is_ok() {}
        assert!(error(&mut emission, &path).contains("files have been emitted with this event already"));
        assert!((400..1000).contains(&emission.files.len()), "{}", emission.files.len());
        assert!(to_json(Notes::default(), &emission).len() <= MOST_EMITTED + 100);
        fs::remove_dir_all(&dir).unwrap();
        for path in ["", "no base64!", "cmVsYXRpdmU="] {
            let lie = Emitted { path: path.to_owned(), left: emission.files[0].left };
            assert_eq!(lie.path(), None, "{path}");
        }
    }

    #[test]
    fn what_is_said_later_is_added_to_what_was_said_in_the_call() {
        let left = |inode| Left { inode, size: 1, mtime_seconds: 2, mtime_nanos: 3, ctime_nanos: 4 };
        let said =
            |inode, own| Emission { own, files: vec![Emitted { path: String::new(), left: left(inode) }] };
        let all = said(2, false).with_earlier(said(1, true));
        assert!(all.own && !said(1, false).own);
        assert_eq!(all.files.iter().map(|file| file.left.inode).collect::<Vec<_>>(), [1, 2]);
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
