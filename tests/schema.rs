//! What a plugin's configuration may be is known before its `new`: from the schema that its library tells.

use std::fs;

use notifyit_tests::{Exit, Host, library, renamed};

const WATCH: &str = "[[watch]]\npath = \"{root}\"\n";

/// `notifyit check`, with the plugin directory.
fn check() -> Host {
    let host = Host::new().verb("check");
    let directory = host.plugins();
    host.arg("--plugin-dir").arg(directory)
}

/// One that would run, and one that only checks: they end with the same words.
fn both(configure: impl Fn(Host) -> Host) -> [Exit; 2] {
    [Host::new(), check()].map(|host| {
        let host = configure(host);
        for plugin in ["print", "exec", "recorder"] {
            host.add_plugin(plugin);
        }
        host.run()
    })
}

/// With this in the fifth line and those after it, beneath a plugin that would run.
fn wrong(text: &str, words: &[&str]) {
    let first = "[plugin.recorder.config]\nout = \"{temp}/recorder.jsonl\"\n";
    for exit in both(|host| host.config(&format!("{WATCH}{first}{text}"))) {
        exit.code(78).one_error(words);
        assert!(exit.records("recorder").is_empty(), "no plugin's `new` was called");
    }
}

#[test]
fn a_wrong_configuration_is_told_with_its_place_before_any_new() {
    wrong(
        "[plugin.print.config]\nformat = \"xml\"\n",
        &[
            "notifyit.toml:6:10: plugin.print.config.format: found the string \"xml\", expected `text`, `json` or `nul`",
        ],
    );
    wrong(
        "[plugin.exec.config]\ncommand = [\n  \"cat\",\n  5,\n]\n",
        &["notifyit.toml:8:3: plugin.exec.config.command[1]: found the integer 5, expected a string"],
    );
    wrong(
        "[plugin.x]\nlibrary = \"exec\"\nconfig = { command = [\"cat\"], env = { \"a b\" = true } }\n",
        &["notifyit.toml:7:47: plugin.x.config.env.\"a b\": found the boolean true, expected a string"],
    );
}

#[test]
fn an_unknown_key_is_told_with_those_that_are_known() {
    wrong(
        "[plugin.exec.config]\ncommand = [\"cat\"]\n  mod = \"each\"\n",
        &[
            "notifyit.toml:7:3: plugin.exec.config.mod: unknown key `mod`, expected one of `command`, `cwd`, `emits`, `env`, ",
        ],
    );
}

#[test]
fn a_missing_key_is_told_where_it_would_stand() {
    let missing = "missing key `command`, expected an array of strings";
    let words = format!("plugin.exec.config: {missing}");
    wrong("[plugin.exec]\n", &[&format!("notifyit.toml:5:9: {words}")]);
    wrong("[plugin.exec.config]\nmode = \"each\"\n", &[&format!("notifyit.toml:5:14: {words}")]);
    for exit in both(|host| host.args(["-p", "exec"])) {
        exit.code(78).one_error(&[&format!("notifyit: {words}")]);
    }
}

#[test]
fn what_is_typed_is_named_as_it_was_typed() {
    let file = format!("{WATCH}[plugin.print.config]\nformat = \"json\"\n");
    for exit in both(|host| host.config(&file).set("print.format=xml")) {
        exit.code(2)
            .one_error(&["--set print.format=xml: plugin.print.config.format: found the string \"xml\""]);
    }
    for exit in both(|host| host.set("exec.kill_after=2").command(["true"])) {
        exit.code(2)
            .one_error(&["--set exec.kill_after=2: plugin.exec.config.kill_after: found the integer 2"]);
    }
}

#[test]
fn what_was_only_found_is_left_out() {
    let host = Host::new().plugin("recorder");
    host.add_plugin("exec");
    let host = host.start();
    host.logged(&["plugin.exec.config: missing key `command`", "it is left out until its file changes"]);
    host.write("a", "x");
    host.handled("recorder", "a");
    host.stop().success();

    let check = check().plugin("recorder");
    check.add_plugin("exec");
    let exit = check.run();
    exit.success();
    assert_eq!(exit.lines(&["plugin.exec.config: missing key `command`", "it is left out"]).len(), 1);
    assert_eq!(exit.lines(&["all is well", "running recorder"]).len(), 1);
}

#[test]
fn a_plugin_without_a_schema_has_its_say_in_new() {
    for (plugin, code) in [("older", 1), ("previous", 1), ("today", 78), ("newer", 78)] {
        let host = Host::new().plugin(plugin).set(&format!("{plugin}.greeting=hello"));
        let good = host.start();
        good.write("a", "all");
        good.logged(&["hello all"]);
        good.stop().success();
        let file = format!("{WATCH}[plugin.{plugin}.config]\ngreting = \"hello\"\n");
        let exit = Host::new().plugin(plugin).config(&file).run();
        // The first that either of them finds.
        exit.code(code)
            .one_error(&[plugin, if code == 1 { "missing field `greeting`" } else { "`greting`" }]);
    }
}

#[test]
fn new_code_that_will_not_have_the_configuration_leaves_the_old_at_work() {
    let Some(other) = renamed("today", "print") else { return };
    let host = Host::new().plugin("print").set("print.format=json").start();
    let file = host.plugins().join("libnotifyit_print.so");
    let aside = host.temp().join("new.so");
    fs::write(&aside, other).unwrap();
    fs::rename(&aside, &file).unwrap();
    host.logged(&[
        "--set print.format=json: plugin.print.config.format: unknown key `format`",
        "0.1.0 ",
        "goes on",
    ]);
    host.write("a", "x");
    host.wait_for("the old code's line", |host| (host.stdout_lines().len() == 1).then_some(()));
    host.stop().success();
}

#[test]
fn inspect_shows_the_configuration() {
    let inspect = |plugin: &str, more: &[&str]| {
        let file = library(plugin).into_os_string();
        let host = Host::new().verb("plugin").arg("inspect").arg(file).args(more.iter().copied());
        let exit = host.watching([""; 0]).run();
        String::from_utf8(exit.success().stdout().to_vec()).unwrap()
    };
    let print = inspect("print", &[]);
    let example = print.split_once("\n\n").unwrap().1;
    let expected = "[plugin.print.config]\n\
        # How an event is written.\n\
        # - `text`: The path and a newline.\n\
        # - `json`: The event as a line of JSON.\n\
        # - `nul`: The path and a NUL.\n\
        # format = \"text\"                # `text`, `json` or `nul`, optional\n";
    assert_eq!(example, expected);
    let exec = inspect("exec", &[]);
    let command = "command = []                     # an array of strings, required\n";
    assert!(exec.contains(command), "{exec}");
    let json: serde_json::Value = serde_json::from_str(&inspect("exec", &["--json"])).unwrap();
    assert_eq!(json["config"]["required"], serde_json::json!(["command"]));
    assert_eq!(json["config"]["properties"]["env"]["type"], "object");
    assert!(!inspect("older", &[]).contains("\n\n"), "it has no schema");

    // What was said can be written into a file.
    let host = check();
    host.add_plugin("exec");
    let example = exec.split_once("\n\n").unwrap().1.replace("command = []", "command = [\"cat\"]");
    host.config(&format!("{WATCH}{example}")).run().success();
}
