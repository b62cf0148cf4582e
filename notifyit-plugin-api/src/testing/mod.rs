//! A host for a plugin's own tests: the real adapter and real files, without a `.so`.
//!
//! This is how a whole test file looks, here of the plugin on the [front page](crate), as `src/tests.rs` with
//! `#[cfg(test)] mod tests;` in its `src/lib.rs`. It needs nothing but this crate, and `cargo test` runs it:
//!
//! ```test_harness
//! # use notifyit_plugin_api::{Event, Host, Plugin, Reject, Result, bail, config, log};
//! # #[config] struct Config { max_bytes: Option<u64> }
//! # struct Lines { config: Config, files: u64 }
//! # impl Plugin for Lines {
//! #     type Config = Config;
//! #     fn new(config: Config, _host: Host) -> Result<Self> { Ok(Lines { config, files: 0 }) }
//! #     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
//! #         if self.config.max_bytes.is_some_and(|max| event.size() > max) {
//! #             bail!(Reject::new("larger than max_bytes"));
//! #         }
//! #         let lines = std::io::read_to_string(event.open()?)?.lines().count();
//! #         self.files += 1;
//! #         log::info!("file {}: {} has {lines} lines", self.files, event.relative().display());
//! #         Ok(())
//! #     }
//! # }
//! # mod tests {
//! use notifyit_plugin_api::json;
//! use notifyit_plugin_api::testing::TestHost;
//!
//! use super::Lines;
//!
//! #[test]
//! fn lines_are_counted() {
//!     let mut host = TestHost::start::<Lines>(json!({})).unwrap();
//!     host.write("a.txt", "one\ntwo\n").assert_done(); // written, delivered, flushed
//!     host.assert_logged("a.txt has 2 lines");
//! }
//!
//! #[test]
//! fn what_is_gone_is_tried_again() {
//!     let host = TestHost::start::<Lines>(json!({})).unwrap();
//!     host.event("gone").missing().deliver().assert_retry("No such file");
//!     assert!(host.logs().is_empty());
//! }
//!
//! #[test]
//! fn what_is_too_large_is_rejected() {
//!     let mut host = TestHost::start::<Lines>(json!({ "max_bytes": 3 })).unwrap();
//!     host.write("large", "four").assert_reject("larger than max_bytes");
//! }
//!
//! #[test]
//! fn a_burst_is_counted_file_by_file() {
//!     let mut host = TestHost::start::<Lines>(json!({})).unwrap();
//!     let verdicts = host.burst([host.event("a").content("1"), host.event("b").content("1\n2")]);
//!     verdicts.iter().for_each(|verdict| verdict.assert_done());
//!     host.assert_logged("file 2: b has 2 lines");
//! }
//!
//! #[test]
//! fn each_worker_counts_its_own() {
//!     let mut host = TestHost::start::<Lines>(json!({})).unwrap();
//!     let mut second = host.worker().unwrap();
//!     host.write("a", "1").assert_done();
//!     second.write("b", "1").assert_done();
//!     assert_eq!(host.logs(), ["INFO file 1: a has 1 lines", "INFO file 1: b has 1 lines"]);
//! }
//!
//! #[test]
//! fn a_wrong_configuration_is_refused() {
//!     let error = TestHost::start::<Lines>(json!({ "max_byte": 3 })).unwrap_err();
//!     assert_eq!(error.to_string(), "configuration: unknown key `max_byte`");
//! }
//! # }
//! ```
//!
//! | to test | there is |
//! |---|---|
//! | a file that lands | [`TestHost::write`], and [`TestHost::land`] for one that lies there |
//! | any other event: kind, origin, attempt, a file that is gone, a name of any bytes | [`TestHost::event`] |
//! | batches, deferred verdicts | the same: each waits until it has its verdict |
//! | a plugin that buffers | [`TestHost::burst`], [`TestHost::flush`] |
//! | what it answers | `assert_done`, `assert_retry`, `assert_reject` and more, [on the verdict](crate::Verdict#method.assert_done) |
//! | `workers = 2` | [`TestHost::worker`] |
//! | what it logs, and at which level | [`TestHost::logs`], [`TestHost::assert_logged`], [`TestHost::set_log_level`] |
//! | a panic | nothing: it fails the test. If it is right: [`TestHost::expect_panic`] |
//! | a handler that writes to its own file | [`TestHost::rewrote`] |
//! | a plugin that hands files on, and one that takes them | [`TestHost::emitted`], [`TestEvent::emitted_by`] |
//! | [`Host::instance`](crate::Host::instance), [`Host::stop`](crate::Host::stop) | [`TestHost::start_as`], [`TestHost::stopped`] |
//! | [`Host::store`](crate::Host::store) | [`TestHost::stored`], [`TestHost::break_store`] |
//! | [`Host::stopping`](crate::Host::stopping) | [`TestHost::stop`] |
//! | [`Host::count`](crate::Host::count), [`Host::gauge`](crate::Host::gauge) | [`TestHost::metric`] |
//! | the end, and the next start | [`TestHost::shutdown`], then [`TestHost::worker`] |
//!
//! What is not there is the host's own part: no event comes by itself, a retry is delivered when the test delivers it
//! again, and no deadline ends a call.

mod host;
mod event;
mod verdict;
mod heard;
mod lent;
mod panics;
mod place;
mod in_flight;
mod emitted;

pub use event::TestEvent;
pub use host::TestHost;

#[cfg(test)]
mod tests;
