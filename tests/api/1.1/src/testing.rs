//! A host for a plugin's own tests: the real adapter and real files, without a `.so`.

use std::fs;
use std::hash::{Hash, Hasher};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use crate::abi::{
    Bytes, CREATED, CallResult, EventRaw, FLAG_DIRECTORY, HandlerBox, HostApi, HostApi_Ref, Left, RString,
    Text, guard, lend,
};
use crate::kind::{Kind, Origin};
use crate::plugin::Plugin;
use crate::verdict::Verdict;
use crate::{Result, bail};

/// A host with one instance of one plugin, by the name of `test`, and an empty directory, which is removed at the end.
///
/// ```
/// use notifyit_plugin_api::testing::TestHost;
/// use notifyit_plugin_api::{config, json, log, Event, Host, Plugin, Result};
///
/// #[config]
/// struct Config { greeting: String }
///
/// struct Greet { config: Config }
///
/// impl Plugin for Greet {
///     type Config = Config;
///     fn new(config: Config, _host: Host) -> Result<Self> { Ok(Greet { config }) }
///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
///         log::info!("{}, {}", self.config.greeting, event.relative().display());
///         Ok(())
///     }
/// }
///
/// # fn main() -> Result<()> {
/// let mut host = TestHost::start::<Greet>(json!({ "greeting": "hello" }))?;
/// assert!(host.write("a.txt", "content").is_done());
/// assert_eq!(host.logs(), ["INFO hello, a.txt"]);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct TestHost {
    handler: Option<Wire>,
    context: u64,
    root: PathBuf,
    timeout: Option<Duration>,
    /// The last event's path, and what the plugin said that it has left there.
    left: Option<(PathBuf, Left)>,
}

struct Wire(HandlerBox);

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Handler")
    }
}

impl TestHost {
    /// Makes an instance from what a user would write under `[plugin.NAME.config]`.
    ///
    /// # Errors
    ///
    /// What a host would say: a wrong configuration, or `Plugin::new`'s own error.
    ///
    /// # Panics
    ///
    /// If `Plugin::new` panics.
    pub fn start<P: Plugin>(config: serde_json::Value) -> Result<TestHost> {
        let context = NEXT.fetch_add(1, Ordering::Relaxed);
        let root = new_directory(context)?;
        notes().insert(context, Arc::default());
        let made = guard::create_unhooked::<P>(api(), context, Text::from_str(&config.to_string()));
        let mut host = TestHost { handler: None, context, root, timeout: None, left: None };
        match (made.status, made.handler.into_option()) {
            (CREATED, Some(handler)) => host.handler = Some(Wire(handler)),
            (crate::abi::PANICKED, _) => panic!("the plugin panicked in `new`: {}", made.message),
            _ => bail!("{}", made.message),
        }
        Ok(host)
    }

    /// The watched directory.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The deadline that events carry from now on.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Writes a file beneath [`TestHost::root`], with the directories that it needs, and lands it.
    ///
    /// # Panics
    ///
    /// If it cannot be written, or the plugin panics.
    pub fn write(&mut self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Verdict {
        let path = self.root.join(relative);
        let parent = path.parent().expect("a file has a parent");
        let written = fs::create_dir_all(parent).and_then(|()| fs::write(&path, content));
        written.unwrap_or_else(|e| panic!("failed to write {path:?}: {e}"));
        self.land(&path)
    }

    /// Delivers `landed` for a file beneath [`TestHost::root`] (a relative path is taken from there), then flushes.
    ///
    /// # Panics
    ///
    /// If the plugin panics: nothing is swallowed.
    pub fn land(&mut self, path: impl AsRef<Path>) -> Verdict {
        let verdict = self.deliver(Kind::Landed, path, 1);
        match self.flush() {
            Verdict::Done => verdict,
            failed => failed,
        }
    }

    /// Delivers an event of any kind, as attempt number `attempt`, without a flush behind it.
    ///
    /// # Panics
    ///
    /// If the plugin panics, or the path is not beneath [`TestHost::root`].
    pub fn deliver(&mut self, kind: Kind, path: impl AsRef<Path>, attempt: u32) -> Verdict {
        let root = self.root.clone();
        let path = root.join(path);
        let relative = path.strip_prefix(&root).expect("a path beneath the root").as_os_str().as_bytes();
        let bytes = path.as_os_str().as_bytes();
        let stat = fs::symlink_metadata(&path).ok();
        let there = stat.as_ref();
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let event = EventRaw {
            id: identity(relative, there),
            kind: kind.code(),
            origin: Origin::Live.code(),
            attempt,
            flags: if there.is_some_and(fs::Metadata::is_dir) { FLAG_DIRECTORY } else { 0 },
            watch: Text::from_str("test"),
            root: Bytes::from_slice(root.as_os_str().as_bytes()),
            path: Bytes::from_slice(bytes),
            relative_from: (bytes.len() - relative.len()) as u64,
            renamed_from: Bytes::EMPTY,
            device: there.map_or(0, MetadataExt::dev),
            inode: there.map_or(0, MetadataExt::ino),
            size: there.map_or(0, MetadataExt::size),
            mode: there.map_or(0, MetadataExt::mode),
            mtime_nanos: there.and_then(|s| u32::try_from(s.mtime_nsec()).ok()).unwrap_or(0),
            mtime_seconds: there.map_or(0, MetadataExt::mtime),
            seen_nanos: u64::try_from(now.as_nanos()).unwrap_or(0),
            timeout_nanos: self.timeout.and_then(|t| u64::try_from(t.as_nanos()).ok()).unwrap_or(0),
            spare: [0; 8],
            extra: Bytes::EMPTY,
        };
        let mut left = None;
        let verdict = self.call(|handler| {
            let result = handler.on_event(&event);
            left = guard::notes(&result).rewrote;
            result
        });
        self.left = left.map(|left| (path, left));
        verdict
    }

    /// Is what lies at the last event's path the plugin's work, by its own word ([`Event::rewrote`](crate::Event::rewrote))?
    /// If it said so too early, and wrote afterwards, it is not. A host does not deliver such a file again.
    pub fn rewrote(&self) -> bool {
        let Some((path, left)) = &self.left else { return false };
        let version = |left: &Left| (left.inode, left.size, left.mtime_seconds, left.mtime_nanos);
        fs::symlink_metadata(path).is_ok_and(|now| version(&Left::of(&now)) == version(left))
    }

    /// Calls `Plugin::flush`.
    ///
    /// # Panics
    ///
    /// If the plugin panics.
    pub fn flush(&mut self) -> Verdict {
        self.call(|handler| handler.flush())
    }

    /// Calls `Plugin::shutdown` and drops the plugin.
    ///
    /// # Panics
    ///
    /// If the plugin panics, or is shut down already.
    pub fn shutdown(&mut self) -> Verdict {
        let verdict = self.call(|handler| handler.shutdown());
        self.handler = None;
        verdict
    }

    /// What the plugin has logged so far, one `LEVEL message` each.
    pub fn logs(&self) -> Vec<String> {
        notes().get(&self.context).map(|n| lock(&n.logs).clone()).unwrap_or_default()
    }

    /// The reason, if the plugin has asked the host to stop.
    pub fn stopped(&self) -> Option<String> {
        notes().get(&self.context).and_then(|n| lock(&n.stopped).clone())
    }

    fn call(&mut self, f: impl FnOnce(&mut HandlerBox) -> CallResult) -> Verdict {
        let handler = self.handler.as_mut().expect("the plugin has not been shut down");
        guard::from_wire(f(&mut handler.0)).unwrap_or_else(|panic| panic!("the plugin panicked: {panic}"))
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        self.handler = None;
        notes().remove(&self.context);
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// What the plugins of all test hosts of this process said, by context.
#[derive(Debug, Default)]
struct Notes {
    logs: Mutex<Vec<String>>,
    stopped: Mutex<Option<String>>,
}

/// Another for each version of each file, as a host has it; the numbers are not the host's.
fn identity(relative: &[u8], stat: Option<&fs::Metadata>) -> u64 {
    let mut hasher = std::hash::DefaultHasher::new();
    relative.hash(&mut hasher);
    stat.map(|s| (s.ino(), s.size(), s.mtime(), s.mtime_nsec())).hash(&mut hasher);
    hasher.finish()
}

/// A directory that was not there before: a run that was killed leaves its own, and numbers of processes come again.
fn new_directory(context: u64) -> std::io::Result<PathBuf> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let name = format!("notifyit-test-{}-{context}-{:x}", std::process::id(), now.as_nanos());
    let root = std::env::temp_dir().join(name);
    fs::create_dir(&root)?;
    root.canonicalize()
}

static NEXT: AtomicU64 = AtomicU64::new(1);
static NOTES: Mutex<std::collections::BTreeMap<u64, Arc<Notes>>> =
    Mutex::new(std::collections::BTreeMap::new());

fn notes() -> std::sync::MutexGuard<'static, std::collections::BTreeMap<u64, Arc<Notes>>> {
    lock(&NOTES)
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn api() -> HostApi_Ref {
    extern "C" fn log_enabled(_: u64, level: u32, _: Text<'_>) -> bool {
        level <= 4
    }
    extern "C" fn log(context: u64, level: u32, _: Text<'_>, message: Text<'_>, _: Text<'_>, _: u32) {
        let level = ["OFF", "ERROR", "WARN", "INFO", "DEBUG"].get(level as usize).unwrap_or(&"TRACE");
        let notes = notes().get(&context).cloned();
        if let Some(notes) = notes {
            lock(&notes.logs).push(format!("{level} {message}"));
        }
    }
    extern "C" fn stop(context: u64, reason: Text<'_>) {
        let notes = notes().get(&context).cloned();
        if let Some(notes) = notes {
            lock(&notes.stopped).get_or_insert(reason.as_str().to_owned());
        }
    }
    extern "C" fn instance(_: u64) -> RString {
        RString::from("test")
    }
    static API: std::sync::OnceLock<HostApi_Ref> = std::sync::OnceLock::new();
    *API.get_or_init(|| lend(HostApi { log_enabled, log, stop, instance }))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rejects what it has seen, by the version's number.
    struct Once(Vec<u64>);

    impl Plugin for Once {
        type Config = ();

        fn new(_: (), host: crate::Host) -> Result<Self> {
            assert_eq!(host.instance().as_deref(), Some("test"));
            Ok(Once(Vec::new()))
        }

        fn on_event(&mut self, event: &crate::Event<'_>) -> Result<()> {
            if self.0.contains(&event.id()) {
                bail!(crate::Reject::new("seen"));
            }
            self.0.push(event.id());
            Ok(())
        }
    }

    #[test]
    fn each_version_of_a_file_has_its_number_and_keeps_it() {
        let mut host = TestHost::start::<Once>(crate::json!({})).unwrap();
        assert!(host.write("a", "1").is_done());
        assert!(host.land("a").is_reject());
        assert!(host.write("a", "22").is_done());
        assert!(host.write("b", "22").is_done());
    }

    /// Makes text loud. Says so when it is done, too early, or not at all, by the file's name.
    struct Loud;

    impl Plugin for Loud {
        type Config = ();

        fn new(_: (), _: crate::Host) -> Result<Self> {
            Ok(Loud)
        }

        fn on_event(&mut self, event: &crate::Event<'_>) -> Result<()> {
            let text = std::io::read_to_string(event.open()?)?;
            if event.name() == "early" {
                event.rewrote();
            }
            let mut file = fs::File::create(event.path())?;
            std::io::Write::write_all(&mut file, format!("{text}!").as_bytes())?;
            if event.name() == "open" {
                event.rewrote_as(&file);
            }
            drop(file);
            if event.name() == "said" {
                event.rewrote();
            }
            Ok(())
        }
    }

    #[test]
    fn a_plugin_says_what_is_its_work() {
        let mut host = TestHost::start::<Loud>(crate::json!({})).unwrap();
        assert!(!host.rewrote(), "no event yet");
        for (name, says) in [("said", true), ("open", true), ("early", false), ("unsaid", false)] {
            assert!(host.write(name, "1").is_done());
            assert_eq!(host.rewrote(), says, "{name}");
        }
        assert!(host.write("said", "1").is_done());
        fs::write(host.root().join("said"), "of another").unwrap();
        assert!(!host.rewrote(), "another has written since");
    }

    #[test]
    fn a_directory_that_another_run_left_is_not_taken() {
        let directories = [new_directory(0).unwrap(), new_directory(0).unwrap()];
        assert_ne!(directories[0], directories[1]);
        for directory in directories {
            fs::remove_dir(directory).unwrap();
        }
    }
}
