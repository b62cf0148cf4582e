//! Where a host finds out how it is. It is there before anything else is: a start that hangs can be asked, too.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Instant, SystemTime};

use super::state;
use super::status::{HostState, NotRun, Path, Plugin, Status, VERSION, Watch, WatchState, millis};
use crate::config::Settings;
use crate::roster::Board;
use crate::source::Standing;
use crate::source::fence::SourceHandle;

/// See the module.
#[derive(Debug)]
pub struct Facts {
    began: (SystemTime, Instant),
    phase: AtomicU8,
    /// The watches' names and paths.
    watches: Vec<(String, PathBuf)>,
    board: Arc<Board>,
    source: OnceLock<SourceHandle>,
}

/// How far a host has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It is not ready yet.
    Starting,
    /// It is.
    Running,
    /// It has been told to stop.
    Stopping,
}

impl Facts {
    /// A host that begins now.
    pub fn new(settings: &Settings) -> Facts {
        let watches = settings.watches.iter().map(|watch| (watch.name.clone(), watch.path.clone())).collect();
        Facts {
            began: (SystemTime::now(), Instant::now()),
            phase: AtomicU8::new(Phase::Starting as u8),
            watches,
            board: Arc::default(),
            source: OnceLock::new(),
        }
    }

    /// What the roster shows.
    pub fn board(&self) -> &Arc<Board> {
        &self.board
    }

    /// The source that there is to be.
    pub fn has_source(&self, source: &SourceHandle) {
        let _ = self.source.set(source.clone());
    }

    /// The host has come so far.
    pub fn is_in(&self, phase: Phase) {
        self.phase.store(phase as u8, Ordering::Release);
    }

    fn state(&self) -> HostState {
        match self.phase.load(Ordering::Acquire) {
            phase if phase == Phase::Starting as u8 => HostState::Starting,
            phase if phase == Phase::Running as u8 => HostState::Running,
            _ => HostState::Stopping,
        }
    }

    pub(super) fn status(&self, now: Instant) -> Status {
        let posted = self.board.posted();
        Status {
            v: VERSION,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            state: self.state(),
            since: humantime::format_rfc3339_seconds(self.began.0).to_string(),
            up_ms: millis(now.saturating_duration_since(self.began.1)),
            watches: self.watches(),
            plugins: self.plugins(&posted.instances, now),
            not_run: posted.not_run.iter().map(NotRun::new).collect(),
        }
    }

    fn watches(&self) -> Vec<Watch> {
        let standings = self.source.get().map(SourceHandle::roots).unwrap_or_default();
        let watch = |(index, (name, path)): (usize, &(String, PathBuf))| Watch {
            name: name.clone(),
            path: Path::new(path),
            state: match standings.get(index) {
                None => WatchState::Starting,
                Some(Standing::Watched) => WatchState::Ok,
                Some(Standing::Polled) => WatchState::Polled,
                Some(Standing::Missing) => WatchState::Missing,
            },
        };
        self.watches.iter().enumerate().map(watch).collect()
    }

    /// Each that is to run with its lane, then the lanes that are on their way out.
    fn plugins(&self, postings: &[crate::roster::Posting], now: Instant) -> Vec<Plugin> {
        let mut lanes = self.board.lanes(now);
        let mut plugins = Vec::new();
        for posting in postings {
            let at_work = |lane: &crate::deliver::LaneView| lane.name == posting.name && posting.runs;
            let place = lanes.iter().position(|lane| at_work(lane) && !lane.is_leaving);
            // When the host stops, all of them leave.
            let place = place.or_else(|| lanes.iter().position(at_work));
            let lane = place.map(|place| lanes.remove(place));
            plugins.push(state::plugin(Some(posting), lane.as_ref(), now));
        }
        let has_gone = |lane: &crate::deliver::LaneView| {
            lane.workers.iter().all(|worker| worker.stage == crate::deliver::Stage::Gone)
        };
        let leaving = lanes.iter().filter(|lane| lane.is_leaving && !has_gone(lane));
        plugins.extend(leaving.map(|lane| state::plugin(None, Some(lane), now)));
        plugins
    }
}
