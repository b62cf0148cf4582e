//! `mode = "lines"`: one child that answers events line by line.
//!
//! A thread owns the child, so that what it says and its exit are seen between events too: its log is not late, and
//! it is never left as a zombie.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Instant;

use notifyit_plugin_api::{Context, Event, Host, Result, anyhow, bail, log};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};

use crate::Deadline;
use crate::answer::{self, Answer};
use crate::child::{Child, Step, ended};
use crate::output::{Log, Source, quoted};
use crate::program::Program;
use crate::template::Template;

/// The thread that owns the child, from outside.
#[derive(Debug)]
pub(crate) struct Lines {
    /// Room for one: `ask` waits for the answer.
    questions: Option<SyncSender<Question>>,
    answers: Receiver<Answer>,
    wake: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Question {
    line: String,
    deadline: Deadline,
}

impl Lines {
    /// Starts the thread; the child is started at the first event.
    pub(crate) fn new(program: Program, arguments: Vec<Template>, host: Host) -> Result<Self> {
        let (questions, receiver) = sync_channel(1);
        let (sender, answers) = sync_channel(1);
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = Arc::new(eventfd(0, flags).context("failed to make an eventfd")?);
        let keeper = Keeper { program, arguments, child: None, log: Log::default(), wake: Arc::clone(&wake) };
        let run = move || {
            host.attach_thread();
            keeper.run(&receiver, &sender);
        };
        let thread = std::thread::Builder::new().name("exec-lines".to_owned()).spawn(run);
        let thread = Some(thread.context("failed to start the thread `exec-lines`")?);
        Ok(Lines { questions: Some(questions), answers, wake, thread })
    }

    /// Hands the event to the child and waits for its verdict.
    pub(crate) fn ask(&mut self, event: &Event<'_>, deadline: Deadline) -> Result<()> {
        let questions = self.questions.as_ref().context("asked after its end")?;
        let line = format!("{}\n", event.to_json());
        questions.send(Question { line, deadline }).expect("the thread listens until `close`");
        self.wake();
        let answer = self.answers.recv().expect("the thread answers each question");
        if answer.rewrote {
            event.rewrote();
        }
        if answer.emits {
            event.emit()?;
        }
        answer.verdict
    }

    /// Ends the child and the thread.
    pub(crate) fn close(&mut self) {
        self.questions = None;
        self.wake();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            log::error!("the thread `exec-lines` panicked");
        }
    }

    fn wake(&self) {
        // It can only fail when it is full of wake-ups that have not been seen yet.
        _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.close();
    }
}

/// The thread's side: the child, if one runs.
struct Keeper {
    program: Program,
    arguments: Vec<Template>,
    child: Option<Child>,
    log: Log,
    wake: Arc<OwnedFd>,
}

/// What came on standard output in one step.
#[derive(Debug, Default)]
struct Said {
    first: Option<String>,
    more: bool,
}

impl Said {
    fn line(&mut self, line: &str) {
        if self.first.is_some() {
            self.more = true;
        } else {
            self.first = Some(line.to_owned());
        }
    }
}

impl Keeper {
    fn run(mut self, questions: &Receiver<Question>, answers: &SyncSender<Answer>) {
        loop {
            match questions.try_recv() {
                Ok(question) => {
                    let answer = self.ask(&question).unwrap_or_else(|error| Err(error).into());
                    if answers.send(answer).is_err() {
                        break;
                    }
                }
                Err(TryRecvError::Empty) => self.idle(),
                Err(TryRecvError::Disconnected) => break,
            }
        }
        self.close();
    }

    fn ask(&mut self, question: &Question) -> Result<Answer> {
        let mut child = match self.child.take() {
            Some(child) if child.is_amid_line() => {
                self.out_of_step(child, "the beginning of a line");
                self.start()?
            }
            Some(child) => child,
            None => self.start()?,
        };
        self.log.forget();
        child.feed(question.line.as_bytes());
        let said = self.listen(&mut child, question.deadline)?;
        let line = said.first.unwrap_or_default();
        if said.more {
            self.end(&mut child)?;
            bail!("answered more than once, beginning with {:?}", quoted(&line));
        }
        if child.is_deaf() || child.is_mute() {
            self.say_goodbye(child);
        } else {
            self.child = Some(child);
        }
        Ok(answer::parse(&line))
    }

    /// Until it has answered. After an error it does not run any more.
    fn listen(&mut self, child: &mut Child, deadline: Deadline) -> Result<Said> {
        let mut said = Said::default();
        let mut until = deadline.at;
        let mut closed = None;
        loop {
            let step = self.step(child, until, None, &mut said)?;
            if said.first.is_some() {
                return Ok(said);
            }
            match step {
                Step::Exited => {
                    let status = child.reap()?;
                    bail!(self.log.explain(&format!("{} before it answered", ended(status))));
                }
                Step::Expired => {
                    self.end(child)?;
                    return Err(closed.map_or_else(
                        || deadline.error(),
                        |pipe| anyhow!("closed its standard {pipe} before it answered"),
                    ));
                }
                // It may be on its way out, and how it ends says more.
                Step::Moved if closed.is_none() && (child.is_mute() || child.is_deaf()) => {
                    closed = Some(if child.is_mute() { "output" } else { "input" });
                    let soon = Instant::now() + self.program.kill_after();
                    until = Some(until.map_or(soon, |until| until.min(soon)));
                }
                Step::Moved => {}
            }
        }
    }

    /// Waits for the next question, and for what the child does unasked.
    fn idle(&mut self) {
        match self.child.take() {
            Some(child) => self.watch(child),
            None => _ = poll(&mut [PollFd::new(&self.wake, PollFlags::IN)], None),
        }
        _ = rustix::io::read(&self.wake, &mut [0_u8; 8]);
    }

    fn watch(&mut self, mut child: Child) {
        let mut said = Said::default();
        let wake = Arc::clone(&self.wake);
        let step = match self.step(&mut child, None, Some(wake.as_fd()), &mut said) {
            Ok(step) => step,
            Err(error) => return log::error!("{error:#}"),
        };
        match said.first {
            Some(line) => self.out_of_step(child, &line),
            None if step == Step::Exited || child.is_mute() => self.say_goodbye(child),
            None => self.child = Some(child),
        }
    }

    /// It leaves, and no event is in its hands: nothing is lost, but it may not be meant.
    fn say_goodbye(&mut self, mut child: Child) {
        let status = child.finish(&mut listener(&mut self.log)).map_or_else(|error| error.to_string(), ended);
        let text = self.log.explain(&format!("{status} between two events"));
        log::warn!("{text}; the next event starts it again");
    }

    /// An answer without a question: from now on no answer could be told from another.
    fn out_of_step(&mut self, mut child: Child, line: &str) {
        log::error!("the program is out of step and is ended: it wrote {:?} unasked", quoted(line));
        if let Err(error) = self.end(&mut child) {
            log::error!("failed to end the program: {error}");
        }
    }

    fn start(&self) -> Result<Child> {
        let mut command = self.program.command()?;
        command.args(self.arguments.iter().map(Template::literal));
        self.program.start(command)
    }

    fn step(
        &mut self,
        child: &mut Child,
        until: Option<Instant>,
        wake: Option<BorrowedFd<'_>>,
        said: &mut Said,
    ) -> Result<Step> {
        let log = &mut self.log;
        let step = child.step(until, wake, &mut |source, line| match source {
            Source::Stdout => said.line(line),
            Source::Stderr => log.line(source, line),
        });
        step.context("failed to wait for the program")
    }

    fn end(&mut self, child: &mut Child) -> Result<()> {
        child.end(&mut listener(&mut self.log)).context("failed to wait for the program").map(drop)
    }

    fn close(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let status = child.finish(&mut listener(&mut self.log));
        match status {
            Ok(status) if status.success() => {}
            Ok(status) => log::warn!("{}", self.log.explain(&ended(status))),
            Err(error) => log::error!("failed to wait for the program: {error}"),
        }
    }
}

/// Logs standard error; what comes on standard output answers nothing.
fn listener(log: &mut Log) -> impl FnMut(Source, &str) {
    |source, line| {
        if source == Source::Stderr {
            log.line(source, line);
        }
    }
}
