//! Has ClamAV's daemon look for viruses in each file that lands.
//!
//! ```toml
//! [plugin.clamav]
//! workers = 4
//! timeout = "5m"
//!
//! [plugin.clamav.config]
//! socket = "/run/clamav/clamd.ctl"
//! quarantine = "/srv/quarantine"    # left out: an infected file stays, and is a dead letter
//! emits = true                       # for those that are to get clean files alone
//! ```
//!
//! It needs a running `clamd`, and a quarantine on the same file system as the watched directory. Others that watch that
//! directory do not wait for it, unless they take what it hands on:
//!
//! ```toml
//! [plugin.upload]
//! events = ["emitted"]
//! emitted_by = ["clamav"]
//! ```
//!
//! It shows how to hand files on, and how to talk to another process: the file is sent as it was opened, so that no path can be swapped in between;
//! while that process is down nothing is any file's fault; and it is waited for no longer than the user says.
#![forbid(unsafe_code)]

use std::fs::{self, DirBuilder, File};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf, absolute};
use std::time::Duration;

use notifyit_plugin_api::{
    Context, Event, Host, Plugin, Reject, Result, Unavailable, bail, config, export_plugin, log,
};

#[config]
struct Config {
    /// The socket of clamd (`LocalSocket`).
    socket: PathBuf,
    /// Where infected files are moved. Not in a watched directory, but on the same file system.
    quarantine: Option<PathBuf>,
    /// Clean files are handed on to plugins that take what is emitted.
    #[serde(default)]
    emits: bool,
}

struct ClamAv {
    config: Config,
}

impl Plugin for ClamAv {
    type Config = Config;

    const READS_ONLY: bool = true;

    fn new(config: Config, _host: Host) -> Result<Self> {
        let quarantine = config.quarantine.map(absolute).transpose()?;
        if let Some(quarantine) = &quarantine {
            let made = DirBuilder::new().recursive(true).mode(0o700).create(quarantine);
            made.with_context(|| format!("failed to make {quarantine:?}"))?;
        }
        Ok(ClamAv { config: Config { quarantine, ..config } })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let mut file = event.open()?;
        let answer = self.ask(&mut file, event.timeout())?;
        if answer == "stream: OK" {
            return if self.config.emits { event.emit() } else { Ok(()) };
        }
        if answer.ends_with("size limit exceeded. ERROR") {
            bail!(Reject::new("larger than what clamd takes (StreamMaxLength)"));
        }
        let virus = answer.strip_prefix("stream: ").and_then(|answer| answer.strip_suffix(" FOUND"));
        let virus = virus.with_context(|| format!("clamd says {answer:?}"))?;
        let Some(quarantine) = &self.config.quarantine else {
            bail!(Reject::new(format!("infected: {virus}")));
        };
        let to = quarantine.join(format!("{:016x}", event.id())); // No name that somebody else has chosen.
        quarantined(event, &to)?;
        log::error!("{} is infected: {virus}; it is now {to:?}", event.relative().display());
        Ok(())
    }
}

impl ClamAv {
    /// Sends a file, and returns what clamd answers.
    fn ask(&self, file: &mut File, timeout: Option<Duration>) -> Result<String> {
        let clamd = || Unavailable::new(format!("clamd does not answer at {:?}", self.config.socket));
        let mut stream = UnixStream::connect(&self.config.socket).with_context(clamd)?;
        let timeout = timeout.unwrap_or(Duration::from_secs(600));
        stream.set_read_timeout(Some(timeout))?;
        stream.set_write_timeout(Some(timeout))?;
        let sent = send(file, &mut stream);
        // One that takes no more says why, and closes: its answer tells more than that error.
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        if answer.is_empty() {
            sent?;
            read.context("clamd gave no answer")?;
        }
        Ok(String::from_utf8_lossy(&answer).trim_end_matches('\0').to_owned())
    }
}

/// `INSTREAM`: pieces, each behind its length, and one of length 0.
fn send(file: &mut File, stream: &mut UnixStream) -> Result<()> {
    stream.write_all(b"zINSTREAM\0")?;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let length = file.read(&mut buffer)?;
        stream.write_all(&u32::try_from(length)?.to_be_bytes())?;
        stream.write_all(&buffer[..length])?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// Moves the file away.
fn quarantined(event: &Event<'_>, to: &Path) -> Result<()> {
    fs::rename(event.path(), to).with_context(|| format!("failed to move it to {to:?}"))?;
    if fs::symlink_metadata(to)?.ino() != event.inode() {
        // Somebody has put another file in its place just now: that goes back, unless there is a third by now.
        fs::hard_link(to, event.path()).with_context(|| format!("another file is now {to:?}"))?;
        fs::remove_file(to)?;
        bail!("another file has taken its place");
    }
    Ok(())
}

export_plugin!(ClamAv);

#[cfg(test)]
mod tests;
