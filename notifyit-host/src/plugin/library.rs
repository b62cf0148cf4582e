//! A plugin library that is known to be sound, and its instances.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use notifyit_plugin_api::Info;
use notifyit_plugin_api::abi::PluginModule_Ref;

use super::instance::{CreateError, Instance};
use super::isolated::{Process, Terms};
use super::load::{self, unwinds};
use super::refused::Reason;
use super::services::Grant;
use super::stage::{Staged, Staging};

/// A plugin library that can be loaded, and is so, for as long as the process lives, when its first instance is made in
/// this process. Cheap to clone.
#[derive(Clone)]
pub struct PluginLibrary {
    /// What the library says of itself.
    pub info: Arc<Info>,
    /// The file as the user gave it.
    pub file: Arc<Path>,
    /// Of the content: the same bytes have the same number, in every version of the host.
    pub hash: u64,
    pub(super) code: Arc<Code>,
}

/// A private copy, and what is loaded of it in this process once an instance is made here.
pub(super) struct Code {
    /// None of what is compiled into the tests.
    pub(super) staged: Option<Arc<Staged>>,
    pub(super) module: OnceLock<Result<PluginModule_Ref, Reason>>,
    pub(super) _staging: Arc<Staging>,
}

impl PluginLibrary {
    /// Makes an instance on the calling thread, and lends it what its name has.
    ///
    /// # Errors
    ///
    /// As [`PluginLibrary::create`]; too many open files.
    pub(crate) fn lend(&self, grant: &Grant, config_json: &str) -> Result<Instance, CreateError> {
        let entry = grant.enter();
        let entry =
            entry.map_err(|error| CreateError::Failed(format!("failed to lend it anything: {error}")))?;
        Ok(self.create(entry.context(), config_json)?.with(entry))
    }

    /// Makes an instance on the calling thread. `context` is what it calls the host by, `config_json` a JSON object.
    ///
    /// # Errors
    ///
    /// The plugin's own.
    pub fn create(&self, context: u64, config_json: &str) -> Result<Instance, CreateError> {
        unwinds(&self.info).map_err(|reason| CreateError::refused(&reason))?;
        let module = self.code.module.get_or_init(|| self.code.open());
        let module = module.as_ref().map_err(CreateError::refused)?;
        load::instance(*module, context, config_json).map(|handler| Instance::inline(handler, self.clone()))
    }

    /// Makes an instance in a process of its own.
    ///
    /// # Errors
    ///
    /// The plugin's own; no process can be had.
    pub(super) fn isolate(
        &self,
        terms: &Terms,
        is_given_up: &dyn Fn() -> bool,
    ) -> Result<Instance, CreateError> {
        let staged = self.code.staged.as_ref().ok_or(CreateError::Lied)?;
        Process::start(terms, staged.file(), is_given_up)
            .map(|process| Instance::isolated(process, self.clone()))
    }
}

impl Code {
    /// Loads the copy in this process.
    fn open(&self) -> Result<PluginModule_Ref, Reason> {
        let Some(staged) = &self.staged else { return Err(Reason::new("it has no private copy", "")) };
        load::opened(staged).map(|(module, _)| module).map_err(|(_, reason)| reason)
    }
}

impl fmt::Debug for PluginLibrary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hash = format_args!("{:016x}", self.hash);
        f.debug_struct("PluginLibrary").field("file", &self.file).field("hash", &hash).finish_non_exhaustive()
    }
}
