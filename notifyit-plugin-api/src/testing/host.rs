//! The host: an instance, and its calls.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::Result;
use crate::abi::{CallResult, HandlerBox, Left, guard};
use crate::kind::Kind;
use crate::plugin::Plugin;
use crate::verdict::Verdict;

use super::event::TestEvent;
use super::heard::{Heard, lock};
use super::in_flight::undo;
use super::place::Place;
use super::verdict::was_called;

/// A host with one instance of one plugin, and an empty directory, which is removed at the end. (If the environment
/// variable `NOTIFYIT_TEST_KEEP` is set, that of a test that fails is kept, and the test says where it is.)
///
/// It calls the plugin on the thread of the test, through the adapter that a host calls, too. See the
/// [module](super) for a whole test file.
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
/// host.write("a.txt", "content").assert_done();
/// assert_eq!(host.logs(), ["INFO hello, a.txt"]);
/// # Ok(())
/// # }
/// ```
///
/// **Panics** of the plugin fail the test, in whichever call they happen, `Drop` included: with the plugin's message and
/// the place in its source. So `#[should_panic(expected = "…")]` works; to go on afterwards, as a host does, there
/// is [`TestHost::expect_panic`].
#[derive(Debug)]
pub struct TestHost {
    pub(super) instance: Mutex<Instance>,
    pub(super) place: Arc<Place>,
    pub(super) timeout: Option<Duration>,
    pub(super) expects_panic: bool,
}

/// One worker's.
#[derive(Default)]
pub(super) struct Instance {
    /// None after the shutdown.
    pub(super) handler: Option<HandlerBox>,
    /// The last event's path, and what the plugin said that it has left there.
    left: Option<(PathBuf, Left)>,
    /// What was emitted since the last flush.
    pub(super) emits: Vec<PathBuf>,
}

impl std::fmt::Debug for Instance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Instance").field("runs", &self.handler.is_some()).finish_non_exhaustive()
    }
}

impl TestHost {
    /// Makes an instance, by the name of `test`, from what a user would write under `[plugin.NAME.config]`.
    ///
    /// # Errors
    ///
    /// What a host would say: a wrong configuration, or `Plugin::new`'s own error. If it is for good, so that a host does not
    /// try again until something changes, it is a [`Reject`](crate::Reject): `error.is::<Reject>()`.
    ///
    /// # Panics
    ///
    /// If `Plugin::new` panics.
    #[track_caller]
    pub fn start<P: Plugin>(config: serde_json::Value) -> Result<TestHost> {
        TestHost::start_as::<P>("test", config)
    }

    /// As [`TestHost::start`], by another name: what [`Host::instance`](crate::Host::instance) says. Start two for two
    /// instances of one library, as of `[plugin.alpha]` and `[plugin.beta]`; each has a directory and logs of its own.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Index(std::path::PathBuf);
    /// impl Plugin for Index {
    ///     # type Config = ();
    ///     fn new(_: (), host: Host) -> Result<Self> {
    ///         let name = host.instance().unwrap_or_default();
    ///         Ok(Index(std::env::temp_dir().join(format!("{name}.index"))))
    ///     }
    ///     # fn on_event(&mut self, _: &Event<'_>) -> Result<()> {
    ///     #     assert_eq!(self.0, std::env::temp_dir().join("alpha.index"));
    ///     #     Ok(())
    ///     # }
    /// }
    ///
    /// let mut host = TestHost::start_as::<Index>("alpha", json!({})).unwrap();
    /// host.write("a.txt", "content").assert_done();
    /// ```
    ///
    /// # Errors
    ///
    /// As [`TestHost::start`].
    ///
    /// # Panics
    ///
    /// As [`TestHost::start`].
    #[track_caller]
    pub fn start_as<P: Plugin>(name: &str, config: serde_json::Value) -> Result<TestHost> {
        TestHost::at(Arc::new(Place::new::<P>(name, &config)?))
    }

    /// One more worker, as `workers = 2` makes: another instance of the same plugin with the same configuration, directory
    /// and logs. It can move to another thread. A host gives all events of one path to one worker, and does not go
    /// beyond [`Plugin::MAX_WORKERS`], but for a moment when newer code takes the place of older.
    ///
    /// After [`TestHost::shutdown`] it is the next start.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Any;
    /// # impl Plugin for Any {
    /// #     type Config = ();
    /// #     fn new(_: (), _: Host) -> Result<Self> { Ok(Any) }
    /// #     fn on_event(&mut self, event: &Event<'_>) -> Result<()> { Ok(()) }
    /// # }
    /// let mut host = TestHost::start::<Any>(json!({})).unwrap();
    /// let mut second = host.worker().unwrap();
    /// std::thread::scope(|scope| {
    ///     scope.spawn(|| host.write("a", "content").assert_done());
    ///     scope.spawn(|| second.write("b", "content").assert_done());
    /// });
    /// ```
    ///
    /// # Errors
    ///
    /// `Plugin::new`'s own.
    ///
    /// # Panics
    ///
    /// If `Plugin::new` panics.
    #[track_caller]
    pub fn worker(&self) -> Result<TestHost> {
        if lock(&self.instance).handler.is_none() {
            self.heard().lent.starts_anew();
        }
        let mut worker = TestHost::at(Arc::clone(&self.place))?;
        worker.timeout = self.timeout;
        Ok(worker)
    }

    #[track_caller]
    fn at(place: Arc<Place>) -> Result<TestHost> {
        let instance = Instance { handler: Some(place.instance()?), ..Instance::default() };
        Ok(TestHost { instance: Mutex::new(instance), place, timeout: None, expects_panic: false })
    }

    /// The watched directory.
    pub fn root(&self) -> &Path {
        &self.place.root
    }

    /// The deadline that events carry from now on. The plugin is told of it, but the test does not end its calls.
    pub fn set_timeout(&mut self, timeout: Option<Duration>) {
        self.timeout = timeout;
    }

    /// Writes a file beneath [`TestHost::root`], with the directories that it needs, and lands it.
    ///
    /// # Panics
    ///
    /// If it cannot be written, or the plugin panics.
    #[track_caller]
    pub fn write(&mut self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) -> Verdict {
        let verdict = self.event(relative).content(content).deliver();
        self.flushed(verdict)
    }

    /// Delivers `landed` for a file beneath [`TestHost::root`] (a relative path is taken from there), then flushes.
    ///
    /// # Panics
    ///
    /// If the plugin panics: nothing is swallowed.
    #[track_caller]
    pub fn land(&mut self, path: impl AsRef<Path>) -> Verdict {
        let verdict = self.event(path).deliver();
        self.flushed(verdict)
    }

    /// Delivers an event of any kind, as attempt number `attempt`, without a flush behind it. More can be said with
    /// [`TestHost::event`].
    ///
    /// # Panics
    ///
    /// If the plugin panics, or the path is not beneath [`TestHost::root`].
    #[track_caller]
    pub fn deliver(&mut self, kind: Kind, path: impl AsRef<Path>, attempt: u32) -> Verdict {
        self.event(path).kind(kind).attempt(attempt).deliver()
    }

    /// An event of the file at this path, which need not exist: to be filled in and then delivered. A relative path is
    /// taken from [`TestHost::root`].
    ///
    /// # Panics
    ///
    /// If the path is not beneath [`TestHost::root`].
    #[track_caller]
    pub fn event(&self, path: impl AsRef<Path>) -> TestEvent<'_> {
        TestEvent::new(self, path.as_ref())
    }

    /// Delivers these events, then flushes, as a host does, and says what becomes of each. What was done is a retry if the
    /// flush fails. They may be another worker's events: it is this one that gets them.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result, bail};
    /// # struct Archive { sizes: Vec<u64> }
    /// impl Plugin for Archive {
    ///     # type Config = ();
    ///     # fn new(_: (), _: Host) -> Result<Self> { Ok(Archive { sizes: Vec::new() }) }
    ///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    ///         self.sizes.push(event.size());
    ///         Ok(())
    ///     }
    ///     fn flush(&mut self) -> Result<()> {
    ///         if self.sizes.drain(..).sum::<u64>() > 1000 { bail!("disk full") }
    ///         Ok(())
    ///     }
    /// }
    ///
    /// # let mut host = TestHost::start::<Archive>(json!({})).unwrap();
    /// let verdicts = host.burst([host.event("a").size(10), host.event("b").size(5000)]);
    /// verdicts.iter().for_each(|verdict| verdict.assert_retry("failed to flush: disk full"));
    /// ```
    ///
    /// # Panics
    ///
    /// If the plugin panics.
    #[track_caller]
    pub fn burst<'h>(&self, events: impl IntoIterator<Item = TestEvent<'h>>) -> Vec<Verdict> {
        let events: Vec<TestEvent<'h>> = events.into_iter().collect();
        let mut verdicts = self.hand_over(&events);
        undo(&mut verdicts, &self.call_flush());
        verdicts
    }

    /// Is what lies at the last event's path the plugin's work, by its own word ([`Event::rewrote`](crate::Event::rewrote))?
    /// If it said so too early, and wrote afterwards, it is not. A host does not deliver such a file again.
    pub fn rewrote(&self) -> bool {
        let instance = lock(&self.instance);
        let Some((path, left)) = &instance.left else { return false };
        let version = |left: &Left| (left.inode, left.size, left.mtime_seconds, left.mtime_nanos);
        std::fs::symlink_metadata(path).is_ok_and(|now| version(&Left::of(&now)) == version(left))
    }

    /// Calls `Plugin::flush`.
    ///
    /// # Panics
    ///
    /// If the plugin panics.
    #[track_caller]
    pub fn flush(&mut self) -> Verdict {
        self.call_flush()
    }

    #[track_caller]
    pub(super) fn call_flush(&self) -> Verdict {
        let result = self.called(|handler| handler.flush());
        let flush = self.judge(result);
        let emits = std::mem::take(&mut lock(&self.instance).emits);
        if flush.is_done() {
            self.hand_on(emits);
        }
        flush
    }

    /// Calls `Plugin::shutdown` and drops the plugin.
    ///
    /// # Panics
    ///
    /// If the plugin panics.
    #[track_caller]
    pub fn shutdown(&mut self) -> Verdict {
        let result = self.called(|handler| handler.shutdown());
        self.end();
        self.judge(result)
    }

    #[track_caller]
    fn flushed(&mut self, verdict: Verdict) -> Verdict {
        match self.flush() {
            Verdict::Done => verdict,
            failed => failed,
        }
    }

    /// What the plugin said that it has left at the last event's path.
    pub(super) fn has_left(&self, path: &Path, left: Option<Left>) {
        lock(&self.instance).left = left.map(|left| (path.to_owned(), left));
    }

    #[track_caller]
    pub(super) fn called<T>(&self, f: impl FnOnce(&mut HandlerBox) -> T) -> T {
        was_called(self.heard());
        let result = lock(&self.instance).handler.as_mut().map(f);
        let Some(result) = result else { panic!("the plugin has been shut down: it can be called no more") };
        result
    }

    #[track_caller]
    pub(super) fn judge(&self, result: CallResult) -> Verdict {
        match guard::from_wire(result) {
            Ok(verdict) => verdict,
            Err(said) => self.has_panicked(&said),
        }
    }

    pub(super) fn heard(&self) -> &Arc<Heard> {
        &self.place.heard
    }
}
