//! What makes the instances of a plugin: in this process, or each in one of its own.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use super::isolated::{Spawner, Terms};
use super::services::{Grant, Metrics};
use super::set::{Member, config_json};
use super::{CreateError, Instance, Services};
use crate::config::Isolation;

type Make = dyn Fn(&dyn Fn() -> bool) -> Result<Instance, CreateError> + Send + Sync;

/// Makes the instances of one plugin's code, on any thread.
pub struct Create {
    make: Box<Make>,
    /// What they are lent.
    grant: Option<Grant>,
}

impl Create {
    /// Of instances that nothing is lent to.
    #[cfg(test)]
    pub(crate) fn bare(
        make: impl Fn(&dyn Fn() -> bool) -> Result<Instance, CreateError> + Send + Sync + 'static,
    ) -> Create {
        Create { make: Box::new(make), grant: None }
    }

    /// Makes one. That is ended when the argument says that nobody waits for it any more, if it can be.
    ///
    /// # Errors
    ///
    /// The plugin's own; what it is lent cannot be had.
    pub fn instance(&self, is_given_up: &dyn Fn() -> bool) -> Result<Instance, CreateError> {
        (self.make)(is_given_up)
    }

    /// All that it has made are to come to their end, and what it makes yet.
    pub fn end(&self) {
        self.grant.iter().for_each(Grant::end);
    }

    /// What the plugins of its name count and measure.
    pub fn metrics(&self) -> Metrics {
        self.grant.as_ref().map(Grant::metrics).unwrap_or_default()
    }
}

impl fmt::Debug for Create {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Create").field(&self.grant).finish()
    }
}

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
    pub fn of(&self, member: &Member) -> Result<Create> {
        let (grant, config) = (self.services.grant(&member.settings.name), config_json(member)?);
        let (library, lent) = (member.library.clone(), Some(grant.clone()));
        if member.settings.isolation == Isolation::Inline {
            return Ok(Create { make: Box::new(move |_| library.lend(&grant, &config)), grant: lent });
        }
        let terms = Terms {
            program: self.program.clone(),
            spawner: Arc::clone(&self.spawner),
            grant,
            config,
            timeout: member.settings.timeout,
            confinement: member.settings.confinement.clone(),
            roots: self.roots.to_vec(),
            in_flight: member.in_flight(),
        };
        Ok(Create { make: Box::new(move |is_given_up| library.isolate(&terms, is_given_up)), grant: lent })
    }
}
