//! The plugin files as they were when they were last looked at: a file is loaded when its content is new, and not while
//! somebody writes to it.
//!
//! What its content gave counts until there is other content, and the last library that loaded counts for longer: if the
//! file is overwritten with something that is refused, or is away for a moment while it is replaced, the library stays.

use std::collections::HashMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::{Loader, PluginLibrary, Refused, Step};
use crate::sys::{self, Lease};

/// So long a file may be away and still be replaced by what comes: `rm` and `cp` are a replacement.
const REPLACED_WITHIN: Duration = Duration::from_millis(500);
/// Where the kernel cannot say whether anybody writes, a file is whole when it has not changed for so long.
const STABLE_FOR: Duration = Duration::from_secs(1);
/// Who has a file open for writing and has not changed it for so long may never close it; the check of what is there
/// tells half a file from a whole one.
const PATIENCE: Duration = Duration::from_secs(60);

/// All plugin files that were ever looked at and are there.
#[derive(Debug, Default)]
pub(super) struct Files(HashMap<PathBuf, Seen>);

/// What is known of one file.
#[derive(Debug)]
struct Seen {
    /// When it was first there: nanoseconds since 1970.
    since_nanos: u64,
    stamp: Option<Stamp>,
    /// Since when the stamp has been so.
    stable_since: Instant,
    /// What was there last has been read, and is `library`, or was `refused`.
    is_read: bool,
    /// When it was read, it had been changed lately.
    was_young: bool,
    library: Option<PluginLibrary>,
    refused: Option<Refused>,
    missing_since: Option<Instant>,
}

/// What a change of content, or of whom it is to be trusted to, changes.
type Stamp = (u64, u64, u64, (i64, i64), (i64, i64), (u32, u32, u32));

/// One file, looked at.
#[derive(Debug)]
pub(super) struct Looked {
    /// Since when it has been there: nanoseconds since 1970.
    pub(super) since_nanos: u64,
    /// The last library that it gave.
    pub(super) library: Option<PluginLibrary>,
    /// Why what is there now was not loaded.
    pub(super) refused: Option<Refused>,
    /// It is to be looked at again in a moment.
    pub(super) is_unsettled: bool,
}

impl Files {
    /// `None`: it is not there. What is new in it is loaded.
    pub(super) fn look_at(
        &mut self,
        file: &Path,
        (loader, is_isolated): (&Loader, &dyn Fn(&str) -> bool),
        now: Instant,
    ) -> Option<Looked> {
        let stamp = stamp_of(file);
        if matches!(&stamp, Ok(None)) && !self.0.contains_key(file) {
            return None;
        }
        let seen = self.0.entry(file.to_owned()).or_insert_with(|| Seen::new(now));
        let is_unsettled = match stamp {
            Ok(None) => {
                if now - *seen.missing_since.get_or_insert(now) >= REPLACED_WITHIN {
                    self.0.remove(file);
                    return None;
                }
                true
            }
            Ok(stamp) => seen.read(file, stamp, (loader, is_isolated), now),
            // What is wrong with it is the loader's to say.
            Err(_) => seen.read(file, None, (loader, is_isolated), now),
        };
        Some(Looked {
            since_nanos: seen.since_nanos,
            library: seen.library.clone(),
            refused: seen.refused.clone(),
            is_unsettled,
        })
    }

    /// Those that are known in a directory, whether it can be read or not.
    pub(super) fn known_in(&self, directory: &Path) -> impl Iterator<Item = &PathBuf> {
        self.0.keys().filter(move |file| file.parent() == Some(directory))
    }

    /// Is it known, and so missing for a moment at most?
    pub(super) fn knows(&self, file: &Path) -> bool {
        self.0.contains_key(file)
    }

    /// What is not among these is forgotten.
    pub(super) fn keep(&mut self, files: &[PathBuf]) {
        self.0.retain(|file, _| files.contains(file));
    }
}

impl Seen {
    fn new(now: Instant) -> Seen {
        Seen {
            since_nanos: sys::file_nanos(),
            stamp: None,
            stable_since: now,
            is_read: false,
            was_young: false,
            library: None,
            refused: None,
            missing_since: None,
        }
    }

    /// Reads what is there, if it is other than before and whole. Returns whether that is still to come.
    fn read(
        &mut self,
        file: &Path,
        stamp: Option<Stamp>,
        (loader, is_isolated): (&Loader, &dyn Fn(&str) -> bool),
        now: Instant,
    ) -> bool {
        self.missing_since = None;
        if self.stamp != stamp {
            (self.stamp, self.stable_since, self.is_read) = (stamp, now, false);
        }
        // Where times are coarse, another change may hide behind the same one: what was young is read once more.
        let is_young = is_young(&self.stamp);
        let is_known = self.is_read && (is_young || !self.was_young);
        if is_known && !self.may_be_taken_now() {
            return false;
        }
        if !self.is_read && self.is_being_written(file, now) {
            return true;
        }
        (self.is_read, self.was_young) = (true, is_young);
        let known = self.library.as_ref().map(|library| library.hash);
        if known.is_some() && loader.fingerprint(file).is_ok_and(|hash| Some(hash) == known) {
            self.refused = None;
            return false;
        }
        match loader.load(file, is_isolated) {
            Ok(library) => (self.library, self.refused) = (Some(library), None),
            // Somebody has begun to write to it in the meantime: what is wrong with it now says nothing.
            Err(_)
                if stamp_of(file).is_ok_and(|now| now != self.stamp) || self.is_being_written(file, now) =>
            {
                self.is_read = false;
                return true;
            }
            Err(refused) => self.refused = Some(refused),
        }
        false
    }

    /// Was it refused for what may have changed elsewhere: the directories above it, the room for its copy?
    fn may_be_taken_now(&self) -> bool {
        self.refused.as_ref().is_some_and(|refused| matches!(refused.step(), Step::Trust | Step::Stage))
    }

    fn is_being_written(&self, file: &Path, now: Instant) -> bool {
        let stable = now - self.stable_since;
        match fs::canonicalize(file).map(|real| sys::ask_for_lease(&real)) {
            Ok(Lease::Busy) => stable < PATIENCE,
            // Of a file that we have not seen change, it is not known either.
            Ok(Lease::Unavailable) => stable < STABLE_FOR && is_young(&self.stamp),
            Ok(Lease::Free) | Err(_) => false,
        }
    }
}

/// Has it been changed lately? A time in the future is not young.
fn is_young(stamp: &Option<Stamp>) -> bool {
    let Some((.., (seconds, _), _, _)) = stamp else { return false };
    let now = i64::try_from(sys::wall_nanos() / 1_000_000_000).unwrap_or(i64::MAX);
    (0..=i64::try_from(STABLE_FOR.as_secs()).unwrap_or(1)).contains(&(now - seconds))
}

/// `None`: it is not there.
fn stamp_of(file: &Path) -> io::Result<Option<Stamp>> {
    match fs::metadata(file) {
        Ok(stat) => Ok(Some((
            stat.dev(),
            stat.ino(),
            stat.size(),
            (stat.mtime(), stat.mtime_nsec()),
            (stat.ctime(), stat.ctime_nsec()),
            (stat.mode(), stat.uid(), stat.gid()),
        ))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            // A link to nothing is there; what is wrong with it is the loader's to say.
            if fs::symlink_metadata(file).is_ok() { Err(error) } else { Ok(None) }
        }
        Err(error) => Err(error),
    }
}
