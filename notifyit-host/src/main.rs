//! `notifyit`: parse, resolve, run, print the error, exit.

use std::io::Write;
use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use notifyit_host::cli::{Cli, Command};
use notifyit_host::config::{self, ConfigError, Environment, Settings, UsageError};
use notifyit_host::plugin::{isolated::worker, probe};
use notifyit_host::{control, inventory, log, run, upkeep};

/// The command line was wrong.
const USAGE: u8 = 2;
/// The configuration file is wrong (`EX_CONFIG` of sysexits.h).
const CONFIG: u8 = 78;

fn main() -> ExitCode {
    match command(&Cli::parse().command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If nobody reads stderr, the exit status still tells.
            let _ = writeln!(std::io::stderr(), "notifyit: {error:#}");
            ExitCode::from(status(&error))
        }
    }
}

fn command(command: &Command) -> Result<()> {
    match command {
        Command::Watch(args) => run::watch(&resolved(args)?),
        Command::Check(args) => run::check(&resolved(args)?),
        Command::Status(args) => control::status(args, &Environment::of_process()?),
        Command::Plugin(args) => inventory::plugin(args, &Environment::of_process()?),
        Command::Dead(args) => upkeep::guarded(|environment| upkeep::dead(args, environment)),
        Command::Replay(args) => upkeep::guarded(|environment| upkeep::replay(args, environment)),
        Command::Skip(args) => upkeep::guarded(|environment| upkeep::skip(args, environment)),
        Command::Forget(args) => upkeep::guarded(|environment| upkeep::forget(args, environment)),
        Command::Worker { .. } => worker::serve().map(|never| match never {}),
        Command::Probe { host } => probe::answer(*host).map(|never| match never {}),
    }
}

fn resolved(args: &notifyit_host::cli::WatchArgs) -> Result<Settings> {
    let settings = config::resolve(args, &Environment::of_process()?)?;
    log::start(settings.log.format, settings.log.level);
    Ok(settings)
}

fn status(error: &anyhow::Error) -> u8 {
    if error.chain().any(|cause| cause.is::<UsageError>()) {
        USAGE
    } else if error.chain().any(|cause| cause.is::<ConfigError>()) {
        CONFIG
    } else {
        1
    }
}
