//! The words that all stages share.

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use inotify::EventMask;
use notifyit_plugin_api::{Kind, Origin};

/// A directory of the watched tree: its place in the tree's memory, and how often that has been used before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(pub u32, pub u32);

/// A watch (a root and its options), by its place in the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WatchId(pub u16);

/// A lane (a plugin's queue and workers), by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct LaneId(pub usize);

/// Counts what the source has read from the kernel: tells what came before what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Sequence(pub u64);

/// One event on its way to a plugin. It names the directory by its node, not by a path: the path is made at each
/// attempt, so that a renamed directory takes its events along.
#[derive(Debug, Clone)]
pub struct FileEvent {
    /// Where it stands in the order of what the kernel told.
    pub sequence: Sequence,
    /// The directory that holds the file.
    pub node: NodeId,
    /// The file's name in it.
    pub name: Arc<OsStr>,
    /// What happened, in the plugin's terms.
    pub kind: Kind,
    /// How sure that is.
    pub certainty: Certainty,
    /// Why it is delivered.
    pub origin: Origin,
    /// Is the file a directory?
    pub directory: bool,
    /// When it was read from the kernel: nanoseconds since 1970.
    pub seen_nanos: u64,
    /// The path relative to the root that the file had before.
    pub renamed_from: Option<Arc<Path>>,
}

/// How sure it is that an event is what it says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Certainty {
    /// The kernel told.
    Told,
    /// A file that has appeared may be complete; the worker finds out.
    Supposed,
}

impl FileEvent {
    /// Does it say that a file is complete? Only such events are about a *version*: a newer one stands for the older.
    pub fn is_landing(&self) -> bool {
        matches!(self.kind, Kind::Landed | Kind::CloseWrite | Kind::Emitted)
    }

    /// Is it the rescan that has come across its file?
    pub fn is_found(&self) -> bool {
        self.origin != Origin::Live
    }
}

/// How an event ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The plugin has handled it.
    Delivered,
    /// The plugin said that it can never work.
    Rejected(String),
    /// It failed too often or for too long.
    Exhausted {
        /// The last error.
        message: String,
        /// How many attempts were made.
        attempts: u32,
    },
    /// The file was not there any more, and had not been renamed within the tree.
    Gone,
}

/// What the kernel told about something in a watched directory, before anyone has asked who wants it.
#[derive(Debug)]
pub struct Happened<'a> {
    /// Where it stands in the order of what the kernel told.
    pub sequence: Sequence,
    /// The directory.
    pub node: NodeId,
    /// The directory's watch.
    pub watch: WatchId,
    /// The name in it.
    pub name: &'a OsStr,
    /// inotify's own word for it.
    pub what: EventMask,
    /// Is it about a directory?
    pub directory: bool,
    /// When it was read: nanoseconds since 1970.
    pub seen_nanos: u64,
    /// For a rename within the tree: where it was before.
    pub renamed_from: Option<&'a RenamedFrom>,
}

/// Where something was before it was renamed.
#[derive(Debug)]
pub struct RenamedFrom {
    /// Its watch.
    pub watch: WatchId,
    /// Its directory, and its name there.
    pub place: (NodeId, Arc<OsStr>),
    /// Its path relative to that watch's root.
    pub relative: Arc<Path>,
    /// Did that watch's own patterns want it?
    pub was_wanted: bool,
}
