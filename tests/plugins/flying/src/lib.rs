//! Has several events in hand. A file is `NAME.WORD.txt`; without a word all is well, and what a word says holds for the
//! first attempt; `abort`, and `panic` in a batch, are for each.
//!
//! By default each event's verdict is deferred, and comes from a thread of its own when the file `hold` is gone:
//!
//! | word | what the thread does |
//! |---|---|
//! | `fail`, `reject`, `unavailable` | completes it so |
//! | `drop` | drops it |
//! | `never` | keeps it for ever |
//! | `panic` | panics |
//! | `abort` | ends the process |
//! | `last` | completes it well, and ends the process |
//! | `rewrote` | completes it well; the call has written to the file, and claimed that |
//! | `touch` | opens and closes the file for writing, and completes it well |
//! | `error` | completes it well, but the call has failed |
//! | `crash` | there is none: the call panics |
//!
//! With `batches`, they are taken many at a time:
//!
//! | word | what becomes of it |
//! |---|---|
//! | `fail`, `reject` | settled so |
//! | `panic`, `abort` | the call panics, or ends the process |
#![forbid(unsafe_code)]

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use notifyit_plugin_api::{
    Deferred, Event, Host, Plugin, Reject, Result, Unavailable, anyhow, bail, config, export_plugin,
};

#[config]
struct Config {
    /// A line for each attempt, `began ATTEMPT FILE`, for each good end, `done ATTEMPT FILE`, and for each call with several,
    /// `batch COUNT`.
    out: PathBuf,
    hold: Option<PathBuf>,
    #[serde(default)]
    batches: bool,
    /// Each file that it is done with is handed on: every other one in the call, if its verdict is deferred.
    #[serde(default)]
    emits: bool,
}

struct Flying {
    config: Config,
    out: File,
}

/// An attempt that found it away does not count, and the next one is the first.
static HAS_BEEN_AWAY: AtomicBool = AtomicBool::new(false);

/// What is needed of an event when its call is over.
struct Job {
    name: String,
    word: String,
    line: String,
    hold: Option<PathBuf>,
    path: PathBuf,
    out: File,
    emits: bool,
}

impl Plugin for Flying {
    type Config = Config;

    const IN_FLIGHT: u16 = 8;

    fn new(config: Config, _: Host) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(&config.out)?;
        Ok(Flying { config, out })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let job = self.begin(event)?;
        assert_ne!(job.word, "crash", "told to panic in the call");
        if job.word == "rewrote" {
            OpenOptions::new().append(true).open(event.path())?.write_all(b"more")?;
            event.rewrote();
        }
        let deferred = event.defer()?;
        if job.emits && event.inode().is_multiple_of(2) {
            event.emit()?;
        }
        let fails = job.word == "error";
        thread::spawn(move || job.run(deferred));
        if fails { bail!("the call has failed") } else { Ok(()) }
    }

    fn on_batch(&mut self, events: &[Event<'_>]) -> Result<()> {
        if !self.config.batches {
            for event in events {
                if let Err(error) = self.on_event(event) {
                    event.settle(Err(error));
                }
            }
            return Ok(());
        }
        self.write(&format!("batch {}", events.len()))?;
        for event in events {
            let job = self.begin(event)?;
            if self.config.emits {
                event.emit()?;
            }
            match job.word.as_str() {
                "fail" => event.settle(Err(anyhow!("told to fail"))),
                "reject" => event.settle(Err(Reject::new("told to reject").into())),
                "panic" => panic!("told to panic"),
                "abort" => std::process::abort(),
                _ => {}
            }
        }
        wait_while(self.config.hold.as_deref());
        for event in events {
            self.write(&format!("done {} {}", event.attempt(), event.relative().display()))?;
        }
        Ok(())
    }
}

impl Flying {
    fn begin(&self, event: &Event<'_>) -> Result<Job> {
        let name = event.relative().display().to_string();
        let line = format!("{} {name}", event.attempt());
        self.write(&format!("began {line}"))?;
        let word = name.split('.').nth(1).filter(|word| *word != "txt").unwrap_or_default().to_owned();
        let lasts = word == "abort" || word == "panic" && self.config.batches;
        let word = if event.attempt() == 1 || lasts { word } else { String::new() };
        let (path, hold) = (event.path().to_owned(), self.config.hold.clone());
        let emits = self.config.emits;
        Ok(Job { name, word, line, hold, path, out: self.out.try_clone()?, emits })
    }

    fn write(&self, line: &str) -> Result<()> {
        Ok((&self.out).write_all(format!("{line}\n").as_bytes())?)
    }
}

impl Job {
    fn run(mut self, mut deferred: Deferred) {
        wait_while(self.hold.as_deref());
        match self.word.as_str() {
            "fail" => deferred.complete(Err(anyhow!("told to fail"))),
            "reject" => deferred.complete(Err(Reject::new("told to reject").into())),
            "unavailable" if !HAS_BEEN_AWAY.swap(true, Ordering::Relaxed) => {
                deferred.complete(Err(Unavailable::new("told to be away").into()))
            }
            "drop" => drop(deferred),
            "never" => loop {
                thread::park();
            },
            "panic" => panic!("told to panic at {}", self.name),
            "abort" => std::process::abort(),
            word => {
                let written = self.out.write_all(format!("done {}\n", self.line).as_bytes());
                if word == "touch" {
                    drop(OpenOptions::new().append(true).open(&self.path));
                }
                if self.emits {
                    let _ = deferred.emit();
                }
                deferred.complete(written.map_err(Into::into));
                if word == "last" {
                    std::process::abort();
                }
            }
        }
    }
}

fn wait_while(file: Option<&Path>) {
    while file.is_some_and(Path::exists) {
        thread::sleep(Duration::from_millis(2));
    }
}

export_plugin!(Flying);
