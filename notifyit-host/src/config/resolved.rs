//! The configuration as the rest of the host reads it.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context, Result, bail};
use toml::Spanned;
use tracing::level_filters::LevelFilter;

use super::environment::absolute;
use super::layers::Layers;
use super::written::{FilePath, LogLevel, Written};
use super::{Environment, LogFormat, Plugins, Socket, Trust, UsageError, WatchSettings, plugins, watches};
use crate::cli::WatchArgs;

/// What the host is to do. Every path in it is absolute.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Drop-in directories: every plugin in them runs, unless `-p` says otherwise.
    pub plugin_dirs: Vec<PathBuf>,
    /// Where a plugin's name is looked up: the plugin directories first.
    pub search_path: Vec<PathBuf>,
    /// Where private copies of plugins may lie, best first. They may not exist.
    pub staging_dirs: Vec<PathBuf>,
    /// Where large temporary files may lie, best first. They may not exist.
    pub temporary_dirs: Vec<PathBuf>,
    /// Whom to trust with plugin files.
    pub trust: Trust,
    /// How long a stop waits for what is queued. Default: 10 seconds.
    pub grace: Duration,
    /// How often everything is looked at in case something was not told; `None` for never. Default: 1 hour.
    pub rescan_every: Option<Duration>,
    /// How to log.
    pub log: LogSettings,
    /// What to watch: at least one.
    pub watches: Vec<WatchSettings>,
    /// Where what is finished is remembered. Without it, in memory.
    pub state_dir: Option<PathBuf>,
    /// Where to answer questions, if anywhere.
    pub socket: Option<Socket>,
    /// What to run.
    pub plugins: Plugins,
}

/// How to log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogSettings {
    /// Its form.
    pub format: LogFormat,
    /// What is left out. Default: INFO.
    pub level: LevelFilter,
}

const GRACE: Duration = Duration::from_secs(10);
const RESCAN_EVERY: Duration = Duration::from_secs(3600);

/// What the command line, the configuration file and the defaults come to. Reads the file.
///
/// # Errors
///
/// [`ConfigError`](super::ConfigError) if the file is wrong, [`UsageError`] if what was typed is, and another error
/// if the file that was named cannot be read.
pub fn resolve(args: &WatchArgs, environment: &Environment) -> Result<Settings> {
    let mut layers = Layers::default();
    let file = find_file(args, environment)?;
    if let Some((path, bytes)) = &file {
        layers.file(path, bytes)?;
    }
    for typed in &args.set {
        layers.set(typed)?;
    }
    if !args.command.is_empty() {
        layers.command(words(&args.command)?);
    }
    let file = file.map(|(path, _)| environment.absolute(&path));
    let ground = Ground { args, environment, layers: &layers, file: file.as_deref() };
    settings(&ground, layers.read()?)
}

/// What the parts of a configuration are resolved on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ground<'a> {
    pub(super) args: &'a WatchArgs,
    pub(super) environment: &'a Environment,
    pub(super) layers: &'a Layers,
    /// The configuration file, absolute.
    pub(super) file: Option<&'a Path>,
}

impl Ground<'_> {
    /// Absolute, from a path as written: relative to the file if it was written there.
    pub(super) fn absolute(&self, path: &Spanned<FilePath>) -> PathBuf {
        self.absolute_from(&path.span(), &path.get_ref().0)
    }

    pub(super) fn absolute_from(&self, written: &std::ops::Range<usize>, path: &Path) -> PathBuf {
        match self.file.and_then(Path::parent) {
            Some(directory) if !self.layers.is_typed(written) => absolute(directory, path),
            _ => self.environment.absolute(path),
        }
    }
}

fn settings(ground: &Ground<'_>, written: Written) -> Result<Settings> {
    let Ground { args, environment, .. } = *ground;
    let host = written.host;
    let typed_dirs = args.plugin_dir.iter().map(|dir| environment.absolute(dir));
    let plugin_dirs = once_each(typed_dirs.chain(host.plugin_dirs.iter().map(|dir| ground.absolute(dir))));
    let typed = args.state_dir.as_ref().map(|dir| environment.absolute(dir));
    let state_dir = typed.or_else(|| host.state_dir.as_ref().map(|dir| ground.absolute(dir)));
    let state_dir = state_dir.or_else(|| environment.state_dir());
    let typed = args.socket.as_ref().map(|path| environment.absolute(path));
    let socket = typed.or_else(|| host.socket.as_ref().map(|path| ground.absolute(path)));
    let watches = watches::resolve(ground, written.watch)?;
    let plugins = plugins::resolve(ground, written.plugin, &watches)?;
    Ok(Settings {
        search_path: once_each(plugin_dirs.iter().cloned().chain(environment.plugin_path())),
        plugin_dirs,
        staging_dirs: state_dir
            .iter()
            .map(|dir| dir.join("plugins"))
            .chain(environment.staging_dirs())
            .chain(environment.temporary_dirs())
            .collect(),
        temporary_dirs: environment.temporary_dirs(),
        socket: Socket::find(socket, environment, state_dir.as_deref()),
        state_dir,
        trust: args.trust.or(host.trust).unwrap_or_default(),
        grace: args.grace.or(host.grace.map(|grace| grace.0)).unwrap_or(GRACE),
        rescan_every: host.rescan_every.map_or(Some(RESCAN_EVERY), |every| every.0),
        log: LogSettings {
            format: args.log_format.or(host.log_format).unwrap_or_default(),
            level: level(host.log_level.unwrap_or(LogLevel::Info), args.verbose, args.quiet),
        },
        watches,
        plugins,
    })
}

/// Each item once, where it came first.
pub(super) fn once_each<T: PartialEq>(items: impl Iterator<Item = T>) -> Vec<T> {
    items.fold(Vec::new(), |mut kept, item| {
        if !kept.contains(&item) {
            kept.push(item);
        }
        kept
    })
}

fn level(written: LogLevel, verbose: u8, quiet: u8) -> LevelFilter {
    const LEVELS: [LevelFilter; 6] = [
        LevelFilter::OFF,
        LevelFilter::ERROR,
        LevelFilter::WARN,
        LevelFilter::INFO,
        LevelFilter::DEBUG,
        LevelFilter::TRACE,
    ];
    let at = (written as usize + usize::from(verbose)).saturating_sub(usize::from(quiet));
    LEVELS[at.min(LEVELS.len() - 1)]
}

/// The file that was named; without one and without a directory, the first that is there of the usual ones.
fn find_file(args: &WatchArgs, environment: &Environment) -> Result<Option<(PathBuf, Vec<u8>)>> {
    if let Some(path) = &args.config {
        let read = fs::read(environment.absolute(path));
        let bytes = read.with_context(|| format!("failed to read the configuration file {path:?}"))?;
        return Ok(Some((path.clone(), bytes)));
    }
    if !args.dirs.is_empty() {
        return Ok(None);
    }
    if let Some(found) = usual_file(environment)? {
        return Ok(Some(found));
    }
    let candidates = environment.config_files();
    let candidates: Vec<String> = candidates.iter().map(|path| format!("{path:?}")).collect();
    bail!(UsageError(format!(
        "nothing to watch: there is no DIR, no -c FILE, and none of the files {}; try `notifyit watch DIR`",
        candidates.join(", ")
    )))
}

/// The first of the usual files that is there.
pub(super) fn usual_file(environment: &Environment) -> Result<Option<(PathBuf, Vec<u8>)>> {
    for path in environment.config_files() {
        match fs::read(&path) {
            Ok(bytes) => return Ok(Some((path, bytes))),
            // What somebody has named is not passed over.
            Err(e) if is_absent(&e) && environment.notifyit_config.is_none() => {}
            Err(e) => {
                return Err(e).with_context(|| format!("failed to read the configuration file {path:?}"));
            }
        }
    }
    Ok(None)
}

fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

/// A configuration carries text, and so the command must be text.
fn words(command: &[OsString]) -> Result<Vec<String>, UsageError> {
    let word = |word: &OsString| {
        let text = word.to_str().filter(|text| !text.contains('\0')).map(str::to_owned);
        text.ok_or_else(|| not_text(word))
    };
    command.iter().map(word).collect()
}

fn not_text(word: &OsStr) -> UsageError {
    UsageError(format!(
        "failed to pass {word:?} on to exec: a command must be UTF-8, for a configuration can hold nothing else; put \
         it into a script"
    ))
}
