//! Counts the files that land, by the ending of their names.
//!
//! ```toml
//! [plugin.count.config]
//! file = "/var/lib/notifyit/count.json"   # {"files":{"jpg":12,"pdf":3},"last":[…]}
//! ```
//!
//! It needs a place for that file, outside of all that is watched.
//!
//! It shows how to keep a state over restarts: it is read at the first file, changed in memory, and made safe in
//! `flush`. A file that comes twice is counted once, for the state holds the ids of the last 4,096 files, too. (What comes again
//! after more than that, as by `notifyit replay`, or after a kill in a flood, is counted again. A database does better: see
//! `csv-to-sqlite`.)
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf, absolute};

use notifyit_plugin_api::serde::{self, Deserialize, Serialize};
use notifyit_plugin_api::{
    Context, Event, Host, Plugin, Result, Unavailable, config, export_plugin, serde_json,
};

#[config]
struct Config {
    /// Where the totals are kept, as JSON. Not in a watched directory.
    file: PathBuf,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(crate = "serde")]
struct Totals {
    /// How many files there were of each ending, in lower case.
    files: BTreeMap<String, u64>,
    /// The ids of the last ones.
    last: VecDeque<u64>,
}

/// More than is ever called done and not known as finished when the host is killed, but for a flood.
const REMEMBERED: usize = 4096;

struct Count {
    file: PathBuf,
    totals: Option<Totals>,
    is_changed: bool,
}

impl Plugin for Count {
    type Config = Config;

    const MAX_WORKERS: u16 = 1; // One file of totals, which must see every file.
    const READS_ONLY: bool = true;

    fn new(config: Config, _host: Host) -> Result<Self> {
        let file = absolute(config.file)?;
        read(&file)?; // What is wrong with it is told at the start. It is not kept: see below.
        Ok(Count { file, totals: None, is_changed: false })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        // Not in `new`: where newer code takes over, the older instance goes on for a moment, and writes once more.
        let totals = match &mut self.totals {
            Some(totals) => totals,
            none => none.insert(read(&self.file).context(Unavailable::new("no totals"))?),
        };
        if totals.last.contains(&event.id()) {
            return Ok(());
        }
        *totals.files.entry(ending(event)).or_default() += 1;
        totals.last.push_back(event.id());
        if totals.last.len() > REMEMBERED {
            totals.last.pop_front();
        }
        self.is_changed = true;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let (true, Some(totals)) = (self.is_changed, &self.totals) {
            let json = serde_json::to_vec(totals)?;
            // If it fails, the burst comes again, finds its ids here, and is written then.
            replace(&self.file, &json).with_context(|| format!("failed to write {:?}", self.file))?;
            self.is_changed = false;
        }
        Ok(())
    }
}

fn ending(event: &Event<'_>) -> String {
    Path::new(event.name()).extension().unwrap_or_default().to_string_lossy().to_lowercase()
}

fn read(file: &Path) -> Result<Totals> {
    match fs::read(file) {
        Ok(json) => serde_json::from_slice(&json)
            .with_context(|| format!("{file:?} holds no totals; mend or remove it")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Totals::default()),
        Err(error) => Err(error).with_context(|| format!("failed to read {file:?}")),
    }
}

/// Whoever looks, after a crash too, finds the old content or the new one, and either whole.
fn replace(file: &Path, content: &[u8]) -> Result<()> {
    let mut part = file.as_os_str().to_owned();
    part.push(".part");
    let mut new = File::create(&part)?;
    new.write_all(content)?;
    new.sync_all()?;
    fs::rename(&part, file)?;
    let directory = file.parent().context("no directory")?;
    Ok(File::open(directory)?.sync_all()?) // The new name is safe, too.
}

export_plugin!(Count);

#[cfg(test)]
mod tests;
