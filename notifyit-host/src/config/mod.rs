//! What the host is to do: what was typed, laid over what a file says, laid over the defaults.
//!
//! [`resolve`] is the only door: it finds and reads the configuration file, and what it returns is complete, checked,
//! and no longer knows where anything came from, but for what can only be judged later: the plugins' own tables, when the
//! plugins are known, and what a process is confined to, by the machine. Everything below reads [`Settings`] alone, never a flag or the
//! environment.
//!
//! | file | holds |
//! |---|---|
//! | `environment` | what the process environment says |
//! | `layers` | the file and each `--set` as one tree that knows where every value was written |
//! | `set` | the key of a `--set` |
//! | `written` | the tree's shape: the keys that there are, and what each may be |
//! | `table` | a plugin's own table, and where each part of it was written |
//! | `resolved` | [`Settings`], and how they follow from the above |
//! | `state` | where the state is, for commands that need nothing else |
//! | `socket` | where a host listens, for itself and for who asks it |
//! | `places` | where plugins are, for commands that need nothing else |
//! | `watches` | the same for `[[watch]]` |
//! | `plugins`, `plugin` | what is to run, and one `[plugin.NAME]` |
//! | `confinement` | what a worker process may not do |

mod resolved;
mod state;
mod socket;
mod places;
mod watches;
mod plugins;
mod plugin;
mod confinement;
mod written;
mod table;
mod layers;
mod set;
mod environment;

pub use crate::cli::{Existing, Isolation, LogFormat, Trust};
pub use confinement::{Confinement, Limits, Sandbox, WrittenAt};
pub use environment::Environment;
pub use layers::part_of_key;
pub use places::{PluginPlaces, plugin_places};
pub use plugin::{Library, PluginSettings, RetrySettings};
pub use plugins::{Plugins, Request};
pub use resolved::{LogSettings, Settings, resolve};
pub use socket::{Socket, socket};
pub use state::state_dir;
pub use table::{Part, Step, Table};
pub use watches::WatchSettings;
pub use written::{Backend, Missing};

#[cfg(test)]
mod tests;

use std::fmt;

/// A configuration file is wrong: exit status 78 (`EX_CONFIG`). One line that begins with file, line and column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigError(pub(crate) String);

/// What was typed is wrong: exit status 2.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(pub(crate) String);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<String> for UsageError {
    fn from(what: String) -> UsageError {
        UsageError(what)
    }
}

impl std::error::Error for ConfigError {}
impl std::error::Error for UsageError {}
