//! The JSON form of a status, which the README describes. It may gain keys; `v` changes if one changes its meaning.

use std::os::unix::ffi::OsStrExt;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::config::Isolation;
use crate::plugin::Metrics;
use crate::roster;

/// The version of the form.
pub(super) const VERSION: u32 = 1;

/// The whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Status {
    pub(super) v: u32,
    /// The host's.
    pub(super) version: String,
    pub(super) pid: u32,
    pub(super) state: HostState,
    /// When it was started.
    pub(super) since: String,
    pub(super) up_ms: u64,
    pub(super) watches: Vec<Watch>,
    pub(super) plugins: Vec<Plugin>,
    pub(super) not_run: Vec<NotRun>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum HostState {
    Starting,
    Running,
    Stopping,
}

/// A path: text, or what is not UTF-8 in base64.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Path {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
}

/// A watched directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Watch {
    pub(super) name: String,
    #[serde(flatten)]
    pub(super) path: Path,
    pub(super) state: WatchState,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum WatchState {
    Starting,
    Ok,
    Polled,
    Missing,
}

/// An instance of a plugin.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Plugin {
    pub(super) name: String,
    pub(super) state: PluginState,
    /// Why it is in that state; empty if there is nothing to say.
    pub(super) reason: String,
    /// Its file and version, `null` of one that is on its way out.
    pub(super) file: Option<String>,
    pub(super) version: Option<String>,
    pub(super) isolation: Isolation,
    /// When the next event, or the next start of it, is tried.
    pub(super) next_try_ms: Option<u64>,
    pub(super) under_way: usize,
    pub(super) queue: usize,
    pub(super) handled: u64,
    pub(super) failed: u64,
    pub(super) rejected: u64,
    pub(super) given_up: u64,
    pub(super) gone: u64,
    /// Its own figures.
    #[serde(default)]
    pub(super) metrics: Metrics,
    pub(super) workers: Vec<Worker>,
}

/// In the order of how much there is to say: the first that holds is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum PluginState {
    /// It takes no more events, and goes when it is through.
    Draining,
    /// A call has not come back in its time.
    Stuck,
    /// Its lane pauses.
    Failing,
    /// It could not be made.
    Failed,
    /// It is made.
    Starting,
    /// Other code takes over.
    Changing,
    /// More events came than its queue holds.
    Behind,
    Running,
}

/// One of its workers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Worker {
    /// The process of its instance, if that has one of its own.
    pub(super) process: Option<u32>,
    pub(super) stage: WorkerStage,
    pub(super) stage_ms: u64,
    /// Known of inline plugins with a `timeout`, or where there is a state directory.
    pub(super) in_hand: Option<InHand>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum WorkerStage {
    Starts,
    Ready,
    Works,
    ChangesOver,
    Ends,
    Gone,
}

/// What it has in hand: a file, or, without a path, a flush.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct InHand {
    #[serde(flatten)]
    pub(super) path: Path,
    pub(super) since_ms: u64,
    /// Is it over its time?
    pub(super) late: bool,
}

/// A file that does not run, or not as it is now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct NotRun {
    pub(super) file: Option<String>,
    pub(super) state: NotRunState,
    pub(super) reason: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum NotRunState {
    Refused,
    Quarantined,
}

impl Path {
    pub(super) fn new(path: &std::path::Path) -> Path {
        match path.to_str() {
            Some(text) => Path { path: Some(text.to_owned()), path_base64: None },
            None => Path { path: None, path_base64: Some(STANDARD.encode(path.as_os_str().as_bytes())) },
        }
    }

    pub(super) fn none() -> Path {
        Path { path: None, path_base64: None }
    }

    /// For people.
    pub(super) fn shown(&self) -> String {
        let bytes = self.path_base64.as_ref().and_then(|text| STANDARD.decode(text).ok());
        let decoded = bytes.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
        self.path.clone().or(decoded).unwrap_or_default()
    }
}

impl NotRun {
    pub(super) fn new(not_run: &roster::NotRun) -> NotRun {
        NotRun {
            file: not_run.file.as_ref().map(|file| file.to_string_lossy().into_owned()),
            state: if not_run.is_quarantined { NotRunState::Quarantined } else { NotRunState::Refused },
            reason: super::state::shortened(&not_run.why),
        }
    }
}

pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
