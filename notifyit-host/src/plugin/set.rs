//! Which plugins run: what was asked for by name, and what was dropped into the plugin directories.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tracing::{debug, warn};

use super::{LoadedLibrary, Loader, by_name, in_directories};
use crate::config::{Library, PluginSettings, Request, Settings};

/// An instance that is to run.
#[derive(Debug, Clone)]
pub struct Member {
    /// Its settings.
    pub settings: PluginSettings,
    /// Its library: one for all instances of the same file.
    pub library: LoadedLibrary,
    /// How it came in.
    pub by: By,
}

/// How an instance came in, and so what an error of it means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Asked for by name: if it cannot run, the host does not start.
    Request,
    /// Found in a plugin directory: if it cannot run, the others do.
    DropIn,
}

/// Loads everything that is to run.
///
/// # Errors
///
/// What was asked for and cannot be loaded, a plugin directory that cannot be read, two instances of one name,
/// nothing to run at all, a `--set` for what does not run.
pub fn load(settings: &Settings, loader: &Loader) -> Result<Vec<Member>> {
    let mut set = Set { loader, loaded: HashMap::new(), members: Vec::new(), names: HashSet::new() };
    for request in settings.plugins.requested() {
        set.request(settings, request)?;
    }
    if settings.plugins.drop_ins_run() {
        set.drop_ins(settings)?;
    }
    let names: Vec<&str> = set.members.iter().map(|member| member.settings.name.as_str()).collect();
    if names.is_empty() {
        bail!(nothing_runs(&settings.plugin_dirs));
    }
    settings.plugins.check_sets(&names)?;
    Ok(set.members)
}

struct Set<'a> {
    loader: &'a Loader,
    loaded: HashMap<PathBuf, LoadedLibrary>,
    members: Vec<Member>,
    names: HashSet<String>,
}

impl Set<'_> {
    fn request(&mut self, settings: &Settings, request: &Request) -> Result<()> {
        let (file, known) = match request {
            Request::File(file) => (file.clone(), None),
            Request::Instance(instance) => {
                let file = match &instance.library {
                    Library::File(file) => file.clone(),
                    Library::Name(name) => by_name(name, &settings.search_path)?,
                };
                (file, Some(instance.as_ref().clone()))
            }
        };
        let library = self.library(&file).map_err(|refused| {
            debug!("{}", refused.detail());
            anyhow::anyhow!("{refused}")
        })?;
        let own_name = library.info.name.clone();
        let instance = known.unwrap_or_else(|| settings.plugins.settings_for(&own_name, Library::File(file)));
        if !self.names.insert(instance.name.clone()) {
            bail!(
                "plugin `{}` was asked for twice; give one of them another name in a configuration file",
                instance.name
            );
        }
        self.members.push(Member { settings: instance, library, by: By::Request });
        Ok(())
    }

    fn drop_ins(&mut self, settings: &Settings) -> Result<()> {
        let mut found = in_directories(&settings.plugin_dirs);
        if !found.errors.is_empty() {
            return Err(found.errors.remove(0));
        }
        for file in found.files {
            let library = match self.library(&file) {
                Ok(library) => library,
                Err(refused) if refused.is_no_plugin() => {
                    debug!("{refused}");
                    continue;
                }
                Err(refused) => {
                    warn!("{refused}");
                    debug!("{}", refused.detail());
                    continue;
                }
            };
            let name = library.info.name.clone();
            let Some(instance) = settings.plugins.drop_in(&name, &file) else { continue };
            if self.names.insert(name.clone()) {
                self.members.push(Member { settings: instance, library, by: By::DropIn });
            } else {
                warn!("{file:?} is not run: another file is plugin `{name}` already");
            }
        }
        Ok(())
    }

    fn library(&mut self, file: &Path) -> Result<LoadedLibrary, super::Refused> {
        if let Some(library) = self.loaded.get(file) {
            return Ok(library.clone());
        }
        let library = self.loader.load(file)?;
        debug!("loaded {file:?}: plugin `{}` {}", library.info.name, library.info.version);
        self.loaded.insert(file.to_owned(), library.clone());
        Ok(library)
    }
}

fn nothing_runs(directories: &[PathBuf]) -> String {
    if directories.is_empty() {
        return "no plugin to run; name a directory of plugins with --plugin-dir, or a plugin with -p"
            .to_owned();
    }
    format!("no plugin to run: none in {directories:?}; copy a plugin's .so there, or name one with -p")
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
    serde_json::to_string(&member.settings.config)
        .with_context(|| format!("failed to hand plugin `{}` its configuration", member.settings.name))
}
