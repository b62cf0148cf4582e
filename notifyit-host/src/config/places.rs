//! Where plugins are, for commands that need nothing else of a configuration.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::environment::absolute;
use super::resolved::once_each;
use super::state::host;
use super::{Environment, Trust, UsageError};
use crate::cli::PlaceArgs;

/// Where plugins are. Every path in it is absolute.
#[derive(Debug, Clone)]
pub struct PluginPlaces {
    /// Drop-in directories: those that were typed, then the configuration file's.
    pub plugin_dirs: Vec<PathBuf>,
    /// Where a plugin's name is looked up: the plugin directories first.
    pub search_path: Vec<PathBuf>,
    /// Where private copies of plugins may lie, best first.
    pub staging_dirs: Vec<PathBuf>,
    /// Whom to trust with plugin files.
    pub trust: Trust,
    /// Where a user's own plugins are found by name. Without a home directory, root's only.
    own: Option<PathBuf>,
}

impl PluginPlaces {
    /// Where a new plugin goes: the first plugin directory, else where it is found by name.
    ///
    /// # Errors
    ///
    /// There is neither.
    pub fn for_a_new_one(&self) -> Result<PathBuf> {
        match self.plugin_dirs.first().or(self.own.as_ref()) {
            Some(directory) => Ok(directory.clone()),
            None => {
                bail!(UsageError("no plugin directory is known; name it with --plugin-dir DIR".to_owned()))
            }
        }
    }
}

/// What was typed, what the configuration file says, and where plugins usually are.
///
/// # Errors
///
/// The configuration file cannot be read, or is wrong.
pub fn plugin_places(args: &PlaceArgs, environment: &Environment) -> Result<PluginPlaces> {
    let mut plugin_dirs: Vec<PathBuf> = args.plugin_dir.iter().map(|dir| environment.absolute(dir)).collect();
    let mut staging_dirs = environment.staging_dirs();
    let mut trust = args.trust;
    if let Some((directory, host)) = host(args.config.as_deref(), environment)? {
        plugin_dirs.extend(host.plugin_dirs.iter().map(|dir| absolute(&directory, &dir.get_ref().0)));
        if let Some(state_dir) = host.state_dir {
            staging_dirs.insert(0, absolute(&directory, &state_dir.get_ref().0).join("plugins"));
        }
        trust = trust.or(host.trust);
    }
    let plugin_dirs = once_each(plugin_dirs.into_iter());
    let own = if rustix::process::geteuid().is_root() {
        Some(PathBuf::from("/usr/local/lib/notifyit/plugins"))
    } else {
        environment.own_plugins()
    };
    Ok(PluginPlaces {
        search_path: once_each(plugin_dirs.iter().cloned().chain(environment.plugin_path())),
        plugin_dirs,
        staging_dirs,
        trust: trust.unwrap_or_default(),
        own,
    })
}
