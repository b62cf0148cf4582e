//! What happened: the event, and the file behind it.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use crate::abi::notes::{Extra, HandsOn, Left, Said};
use crate::abi::types::{EventRaw, FLAG_DIRECTORY, FLAG_HANDS_ON};
use crate::beneath;
use crate::deferred::Deferred;
use crate::error;
use crate::kind::{Kind, Origin};

mod json;

/// One event: what happened to which file, and what the file was like when the host looked, just before this call.
///
/// Paths are bytes, and a name may hold any byte but `/` and NUL.
///
/// It lives as long as the call of [`Plugin::on_event`](crate::Plugin::on_event): it cannot be kept, but threads that end
/// within the call may use it (`std::thread::scope`). Only [`Event::open`], [`Event::emit_file`] and the two `rewrote` look at
/// the disk.
#[derive(Clone, Copy)]
pub struct Event<'a> {
    raw: &'a EventRaw<'a>,
    said: &'a Said,
}

impl<'a> Event<'a> {
    /// The event behind what crossed the wire, and where what the plugin says of it goes.
    #[doc(hidden)]
    pub fn from_raw(raw: &'a EventRaw<'a>, said: &'a Said) -> Self {
        Event { raw, said }
    }

    /// What happened.
    pub fn kind(&self) -> Kind {
        Kind::from_code(self.raw.kind)
    }

    /// Why it is delivered.
    pub fn origin(&self) -> Origin {
        Origin::from_code(self.raw.origin)
    }

    /// Which attempt this is, from 1.
    pub fn attempt(&self) -> u32 {
        self.raw.attempt
    }

    /// Names this version of this file: the same in every attempt, restart and replay, so that a handler can be
    /// idempotent. Made of watch, relative path, inode, size and modification time.
    pub fn id(&self) -> u64 {
        self.raw.id
    }

    /// The absolute path. Whoever may write to the directory may swap what lies there: to read the file use
    /// [`Event::open`].
    pub fn path(&self) -> &'a Path {
        path(self.raw.path.as_slice())
    }

    /// The watched directory, absolute.
    pub fn root(&self) -> &'a Path {
        path(self.raw.root.as_slice())
    }

    /// The path relative to [`Event::root`].
    pub fn relative(&self) -> &'a Path {
        let from = usize::try_from(self.raw.relative_from).unwrap_or(usize::MAX);
        path(self.raw.path.as_slice().get(from..).unwrap_or_default())
    }

    /// The file's name.
    pub fn name(&self) -> &'a OsStr {
        let bytes = self.raw.path.as_slice();
        let after = bytes.iter().rposition(|b| *b == b'/').map_or(0, |slash| slash + 1);
        OsStr::from_bytes(&bytes[after..])
    }

    /// The name of the watch that saw it.
    pub fn watch(&self) -> &'a str {
        self.raw.watch.as_str()
    }

    /// The relative path that the file had before, if it was renamed within the watched tree.
    pub fn renamed_from(&self) -> Option<&'a Path> {
        let bytes = self.raw.renamed_from.as_slice();
        (!bytes.is_empty()).then(|| path(bytes))
    }

    /// Which plugin has handed the file on, by its name: of [`Kind::Emitted`] alone. None if the host is older than 1.2 of
    /// this crate.
    pub fn emitted_by(&self) -> Option<String> {
        Extra::from_json(self.raw.extra.as_slice()).emitted_by
    }

    /// Is it about a directory?
    pub fn is_directory(&self) -> bool {
        self.raw.flags & FLAG_DIRECTORY != 0
    }

    /// Was the file there when the host looked? False after a delete, or for a file that lived too short.
    pub fn exists(&self) -> bool {
        self.raw.inode != 0
    }

    /// Size in bytes, 0 if the file was not there.
    pub fn size(&self) -> u64 {
        self.raw.size
    }

    /// The device number of the file's file system (`st_dev`).
    pub fn device(&self) -> u64 {
        self.raw.device
    }

    /// The inode number, 0 if the file was not there.
    pub fn inode(&self) -> u64 {
        self.raw.inode
    }

    /// File type and permissions as in `st_mode`.
    pub fn mode(&self) -> u32 {
        self.raw.mode
    }

    /// When the content was last modified, if the file was there.
    pub fn modified(&self) -> Option<SystemTime> {
        if !self.exists() {
            return None;
        }
        let (seconds, nanos) =
            (self.raw.mtime_seconds, Duration::from_nanos(u64::from(self.raw.mtime_nanos)));
        let whole = Duration::from_secs(seconds.unsigned_abs());
        let base = if seconds < 0 {
            SystemTime::UNIX_EPOCH.checked_sub(whole)
        } else {
            SystemTime::UNIX_EPOCH.checked_add(whole)
        };
        base?.checked_add(nanos)
    }

    /// When the host read the event from the kernel.
    pub fn seen(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_nanos(self.raw.seen_nanos)
    }

    /// How long this attempt may take, from the start of the call.
    pub fn timeout(&self) -> Option<Duration> {
        (self.raw.timeout_nanos != 0).then(|| Duration::from_nanos(self.raw.timeout_nanos))
    }

    /// Opens for reading *the file that the event is about*.
    ///
    /// The file is looked up beneath the watched directory without following any symbolic link, must be a regular
    /// file, and must be the inode that the host saw, so that someone who can write to the directory cannot make a
    /// privileged handler read another file.
    ///
    /// # Errors
    ///
    /// `NotFound` if it is gone; otherwise what `openat2(2)` says (`ELOOP` for a link, `EXDEV` for a way out of the
    /// directory), and an error that says so if another file, or no regular file, is there now.
    pub fn open(&self) -> io::Result<File> {
        beneath::open(self.root(), self.relative(), self.raw.device, self.raw.inode)
    }

    /// Says what becomes of this event, whatever the call returns: in [`on_batch`](crate::Plugin::on_batch), of one event
    /// among others. The last word counts. `[during the call, on any thread]`
    ///
    /// ```
    /// # use notifyit_plugin_api::{Event, Result};
    /// # struct Rows;
    /// # impl Rows { fn insert(&self, _: &Event<'_>) -> Result<()> { Ok(()) } fn commit(self) -> Result<()> { Ok(()) } }
    /// # fn begin() -> Result<Rows> { Ok(Rows) }
    /// fn on_batch(events: &[Event<'_>]) -> Result<()> {
    ///     let rows = begin()?;
    ///     for event in events {
    ///         if let Err(error) = rows.insert(event) {
    ///             event.settle(Err(error)); // this one alone; of an io::Error, Err(error.into())
    ///         }
    ///     }
    ///     rows.commit() // the verdict of all the others
    /// }
    /// ```
    pub fn settle(&self, result: crate::Result<()>) {
        self.said.settle(error::verdict(result));
    }

    /// The verdict comes later: the call may return, and the event is *in flight* until the handle that this returns is
    /// completed or dropped. For plugins whose [`IN_FLIGHT`](crate::Plugin::IN_FLIGHT) is more than 1; so many events are
    /// in flight at most, then the next call waits. Another event of the same file waits until this one's verdict is there,
    /// and so does the stop of the host, as long as it waits for a call. `[during the call, on any thread]`
    ///
    /// The event itself cannot be kept: take with you what is needed, the path or the open file. [`Event::timeout`]
    /// goes on: an event that is in flight for a second longer than that is tried again, and with `isolation = "process"`
    /// the process is killed. If [`on_event`](crate::Plugin::on_event) returns an error all the same, that is the verdict,
    /// and the handle is void.
    ///
    /// What the call says by [`Event::rewrote`] counts with the verdict. What is written to the file after the call cannot
    /// be claimed: it is a new version.
    ///
    /// # Errors
    ///
    /// The host is older than 1.2 of this crate, which is [`Unavailable`](crate::Unavailable); or `IN_FLIGHT` is 1.
    ///
    /// ```
    /// # use notifyit_plugin_api::{Deferred, Event, Host, Plugin, Result, json, testing::TestHost};
    /// # use std::{fs::File, io, sync::mpsc::{Sender, channel}, thread};
    /// struct Upload { jobs: Sender<(File, Deferred)> }
    ///
    /// impl Plugin for Upload {
    ///     const IN_FLIGHT: u16 = 64;
    ///     # type Config = ();
    ///     # fn new(_: (), _: Host) -> Result<Self> {
    ///     #     let (jobs, todo) = channel();
    ///     #     thread::spawn(move || for (file, deferred) in todo { Deferred::complete(deferred, send(file)) });
    ///     #     Ok(Upload { jobs })
    ///     # }
    ///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    ///         let file = event.open()?;
    ///         self.jobs.send((file, event.defer()?))?; // another thread: deferred.complete(send(file))
    ///         Ok(())
    ///     }
    /// }
    /// # fn send(mut file: File) -> Result<()> { io::copy(&mut file, &mut io::sink())?; Ok(()) }
    /// # let mut host = TestHost::start::<Upload>(json!({})).unwrap();
    /// # host.write("a", "content").assert_done();
    /// ```
    pub fn defer(&self) -> crate::Result<Deferred> {
        self.said.defer(self.raw.spare[0], self.hands_on())
    }

    /// Hands the event's file on to other plugins: those whose [`EVENTS`](crate::Plugin::EVENTS) are
    /// [`Kind::Emitted`], or whose user has set `events = ["emitted"]`, which get nothing but what is handed on to them. So
    /// one plugin can look into each file first, and the others get those that it lets pass. They get it as a file of this
    /// event's watch. `[during the call, on any
    /// thread; nothing happens before the verdict]`
    ///
    /// With the verdict *done*, once a flush has made it safe, the file is entered in the ledger for each of them, and then
    /// delivered: at least once, through crashes, restarts and full queues like any other file, and to those that are away
    /// when they are back. Any other verdict, and nothing is handed on. What they get is the version that this event is about
    /// (after [`Event::rewrote`] the one that this plugin has left): if the file changes before they come to it, they get
    /// it when it has been through here again. A version that one of them has finished does not come again.
    ///
    /// What has been handed on eight times in a row, by whomever, is not handed on any further: plugins that emit in a circle
    /// would never end. The event is then rejected.
    ///
    /// ```
    /// use notifyit_plugin_api::{Event, Host, Kind, Plugin, Reject, Result, bail};
    /// # use notifyit_plugin_api::{json, testing::TestHost};
    ///
    /// /// Lets pass what is no program.
    /// struct Check;
    ///
    /// impl Plugin for Check {
    ///     # type Config = ();
    ///     # fn new(_: (), _: Host) -> Result<Self> { Ok(Check) }
    ///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    ///         let mut start = [0; 2];
    ///         let n = std::io::Read::read(&mut event.open()?, &mut start)?;
    ///         if start[..n] == *b"#!" {
    ///             bail!(Reject::new("a program"));
    ///         }
    ///         event.emit()
    ///     }
    /// }
    ///
    /// let mut host = TestHost::start::<Check>(json!({})).unwrap();
    /// host.write("a.sh", "#!/bin/sh").assert_reject("a program");
    /// host.write("a.txt", "text").assert_done();
    /// assert_eq!(host.emitted(), [host.root().join("a.txt")]);
    /// ```
    ///
    /// # Errors
    ///
    /// The host is older than 1.2 of this crate, which is [`Unavailable`](crate::Unavailable).
    pub fn emit(&self) -> crate::Result<()> {
        self.hands_on().check()?;
        self.said.emit();
        Ok(())
    }

    /// As [`Event::emit`], of another file, that this plugin has made of the event's: to be called when it is written and
    /// closed. It must lie beneath a watched directory, in which other plugins may see it land, too; a watch's `include` and
    /// `exclude` count, and so do those of each plugin. The version is the one that is there now. It is handed on as a file of each watch that it
    /// lies in. Several files of one event
    /// may be handed on, some 500 with paths of usual length. One that is renamed after that goes on under its new name.
    ///
    /// # Errors
    ///
    /// It is no regular file, or its path is not absolute; there are too many; or as [`Event::emit`]. That it lies beneath no
    /// watched directory is found out with the verdict: the event is then tried again, and the host's log says why. So it is
    /// with a file that is not there any more, if nothing tells where it was renamed to; if it is away again the next time,
    /// somebody removes it, and it is not handed on.
    pub fn emit_file(&self, path: impl AsRef<Path>) -> crate::Result<()> {
        self.hands_on().check()?;
        self.said.emit_file(path.as_ref())
    }

    fn hands_on(&self) -> HandsOn {
        if self.raw.flags & FLAG_HANDS_ON == 0 { HandsOn::No } else { HandsOn::Yes }
    }

    /// Says that what is there now, at the event's path, is this handler's work: the host does not deliver it to this
    /// plugin again. To be called when the file is written and closed, or renamed to its place.
    ///
    /// Without it a handler that writes to the file that it handles gets it again, for what it wrote is a new version,
    /// and the close of it an event like any other; after five such rounds in a row the host warns, and puts off the
    /// next. What another writes *after* this call is a new version and is delivered. What another wrote between the
    /// handler's own last write and this call cannot be told from its work: keep them close together, or use
    /// [`Event::rewrote_as`].
    ///
    /// The last call during an event counts, whatever the verdict; if nothing is there, nothing is said. A host that
    /// is older than this method delivers the file again.
    ///
    /// ```
    /// # use notifyit_plugin_api::{Event, Result};
    /// fn on_event(event: &Event<'_>) -> Result<()> {
    ///     let text = std::io::read_to_string(event.open()?)?;
    ///     std::fs::write(event.path(), text.to_uppercase())?;
    ///     event.rewrote();
    ///     Ok(())
    /// }
    /// ```
    pub fn rewrote(&self) {
        if let Ok(metadata) = std::fs::symlink_metadata(self.path()) {
            self.said.rewrote(Left::of(&metadata));
        }
    }

    /// As [`Event::rewrote`], but says it of an open file, as it is now. Of a file that is written beside the event's
    /// and then renamed to its place nothing that another writes can be taken for the handler's work.
    ///
    /// ```
    /// # use notifyit_plugin_api::{Event, Result};
    /// # use std::io::Write;
    /// fn on_event(event: &Event<'_>) -> Result<()> {
    ///     let text = std::io::read_to_string(event.open()?)?;
    ///     let beside = event.path().with_extension("part"); // a name that the watch excludes
    ///     let mut file = std::fs::File::create(&beside)?;
    ///     file.write_all(text.to_uppercase().as_bytes())?;
    ///     event.rewrote_as(&file);
    ///     std::fs::rename(&beside, event.path())?;
    ///     Ok(())
    /// }
    /// ```
    pub fn rewrote_as(&self, file: &File) {
        if let Ok(metadata) = file.metadata() {
            self.said.rewrote(Left::of(&metadata));
        }
    }
}

impl fmt::Debug for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event")
            .field("id", &format_args!("{:016x}", self.id()))
            .field("kind", &self.kind())
            .field("origin", &self.origin())
            .field("attempt", &self.attempt())
            .field("watch", &self.watch())
            .field("path", &self.path())
            .finish_non_exhaustive()
    }
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::{Bytes, Text};

    fn raw(path: &[u8]) -> EventRaw<'_> {
        EventRaw {
            id: 0xab,
            kind: Kind::CloseWrite.code(),
            origin: Origin::Live.code(),
            attempt: 1,
            flags: 0,
            watch: Text::from_str("in"),
            root: Bytes::from_slice(b"/srv/in"),
            path: Bytes::from_slice(path),
            relative_from: 8,
            renamed_from: Bytes::EMPTY,
            device: 1,
            inode: 7,
            size: 3,
            mode: 0o100_644,
            mtime_nanos: 5,
            mtime_seconds: 0,
            seen_nanos: 1_000_000_001,
            timeout_nanos: 0,
            spare: [0; 8],
            extra: Bytes::EMPTY,
        }
    }

    #[test]
    fn the_json_form_is_one_line_and_lossless() {
        let raw_utf8 = raw(b"/srv/in/a/b\n.txt");
        let said = Said::default();
        let json = Event::from_raw(&raw_utf8, &said).to_json();
        assert_eq!(
            json,
            r#"{"v":1,"id":"00000000000000ab","kind":"close-write","origin":"live","attempt":1,"watch":"in","path":"/srv/in/a/b\n.txt","root":"/srv/in","relative":"a/b\n.txt","name":"b\n.txt","size":3,"inode":7,"modified":"1970-01-01T00:00:00.000000005Z","seen":"1970-01-01T00:00:01.000000001Z"}"#
        );
        let raw_bytes = raw(b"/srv/in/\xff");
        let json = Event::from_raw(&raw_bytes, &said).to_json();
        assert!(json.contains(r#""name_base64":"/w==""#) && !json.contains(r#""name":"#), "{json}");
    }

    #[test]
    fn times_at_the_edges_do_not_panic() {
        for (seconds, nanos) in [(i64::MIN, 0), (i64::MAX, 999_999_999), (-1, 5), (253_402_300_800, 0)] {
            let mut r = raw(b"/srv/in/x");
            (r.mtime_seconds, r.mtime_nanos) = (seconds, nanos);
            let _ = Event::from_raw(&r, &Said::default()).to_json();
        }
    }

    #[test]
    fn a_broken_relative_from_is_no_panic() {
        let mut r = raw(b"/srv/in/x");
        r.relative_from = u64::MAX;
        assert_eq!(Event::from_raw(&r, &Said::default()).relative(), Path::new(""));
    }
}
