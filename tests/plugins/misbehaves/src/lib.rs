//! Does the harm that its configuration names (`how`), where that says (`at`): in `on_event`, the default, `flush`, `new`,
//! `shutdown`, or `drop`. In `on_event` and `flush` only for a file whose name begins with `bad`, in its first attempt,
//! or with `always = true` in each. It logs which process each instance is made in, when it begins with its harm, and in
//! `flush` each file that it has handled.
#![expect(unsafe_code, reason = "what harms a process is unsafe")]

mod harms;
mod process;
mod descriptors;
mod words;

use notifyit_plugin_api::{Context, Event, Host, Plugin, Result, config, export_plugin, log};

use crate::harms::Harm;

#[config]
struct Config {
    how: String,
    #[serde(default = "on_event")]
    at: String,
    #[serde(default)]
    always: bool,
}

fn on_event() -> String {
    "on_event".to_owned()
}

struct Misbehaves {
    config: Config,
    harm: Harm,
    /// A bad file came since the last flush.
    bad: bool,
    /// What is to be said of the files that came since then.
    handled: Vec<String>,
}

impl Misbehaves {
    fn at(&self, place: &str) -> Result<()> {
        if self.config.at != place {
            return Ok(());
        }
        log::info!("begins in {place}");
        (self.harm)()
    }
}

impl Plugin for Misbehaves {
    type Config = Config;

    fn new(config: Config, _: Host) -> Result<Self> {
        log::info!("new in process {}", std::process::id());
        let harm = harms::named(&config.how).with_context(|| format!("no such harm: {}", config.how))?;
        let made = Misbehaves { config, harm, bad: false, handled: Vec::new() };
        made.at("new")?;
        Ok(made)
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let is_bad = event.name().to_string_lossy().starts_with("bad");
        if is_bad && (event.attempt() == 1 || self.config.always) {
            self.bad = true;
            self.at("on_event")?;
        }
        self.handled.push(format!("handled {} in attempt {}", event.relative().display(), event.attempt()));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if std::mem::take(&mut self.bad) {
            self.at("flush")?;
        }
        self.handled.drain(..).for_each(|line| log::info!("{line}"));
        Ok(())
    }

    fn shutdown(&mut self) -> Result<()> {
        self.at("shutdown")
    }
}

impl Drop for Misbehaves {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            let _ = self.at("drop");
        }
    }
}

export_plugin!(Misbehaves);
