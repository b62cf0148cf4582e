//! What was typed for `status`.

use std::path::PathBuf;

use clap::Args;

const EXAMPLES: &str = "\
Examples:
  How is the host of this state directory?
      notifyit status --state-dir /var/lib/notifyit
  Which plugins do not do their work?
      notifyit status --json | jq '.plugins[] | select(.state != \"running\")'

Exit status: 0 if a host has answered, whatever it says; 1 if none does, 2 for
a wrong command line.";

/// Where the host listens.
#[derive(Debug, Default, Args)]
#[command(after_long_help = EXAMPLES)]
pub struct StatusArgs {
    /// The host's socket [default: where `watch` would listen].
    #[arg(long, value_name = "PATH")]
    pub socket: Option<PathBuf>,

    /// The host's state directory.
    #[arg(long, value_name = "DIR", conflicts_with = "socket")]
    pub state_dir: Option<PathBuf>,

    /// The host's configuration file.
    #[arg(short, long, value_name = "FILE", conflicts_with = "socket")]
    pub config: Option<PathBuf>,

    /// As JSON, one line.
    #[arg(long)]
    pub json: bool,
}
