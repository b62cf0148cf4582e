//! Black-box tests of the built host: what a user sees, with real libraries and real files.

mod verdicts;
mod panics;
mod refused;
mod instances;
mod lanes;
mod shutdown;
mod names;
mod opened;
mod events;
mod tree;
mod limits;
mod print;
mod exec;
mod config;
mod cli;
mod side_by_side;
