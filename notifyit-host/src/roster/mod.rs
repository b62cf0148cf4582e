//! Which plugins run, kept true while the host runs: what is dropped into a plugin directory runs, what is replaced
//! changes over between two events, what is removed handles what it has and goes.
//!
//! | file | holds |
//! |---|---|
//! | `keeper` | the thread: looks at the files, compares, acts |
//! | `standing` | where each instance stands |
//! | `board` | what of that is shown to who asks |
//! | `report` | what the log says of it |
//! | `spec` | what a lane is made of, by the settings and the library |
//!
//! | what happens to a file | what is done |
//! |---|---|
//! | it comes, whole | checked, loaded, and its lane joins |
//! | other content | checked, loaded, its instances made; each worker changes over between two events |
//! | other content that asks for other events, or other workers | a lane of its own takes the place of the old one |
//! | other content that is refused, or gives no instance | the old one goes on; the log says why |
//! | the same content, touched or written again | nothing |
//! | somebody writes to it | nothing until it is closed |
//! | it goes, for more than a moment | its lane gets no more events, handles what it has for as long as `grace`, and goes |
//!
//! One thread does this, and never waits for a plugin: what is made anew is made on threads of its own.

mod board;
mod keeper;
mod spec;
mod report;
mod standing;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tracing::{error, warn};

use self::keeper::Keeper;
use self::report::when_again;
use self::standing::Making;
use crate::config::Settings;
use crate::deliver::{Heirs, Lanes, Outside, Prepared, enter_deaths};
use crate::plugin::set::{By, Look, Member, Problem, Set};
use crate::plugin::{Loader, Maker};

pub use board::{Board, NotRun, Posted, Posting};

/// So long the start waits for files that somebody is writing to.
const WRITTEN_WITHIN: Duration = Duration::from_secs(2);

/// The plugins of a host that starts.
#[derive(Debug)]
pub struct Roster {
    keeper: Keeper,
    inbox: Receiver<Message>,
}

/// The way to the keeper's thread.
#[derive(Debug)]
pub struct Running {
    messages: Sender<Message>,
    thread: JoinHandle<()>,
}

/// What the keeper hears of.
enum Message {
    /// Something may have changed in a directory of plugins.
    Look,
    /// New code has its instances, or could not be made.
    Made {
        name: String,
        making: Making,
        result: Result<Made>,
    },
    /// A change of code has come to its end.
    Changed,
    Stop,
}

/// New code, ready to be put to work.
enum Made {
    /// In a lane of its own.
    Lane(Prepared),
    /// For the lane that there is.
    Heirs(Heirs),
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Message")
    }
}

/// What is to run, by the files as they are. What is wrong with what was only found is said.
///
/// # Errors
///
/// See [`Look::at_start`].
pub fn first_look(set: &mut Set, settings: &Settings) -> Result<Look> {
    let patience = Instant::now() + WRITTEN_WITHIN;
    let mut look = set.look(settings);
    while look.is_unsettled && Instant::now() < patience {
        thread::sleep(Duration::from_millis(20));
        look = set.look(settings);
    }
    // Before what follows from them: that there is no plugin of some name.
    look.problems.iter().filter(|problem| problem.by == By::DropIn).for_each(Problem::say);
    let look = look.at_start(settings)?;
    say_nobody_emits(&look.members);
    if look.members.is_empty() {
        warn!("no plugin runs yet; one that is copied into {:?} runs at once", settings.plugin_dirs);
    }
    Ok(look)
}

/// Whoever is to hand something on may come later, or be misspelt.
fn say_nobody_emits(members: &[Member]) {
    let runs = |name: &String| members.iter().any(|member| member.settings.name == *name);
    for Member { settings, .. } in members {
        for by in settings.emitted_by.iter().flatten().filter(|by| !runs(by)) {
            let name = &settings.name;
            warn!("plugin `{name}` takes what plugin `{by}` hands on, and no plugin of that name runs");
        }
    }
}

/// The names of what would run, as far as can be told without a call of its `new`. What is wrong with what was only found
/// is said.
///
/// # Errors
///
/// What is wrong with what was asked for.
pub fn check(settings: &Settings, members: &[Member]) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for member in members {
        match spec::check(settings, member) {
            Ok(notices) => {
                let name = &member.settings.name;
                notices.iter().for_each(|notice| warn!("plugin `{name}`: {notice}"));
                spec::say_fewer(member);
                names.push(name.clone());
            }
            Err(error) if is_fatal(member.by) => return Err(error),
            Err(error) => error!("{error:#}; {}", when_again(None)),
        }
    }
    Ok(names)
}

impl Roster {
    /// Looks at the plugin files, loads what is to run, makes its instances, and admits their lanes. What last changed
    /// before `since` (nanoseconds since 1970) was there before them.
    ///
    /// # Errors
    ///
    /// What was asked for and does not run.
    pub fn start(
        settings: Settings,
        (loader, maker): (Loader, Maker),
        outside: impl FnOnce() -> Result<Outside>,
        since: u64,
        board: &Arc<Board>,
    ) -> Result<(Roster, Arc<Lanes>, Outside)> {
        let mut set = Set::new(loader);
        let look = first_look(&mut set, &settings)?;
        // Before the first `new`: what was only found is left out later.
        for member in look.members.iter().filter(|member| is_fatal(member.by)) {
            spec::check(&settings, member)?;
        }
        let outside = outside()?;
        enter_deaths(&outside, |name| spec::policy_of(name, &look.members, &settings))?;
        let lanes = Arc::new(Lanes::new(spec::terms(&settings), outside.clone()));
        board.shows(&lanes);
        let (messages, inbox) = channel();
        let parts = (Arc::clone(&lanes), &outside, Arc::clone(board));
        let mut keeper = Keeper::new(settings, set, maker, parts, messages);
        let admitted = keeper.begin(look, since);
        if let Err(error) = admitted {
            lanes.stop(Instant::now());
            return Err(error);
        }
        Ok((Roster { keeper, inbox }, lanes, outside))
    }

    /// Keeps it true, on a thread of its own.
    ///
    /// # Errors
    ///
    /// No thread to be had.
    pub fn spawn(self) -> Result<Running> {
        let Roster { mut keeper, inbox } = self;
        let messages = keeper.messages();
        let thread = thread::Builder::new()
            .name("roster".into())
            .spawn(move || keeper.run(&inbox))
            .context("failed to start a thread")?;
        Ok(Running { messages, thread })
    }
}

impl Running {
    /// No plugin comes or goes any more. A keeper that is held up (a file system does not answer) is left behind.
    pub fn stop(self) {
        let _ = self.messages.send(Message::Stop);
        let patience = Instant::now() + Duration::from_secs(1);
        while !self.thread.is_finished() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(1));
        }
        if self.thread.is_finished() && self.thread.join().is_err() {
            error!("the roster has panicked");
        }
    }
}

/// How an instance came in decides what it means at the start that it cannot be made.
fn is_fatal(by: By) -> bool {
    by == By::Request
}
