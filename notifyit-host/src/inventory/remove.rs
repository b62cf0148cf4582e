//! `plugin remove`: takes a plugin's file away.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::config::{Environment, Library, PluginPlaces, UsageError};
use crate::plugin::{by_name, in_directories, name_of};
use crate::stdout::print;

/// Removes a plugin's file from a plugin directory, or from where names are looked up.
///
/// # Errors
///
/// There is none, or several; it lies elsewhere; it cannot be removed.
pub(super) fn remove(plugin: &OsStr, places: &PluginPlaces, environment: &Environment) -> Result<()> {
    let file = match Library::parse(plugin).map_err(UsageError::from)? {
        Library::File(file) => in_its_place(&environment.absolute(&file), places)?,
        Library::Name(name) => only(&name, places)?,
    };
    let directory = file.parent().unwrap_or(Path::new("/"));
    fs::remove_file(&file).with_context(|| format!("failed to remove {file:?}"))?;
    File::open(directory)
        .and_then(|d| d.sync_all())
        .with_context(|| format!("failed to sync {directory:?}"))?;
    print(&format!("removed {file:?}\na host that runs it lets it finish what it has, and drops it\n"))
}

/// The one file that the name could mean.
fn only(name: &str, places: &PluginPlaces) -> Result<PathBuf> {
    let meant = name_of(Path::new(&format!("{name}.so")));
    let mut files = in_directories(&places.search_path).files;
    files.retain(|file| name_of(file) == meant);
    match files.len() {
        0 => by_name(name, &places.search_path),
        1 => Ok(files.remove(0)),
        _ => bail!("failed to remove plugin {name:?}: it could be any of {files:?}; name the file"),
    }
}

/// The file as its directory was named, if it lies where plugins are.
fn in_its_place(file: &Path, places: &PluginPlaces) -> Result<PathBuf> {
    let Some((directory, name)) = file.parent().zip(file.file_name()) else {
        bail!("failed to remove {file:?}: it has no name");
    };
    let real = directory.canonicalize().with_context(|| format!("failed to find {directory:?}"))?;
    let known = places.search_path.iter().find(|known| known.canonicalize().is_ok_and(|known| known == real));
    let file = known.map(|known| known.join(name)).filter(|_| file.extension() == Some(OsStr::new("so")));
    match file {
        Some(file) => Ok(file),
        None => bail!(
            "failed to remove {:?}: it is no `.so` file in any of {:?}; name its directory with --plugin-dir",
            directory.join(name),
            places.search_path
        ),
    }
}
