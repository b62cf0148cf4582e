//! Makes a small JPEG of each PNG or JPEG that lands.
//!
//! ```toml
//! [plugin.thumbnails]
//! include = ["*.png", "*.jpg", "*.jpeg"]
//! workers = 2
//!
//! [plugin.thumbnails.config]
//! out = "/srv/thumbs"    # of `2026/cat.png`: `/srv/thumbs/2026/cat.png.jpg`
//! side = 200
//! ```
//!
//! It needs a directory for what it makes, outside of all that is watched.
//!
//! It shows a result for each file: written beside its place under a name that nobody looks at, made safe, and renamed into
//! place, so that a second delivery makes the same again and no one ever sees half of it. What can never be an image is
//! rejected, by what is in it and not by its name; so is one that would need too much memory.
#![forbid(unsafe_code)]

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, ErrorKind};
use std::path::{Path, PathBuf, absolute};

use image::codecs::jpeg::JpegEncoder;
use image::{ImageError, ImageReader, Limits, RgbImage};
use notifyit_plugin_api::{
    Context, Error, Event, Host, Plugin, Reject, Result, Unavailable, config, export_plugin,
};

#[config]
struct Config {
    /// Where the small images go. Not in a watched directory.
    out: PathBuf,
    /// The longer side of a small image, in pixels.
    #[serde(default = "two_hundred")]
    side: u32,
    /// An image that needs more memory than so many bytes is rejected, before it is taken.
    #[serde(default = "half_a_gigabyte")]
    max_memory: u64,
}

fn two_hundred() -> u32 {
    200
}

fn half_a_gigabyte() -> u64 {
    512 << 20
}

struct Thumbnails {
    config: Config,
}

impl Plugin for Thumbnails {
    type Config = Config;

    const READS_ONLY: bool = true;

    fn new(config: Config, _host: Host) -> Result<Self> {
        let out = absolute(&config.out)?;
        fs::create_dir_all(&out).with_context(|| format!("failed to make {out:?}"))?;
        Ok(Thumbnails { config: Config { out, ..config } })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        if event.path().starts_with(&self.config.out) {
            return Ok(()); // Its own work, in a watched directory after all: or there were thumbnails of thumbnails.
        }
        let small = self.small(event.open()?)?;
        let mut name = event.relative().as_os_str().to_owned();
        name.push(".jpg"); // Behind the old ending: `cat.png` and `cat.jpg` are two files.
        put(&small, &self.config.out.join(name), event.id()).map_err(blamed)
    }
}

impl Thumbnails {
    fn small(&self, file: File) -> Result<RgbImage> {
        let mut reader = ImageReader::new(BufReader::new(file)).with_guessed_format()?;
        let mut limits = Limits::no_limits();
        limits.max_alloc = Some(self.config.max_memory);
        reader.limits(limits);
        match reader.decode() {
            Ok(image) => {
                let side = self.config.side.min(image.width().max(image.height())); // No small one is enlarged.
                Ok(image.thumbnail(side, side).into_rgb8())
            }
            // The file is complete: what it lacks will never come. Any other trouble with reading may pass.
            Err(ImageError::IoError(error)) if error.kind() != ErrorKind::UnexpectedEof => Err(error.into()),
            Err(error) => Err(error).context(Reject::new("no image of which a small one can be made")),
        }
    }
}

fn put(image: &RgbImage, path: &Path, id: u64) -> io::Result<()> {
    let directory = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(directory)?;
    let part = directory.join(format!(".{id:016x}.part")); // The same in each attempt: none is left for ever.
    let mut new = BufWriter::new(File::create(&part)?);
    JpegEncoder::new(&mut new).encode_image(image).map_err(io::Error::other)?;
    new.into_inner()?.sync_all()?;
    fs::rename(&part, path)?;
    File::open(directory)?.sync_all() // The new name is safe, too.
}

/// Whose fault is it that it could not be written?
fn blamed(error: io::Error) -> Error {
    match error.kind() {
        ErrorKind::InvalidFilename => Error::new(error).context(Reject::new("its name is too long")),
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::ReadOnlyFilesystem => {
            Error::new(error).context(Unavailable::new("no small image can be written"))
        }
        _ => error.into(),
    }
}

export_plugin!(Thumbnails);

#[cfg(test)]
mod tests;
