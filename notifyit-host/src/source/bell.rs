//! Directories beside the tree that somebody else wants to hear of: the plugins lie in them. What happens there is not
//! told, only that something has.

use std::path::PathBuf;

use inotify::{WatchDescriptor, WatchMask};
use rustc_hash::FxHashMap;
use tracing::debug;

use super::Sink;
use super::fence::Bell;
use super::inotify::Source;

/// Whatever may make a file another one, or one that may be read.
const ANYTHING: WatchMask = WatchMask::CLOSE_WRITE
    .union(WatchMask::CREATE)
    .union(WatchMask::MOVE)
    .union(WatchMask::DELETE)
    .union(WatchMask::ATTRIB)
    .union(WatchMask::DELETE_SELF)
    .union(WatchMask::MOVE_SELF);

/// Who listens, and to what.
#[derive(Debug, Default)]
pub(super) struct Bells {
    bell: Option<Bell>,
    directories: FxHashMap<i32, WatchDescriptor>,
    /// Something has happened since the bell was last rung.
    is_due: bool,
}

impl Bells {
    /// The kernel has told something of what has this descriptor.
    pub(super) fn heard(&mut self, wd: i32) {
        self.is_due |= self.directories.contains_key(&wd);
    }

    /// The kernel tells nothing of it any more.
    pub(super) fn ended(&mut self, wd: i32) {
        self.is_due |= self.directories.remove(&wd).is_some();
    }

    /// The kernel may have told something.
    pub(super) fn missed(&mut self) {
        self.is_due = true;
    }

    /// At the end of each read.
    pub(super) fn ring(&mut self) {
        if std::mem::take(&mut self.is_due)
            && let Some(Bell(bell)) = &self.bell
        {
            bell();
        }
    }
}

impl<S: Sink> Source<S> {
    pub(super) fn listen(&mut self, directories: &[PathBuf], bell: Bell) {
        self.bells.bell = Some(bell);
        let before = std::mem::take(&mut self.bells.directories);
        for directory in directories {
            // A directory of the tree keeps what is asked for it.
            let mask = WatchMask::ONLYDIR | WatchMask::MASK_ADD | ANYTHING;
            match self.inotify.watches().add(directory, mask) {
                Ok(wd) => {
                    // What has happened there before that is found by looking once more.
                    self.bells.is_due |= !before.contains_key(&wd.get_watch_descriptor_id());
                    self.bells.directories.insert(wd.get_watch_descriptor_id(), wd);
                }
                Err(error) => {
                    debug!("failed to listen to {directory:?}: {error}; it is looked at now and then")
                }
            }
        }
        for (id, wd) in before {
            if !self.bells.directories.contains_key(&id) && self.tree.read().first(id).is_none() {
                // It may have gone by itself.
                let _ = self.inotify.watches().remove(wd);
            }
        }
        self.bells.ring();
    }
}
