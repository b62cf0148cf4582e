//! Write a [notifyit](https://crates.io/crates/notifyit-plugin-api) plugin: plain safe Rust that handles every file
//! that lands.
//!
//! ```
//! #![forbid(unsafe_code)]
//! use notifyit_plugin_api::{Event, Host, Plugin, Reject, Result, bail, config, export_plugin, log};
//!
//! #[config] // what the user writes under [plugin.lines.config]
//! struct Config {
//!     /// Larger files are rejected.
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
//! `?` takes every error, but not a text: see [`Result`] for what to write instead of `Err("…".into())`. How to test all of
//! this without a host is in [`testing`]. Eight whole plugins to begin with, what the host means when it refuses one, which
//! hosts run it, and what is safe: [`guide`].
//!
//! # A plugin's life
//!
//! 1. **Built.** `notifyit plugin new lines` makes a package to begin with. It is named `notifyit-lines`, has
//!    `crate-type = ["cdylib"]` under `[lib]` and one [`export_plugin!`]; `cargo build --release` makes
//!    `target/release/libnotifyit_lines.so`.
//! 2. **Loaded.** The host finds that file in a directory of plugins (`notifyit watch --plugin-dir target/release`), checks
//!    it, makes a private copy, loads that, and reads what it says of itself: name, version, the constants of [`Plugin`],
//!    and what its configuration may be ([`macro@config`]). None of your functions has run yet.
//! 3. **Made.** The host compares what the user has written with that: what is wrong is told with its line, and goes no further.
//!    Then it calls [`Plugin::new`] with the configuration: once for each worker. A worker is a thread with
//!    an instance of its own; the user says how many (`workers`, 1 if they say nothing), and you say how many at most
//!    ([`Plugin::MAX_WORKERS`]). If `new` fails, a host that was told to run this plugin does not start; one that runs
//!    already tries again, with growing pauses; after a [`Reject`], or for a configuration that cannot be read, not before
//!    something changes.
//! 4. **Called.** For each event of the kinds that it asks for ([`Plugin::EVENTS`]) one of the instances gets
//!    [`Plugin::on_event`]; events of one path always go to the same instance, in order. What it returns is the
//!    [`Verdict`]: done; or try again later, which is every error ([`RetryAfter`]: not before this time;
//!    [`Unavailable`]: no file would have worked); or never again ([`Reject`]).
//!    Who wants many events at a time says so ([`Plugin::IN_FLIGHT`]), and gets what waits in one call
//!    ([`Plugin::on_batch`]), or returns at once and says later what became of an event, on whatever thread
//!    ([`Event::defer`]). Order holds all the same: the next event of a path waits for the verdict on the one before.
//! 5. **Flushed.** When no event is waiting, and at the latest after 1,024 of them, comes [`Plugin::flush`]: what came since
//!    the last one is a *burst*. Only when this returns `Ok` are the burst's files finished; a host that is killed before delivers
//!    them again. If you buffer nothing, there is nothing to write. (A [`Deferred`] verdict is for what is safe already, and no
//!    flush is waited for.)
//! 6. **Panicked**, perhaps, in any of these. The panic is caught and logged with its place; the instance is dropped, a new one
//!    is made (3), and the event is tried again, as is what was not flushed. Deferred verdicts stay good.
//! 7. **Replaced.** When a newer file takes the place of this one, instances of the new code are made beside the old ones
//!    (3). Between two events, when no verdict is to come any more, they take over: the old instance is flushed (5) and ends (8). So for a moment there are two of
//!    them.
//! 8. **Ended.** When the host stops, or the file is removed, [`Host::stopping`] turns true, for a call that takes long; then
//!    comes [`Plugin::shutdown`], and the instance is dropped. The library itself stays loaded until the process ends; threads
//!    that you have started are yours to end ([`Host::wait_for_stop`]).
//!
//! Nothing of an instance outlives it but what you write somewhere, into its [`Store`] for one. The host remembers which files are finished, and after a
//! start it delivers those that are not. A file can come twice ([`Event::id`] tells), never not at all.
//!
//! A handler that writes to the very file that it handles says so with [`Event::rewrote`], or it gets it again. One that looks
//! into files before other plugins get them hands them on with [`Event::emit`].
//!
//! # Which thread
//!
//! | | is called by the host | on |
//! |---|---|---|
//! | [`Plugin::new`] | before the first event, and after a panic | the worker's thread, or another of the host's (7) |
//! | [`Plugin::on_event`], [`Plugin::on_batch`], [`Plugin::flush`] | one after the other, never two at once | the worker's thread |
//! | [`Plugin::shutdown`], `Drop` | once, at the end; after a panic only `Drop` | the worker's thread, or that of `new` if no event came |
//!
//! | | may be called by you | from |
//! |---|---|---|
//! | all of [`Event`] | during `on_event` or `on_batch`: an event cannot be kept | any thread that ends before the call does |
//! | [`Deferred::complete`], its `Drop`; [`Deferred::emit`] before that | once, at any time | any thread or task |
//! | all of [`Host`] | from `new` until the process ends | any thread; only [`Host::wait_for_stop`] waits |
//! | all of [`Store`] | the same, in `shutdown` too | any thread; waits for the disk |
//! | `log`'s macros | at any time | any thread; one of your own calls [`Host::attach_thread`] first |
//!
//! So an instance needs no locks, and must be [`Send`]. What is `static` is shared by all instances in one process: those of
//! all workers and of all that the user makes of the library; with `isolation = "process"` each worker is a process of
//! its own. Let `on_event` take its time: only the files of its own worker wait. What it may take is [`Event::timeout`].
//!
//! # What holds for ever
//!
//! Same major version; older plugins run on newer hosts; newer plugins run on older hosts if they only add. The wire
//! is in [`abi`], with the rules by which it grows and the tests that hold them; what that means for you, in
//! [`guide::compatibility`]. A plugin needs no other dependency than this crate, and no unsafe code.

// The macros' paths work inside this crate too: in its tests and its examples.
extern crate self as notifyit_plugin_api;

mod plugin;
mod event;
mod kind;
mod verdict;
mod error;
mod config;
mod deferred;
mod schema;
mod services;
mod info;
mod export;
mod beneath;
pub mod testing;
pub mod abi;
pub mod guide;

pub use config::Config;
pub use deferred::Deferred;
pub use error::{Reject, RetryAfter, Unavailable};
pub use event::Event;
pub use info::Info;
pub use kind::{Kind, Origin, UnknownKind};
pub use plugin::Plugin;
pub use services::{Host, Store};
pub use verdict::{Blame, Verdict};

pub use notifyit_plugin_api_macros::config;

/// What a plugin's functions return: `Ok`, or an error, of which the host makes a [`Verdict`].
///
/// It is anyhow's, so `?` takes every error that implements [`std::error::Error`], and makes a
/// "try again later" of it. A text is no such error, and the compiler says "the trait `StdError` is not implemented
/// for `str`" (or `String`):
///
/// | this does not compile | write |
/// |---|---|
/// | `Err("no header".into())` | `bail!("no header")`, or `Err(anyhow!("no header"))` as a value |
/// | `option.ok_or("no header")?` | `option.context("no header")?` |
/// | `result.map_err(\|e\| e.to_string())?` | `result?`, or `result.context("failed to read the header")?`, which keeps the cause |
/// | `result?`, where its error is a `String` or a `&'static str` | `result.map_err(Error::msg)?` |
/// | `result?`, where its error is a `Box<dyn Error>` | `result.map_err(\|e\| anyhow!("{e}"))?` |
///
/// ```
/// use notifyit_plugin_api::{Context, Error, Reject, Result, anyhow, bail, ensure};
///
/// fn width(header: Option<&str>, limit: u32) -> Result<u32> {
///     let header = header.context("no header")?;
///     let Some(width) = header.strip_prefix("width=") else {
///         bail!(Reject::new("no width in the header")); // never try again
///     };
///     let width = width.parse().context(Reject::new("no number")).context("failed to read the width")?;
///     ensure!(width <= limit, "{width} is more than {limit}");
///     checked(width).map_err(Error::msg)
/// }
///
/// /// Another's function.
/// fn checked(width: u32) -> std::result::Result<u32, String> {
///     if width == 0 { Err("zero".to_owned()) } else { Ok(width) }
/// }
///
/// assert_eq!(width(Some("width=8"), 9).unwrap(), 8);
/// assert_eq!(width(None, 9).unwrap_err().to_string(), "no header");
/// # assert_eq!(format!("{:#}", width(Some("width=x"), 9).unwrap_err()), "failed to read the width: no number: invalid digit found in string");
/// # assert_eq!(width(Some("width=10"), 9).unwrap_err().to_string(), "10 is more than 9");
/// # assert_eq!(width(Some("width=0"), 9).unwrap_err().to_string(), "zero");
/// # let _: Result<()> = Err(anyhow!("no header"));
/// # let _: fn(Box<dyn std::error::Error>) -> Error = |e| anyhow!("{e}");
/// ```
///
/// What anyhow itself says of it:
///
#[doc(inline)]
pub use ::anyhow::Result;

pub use ::anyhow::{self, Context, Error, anyhow, bail, ensure};
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
    pub use schemars;

    pub mod schema {
        pub use crate::schema::{anything, of};

        /// All of it is brought into scope, where names of an author's types are.
        pub mod probe {
            pub use crate::schema::{Anything as __Anything, Of as __Of};
        }
    }
}

/// The README's plugin compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}
