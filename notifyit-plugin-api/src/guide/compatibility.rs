//! Which host runs my plugin, for how long, and who tests that?
//!
//! > **Same major version of this crate. Older plugins run on newer hosts; newer plugins run on older hosts if they only add.**
//!
//! | the plugin is built with | a host of 1.0 | a host of 1.2 | a host of 1.9 | a host of 2.0 |
//! |---|---|---|---|---|
//! | 1.0 | runs | runs | runs | refused, in one line |
//! | 1.2 | runs; what is new in between is not there | runs | runs | refused |
//! | 2.0 | refused | refused | refused | runs |
//!
//! `notifyit plugin inspect FILE` says with which version a plugin was built (`api`), and whether the host that is asked would
//! run it.
//!
//! # What it does not depend on
//!
//! - **The compiler.** Any rustc from the crate's `rust-version` on, stable, beta or nightly, the host's another than the
//!   plugin's; debug or release.
//! - **The other plugins.** Each may have another version of this crate and of any other; old and new run side by side,
//!   whichever is loaded first. They share no `static` and no panic hook.
//!
//! What it does depend on: the same processor and C calling convention, a C library that is no older than the one it was
//! built with (build on the oldest system that you have, or in its container), and `panic = "unwind"`, unless it runs in a process
//! of its own.
//!
//! # What an author does for it
//!
//! Nothing. `notifyit-plugin-api = "1"` takes the newest 1.x, and the plugin runs on hosts of 1.0 all the same. What an older host
//! does not have says so where it is used:
//!
//! | since | is | on an older host |
//! |---|---|---|
//! | 1.1 | [`Host::instance`](crate::Host::instance) | `None` |
//! | 1.2 | the schema that [`macro@config`](crate::config) makes | is not asked for: a wrong configuration is told by `new` |
//! | 1.2 | [`Plugin::on_batch`](crate::Plugin::on_batch) | is not called: `on_event` is |
//! | 1.2 | [`Event::defer`](crate::Event::defer) | an error, [`Unavailable`](crate::Unavailable) |
//! | 1.2 | [`Event::emit`](crate::Event::emit), [`Event::emit_file`](crate::Event::emit_file) | an error, [`Unavailable`](crate::Unavailable) |
//! | 1.2 | [`Kind::Emitted`](crate::Kind::Emitted) in [`EVENTS`](crate::Plugin::EVENTS) | is left out; a plugin that asks for nothing else is refused, in one line |
//! | 1.2 | [`Host::store`](crate::Host::store) | an error, [`Unavailable`](crate::Unavailable) |
//! | 1.2 | [`Host::stopping`](crate::Host::stopping), [`Host::wait_for_stop`](crate::Host::wait_for_stop) | never so: the wait takes its whole time |
//! | 1.2 | [`Host::count`](crate::Host::count), [`Host::gauge`](crate::Host::gauge) | nothing, which is logged once |
//!
//! And what a newer host has, an older plugin need not know: a kind or an origin that has no name here yet is
//! [`Kind::Other`](crate::Kind::Other), [`Origin::Other`](crate::Origin::Other); both, and [`Verdict`](crate::Verdict), are
//! `#[non_exhaustive]`.
//!
//! What compiles with 1.0 compiles with each 1.x, by the rules of [SemVer](https://doc.rust-lang.org/cargo/reference/semver.html),
//! but for what is in [`abi`](crate::abi) and `__private`, which is for hosts and macros. The form of
//! [`Event::to_json`](crate::Event::to_json) may gain keys; its `v` changes if one changes its meaning.
//!
//! # How it is tested
//!
//! The repository keeps copies of earlier versions' sources, which are never edited, and makes a *later* version of today's,
//! which adds something to every type that may grow. One plugin is built with each of these, and there is a host of each.
//! The rules by which the wire may grow are in [`abi`](crate::abi).
//!
//! | promise | held by |
//! |---|---|
//! | what an earlier version has on the wire is where it was, and means the same | `tests::compat::what_an_older_version_has_on_the_wire_is_there_and_means_the_same` |
//! | each version of the host runs a plugin of each version; what the other side lacks is `None`, or a default | `tests::compat::each_version_of_the_host_runs_each_of_the_plugin` |
//! | a host that takes no deferred verdict has a clear answer | `tests::compat::a_host_that_takes_no_deferred_verdict_has_a_clear_answer` |
//! | a host that hands no file on has a clear answer | `tests::compat::a_host_that_hands_no_file_on_has_a_clear_answer` |
//! | they run side by side in one host, in debug and release, by this and other compilers (where those are installed) | `tests::compat::older_and_newer_plugins_of_all_compilers_run_side_by_side` |
//! | the copies are what was released | `tests::compat::the_frozen_sources_are_as_they_were` |
//! | an older plugin keeps no newer one out, nor the other way round | `plugin::load::tests::an_older_plugin_keeps_no_newer_one_out` |
//! | plugins of the same types are told apart | `tests::instances::plugins_that_share_all_their_types_stay_themselves` |
//! | a plugin without a schema tells by itself what is wrong with its configuration | `tests::schema::a_plugin_without_a_schema_has_its_say_in_new` |
//! | another major version is refused in a line that names both | `plugin::load::tests::another_major_version_is_refused_with_both_sides` |
//! | types that differ all the same are refused, with the first difference | `plugin::load::tests::a_wrong_layout_is_one_line_with_its_first_cause` |
//! | what is refused never gets into the host | `tests::probe::what_is_refused_is_never_mapped_into_the_host` |
//! | what runs goes on when it is to be replaced by what is refused | `tests::hot::swaps::what_is_refused_leaves_the_old_code_at_work_and_the_log_says_why` |
