//! What `main.rs` tries of plugins, once more with each worker as a process of its own: the harness adds
//! `--isolation process` to `watch`. Left out is what is about the watch alone, and what no plugin has a part in.

mod lossless;
mod subscriptions;
mod verdicts;
mod trouble;
mod panics;
mod instances;
mod lanes;
mod shutdown;
mod status;
mod state;
mod retries;
mod dead;
mod replay;
mod names;
mod opened;
mod events;
mod renames;
mod rewrites;
mod hot;
mod print;
mod exec;
mod exec_lines;
mod cookbook;
mod compat;
mod refused;
mod zoo;
mod in_flight;
mod emitted;
mod probe;
mod services;
