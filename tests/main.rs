//! Black-box tests of the built host: what a user sees, with real libraries and real files.

mod verdicts;
mod panics;
mod zoo;
mod refused;
mod instances;
mod lanes;
mod shutdown;
mod names;
mod opened;
mod events;
mod tree;
mod poll;
mod mounts;
mod quiet;
mod renames;
mod limits;
mod print;
mod exec;
mod exec_lines;
mod config;
mod cli;
mod side_by_side;
mod readme;
mod tidy;
