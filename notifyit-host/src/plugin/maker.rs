//! What makes the instances of a plugin: in this process, or each in one of its own.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use super::isolated::{Spawner, Terms};
use super::set::{Member, config_json};
use super::{CreateError, Instance, Services};
use crate::config::Isolation;

/// Makes an instance of a plugin, on any thread. That is ended when the argument says that nobody waits for it any more, if
/// it can be.
pub type Create = dyn Fn(&dyn Fn() -> bool) -> Result<Instance, CreateError> + Send + Sync;

/// See the module. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Maker {
    services: Services,
    program: PathBuf,
    spawner: Arc<Spawner>,
    /// The watched directories.
    roots: Arc<[PathBuf]>,
}

impl Maker {
    /// `program` is this program, `roots` are the watched directories.
    pub fn new(services: Services, program: impl Into<PathBuf>, roots: Vec<PathBuf>) -> Maker {
        Maker { services, program: program.into(), spawner: Arc::default(), roots: roots.into() }
    }

    /// What makes a member's instances.
    ///
    /// # Errors
    ///
    /// As [`config_json`].
    pub fn of(&self, member: &Member) -> Result<Box<Create>> {
        let (context, config) = (self.services.register(&member.settings.name), config_json(member)?);
        let library = member.library.clone();
        if member.settings.isolation == Isolation::Inline {
            return Ok(Box::new(move |_| library.create(context, &config)));
        }
        let terms = Terms {
            program: self.program.clone(),
            spawner: Arc::clone(&self.spawner),
            context,
            config,
            timeout: member.settings.timeout,
            confinement: member.settings.confinement.clone(),
            roots: self.roots.to_vec(),
            in_flight: member.in_flight(),
        };
        Ok(Box::new(move |is_given_up| library.isolate(&terms, is_given_up)))
    }
}
