//! What the host of a test lends, and what it hears: the plugin's log, and its wish to stop.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::TestHost;
use super::in_flight::Completed;
use super::lent::Lent;
use crate::abi::{Bytes, CallResult, ControlResult, DONE, HostApi, HostApi_Ref, RString, Text, lend};
use crate::log::LevelFilter;

/// What the plugin has said.
impl TestHost {
    /// What the plugin has logged so far, one `LEVEL message` each, by all workers. Records of a thread that the plugin
    /// has started are here if that thread has called [`Host::attach_thread`](crate::Host::attach_thread).
    pub fn logs(&self) -> Vec<String> {
        lock(&self.heard().logs).clone()
    }

    /// As [`TestHost::logs`], and forgets them: what comes now stands alone.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, log, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Names;
    /// # impl Plugin for Names {
    /// #     type Config = ();
    /// #     fn new(_: (), _: Host) -> Result<Self> { log::info!("ready"); Ok(Names) }
    /// #     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    /// #         log::info!("{:?}", event.name());
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut host = TestHost::start::<Names>(json!({})).unwrap();
    /// assert_eq!(host.take_logs(), ["INFO ready"]);
    /// host.write("a.txt", "content").assert_done();
    /// assert_eq!(host.logs(), [r#"INFO "a.txt""#]);
    /// ```
    pub fn take_logs(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.heard().logs))
    }

    /// Is this text in one of [`TestHost::logs`]? `WARN ` is in every warning.
    pub fn logged(&self, text: &str) -> bool {
        has(&lock(&self.heard().logs), text)
    }

    /// Fails the test, and shows the logs, if this text is in none of them.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, log, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Empty;
    /// # impl Plugin for Empty {
    /// #     type Config = ();
    /// #     fn new(_: (), _: Host) -> Result<Self> { Ok(Empty) }
    /// #     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    /// #         if event.size() == 0 { log::warn!("{:?} is empty", event.name()); }
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut host = TestHost::start::<Empty>(json!({})).unwrap();
    /// host.write("a.txt", "content").assert_done();
    /// assert!(!host.logged("WARN "));
    /// host.write("b.txt", "").assert_done();
    /// host.assert_logged(r#"WARN "b.txt" is empty"#);
    /// ```
    #[track_caller]
    pub fn assert_logged(&self, text: &str) {
        if !self.logged(text) {
            self.not_logged(text);
        }
    }

    /// As [`TestHost::assert_logged`], for what a thread of the plugin's own logs in its own time: waits for it, for ten
    /// seconds at most.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, log, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Background;
    /// impl Plugin for Background {
    ///     # type Config = ();
    ///     fn new(_: (), host: Host) -> Result<Self> {
    ///         std::thread::spawn(move || {
    ///             host.attach_thread(); // else its records carry no instance's name
    ///             log::info!("connected");
    ///         });
    ///         Ok(Background)
    ///     }
    ///     # fn on_event(&mut self, event: &Event<'_>) -> Result<()> { Ok(()) }
    /// }
    ///
    /// let host = TestHost::start::<Background>(json!({})).unwrap();
    /// host.wait_logged("INFO connected");
    /// ```
    #[track_caller]
    pub fn wait_logged(&self, text: &str) {
        let heard = self.heard();
        let deadline = Instant::now() + PATIENCE;
        let mut logs = lock(&heard.logs);
        while !has(&logs, text) {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                drop(logs);
                self.not_logged(text);
            }
            let waited = heard.more.wait_timeout(logs, left).unwrap_or_else(PoisonError::into_inner);
            logs = waited.0;
        }
    }

    /// The level from now on, of all workers; at first it is `Debug`. A plugin can ask for it with `log::log_enabled!`.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, log, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Costly;
    /// # impl Plugin for Costly {
    /// #     type Config = ();
    /// #     fn new(_: (), _: Host) -> Result<Self> { Ok(Costly) }
    /// #     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    /// #         if log::log_enabled!(log::Level::Debug) { log::debug!("all of it: {event:?}"); }
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut host = TestHost::start::<Costly>(json!({})).unwrap();
    /// host.set_log_level(log::LevelFilter::Info);
    /// host.write("a.txt", "content").assert_done();
    /// assert!(host.logs().is_empty());
    /// ```
    pub fn set_log_level(&self, level: LevelFilter) {
        self.heard().level.store(level as usize, Ordering::Relaxed);
    }

    /// The reason, if the plugin has asked the host to stop.
    pub fn stopped(&self) -> Option<String> {
        lock(&self.heard().stopped).clone()
    }

    #[track_caller]
    fn not_logged(&self, text: &str) -> ! {
        panic!(
            "nothing that was logged has {text:?} in it; {}\n(of the plugin's own threads those are heard that have \
             called `Host::attach_thread`)",
            self.heard().shown()
        );
    }
}

/// How long [`TestHost::wait_logged`] waits.
const PATIENCE: Duration = Duration::from_secs(10);

/// The last so many records are shown when a test fails.
const SHOWN: usize = 50;

fn has(logs: &[String], text: &str) -> bool {
    logs.iter().any(|line| line.contains(text))
}

/// What the workers of one test host have said, and what they are told.
#[derive(Debug)]
pub(super) struct Heard {
    /// Those of its instances.
    contexts: Mutex<Vec<u64>>,
    instance: String,
    level: AtomicUsize,
    logs: Mutex<Vec<String>>,
    more: Condvar,
    stopped: Mutex<Option<String>>,
    /// What the plugin has handed on.
    pub(super) emitted: Mutex<Vec<PathBuf>>,
    pub(super) completed: Completed,
    pub(super) lent: Lent,
}

impl Heard {
    /// Listens until [`Heard::close`].
    pub(super) fn open(instance: &str) -> Arc<Heard> {
        Arc::new(Heard {
            contexts: Mutex::default(),
            instance: instance.to_owned(),
            level: AtomicUsize::new(LevelFilter::Debug as usize),
            logs: Mutex::default(),
            more: Condvar::new(),
            stopped: Mutex::default(),
            emitted: Mutex::default(),
            completed: Completed::default(),
            lent: Lent::default(),
        })
    }

    /// The host's own number for one more instance.
    pub(super) fn context(self: &Arc<Heard>) -> u64 {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        let context = NEXT.fetch_add(1, Ordering::Relaxed);
        lock(&self.contexts).push(context);
        lock(&ALL).insert(context, Arc::clone(self));
        context
    }

    pub(super) fn close(&self) {
        let mut all = lock(&ALL);
        lock(&self.contexts).iter().for_each(|context| drop(all.remove(context)));
    }

    /// The logs, for a person.
    pub(super) fn shown(&self) -> String {
        let logs = lock(&self.logs);
        if logs.is_empty() {
            return "nothing was logged".to_owned();
        }
        let before = logs.len().saturating_sub(SHOWN);
        let mut text = "the logs:".to_owned();
        if before > 0 {
            text += &format!("\n  ({before} more before these)");
        }
        logs[before..].iter().for_each(|line| text += &format!("\n  {line}"));
        text
    }

    /// A panic while the plugin was dropped is only logged: nobody waits for an answer. What it said.
    pub(super) fn panicked_in_drop(&self, before: usize) -> Option<String> {
        let mark = format!("ERROR {}: ", crate::abi::guard::DROPPED);
        let logs = lock(&self.logs);
        logs.iter().skip(before).find_map(|line| line.strip_prefix(&mark)).map(str::to_owned)
    }

    pub(super) fn count(&self) -> usize {
        lock(&self.logs).len()
    }

    fn asked(&self, context: u64, operation: u32, payload: &[u8]) -> (u32, Vec<u8>) {
        self.lent.answer(context, operation, payload, |warning| self.note(format!("WARN {warning}")))
    }

    fn note(&self, line: String) {
        lock(&self.logs).push(line);
        self.more.notify_all();
    }
}

/// What the plugins of all test hosts of this process say, by context.
static ALL: Mutex<BTreeMap<u64, Arc<Heard>>> = Mutex::new(BTreeMap::new());

fn heard(context: u64) -> Option<Arc<Heard>> {
    lock(&ALL).get(&context).cloned()
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn api() -> HostApi_Ref {
    extern "C" fn log_enabled(context: u64, level: u32, _: Text<'_>) -> bool {
        heard(context).is_some_and(|heard| level as usize <= heard.level.load(Ordering::Relaxed))
    }
    extern "C" fn log(context: u64, level: u32, _: Text<'_>, message: Text<'_>, _: Text<'_>, _: u32) {
        let level = ["OFF", "ERROR", "WARN", "INFO", "DEBUG"].get(level as usize).unwrap_or(&"TRACE");
        if let Some(heard) = heard(context) {
            heard.note(format!("{level} {message}"));
        }
    }
    extern "C" fn stop(context: u64, reason: Text<'_>) {
        if let Some(heard) = heard(context) {
            lock(&heard.stopped).get_or_insert(reason.as_str().to_owned());
        }
    }
    extern "C" fn instance(context: u64) -> RString {
        heard(context).map_or_else(RString::new, |heard| heard.instance.as_str().into())
    }
    extern "C" fn complete(context: u64, ticket: u64, result: CallResult) {
        if let Some(heard) = heard(context) {
            heard.completed.put(ticket, result);
        }
    }
    extern "C" fn ask(context: u64, operation: u32, payload: Bytes<'_>) -> ControlResult {
        let answer = heard(context).map(|heard| heard.asked(context, operation, payload.as_slice()));
        // What is over is to end.
        let (status, payload) = answer.unwrap_or((DONE, vec![1]));
        ControlResult { status, payload: payload.into() }
    }
    static API: OnceLock<HostApi_Ref> = OnceLock::new();
    *API.get_or_init(|| lend(HostApi { log_enabled, log, stop, instance, complete, ask }))
}
