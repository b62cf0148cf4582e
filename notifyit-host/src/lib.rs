//! The host of notifyit: runs compiled handlers for every file that lands.
//!
//! ```text
//!  source ────found────▶ route ────delivery────▶ deliver ────outcome────▶ settle
//!  inotify, tree         which plugins           one lane per plugin:      what became
//!                        want it                 queue, attempt, retry     of each event
//!                                                    ▲ calls
//!                                              plugin: discover, check, stage, load
//! ```
//!
//! Data flows one way. A module uses only those below it, and those on one line never meet but in [`run`],
//! [`upkeep`] and [`inventory`]:
//!
//! ```text
//! main
//! run      upkeep   inventory         wires, starts, stops in reverse; what to do while no host runs; plugin files
//! control                             what a running host says of itself, and to whom
//! roster                              which plugins run, while they come and go
//! deliver                             lanes and their workers
//! source   route   plugin   settle
//! config                              what is to be done, resolved once
//! log      stdout                     one line a record; what commands say
//! event    sys     cli     patterns
//! ```
//!
//! [`rules`] lists the rules by which no file is lost, each with the tests that hold it.
//!
//! What is *absent*: an async runtime, an unbounded queue, a thread without a name or an owner, a wait on the
//! source's thread, a path taken for text, a flag or an environment variable read below `config`.

pub mod run;
pub mod upkeep;
pub mod inventory;
pub mod control;
pub mod roster;
pub mod deliver;
pub mod source;
pub mod route;
pub mod plugin;
pub mod settle;
pub mod config;
pub mod event;
pub mod sys;
pub mod cli;
pub mod log;
pub mod stdout;
pub mod patterns;
pub mod rules;

/// The README's plugin compiles.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
mod readme {}
