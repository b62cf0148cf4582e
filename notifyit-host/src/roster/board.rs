//! What is shown to who asks: where each instance stood when the keeper last did something, and how the lanes stand now.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Instant;

use super::keeper::Keeper;
use super::standing::State;
use crate::config::Isolation;
use crate::deliver::{LaneView, Lanes};
use crate::plugin::set::{Member, Problem};

/// See the module. Empty until the files of plugins have been looked at.
#[derive(Debug, Default)]
pub struct Board {
    posted: Mutex<Posted>,
    lanes: OnceLock<Arc<Lanes>>,
}

/// What the keeper has put up.
#[derive(Debug, Clone, Default)]
pub struct Posted {
    /// What is to run.
    pub instances: Vec<Posting>,
    /// Files that do not run, or not as they are now.
    pub not_run: Vec<NotRun>,
}

/// Where an instance stands.
#[derive(Debug, Clone)]
pub struct Posting {
    /// Its name.
    pub name: String,
    /// The file of its library.
    pub file: PathBuf,
    /// The version that it says of itself, of what lies there.
    pub version: String,
    /// Where it is called.
    pub isolation: Isolation,
    /// Does its lane take events?
    pub runs: bool,
    /// Its workers change over to other code: from what to what.
    pub changing: Option<(String, String)>,
    /// Since when instances of other code are made.
    pub making: Option<Instant>,
    /// Why that has failed, and when it is tried again. `None`: when there is other code.
    pub failed: Option<(String, Option<Instant>)>,
}

/// A file that does not run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NotRun {
    /// The file, if it is known.
    pub file: Option<PathBuf>,
    /// Did it crash, hang or end the process when it was tried?
    pub is_quarantined: bool,
    /// Why, in one line.
    pub why: String,
}

impl Board {
    /// As it was last put up.
    pub fn posted(&self) -> Posted {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How each lane stands now.
    pub fn lanes(&self, now: Instant) -> Vec<LaneView> {
        self.lanes.get().map(|lanes| lanes.views(now)).unwrap_or_default()
    }

    pub(super) fn shows(&self, lanes: &Arc<Lanes>) {
        let _ = self.lanes.set(Arc::clone(lanes));
    }
}

impl Keeper {
    /// Puts up where everything stands.
    pub(super) fn post(&self) {
        let instances = self.last_look.members.iter().filter_map(|member| self.posting(member)).collect();
        let problems = self.last_look.problems.iter().filter(|problem| !problem.is_no_plugin);
        let posted = Posted { instances, not_run: problems.map(not_run).collect() };
        *self.board.posted.lock().unwrap_or_else(PoisonError::into_inner) = posted;
    }

    fn posting(&self, member: &Member) -> Option<Posting> {
        let standing = self.standings.get(&member.settings.name)?;
        let changing = match &standing.state {
            State::Changing { from, to, .. } => Some((from.to_string(), to.to_string())),
            State::Running(_) | State::Absent => None,
        };
        Some(Posting {
            name: member.settings.name.clone(),
            file: member.library.file.to_path_buf(),
            version: member.library.info.version.clone(),
            isolation: member.settings.isolation,
            runs: standing.code().is_some(),
            changing,
            making: standing.making.map(|making| making.since),
            failed: standing.failure().map(|(why, again)| (why.to_owned(), again)),
        })
    }
}

fn not_run(problem: &Problem) -> NotRun {
    NotRun {
        file: problem.file.clone(),
        is_quarantined: problem.is_quarantined,
        why: format!("{:#}", problem.error),
    }
}
