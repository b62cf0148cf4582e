//! `notifyit check` says what keeps a host from starting in the words of the host that does not start.

use notifyit_tests::{Exit, Host, Place};

/// One that would run, and one that only checks.
fn both(configure: impl Fn(Host) -> Host) -> [Exit; 2] {
    let check = Host::new().verb("check");
    let directory = check.plugins();
    [Host::new(), check.arg("--plugin-dir").arg(directory)].map(|host| configure(host.plugin("print")).run())
}

/// Both end so, with `print` in processes of its own and this beneath it, in line 5.
fn wrong(text: &str, words: &[&str]) {
    let file = format!("[[watch]]\npath = \"{{root}}\"\n[plugin.print]\nisolation = \"process\"\n{text}\n");
    for exit in both(|host| host.config(&file)) {
        exit.code(1).one_error(words);
    }
}

#[test]
fn a_user_that_is_not_there_is_told_with_its_place() {
    let words = "plugin.print.user: there is no user `no-such-user`; add it, or name another in user = \"…\"";
    wrong("user = \"no-such-user\"", &[&format!("notifyit.toml:5:8: {words}")]);
    let typed = |host: Host| host.args(["-p", "print", "--isolation", "process"]);
    for exit in both(|host| typed(host).set("plugin.print.user=no-such-user")) {
        exit.code(1).one_error(&[&format!("--set plugin.print.user=no-such-user: {words}")]);
    }
}

#[test]
fn what_a_sandbox_is_to_allow_and_is_not_there_is_told_with_its_place() {
    for (key, text) in [
        ("read", "sandbox = { read = [\"/no/such/tool\"] }"),
        ("write", "[plugin.print.sandbox]\nwrite = [\"/no/such/tool\"]"),
    ] {
        let remedy = format!("create it or take it out of sandbox.{key}");
        wrong(
            text,
            &["notifyit.toml:5:", ": plugin.print.sandbox: failed to allow \"/no/such/tool\"", &remedy],
        );
    }
}

#[test]
fn a_socket_that_cannot_be_made_is_told() {
    let long = "s".repeat(200);
    for (socket, words) in [
        ("/no/such/directory/socket", "No such file or directory"),
        ("plugins", "something else is there"),
        (long.as_str(), "too long for a socket"),
    ] {
        for exit in both(|host| host.args(["--socket", socket])) {
            exit.code(1).one_error(&["failed to listen at", socket, words]);
        }
    }
}

#[test]
fn a_state_directory_that_can_be_none_is_told() {
    for (directory, words) in [("file", "it is a file, not a directory"), ("file/beneath", "Not a directory")]
    {
        let exits = both(|host| {
            host.aside("file", "");
            host.args(["--state-dir", directory, "--socket", "socket"])
        });
        for exit in exits {
            exit.code(1).one_error(&["failed to open the state directory", directory, words]);
        }
    }
}

#[test]
fn what_a_start_makes_or_another_host_has_is_no_fault() {
    let places = ["--state-dir", "state", "--socket", "state/socket"];
    let check = |place| {
        let check = Host::at(place).verb("check");
        let plugins = check.plugins();
        check.arg("--plugin-dir").arg(plugins).args(places).run()
    };
    let host = Host::new().plugin("print");
    check(Place::clone(&host)).success();
    assert!(!host.temp().join("state").exists(), "a check leaves no trace");
    let host = host.args(places).start();
    check(Place::clone(&host)).success();
    host.stop().success();
}

#[test]
fn what_a_person_should_know_is_said() {
    let host = Host::new().verb("check").args(["--isolation", "process"]).plugin("recorder");
    let plugins = host.plugins();
    let host = host.arg("--plugin-dir").arg(plugins).watching(["in", "later"]).args(["--wait"]);
    host.add_plugin("print");
    let host = host.set("plugin.recorder.sandbox=true").set("plugin.print.workers=2");
    let exit = host.set("plugin.print.in_flight=3").set("plugin.print.emitted_by=['nobody']").run();
    exit.success();
    assert_eq!(exit.lines(&["WARN", "plugin `print` can have 1 at most of the 2 workers"]).len(), 1);
    assert_eq!(exit.lines(&["WARN", "plugin `print` takes 1 at most of the 3 events in flight"]).len(), 1);
    let words =
        ["WARN", "plugin `print` takes what plugin `nobody` hands on, and no plugin of that name runs"];
    assert_eq!(exit.lines(&words).len(), 1);
    let words = ["WARN", "plugin `recorder`: the sandbox is without the watched directory", "later"];
    assert_eq!(exit.lines(&words).len(), 1);
}
