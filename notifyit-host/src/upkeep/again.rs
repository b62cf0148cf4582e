//! `replay`: what is finished is handed out again. `skip`: what is there is finished.

use std::ffi::OsStr;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::pick::Pick;
use super::{counted, open};
use crate::cli::PickArgs;
use crate::config::Environment;
use crate::log::one_line;
use crate::settle::at_rest::{AtRest, Directories, Known, Spot, Watch};
use crate::settle::ledger::Stamp;
use crate::source::filesystem::inodes_last;
use crate::stdout::print;
use crate::sys::{self, Stat};

/// A file and the plugin that it is changed for.
struct Change<'a> {
    instance: &'a Known,
    path: PathBuf,
    stamp: Stamp,
    spot: Where<'a>,
}

enum Where<'a> {
    /// In a directory that has a number.
    Known(Spot),
    /// In one that may not have one yet: the watch, and the path from its root.
    Beneath(&'a Watch, PathBuf),
}

/// Has finished files handed out again at the next start.
///
/// # Errors
///
/// The state directory cannot be had; what was typed fits nothing in it.
pub fn replay(args: &PickArgs, environment: &Environment) -> Result<()> {
    let state = open(&args.state, environment)?;
    let pick = Pick::new(args, environment, &state)?;
    let directories = state.directories()?;
    let mut changes = Vec::new();
    for instance in &pick.instances {
        state.for_each_finished(instance, |spot, stamp| {
            let Some((watch, relative)) = directories.path(spot.directory) else { return };
            let known = |known: &Watch| OsStr::new(&known.name) == watch;
            let Some(place) = pick.watches.iter().position(known) else { return };
            let relative = relative.join(&spot.name);
            let path = pick.watches[place].root.join(&relative);
            let Ok(Some(stat)) = sys::stat(&path) else { return };
            if stamp.is_of(&stat) && pick.wants(place, &relative, &stat) {
                changes.push(Change { instance, path, stamp, spot: Where::Known(spot) });
            }
        })?;
    }
    if !args.dry_run {
        state.change(|edit| {
            for Change { instance, stamp, spot, .. } in &changes {
                if let Where::Known(spot) = spot {
                    edit.hand_out(instance, spot, *stamp)?;
                }
            }
            Ok(())
        })?;
    }
    say(args, &pick, &changes, ["will come again at the next start", "would come again"])
}

/// Enters files that are there as finished.
///
/// # Errors
///
/// The state directory cannot be had; what was typed fits nothing in it; a directory cannot be read.
pub fn skip(args: &PickArgs, environment: &Environment) -> Result<()> {
    let state = open(&args.state, environment)?;
    let pick = Pick::new(args, environment, &state)?;
    let directories = state.directories()?;
    let mut changes = Vec::new();
    for (place, watch) in pick.watches.iter().enumerate() {
        let mut looking = Vec::new();
        for instance in &pick.instances {
            if state.looks_at(instance, watch)? {
                looking.push(instance);
            }
        }
        if looking.is_empty() {
            continue;
        }
        let has_inodes = inodes_last(&watch.root).unwrap_or(true);
        for_each_file(watch, Path::new(""), &mut |relative, stat| {
            if !pick.wants(place, relative, stat) {
                return Ok(());
            }
            let stamp = Stamp::of(&if has_inodes { *stat } else { Stat { inode: 0, ..*stat } });
            for instance in &looking {
                if !is_finished(&state, &directories, instance, watch, relative, stamp)? {
                    let spot = Where::Beneath(watch, relative.to_owned());
                    changes.push(Change { instance, path: watch.root.join(relative), stamp, spot });
                }
            }
            Ok(())
        })?;
    }
    if !args.dry_run {
        enter(&state, &changes)?;
    }
    say(args, &pick, &changes, ["entered as finished", "would be entered as finished"])
}

fn enter(state: &AtRest, changes: &[Change<'_>]) -> Result<()> {
    state.change(|edit| {
        for Change { instance, stamp, spot, .. } in changes {
            let Where::Beneath(watch, relative) = spot else { continue };
            let mut directory = edit.number(0, OsStr::new(&watch.name))?;
            for name in relative.parent().into_iter().flat_map(Path::iter) {
                directory = edit.number(directory, name)?;
            }
            let name = relative.file_name().unwrap_or_default().to_owned();
            edit.finish(instance, &Spot { directory, name }, *stamp)?;
        }
        Ok(())
    })
}

fn is_finished(
    state: &AtRest,
    directories: &Directories,
    instance: &Known,
    watch: &Watch,
    relative: &Path,
    stamp: Stamp,
) -> Result<bool> {
    let mut directory = directories.number(0, OsStr::new(&watch.name));
    for name in relative.parent().into_iter().flat_map(Path::iter) {
        directory = directory.and_then(|above| directories.number(above, name));
    }
    let Some(directory) = directory else { return Ok(false) };
    let name = relative.file_name().unwrap_or_default().to_owned();
    Ok(state.finished(instance, &Spot { directory, name })? == Some(stamp))
}

/// Goes through what is beneath a root, following no link. What goes meanwhile is not there.
fn for_each_file(
    watch: &Watch,
    relative: &Path,
    each: &mut impl FnMut(&Path, &Stat) -> Result<()>,
) -> Result<()> {
    let Ok(listing) = fs::read_dir(watch.root.join(relative)) else { return Ok(()) };
    for entry in listing.flatten() {
        let relative = relative.join(entry.file_name());
        let Ok(Some(stat)) = sys::stat(&watch.root.join(&relative)) else { continue };
        if stat.is_directory() && watch.recursive {
            for_each_file(watch, &relative, each)?;
        } else if stat.is_file() {
            each(&relative, &stat)?;
        }
    }
    Ok(())
}

/// Says how many, for each plugin; a dry run names them.
fn say(args: &PickArgs, pick: &Pick, changes: &[Change<'_>], words: [&str; 2]) -> Result<()> {
    let mut text = String::new();
    for instance in &pick.instances {
        let of_it = || changes.iter().filter(|change| change.instance == instance);
        if args.dry_run {
            for change in of_it() {
                let _ = writeln!(text, "{}: {}", instance.name, one_line(&change.path.to_string_lossy()));
            }
        }
        let _ = writeln!(
            text,
            "plugin `{}`: {} {}",
            instance.name,
            counted(of_it().count() as u64, "file"),
            words[usize::from(args.dry_run)]
        );
    }
    print(&text)
}
