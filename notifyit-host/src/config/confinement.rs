//! What the worker processes of a plugin may not do, resolved. It goes to them as JSON.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde::{Deserialize, Serialize};
use toml::Spanned;

use super::Isolation;
use super::resolved::Ground;
use super::written::{self, FilePath};

/// What a worker process takes from itself before it loads its plugin.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Confinement {
    /// The user that it runs as, by name or number. Default: the host's.
    pub user: Option<String>,
    /// The permissions that files which it makes do not get. Default: the host's.
    pub umask: Option<u32>,
    /// What it may use up.
    pub limits: Limits,
    /// What it may reach. Default: what its user may.
    pub sandbox: Option<Sandbox>,
    /// Where the user and the sandbox were written, for errors.
    #[serde(skip)]
    pub written: WrittenAt,
}

/// How an error about what was written begins: place and key.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrittenAt {
    /// That of [`Confinement::user`].
    pub user: String,
    /// That of [`Confinement::sandbox`].
    pub sandbox: String,
}

/// What one process may use up. Default: what the host may.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of address space (`RLIMIT_AS`).
    pub memory: Option<u64>,
    /// Open descriptors (`RLIMIT_NOFILE`).
    pub open_files: Option<u64>,
    /// Processes and threads of its user (`RLIMIT_NPROC`).
    pub processes: Option<u64>,
    /// Bytes of a file that it writes (`RLIMIT_FSIZE`).
    pub file_size: Option<u64>,
    /// Processor time, from its start to its end (`RLIMIT_CPU`).
    pub cpu: Option<Duration>,
}

/// What a process may reach beside what it is watching. Paths are absolute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sandbox {
    /// Files and directories to read, and programs to run.
    #[serde(with = "bytes")]
    pub read: Vec<PathBuf>,
    /// Files and directories to read and change.
    #[serde(with = "bytes")]
    pub write: Vec<PathBuf>,
    /// May it use TCP?
    pub network: bool,
    /// Is a kernel that cannot enforce it a reason not to run?
    pub require: bool,
}

/// Resolves what `[plugin.NAME]` says of it.
pub(super) fn resolve(
    ground: &Ground<'_>,
    isolation: Isolation,
    written: &written::Plugin,
) -> Result<Confinement> {
    let sandbox = written.sandbox.as_ref().filter(|sandbox| sandbox.get_ref().0.is_some());
    let spans = [
        written.user.as_ref().map(Spanned::span),
        written.umask.as_ref().map(Spanned::span),
        written.limits.as_ref().map(Spanned::span),
        sandbox.map(Spanned::span),
    ];
    if isolation == Isolation::Inline
        && let Some(span) = spans.iter().flatten().min_by_key(|span| span.start)
    {
        let why =
            "only worker processes can be confined; add isolation = \"process\", or type --isolation process";
        return Err(ground.layers.error(span, why));
    }
    let [user, .., sandbox_at] =
        spans.map(|span| span.map(|span| ground.layers.place_of(&span)).unwrap_or_default());
    Ok(Confinement {
        written: WrittenAt { user, sandbox: sandbox_at },
        user: written.user.as_ref().map(|user| user.get_ref().0.clone()),
        umask: written.umask.as_ref().map(|umask| umask.get_ref().0),
        limits: written.limits.as_ref().map(|limits| resolved_limits(limits.get_ref())).unwrap_or_default(),
        sandbox: sandbox.and_then(|written| written.get_ref().0.as_ref()).map(|table| {
            let absolute = |paths: &[Spanned<FilePath>]| paths.iter().map(|p| ground.absolute(p)).collect();
            Sandbox {
                read: absolute(&table.read),
                write: absolute(&table.write),
                network: table.network,
                require: table.require,
            }
        }),
    })
}

fn resolved_limits(written: &written::Limits) -> Limits {
    Limits {
        memory: written.memory.map(|size| size.0),
        open_files: written.open_files.map(Into::into),
        processes: written.processes.map(Into::into),
        file_size: written.file_size.map(|size| size.0),
        cpu: written.cpu.as_ref().map(|cpu| cpu.0),
    }
}

/// Paths as bytes, for not every path is text.
mod bytes {
    use std::ffi::OsString;
    use std::os::unix::ffi::{OsStrExt, OsStringExt};
    use std::path::PathBuf;

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(paths: &[PathBuf], to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(paths.iter().map(|path| path.as_os_str().as_bytes()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
        let paths = Vec::<Vec<u8>>::deserialize(from)?;
        Ok(paths.into_iter().map(|path| OsString::from_vec(path).into()).collect())
    }
}
