//! What the host calls: one instance of a plugin.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use notifyit_plugin_api::abi::{
    CREATED, CallResult, CreateResult, DEFERRED, Emission, EventRaw, HandlerBox, Notes, PANICKED, REJECT,
    guard,
};
use notifyit_plugin_api::{Blame, Verdict};
use serde::{Deserialize, Serialize};

use super::batch::Batch;
use super::isolated::Process;
#[cfg(test)]
use super::isolated::pretended::{Fate, Pretended};
use super::library::PluginLibrary;
use super::refused::Reason;
use super::services::Entry;

/// A plugin knows its deadline, and may need a moment to come to an end when it is reached: so much later it is late.
pub const SLACK: Duration = Duration::from_secs(1);

/// One instance of a plugin: each worker of a lane has its own. Dropping it drops the plugin's value, on the thread
/// that drops it, or ends its process.
pub struct Instance {
    code: Code,
    /// Keeps the staged file for as long as its code may be in a backtrace.
    library: PluginLibrary,
    /// What it is lent, if that is not its process's.
    _entry: Option<Entry>,
}

enum Code {
    /// In this process. With a batch: it takes several events in one call.
    Inline(HandlerBox, Option<Batch>),
    /// In a process of its own.
    Isolated(Box<Process>),
    #[cfg(test)]
    Pretended(Pretended),
}

/// What a plugin says to an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// How the call ended.
    pub reply: Reply,
    /// What it said beside that.
    pub notes: Notes,
    /// What it hands on to other plugins, if anything.
    pub emission: Option<Box<Emission>>,
}

/// What became of the events that were handed over.
#[derive(Debug, Default)]
pub struct Answers {
    /// In order, one for each. `None`: the plugin has not come to it, or its answer went with its process.
    pub each: Vec<Option<Answer>>,
    /// The instance is lost, and not by the fault of one that is known.
    pub lost: Option<Lost>,
    /// It was at work on these, all at once: one of them may be at fault.
    pub suspects: Range<usize>,
}

/// Why an instance is of no more use and must be made anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Lost {
    /// It has panicked. What the panic said, and where; a backtrace may follow in further lines.
    Panicked(String),
    /// Its process has died: of what, and the last that it said.
    Died(String),
    /// Its process has used up the processor time that it may have from its start to its end. Which event it had in hand
    /// then is chance.
    Spent,
    /// It did not come back within this time, and its process was killed.
    Late(Duration),
    /// Nobody waits for it any more, and its process was killed.
    GivenUp,
}

impl fmt::Display for Lost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Lost::Panicked(message) => write!(f, "panicked: {message}"),
            Lost::Died(how) => write!(f, "its process {how}"),
            Lost::Spent => f.write_str("its process has used up limits.cpu"),
            Lost::Late(timeout) => {
                write!(f, "it did not come back within {timeout:?}, and its process was killed")
            }
            Lost::GivenUp => f.write_str("its process was killed in the middle of a call"),
        }
    }
}

/// A plugin's answer to a call. Messages may hold several lines and any character: see
/// [`one_line`](crate::log::one_line).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// It worked.
    Done,
    /// The verdict comes later, under the event's ticket. Of events alone.
    Deferred,
    /// It failed and may work later.
    Retry {
        /// The error with its causes.
        message: String,
        /// The shortest pause that the plugin asked for.
        after: Option<Duration>,
        /// Whose fault it was.
        blame: Blame,
    },
    /// It can never work.
    Reject {
        /// The error with its causes.
        message: String,
    },
    /// The instance is lost.
    Lost(Lost),
}

/// Why there is no instance. `Display` is the plugin's message, which may hold several lines.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CreateError {
    /// It will not have this configuration: the same call cannot work later.
    Rejected(String),
    /// It failed and may work later.
    Failed(String),
    /// It panicked.
    Panicked(String),
    /// It said that there was an instance, and gave none.
    Lied,
}

impl fmt::Display for CreateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CreateError::Rejected(message) | CreateError::Failed(message) => f.write_str(message),
            CreateError::Panicked(message) => write!(f, "the plugin panicked: {message}"),
            CreateError::Lied => {
                f.write_str("the plugin lied: it says that it made an instance, but gave none")
            }
        }
    }
}

impl std::error::Error for CreateError {}

impl CreateError {
    /// What was sound when it was tried in a child process is not so here.
    pub(super) fn refused(reason: &Reason) -> CreateError {
        CreateError::Failed(format!("it cannot be loaded: {reason}"))
    }
}

impl Instance {
    pub(super) fn inline(handler: HandlerBox, library: PluginLibrary) -> Instance {
        let batch = (library.info.in_flight > 1).then(Batch::default);
        Instance { code: Code::Inline(handler, batch), library, _entry: None }
    }

    /// It has this for as long as it is there.
    pub(super) fn with(self, entry: Entry) -> Instance {
        Instance { _entry: Some(entry), ..self }
    }

    pub(super) fn isolated(process: Process, library: PluginLibrary) -> Instance {
        Instance { code: Code::Isolated(Box::new(process)), library, _entry: None }
    }

    /// The library that it was made from.
    pub fn library(&self) -> &PluginLibrary {
        &self.library
    }

    /// As if it lived in a process of its own.
    #[cfg(test)]
    pub(crate) fn pretend_isolated(self, fate: fn() -> Fate) -> Instance {
        let Code::Inline(handler, _) = self.code else { panic!("it is isolated") };
        Instance {
            code: Code::Pretended(Pretended::new(handler, fate)),
            library: self.library,
            _entry: self._entry,
        }
    }

    /// The process that it lives in, if that is one of its own.
    pub fn process(&self) -> Option<u32> {
        match &self.code {
            Code::Inline(..) => None,
            Code::Isolated(process) => Some(process.id()),
            #[cfg(test)]
            Code::Pretended(_) => None,
        }
    }

    /// How many events it may be handed before its answers are taken.
    pub fn room(&self) -> usize {
        match &self.code {
            Code::Inline(_, None) => 1,
            Code::Inline(_, Some(_)) => usize::from(self.library.info.in_flight),
            Code::Isolated(process) => process.room(),
            #[cfg(test)]
            Code::Pretended(_) => 4,
        }
    }

    /// Hands it one event. Inline, where it takes one at a time, this calls the plugin, blocks for as long as that takes,
    /// and returns its answer; else there is none yet: [`Instance::answers`] waits for it.
    pub fn hand(&mut self, event: &EventRaw<'_>) -> Option<Answer> {
        match &mut self.code {
            Code::Inline(handler, None) => Some(Answer::from_wire(handler.on_event(event))),
            Code::Inline(_, Some(batch)) => {
                batch.put(event);
                None
            }
            Code::Isolated(process) => {
                process.hand(event);
                None
            }
            #[cfg(test)]
            Code::Pretended(process) => {
                process.hand(event);
                None
            }
        }
    }

    /// Waits for the answers to all events that were handed over and not answered at once. A process is killed when an
    /// event's time is over, and when `is_given_up` says so.
    pub fn answers(&mut self, is_given_up: &dyn Fn() -> bool) -> Answers {
        match &mut self.code {
            Code::Inline(_, None) => Answers::default(),
            Code::Inline(handler, Some(batch)) => {
                let results = batch.call(handler);
                let handed = results.len();
                Answers::of(results, handed)
            }
            Code::Isolated(process) => process.answers(is_given_up),
            #[cfg(test)]
            Code::Pretended(process) => process.answers(),
        }
    }

    /// Has its process died between two calls?
    pub fn has_died(&mut self) -> Option<Lost> {
        match &mut self.code {
            Code::Isolated(process) => process.has_died(),
            _ => None,
        }
    }

    /// Can it be ended from outside?
    pub fn is_isolated(&self) -> bool {
        !matches!(self.code, Code::Inline(..))
    }

    /// Ends a burst: what was [`Reply::Done`] since the last flush is safe when this is, too.
    pub fn flush(&mut self, is_given_up: &dyn Fn() -> bool) -> Reply {
        match &mut self.code {
            Code::Inline(handler, _) => Reply::from_wire(handler.flush()),
            Code::Isolated(process) => process.flush(is_given_up),
            #[cfg(test)]
            Code::Pretended(process) => Reply::from_wire(process.handler().flush()),
        }
    }

    /// The last call before the drop. Not to be made after a loss.
    pub fn shutdown(&mut self, is_given_up: &dyn Fn() -> bool) -> Reply {
        match &mut self.code {
            Code::Inline(handler, _) => Reply::from_wire(handler.shutdown()),
            Code::Isolated(process) => process.shutdown(is_given_up),
            #[cfg(test)]
            Code::Pretended(process) => Reply::from_wire(process.handler().shutdown()),
        }
    }
}

impl Answers {
    /// The results of the first of so many events. If the last call has panicked with several of them, whichever may be
    /// the cause.
    pub(super) fn of(mut results: Vec<CallResult>, handed: usize) -> Answers {
        let mut answers = Answers::default();
        let panicked = results.iter().rev().take_while(|result| result.status == PANICKED).count();
        if panicked > 1 {
            let first = results.len() - panicked;
            answers.lost = Some(Lost::Panicked(results[first].message.to_string()));
            answers.suspects = first..results.len();
            results.truncate(first);
        }
        answers.each = results.into_iter().map(|result| Some(Answer::from_wire(result))).collect();
        answers.each.resize(handed, None);
        answers
    }
}

impl From<Reply> for Answer {
    fn from(reply: Reply) -> Answer {
        Answer { reply, notes: Notes::default(), emission: None }
    }
}

impl Answer {
    /// Cuts its message to at most so many bytes.
    pub fn cut(&mut self, most: usize) {
        if let Reply::Retry { message, .. } | Reply::Reject { message } = &mut self.reply {
            let end = (0..=most.min(message.len())).rfind(|end| message.is_char_boundary(*end));
            message.truncate(end.unwrap_or(0));
            message.shrink_to_fit();
        }
    }

    pub(super) fn from_wire(result: CallResult) -> Answer {
        // Most say nothing.
        let (notes, emission) = if result.notes.is_empty() {
            (Notes::default(), None)
        } else {
            let emission = Some(guard::emission(&result)).filter(|emission| !emission.is_empty());
            (guard::notes(&result), emission.map(Box::new))
        };
        let is_deferred = result.status == DEFERRED;
        Answer {
            notes,
            emission,
            reply: if is_deferred { Reply::Deferred } else { Reply::from_wire(result) },
        }
    }
}

pub(super) fn handler(made: CreateResult) -> Result<HandlerBox, CreateError> {
    let message = made.message.into_string();
    match (made.status, made.handler.into_option()) {
        (CREATED, Some(handler)) => Ok(handler),
        (CREATED, None) => Err(CreateError::Lied),
        (REJECT, _) => Err(CreateError::Rejected(message)),
        (PANICKED, _) => Err(CreateError::Panicked(message)),
        _ => Err(CreateError::Failed(message)),
    }
}

impl fmt::Debug for Instance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Instance").field("library", &self.library).finish_non_exhaustive()
    }
}

impl Reply {
    pub(super) fn from_wire(result: CallResult) -> Reply {
        match guard::from_wire(result) {
            Ok(Verdict::Done) => Reply::Done,
            Ok(Verdict::Retry { message, after, blame }) => Reply::Retry { message, after, blame },
            Ok(Verdict::Reject { message }) => Reply::Reject { message },
            Ok(other) => Reply::Retry { message: format!("{other:?}"), after: None, blame: Blame::File },
            Err(message) => Reply::Lost(Lost::Panicked(message)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notifyit_plugin_api::abi::{DONE, FLAG_RETRY_AFTER, RETRY};

    #[test]
    fn a_plugin_that_makes_no_instance_has_its_error() {
        let error = |status| {
            let handler = abi_stable::std_types::RNone;
            super::handler(CreateResult { status, message: "m".into(), handler }).err().unwrap()
        };
        assert_eq!(error(CREATED), CreateError::Lied);
        assert_eq!(error(REJECT), CreateError::Rejected("m".into()));
        assert_eq!(error(PANICKED).to_string(), "the plugin panicked: m");
        assert_eq!(error(RETRY), CreateError::Failed("m".into()));
        assert_eq!(error(77), CreateError::Failed("m".into()));
    }

    #[test]
    fn every_status_has_its_reply() {
        let reply = |status| Reply::from_wire(CallResult::new(status, "m"));
        let message = || "m".to_owned();
        assert_eq!(reply(DONE), Reply::Done);
        assert_eq!(reply(REJECT), Reply::Reject { message: message() });
        assert_eq!(reply(PANICKED), Reply::Lost(Lost::Panicked(message())));
        assert_eq!(reply(RETRY), Reply::Retry { message: message(), after: None, blame: Blame::File });
        assert_eq!(reply(77), Reply::Retry { message: message(), after: None, blame: Blame::File });
        let mut later = CallResult::new(RETRY, "m");
        (later.flags, later.number) = (FLAG_RETRY_AFTER, 1_500_000_000);
        assert_eq!(
            Reply::from_wire(later),
            Reply::Retry { message: message(), after: Some(Duration::from_millis(1500)), blame: Blame::File }
        );
    }
}
