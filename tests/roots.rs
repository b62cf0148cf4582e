//! Roots that become other directories: mounts over them, unmounts, renamed directories above them. The kernel tells
//! of none of these. Skipped where nothing can be mounted.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;
use std::process::Command;

use notifyit_tests::{Host, Running, until};

use crate::mounts::Mount;

pub(crate) fn tmpfs(at: &Path) -> Option<Mount> {
    Mount::new("mount", &["-t", "tmpfs", "tmpfs"].map(OsStr::new), at)
}

pub(crate) fn bind(from: &Path, at: &Path) -> Option<Mount> {
    fs::create_dir_all(from).expect("a directory can be made");
    Mount::new("mount", &["--bind".as_ref(), from.as_os_str()], at)
}

/// Unmounts as a user would, which an open file or directory beneath would make fail.
pub(crate) fn unmount(mount: Mount) {
    let umount = || Command::new("umount").arg(mount.at()).output().expect("umount can be started");
    // Whoever looks at the last file may still have it open.
    let done = until(|| umount().status.success().then_some(()));
    assert!(done.is_some(), "{}", String::from_utf8_lossy(&umount().stderr));
    std::mem::forget(mount);
}

fn host() -> Host {
    Host::new().plugin("recorder").arg("-r")
}

/// Files that are handled before anything happens, and must not come again.
fn finish_some(host: &Running) {
    host.mkdir("sub/deep");
    for name in ["a.txt", "sub/b.txt", "sub/deep/c.txt"] {
        host.write(name, name);
        host.handled("recorder", name);
    }
}

#[track_caller]
fn finished_once(host: &Running) {
    host.drained("recorder");
    for name in ["a.txt", "sub/b.txt", "sub/deep/c.txt"] {
        assert_eq!(host.times_done("recorder", name), 1, "{name}");
    }
}

/// A mount over the root, and its end.
fn is_mounted_over(host: Host, logged: &[&str]) {
    let behind = host.temp().join("behind");
    let Some(_behind) = bind(&host.root(), &behind) else { return };
    // That look notes which file system the entries are from.
    let host = host.start_and_look();
    finish_some(&host);
    // Not empty when it appears: the ledger must not take what it covers for gone.
    let prepared = host.temp().join("prepared");
    let Some(_prepared) = tmpfs(&prepared) else { return };
    fs::create_dir_all(prepared.join("sub/new")).expect("new directories");
    fs::write(prepared.join("sub/new/over.txt"), "x").expect("a new file");
    let Some(over) = bind(&prepared, &host.root()) else { return };
    host.handled("recorder", "sub/new/over.txt");
    host.logged(&["WARN", "is another directory than before"]);
    host.logged(logged);
    fs::write(behind.join("sub/deep/hidden.txt"), "x").expect("a new file");
    unmount(over);
    host.handled("recorder", "sub/deep/hidden.txt");
    host.write("sub/deep/later.txt", "x");
    host.handled("recorder", "sub/deep/later.txt");
    finished_once(&host);
    host.stop().success();
}

#[test]
fn a_mount_over_a_root_and_its_end_lose_no_file_and_bring_none_again() {
    is_mounted_over(host(), &[]);
}

#[test]
fn a_mount_over_a_root_and_its_end_lose_no_file_with_a_state_directory() {
    let host = host();
    let state = host.temp().join("state");
    is_mounted_over(
        host.arg("--state-dir").arg(state),
        &["INFO", "the ledger keeps what it knows of watch `in`"],
    );
}

#[test]
fn the_end_of_a_bind_mount_is_noticed_though_its_files_live_on() {
    let host = host();
    let real = host.temp().join("real");
    let Some(mount) = bind(&real, &host.root()) else { return };
    let host = host.start();
    finish_some(&host);
    unmount(mount);
    host.write("plain.txt", "x");
    host.handled("recorder", "plain.txt");
    fs::write(real.join("sub/meanwhile.txt"), "x").unwrap();
    let Some(_mount) = bind(&real, &host.root()) else { return };
    host.handled("recorder", "sub/meanwhile.txt");
    finished_once(&host);
    host.stop().success();
}

#[test]
fn an_ancestor_that_is_renamed_and_back_again_costs_no_file() {
    let host = host();
    let (up, away) = (host.temp().join("up"), host.temp().join("away"));
    fs::create_dir_all(up.join("in/sub")).unwrap();
    let host = host.watching([up.join("in")]).start();
    fs::write(up.join("in/sub/a.txt"), "x").unwrap();
    host.handled("recorder", "sub/a.txt");
    fs::rename(&up, &away).unwrap();
    fs::write(away.join("in/sub/meanwhile.txt"), "x").unwrap();
    // No event tells of the rename; that the file is not where it should be does.
    host.logged(&["WARN", "is gone"]);
    fs::rename(&away, &up).unwrap();
    host.handled("recorder", "sub/meanwhile.txt");
    fs::write(up.join("in/sub/later.txt"), "x").unwrap();
    host.handled("recorder", "sub/later.txt");
    assert_eq!(host.times_done("recorder", "sub/a.txt"), 1);
    host.stop().success();
}

#[test]
fn an_ancestor_that_is_another_directory_now_is_noticed_without_any_event() {
    let host = host();
    let (up, other) = (host.temp().join("up"), host.temp().join("other"));
    fs::create_dir_all(up.join("in")).unwrap();
    fs::create_dir_all(other.join("in")).unwrap();
    let host = host.watching([up.join("in")]).start();
    fs::rename(&up, host.temp().join("away")).unwrap();
    fs::rename(&other, &up).unwrap();
    fs::write(up.join("in/a.txt"), "x").unwrap();
    // Nothing happens in what is watched: the comparison that comes every ten seconds finds out.
    let handled = until(|| (host.times_done("recorder", "a.txt") == 1).then_some(()));
    handled.or_else(|| until(|| (host.times_done("recorder", "a.txt") == 1).then_some(()))).expect("a.txt");
    host.stop().success();
}

#[test]
fn a_root_that_is_deleted_and_made_anew_is_watched_again() {
    let host = host().start();
    finish_some(&host);
    for n in 0..3 {
        fs::remove_dir_all(host.root()).unwrap();
        fs::create_dir_all(host.path("sub")).unwrap();
        host.write(format!("sub/{n}.txt"), "x");
        host.handled("recorder", format!("sub/{n}.txt"));
    }
    host.stop().success();
}

#[test]
fn a_file_system_that_is_mounted_after_the_start_is_looked_into() {
    let host = host();
    let prepared = host.temp().join("prepared");
    let Some(_prepared) = tmpfs(&prepared) else { return };
    let host = host.start();
    fs::create_dir(prepared.join("sub")).unwrap();
    fs::write(prepared.join("sub/a.txt"), "x").unwrap();
    let Some(_mount) = bind(&prepared, &host.root()) else { return };
    host.handled("recorder", "sub/a.txt");
    host.write("sub/b.txt", "x");
    host.handled("recorder", "sub/b.txt");
    assert_eq!(host.times_done("recorder", "sub/a.txt"), 1);
    host.stop().success();
}

#[test]
fn a_mount_beneath_a_root_is_left_out_and_what_it_covered_is_found_at_its_end() {
    for arguments in [&[][..], &["--poll=100ms"]] {
        let host = host().args(arguments.iter().copied());
        let behind = host.temp().join("behind");
        let Some(_behind) = bind(&host.root(), &behind) else { return };
        let host = host.start();
        finish_some(&host);
        let Some(over) = tmpfs(&host.path("sub")) else { return };
        host.logged(&["WARN", "sub\" is left out", "is mounted there", "cross_mounts"]);
        host.write("sub/over.txt", "x");
        fs::write(behind.join("sub/deep/hidden.txt"), "x").unwrap();
        host.write("beside.txt", "x");
        host.handled("recorder", "beside.txt");
        unmount(over);
        host.handled("recorder", "sub/deep/hidden.txt");
        host.write("sub/deep/later.txt", "x");
        host.handled("recorder", "sub/deep/later.txt");
        finished_once(&host);
        assert!(host.attempts("recorder", "sub/over.txt").is_empty());
        assert_eq!(host.count_logged(&["is left out"]), 1);
        host.stop().success();
    }
}

#[test]
fn a_mount_beneath_a_root_is_watched_if_asked_for_and_what_it_covered_is_found_at_its_end() {
    let host = host().arg("--cross-mounts");
    let behind = host.temp().join("behind");
    let Some(_behind) = bind(&host.root(), &behind) else { return };
    let host = host.start();
    finish_some(&host);
    let Some(over) = tmpfs(&host.path("sub")) else { return };
    host.write("sub/over.txt", "x");
    host.handled("recorder", "sub/over.txt");
    fs::write(behind.join("sub/deep/hidden.txt"), "x").unwrap();
    unmount(over);
    host.handled("recorder", "sub/deep/hidden.txt");
    host.write("sub/deep/later.txt", "x");
    host.handled("recorder", "sub/deep/later.txt");
    finished_once(&host);
    assert_eq!(host.count_logged(&["WARN"]), 0, "the root itself is what it was");
    host.stop().success();
}
