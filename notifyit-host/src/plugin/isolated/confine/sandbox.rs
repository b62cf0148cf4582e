//! What of the machine is left to a worker process and all that it starts, by Landlock.
//!
//! A rule is bound to the directory that is there now, not to its path. Nothing can be taken out of a directory that
//! is allowed.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::{fmt::Display, fs, io, thread};

use landlock::{
    ABI, Access, AccessFs, AccessNet, AddRuleError, AddRulesError, BitFlags, LandlockStatus, PathBeneath,
    RestrictionStatus, Ruleset, RulesetAttr, RulesetCreated, RulesetCreatedAttr, RulesetError, Scope,
    make_bitflags,
};
use rustix::fs::{Mode, OFlags, open};
use rustix::thread::CapabilitySet;

use crate::config::Sandbox;

/// Where programs are, and all that they load.
const PROGRAMS: [&str; 9] =
    ["/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/nix/store", "/gnu/store"];

/// What programs read. The whole of `/proc`, for each has its own part of it; what is private to another process there
/// (environment, memory, descriptors) is closed to a sandbox.
const DATA: [&str; 8] = [
    "/etc",
    "/proc",
    "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
];

const RUN: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Execute | ReadFile | ReadDir});
const READ: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// All that changes something beneath a directory, but no devices are made. Nothing is run from there.
fn change() -> BitFlags<AccessFs> {
    READ | (AccessFs::from_write(ABI::V5) & !make_bitflags!(AccessFs::{MakeChar | MakeBlock}))
}

/// What root keeps in a sandbox: rights over files, which the rules bind, and none over the machine.
pub(super) fn capabilities(sandbox: &Sandbox) -> CapabilitySet {
    let files = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::DAC_READ_SEARCH
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID;
    if sandbox.network { files | CapabilitySet::NET_BIND_SERVICE } else { files }
}

/// Enters it for good; returns what a person should know.
///
/// # Errors
///
/// What it should allow is not there; this kernel cannot enforce what is required.
pub(super) fn enter(
    sandbox: &Sandbox,
    roots: &[PathBuf],
    library: BorrowedFd<'_>,
) -> Result<Vec<String>, String> {
    let (mut rules, notices) = rules(sandbox, roots)?;
    rules.add_library(library)?;
    in_force(rules, notices, sandbox)
}

/// Could it be entered here? A thread of its own does so: it is for that thread alone, and for good.
///
/// # Errors
///
/// As [`enter`].
pub(super) fn check(sandbox: &Sandbox, roots: &[PathBuf]) -> Result<Vec<String>, String> {
    let failed = |error: &dyn Display| format!("failed to try the sandbox: {error}");
    let try_it = || rules(sandbox, roots).and_then(|(rules, notices)| in_force(rules, notices, sandbox));
    thread::scope(|scope| {
        let thread = thread::Builder::new().name("sandbox".into()).spawn_scoped(scope, try_it);
        thread.map_err(|error| failed(&error))?.join().map_err(|_| failed(&"it has panicked"))?
    })
}

/// What is allowed but for the plugin's file, and what a person should know.
fn rules(sandbox: &Sandbox, roots: &[PathBuf]) -> Result<(Rules, Vec<String>), String> {
    let mut notices = Vec::new();
    let mut rules = Rules::new(sandbox.network)?;
    for (paths, access) in [(&PROGRAMS[..], RUN), (&DATA[..], READ), (&["/dev/null"][..], change())] {
        for path in paths {
            match opened(Path::new(path)) {
                Ok(file) => rules.add(file, access)?,
                // Not every system has them all.
                Err(error) if is_out_of_reach(&error) => {}
                Err(error) => return Err(format!("failed to allow {path:?} in the sandbox: {error}")),
            }
        }
    }
    if let Some(file) = fs::canonicalize("/etc/resolv.conf").ok().filter(|_| sandbox.network)
        && let Ok(file) = opened(name_servers(&file))
    {
        rules.add(file, READ)?;
    }
    for root in roots {
        match opened(root) {
            Ok(file) => rules.add(file, READ)?,
            Err(error) => {
                notices.push(format!("the sandbox is without the watched directory {root:?}: {error}"))
            }
        }
    }
    for (key, paths, access) in [("read", &sandbox.read, RUN), ("write", &sandbox.write, change())] {
        for path in paths {
            let file = opened(path).map_err(|error| {
                format!("failed to allow {path:?} in the sandbox: {error}; create it or take it out of sandbox.{key}")
            })?;
            rules.add(file, access)?;
        }
    }
    Ok((rules, notices))
}

fn in_force(rules: Rules, mut notices: Vec<String>, sandbox: &Sandbox) -> Result<Vec<String>, String> {
    let status = rules.enforce()?;
    notices.extend(tolerated(lacking(&status.landlock, sandbox.network), sandbox.require)?);
    Ok(notices)
}

/// Landlock's rules before they are in force.
struct Rules(RulesetCreated);

impl Rules {
    /// Nothing is allowed yet. What is handled is what is tried in tests: a newer kernel adds nothing by itself.
    fn new(network: bool) -> Result<Rules, String> {
        let build = || {
            let mut ruleset = Ruleset::default().handle_access(AccessFs::from_all(ABI::V5))?;
            if !network {
                ruleset = ruleset.handle_access(AccessNet::from_all(ABI::V4))?;
            }
            ruleset.scope(Scope::from_all(ABI::V6))?.create()
        };
        build().map(Rules).map_err(|error| failed(&error))
    }

    /// Of a file, what only a directory can have is left out.
    fn add(&mut self, file: impl AsFd, access: BitFlags<AccessFs>) -> Result<(), String> {
        let rule = PathBeneath::new(file, access);
        (&mut self.0).add_rule(rule).map(drop).map_err(|error| failed(&error))
    }

    /// A copy on disk needs a rule of its own. One in memory needs none, and can have none.
    fn add_library(&mut self, file: BorrowedFd<'_>) -> Result<(), String> {
        let rule = PathBeneath::new(file, AccessFs::ReadFile);
        match (&mut self.0).add_rule(rule) {
            Err(RulesetError::AddRules(AddRulesError::Fs(AddRuleError::AddRuleCall { source, .. })))
                if source.raw_os_error() == Some(libc::EBADFD) =>
            {
                Ok(())
            }
            added => added.map(drop).map_err(|error| failed(&error)),
        }
    }

    fn enforce(self) -> Result<RestrictionStatus, String> {
        self.0.restrict_self().map_err(|error| failed(&error))
    }
}

fn failed(error: &RulesetError) -> String {
    format!("failed to build the sandbox: {error}; sandbox = false runs it without one")
}

fn opened(path: &Path) -> io::Result<OwnedFd> {
    Ok(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?)
}

fn is_out_of_reach(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound, PermissionDenied};
    matches!(error.kind(), NotFound | NotADirectory | PermissionDenied)
}

/// Where this file with the addresses of name servers is kept: its directory, for it is replaced when they change; but
/// not all of `/run`.
fn name_servers(file: &Path) -> &Path {
    file.parent().filter(|directory| directory.components().count() > 2).unwrap_or(file)
}

/// A lack is a notice, unless all of it is required.
fn tolerated(lack: Option<String>, require: bool) -> Result<Option<String>, String> {
    match lack {
        Some(lack) if require => Err(format!("{lack}; without sandbox.require it runs all the same")),
        lack => Ok(lack),
    }
}

/// What this kernel cannot keep from the process.
fn lacking(status: &LandlockStatus, network: bool) -> Option<String> {
    let abi = match status {
        LandlockStatus::NotImplemented => {
            return Some("there is no sandbox: this kernel has no Landlock (Linux 5.13)".to_owned());
        }
        LandlockStatus::NotEnabled => {
            let why = "Landlock is switched off; add landlock to lsm= of the kernel's command line";
            return Some(format!("there is no sandbox: {why}"));
        }
        LandlockStatus::Available { effective_abi, .. } => *effective_abi,
    };
    let parts = [
        (ABI::V3, "truncate of other files", "6.2"),
        (ABI::V4, "TCP", "6.7"),
        (ABI::V5, "ioctl of devices", "6.10"),
        (ABI::V6, "signals and abstract sockets of other processes", "6.12"),
    ];
    let missing = parts.iter().filter(|(since, what, _)| abi < *since && !(network && *what == "TCP"));
    let (missing, linux): (Vec<&str>, Vec<&str>) = missing.map(|(_, what, linux)| (*what, *linux)).unzip();
    let linux = linux.last()?;
    Some(format!("the sandbox leaves open: {}; Linux {linux} closes it", missing.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(abi: ABI) -> LandlockStatus {
        LandlockStatus::Available { effective_abi: abi, kernel_abi: None }
    }

    #[test]
    fn the_file_of_name_servers_may_be_replaced() {
        let file = Path::new("/run/systemd/resolve/stub-resolv.conf");
        assert_eq!(name_servers(file), Path::new("/run/systemd/resolve"));
        assert_eq!(name_servers(Path::new("/run/resolv.conf")), Path::new("/run/resolv.conf"));
    }

    #[test]
    fn a_lack_is_an_error_only_where_all_is_required() {
        let lack = || Some("there is no sandbox".to_owned());
        assert_eq!(tolerated(lack(), false), Ok(lack()));
        let error = "there is no sandbox; without sandbox.require it runs all the same";
        assert_eq!(tolerated(lack(), true), Err(error.to_owned()));
        assert_eq!(tolerated(None, true), Ok(None));
    }

    #[test]
    fn what_a_kernel_cannot_enforce_is_named() {
        assert_eq!(lacking(&with(ABI::V7), false), None);
        assert_eq!(
            lacking(&with(ABI::V2), false).unwrap(),
            "the sandbox leaves open: truncate of other files, TCP, ioctl of devices, signals and abstract sockets \
             of other processes; Linux 6.12 closes it"
        );
        assert_eq!(
            lacking(&with(ABI::V5), true).unwrap(),
            "the sandbox leaves open: signals and abstract sockets of other processes; Linux 6.12 closes it"
        );
        assert!(!lacking(&with(ABI::V3), true).unwrap().contains("TCP"), "nobody asked for that");
        assert!(lacking(&LandlockStatus::NotImplemented, false).unwrap().contains("has no Landlock"));
        assert!(lacking(&LandlockStatus::NotEnabled, false).unwrap().contains("switched off"));
    }
}
