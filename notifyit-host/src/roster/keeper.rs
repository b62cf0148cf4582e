//! The thread: looks at the files, compares what should run with what runs, acts.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Error, Result, bail};
use tracing::{error, info, warn};

use super::board::Board;
use super::report::{failure, say_departed, say_failed, when_again};
use super::spec::{self, Shape};
use super::standing::{Code, Making, Standing, State};
use super::{Made, Message, is_fatal};
use crate::config::Settings;
use crate::deliver::{Heirs, Lanes, Outside, Rest};
use crate::plugin::Maker;
use crate::plugin::set::{Look, Member, Problem, Set};
use crate::source::fence::SourceHandle;

/// What no event has told of (a mode above a directory, a file system across a network) is found after so long.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// What is being written, or goes, is looked at again after so long.
const LOOK_SOON: Duration = Duration::from_millis(50);
/// After a hint others follow: one look serves them all.
const GATHER: Duration = Duration::from_millis(5);

/// See the module.
#[derive(Debug)]
pub(super) struct Keeper {
    settings: Settings,
    set: Set,
    maker: Maker,
    lanes: Arc<Lanes>,
    source: SourceHandle,
    messages: Sender<Message>,
    /// A ring of the bell lies in the inbox: so that is bounded by the makings and changes under way, and one.
    is_rung: Arc<AtomicBool>,
    pub(super) standings: BTreeMap<String, Standing>,
    /// What the files came to when they were last looked at.
    pub(super) last_look: Look,
    pub(super) board: Arc<Board>,
    /// What has been said of files that do not run, so that it is said once.
    said: HashSet<String>,
    /// What has been said otherwise. Bounded by the code that was ever there.
    told: HashSet<String>,
    /// How often instances were made.
    makings: u64,
    look_at: Instant,
}

impl Keeper {
    pub(super) fn new(
        settings: Settings,
        set: Set,
        maker: Maker,
        (lanes, outside, board): (Arc<Lanes>, &Outside, Arc<Board>),
        messages: Sender<Message>,
    ) -> Keeper {
        let (is_rung, standings, said, told, last_look) = Default::default();
        let source = outside.source.clone();
        let look_at = Instant::now();
        let makings = 0;
        Keeper {
            settings,
            set,
            maker,
            lanes,
            source,
            messages,
            is_rung,
            standings,
            last_look,
            board,
            said,
            told,
            makings,
            look_at,
        }
    }

    pub(super) fn messages(&self) -> Sender<Message> {
        self.messages.clone()
    }

    /// What is to run at the start, before any event.
    ///
    /// # Errors
    ///
    /// What was asked for cannot be made.
    pub(super) fn begin(&mut self, look: Look, since: u64) -> Result<()> {
        self.said.extend(look.problems.iter().map(text));
        for member in &look.members {
            let mut standing = Standing::new(State::Absent);
            standing.making = Some(Making { hash: member.library.hash, number: 0, since: Instant::now() });
            self.standings.insert(member.settings.name.clone(), standing);
        }
        let members = look.members.clone();
        self.last_look = look;
        self.post();
        for member in &members {
            let code = Code::of(&member.library, Shape::of(member)?);
            let name = member.settings.name.clone();
            spec::say_fewer(member);
            let made = spec::of(&self.settings, member, &self.maker)
                .and_then(|spec| self.lanes.prepare(spec, since))
                .and_then(|prepared| self.lanes.admit(prepared));
            let standing = match made {
                Ok(()) => Standing::new(State::Running(code)),
                Err(error) if is_fatal(member.by) => return Err(error),
                Err(error) => {
                    let mut standing = Standing::new(State::Absent);
                    let pause = standing.has_failed(code.hash, failure(&error), Instant::now());
                    error!("{error:#}; {}", when_again(pause));
                    standing
                }
            };
            self.standings.insert(name, standing);
            self.post();
        }
        Ok(())
    }

    /// Until it is told to stop.
    pub(super) fn run(&mut self, inbox: &Receiver<Message>) {
        self.look_at = Instant::now();
        loop {
            let now = Instant::now();
            match inbox.recv_timeout(self.next(now).saturating_duration_since(now)) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(Message::Look) => {
                    thread::sleep(GATHER);
                    self.has_rung();
                }
                Ok(Message::Made { name, making, result }) => self.made(&name, making, result),
                Ok(Message::Changed) => {}
                Err(RecvTimeoutError::Timeout) => {}
            }
            if self.turn(inbox) {
                return;
            }
            self.post();
        }
    }

    /// What lies in the inbox, then one look for all of it. Returns whether it is to stop.
    fn turn(&mut self, inbox: &Receiver<Message>) -> bool {
        while let Ok(message) = inbox.try_recv() {
            match message {
                Message::Stop => return true,
                Message::Look => self.has_rung(),
                Message::Made { name, making, result } => self.made(&name, making, result),
                Message::Changed => {}
            }
        }
        self.end_changes();
        for (name, left) in self.lanes.departed(Instant::now()) {
            let is_followed = self.standings.get(&name).is_some_and(|standing| standing.code().is_some());
            say_departed(&name, left, is_followed);
        }
        if self.look_at <= Instant::now() {
            self.look();
        }
        false
    }

    /// What rings from now on is news.
    fn has_rung(&mut self) {
        self.is_rung.store(false, Ordering::Release);
        self.look_at = Instant::now();
    }

    fn next(&self, now: Instant) -> Instant {
        let leaving = self.lanes.are_leaving().then(|| now + LOOK_SOON);
        leaving.map_or(self.look_at, |leaving| leaving.min(self.look_at))
    }

    /// What runs is made what should run.
    fn look(&mut self) {
        let look = self.set.look(&self.settings);
        let (messages, is_rung) = (self.messages.clone(), Arc::clone(&self.is_rung));
        self.source.listen(look.directories.clone(), move || {
            // However often it rings, one message lies there.
            if !is_rung.swap(true, Ordering::AcqRel) {
                let _ = messages.send(Message::Look);
            }
        });
        self.say(&look.problems);
        let names: HashSet<&str> = look.members.iter().map(|member| member.settings.name.as_str()).collect();
        let gone: Vec<String> =
            self.standings.keys().filter(|name| !names.contains(name.as_str())).cloned().collect();
        gone.iter().for_each(|name| self.retire(name));
        for member in &look.members {
            self.place(member);
        }
        let is_unsettled = look.is_unsettled;
        self.last_look = look;
        let now = Instant::now();
        let soon = now + if is_unsettled { LOOK_SOON } else { LOOK_EVERY };
        let again = self.standings.values().filter_map(|standing| standing.again(now));
        self.look_at = again.fold(soon, Instant::min);
    }

    /// One that should run.
    fn place(&mut self, member: &Member) {
        let name = member.settings.name.as_str();
        let shape = match Shape::of(member) {
            Ok(shape) => shape,
            Err(error) => return self.cannot_run(member, &error),
        };
        let code = Code::of(&member.library, shape);
        let now = Instant::now();
        let standing = self.standings.entry(name.to_owned()).or_insert_with(|| Standing::new(State::Absent));
        if !standing.may_try(code.hash, now) {
            return;
        }
        if standing.code().is_some_and(|runs| runs.hash == code.hash) {
            // What is under way for other code comes to nothing.
            standing.making = None;
            if matches!(standing.state, State::Running(_)) {
                standing.works();
            }
        } else if standing.making.is_none_or(|making| making.hash != code.hash) {
            let is_for_lane = standing.code().is_some_and(|runs| runs.shape == code.shape);
            self.make(member, code.hash, is_for_lane);
        }
    }

    /// Makes instances, on a thread of its own: whoever hangs in its `new` holds up no other.
    fn make(&mut self, member: &Member, hash: u64, is_for_lane: bool) {
        let name = member.settings.name.clone();
        let spec = match spec::of(&self.settings, member, &self.maker) {
            Ok(spec) => spec,
            Err(error) => return self.has_failed(&name, hash, &error),
        };
        self.makings += 1;
        let making = Making { hash, number: self.makings, since: Instant::now() };
        let (lanes, messages) = (Arc::clone(&self.lanes), self.messages.clone());
        let (of, since) = (name.clone(), member.since_nanos);
        let make = move || {
            let result = if is_for_lane {
                let made = Heirs::make(spec.create, spec.workers).map(Made::Heirs);
                made.map_err(|error| Error::new(error).context(format!("failed to start plugin `{of}`")))
            } else {
                lanes.prepare(spec, since).map(Made::Lane)
            };
            // If nobody is there any more, what was made is shut down.
            let _ = messages.send(Message::Made { name: of, making, result });
        };
        match thread::Builder::new().name(format!("{name}/new")).spawn(make) {
            Ok(_) => {
                if let Some(standing) = self.standings.get_mut(&name) {
                    standing.making = Some(making);
                }
            }
            Err(error) => self.say_once(&format!("failed to start plugin `{name}`: no thread: {error}")),
        }
    }

    /// New code is ready, or could not be made. It is put to work if it is still what should run; else it is shut down.
    fn made(&mut self, name: &str, making: Making, result: Result<Made>) {
        self.look_at = Instant::now();
        let look = self.set.look(&self.settings);
        let member = look.members.iter().find(|member| member.settings.name == name);
        let Some(standing) = self.standings.get_mut(name) else { return };
        if standing.making != Some(making) {
            return;
        }
        standing.making = None;
        // Other code has come, or none is there: the next look sees to that.
        let Some(member) = member.filter(|member| member.library.hash == making.hash) else { return };
        let beside = standing.code().cloned();
        match result.and_then(|made| self.put_to_work(member, beside, made)) {
            Ok(state) => self.stand(name, state),
            Err(error) => self.has_failed(name, making.hash, &error),
        }
    }

    fn has_failed(&mut self, name: &str, hash: u64, error: &Error) {
        let Some(standing) = self.standings.get_mut(name) else { return };
        let is_news = standing.is_news(hash);
        let pause = standing.has_failed(hash, failure(error), Instant::now());
        say_failed(is_news, error, standing.code(), pause);
    }

    fn put_to_work(&self, member: &Member, beside: Option<Code>, made: Made) -> Result<State> {
        let name = &member.settings.name;
        let to = Code::of(&member.library, Shape::of(member)?);
        match (made, beside) {
            (Made::Lane(prepared), beside) => {
                let is_recoverable = beside.as_ref().is_none_or(|old| old.shape.is_recoverable());
                let rest = if is_recoverable { Rest::IsFound } else { Rest::IsHandled };
                self.lanes.join(prepared, rest, self.settings.grace)?;
                spec::say_fewer(member);
                match beside {
                    Some(old) => info!("plugin `{name}` is replaced: {to} runs now, in the place of {old}"),
                    None => info!("plugin `{name}` {to} runs now"),
                }
                Ok(State::Running(to))
            }
            (Made::Heirs(heirs), Some(from)) => {
                let messages = self.messages.clone();
                let ended = move || {
                    let _ = messages.send(Message::Changed);
                };
                let reads_only = member.library.info.reads_only;
                let change = self.lanes.change(name, heirs, reads_only, ended);
                Ok(change.map_or(State::Absent, |change| State::Changing { from, to, change }))
            }
            (Made::Heirs(_), None) => bail!("plugin `{name}` has no lane"),
        }
    }

    /// Changes of code that have come to their end.
    fn end_changes(&mut self) {
        for (name, standing) in &mut self.standings {
            let State::Changing { from, to, change } = &standing.state else { continue };
            if change.is_done() {
                info!("plugin `{name}` is replaced: {to} runs now, in the place of {from}");
                standing.state = State::Running(to.clone());
                standing.works();
                self.look_at = Instant::now();
            }
        }
    }

    /// One that should not run any more.
    fn retire(&mut self, name: &str) {
        let Some(standing) = self.standings.remove(name) else { return };
        if standing.code().is_some() {
            info!("plugin `{name}` is removed: it handles what it has, and goes");
            self.lanes.retire(name, self.settings.grace);
        }
    }

    /// No lane can be made of it, or none of this code.
    fn cannot_run(&mut self, member: &Member, error: &Error) {
        let why = format!("{error:#}");
        let name = member.settings.name.clone();
        let standing = self.standings.entry(name).or_insert_with(|| Standing::new(State::Absent));
        standing.has_failed(member.library.hash, (why.clone(), false), Instant::now());
        self.say_once(&why);
    }

    fn stand(&mut self, name: &str, state: State) {
        if let Some(standing) = self.standings.get_mut(name) {
            standing.state = state;
        }
    }

    /// Each problem once, for as long as it lasts.
    fn say(&mut self, problems: &[Problem]) {
        let now: HashSet<String> = problems.iter().map(text).collect();
        problems.iter().filter(|problem| !self.said.contains(&text(problem))).for_each(Problem::say);
        self.said = now;
    }

    fn say_once(&mut self, text: &str) {
        if self.told.insert(text.to_owned()) {
            warn!("{text}");
        }
    }
}

fn text(problem: &Problem) -> String {
    format!("{:#}", problem.error)
}
