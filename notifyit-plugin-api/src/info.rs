//! What a library says of itself.

use std::panic::catch_unwind;

use serde::{Deserialize, Serialize};

use crate::config::Config;
use crate::kind::Kind;
use crate::plugin::Plugin;

/// What a library says of itself: the JSON that `info` returns. May gain keys; readers ignore what they do not know. For hosts:
/// `export_plugin!` makes it for a plugin, whenever it is asked, on any thread.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Info {
    /// The plugin's name: the Cargo package's, without `notifyit-`.
    pub name: String,
    /// The Cargo package's version.
    pub version: String,
    /// The Cargo package's description.
    #[serde(default)]
    pub description: String,
    /// The version of `notifyit-plugin-api` that it was built with.
    pub api: String,
    /// The compiler that it was built with, as `rustc --version` says it.
    #[serde(default)]
    pub rustc: String,
    /// `unwind`, or `abort`, with which no panic can be contained.
    pub panic: String,
    /// The kinds that it asks for, by name.
    pub events: Vec<String>,
    /// The most workers that it can have.
    pub max_workers: u16,
    /// Does it only read its files? Not told by plugins that were built before this was asked.
    #[serde(default)]
    pub reads_only: bool,
    /// How many events it may have in hand at a time. Since 1.2.
    #[serde(default = "one")]
    pub in_flight: u16,
    /// The JSON schema of its configuration, if it has one. Since 1.2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub config: Option<serde_json::Value>,
}

fn one() -> u16 {
    1
}

/// The author's Cargo package, as `export_plugin!` sees it.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub struct Package {
    pub name: &'static str,
    pub version: &'static str,
    pub description: &'static str,
    pub panic: &'static str,
}

impl Info {
    /// What `P`, exported from this package, says of itself.
    #[doc(hidden)]
    pub fn of<P: Plugin>(package: Package) -> Info {
        Info {
            name: package.name.strip_prefix("notifyit-").unwrap_or(package.name).to_owned(),
            version: package.version.to_owned(),
            description: package.description.to_owned(),
            api: env!("CARGO_PKG_VERSION").to_owned(),
            rustc: env!("NOTIFYIT_RUSTC").to_owned(),
            panic: package.panic.to_owned(),
            events: P::EVENTS.iter().map(Kind::to_string).collect(),
            max_workers: P::MAX_WORKERS.max(1),
            reads_only: P::READS_ONLY,
            in_flight: P::IN_FLIGHT.max(1),
            // A plugin can do without it.
            config: catch_unwind(P::Config::schema).ok().flatten(),
        }
    }
}
