//! From a name or a directory to a running instance of a plugin. The files are read in load order:
//!
//! | file | step |
//! |---|---|
//! | `discover` | which files there are, and which file a name means |
//! | `trust` | may this file's code run in our process? |
//! | `precheck` | is it a whole shared library for this machine, and a plugin? |
//! | `stage` | a private copy, which nobody can overwrite while it is loaded |
//! | `probe` | the same in a child process first, the first time that this content is seen |
//! | `load` | `dlopen`, versions, layouts: the only unsafe code of the loader |
//! | `refused` | why a file was not loaded, in one line |
//! | `library` | what is sound, and makes instances |
//! | `instance` | what the host calls |
//! | `isolated` | an instance in a process of its own |
//! | `services` | what the plugin calls |
//! | `maker` | makes the instances, inline or isolated |
//! | `files` | which files are new since they were last looked at |
//! | `schema` | what a plugin's configuration may be |
//! | `set` | all of it for everything that is to run |
//!
//! What is *absent*: a library is never unloaded, and the file that the user gave is never mapped.

mod discover;
mod trust;
mod precheck;
mod stage;
pub mod probe;
mod load;
mod library;
mod refused;
mod instance;
pub mod isolated;
mod services;
mod tickets;
mod batch;
mod maker;
mod files;
pub mod schema;
pub mod set;
#[cfg(test)]
mod tests;

pub use discover::{Discovered, by_name, in_directories, name_of};
pub use instance::{Answer, Answers, CreateError, Instance, Lost, Reply, SLACK};
pub use library::PluginLibrary;
pub use load::{Examined, Loader, api_version};
pub use maker::{Create, Maker};
pub use probe::Prober;
pub use refused::{Refused, Step};
pub use services::{Grant, Metrics, Services, forget};
pub use tickets::Tickets;

use crate::config::Trust;
