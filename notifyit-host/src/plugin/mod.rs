//! From a name or a directory to a running instance of a plugin. The files are read in load order:
//!
//! | file | step |
//! |---|---|
//! | `discover` | which files there are, and which file a name means |
//! | `trust` | may this file's code run in our process? |
//! | `precheck` | is it a whole shared library for this machine, and a plugin? |
//! | `stage` | a private copy, which nobody can overwrite while it is loaded |
//! | `load` | `dlopen`, versions, layouts: the only unsafe code of the loader |
//! | `refused` | why a file was not loaded, in one line |
//! | `instance` | what the host calls |
//! | `services` | what the plugin calls |
//!
//! What is *absent*: a library is never unloaded, and the file that the user gave is never mapped.

mod discover;
mod trust;
mod precheck;
mod stage;
mod load;
mod refused;
mod instance;
mod services;
#[cfg(test)]
mod tests;

pub use discover::{Discovered, by_name, in_directories, name_of};
pub use instance::{CreateError, Instance, Reply};
pub use load::{LoadedLibrary, Loader};
pub use refused::{Refused, Step};
pub use services::{Services, one_line};

pub use words::{Library, Trust};

/// Words of the configuration that the loader uses.
mod words {
    use std::path::PathBuf;

    /// How much is asked of a plugin file before its code is run.
    #[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
    pub enum Trust {
        /// Nobody but root and us can have put it there: the owners and modes of it and of all directories above it.
        #[default]
        Strict,
        /// It is owned by root or us.
        Owner,
        /// Nothing is asked.
        Off,
    }

    /// Which library an instance is made from.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub enum Library {
        /// A plugin's name, to be looked up.
        Name(String),
        /// A file.
        File(PathBuf),
    }
}
