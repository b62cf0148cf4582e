//! The plugin of the model: it answers as it is told.

use std::cell::RefCell;
use std::collections::{HashSet, VecDeque};
use std::path::Path;
use std::{fs, io};

use crate::plugin::isolated::pretended::Fate;
use notifyit_plugin_api::{Deferred, Event, Host, Plugin, Reject, Unavailable, anyhow, bail};

#[derive(Debug, Clone, Copy)]
pub(super) enum Answer {
    Done,
    Retry,
    Reject,
    Unavailable,
    Panic,
    /// It says later what becomes of the event, if it may.
    Defer,
    /// To one in a process of its own something else happens than that it is called.
    Fate(Fate),
}

thread_local! {
    static PLUGIN: RefCell<Script> = RefCell::default();
}

/// What the plugin is to answer, and what it has.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// Then it goes on with `Done`.
    pub(super) events: VecDeque<Answer>,
    pub(super) flushes: VecDeque<Answer>,
    /// What is safe by the plugin's own word: flushed, or rejected.
    pub(super) safe: HashSet<u64>,
    /// What it is to say of which version yet.
    pub(super) deferred: Vec<(Deferred, u64)>,
    /// It ends with its process, which says nothing any more then.
    pub(super) is_isolated: bool,
}

pub(super) fn script<T>(f: impl FnOnce(&mut Script) -> T) -> T {
    PLUGIN.with(|script| f(&mut script.borrow_mut()))
}

/// What is to happen to the process now.
pub(super) fn fate() -> Fate {
    script(|script| match script.events.front() {
        Some(Answer::Fate(fate)) => {
            let fate = *fate;
            script.events.pop_front();
            fate
        }
        _ => Fate::LivesOn,
    })
}

/// The number of the version that is there.
pub(super) fn version_at(path: &Path) -> io::Result<u64> {
    Ok(fs::read_to_string(path)?.trim().parse().unwrap())
}

/// The plugin says of one of its events what becomes of it.
pub(super) fn complete(place: usize, answer: Answer) {
    let Some((deferred, version)) = script(|script| match script.deferred.len() {
        0 => None,
        count => Some(script.deferred.swap_remove(place % count)),
    }) else {
        return;
    };
    match answer {
        Answer::Done => {
            script(|script| script.safe.insert(version));
            deferred.complete(Ok(()));
        }
        Answer::Reject => {
            script(|script| script.safe.insert(version));
            deferred.complete(Err(Reject::new("told to reject").into()));
        }
        Answer::Unavailable => deferred.complete(Err(Unavailable::new("told to be unavailable").into())),
        Answer::Retry => deferred.complete(Err(anyhow!("told to fail"))),
        Answer::Panic | Answer::Defer | Answer::Fate(_) => drop(deferred),
    }
}

/// One that may have so many events in hand.
pub(super) struct Scripted<const IN_FLIGHT: u16> {
    /// Done, but not flushed.
    done: Vec<u64>,
}

impl<const IN_FLIGHT: u16> Drop for Scripted<IN_FLIGHT> {
    fn drop(&mut self) {
        let dead = script(
            |script| if script.is_isolated { std::mem::take(&mut script.deferred) } else { Vec::new() },
        );
        dead.into_iter().for_each(|(deferred, _)| std::mem::forget(deferred));
    }
}

impl<const IN_FLIGHT: u16> Plugin for Scripted<IN_FLIGHT> {
    type Config = ();

    const IN_FLIGHT: u16 = IN_FLIGHT;

    fn new(_: (), _: Host) -> notifyit_plugin_api::Result<Self> {
        Ok(Scripted { done: Vec::new() })
    }

    fn on_event(&mut self, event: &Event<'_>) -> notifyit_plugin_api::Result<()> {
        match script(|script| script.events.pop_front()).unwrap_or(Answer::Done) {
            Answer::Defer if IN_FLIGHT > 1 => {
                let version = version_at(event.path())?;
                let deferred = event.defer()?;
                script(|script| script.deferred.push((deferred, version)));
            }
            Answer::Done | Answer::Defer => self.done.push(version_at(event.path())?),
            Answer::Retry => bail!("told to fail"),
            Answer::Reject => {
                let version = version_at(event.path())?;
                script(|script| script.safe.insert(version));
                bail!(Reject::new("told to reject"));
            }
            Answer::Unavailable => bail!(Unavailable::new("told to be unavailable")),
            Answer::Panic => panic!("told to panic"),
            Answer::Fate(_) => bail!("this is no process"),
        }
        Ok(())
    }

    fn flush(&mut self) -> notifyit_plugin_api::Result<()> {
        let done = std::mem::take(&mut self.done);
        match script(|script| script.flushes.pop_front()).unwrap_or(Answer::Done) {
            Answer::Done => script(|script| script.safe.extend(done)),
            Answer::Panic => panic!("told to panic"),
            _ => bail!("told to fail"),
        }
        Ok(())
    }
}
