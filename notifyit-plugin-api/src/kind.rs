//! The kinds of events, and why an event is delivered.

use std::fmt;
use std::str::FromStr;

/// What happened to a file. inotify's names, [`Kind::Landed`] and [`Kind::Emitted`].
///
/// Text form: kebab case (`close-write`); inotify's own spellings (`close_write`, `IN_CLOSE_WRITE`) are read too. A plain value:
/// it outlives its event, on any thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// A complete file is there: closed after writing, renamed or moved in, or hard-linked in.
    Landed,
    /// Closed by someone who had it open for writing.
    CloseWrite,
    /// Closed by someone who had it open for reading only.
    CloseNowrite,
    /// Created: a file (usually still empty), a directory, a link, …
    Create,
    /// Removed.
    Delete,
    /// Written to or truncated.
    Modify,
    /// Permissions, owner, times or link count changed.
    Attrib,
    /// Opened.
    Open,
    /// Read.
    Access,
    /// Renamed away: the path is the old one.
    MovedFrom,
    /// Renamed to here: the path is the new one.
    MovedTo,
    /// A kind that this version of the API does not know, by its code.
    Other(u32),
    // What comes later stands here: those above keep their order among values.
    /// Handed on by another plugin, with [`Event::emit`](crate::Event::emit). Since 1.2.
    Emitted,
}

const NAMES: [(Kind, u32, &str); 12] = [
    (Kind::Landed, 1, "landed"),
    (Kind::CloseWrite, 2, "close-write"),
    (Kind::CloseNowrite, 3, "close-nowrite"),
    (Kind::Create, 4, "create"),
    (Kind::Delete, 5, "delete"),
    (Kind::Modify, 6, "modify"),
    (Kind::Attrib, 7, "attrib"),
    (Kind::Open, 8, "open"),
    (Kind::Access, 9, "access"),
    (Kind::MovedFrom, 10, "moved-from"),
    (Kind::MovedTo, 11, "moved-to"),
    (Kind::Emitted, 12, "emitted"),
];

impl Kind {
    /// Every kind that has a name.
    pub fn all() -> impl Iterator<Item = Kind> {
        NAMES.iter().map(|(kind, ..)| *kind)
    }

    /// Its number on the wire, the same for ever.
    pub fn code(self) -> u32 {
        match self {
            Kind::Other(code) => code,
            kind => NAMES.iter().find(|(k, ..)| *k == kind).map_or(0, |(_, code, _)| *code),
        }
    }

    /// The kind with this number; [`Kind::Other`] if it has no name here.
    pub fn from_code(code: u32) -> Kind {
        NAMES.iter().find(|(_, c, _)| *c == code).map_or(Kind::Other(code), |(kind, ..)| *kind)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match NAMES.iter().find(|(kind, ..)| kind == self) {
            Some((.., name)) => f.pad(name),
            None => write!(f, "kind-{}", self.code()),
        }
    }
}

/// A text that names no kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnknownKind(String);

impl fmt::Display for UnknownKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<&str> = NAMES.iter().map(|(.., name)| *name).collect();
        write!(f, "unknown kind of event `{}`; known are {}", self.0.escape_debug(), names.join(", "))
    }
}

impl std::error::Error for UnknownKind {}

impl FromStr for Kind {
    type Err = UnknownKind;

    fn from_str(text: &str) -> Result<Self, UnknownKind> {
        let plain = text.to_ascii_lowercase().replace('_', "-");
        let plain = plain.strip_prefix("in-").unwrap_or(&plain);
        NAMES
            .iter()
            .find(|(.., name)| *name == plain)
            .map(|(kind, ..)| *kind)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}

/// Why an event is delivered. A plain value, as [`Kind`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Origin {
    /// The kernel said so just now.
    Live,
    /// Found in a directory that had just been created.
    NewDirectory,
    /// Found by a rescan.
    Rescan,
    /// Found when the host started.
    Start,
    /// A person asked for it again.
    Replay,
    /// An origin that this version of the API does not know, by its code.
    Other(u32),
}

const ORIGINS: [(Origin, u32, &str); 5] = [
    (Origin::Live, 1, "live"),
    (Origin::NewDirectory, 2, "new-directory"),
    (Origin::Rescan, 3, "rescan"),
    (Origin::Start, 4, "start"),
    (Origin::Replay, 5, "replay"),
];

impl Origin {
    /// Its number on the wire, the same for ever.
    pub fn code(self) -> u32 {
        match self {
            Origin::Other(code) => code,
            origin => ORIGINS.iter().find(|(o, ..)| *o == origin).map_or(0, |(_, code, _)| *code),
        }
    }

    /// The origin with this number; [`Origin::Other`] if it has no name here.
    pub fn from_code(code: u32) -> Origin {
        ORIGINS.iter().find(|(_, c, _)| *c == code).map_or(Origin::Other(code), |(origin, ..)| *origin)
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match ORIGINS.iter().find(|(origin, ..)| origin == self) {
            Some((.., name)) => f.pad(name),
            None => write!(f, "origin-{}", self.code()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_from_its_code_and_its_name() {
        for kind in Kind::all() {
            assert_eq!(Kind::from_code(kind.code()), kind);
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert_eq!(Kind::from_code(99).code(), 99);
    }

    #[test]
    fn inotify_spellings_are_read() {
        for text in ["close-write", "close_write", "IN_CLOSE_WRITE", "in_close_write"] {
            assert_eq!(text.parse(), Ok(Kind::CloseWrite));
        }
        let error = "closed".parse::<Kind>().unwrap_err().to_string();
        assert!(
            error.starts_with("unknown kind of event `closed`; known are landed, close-write"),
            "{error}"
        );
    }
}
