//! The commands that look after plugin files. None of them loads a plugin into this process: what it says of itself it
//! says in a child.
//!
//! | file | holds |
//! |---|---|
//! | `new` | a crate to begin with |
//! | `dev` | build, run, build anew |
//! | `seen` | what is known of one file, for people and as JSON |
//! | `example` | its configuration as an example |
//! | `inspect` | the same, as a command |
//! | `list` | which plugins there are, and when each runs |
//! | `install` | from a build to a plugin directory, whole and at once |
//! | `remove` | and away again |

mod new;
mod dev;
mod seen;
mod example;
mod inspect;
mod list;
mod install;
mod remove;

use anyhow::Result;

use crate::cli::PluginCommand;
use crate::config::{Environment, PluginPlaces, plugin_places};
use crate::plugin::{Loader, Prober};
use crate::sys;

/// Carries out a command.
///
/// # Errors
///
/// The command's; a configuration file that is wrong.
pub fn plugin(command: &PluginCommand, environment: &Environment) -> Result<()> {
    sys::take_back_children()?;
    let places = |args| plugin_places(args, environment);
    match command {
        PluginCommand::New { path, name, api_path } => {
            new::new(path, name.as_deref(), api_path.as_deref(), environment)
        }
        PluginCommand::Dev(args) => dev::dev(args, environment),
        PluginCommand::Inspect { plugin, json, places: args } => {
            inspect::inspect(plugin, *json, &places(args)?, environment)
        }
        PluginCommand::Install { file, places: args } => {
            install::install(&environment.absolute(file), &places(args)?)
        }
        PluginCommand::List { json, places: args } => list::list(*json, &places(args)?),
        PluginCommand::Remove { plugin, places: args } => remove::remove(plugin, &places(args)?, environment),
    }
}

/// As the host would load, with these directories and this trust.
fn loader(places: &PluginPlaces) -> Loader {
    Loader::new(places.trust, &places.staging_dirs, Prober::by("/proc/self/exe"))
}
