//! What happened: the event, the file behind it, and its one JSON form.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;

use crate::abi::notes::{Left, Said};
use crate::abi::types::{EventRaw, FLAG_DIRECTORY};
use crate::beneath;
use crate::deferred::Deferred;
use crate::error;
use crate::kind::{Kind, Origin};

/// One event: what happened to which file, and what the file was like when the host looked, just before this call.
///
/// Paths are bytes, and a name may hold any byte but `/` and NUL.
///
/// It lives as long as the call of [`Plugin::on_event`](crate::Plugin::on_event): it cannot be kept, but threads that end
/// within the call may use it (`std::thread::scope`). Only [`Event::open`] and the two `rewrote` look at the disk.
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
        self.said.defer(self.raw.spare[0])
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

    /// The event as one line of JSON, without a newline: the form that `print`, `exec` and every other output share.
    ///
    /// | key | value |
    /// |---|---|
    /// | `v` | 1, the version of this form |
    /// | `id` | 16 hexadecimal digits |
    /// | `kind`, `origin`, `watch` | text |
    /// | `attempt` | number, from 1 |
    /// | `path`, `root`, `relative`, `name`, `renamed_from` | text; what is not UTF-8 stands under `path_base64`, … instead |
    /// | `size`, `inode` | numbers; left out if the file was not there |
    /// | `modified`, `seen` | RFC 3339 in UTC with nanoseconds |
    /// | `directory` | `true`, only for directories |
    pub fn to_json(&self) -> String {
        let there = self.exists();
        let form = Json {
            v: 1,
            id: format!("{:016x}", self.id()),
            kind: self.kind().to_string(),
            origin: self.origin().to_string(),
            attempt: self.attempt(),
            watch: self.watch(),
            path: text(self.path().as_os_str()),
            path_base64: base64(self.path().as_os_str()),
            root: text(self.root().as_os_str()),
            root_base64: base64(self.root().as_os_str()),
            relative: text(self.relative().as_os_str()),
            relative_base64: base64(self.relative().as_os_str()),
            name: text(self.name()),
            name_base64: base64(self.name()),
            renamed_from: self.renamed_from().and_then(|p| text(p.as_os_str())),
            renamed_from_base64: self.renamed_from().and_then(|p| base64(p.as_os_str())),
            size: there.then(|| self.size()),
            inode: there.then(|| self.inode()),
            modified: self.modified().and_then(rfc3339),
            seen: rfc3339(self.seen()),
            directory: self.is_directory(),
        };
        serde_json::to_string(&form).unwrap_or_default()
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

#[derive(Serialize)]
struct Json<'a> {
    v: u32,
    id: String,
    kind: String,
    origin: String,
    attempt: u32,
    watch: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    path: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    path_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    root_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    relative_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renamed_from: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    renamed_from_base64: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    modified: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    seen: Option<String>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    directory: bool,
}

fn path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

fn text(value: &OsStr) -> Option<&str> {
    value.to_str()
}

fn base64(value: &OsStr) -> Option<String> {
    value.to_str().is_none().then(|| STANDARD.encode(value.as_bytes()))
}

/// RFC 3339, for the years 1970 to 9999 that it can write.
fn rfc3339(time: SystemTime) -> Option<String> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    (since.as_secs() < 253_402_300_800).then(|| humantime::format_rfc3339_nanos(time).to_string())
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
