//! Another user, and no capabilities.

use std::ffi::CString;
use std::io;

use nix::unistd::{ResUid, Uid, User, getresuid, initgroups, setresgid, setresuid, setuid};
use rustix::io::Errno;
use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

/// Becomes this user with this user's groups, and gives up every capability: there is no way back.
///
/// # Errors
///
/// There is no such user; the host may not change to it.
pub(super) fn become_user(name: &str) -> Result<(), String> {
    let user = find(name)?;
    let failed = |error: io::Error| format!("failed to become the user `{}`: {error}", user.name);
    if !is(user.uid).map_err(failed)? {
        change(&user).map_err(|error| only_root(&failed(error)))?;
    }
    if user.uid.is_root() {
        return Ok(());
    }
    // The kernel takes them only from a process that was root, and may have been told not to.
    keep_only(CapabilitySet::empty()).map_err(failed)?;
    match setuid(Uid::from_raw(0)) {
        Ok(()) => Err(format!("the user `{}` can become root again", user.name)),
        Err(_) => Ok(()),
    }
}

/// Could this process's child become this user?
///
/// # Errors
///
/// As [`become_user`].
pub(super) fn check(name: &str) -> Result<(), String> {
    let user = find(name)?;
    let failed = |error: io::Error| format!("failed to become the user `{}`: {error}", user.name);
    let needed = CapabilitySet::SETUID | CapabilitySet::SETGID;
    let may_change = capabilities(None).map_err(|error| failed(error.into()))?.effective.contains(needed);
    if may_change || is(user.uid).map_err(failed)? {
        return Ok(());
    }
    Err(only_root(&failed(Errno::PERM.into())))
}

fn only_root(failed: &str) -> String {
    format!("{failed}; only a host that is root can do that")
}

/// Gives up every capability but these.
pub(super) fn keep_only(kept: CapabilitySet) -> io::Result<()> {
    let now = capabilities(None)?;
    let permitted = now.permitted & kept;
    // The ambient ones of a host that is not root follow the inheritable ones.
    let sets = CapabilitySets { effective: permitted, permitted, inheritable: now.inheritable & kept };
    Ok(set_capabilities(None, sets)?)
}

/// By name, else by number.
fn find(name: &str) -> Result<User, String> {
    let failed = |error| format!("failed to look up the user `{name}`: {}", io::Error::from(error));
    if let Some(user) = User::from_name(name).map_err(failed)? {
        return Ok(user);
    }
    let by_number = name.parse().ok().map(|number| User::from_uid(Uid::from_raw(number)));
    let user = by_number.transpose().map_err(failed)?.flatten();
    user.ok_or_else(|| format!("there is no user `{name}`; add it, or name another in user = \"…\""))
}

fn is(user: Uid) -> io::Result<bool> {
    let ResUid { real, effective, saved } = getresuid()?;
    Ok([real, effective, saved] == [user; 3])
}

fn change(user: &User) -> io::Result<()> {
    let name = CString::new(&*user.name)?;
    initgroups(&name, user.gid)?;
    setresgid(user.gid, user.gid, user.gid)?;
    setresuid(user.uid, user.uid, user.uid)?;
    Ok(())
}
