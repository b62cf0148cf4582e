//! Where the state is, for commands that need nothing else of a configuration.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::environment::absolute;
use super::layers::Layers;
use super::resolved::usual_file;
use super::written::{Host, Written};
use super::{Environment, UsageError};
use crate::cli::StateArgs;

/// The state directory: what was typed, else what the configuration file says, else systemd's.
///
/// # Errors
///
/// There is none; the configuration file cannot be read, or is wrong.
pub fn state_dir(args: &StateArgs, environment: &Environment) -> Result<PathBuf> {
    if let Some(typed) = &args.state_dir {
        return Ok(environment.absolute(typed));
    }
    if let Some((directory, host)) = host(args.config.as_deref(), environment)?
        && let Some(state_dir) = host.state_dir
    {
        return Ok(absolute(&directory, &state_dir.get_ref().0));
    }
    match environment.state_dir() {
        Some(directory) => Ok(directory),
        None => bail!(UsageError("no state directory is known; name it with --state-dir DIR".to_owned())),
    }
}

/// What the configuration file says of the host, and the directory from which its paths begin: of the file that is
/// named, else of the usual one.
pub(super) fn host(named: Option<&Path>, environment: &Environment) -> Result<Option<(PathBuf, Host)>> {
    let file = match named {
        Some(path) => {
            let path = environment.absolute(path);
            let read = fs::read(&path);
            let bytes = read.with_context(|| format!("failed to read the configuration file {path:?}"))?;
            Some((path, bytes))
        }
        None => usual_file(environment)?,
    };
    let Some((path, bytes)) = file else { return Ok(None) };
    let mut layers = Layers::default();
    layers.file(&path, &bytes)?;
    let written: Written = layers.read()?;
    Ok(Some((environment.absolute(path.parent().unwrap_or(&path)), written.host)))
}
