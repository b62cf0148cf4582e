//! The host's end of a plugin's process.

use std::fs::File;
use std::io::{self, ErrorKind, IoSlice, pipe};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use notifyit_plugin_api::abi::{CallResult, EventRaw};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::ears::Ears;
use super::exit::{Leader, describe, is_spent, stdout_of_its_own};
use super::in_hand::InHand;
use super::spawner::{Spawner, remedy};
use super::terms::{Terms, Theirs};
use super::wire::{self, Asked, DESCRIPTORS, Frames, Said, WireEvent, WireResult};
use crate::plugin::services::Entry;
use crate::plugin::{Answer, Answers, CreateError, Lost, Reply, SLACK};

/// The most events in a batch.
const MOST: usize = 256;
/// How often is looked whether a call is late, or nobody waits for it any more.
const TICK: Duration = Duration::from_millis(50);
/// How long the start of a process may take, with the plugin's `new`, where no timeout is set …
const START_WITHIN: Duration = Duration::from_secs(60);
/// … and at least, where one is.
const SHORTEST_START: Duration = Duration::from_secs(5);
/// How long the last call may take, where no timeout is set that is longer.
const SHUTDOWN_WITHIN: Duration = Duration::from_secs(10);
/// How long a process may take to end by itself when all is said.
const EXIT_WITHIN: Duration = Duration::from_millis(500);

/// A process with an instance of a plugin. Its drop ends it.
#[derive(Debug)]
pub(in crate::plugin) struct Process {
    leader: Leader,
    channel: UnixStream,
    frames: Frames,
    in_hand: InHand,
    ears: Ears,
    /// What it is lent. Behind `leader`: what it has counted stands when it has ended.
    _entry: Entry,
    timeout: Option<Duration>,
    /// Encoded, not sent yet.
    events: Vec<u8>,
    handed: usize,
    /// As many events as have lately been answered in time.
    room: usize,
    is_lost: bool,
    /// With the thread that started it the process would end. The last field: it goes last.
    _spawner: Arc<Spawner>,
}

/// Why there is no answer.
enum NoAnswer {
    /// The channel is at its end.
    Ended,
    /// What came is no answer.
    Garbage,
    /// The time is over.
    Late(Duration),
    GivenUp,
}

/// How long to wait for an answer.
#[derive(Clone, Copy)]
enum Patience {
    /// For so long for each event, from when it is begun.
    Each(Option<Duration>),
    /// For so long.
    For(Duration),
}

impl Process {
    /// Starts a process that loads this plugin file, and waits until the instance is made.
    pub(in crate::plugin) fn start(
        terms: &Terms,
        plugin: &File,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Process, CreateError> {
        let failed = |error: io::Error| {
            CreateError::Failed(format!("failed to start a process for it: {error}{}", remedy(&error)))
        };
        let (mut process, theirs) = Process::spawn(terms).map_err(failed)?;
        let hello = terms.hello().map_err(failed)?;
        let within = terms.timeout.map_or(START_WITHIN, |timeout| timeout.max(SHORTEST_START));
        let patience = Patience::For(within);
        let greeted = process.greet(&hello, &theirs, plugin, patience, is_given_up);
        drop(theirs);
        let said = greeted.and_then(|()| process.receive(patience, is_given_up));
        match said {
            Ok((Said::Made(Ok(())), _)) => Ok(process),
            Ok((Said::Made(Err(error)), _)) => Err(error),
            Ok(_) => Err(process.not_made(NoAnswer::Garbage)),
            Err(why) => Err(process.not_made(why)),
        }
    }

    fn not_made(&mut self, why: NoAnswer) -> CreateError {
        let lost = self.lose(why);
        CreateError::Failed(format!("while it was made, {lost}"))
    }

    /// And what is to be handed to it.
    fn spawn(terms: &Terms) -> io::Result<(Process, Theirs)> {
        let name = terms.grant.name();
        let (entry, signal, figures) = terms.grant.enter_apart()?;
        let (asks, their_asks) = UnixStream::pair()?;
        let (channel, theirs) = UnixStream::pair()?;
        let (records, their_records) = pipe()?;
        let (stderr, their_stderr) = pipe()?;
        let in_hand = InHand::new()?;
        let mut command = Command::new(&terms.program);
        command.args(["__worker", name]);
        command.stdin(OwnedFd::from(theirs)).stdout(stdout_of_its_own()?).stderr(Stdio::from(their_stderr));
        let child = terms.spawner.spawn(command)?;
        // From here on whatever fails ends it.
        let leader = Leader::new(child);
        let ears = Ears::start(name, entry.context(), [records.into(), stderr.into()], asks)?;
        channel.set_read_timeout(Some(TICK))?;
        let process = Process {
            leader,
            channel,
            frames: Frames::default(),
            in_hand,
            ears,
            _entry: entry,
            timeout: terms.timeout,
            events: Vec::new(),
            handed: 0,
            room: 1,
            is_lost: false,
            _spawner: Arc::clone(&terms.spawner),
        };
        Ok((process, Theirs { records: their_records, asks: their_asks, signal, figures }))
    }

    /// Sends the first frame, as JSON, with the descriptors.
    fn greet(
        &mut self,
        hello: &[u8],
        theirs: &Theirs,
        plugin: &File,
        patience: Patience,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<(), NoAnswer> {
        let length = u32::try_from(hello.len()).map_err(|_| NoAnswer::Ended)?.to_le_bytes();
        let Theirs { records, asks, signal, figures } = theirs;
        let descriptors: [BorrowedFd<'_>; DESCRIPTORS] = [
            records.as_fd(),
            self.in_hand.0.as_fd(),
            plugin.as_fd(),
            asks.as_fd(),
            signal.as_fd(),
            figures.as_fd(),
        ];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(DESCRIPTORS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        // Nothing has been sent before: there is room for so little.
        match sendmsg(&self.channel, &[IoSlice::new(&length)], &mut control, SendFlags::NOSIGNAL) {
            Ok(sent) if sent == length.len() => self.send(hello, patience, is_given_up),
            _ => Err(NoAnswer::Ended),
        }
    }

    pub(in crate::plugin) fn id(&self) -> u32 {
        self.leader.id()
    }

    pub(in crate::plugin) fn room(&self) -> usize {
        self.room
    }

    /// The event goes with the next batch.
    pub(in crate::plugin) fn hand(&mut self, event: &EventRaw<'_>) {
        self.handed += 1;
        if wire::put(&mut self.events, &WireEvent::of(event)).is_err() {
            // Memory alone can be the cause, and then nothing comes back from there.
            self.is_lost = true;
        }
    }

    /// Sends what was handed over, and waits until each has its answer, or goes back.
    pub(in crate::plugin) fn answers(&mut self, is_given_up: &dyn Fn() -> bool) -> Answers {
        let handed = std::mem::take(&mut self.handed);
        let events = std::mem::take(&mut self.events);
        let count = u32::try_from(handed).unwrap_or(u32::MAX);
        let results = self.ask(Asked::Events(count), &events, Patience::Each(self.timeout), is_given_up);
        self.events = events;
        self.events.clear();
        match results {
            Ok(results) if (1..=handed).contains(&results.len()) => {
                let is_quick = results.len() == handed;
                self.room = if is_quick { self.room.max((2 * handed).min(MOST)) } else { results.len() };
                Answers::of(results, handed)
            }
            Ok(_) => self.without_answers(handed, NoAnswer::Garbage),
            Err(why) => self.without_answers(handed, why),
        }
    }

    /// The event in hand is to blame, and no other; of several in one call any may be. A call that has written garbage may be
    /// over by then: if there was but one, it was that.
    fn without_answers(&mut self, handed: usize, why: NoAnswer) -> Answers {
        let was_the_only_one = matches!(why, NoAnswer::Garbage) && handed == 1;
        let lost = self.lose(why);
        let mut answers = Answers { each: vec![None; handed], ..Answers::default() };
        let begun = self.in_hand.get().filter(|begun| lost != Lost::GivenUp && begun.place < handed);
        let guilty = match &begun {
            Some(begun) if begun.count == 1 => Some(begun.place),
            None if was_the_only_one => Some(0),
            _ => None,
        };
        match (guilty, begun) {
            (Some(guilty), _) => {
                let answer = Answer::from(Reply::Lost(lost));
                answers.each[guilty] = Some(answer);
            }
            (None, begun) => {
                answers.lost = Some(lost);
                answers.suspects = begun
                    .map_or(0..0, |begun| begun.place..begun.place.saturating_add(begun.count).min(handed));
            }
        }
        answers
    }

    /// Has it ended, by itself or by another's hand?
    pub(in crate::plugin) fn has_died(&mut self) -> Option<Lost> {
        let has_ended = !self.is_lost && self.leader.has_ended_within(Duration::ZERO);
        has_ended.then(|| self.lose(NoAnswer::Ended))
    }

    pub(in crate::plugin) fn flush(&mut self, is_given_up: &dyn Fn() -> bool) -> Reply {
        self.call(Asked::Flush, Patience::Each(self.timeout), is_given_up)
    }

    /// The process ends with it.
    pub(in crate::plugin) fn shutdown(&mut self, is_given_up: &dyn Fn() -> bool) -> Reply {
        let within = self.timeout.unwrap_or_default().max(SHUTDOWN_WITHIN);
        let reply = self.call(Asked::Shutdown, Patience::For(within), is_given_up);
        self.is_lost = true;
        self.leader.end(EXIT_WITHIN);
        reply
    }

    fn call(&mut self, asked: Asked, patience: Patience, is_given_up: &dyn Fn() -> bool) -> Reply {
        match self.ask(asked, &[], patience, is_given_up).map(|mut results| results.pop()) {
            Ok(Some(result)) => Reply::from_wire(result),
            Ok(None) => Reply::Lost(self.lose(NoAnswer::Garbage)),
            Err(why) => Reply::Lost(self.lose(why)),
        }
    }

    fn ask(
        &mut self,
        asked: Asked,
        events: &[u8],
        patience: Patience,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Vec<CallResult>, NoAnswer> {
        if self.is_lost {
            return Err(NoAnswer::Ended);
        }
        let frame = wire::frame(&asked, events).map_err(|_| NoAnswer::Ended)?;
        self.send(&frame, patience, is_given_up)?;
        let (Said::Answers(count), body) = self.receive(patience, is_given_up)? else {
            return Err(NoAnswer::Garbage);
        };
        let mut body = body.as_slice();
        let results = (0..count.min(u32::try_from(MOST).unwrap_or(u32::MAX)))
            .map(|_| wire::get::<WireResult<'_>>(&mut body).map(|result| result.to_result()));
        results.collect::<io::Result<_>>().map_err(|_| NoAnswer::Garbage)
    }

    /// It may not read: somebody has stopped it, perhaps itself.
    fn send(
        &mut self,
        mut frame: &[u8],
        patience: Patience,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<(), NoAnswer> {
        let since = Instant::now();
        while !frame.is_empty() {
            match rustix::net::send(&self.channel, frame, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
                Ok(count) => frame = &frame[count..],
                Err(rustix::io::Errno::AGAIN) => {
                    self.look_at_time(since, patience, is_given_up)?;
                    if self.leader.has_ended_within(Duration::ZERO) {
                        return Err(NoAnswer::Ended);
                    }
                    let tick = Timespec::try_from(TICK).ok();
                    let _ = poll(&mut [PollFd::new(&self.channel, PollFlags::OUT)], tick.as_ref());
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return Err(NoAnswer::Ended),
            }
        }
        Ok(())
    }

    /// The next frame, and what follows its value.
    fn receive(
        &mut self,
        patience: Patience,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<(Said, Vec<u8>), NoAnswer> {
        let since = Instant::now();
        let (mut looked, mut is_silent, mut has_ended) = (since, false, false);
        loop {
            match self.frames.next() {
                Ok(Some(mut body)) => {
                    let said = wire::get(&mut body).map_err(|_| NoAnswer::Garbage)?;
                    return Ok((said, body.to_vec()));
                }
                Ok(None) => {}
                Err(_) => return Err(NoAnswer::Garbage),
            }
            // It may also say something all the time, and never come to an end.
            if is_silent || looked.elapsed() >= TICK {
                if has_ended {
                    return Err(NoAnswer::Ended);
                }
                self.look_at_time(since, patience, is_given_up)?;
                // A child that it has left may hold the channel open. What it said before its end is read once more.
                has_ended = self.leader.has_ended_within(Duration::ZERO);
                looked = Instant::now();
            }
            is_silent = match self.frames.read(&mut self.channel) {
                Ok(0) => return Err(NoAnswer::Ended),
                Ok(_) => false,
                Err(error) => match error.kind() {
                    ErrorKind::WouldBlock | ErrorKind::TimedOut => true,
                    ErrorKind::Interrupted => false,
                    _ => return Err(NoAnswer::Ended),
                },
            };
        }
    }

    fn look_at_time(
        &self,
        since: Instant,
        patience: Patience,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<(), NoAnswer> {
        if is_given_up() {
            return Err(NoAnswer::GivenUp);
        }
        let (limit, slack, took) = match patience {
            Patience::Each(None) => return Ok(()),
            Patience::For(limit) => (limit, Duration::ZERO, since.elapsed()),
            Patience::Each(Some(limit)) => {
                let begun = self.in_hand.get().map_or(Duration::MAX, |begun| begun.ago);
                (limit, SLACK, begun.min(since.elapsed()))
            }
        };
        if took > limit + slack { Err(NoAnswer::Late(limit)) } else { Ok(()) }
    }

    /// Ends the process, and says why it is lost.
    fn lose(&mut self, why: NoAnswer) -> Lost {
        self.is_lost = true;
        // Whoever has closed the channel may be about to end.
        let patience = if matches!(why, NoAnswer::Ended) { EXIT_WITHIN } else { Duration::ZERO };
        let has_ended_by_itself = matches!(why, NoAnswer::Ended) && self.leader.has_ended_within(patience);
        let status = self.leader.end(Duration::ZERO);
        let last_line = self.ears.end();
        match why {
            NoAnswer::Late(limit) => Lost::Late(limit),
            NoAnswer::GivenUp => Lost::GivenUp,
            NoAnswer::Garbage => Lost::Died("wrote what is no answer, and was killed".to_owned()),
            NoAnswer::Ended if !has_ended_by_itself => {
                Lost::Died("closed its way to the host, and was killed".to_owned())
            }
            NoAnswer::Ended if is_spent(status) => Lost::Spent,
            NoAnswer::Ended => {
                let how = describe(status);
                Lost::Died(if last_line.is_empty() { how } else { format!("{how} ({last_line})") })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Confinement;
    use crate::plugin::Services;

    /// This program in the place of a worker: why there is no instance.
    fn started(program: &str, config: String, is_given_up: &dyn Fn() -> bool) -> String {
        let terms = Terms {
            program: program.into(),
            spawner: Arc::default(),
            grant: Services::new(|_, _| {}).grant("test"),
            config,
            timeout: Some(Duration::ZERO),
            confinement: Confinement::default(),
            roots: Vec::new(),
            in_flight: None,
        };
        Process::start(&terms, &File::open("/dev/null").unwrap(), is_given_up).unwrap_err().to_string()
    }

    /// The same with a shell script. A program that this process writes itself could not be run while a child that
    /// another test forks holds it open.
    fn started_script(lines: &str, is_given_up: &dyn Fn() -> bool) -> String {
        let directory = tempfile::tempdir().unwrap();
        let script = directory.path().join("script");
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" >"$0" && chmod 700 "$0""#;
        let mut shell = Command::new("/bin/sh");
        assert!(shell.args(["-c", write]).arg(&script).arg(lines).status().unwrap().success());
        started(script.to_str().unwrap(), String::new(), is_given_up)
    }

    /// The length of an answer, and then so much of it byte by byte, which takes seconds: it is none.
    const DRIPS: &str =
        r"exec >&0; printf '\0\0\20\0'; drip() { while printf x 2>/dev/null; do :; done; }; drip";

    #[test]
    fn what_a_process_dies_of_before_it_listens_is_told() {
        let more_than_the_channel_holds = "x".repeat(4 * 1024 * 1024);
        for config in [String::new(), more_than_the_channel_holds] {
            assert_eq!(
                started("/bin/false", config, &|| false),
                "while it was made, its process ended with exit status 1"
            );
        }
    }

    #[test]
    fn a_program_that_is_not_there_is_told() {
        let why = started("/missing", String::new(), &|| false);
        assert!(why.contains("failed to start a process for it: No such file"), "{why}");
    }

    #[test]
    fn one_whose_answer_never_ends_is_not_waited_for_longer_than_a_silent_one() {
        let since = Instant::now();
        let why = started_script(DRIPS, &|| since.elapsed() > Duration::from_millis(500));
        assert_eq!(why, "while it was made, its process was killed in the middle of a call");
    }

    #[test]
    fn what_a_child_goes_on_saying_keeps_nobody_waiting_when_its_parent_has_ended() {
        let why = started_script(&format!("{DRIPS} & exit 3"), &|| false);
        assert_eq!(why, "while it was made, its process ended with exit status 3");
    }
}
