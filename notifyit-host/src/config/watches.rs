//! What to watch, resolved.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Result, bail};
use toml::Spanned;

use super::UsageError;
use super::resolved::{Ground, once_each};
use super::written::{Backend, Missing, Watch};
use crate::cli::{Existing, WatchArgs};
use crate::patterns::{Case, Patterns};

/// A watch: a directory and its options.
#[derive(Debug, Clone)]
pub struct WatchSettings {
    /// Its name, which no other watch has.
    pub name: String,
    /// The directory, absolute; symbolic links and `..` are left as written.
    pub path: PathBuf,
    /// Is what lies beneath its directories watched too?
    pub recursive: bool,
    /// Also what is mounted beneath it?
    pub cross_mounts: bool,
    /// What of it is delivered.
    pub patterns: Patterns,
    /// What to do with files that are there before the first start.
    pub existing: Existing,
    /// What to do if it is not there at the start.
    pub missing: Missing,
    /// How it is known what lands there.
    pub backend: Backend,
    /// If it is polled: how long after the end of a poll. Default: 10 seconds.
    pub poll_every: Duration,
    /// Where the kernel does not say whether a file is complete: so long unchanged is. Default: 3 seconds where it is
    /// polled, 2 elsewhere.
    pub stable_for: Option<Duration>,
}

const POLL_EVERY: Duration = Duration::from_secs(10);

/// A watch that may not have its name yet.
struct Draft {
    name: Option<String>,
    settings: WatchSettings,
}

/// The watches of the file, then the directories typed.
pub(super) fn resolve(ground: &Ground<'_>, written: Vec<Spanned<Watch>>) -> Result<Vec<WatchSettings>> {
    let mut drafts = Vec::new();
    for watch in written {
        let draft = written_watch(ground, watch.into_inner(), &drafts)?;
        drafts.push(draft);
    }
    drafts.extend(typed_watches(ground)?);
    if drafts.is_empty() {
        let nothing = "there is nothing to watch; add a [[watch]], or name a directory on the command line";
        return Err(ground.layers.error(&(0..0), nothing));
    }
    Ok(named(drafts))
}

fn written_watch(ground: &Ground<'_>, watch: Watch, before: &[Draft]) -> Result<Draft> {
    if let Some(name) = &watch.name
        && before.iter().any(|other| other.name.as_ref() == Some(&name.get_ref().0))
    {
        let message = format!("another watch is named `{}` already", name.get_ref().0);
        return Err(ground.layers.error(&name.span(), message));
    }
    let case = if watch.ignore_case { Case::Ignored } else { Case::Sensitive };
    let backend = backend(ground, &watch)?;
    let settings = WatchSettings {
        name: String::new(),
        path: ground.absolute(&watch.path),
        recursive: watch.recursive,
        cross_mounts: watch.cross_mounts,
        patterns: Patterns::compile(&watch.include, &watch.exclude, case)?,
        existing: ground.args.existing.unwrap_or(watch.existing),
        missing: if ground.args.wait { Missing::Wait } else { watch.missing },
        backend,
        poll_every: watch.poll.map_or(POLL_EVERY, |every| every.into_inner().0),
        stable_for: watch.stable_for.map(|time| time.0),
    };
    Ok(Draft { name: watch.name.map(|name| name.into_inner().0), settings })
}

/// An interval alone asks for polling, too.
fn backend(ground: &Ground<'_>, watch: &Watch) -> Result<Backend> {
    match (watch.backend, &watch.poll) {
        (Some(Backend::Inotify), Some(poll)) => Err(ground
            .layers
            .error(&poll.span(), "with backend = \"inotify\" nothing is polled; leave one out")),
        (Some(backend), _) => Ok(backend),
        (None, Some(_)) => Ok(Backend::Poll),
        (None, None) => Ok(Backend::Auto),
    }
}

fn typed_watches(ground: &Ground<'_>) -> Result<Vec<Draft>> {
    let args = ground.args;
    if args.dirs.is_empty()
        && let Some(flag) = flag_for_dirs(args)
    {
        bail!(UsageError(format!("{flag} is for directories on the command line, and there is none")));
    }
    let case = if args.ignore_case { Case::Ignored } else { Case::Sensitive };
    let wrong = |e: crate::patterns::BadPattern| UsageError(e.to_string());
    let patterns = Patterns::compile(&args.include, &args.exclude, case).map_err(wrong)?;
    let paths = once_each(args.dirs.iter().map(|dir| ground.environment.absolute(dir)));
    let settings = |path| WatchSettings {
        name: String::new(),
        path,
        recursive: args.recursive,
        cross_mounts: args.cross_mounts,
        patterns: patterns.clone(),
        existing: args.existing.unwrap_or_default(),
        missing: if args.wait { Missing::Wait } else { Missing::Error },
        backend: if args.poll.is_some() { Backend::Poll } else { Backend::Auto },
        poll_every: args.poll.unwrap_or(POLL_EVERY),
        stable_for: None,
    };
    Ok(paths.into_iter().map(|path| Draft { name: None, settings: settings(path) }).collect())
}

fn flag_for_dirs(args: &WatchArgs) -> Option<&'static str> {
    let flags = [
        (args.recursive, "--recursive"),
        (args.cross_mounts, "--cross-mounts"),
        (!args.include.is_empty(), "--include"),
        (!args.exclude.is_empty(), "--exclude"),
        (args.ignore_case, "--ignore-case"),
        (args.poll.is_some(), "--poll"),
    ];
    flags.into_iter().find_map(|(given, flag)| given.then_some(flag))
}

/// Gives names to those that have none: the path's last component, made unique by `-2`, `-3`, ….
fn named(drafts: Vec<Draft>) -> Vec<WatchSettings> {
    let mut taken: Vec<String> = drafts.iter().filter_map(|draft| draft.name.clone()).collect();
    let mut name = |path: &Path| {
        let plain = plain_name(path);
        let numbered = (2_u64..).map(|number| format!("{plain}-{number}"));
        let free = std::iter::once(plain.clone()).chain(numbered).find(|name| !taken.contains(name));
        let free = free.expect("there are more numbers than watches");
        taken.push(free.clone());
        free
    };
    let drafts = drafts.into_iter();
    drafts
        .map(|draft| WatchSettings {
            name: draft.name.unwrap_or_else(|| name(&draft.settings.path)),
            ..draft.settings
        })
        .collect()
}

fn plain_name(path: &Path) -> String {
    let name = path.file_name().map(|name| name.to_string_lossy().replace(char::is_control, "?"));
    name.unwrap_or_else(|| if path.parent().is_none() { "root" } else { "watch" }.to_owned())
}
