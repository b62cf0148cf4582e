//! The host of notifyit: watches directories and runs plugins for what happens in them.

pub mod route;
pub mod config;
pub mod cli;
