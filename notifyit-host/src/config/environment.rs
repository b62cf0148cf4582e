//! What the process environment says. Read once, at the start.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// The name of a host's socket, in a directory that is its own.
pub(super) const SOCKET: &str = "notifyit.sock";

/// What is read from the process environment. A variable that is empty counts as not set.
#[derive(Debug, Clone, Default)]
pub struct Environment {
    /// Where relative paths of the command line begin.
    pub current_dir: PathBuf,
    /// `HOME`.
    pub home: Option<PathBuf>,
    /// `XDG_CONFIG_HOME`.
    pub xdg_config_home: Option<PathBuf>,
    /// `XDG_RUNTIME_DIR`.
    pub xdg_runtime_dir: Option<PathBuf>,
    /// `TMPDIR`.
    pub tmpdir: Option<PathBuf>,
    /// `RUNTIME_DIRECTORY`, systemd's: paths separated by colons.
    pub runtime_directory: Option<OsString>,
    /// `STATE_DIRECTORY`, systemd's: paths separated by colons.
    pub state_directory: Option<OsString>,
    /// `CARGO`, which is set where Cargo runs us.
    pub cargo: Option<PathBuf>,
    /// `NOTIFYIT_CONFIG`.
    pub notifyit_config: Option<PathBuf>,
    /// `NOTIFYIT_PLUGIN_PATH`: paths separated by colons.
    pub notifyit_plugin_path: Option<OsString>,
}

impl Environment {
    /// That of this process.
    ///
    /// # Errors
    ///
    /// If there is no current directory.
    pub fn of_process() -> Result<Environment> {
        let variable = |name| env::var_os(name).filter(|value| !value.is_empty());
        let path = |name| variable(name).map(PathBuf::from);
        Ok(Environment {
            current_dir: env::current_dir().context("failed to find the current directory")?,
            home: path("HOME"),
            xdg_config_home: path("XDG_CONFIG_HOME"),
            xdg_runtime_dir: path("XDG_RUNTIME_DIR"),
            tmpdir: path("TMPDIR"),
            runtime_directory: variable("RUNTIME_DIRECTORY"),
            state_directory: variable("STATE_DIRECTORY"),
            cargo: path("CARGO"),
            notifyit_config: path("NOTIFYIT_CONFIG"),
            notifyit_plugin_path: variable("NOTIFYIT_PLUGIN_PATH"),
        })
    }

    /// An absolute path from one that may be relative to the current directory.
    pub fn absolute(&self, path: &Path) -> PathBuf {
        absolute(&self.current_dir, path)
    }

    /// Where plugins are looked up by name when they are in no plugin directory.
    pub(super) fn plugin_path(&self) -> Vec<PathBuf> {
        let mut path = self.list(self.notifyit_plugin_path.as_deref());
        path.extend(self.own_plugins());
        path.extend(["/usr/local/lib/notifyit/plugins", "/usr/lib/notifyit/plugins"].map(PathBuf::from));
        path
    }

    /// Where a user's own plugins are.
    pub(super) fn own_plugins(&self) -> Option<PathBuf> {
        self.home.as_ref().map(|home| self.absolute(&home.join(".local/lib/notifyit/plugins")))
    }

    /// Where private copies may lie, best first.
    pub(super) fn staging_dirs(&self) -> Vec<PathBuf> {
        let mut dirs = self.list(self.runtime_directory.as_deref());
        dirs.extend(self.xdg_runtime_dir.clone());
        dirs.retain(|dir| dir.is_absolute());
        dirs
    }

    /// Where large temporary files may lie, best first: `/tmp` is often memory.
    pub(super) fn temporary_dirs(&self) -> Vec<PathBuf> {
        let named = self.tmpdir.iter().map(|dir| self.absolute(dir));
        named.chain(["/var/tmp", "/tmp"].map(PathBuf::from)).collect()
    }

    /// Where a host listens if nobody says where.
    pub(super) fn socket(&self) -> Option<PathBuf> {
        let mut dirs = self.list(self.runtime_directory.as_deref()).into_iter();
        dirs.find(|dir| dir.is_absolute()).map(|dir| dir.join(SOCKET))
    }

    /// Where the state is kept if nobody says where.
    pub(super) fn state_dir(&self) -> Option<PathBuf> {
        self.list(self.state_directory.as_deref()).into_iter().find(|dir| dir.is_absolute())
    }

    /// Where a configuration file is looked for when none is named.
    pub(super) fn config_files(&self) -> Vec<PathBuf> {
        // The XDG specification: relative paths are to be ignored.
        let xdg = self.xdg_config_home.clone().filter(|dir| dir.is_absolute());
        let user = xdg.or_else(|| Some(self.home.as_ref()?.join(".config")));
        let mut files: Vec<PathBuf> = self.notifyit_config.iter().map(|file| self.absolute(file)).collect();
        files.extend(user.map(|dir| self.absolute(&dir.join("notifyit/notifyit.toml"))));
        files.push(PathBuf::from("/etc/notifyit/notifyit.toml"));
        files
    }

    fn list(&self, value: Option<&OsStr>) -> Vec<PathBuf> {
        let paths = value.map(env::split_paths).into_iter().flatten();
        paths.filter(|path| !path.as_os_str().is_empty()).map(|path| self.absolute(&path)).collect()
    }
}

/// `path` as seen from `base`, without `.` components and doubled slashes. Symbolic links and `..` stay.
pub(super) fn absolute(base: &Path, path: &Path) -> PathBuf {
    base.join(path).components().collect()
}
