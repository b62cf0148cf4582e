//! Runs a program for each file that lands: any script can be a handler.
//!
//! | file | holds |
//! |---|---|
//! | `template` | the arguments and their placeholders |
//! | `program` | finding the program and starting it |
//! | `child` | one running program: its pipes, its end, the end of its process group |
//! | `output` | its output, line by line |
//! | `each` | `mode = "each"`: a child for each event |
//! | `lines` | `mode = "lines"`: one child that answers events line by line |
//! | `answer` | what such a child can answer |
#![forbid(unsafe_code)]

mod template;
mod program;
mod child;
mod output;
mod each;
mod lines;
mod answer;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use notifyit_plugin_api::{Event, Host, Plugin, Reject, Result, anyhow, config, export_plugin};

use each::Each;
use lines::Lines;
use program::Program;

#[config]
struct Config {
    /// The program and its arguments, with placeholders such as `{file}`.
    command: Vec<String>,
    #[serde(default)]
    mode: Mode,
    /// The directory to run in.
    cwd: Option<PathBuf>,
    /// Variables to set, beside those of the host.
    #[serde(default)]
    env: BTreeMap<String, String>,
    /// How long a program that was asked to end may take before it is killed, such as `2s`.
    kill_after: Option<String>,
    /// The program writes to the file that landed: what is there when it ends does not land again.
    #[serde(default)]
    rewrites: bool,
    /// A file that the program is done with is handed on to plugins that take what is emitted.
    #[serde(default)]
    emits: bool,
}

/// How the program is run.
#[config]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Mode {
    /// Anew for each event.
    #[default]
    Each,
    /// Once; it gets an event per line and answers with a verdict per line.
    Lines,
}

/// How long a process group that was asked to end may take before it is killed.
const KILL_AFTER: Duration = Duration::from_secs(2);

struct Exec {
    way: Way,
    /// What is there when it has ended is its work.
    rewrites: bool,
    /// What it is done with is for others, too.
    emits: bool,
}

enum Way {
    Each(Each),
    Lines(Lines),
}

impl Plugin for Exec {
    type Config = Config;

    fn new(config: Config, host: Host) -> Result<Self> {
        let kill_after = config.kill_after.as_deref().map_or(Ok(KILL_AFTER), duration)?;
        let templates = template::parse_all(&config.command, config.mode)?;
        let program = Program::new(&config.command[0], config.cwd, config.env, kill_after)?;
        let way = match config.mode {
            Mode::Each => Way::Each(Each::new(program, templates)),
            Mode::Lines => Way::Lines(Lines::new(program, templates, host)?),
        };
        Ok(Exec { way, rewrites: config.rewrites, emits: config.emits })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let deadline = Deadline::of(event);
        let verdict = match &mut self.way {
            Way::Each(each) => each.run(event, deadline),
            Way::Lines(lines) => lines.ask(event, deadline),
        };
        if self.rewrites {
            event.rewrote(); // also if it has failed: it is tried again by the clock, not by its own close
        }
        if self.emits && verdict.is_ok() {
            event.emit()?;
        }
        verdict
    }

    fn shutdown(&mut self) -> Result<()> {
        if let Way::Lines(lines) = &mut self.way {
            lines.close();
        }
        Ok(())
    }
}

export_plugin!(Exec);

fn duration(text: &str) -> Result<Duration> {
    humantime::parse_duration(text).map_err(|e| wrong("kill_after", format_args!("{e}, such as `2s`")))
}

/// An error in the configuration: the host need not try again.
fn wrong(key: &str, text: std::fmt::Arguments<'_>) -> anyhow::Error {
    Reject::new(format!("configuration: key `{key}`: {text}")).into()
}

/// When an attempt must have ended.
#[derive(Debug, Clone, Copy, Default)]
struct Deadline {
    timeout: Option<Duration>,
    at: Option<Instant>,
}

impl Deadline {
    fn of(event: &Event<'_>) -> Self {
        let timeout = event.timeout();
        Deadline { timeout, at: timeout.and_then(|t| Instant::now().checked_add(t)) }
    }

    fn error(self) -> anyhow::Error {
        let after = humantime::format_duration(self.timeout.unwrap_or_default());
        anyhow!("timed out after {after}")
    }
}

#[cfg(test)]
mod tests;
