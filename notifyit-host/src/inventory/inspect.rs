//! `plugin inspect`: what a plugin is, and whether this host would run it.

use std::ffi::OsStr;
use std::path::PathBuf;

use anyhow::{Result, anyhow, bail};

use super::loader;
use super::seen::Seen;
use crate::config::{Environment, Library, PluginPlaces, UsageError};
use crate::plugin::by_name;
use crate::stdout::print;

/// Says all that is known of a plugin.
///
/// # Errors
///
/// There is none of that name; this host would not run it.
pub(super) fn inspect(
    plugin: &OsStr,
    json: bool,
    places: &PluginPlaces,
    environment: &Environment,
) -> Result<()> {
    let file = file_of(plugin, places, environment)?;
    let seen = Seen::look(&loader(places), &file);
    print(&if json { seen.to_json(None, None) } else { seen.to_text() })?;
    match (&seen.info, seen.objection()) {
        (Err(refused), _) => Err(anyhow!("{refused}")),
        (_, Some(why)) => bail!("failed to load plugin {file:?}: {why}"),
        (_, None) => Ok(()),
    }
}

fn file_of(plugin: &OsStr, places: &PluginPlaces, environment: &Environment) -> Result<PathBuf> {
    match Library::parse(plugin).map_err(UsageError::from)? {
        Library::File(file) => Ok(environment.absolute(&file)),
        Library::Name(name) => by_name(&name, &places.search_path),
    }
}
