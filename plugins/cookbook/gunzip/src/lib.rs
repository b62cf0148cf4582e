//! Unpacks each `.gz` that lands into another directory: `2026/sales.csv.gz` becomes `OUT/2026/sales.csv`.
//!
//! ```toml
//! [plugin.gunzip]
//! watch = ["incoming"]
//! include = ["*.gz"]
//!
//! [plugin.gunzip.config]
//! out = "/srv/unpacked"
//! ```
//!
//! It shows how plugins are chained: the result is a file, it lands where a second `[[watch]]` looks, and whatever plugin
//! that has takes it from there. So nothing is lost between the two: the first is done when its result is safe, and the
//! second gets it, also after a crash of either. What is unfinished has a name that begins with a dot, which that watch
//! excludes:
//!
//! ```toml
//! [[watch]]
//! name = "incoming"
//! path = "/srv/incoming"
//! recursive = true
//!
//! [[watch]]
//! name = "unpacked"
//! path = "/srv/unpacked"
//! recursive = true
//! exclude = [".*"]
//! existing = "deliver"
//!
//! [plugin.csv-to-sqlite]
//! watch = ["unpacked"]
//! ```
#![forbid(unsafe_code)]

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};

use flate2::read::MultiGzDecoder;
use notifyit_plugin_api::{
    Context, Error, Event, Host, Plugin, Reject, Result, Unavailable, bail, config, export_plugin,
};

#[config]
struct Config {
    /// Where the unpacked files go.
    out: PathBuf,
    /// What would be larger unpacked, in bytes, is rejected: a few kilobytes can hold a disk full of zeros.
    #[serde(default = "a_gigabyte")]
    max_bytes: u64,
}

fn a_gigabyte() -> u64 {
    1 << 30
}

struct Gunzip {
    config: Config,
}

impl Plugin for Gunzip {
    type Config = Config;

    const READS_ONLY: bool = true;

    fn new(config: Config, _host: Host) -> Result<Self> {
        let out = absolute(&config.out)?;
        fs::create_dir_all(&out).with_context(|| format!("failed to make {out:?}"))?;
        Ok(Gunzip { config: Config { out, ..config } })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let name = event.name().as_bytes().strip_suffix(b".gz");
        let Some(name) = name.filter(|name| !matches!(*name, b"" | b"." | b"..")) else {
            return Ok(()); // Not ours, if the user has not said `include`.
        };
        let path = self.config.out.join(event.relative()).with_file_name(OsStr::from_bytes(name));
        let directory = path.parent().context("no directory")?;
        let part = directory.join(format!(".{:016x}.part", event.id())); // The same in each attempt.
        fs::create_dir_all(directory).map_err(blamed)?;
        let unpacked = self.unpack(event.open()?, &part);
        if unpacked.is_err() {
            let _ = fs::remove_file(&part);
        }
        unpacked?;
        fs::rename(&part, &path).map_err(blamed)?; // Here it lands.
        File::open(directory)?.sync_all().map_err(blamed) // The new name is safe, too.
    }
}

impl Gunzip {
    fn unpack(&self, packed: File, part: &Path) -> Result<()> {
        let mut unpacked = MultiGzDecoder::new(BufReader::new(packed)).take(self.config.max_bytes + 1);
        let mut new = File::create(part).map_err(blamed)?;
        if io::copy(&mut unpacked, &mut new).map_err(blamed)? > self.config.max_bytes {
            bail!(Reject::new(format!("larger than {} bytes unpacked", self.config.max_bytes)));
        }
        new.sync_all().map_err(blamed)
    }
}

/// Whose fault is it?
fn blamed(error: io::Error) -> Error {
    match error.kind() {
        // The file is complete: what it lacks will never come.
        ErrorKind::InvalidInput | ErrorKind::InvalidData | ErrorKind::UnexpectedEof => {
            Error::new(error).context(Reject::new("it is no gzip file, or a damaged one"))
        }
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
            Error::new(error).context(Unavailable::new("no unpacked file can be written"))
        }
        _ => error.into(),
    }
}

export_plugin!(Gunzip);

#[cfg(test)]
mod tests;
