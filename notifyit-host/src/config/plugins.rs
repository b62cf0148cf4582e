//! What to run, resolved.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use anyhow::Result;
use notifyit_plugin_api::Kind;
use toml::Spanned;

use super::plugin::{self, Library, PluginSettings, listed};
use super::resolved::Ground;
use super::written::{self, Name};
use super::{Isolation, UsageError, WatchSettings};

/// What was asked for by name: an error with it is fatal.
#[derive(Debug, Clone)]
pub enum Request {
    /// An instance, configured or with defaults.
    Instance(Box<PluginSettings>),
    /// A file; the library in it says its name, and [`Plugins::settings_for`] that name its settings.
    File(PathBuf),
}

/// What to run.
#[derive(Debug, Clone)]
pub struct Plugins {
    requested: Vec<Request>,
    drop_ins: bool,
    settings: BTreeMap<String, PluginSettings>,
    typed_events: Option<Vec<Kind>>,
    typed_isolation: Option<Isolation>,
    sets: Vec<(String, String)>,
}

impl Plugins {
    /// What was asked for, in order: by `-p`, `-- COMMAND`, or else by `[plugin.NAME]`. What of it cannot be loaded is fatal.
    pub fn requested(&self) -> &[Request] {
        &self.requested
    }

    /// Do the libraries in the plugin directories run too? Not with `-p` or `-- COMMAND`.
    pub fn drop_ins_run(&self) -> bool {
        self.drop_ins
    }

    /// The settings of a library that was only found in a plugin directory, if it is to run; what of these cannot be
    /// loaded is not fatal. `None` if drop-ins do not run, or an instance that was asked for has its name or uses it.
    pub fn drop_in(&self, name: &str, file: &Path) -> Option<PluginSettings> {
        let library = Library::File(file.to_owned());
        let uses = |request: &Request| match request {
            Request::Instance(settings) => {
                settings.name == name || settings.library == library || settings.library.is_named(name)
            }
            // Only `-p` asks for files, and then no drop-in runs.
            Request::File(_) => false,
        };
        (self.drop_ins && !self.requested.iter().any(uses)).then(|| self.settings_for(name, library))
    }

    /// The settings of the instance of this name: what was written under `[plugin.NAME]` and with `--set`, or
    /// defaults. Its library is the one given.
    pub fn settings_for(&self, name: &str, library: Library) -> PluginSettings {
        match self.settings.get(name) {
            Some(settings) => PluginSettings { library, ..settings.clone() },
            None => PluginSettings {
                events: self.typed_events.clone(),
                isolation: self.typed_isolation.unwrap_or_default(),
                ..PluginSettings::with_defaults(name.to_owned(), library)
            },
        }
    }

    /// Does each instance of this library, whose own name this is, run in a process of its own?
    pub fn are_isolated(&self, name: &str, file: &Path) -> bool {
        let library = Library::File(file.to_owned());
        let uses =
            |settings: &&PluginSettings| settings.library == library || settings.library.is_named(name);
        let instances = self.requested.iter().filter_map(|request| match request {
            Request::Instance(settings) => Some(settings.as_ref()),
            Request::File(_) => None,
        });
        let isolations: Vec<Isolation> = instances.filter(uses).map(|settings| settings.isolation).collect();
        if isolations.is_empty() {
            return self.settings_for(name, library).isolation == Isolation::Process;
        }
        isolations.iter().all(|isolation| *isolation == Isolation::Process)
    }

    /// Call it with the names of all instances when everything is loaded.
    ///
    /// # Errors
    ///
    /// If a `--set` is for a plugin that does not run.
    pub fn check_sets<S: AsRef<str>>(&self, running: &[S]) -> Result<(), UsageError> {
        let runs = |name: &String| running.iter().any(|running| running.as_ref() == name);
        let Some((name, set)) = self.sets.iter().find(|(name, _)| !runs(name)) else { return Ok(()) };
        let names: Vec<&str> = running.iter().map(AsRef::as_ref).collect();
        let name = name.escape_debug();
        Err(UsageError(format!("{set}: no plugin named `{name}` runs; running are {}", listed(&names))))
    }
}

/// Resolves what is to run, and on which of the watches.
pub(super) fn resolve(
    ground: &Ground<'_>,
    written: BTreeMap<Spanned<Name>, written::Plugin>,
    watches: &[WatchSettings],
) -> Result<Plugins> {
    let mut plugins = Plugins {
        requested: Vec::new(),
        drop_ins: false,
        settings: BTreeMap::new(),
        typed_events: (!ground.args.event.is_empty()).then(|| ground.args.event.clone()),
        typed_isolation: ground.args.isolation,
        sets: ground.layers.plugins_set().map(|(name, set)| (name.to_owned(), set.to_owned())).collect(),
    };
    let mut of_file = Vec::new();
    for (name, written) in written {
        if !ground.layers.is_typed(&name.span()) {
            of_file.push((name.span().start, name.get_ref().0.clone()));
        }
        let settings = plugin::resolve(ground, name.into_inner().0, written, watches)?;
        plugins.settings.insert(settings.name.clone(), settings);
    }
    of_file.sort();
    plugins.requested = typed_requests(ground, &plugins)?;
    plugins.drop_ins = plugins.requested.is_empty();
    if plugins.drop_ins {
        let settings = of_file.iter().filter_map(|(_, name)| plugins.settings.get(name));
        plugins.requested = settings.map(|s| Request::Instance(Box::new(s.clone()))).collect();
    }
    Ok(plugins)
}

/// What `-p` and `-- COMMAND` ask for.
fn typed_requests(ground: &Ground<'_>, plugins: &Plugins) -> Result<Vec<Request>> {
    let mut libraries = Vec::new();
    for typed in &ground.args.plugin {
        let library = Library::parse(typed).map_err(|e| UsageError(format!("--plugin {typed:?}: {e}")))?;
        libraries.push(match library {
            Library::File(file) => Library::File(ground.environment.absolute(&file)),
            named => named,
        });
    }
    if !ground.args.command.is_empty() && !libraries.iter().any(is_file_of_exec) {
        libraries.push(Library::Name("exec".to_owned()));
    }
    let request = |library| match library {
        Library::File(file) => Request::File(file),
        Library::Name(name) => {
            let own = plugins.settings.get(&name).map(|settings| settings.library.clone());
            let library = own.unwrap_or_else(|| Library::Name(name.clone()));
            Request::Instance(Box::new(plugins.settings_for(&name, library)))
        }
    };
    Ok(super::resolved::once_each(libraries.into_iter()).into_iter().map(request).collect())
}

/// Does `-p FILE` name the plugin that runs the command?
fn is_file_of_exec(library: &Library) -> bool {
    matches!(library, Library::File(file) if file.file_name() == Some(OsStr::new("libnotifyit_exec.so")))
}
