//! Write a [notifyit](https://crates.io/crates/notifyit-plugin-api) plugin: plain safe Rust that handles every file
//! that lands.
//!
//! ```
//! #![forbid(unsafe_code)]
//! use notifyit_plugin_api::{Event, Host, Plugin, Reject, Result, bail, config, export_plugin, log};
//!
//! #[config] // what the user writes under [plugin.lines.config]
//! struct Config {
//!     max_bytes: Option<u64>,
//! }
//!
//! struct Lines {
//!     config: Config,
//!     files: u64,
//! }
//!
//! impl Plugin for Lines {
//!     type Config = Config; // or ()
//!
//!     fn new(config: Config, _host: Host) -> Result<Self> {
//!         Ok(Lines { config, files: 0 })
//!     }
//!
//!     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
//!         if self.config.max_bytes.is_some_and(|max| event.size() > max) {
//!             bail!(Reject::new("larger than max_bytes")); // never again
//!         }
//!         let lines = std::io::read_to_string(event.open()?)?.lines().count(); // `?`: try again later
//!         self.files += 1;
//!         log::info!("file {}: {} has {lines} lines", self.files, event.relative().display());
//!         Ok(())
//!     }
//! }
//!
//! export_plugin!(Lines);
//! # fn main() {
//! #     let mut host = notifyit_plugin_api::testing::TestHost::start::<Lines>(notifyit_plugin_api::json!({"max_bytes": 4})).unwrap();
//! #     assert!(host.write("a", "1\n2").is_done());
//! #     assert!(host.write("b", "1\n2\n3").is_reject());
//! #     assert_eq!(host.logs(), ["INFO file 1: a has 2 lines"]);
//! # }
//! ```
//!
//! # A plugin's life
//!
//! 1. The package is a `cdylib` named `notifyit-NAME`; `cargo build --release` makes `libnotifyit_NAME.so`.
//! 2. The host finds the file in a plugin directory, checks it, makes a private copy, loads that, and reads what
//!    [`export_plugin!`] says of it: name, version, kinds of events.
//! 3. For each worker of the plugin's lane the host calls [`Plugin::new`] with the configuration. An error there ends a
//!    host that is just starting and was asked for this plugin; else it is tried again, with growing pauses.
//! 4. For each event that the plugin asked for ([`Plugin::EVENTS`]) one instance gets [`Plugin::on_event`]; events
//!    of one path go to the same instance, in order. What it returns is the verdict: done, retry ([`RetryAfter`],
//!    [`Unavailable`]) or reject ([`Reject`]).
//! 5. At the end of each burst it gets [`Plugin::flush`]; only then is the burst settled.
//! 6. A panic, in any of these, is caught inside the plugin: the instance is dropped, a new one is made (3), and the
//!    event is tried again.
//! 7. When the file is replaced, the new code's instances are made beside these (3), and take their place between two
//!    events: what the old one has done is flushed (5), then it ends (8). So for a moment there are two instances.
//! 8. When the host stops, or the file is removed, it calls [`Plugin::shutdown`] and drops the instance. The library
//!    itself is never unloaded.
//!
//! A handler that writes to the very file that it handles says so with [`Event::rewrote`], or it gets it again.
//!
//! # What holds for ever
//!
//! Same major version; older plugins run on newer hosts; newer plugins run on older hosts if they only add. The wire
//! is in [`abi`], with the rules by which it grows and the tests that hold them. A plugin needs no other dependency than this crate, and no
//! unsafe code.

// The macros' paths work inside this crate too: in its tests and its examples.
extern crate self as notifyit_plugin_api;

mod plugin;
mod event;
mod kind;
mod verdict;
mod error;
mod config;
mod services;
mod info;
mod export;
mod beneath;
pub mod testing;
pub mod abi;

pub use config::Config;
pub use error::{Reject, RetryAfter, Unavailable};
pub use event::Event;
pub use info::Info;
pub use kind::{Kind, Origin, UnknownKind};
pub use plugin::Plugin;
pub use services::Host;
pub use verdict::{Blame, Verdict};

pub use notifyit_plugin_api_macros::config;

pub use ::anyhow::{self, Context, Error, Result, anyhow, bail, ensure};
pub use log;
pub use serde;
pub use serde_json::{self, json};

/// What the macros expand to. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::abi::{
        CreateResult, HostApi_Ref, LibHeader, PluginModule_Ref, RString, RootModuleResult, Text, export,
        guard,
    };
    pub use crate::config::read;
    pub use crate::info::Package;
}

/// The README's plugin compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
