//! An event of a test: a real file's, or one that nothing on disk must stand behind.

use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use super::TestHost;
use crate::abi::{Bytes, EventRaw, Extra, FLAG_DIRECTORY, FLAG_HANDS_ON, Text};
use crate::kind::{Kind, Origin};
use crate::verdict::Verdict;

/// An event to deliver: made by [`TestHost::event`].
///
/// It tells what the file at its path is like when it is delivered, as a host does, and nothing needs to be there:
///
/// ```
/// use std::{ffi::OsStr, os::unix::ffi::OsStrExt};
/// use notifyit_plugin_api::{Kind, Origin};
/// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Reject, Result, bail};
/// # struct Any;
/// # impl Plugin for Any {
/// #     type Config = ();
/// #     fn new(_: (), _: Host) -> Result<Self> { Ok(Any) }
/// #     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
/// #         match event.kind() {
/// #             Kind::Delete => assert!(!event.exists()),
/// #             Kind::MovedTo => assert_eq!(event.renamed_from(), Some("new/b.txt".as_ref())),
/// #             _ if event.size() > 1 << 30 => bail!(Reject::new("too large")),
/// #             _ => {}
/// #         }
/// #         Ok(())
/// #     }
/// # }
///
/// # let host = TestHost::start::<Any>(json!({})).unwrap();
/// // A file is written, and found again when the host starts.
/// host.event("a.txt").content("one\ntwo").origin(Origin::Start).deliver().assert_done();
/// // The second attempt at the same version of it.
/// host.event("a.txt").attempt(2).deliver().assert_done();
/// // It was deleted; it was renamed.
/// host.event("a.txt").kind(Kind::Delete).missing().deliver().assert_done();
/// host.event("b.txt").kind(Kind::MovedTo).renamed_from("new/b.txt").deliver().assert_done();
/// // A name that is not UTF-8, and a size that no test wants to write.
/// let name = OsStr::from_bytes(b"\xff.mov");
/// host.event(name).size(8 << 30).deliver().assert_reject("too large");
/// ```
#[derive(Debug, Clone)]
#[must_use = "an event does nothing until it is delivered"]
pub struct TestEvent<'h> {
    host: &'h TestHost,
    path: PathBuf,
    kind: Kind,
    origin: Origin,
    attempt: u32,
    renamed_from: PathBuf,
    watch: String,
    extra: String,
    timeout: Option<Duration>,
    is_missing: bool,
    is_directory: bool,
    size: Option<u64>,
    modified: Option<SystemTime>,
}

impl<'h> TestEvent<'h> {
    #[track_caller]
    pub(super) fn new(host: &'h TestHost, path: &Path) -> Self {
        let root = host.root();
        let path = root.join(path);
        let Ok(relative) = path.strip_prefix(root) else {
            panic!("{path:?} is not beneath the root {root:?}")
        };
        TestEvent {
            host,
            path: root.join(relative),
            kind: Kind::Landed,
            origin: Origin::Live,
            attempt: 1,
            renamed_from: PathBuf::new(),
            watch: "test".to_owned(),
            extra: String::new(),
            timeout: host.timeout,
            is_missing: false,
            is_directory: false,
            size: None,
            modified: None,
        }
    }

    /// Writes the file now, with the directories that it needs.
    ///
    /// # Panics
    ///
    /// If it cannot be written.
    #[track_caller]
    pub fn content(self, content: impl AsRef<[u8]>) -> Self {
        let parent = self.path.parent().expect("a file has a parent");
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&self.path, content));
        written.unwrap_or_else(|e| panic!("failed to write {:?}: {e}", self.path));
        self
    }

    /// What happened; else [`Kind::Landed`].
    pub fn kind(mut self, kind: Kind) -> Self {
        self.kind = kind;
        self
    }

    /// Why it is delivered; else [`Origin::Live`].
    pub fn origin(mut self, origin: Origin) -> Self {
        self.origin = origin;
        self
    }

    /// Which attempt it is; else 1.
    pub fn attempt(mut self, attempt: u32) -> Self {
        self.attempt = attempt;
        self
    }

    /// The path beneath the root that the file had before.
    pub fn renamed_from(mut self, relative: impl AsRef<Path>) -> Self {
        self.renamed_from = relative.as_ref().to_owned();
        self
    }

    /// Another plugin, of this name, has handed the file on: [`Kind::Emitted`].
    pub fn emitted_by(mut self, plugin: &str) -> Self {
        self.kind = Kind::Emitted;
        self.extra = Extra { emitted_by: Some(plugin.to_owned()) }.to_json();
        self
    }

    /// The name of the watch; else `test`.
    pub fn watch(mut self, name: &str) -> Self {
        self.watch = name.to_owned();
        self
    }

    /// How long the attempt may take, as the plugin is told: the test itself does not end it. Else what
    /// [`TestHost::set_timeout`] says.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// The file is not there any more, as far as the event goes, whatever lies at its path.
    pub fn missing(mut self) -> Self {
        self.is_missing = true;
        self
    }

    /// It is about a directory, also if none is there.
    pub fn directory(mut self) -> Self {
        self.is_directory = true;
        self
    }

    /// The size that the event tells of. If no file is there, it was when the host looked, and has gone since.
    pub fn size(mut self, bytes: u64) -> Self {
        self.size = Some(bytes);
        self
    }

    /// The time of modification that the event tells of. If no file is there: as with [`TestEvent::size`].
    pub fn modified(mut self, time: SystemTime) -> Self {
        self.modified = Some(time);
        self
    }

    /// Calls `Plugin::on_event`, or `on_batch` with this event alone, and waits for the verdict if it is deferred; without a
    /// flush behind it: that is [`TestHost::flush`], or [`TestHost::burst`] for both.
    ///
    /// # Panics
    ///
    /// If the plugin panics, or neither completes nor drops a deferred verdict within ten seconds.
    #[track_caller]
    pub fn deliver(self) -> Verdict {
        let host = self.host;
        host.hand_over(std::slice::from_ref(&self)).remove(0)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn is_of(&self, host: &TestHost) -> bool {
        self.host.root() == host.root()
    }

    /// What crosses.
    pub(super) fn raw(&self, ticket: u64) -> EventRaw<'_> {
        let root = self.host.root().as_os_str().as_bytes();
        let path = self.path.as_os_str().as_bytes();
        let relative_from = root.len() + 1;
        let look = self.look();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        EventRaw {
            id: look.identity(&self.watch, &path[relative_from..]),
            kind: self.kind.code(),
            origin: self.origin.code(),
            attempt: self.attempt,
            flags: FLAG_HANDS_ON | if look.is_directory || self.is_directory { FLAG_DIRECTORY } else { 0 },
            watch: Text::from_str(&self.watch),
            root: Bytes::from_slice(root),
            path: Bytes::from_slice(path),
            relative_from: relative_from as u64,
            renamed_from: Bytes::from_slice(self.renamed_from.as_os_str().as_bytes()),
            device: look.device,
            inode: look.inode,
            size: look.size,
            mode: look.mode,
            mtime_nanos: look.mtime.1,
            mtime_seconds: look.mtime.0,
            seen_nanos: u64::try_from(now.as_nanos()).unwrap_or(0),
            timeout_nanos: self.timeout.and_then(|t| u64::try_from(t.as_nanos()).ok()).unwrap_or(0),
            spare: [ticket, 0, 0, 0, 0, 0, 0, 0],
            extra: Bytes::from_slice(self.extra.as_bytes()),
        }
    }

    fn look(&self) -> Look {
        if self.is_missing {
            return Look::default();
        }
        let mut look = fs::symlink_metadata(&self.path).map(|found| Look::at(&found)).unwrap_or_default();
        if self.size.is_some() || self.modified.is_some() {
            look.inode = look.inode.max(1);
        }
        look.size = self.size.unwrap_or(look.size);
        look.mtime = self.modified.map_or(look.mtime, since_1970);
        look
    }
}

/// What the file is like when the host looks.
#[derive(Debug, Default)]
struct Look {
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    mtime: (i64, u32),
    is_directory: bool,
}

impl Look {
    fn at(found: &Metadata) -> Look {
        Look {
            device: found.dev(),
            inode: found.ino(),
            size: found.size(),
            mode: found.mode(),
            mtime: (found.mtime(), u32::try_from(found.mtime_nsec()).unwrap_or(0)),
            is_directory: found.is_dir(),
        }
    }

    /// Another for each version of each file, as a host has it; the numbers are not the host's.
    fn identity(&self, watch: &str, relative: &[u8]) -> u64 {
        let mut hasher = DefaultHasher::new();
        (watch, relative, self.inode, self.size, self.mtime).hash(&mut hasher);
        hasher.finish()
    }
}

/// Seconds, and the nanoseconds after them.
pub(super) fn since_1970(time: SystemTime) -> (i64, u32) {
    let seconds = |time: Duration| i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    match time.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => (seconds(after), after.subsec_nanos()),
        Err(before) => match before.duration() {
            whole if whole.subsec_nanos() == 0 => (-seconds(whole), 0),
            part => (-seconds(part) - 1, 1_000_000_000 - part.subsec_nanos()),
        },
    }
}
