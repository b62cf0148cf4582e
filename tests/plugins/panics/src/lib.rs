//! Panics where its configuration says: in `new`, `on_event`, `flush`, `shutdown`, `drop`, or in the drop of what it
//! throws (`payload`). In `on_event` and `flush` only for a file with `poison` in its name, in its first attempt.
//! With `caught` it catches a panic of its own at each event, with `thread` a thread of its own speaks and panics.
#![forbid(unsafe_code)]

use notifyit_plugin_api::{Event, Host, Plugin, Result, config, export_plugin, log};

#[config]
struct Config {
    r#in: Vec<String>,
}

struct Panics {
    config: Config,
    /// A poisoned file came since the last flush.
    poisoned: bool,
}

/// Its drop throws, too.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("thrown by the payload's drop");
    }
}

impl Panics {
    fn at(&self, place: &str) {
        if self.config.r#in.iter().any(|p| p == place) {
            panic!("panics in {place}");
        }
    }
}

impl Plugin for Panics {
    type Config = Config;

    fn new(config: Config, _: Host) -> Result<Self> {
        let panics = Panics { config, poisoned: false };
        panics.at("new");
        Ok(panics)
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        if self.config.r#in.iter().any(|p| p == "caught") {
            let _ = std::panic::catch_unwind(|| panic!("caught by the plugin"));
        }
        if self.config.r#in.iter().any(|p| p == "thread") {
            let thread = std::thread::spawn(|| {
                log::info!("a thread speaks");
                panic!("panics in a thread");
            });
            let _ = thread.join();
        }
        // The first attempt alone, so that what comes after a panic can be seen.
        if event.attempt() == 1 && event.name().to_string_lossy().contains("poison") {
            self.poisoned = true;
            self.at("on_event");
            if self.config.r#in.iter().any(|p| p == "payload") {
                std::panic::panic_any(Bomb);
            }
        }
        log::info!("handled {} in attempt {}", event.relative().display(), event.attempt());
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if std::mem::take(&mut self.poisoned) {
            self.at("flush");
        }
        Ok(())
    }

    fn shutdown(&mut self) -> Result<()> {
        self.at("shutdown");
        Ok(())
    }
}

impl Drop for Panics {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            self.at("drop");
        }
    }
}

export_plugin!(Panics);
