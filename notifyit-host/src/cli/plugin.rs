//! What was typed for the commands that make plugins and look after their files.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Trust;

const EXAMPLES: &str = "\
Examples:
  Begin with a plugin of your own:
      notifyit plugin new lines
  Try it on the files that land here, and change it meanwhile:
      notifyit plugin dev --path lines /tmp/incoming
  Would this host run it, and what is it?
      notifyit plugin inspect target/release/libnotifyit_lines.so
  Put it into the first plugin directory of the configuration file:
      notifyit plugin install -c notifyit.toml target/release/libnotifyit_lines.so
  Which plugins are there, and which of them run?
      notifyit plugin list
  Take it away again:
      notifyit plugin remove lines";

/// What to do with plugin files.
#[derive(Debug, Subcommand)]
#[command(after_long_help = EXAMPLES)]
pub enum PluginCommand {
    /// Make a crate for a plugin of your own: it builds, and has a test that passes.
    New {
        /// Where to make it: a directory that is not there yet, or is empty.
        path: PathBuf,
        /// The plugin's name [default: the directory's].
        ///
        /// The package is `notifyit-NAME`, the file that it becomes `libnotifyit_NAME.so`.
        #[arg(long)]
        name: Option<String>,
        /// Use the crate `notifyit-plugin-api` of this checkout, not the published one.
        #[arg(long, value_name = "DIR")]
        api_path: Option<PathBuf>,
    },
    /// Build a plugin's crate and run a host with it; build it anew when its sources change.
    ///
    /// Its log is that of `watch -v`. New code takes over while the host runs; code that does not compile changes nothing.
    Dev(PluginDevArgs),
    /// Say what a plugin is, and whether this host would run it: exit status 0 or 1.
    ///
    /// Its configuration is written as an example, to be copied into the configuration file. The plugin is loaded, in a child
    /// process, unless its file is not trusted.
    Inspect {
        /// A plugin's name, or its file: what contains `/` or ends in `.so`.
        #[arg(value_name = "NAME|FILE")]
        plugin: OsString,
        /// As a JSON object; its `config` is the JSON schema of the configuration.
        #[arg(long)]
        json: bool,
        /// Where names are looked up.
        #[command(flatten)]
        places: PlaceArgs,
    },
    /// Check a plugin as the host would, and copy it into a plugin directory.
    ///
    /// It goes to --plugin-dir, else to the first of the configuration file's `plugin_dirs`, else to where plugins run
    /// when they are named: `/usr/local/lib/notifyit/plugins` for root, `~/.local/lib/notifyit/plugins` for others. The
    /// copy takes the place of what has its name there, whole and at once. Whom the file itself belongs to is not asked.
    Install {
        /// What `cargo build` made.
        file: PathBuf,
        /// Where it goes.
        #[command(flatten)]
        places: PlaceArgs,
    },
    /// List the plugins that there are: name, version, when it runs, file, and what is wrong.
    List {
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
        /// Where they are looked for.
        #[command(flatten)]
        places: PlaceArgs,
    },
    /// Remove a plugin's file.
    ///
    /// Only from a plugin directory, or one of those where names are looked up.
    Remove {
        /// A plugin's name, or its file: what contains `/` or ends in `.so`.
        #[arg(value_name = "NAME|FILE")]
        plugin: OsString,
        /// Where names are looked up.
        #[command(flatten)]
        places: PlaceArgs,
    },
}

/// What `plugin dev` is to do.
#[derive(Debug, Args)]
pub struct PluginDevArgs {
    /// Where the plugin's crate is.
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub path: PathBuf,
    /// Build it with optimisations.
    #[arg(long)]
    pub release: bool,
    /// Directories to watch.
    #[arg(value_name = "WATCHED", required = true)]
    pub watched: Vec<PathBuf>,
    /// Options of `watch`: `-- -r --set lines.max_bytes=100`.
    #[arg(last = true, value_name = "OPTIONS")]
    pub options: Vec<OsString>,
}

/// Where plugins are, and who may have put them there.
#[derive(Debug, Default, Args)]
pub struct PlaceArgs {
    /// Plugin directory, before those of the configuration file (may be repeated).
    #[arg(long, value_name = "DIR", help_heading = "Places")]
    pub plugin_dir: Vec<PathBuf>,

    /// Configuration file that names plugin directories and `trust` [default: the one that `watch` would read].
    #[arg(short, long, value_name = "FILE", help_heading = "Places")]
    pub config: Option<PathBuf>,

    /// Whom to trust with plugin files [default: strict].
    #[arg(
        long,
        value_enum,
        hide_possible_values = true,
        value_name = "strict|owner|off",
        help_heading = "Places"
    )]
    pub trust: Option<Trust>,
}
