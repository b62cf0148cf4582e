//! Well-behaved: writes down each call, one line of JSON each, and answers as the name of the file says.
//!
//! A name is split at `.`; each part may be a word of this script:
//!
//! | word | answer |
//! |---|---|
//! | `open` | opens the event's file; its content is written down, or the error, with a retry |
//! | `reopen` | opens the file for writing, writes nothing, and closes it |
//! | `rewrite` | notes the content and appends a `+` to it, in place |
//! | `rewrote` | the same, and says so |
//! | `replace` | the same, in a file `….part` beside it that is renamed to its place |
//! | `slow50ms` | takes that long |
//! | `retry`, `retry3` | an error, always or in the first three attempts |
//! | `after200ms` | in the first attempt an error with `RetryAfter` |
//! | `away200ms` | at first, once, an error with `Unavailable` and `RetryAfter` |
//! | `reject` | an error with `Reject` |
//! | `panic` | in the first attempt a panic |
//!
//! The file of the library holds a text, `recorder-build:` and nine characters, which a test may write over: so it has
//! any number of builds that differ. Each line says which one wrote it. Some builds have a will of their own:
//!
//! | build | what it does |
//! |---|---|
//! | `no-new…` | its `new` fails |
//! | `rejects…` | its `new` rejects the configuration |
//! | `hang-new…` | its `new` comes back only when the file `hold_new` is gone |
//! | `hang-end…` | its `shutdown` comes back only when the file `hold_end` is gone |
#![forbid(unsafe_code)]

use std::env::var_os;
use std::fs::{File, OpenOptions, read_link, rename};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, SystemTime};

use notifyit_plugin_api::serde_json::{Value, from_str};
use notifyit_plugin_api::{
    Context, Error, Event, Host, Plugin, Reject, Result, RetryAfter, Unavailable, bail, config,
    export_plugin, json, log,
};

#[config]
struct Config {
    /// Where the lines go. Default: `$RECORDER_OUT`.
    out: Option<PathBuf>,
    /// While this file exists, no event is answered.
    hold: Option<PathBuf>,
    /// The same for files whose name begins with `held`.
    hold_held: Option<PathBuf>,
    /// While this file exists, the `new` of a build `hang-new…` does not come back.
    hold_new: Option<PathBuf>,
    /// While this file exists, the `shutdown` of a build `hang-end…` does not come back.
    hold_end: Option<PathBuf>,
    /// While this file exists, every answer is an error.
    fail_while: Option<PathBuf>,
    /// How long every event takes.
    #[serde(default)]
    slow_ms: u64,
    /// How many calls of `flush` fail, in each instance.
    #[serde(default)]
    failing_flushes: u32,
    /// They fail because what it writes to is away.
    #[serde(default)]
    away: bool,
    /// What was done is written down by `flush`, not before.
    #[serde(default)]
    buffered: bool,
    /// Each file that it is done with is handed on.
    #[serde(default)]
    emits: bool,
    /// A copy of each file that it is done with, by the same name, is made there, and handed on. The name `….N` becomes
    /// `….N+1`.
    emits_copies: Option<PathBuf>,
    /// How a copy comes to its place: `renamed`, by way of `….part`; `renamed later`, when it is emitted; or `in a directory` of its own, `….new`. Else it is
    /// written there.
    copied: Option<String>,
    /// While this file exists, no `flush` comes back or has written anything.
    hold_flush: Option<PathBuf>,
}

static WAS_AWAY: AtomicBool = AtomicBool::new(false);

/// Stands in the library's file as it is.
#[used]
static BUILD: [u8; 24] = *b"recorder-build:000000000";

/// What stands there now. Not what stood there when this was compiled.
fn build() -> &'static str {
    let text = std::hint::black_box(&BUILD);
    std::str::from_utf8(&text[15..]).unwrap_or("?")
}

thread_local! {
    /// The kernel's name for this thread. (Its name is known to the host's standard library alone.)
    static THREAD: String = read_link("/proc/thread-self").unwrap_or_default().to_string_lossy().into_owned();
}

struct Recorder {
    config: Config,
    instance: u64,
    out: File,
    buffer: Vec<Value>,
}

impl Plugin for Recorder {
    type Config = Config;

    /// The same source, built once more as another plugin.
    #[cfg(feature = "closes")]
    const EVENTS: &'static [notifyit_plugin_api::Kind] = &[notifyit_plugin_api::Kind::CloseWrite];

    fn new(config: Config, _: Host) -> Result<Self> {
        static INSTANCES: AtomicU64 = AtomicU64::new(1);
        match build() {
            build if build.starts_with("no-new") => bail!("told to fail for now"),
            build if build.starts_with("rejects") => bail!(Reject::new("told to reject")),
            build if build.starts_with("hang-new") => wait_while(config.hold_new.as_deref(), "the start"),
            _ => {}
        }
        let path = config.out.clone().or_else(|| var_os("RECORDER_OUT").map(PathBuf::from));
        let path = path.context("nobody says where to write")?;
        let out = OpenOptions::new().create(true).append(true).open(&path)?;
        end_line(&out, &path)?;
        // Those of other processes have other numbers.
        let instance = u64::from(std::process::id()) << 16 | INSTANCES.fetch_add(1, Ordering::Relaxed);
        let recorder = Recorder { config, instance, out, buffer: Vec::new() };
        recorder.record("new", Value::Null, Value::Null)?;
        Ok(recorder)
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let form = from_str(&event.to_json())?;
        self.hold(event);
        match self.answer(event).and_then(|content| self.emit(event).map(|()| content)) {
            Ok(_) if self.config.buffered => {
                self.buffer.push(form);
                Ok(())
            }
            Ok(content) => self.record("done", form, content.into()),
            Err(error) => {
                let say = if error.downcast_ref::<Reject>().is_some() { "reject" } else { "retry" };
                self.record(say, form, format!("{error:#}").into())?;
                Err(error)
            }
        }
    }

    fn flush(&mut self) -> Result<()> {
        if self.config.failing_flushes > 0 {
            self.config.failing_flushes -= 1;
            self.record("flush failed", Value::Null, Value::Null)?;
            if self.config.away {
                bail!(Unavailable::new("told to be away"));
            }
            bail!("the flush failed");
        }
        if !self.buffer.is_empty() {
            wait_while(self.config.hold_flush.as_deref(), "the flush");
        }
        for form in std::mem::take(&mut self.buffer) {
            self.record("done", form, Value::Null)?;
        }
        self.record("flush", Value::Null, Value::Null)
    }

    fn shutdown(&mut self) -> Result<()> {
        if build().starts_with("hang-end") {
            wait_while(self.config.hold_end.as_deref(), "the end");
        }
        self.record("shutdown", Value::Null, Value::Null)
    }
}

impl Recorder {
    fn hold(&self, event: &Event<'_>) {
        let what = format!("{:?}", event.relative());
        wait_while(self.config.hold.as_deref(), &what);
        if event.name().as_encoded_bytes().starts_with(b"held") {
            wait_while(self.config.hold_held.as_deref(), &what);
        }
    }

    /// What the script and the configuration say; the file's content if it was to be opened.
    fn answer(&self, event: &Event<'_>) -> Result<Option<String>> {
        sleep(Duration::from_millis(self.config.slow_ms));
        if self.config.fail_while.as_deref().is_some_and(Path::exists) {
            bail!("told to fail for now");
        }
        let mut content = None;
        for word in event.name().to_string_lossy().split('.') {
            match split(word) {
                ("slow", Some(millis)) => sleep(Duration::from_millis(millis)),
                ("retry", times) if times.is_none_or(|times| u64::from(event.attempt()) <= times) => {
                    bail!("told to retry in attempt {}", event.attempt());
                }
                ("after", Some(millis)) if event.attempt() == 1 => {
                    bail!(RetryAfter(Duration::from_millis(millis)));
                }
                ("away", Some(millis)) if !WAS_AWAY.swap(true, Ordering::Relaxed) => {
                    let after = RetryAfter(Duration::from_millis(millis));
                    return Err(Error::new(Unavailable::new("told to be away")).context(after));
                }
                ("panic", _) if event.attempt() == 1 => panic!("told to panic"),
                ("reject", _) => bail!(Reject::new("told to reject")),
                ("reopen", _) => drop(File::options().write(true).open(event.path())?),
                ("rewrite", _) => content = Some(rewrite(event)?),
                ("rewrote", _) => {
                    content = Some(rewrite(event)?);
                    event.rewrote();
                }
                ("replace", _) => content = Some(self.replace(event)?),
                ("open", _) => content = Some(read(event).context("failed to open the event's file")?),
                _ => {}
            }
        }
        Ok(content)
    }

    fn emit(&self, event: &Event<'_>) -> Result<()> {
        if self.config.emits {
            event.emit()?;
        }
        if let Some(directory) = &self.config.emits_copies {
            let name = Path::new(event.name());
            let number = name.extension().and_then(|number| number.to_str()?.parse::<u32>().ok());
            let name = number.map_or(name.to_owned(), |number| name.with_extension((number + 1).to_string()));
            std::fs::create_dir_all(directory)?;
            self.emit_copy(event, &directory.join(name))?;
        }
        Ok(())
    }

    fn emit_copy(&self, event: &Event<'_>, copy: &Path) -> Result<()> {
        let beside = |ending: &str| {
            let mut path = copy.as_os_str().to_owned();
            path.push(ending);
            PathBuf::from(path)
        };
        match self.config.copied.as_deref() {
            Some("renamed") => {
                std::fs::copy(event.path(), beside(".part"))?;
                rename(beside(".part"), copy)?;
                event.emit_file(copy)
            }
            Some("renamed later") => {
                std::fs::copy(event.path(), beside(".part"))?;
                event.emit_file(beside(".part"))?;
                Ok(rename(beside(".part"), copy)?)
            }
            Some("in a directory") => {
                let new = beside(".new");
                std::fs::create_dir_all(&new)?;
                std::fs::copy(event.path(), new.join("copy"))?;
                event.emit_file(new.join("copy"))
            }
            _ => {
                std::fs::copy(event.path(), copy)?;
                event.emit_file(copy)
            }
        }
    }

    fn replace(&self, event: &Event<'_>) -> Result<String> {
        let text = read(event)?;
        let beside = event.path().with_extension("part");
        let mut file = File::create(&beside)?;
        file.write_all(format!("{text}+").as_bytes())?;
        event.rewrote_as(&file);
        drop(file);
        rename(&beside, event.path())?;
        Ok(text)
    }

    fn record(&self, say: &str, event: Value, text: Value) -> Result<()> {
        static LINES: AtomicU64 = AtomicU64::new(1);
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
        let line = json!({
            "line": LINES.fetch_add(1, Ordering::Relaxed),
            "at_nanos": u64::try_from(now.as_nanos())?,
            "instance": self.instance,
            "build": build(),
            "thread": THREAD.with(Clone::clone),
            "say": say,
            "text": text,
            "event": event,
        });
        (&self.out).write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }
}

/// Waits for as long as this file exists.
fn wait_while(file: Option<&Path>, what: &str) {
    let Some(file) = file.filter(|file| file.exists()) else { return };
    log::info!("holding {what}");
    while file.exists() {
        sleep(Duration::from_millis(2));
    }
}

/// A host that was killed may have left half a line: the next record does not begin in it.
fn end_line(mut out: &File, path: &Path) -> Result<()> {
    let mut last = [b'\n'];
    let mut written = File::open(path)?;
    if written.seek(SeekFrom::End(-1)).is_ok() {
        written.read_exact(&mut last)?;
    }
    if last != *b"\n" {
        out.write_all(b"\n")?;
    }
    Ok(())
}

/// `slow50ms` → (`slow`, 50).
fn split(word: &str) -> (&str, Option<u64>) {
    let at = word.find(|c: char| c.is_ascii_digit()).unwrap_or(word.len());
    let (verb, number) = word.split_at(at);
    (verb, number.trim_end_matches("ms").parse().ok())
}

fn rewrite(event: &Event<'_>) -> Result<String> {
    let text = read(event)?;
    std::fs::write(event.path(), format!("{text}+"))?;
    Ok(text)
}

fn read(event: &Event<'_>) -> Result<String> {
    let mut text = String::new();
    event.open()?.read_to_string(&mut text)?;
    Ok(text)
}

export_plugin!(Recorder);
