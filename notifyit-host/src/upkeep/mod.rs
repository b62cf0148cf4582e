//! The commands that look after a state directory while no host runs with it.
//!
//! | file | holds |
//! |---|---|
//! | `dead` | dead letters: list, show, retry, forget |
//! | `letter` | one of them, for people and as JSON |
//! | `pick` | which files a person means |
//! | `again` | `replay` and `skip` |
//!
//! What a command changes it changes whole or not at all, and the next host starts from that.

mod dead;
mod letter;
mod pick;
mod again;

use std::panic::AssertUnwindSafe;

use anyhow::{Result, bail};

pub use again::{replay, skip};
pub use dead::dead;

use crate::cli::{ForgetArgs, StateArgs};
use crate::config::{Environment, state_dir};
use crate::log::one_line;
use crate::plugin;
use crate::settle::at_rest::{AtRest, Known};
use crate::stdout::print;

/// Carries out a command. The store panics when it comes across what it cannot have written.
///
/// # Errors
///
/// The command's; a ledger that is damaged.
pub fn guarded(command: impl FnOnce(&Environment) -> Result<()>) -> Result<()> {
    let environment = Environment::of_process()?;
    std::panic::set_hook(Box::new(|_| {}));
    let done = std::panic::catch_unwind(AssertUnwindSafe(|| command(&environment)));
    let _ = std::panic::take_hook();
    done.unwrap_or_else(|_| {
        bail!(
            "failed to read the ledger: it is damaged; move it away, and its files count as existing, or are handled \
             again with `existing = \"deliver\"`"
        )
    })
}

/// Drops what is remembered of an instance.
///
/// # Errors
///
/// The state directory cannot be had; it knows no such instance.
pub fn forget(args: &ForgetArgs, environment: &Environment) -> Result<()> {
    let state = open(&args.state, environment)?;
    let instance = &named(&state, std::slice::from_ref(&args.name))?[0];
    let mut finished = 0_u64;
    state.for_each_finished(instance, |_, _| finished += 1)?;
    let troubles = state.troubles(instance)?;
    let dead = troubles.iter().filter(|(_, trouble)| trouble.state.is_dead()).count();
    let waiting = troubles.len() - dead;
    let directory = state_dir(&args.state, environment)?;
    let kept = plugin::forget(&directory, &args.name, args.dry_run)?;
    if !args.dry_run {
        state.forget(instance)?;
    }
    let verb = if args.dry_run { "would forget" } else { "forgot" };
    print(&format!(
        "{verb} plugin `{}`: {}, {} among them; {} waited for another try{}\n",
        args.name,
        counted(finished, "finished file"),
        counted(dead as u64, "dead letter"),
        counted(waiting as u64, "file"),
        if kept > 0 { format!("; {kept} in its own store") } else { String::new() },
    ))
}

fn open(args: &StateArgs, environment: &Environment) -> Result<AtRest> {
    AtRest::open(&state_dir(args, environment)?)
}

/// The instances of these names, or all.
fn named(state: &AtRest, names: &[String]) -> Result<Vec<Known>> {
    let known = state.instances()?;
    for name in names {
        if !known.iter().any(|instance| instance.name == *name) {
            let all: Vec<_> = known.iter().map(|instance| instance.name.as_str()).collect();
            let all = if all.is_empty() { vec!["none"] } else { all };
            bail!(
                "no plugin `{}` has been run with this state directory; it knows {}",
                one_line(name),
                all.join(", ")
            );
        }
    }
    let is_meant = |instance: &Known| names.is_empty() || names.contains(&instance.name);
    Ok(known.into_iter().filter(is_meant).collect())
}

fn counted(count: u64, word: &str) -> String {
    format!("{count} {word}{}", if count == 1 { "" } else { "s" })
}
