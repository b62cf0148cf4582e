//! The kernel's limits, said with the number and the remedy; and directories that cannot be watched yet.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use notifyit_tests::{Host, skip, wait_for_a_tick};

/// A namespace in which the limit of that name is so low.
fn limited(name: &str, limit: usize) -> Option<Vec<String>> {
    let script = format!("echo {limit} > /proc/sys/user/{name} && exec \"$@\"");
    let wrapper = ["unshare", "--user", "--map-root-user", "sh", "-c", &script, "sh"].map(str::to_owned);
    let try_it = Command::new(&wrapper[0]).args(&wrapper[1..]).arg("true").output();
    if try_it.is_ok_and(|output| output.status.success()) {
        return Some(wrapper.into());
    }
    skip("user namespaces are not to be had here");
    None
}

/// The host without any privilege, in a place that is open to all.
pub(crate) fn as_nobody(host: Host) -> Option<Host> {
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    let executable = notifyit_tests::library("print");
    let words = [OsStr::new("test"), OsStr::new("-r"), executable.as_os_str()];
    let allowed = Command::new(nobody[0]).args(&nobody[1..]).args(words).status();
    if !allowed.is_ok_and(|status| status.success()) {
        skip("needs root, setpriv, and a target directory that everyone may read");
        return None;
    }
    fs::set_permissions(host.temp(), fs::Permissions::from_mode(0o777)).expect("it is ours");
    // So that the plugins are not to be trusted.
    Some(host.args(["--trust", "off"]).wrapped(nobody))
}

#[test]
fn too_few_watches_are_told_with_the_number_and_the_remedy() {
    let Some(wrapper) = limited("max_inotify_watches", 5) else { return };
    let host = Host::new().plugin("recorder").arg("-r");
    for n in 0..10 {
        host.mkdir(n.to_string());
    }
    let host = host.wrapped(wrapper).spawn();
    let line = host.logged(&["no inotify watches left (limit 5)", "sysctl"]);
    assert!(line.contains("max_inotify_watches=") || line.contains("max_user_watches="), "{line}");
    // Whether it goes on with what it has or gives up, it must not hang or crash.
    host.wait_for("ready or the end", |host| {
        (host.exited().is_some() || host.log().contains("ready")).then_some(())
    });
    if host.exited().is_some() {
        host.wait().code(1);
    } else {
        host.stop().success();
    }
}

#[test]
fn too_few_instances_are_told_with_the_number_and_the_remedy() {
    let Some(wrapper) = limited("max_inotify_instances", 0) else { return };
    let exit = Host::new().plugin("print").wrapped(wrapper).run();
    exit.code(1).one_error(&["no inotify instances left (limit 0", "sysctl", "instances="]);
}

#[test]
fn a_directory_that_got_no_watch_gets_one_when_there_is_one_left() {
    let Some(wrapper) = limited("max_inotify_watches", 4) else { return };
    let host = Host::new().plugin("recorder").arg("-r");
    for directory in ["a", "b", "c"] {
        host.mkdir(directory);
    }
    let host = host.wrapped(wrapper).start();
    host.mkdir("late/deep");
    host.logged(&["WARN", "late", "no inotify watches left (limit 4)"]);
    host.write("late/deep/x.txt", "x");
    for directory in ["a", "b"] {
        std::fs::remove_dir(host.path(directory)).expect("it is empty");
    }
    host.handled("recorder", "late/deep/x.txt");
    host.write("late/y.txt", "x");
    host.handled("recorder", "late/y.txt");
    assert_eq!(host.times_done("recorder", "late/deep/x.txt"), 1);
    host.stop().success();
}

#[test]
fn what_lands_where_no_watch_is_left_is_found_by_listing() {
    let Some(wrapper) = limited("max_inotify_watches", 2) else { return };
    let host = Host::new().plugin("recorder").arg("-r");
    for directory in ["a", "b/deep", "c", "d"] {
        host.mkdir(directory);
    }
    host.write("b/deep/old.txt", "x");
    wait_for_a_tick();
    let host = host.wrapped(wrapper).start();
    host.logged(&[
        "WARN",
        "nor are",
        "other directories",
        "no inotify watches left (limit 2)",
        "listed every",
    ]);
    for directory in ["a", "b", "b/deep", "c", "d"] {
        host.write(format!("{directory}/1.txt"), "x");
    }
    host.all_handled("recorder", ["a/1.txt", "b/1.txt", "b/deep/1.txt", "c/1.txt", "d/1.txt"]);
    // New directories, a renamed one, another version, all unseen.
    for directory in ["a", "b", "c", "d"] {
        host.mkdir(format!("{directory}/new/deeper"));
        host.write(format!("{directory}/new/deeper/2.txt"), "x");
        host.rename(directory, format!("{directory}{directory}"));
        host.write(format!("{directory}{directory}/1.txt"), "another");
    }
    let twice = |name: &str| (host.times_done("recorder", name) == 1).then_some(());
    for directory in ["aa", "bb", "cc", "dd"] {
        host.handled("recorder", format!("{directory}/new/deeper/2.txt"));
        host.wait_for("the new version", |_| twice(&format!("{directory}/1.txt")));
        assert_eq!(host.times_done("recorder", format!("{directory}/new/deeper/2.txt")), 1);
    }
    assert_eq!(host.times_done("recorder", "bb/deep/1.txt"), 0, "it was finished under its old name");
    assert_eq!(host.times_done("recorder", "b/deep/old.txt"), 0);
    assert_eq!(host.count_logged(&["WARN"]), 1);
    host.stop().success();
}

#[test]
fn a_directory_that_may_not_be_read_is_told_and_the_rest_is_watched() {
    let Some(host) = as_nobody(Host::new().plugin("recorder").arg("-r")) else { return };
    host.mkdir("locked");
    fs::set_permissions(host.path("locked"), fs::Permissions::from_mode(0o700)).unwrap();
    host.mkdir("free");
    let host = host.start();
    host.logged(&["WARN", "locked", "ermission denied"]);
    host.write("free/a.txt", "x");
    host.handled("recorder", "free/a.txt");
    // When it may be read, it is watched, and what has landed meanwhile is found.
    host.mkdir("locked/sub");
    host.write("locked/sub/b.txt", "x");
    fs::set_permissions(host.path("locked"), fs::Permissions::from_mode(0o755)).unwrap();
    host.logged(&["INFO", "locked", "is watched now"]);
    host.handled("recorder", "locked/sub/b.txt");
    host.write("locked/c.txt", "x");
    host.handled("recorder", "locked/c.txt");
    assert_eq!(host.times_done("recorder", "locked/sub/b.txt"), 1);
    assert_eq!(host.count_logged(&["locked", "is not watched"]), 1);
    host.stop().success();
}
