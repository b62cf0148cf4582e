//! A plugin that uses what 1.0 has. It answers as the content of the file says: `reject`, `retry`, `unavailable`, or
//! `panic`, all but the first in the first attempt alone.

use std::time::Duration;

use notifyit_plugin_api::{
    Context, Event, Host, Plugin, Reject, Result, RetryAfter, Unavailable, bail, config, log,
};

#[config]
pub(crate) struct Config {
    greeting: String,
}

pub(crate) struct Minor {
    config: Config,
    /// Since the last flush.
    handled: u32,
}

impl Plugin for Minor {
    type Config = Config;

    fn new(config: Config, host: Host) -> Result<Self> {
        log::info!("made, knows {}", super::knows(host));
        Ok(Minor { config, handled: 0 })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let text = std::io::read_to_string(event.open()?).context("failed to read the event's file")?;
        match text.as_str() {
            "reject" => bail!(Reject::new("told to reject")),
            _ if event.attempt() > 1 => {}
            "retry" => bail!(RetryAfter(Duration::from_millis(20))),
            "unavailable" => bail!(Unavailable::new("told to be unavailable")),
            "panic" => panic!("told to panic"),
            _ => {}
        }
        event.rewrote();
        self.handled += 1;
        log::info!("{} {text}", self.config.greeting);
        log::debug!("{}", said_of(event));
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        log::info!("flushed {}", std::mem::take(&mut self.handled));
        Ok(())
    }

    fn shutdown(&mut self) -> Result<()> {
        log::info!("shut down");
        Ok(())
    }
}

/// All that 1.0 says of an event.
fn said_of(event: &Event<'_>) -> String {
    let (id, kind, origin, attempt) = (event.id(), event.kind(), event.origin(), event.attempt());
    let (watch, root, path) = (event.watch(), event.root(), event.path());
    let (relative, name, before) = (event.relative(), event.name(), event.renamed_from());
    let (size, device, inode, mode) = (event.size(), event.device(), event.inode(), event.mode());
    let (modified, seen, timeout) = (event.modified(), event.seen(), event.timeout());
    let (directory, exists) = (event.is_directory(), event.exists());
    format!(
        "{id:x} {kind} {origin} {attempt} {watch} {root:?} {path:?} {relative:?} {name:?} {before:?} {size} {device} \
         {inode} {mode:o} {modified:?} {seen:?} {timeout:?} {directory} {exists}"
    )
}
