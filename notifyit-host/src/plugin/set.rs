//! Which plugins run: what was asked for by name, and what was dropped into the plugin directories. It follows from the
//! files as they are: the start looks at them once, the roster again and again.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};
use tracing::{debug, warn};

use super::files::{Files, Looked};
use super::schema::{self, Wrong};
use super::{Discovered, Loader, PluginLibrary, by_name, in_directories};
use crate::config::{Library, PluginSettings, Request, Settings};

/// An instance that is to run.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its settings.
    pub settings: PluginSettings,
    /// Its library: one for all instances of the same file.
    pub library: PluginLibrary,
    /// How it came in.
    pub by: By,
    /// Since when its file has been there: nanoseconds since 1970.
    pub since_nanos: u64,
}

/// How an instance came in, and so what an error of it means at the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Asked for by name: if it cannot run, the host does not start.
    Request,
    /// Found in a plugin directory: if it cannot run, the others do.
    DropIn,
}

/// Why something does not run.
#[derive(Debug)]
pub struct Problem {
    /// What it came in by.
    pub by: By,
    /// The file, if there is one.
    pub file: Option<PathBuf>,
    /// What is wrong, in one line.
    pub error: anyhow::Error,
    /// Is it but a file that is no plugin at all?
    pub is_no_plugin: bool,
    /// Did it crash, hang or end the process when it was tried?
    pub is_quarantined: bool,
    /// More of it, in many lines, for who looks closer.
    pub detail: String,
}

impl Member {
    /// How many events each worker may have in hand: what the plugin takes, if the user does not allow less. `None`: it
    /// takes one after the other.
    pub fn in_flight(&self) -> Option<u16> {
        let takes = Some(self.library.info.in_flight).filter(|takes| *takes > 1)?;
        Some(self.settings.in_flight.map_or(takes, |allowed| allowed.min(takes)))
    }
}

impl Problem {
    /// Says it in the log.
    pub fn say(&self) {
        if self.is_no_plugin {
            debug!("{:#}", self.error)
        } else {
            warn!("{:#}", self.error)
        }
        if !self.detail.is_empty() {
            debug!("{}", self.detail);
        }
    }
}

/// What is to run, as the files are now.
#[derive(Debug, Default)]
pub struct Look {
    /// What is to run, in this order.
    pub members: Vec<Member>,
    /// What does not, or not in the version that is there.
    pub problems: Vec<Problem>,
    /// Where the files lie, or would.
    pub directories: Vec<PathBuf>,
    /// Something is to be looked at again in a moment.
    pub is_unsettled: bool,
}

/// Finds out what is to run.
#[derive(Debug)]
pub struct Set {
    loader: Loader,
    files: Files,
    /// The files that names stood for when they were last looked up.
    named: HashMap<String, PathBuf>,
}

impl Set {
    /// Nothing has been looked at yet.
    pub fn new(loader: Loader) -> Set {
        Set { loader, files: Files::default(), named: HashMap::new() }
    }

    /// The file that a name stands for. One that is away for a moment is still meant.
    fn file_of(&mut self, name: &str, settings: &Settings) -> Result<PathBuf> {
        match by_name(name, &settings.search_path) {
            Ok(file) => {
                self.named.insert(name.to_owned(), file.clone());
                Ok(file)
            }
            Err(error) => self.named.get(name).filter(|file| self.files.knows(file)).cloned().ok_or(error),
        }
    }

    /// What lies in the plugin directories, and what lay there a moment ago: it may be about to be replaced, and a
    /// directory that cannot be read now has lost nothing.
    fn drop_ins(&self, directories: &[PathBuf]) -> Discovered {
        let mut found = in_directories(directories);
        let known = directories.iter().flat_map(|directory| self.files.known_in(directory));
        found.files.extend(known.cloned());
        let place = |file: &PathBuf| directories.iter().position(|at| file.parent() == Some(at.as_path()));
        found.files.sort_by_cached_key(|file| (place(file), file.clone()));
        found.files.dedup();
        found
    }

    /// Looks at all files that what is to run may lie in, and loads what is new.
    pub fn look(&mut self, settings: &Settings) -> Look {
        let mut found =
            Finding { set: self, look: Look::default(), names: HashSet::new(), files: Vec::new() };
        for request in settings.plugins.requested() {
            found.request(settings, request);
        }
        if settings.plugins.drop_ins_run() {
            found.drop_ins(settings);
        }
        let Finding { mut look, files, .. } = found;
        look.directories = directories(&settings.plugin_dirs, &files);
        self.files.keep(&files);
        look
    }
}

impl Look {
    /// What the start makes of it: what was asked for must run.
    ///
    /// # Errors
    ///
    /// What was asked for and cannot be loaded, a plugin directory that cannot be read, two instances of one name,
    /// nothing to run at all and no place for anything to come, a `--set` for what does not run.
    pub fn at_start(mut self, settings: &Settings) -> Result<Look> {
        if let Some(fatal) = self.problems.iter().position(|problem| problem.by == By::Request) {
            let fatal = self.problems.swap_remove(fatal);
            if !fatal.detail.is_empty() {
                debug!("{}", fatal.detail);
            }
            return Err(fatal.error);
        }
        let may_come = settings.plugins.drop_ins_run() && !settings.plugin_dirs.is_empty();
        if self.members.is_empty() && !may_come {
            bail!("no plugin to run; name a directory of plugins with --plugin-dir, or a plugin with -p");
        }
        let names: Vec<&str> = self.members.iter().map(|member| member.settings.name.as_str()).collect();
        settings.plugins.check_sets(&names)?;
        Ok(self)
    }
}

struct Finding<'a> {
    set: &'a mut Set,
    look: Look,
    names: HashSet<String>,
    files: Vec<PathBuf>,
}

impl Finding<'_> {
    fn request(&mut self, settings: &Settings, request: &Request) {
        let result = self.requested(settings, request);
        if let Err((file, error)) = result {
            self.problem(By::Request, file, error);
        }
    }

    fn requested(
        &mut self,
        settings: &Settings,
        request: &Request,
    ) -> Result<(), (Option<PathBuf>, anyhow::Error)> {
        let (library, known) = match request {
            Request::File(file) => (Library::File(file.clone()), None),
            Request::Instance(instance) => (instance.library.clone(), Some(instance.as_ref().clone())),
        };
        let file = match library {
            Library::File(file) => file,
            Library::Name(name) => self.set.file_of(&name, settings).map_err(|error| (None, error))?,
        };
        let looked = self.look_at(&file, settings);
        let why_not = match &looked {
            None => Some("it is not there"),
            Some(looked) if looked.refused.is_none() => Some("somebody is still writing to it"),
            Some(_) => None,
        };
        let Some((library, since_nanos)) = self.usable(By::Request, &file, looked) else {
            return why_not.map_or(Ok(()), |why| {
                let error = anyhow!("failed to load plugin {file:?}: {why}");
                Err((Some(file), error))
            });
        };
        let own_name = library.info.name.clone();
        let settings =
            known.unwrap_or_else(|| settings.plugins.settings_for(&own_name, Library::File(file.clone())));
        if !self.names.insert(settings.name.clone()) {
            let error = anyhow!(
                "plugin `{}` was asked for twice; give one of them another name in a configuration file",
                settings.name
            );
            return Err((Some(file), error));
        }
        self.look.members.push(Member { settings, library, by: By::Request, since_nanos });
        Ok(())
    }

    fn drop_ins(&mut self, settings: &Settings) {
        let found = self.set.drop_ins(&settings.plugin_dirs);
        // A directory that cannot be read is one that was asked for.
        for error in found.errors {
            self.problem(By::Request, None, error);
        }
        for file in found.files {
            let looked = self.look_at(&file, settings);
            let Some((library, since_nanos)) = self.usable(By::DropIn, &file, looked) else { continue };
            let name = library.info.name.clone();
            let Some(settings) = settings.plugins.drop_in(&name, &file) else { continue };
            let first = self.look.members.iter().find(|member| member.settings.name == name);
            if let Some(first) = first {
                let first = &first.library.file;
                let error =
                    anyhow!("{file:?} is not run: {first:?} is plugin `{name}` already; remove one of them");
                self.problem(By::DropIn, Some(file), error);
            } else {
                self.names.insert(name);
                self.look.members.push(Member { settings, library, by: By::DropIn, since_nanos });
            }
        }
    }

    fn look_at(&mut self, file: &Path, settings: &Settings) -> Option<Looked> {
        self.files.push(file.to_owned());
        let Set { loader, files, .. } = self.set;
        let is_isolated = |name: &str| settings.plugins.are_isolated(name, file);
        files.look_at(file, (loader, &is_isolated), Instant::now())
    }

    /// The library of a file, and since when the file has been there. What is wrong with what is there now is noted.
    fn usable(&mut self, by: By, file: &Path, looked: Option<Looked>) -> Option<(PluginLibrary, u64)> {
        let Looked { since_nanos, library, refused, is_unsettled } = looked?;
        self.look.is_unsettled |= is_unsettled;
        if let Some(refused) = refused {
            let error = match &library {
                None => anyhow!("{refused}"),
                Some(old) => anyhow!("{refused}; plugin `{}` goes on as it was", old.info.name),
            };
            let is_no_plugin = refused.is_no_plugin() && library.is_none() && by == By::DropIn;
            let (file, detail) = (Some(file.to_owned()), refused.detail().to_owned());
            let is_quarantined = refused.is_quarantined();
            self.look.problems.push(Problem { by, file, error, is_no_plugin, is_quarantined, detail });
        }
        library.map(|library| (library, since_nanos))
    }

    fn problem(&mut self, by: By, file: Option<PathBuf>, error: anyhow::Error) {
        let (is_no_plugin, is_quarantined, detail) = Default::default();
        self.look.problems.push(Problem { by, file, error, is_no_plugin, is_quarantined, detail });
    }
}

/// Where something happens when a file comes, changes or goes: where the name is, and where the file is that it stands
/// for.
fn directories(plugin_dirs: &[PathBuf], files: &[PathBuf]) -> Vec<PathBuf> {
    let mut directories = plugin_dirs.to_vec();
    for file in files {
        directories.extend(file.parent().map(Path::to_owned));
        directories.extend(file.canonicalize().ok().and_then(|real| real.parent().map(Path::to_owned)));
    }
    directories.sort();
    directories.dedup();
    directories
}

/// The kinds of events that an instance gets: what the user says, else what the plugin asks for.
///
/// # Errors
///
/// The plugin asks for kinds that this host does not know, and for no other.
pub fn kinds(member: &Member) -> Result<Vec<notifyit_plugin_api::Kind>> {
    if let Some(events) = &member.settings.events {
        return Ok(events.clone());
    }
    let asked = &member.library.info.events;
    let known: Vec<_> = asked.iter().filter_map(|name| name.parse().ok()).collect();
    if known.is_empty() {
        bail!("plugin `{}` asks for {asked:?}, none of which this host knows", member.settings.name);
    }
    Ok(known)
}

/// The configuration as the plugin reads it.
///
/// # Errors
///
/// Never in practice: TOML's values are all JSON's.
pub fn config_json(member: &Member) -> Result<String> {
    serde_json::to_string(&member.settings.config.values)
        .with_context(|| format!("failed to hand plugin `{}` its configuration", member.settings.name))
}

/// Does the plugin's schema allow the configuration? A plugin without a schema says so itself, in its `new`.
///
/// # Errors
///
/// [`ConfigError`](crate::config::ConfigError), or [`UsageError`](crate::config::UsageError) if it was typed: the first
/// thing that is wrong.
pub fn check_config(member: &Member) -> Result<()> {
    let Some(schema) = &member.library.info.config else { return Ok(()) };
    let Member { settings: PluginSettings { name, config, .. }, .. } = member;
    match schema::wrong(schema, &config.values).first() {
        Some(Wrong { path, part, message }) => Err(config.error(name, path, *part, message)),
        None => Ok(()),
    }
}
