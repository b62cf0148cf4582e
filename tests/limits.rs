//! The kernel's limits: said with the number and the remedy.

use std::process::Command;

use notifyit_tests::{Host, skip};

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
