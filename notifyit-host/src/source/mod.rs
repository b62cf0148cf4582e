//! Where events come from: one inotify instance, read by one thread, and the tree of watched directories.
//!
//! | file | holds |
//! |---|---|
//! | `inotify` | the loop: reads, gathers, decodes, keeps the tree true, hands each event to the [`Sink`] |
//! | `walk` | watching a directory and all beneath it, without being led elsewhere |
//! | `roots` | the watched directories that the user named: there, gone, awaited |
//! | `follow` | the tree kept true as directories come, move and go |
//! | `claim` | which node a directory is, once it has its watch |
//! | `doubt` | directories that were not where an event said they were |
//! | `unreached` | directories that a rescan has not found where the tree says that they are |
//! | `mounts` | roots that are other directories than they were |
//! | `wait` | what the loop waits for |
//! | `gather` | when to wait for more before a read |
//! | `fence` | telling that everything up to now has been read |
//! | `answer` | what other threads ask of the loop |
//! | `bell` | directories that others want to hear of |
//! | `closes` | files whose writer somebody waits for |
//! | `refused` | directories that refused their watch |
//! | `filesystem` | what a root is on, and so on which terms its files are judged |
//! | `rescan` | looks at what is there, whatever the kernel told |
//! | `tally` | what a rescan says |
//! | `prune` | what the ledger knows and is gone |
//! | `orders` | the rescan's orders, from any thread to its own |
//! | `timers` | what is looked at again and again |
//! | `poll` | a rescan that keeps the tree true by itself, where inotify sees nothing |
//! | `tree` | nodes, names, watch descriptors |
//! | `burial` | directories that are taken out of the tree, and may be back |
//! | `renames` | where files went while work on them was under way |

pub mod inotify;
mod walk;
mod roots;
mod mounts;
mod wait;
mod answer;
mod bell;
mod follow;
mod claim;
mod doubt;
mod unreached;
mod refused;
pub mod filesystem;
mod gather;
pub mod rescan;
mod tally;
pub mod prune;
mod orders;
mod timers;
mod poll;
pub mod fence;
pub mod closes;
pub mod tree;
mod burial;
mod paths;
pub mod shared;
pub mod renames;

pub use roots::Standing;

use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crate::event::{Happened, WatchId};
use crate::patterns::Patterns;

/// A directory to watch.
#[derive(Debug)]
pub struct Root {
    /// The watch's name.
    pub name: String,
    /// Absolute.
    pub path: PathBuf,
    /// Also everything beneath it?
    pub recursive: bool,
    /// Also what is mounted beneath it?
    pub cross_mounts: bool,
    /// Which directories beneath it are not to be watched.
    pub patterns: Patterns,
    /// Is it no error if it is not there at the start?
    pub may_be_missing: MayBeMissing,
    /// How is it known what lands there?
    pub backend: Backend,
    /// If by polling: how long after the end of one poll the next begins.
    pub poll_every: Duration,
    /// Where no lease is to be had: so long unchanged is complete. `None`: what is usual there.
    pub stable_for: Option<Duration>,
}

/// How it is known what lands beneath a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    /// By inotify, where it sees everything; else by polling.
    Auto,
    /// By inotify, even where it does not see everything.
    Inotify,
    /// By polling.
    Poll,
}

/// Whether a root that is not there at the start is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MayBeMissing {
    /// It is waited for.
    Yes,
    /// It is an error.
    No,
}

/// Where events go. Everything is called on the source's thread and must not wait.
pub trait Sink: Send {
    /// Other plugins run than before: those that have come get what happens from now on.
    fn lineup_changed(&mut self);

    /// What to ask of the kernel for a watch, beside what the source needs itself.
    fn interest(&self, watch: WatchId) -> ::inotify::WatchMask;

    /// One event.
    fn event(&mut self, happened: &Happened<'_>);

    /// No more events for now, or enough of them: hand them on.
    fn end_of_burst(&mut self);

    /// A file was renamed within the tree, from one directory (by serial number) and name to another.
    fn renamed(&mut self, from: (u64, &OsStr), to: (u64, &OsStr));

    /// The same, when whoever asks `renames` is told of it.
    fn rename_is_noted(&mut self, _from: (u64, &OsStr), _to: (u64, &OsStr)) {}

    /// The kernel has dropped events that came before this. What they were about is looked for later.
    fn lost(&mut self);

    /// Is any event under way? If none is, nothing names a directory that is gone.
    fn is_idle(&self) -> bool;
}
