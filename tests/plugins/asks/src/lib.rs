//! Asks its host for what a file says, a command a line; what the host answers is in the log.
//!
//! | command | |
//! |---|---|
//! | `put KEY VALUE`, `get KEY`, `remove KEY`, `keys PREFIX` | of its store |
//! | `fill` | puts values of a MiB until there is no room |
//! | `count NAME NUMBER`, `gauge NAME NUMBER` | figures |
//! | `wait` | until it is to stop; then an error |
//! | `panic` | in the first attempt |
//!
//! With `store` it wants its store in `new`; with `thread` it has a thread that waits for its end, and its `Drop` for that.
#![forbid(unsafe_code)]

use std::thread::JoinHandle;
use std::time::Duration;

use notifyit_plugin_api::{Context, Event, Host, Plugin, Result, bail, config, export_plugin, log};

#[config]
struct Config {
    /// Wants its store at once.
    #[serde(default)]
    store: bool,
    /// Has a thread.
    #[serde(default)]
    thread: bool,
    /// Puts something in its last call.
    #[serde(default)]
    put_at_the_end: bool,
}

struct Asks {
    config: Config,
    host: Host,
    thread: Option<JoinHandle<()>>,
}

const LONG: Duration = Duration::from_secs(120);

impl Plugin for Asks {
    type Config = Config;

    fn new(config: Config, host: Host) -> Result<Self> {
        if config.store {
            host.store()?;
        }
        let wait = move || {
            host.attach_thread();
            log::info!("its thread waits");
            log::info!("its thread is told to stop: {}", host.wait_for_stop(LONG));
        };
        let thread = config.thread.then(|| std::thread::spawn(wait));
        Ok(Asks { config, host, thread })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        for line in std::io::read_to_string(event.open()?)?.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            let answer = self.carry_out(&words, event).with_context(|| line.to_owned())?;
            log::info!("{line}: {answer}");
        }
        Ok(())
    }

    fn shutdown(&mut self) -> Result<()> {
        if self.config.put_at_the_end {
            self.host.store()?.put("end", "reached")?;
        }
        log::info!("stopping in its last call: {}", self.host.stopping());
        Ok(())
    }
}

impl Asks {
    fn carry_out(&self, words: &[&str], event: &Event<'_>) -> Result<String> {
        let shown = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        match words {
            ["put", key, value] => self.host.store()?.put(key, value)?,
            ["get", key] => {
                let value = self.host.store()?.get(key)?;
                return Ok(value.map_or("nothing".to_owned(), |value| shown(&value)));
            }
            ["remove", key] => self.host.store()?.remove(key)?,
            ["keys", prefix] => {
                let keys = self.host.store()?.keys(prefix)?;
                return Ok(keys.iter().map(|key| shown(key)).collect::<Vec<_>>().join(" "));
            }
            ["fill"] => {
                let (store, value) = (self.host.store()?, vec![7; 1 << 20]);
                for n in 0_u8..100 {
                    store.put([n], &value)?;
                    log::info!("filled {n}");
                }
            }
            ["count", name, number] => self.host.count(name, number.parse()?),
            ["gauge", name, number] => self.host.gauge(name, number.parse()?),
            ["wait"] => {
                log::info!("waits for its end");
                if self.host.wait_for_stop(LONG) {
                    bail!("told to stop: {}", self.host.stopping());
                }
            }
            ["panic"] if event.attempt() == 1 => panic!("told to panic"),
            ["panic"] => {}
            _ => bail!("no command"),
        }
        Ok("done".to_owned())
    }
}

impl Drop for Asks {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

export_plugin!(Asks);
