//! What was typed for the commands that look after a state directory.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};

use super::duration;

const DEAD_EXAMPLES: &str = "\
Examples:
  What could not be handled, and why?
      notifyit dead list --state-dir /var/lib/notifyit
  Hand one out again at the next start, or all of a plugin:
      notifyit dead retry --state-dir /var/lib/notifyit 90ecea534aca7128
      notifyit dead retry -c notifyit.toml --all -p thumbnails
  Keep the files, but hear no more of them:
      notifyit dead forget -c notifyit.toml --all";

const PICK_EXAMPLES: &str = "\
Examples:
  Have the JPEGs of the last two days made anew:
      notifyit replay -p thumbnails --since 2d --include '*.jpg'
  Which would that be?
      notifyit replay -p thumbnails --since 2d --include '*.jpg' --dry-run
  What lies in this directory is to be left alone:
      notifyit skip /srv/incoming/archive";

/// The state directory: of a host that does not run.
#[derive(Debug, Default, Args)]
pub struct StateArgs {
    /// State directory [default: what `watch` would take].
    #[arg(long, value_name = "DIR", help_heading = "State")]
    pub state_dir: Option<PathBuf>,

    /// Configuration file that names the state directory.
    #[arg(short, long, value_name = "FILE", help_heading = "State")]
    pub config: Option<PathBuf>,
}

/// What to do with dead letters.
#[derive(Debug, Subcommand)]
#[command(after_long_help = DEAD_EXAMPLES)]
pub enum DeadCommand {
    /// List them, oldest first: id, plugin, attempts, time of the last, path, error.
    List {
        /// Only those of this plugin (may be repeated).
        #[arg(short, long, value_name = "NAME")]
        plugin: Vec<String>,
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
        /// Where they are.
        #[command(flatten)]
        state: StateArgs,
    },
    /// Show all that is known of some.
    Show {
        /// As listed.
        #[arg(value_name = "ID", required = true, value_parser = id)]
        ids: Vec<u64>,
        /// Only those of this plugin (may be repeated).
        #[arg(short, long, value_name = "NAME")]
        plugin: Vec<String>,
        /// As JSON, one object a line.
        #[arg(long)]
        json: bool,
        /// Where they are.
        #[command(flatten)]
        state: StateArgs,
    },
    /// Hand them out again at the next start, with the origin `replay` and attempts from 1.
    Retry(LetterArgs),
    /// Drop them: their files stay finished.
    Forget(LetterArgs),
}

/// Which dead letters.
#[derive(Debug, Args)]
pub struct LetterArgs {
    /// As listed.
    #[arg(value_name = "ID", required_unless_present = "all", conflicts_with = "all", value_parser = id)]
    pub ids: Vec<u64>,

    /// All of them.
    #[arg(long)]
    pub all: bool,

    /// Only those of this plugin (may be repeated).
    #[arg(short, long, value_name = "NAME")]
    pub plugin: Vec<String>,

    /// Where they are.
    #[command(flatten)]
    pub state: StateArgs,
}

/// Which files, for `replay` and `skip`.
#[derive(Debug, Args)]
#[command(after_long_help = PICK_EXAMPLES)]
pub struct PickArgs {
    /// Only these files, and what lies beneath these directories.
    #[arg(value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// Only for this plugin (may be repeated).
    #[arg(short, long, value_name = "NAME")]
    pub plugin: Vec<String>,

    /// Only files that were last modified within this time, as in `2d`.
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub since: Option<Duration>,

    /// Only files that match (may be repeated): gitignore's patterns, as for `watch`.
    #[arg(long, value_name = "GLOB")]
    pub include: Vec<String>,

    /// Name the files and change nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Where what is finished is remembered.
    #[command(flatten)]
    pub state: StateArgs,
}

/// Which instance is gone.
#[derive(Debug, Args)]
pub struct ForgetArgs {
    /// The instance's name: a plugin, or what stands behind `plugin.` in the configuration file.
    pub name: String,

    /// Say how many entries there are and change nothing.
    #[arg(long)]
    pub dry_run: bool,

    /// Where its entries are.
    #[command(flatten)]
    pub state: StateArgs,
}

fn id(text: &str) -> Result<u64, String> {
    let digits = text.len() == 16 && text.bytes().all(|b| b.is_ascii_hexdigit());
    let id = digits.then(|| u64::from_str_radix(text, 16).ok()).flatten();
    id.ok_or_else(|| "an id has 16 hex digits, as `notifyit dead list` shows it".to_owned())
}
