//! What a running host says of itself, over a Unix socket: `notifyit status`.
//!
//! One request a connection: a line `status`, answered with one line of JSON, and closed.
//!
//! ```text
//!  roster, deliver, source ──facts──▶ status ──JSON──▶ listener ──socket──▶ ask ──▶ show
//!                                     a snapshot       the host's thread    `notifyit status`
//! ```
//!
//! | file | holds |
//! |---|---|
//! | `facts` | where a host finds out how it is |
//! | `status` | the JSON form |
//! | `state` | in which state a plugin is, and why |
//! | `place` | the socket's file: made for its owner alone, and replaced if its host is dead |
//! | `listener` | the thread that answers |
//! | `ask` | the other end |
//! | `show` | the same for people |
//!
//! Whoever asks is not trusted to read, to write, or to come to an end; and no answer waits for a plugin, the source or
//! a file system: it is made of what those have left behind last.

mod facts;
mod status;
mod state;
mod place;
mod listener;
mod ask;
mod show;

use std::path::Path;

use anyhow::Result;

pub use facts::{Facts, Phase};
pub use listener::Control;
pub use place::{Spot, is_taken};

use crate::cli::StatusArgs;
use crate::config::{self, Environment};
use crate::stdout::print;

/// Could a host listen there? Another one may do so now.
///
/// # Errors
///
/// Why not.
pub fn check(socket: &Path) -> Result<()> {
    place::check(socket)
}

/// Asks the host, and prints what it says.
///
/// # Errors
///
/// No socket is known; no host answers there.
pub fn status(args: &StatusArgs, environment: &Environment) -> Result<()> {
    let socket = config::socket(args, environment)?;
    let answer = ask::status(&socket)?;
    print(&if args.json { answer.line } else { show::text(&answer.status) })
}
