//! What crosses in a call. None of these types may ever change: see the growth rules in [`super`].

use abi_stable::StableAbi;
use abi_stable::std_types::{ROption, RSlice, RStr, RString, RVec};

use super::object::HandlerBox;

/// Borrowed bytes, as they cross.
pub type Bytes<'a> = RSlice<'a, u8>;
/// Borrowed text, as it crosses.
pub type Text<'a> = RStr<'a>;

/// Status of a call: it worked. Of [`CreateResult`]: see [`CREATED`].
pub const DONE: u32 = 0;
/// Status: it failed, try again later. Also the meaning of every status that the host does not know.
pub const RETRY: u32 = 1;
/// Status: it can never work, do not try again.
pub const REJECT: u32 = 2;
/// Status: the plugin panicked. The host drops the handler and creates a new one before the next call.
pub const PANICKED: u32 = 3;
/// Status of [`ControlResult`]: this side does not know the operation.
pub const UNKNOWN_OPERATION: u32 = 4;
/// Status: the verdict comes later, through [`HostApi::complete`](super::HostApi). Only where the event has a ticket: see
/// [`EventRaw::spare`]. Since 1.2.
pub const DEFERRED: u32 = 5;
/// Status of [`CreateResult`]: `handler` is there. Any other status: `message` says why it is not.
pub const CREATED: u32 = 0;

/// [`EventRaw::flags`]: the event is about a directory.
pub const FLAG_DIRECTORY: u32 = 1;
/// [`EventRaw::flags`]: the host hands on what the plugin emits with this event ([`Notes::emits`](super::Notes)). Since 1.2.
pub const FLAG_HANDS_ON: u32 = 2;

/// [`CallResult::flags`]: `number` is the shortest time in nanoseconds until the next attempt.
pub const FLAG_RETRY_AFTER: u32 = 1;

/// [`CallResult::flags`]: with [`RETRY`], the plugin is at fault and not the file; the attempt does not count.
pub const FLAG_UNAVAILABLE: u32 = 2;

/// One event, as the host hands it over. Borrowed for the length of the call.
///
/// Unknown numbers: a `kind` or `origin` that the plugin does not know shows as unknown there; flags that it does
/// not know are ignored, and so is what `spare` and `extra` hold beyond that.
#[repr(C)]
#[derive(StableAbi, Debug, Clone, Copy)]
pub struct EventRaw<'a> {
    /// Same version of the same file, same id: in every attempt, restart and replay.
    pub id: u64,
    /// What happened: see [`Kind::code`](crate::Kind::code).
    pub kind: u32,
    /// Why it is delivered: see [`Origin`](crate::Origin).
    pub origin: u32,
    /// 1 for the first attempt.
    pub attempt: u32,
    /// [`FLAG_DIRECTORY`], [`FLAG_HANDS_ON`].
    pub flags: u32,
    /// Name of the watch.
    pub watch: Text<'a>,
    /// The watched directory, an absolute path.
    pub root: Bytes<'a>,
    /// The file, an absolute path that begins with `root`.
    pub path: Bytes<'a>,
    /// How many bytes of `path` stand before the path relative to `root`.
    pub relative_from: u64,
    /// The relative path that the file had before, empty if it was not renamed.
    pub renamed_from: Bytes<'a>,
    /// `st_dev`.
    pub device: u64,
    /// `st_ino`; 0 if the file was not there any more when the host looked.
    pub inode: u64,
    /// `st_size` in bytes.
    pub size: u64,
    /// `st_mode`.
    pub mode: u32,
    /// Nanoseconds of `st_mtim`.
    pub mtime_nanos: u32,
    /// Seconds of `st_mtim`.
    pub mtime_seconds: i64,
    /// Nanoseconds since 1970 by the wall clock when the host read the event.
    pub seen_nanos: u64,
    /// The attempt's deadline in nanoseconds from its start, 0 for none.
    pub timeout_nanos: u64,
    /// Zero. Room for numbers of later minor versions. The first one, since 1.2: the ticket under which the verdict may come
    /// later; 0 if it may not.
    pub spare: [u64; 8],
    /// A JSON object, or empty: see [`Extra`](super::Extra). Since 1.2; before that always empty.
    pub extra: Bytes<'a>,
}

/// What a call of the handler answers.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct CallResult {
    /// [`DONE`], [`RETRY`], [`REJECT`] or [`PANICKED`].
    pub status: u32,
    /// [`FLAG_RETRY_AFTER`], [`FLAG_UNAVAILABLE`].
    pub flags: u32,
    /// With [`FLAG_RETRY_AFTER`] its time, else 0.
    pub number: u64,
    /// Why, in one or more lines. Empty if done.
    pub message: RString,
    /// A JSON object, or empty: see [`Notes`](super::Notes). Room to grow.
    pub notes: RString,
}

impl CallResult {
    /// A result without number and notes.
    pub fn new(status: u32, message: impl Into<RString>) -> Self {
        CallResult { status, flags: 0, number: 0, message: message.into(), notes: RString::new() }
    }
}

/// What [`PluginModule::create`](super::PluginModule::create) answers.
#[repr(C)]
#[derive(StableAbi)]
pub struct CreateResult {
    /// [`CREATED`], or why not: [`REJECT`] for a wrong configuration, [`RETRY`] for an error, [`PANICKED`].
    pub status: u32,
    /// Why not.
    pub message: RString,
    /// There if `status` is [`CREATED`].
    pub handler: ROption<HandlerBox>,
}

/// What [`Handler::control`](super::Handler::control) answers.
#[repr(C)]
#[derive(StableAbi, Debug)]
pub struct ControlResult {
    /// [`DONE`], [`UNKNOWN_OPERATION`], or another status with a message in `payload`.
    pub status: u32,
    /// The operation's answer.
    pub payload: RVec<u8>,
}
