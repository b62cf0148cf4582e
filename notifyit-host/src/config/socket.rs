//! Where a host listens for questions, and where `status` asks.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};

use super::environment::{SOCKET, absolute};
use super::state::host;
use super::{Environment, UsageError};
use crate::cli::StatusArgs;

/// Where the host listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Socket {
    /// The socket's path, absolute.
    pub path: PathBuf,
    /// Has somebody asked for it? Otherwise the host does without if it must.
    pub is_named: bool,
}

impl Socket {
    /// The one that is named, else the one in the runtime directory, else the one in the state directory.
    pub(super) fn find(
        named: Option<PathBuf>,
        environment: &Environment,
        state_dir: Option<&Path>,
    ) -> Option<Socket> {
        let is_named = named.is_some();
        let usual = || environment.socket().or_else(|| Some(state_dir?.join(SOCKET)));
        named.or_else(usual).map(|path| Socket { path, is_named })
    }
}

/// The socket of the host that is meant: found as the host finds it.
///
/// # Errors
///
/// There is none; the configuration file cannot be read, or is wrong.
pub fn socket(args: &StatusArgs, environment: &Environment) -> Result<PathBuf> {
    if let Some(typed) = &args.socket {
        return Ok(environment.absolute(typed));
    }
    let typed = args.state_dir.as_ref().map(|dir| environment.absolute(dir));
    // A host with a directory that was typed need not have the usual file.
    let reads_file = typed.is_none() || args.config.is_some();
    let written = if reads_file { host(args.config.as_deref(), environment)? } else { None };
    let (named, state_dir) = match &written {
        Some((directory, host)) => {
            let path = |written: &Option<toml::Spanned<super::written::FilePath>>| {
                written.as_ref().map(|path| absolute(directory, &path.get_ref().0))
            };
            (path(&host.socket), path(&host.state_dir))
        }
        None => (None, None),
    };
    let state_dir = typed.or(state_dir).or_else(|| environment.state_dir());
    match Socket::find(named, environment, state_dir.as_deref()) {
        Some(socket) => Ok(socket.path),
        None => bail!(UsageError(
            "no socket is known; name it with --socket PATH, or the host's state directory with --state-dir DIR"
                .to_owned()
        )),
    }
}
