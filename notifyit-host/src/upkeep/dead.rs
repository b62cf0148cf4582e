//! Dead letters: list, show, retry, forget.

use std::ffi::OsStr;
use std::fmt::Write;
use std::path::Path;

use anyhow::{Result, bail};

use super::letter::{Letter, Now};
use super::{counted, named, open};
use crate::cli::{DeadCommand, LetterArgs};
use crate::config::Environment;
use crate::settle::at_rest::AtRest;
use crate::stdout::{columns, print};

/// Carries out a command about dead letters.
///
/// # Errors
///
/// The state directory cannot be had; there is no such plugin or dead letter.
pub fn dead(command: &DeadCommand, environment: &Environment) -> Result<()> {
    match command {
        DeadCommand::List { plugin, json, state } => {
            let letters = letters(&open(state, environment)?, plugin)?;
            print(&if *json { as_json(&letters) } else { as_list(&letters) })
        }
        DeadCommand::Show { ids, plugin, json, state } => {
            let letters = chosen(letters(&open(state, environment)?, plugin)?, ids)?;
            print(&if *json { as_json(&letters) } else { in_full(&letters) })
        }
        DeadCommand::Retry(args) => retry(args, &open(&args.state, environment)?),
        DeadCommand::Forget(args) => forget(args, &open(&args.state, environment)?),
    }
}

fn retry(args: &LetterArgs, state: &AtRest) -> Result<()> {
    let letters = meant(args, state)?;
    let (gone, there): (Vec<_>, Vec<_>) = letters.iter().partition(|letter| letter.now() == Now::Gone);
    state.change(|edit| {
        there
            .iter()
            .try_for_each(|letter| edit.hand_out(&letter.instance, &letter.spot, letter.trouble.stamp))
    })?;
    let mut text = format!("{} handed out again at the next start\n", are(there.len()));
    if !gone.is_empty() {
        let _ = writeln!(
            text,
            "{} about files that are gone: `notifyit dead forget` drops them",
            are(gone.len())
        );
    }
    print(&text)
}

fn forget(args: &LetterArgs, state: &AtRest) -> Result<()> {
    let letters = meant(args, state)?;
    state.change(|edit| {
        letters.iter().try_for_each(|letter| edit.drop_trouble(&letter.instance, &letter.spot))
    })?;
    print(&format!("{} forgotten\n", are(letters.len())))
}

fn are(count: usize) -> String {
    format!("{} {}", counted(count as u64, "dead letter"), if count == 1 { "is" } else { "are" })
}

fn meant(args: &LetterArgs, state: &AtRest) -> Result<Vec<Letter>> {
    let letters = letters(state, &args.plugin)?;
    if args.all { Ok(letters) } else { chosen(letters, &args.ids) }
}

/// Those with these ids: several, if several plugins could not handle one file.
fn chosen(letters: Vec<Letter>, ids: &[u64]) -> Result<Vec<Letter>> {
    for id in ids {
        if !letters.iter().any(|letter| letter.id() == *id) {
            bail!("no dead letter has the id `{id:016x}`; `notifyit dead list` shows those that there are");
        }
    }
    Ok(letters.into_iter().filter(|letter| ids.contains(&letter.id())).collect())
}

/// The dead letters of these plugins, oldest first.
fn letters(state: &AtRest, plugins: &[String]) -> Result<Vec<Letter>> {
    let (directories, watches) = (state.directories()?, state.watches()?);
    let mut letters = Vec::new();
    for instance in named(state, plugins)? {
        for (spot, trouble) in state.troubles(&instance)? {
            if !trouble.state.is_dead() {
                continue;
            }
            let (watch, relative) = directories.path(spot.directory).unwrap_or_default();
            let root = watches.iter().find(|known| OsStr::new(&known.name) == watch);
            let root = root.map_or(Path::new(""), |known| &known.root);
            letters.push(Letter::new(&instance, (spot, trouble), watch, root, &relative));
        }
    }
    letters.sort_by_key(|letter| letter.trouble.last_nanos);
    Ok(letters)
}

fn as_json(letters: &[Letter]) -> String {
    letters
        .iter()
        .fold(String::new(), |text, letter| text + &serde_json::Value::from(letter.json()).to_string() + "\n")
}

fn in_full(letters: &[Letter]) -> String {
    let mut text = String::new();
    for letter in letters {
        if !text.is_empty() {
            text.push('\n');
        }
        letter.write(&mut text);
    }
    text
}

fn as_list(letters: &[Letter]) -> String {
    if letters.is_empty() {
        return "no dead letters\n".to_owned();
    }
    let head = ["ID", "PLUGIN", "ATTEMPTS", "LAST", "PATH", "ERROR"].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(letters.iter().map(Letter::columns)).collect();
    columns(&lines)
}
