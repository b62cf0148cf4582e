//! What a plugin's process is started with, and what it is handed.

use std::fs::File;
use std::io::{self, PipeReader, PipeWriter};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::spawner::Spawner;
use super::wire::{Hello, VERSION};
use crate::config::Confinement;
use crate::plugin::services::{self, Grant};

/// How the processes of an instance are started.
#[derive(Debug, Clone)]
pub(in crate::plugin) struct Terms {
    /// This program.
    pub(in crate::plugin) program: PathBuf,
    pub(in crate::plugin) spawner: Arc<Spawner>,
    /// What the instances are lent.
    pub(in crate::plugin) grant: Grant,
    /// Its configuration, a JSON object.
    pub(in crate::plugin) config: String,
    /// How long a call may take.
    pub(in crate::plugin) timeout: Option<Duration>,
    pub(in crate::plugin) confinement: Confinement,
    /// The watched directories.
    pub(in crate::plugin) roots: Vec<PathBuf>,
    /// How many events the plugin gets in one call. `None`: it takes one after the other.
    pub(in crate::plugin) in_flight: Option<u16>,
}

impl Terms {
    /// The first frame.
    pub(super) fn hello(&self) -> io::Result<Vec<u8>> {
        let hello = Hello {
            v: VERSION,
            host: std::process::id(),
            name: self.grant.name().to_owned(),
            config: self.config.clone(),
            level: services::most_enabled(),
            confinement: self.confinement.clone(),
            roots: self.roots.iter().map(|root| root.as_os_str().as_encoded_bytes().to_vec()).collect(),
            in_flight: self.in_flight,
        };
        Ok(serde_json::to_vec(&hello)?)
    }
}

/// What is handed to a process with the first frame.
pub(super) struct Theirs {
    /// What it writes its records to.
    pub(super) records: PipeWriter,
    pub(super) asks: UnixStream,
    pub(super) signal: PipeReader,
    pub(super) figures: File,
}
