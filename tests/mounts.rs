//! Real mounts: FUSE, overlayfs, tmpfs. Skipped where they are not to be had.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use notifyit_tests::{Host, skip};

use crate::poll::origin;

/// Something mounted for a test.
pub(crate) struct Mount(PathBuf);

impl Mount {
    /// Mounts by a command whose last argument is the place. `None` where that is not to be had.
    pub(crate) fn new(command: &str, arguments: &[&OsStr], at: &Path) -> Option<Mount> {
        fs::create_dir_all(at).expect("a directory can be made");
        let mounted = Command::new(command).args(arguments).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Mount(at.to_owned()));
        }
        skip(&format!("{command} cannot mount here"));
        None
    }

    /// Where.
    pub(crate) fn at(&self) -> &Path {
        &self.0
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

fn mirror(host: &Host) -> Option<(Mount, PathBuf)> {
    let behind = host.temp().join("behind");
    fs::create_dir_all(&behind).expect("a directory can be made");
    // No caches: they show what is behind the mount a second later.
    let options = ["-o", "entry_timeout=0,attr_timeout=0,negative_timeout=0"].map(OsStr::new);
    let arguments = [&options[..], &[behind.as_os_str()]].concat();
    let mount = Mount::new("bindfs", &arguments, &host.root())?;
    Some((mount, behind))
}

#[test]
fn what_changes_behind_a_fuse_mount_is_found() {
    let host = Host::new().plugin("recorder");
    let Some((_mount, behind)) = mirror(&host) else { return };
    fs::write(behind.join("old.txt"), "x").unwrap();
    let host = host
        .config(
            "[[watch]]\npath = \"{root}\"\nrecursive = true\nbackend = \"auto\"\npoll = \"100ms\"\n\
             stable_for = \"200ms\"",
        )
        .start();
    host.logged(&["WARN", "is on FUSE", "is polled every 100ms"]);
    assert_eq!(host.watches(), 0);
    fs::create_dir_all(behind.join("a/b")).unwrap();
    fs::write(behind.join("a/b/new.open.txt"), "one").unwrap();
    host.handled("recorder", "a/b/new.open.txt");
    fs::write(behind.join("a/b/new.open.txt"), "another").unwrap();
    let answers = host.answered("recorder", "a/b/new.open.txt", 2);
    assert_eq!((answers[0].text.as_str(), answers[1].text.as_str()), ("one", "another"));
    fs::rename(behind.join("a/b"), behind.join("c")).unwrap();
    fs::write(behind.join("c/more.txt"), "x").unwrap();
    host.handled("recorder", "c/more.txt");
    host.write("through.txt", "x");
    host.handled("recorder", "through.txt");
    assert!(host.attempts("recorder", "old.txt").is_empty());
    host.stop().success();
}

#[test]
fn a_fuse_mount_that_is_not_there_for_a_while_has_lost_nothing() {
    let host = Host::new().plugin("recorder");
    let Some((mount, behind)) = mirror(&host) else { return };
    let host = host
        .config("[[watch]]\npath = \"{root}\"\nrecursive = true\npoll = \"50ms\"\nstable_for = \"100ms\"")
        .start();
    fs::create_dir(behind.join("sub")).unwrap();
    fs::write(behind.join("sub/a.txt"), "x").unwrap();
    host.handled("recorder", "sub/a.txt");
    drop(mount);
    host.logged(&["WARN", "failed to poll", "another file system is there"]);
    fs::write(behind.join("sub/b.txt"), "x").unwrap();
    let options = ["-o", "entry_timeout=0,attr_timeout=0"].map(OsStr::new);
    let again = Mount::new("bindfs", &[&options[..], &[behind.as_os_str()]].concat(), &host.root());
    host.handled("recorder", "sub/b.txt");
    assert_eq!(host.times_done("recorder", "sub/a.txt"), 1);
    drop(again);
    host.stop().success();
}

#[test]
fn inotify_can_be_asked_for_where_it_does_not_see_everything() {
    let host = Host::new().plugin("recorder");
    let Some(_mount) = mirror(&host) else { return };
    let host = host
        .config(
            "[[watch]]\npath = \"{root}\"\nrecursive = true\nbackend = \"inotify\"\nstable_for = \"100ms\"",
        )
        .start_and_look();
    host.logged(&["WARN", "is on FUSE", "as was asked for"]);
    assert_eq!(host.watches(), 1);
    host.write("a.txt", "x");
    host.handled("recorder", "a.txt");
    assert_eq!(origin(&host, "a.txt"), "live");
    host.stop().success();
}

#[test]
fn an_overlay_and_a_tmpfs_are_watched() {
    let host = Host::new().plugin("recorder").arg("-r");
    let memory = host.temp().join("memory");
    let Some(_memory) = Mount::new("mount", &["-t", "tmpfs", "tmpfs"].map(OsStr::new), &memory) else {
        return;
    };
    for directory in ["lower/sub", "upper", "work"] {
        fs::create_dir_all(memory.join(directory)).unwrap();
    }
    fs::write(memory.join("lower/sub/low.txt"), "low").unwrap();
    let show = |name: &str| memory.join(name).display().to_string();
    let options = format!("lowerdir={},upperdir={},workdir={}", show("lower"), show("upper"), show("work"));
    let arguments = ["-t", "overlay", "overlay", "-o", &options].map(OsStr::new);
    let Some(_overlay) = Mount::new("mount", &arguments, &host.root()) else { return };
    let plain = memory.join("plain");
    fs::create_dir(&plain).unwrap();
    let root = host.root();
    let host = host.watching([root.as_os_str(), plain.as_os_str()]).start_and_look();
    assert_eq!((host.watches(), host.count_logged(&["is polled"])), (3, 0));
    host.write("sub/low.txt", "copied up");
    host.handled("recorder", "sub/low.txt");
    assert_eq!(origin(&host, "sub/low.txt"), "live");
    host.mkdir("new/deep");
    host.write("new/deep/a.txt", "x");
    host.handled("recorder", "new/deep/a.txt");
    fs::write(plain.join("b.txt"), "x").unwrap();
    host.handled("recorder", "b.txt");
    host.stop().success();
}
