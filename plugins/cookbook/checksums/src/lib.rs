//! Keeps a manifest of the SHA-256 sums of all files that land, as `sha256sum` writes it.
//!
//! ```toml
//! [plugin.checksums.config]
//! manifest = "/var/lib/notifyit/SHA256SUMS"
//! ```
//!
//! ```text
//! sha256sum --check --quiet --ignore-missing /var/lib/notifyit/SHA256SUMS
//! ```
//!
//! It needs a place for that file, outside of all that is watched.
//!
//! It shows a result of all files together: each file's line is the same however often it comes, and the whole is written
//! beside its place and renamed into it, once in a burst. That is good for some ten thousand files; for more, let a
//! database keep them, as `csv-to-sqlite` does.
#![forbid(unsafe_code)]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{BufWriter, ErrorKind, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf, absolute};

use notifyit_plugin_api::{Context, Event, Host, Plugin, Result, Unavailable, config, export_plugin};
use sha2::{Digest, Sha256};

#[config]
struct Config {
    /// Where the manifest is kept. Not in a watched directory.
    manifest: PathBuf,
}

/// For each path, as it is written there, the sum in hexadecimal digits.
type Sums = BTreeMap<Vec<u8>, Vec<u8>>;

struct Checksums {
    manifest: PathBuf,
    sums: Option<Sums>,
    is_changed: bool,
}

impl Plugin for Checksums {
    type Config = Config;

    const MAX_WORKERS: u16 = 1; // One manifest.
    const READS_ONLY: bool = true;

    fn new(config: Config, _host: Host) -> Result<Self> {
        let manifest = absolute(config.manifest)?;
        read(&manifest)?;
        Ok(Checksums { manifest, sums: None, is_changed: false })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let sum = sum(event.open()?)?;
        // Not in `new`: where newer code takes over, the older instance goes on for a moment, and writes once more.
        let sums = match &mut self.sums {
            Some(sums) => sums,
            none => none.insert(read(&self.manifest).context(Unavailable::new("no manifest"))?),
        };
        sums.insert(escaped(event.path()), sum);
        self.is_changed = true;
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        if let (true, Some(sums)) = (self.is_changed, &self.sums) {
            replace(&self.manifest, sums).with_context(|| format!("failed to write {:?}", self.manifest))?;
            self.is_changed = false;
        }
        Ok(())
    }
}

/// Reads it piece by piece: a file may be larger than the memory.
fn sum(mut file: File) -> Result<Vec<u8>> {
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 64 * 1024];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            length => hasher.update(&buffer[..length]),
        }
    }
    Ok(hasher.finalize().iter().flat_map(|byte| format!("{byte:02x}").into_bytes()).collect())
}

/// A name may hold any byte; so that each is one line, sha256sum writes `\n` and `\\` for two of them, and one more `\` at
/// the start of such a line.
fn escaped(path: &Path) -> Vec<u8> {
    let bytes = path.as_os_str().as_bytes().iter();
    let escaped = bytes.flat_map(|byte| match byte {
        b'\n' => b"\\n",
        b'\\' => b"\\\\",
        byte => std::slice::from_ref(byte),
    });
    escaped.copied().collect()
}

fn read(manifest: &Path) -> Result<Sums> {
    let text = match fs::read(manifest) {
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        text => text.with_context(|| format!("failed to read {manifest:?}"))?,
    };
    let lines = text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    let sums = lines.map(|line| {
        let (sum, path) = line.strip_prefix(b"\\").unwrap_or(line).split_at_checked(64)?;
        Some((path.strip_prefix(b"  ")?.to_vec(), sum.to_vec()))
    });
    let sums: Option<Sums> = sums.collect();
    sums.with_context(|| format!("{manifest:?} is no manifest of sha256sum; mend or remove it"))
}

/// Whoever looks, after a crash too, finds the old manifest or the new one, and either whole.
fn replace(manifest: &Path, sums: &Sums) -> Result<()> {
    let mut part = manifest.as_os_str().to_owned();
    part.push(".part");
    let mut new = BufWriter::new(File::create(&part)?);
    for (path, sum) in sums {
        let mark: &[u8] = if path.contains(&b'\\') { b"\\" } else { b"" };
        new.write_all(&[mark, sum, b"  ", path, b"\n"].concat())?;
    }
    new.into_inner()?.sync_all()?;
    fs::rename(&part, manifest)?;
    let directory = manifest.parent().context("no directory")?;
    Ok(File::open(directory)?.sync_all()?) // The new name is safe, too.
}

export_plugin!(Checksums);

#[cfg(test)]
mod tests;
