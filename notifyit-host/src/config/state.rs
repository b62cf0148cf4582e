//! Where the state is, for commands that need nothing else of a configuration.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use super::environment::absolute;
use super::layers::Layers;
use super::resolved::usual_file;
use super::written::Written;
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
    let file = match &args.config {
        Some(path) => {
            let path = environment.absolute(path);
            let read = fs::read(&path);
            let bytes = read.with_context(|| format!("failed to read the configuration file {path:?}"))?;
            Some((path, bytes))
        }
        None => usual_file(environment)?,
    };
    if let Some((path, bytes)) = file {
        let mut layers = Layers::default();
        layers.file(&path, &bytes)?;
        let written: Written = layers.read()?;
        let directory = environment.absolute(path.parent().unwrap_or(&path));
        if let Some(state_dir) = written.host.state_dir {
            return Ok(absolute(&directory, &state_dir.get_ref().0));
        }
    }
    match environment.state_dir() {
        Some(directory) => Ok(directory),
        None => bail!(UsageError("no state directory is known; name it with --state-dir DIR".to_owned())),
    }
}
