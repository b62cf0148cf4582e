//! The configuration file, and `check`.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use notifyit_tests::Host;

const WHOLE: &str = r#"
[host]
plugin_dirs = ["{plugins}"]
grace = "5s"

[[watch]]
name = "incoming"
path = "{root}"
recursive = true
exclude = [".*", "*.part"]

[plugin.recorder]
watch = ["incoming"]
include = ["*.{jpg,png}"]
events = ["close-write"]
workers = 2
timeout = "30s"
retry = { first = "1s", max = "10m", for = "24h" }

[plugin.recorder.config]
out = "{temp}/recorder.jsonl"
"#;

fn wrong(text: &str, words: &[&str]) {
    Host::new().plugin("print").config(text).run().code(78).one_error(&["notifyit.toml"]).one_error(words);
}

#[test]
fn the_whole_form_is_understood() {
    let host = Host::new();
    host.add_plugin("recorder");
    let host = host.config(WHOLE).start();
    for name in ["a.txt", ".b.jpg", "c.jpg.part", "d.jpg"] {
        host.write(name, "x");
    }
    host.handled("recorder", "d.jpg");
    assert_eq!(host.records("recorder").iter().filter(|r| r.say == "done").count(), 1);
    host.stop().success();
}

#[test]
fn an_unknown_key_is_refused_with_its_place() {
    wrong("[[watch]]\npath = \"{root}\"\nrecursve = true\n", &["notifyit.toml:3:1", "recursve"]);
    wrong("[[watch]]\npath = \"{root}\"\n\n[plugin.print]\n  worker = 2\n", &["notifyit.toml:5:3", "worker"]);
    wrong("[hots]\n", &["notifyit.toml:1:", "hots"]);
    wrong("[host]\nstatedir = \"/x\"\n", &["notifyit.toml:2:1", "statedir"]);
}

#[test]
fn a_wrong_value_is_refused_with_its_place() {
    wrong("[[watch]]\npath = \"{root}\"\nrecursive = \"yes\"\n", &["notifyit.toml:3:13"]);
    wrong(
        "[[watch]]\npath = \"{root}\"\n[plugin.print]\ntimeout = \"soon\"\n",
        &["notifyit.toml:4:11", "soon"],
    );
    wrong(
        "[[watch]]\npath = \"{root}\"\n[plugin.print]\nevents = [\"closed\"]\n",
        &["notifyit.toml:4:", "closed", "close-write"],
    );
    wrong("[[watch]]\npath = \"{root}\"\nexclude = [\"a[\"]\n", &["notifyit.toml:3:", "a["]);
}

#[test]
fn what_is_no_toml_is_refused_with_its_place() {
    wrong("[[watch]\n", &["notifyit.toml:1:"]);
}

#[test]
fn what_does_not_fit_together_is_refused() {
    wrong("[[watch]]\npath = \"{root}\"\n[plugin.print]\nwatch = [\"elsewhere\"]\n", &["elsewhere"]);
    let twice = "[[watch]]\nname = \"a\"\npath = \"{root}\"\n[[watch]]\nname = \"a\"\npath = \"{temp}\"\n";
    wrong(twice, &["`a`"]);
}

#[test]
fn a_configuration_that_is_missing_is_an_error() {
    let exit = Host::new().plugin("print").args(["-c", "nowhere.toml"]).watching(Vec::<PathBuf>::new()).run();
    exit.one_error(&["nowhere.toml", "No such file"]);
}

#[test]
fn set_wins_over_the_file() {
    let config = "[[watch]]\npath = \"{root}\"\n[plugin.print.config]\nformat = \"json\"\n";
    let host = Host::new().plugin("print").config(config).set("print.format=nul").start();
    host.write("a.txt", "x");
    let mut expected = host.path("a.txt").into_os_string().into_encoded_bytes();
    expected.push(0);
    host.wait_for("the path", |host| (host.stdout() == expected).then_some(()));
    host.stop().success();
}

#[test]
fn the_file_wins_over_the_defaults() {
    let config = "[[watch]]\npath = \"{root}\"\n[plugin.print.config]\nformat = \"json\"\n";
    let host = Host::new().plugin("print").config(config).start();
    host.write("a.txt", "x");
    host.wait_for("a line of json", |host| {
        host.stdout_lines().iter().any(|l| l.starts_with('{')).then_some(())
    });
    host.stop().success();
}

#[test]
fn a_set_that_is_wrong_is_a_usage_error() {
    let exit = Host::new().plugin("print").set("print").run();
    exit.code(2);
    let exit = Host::new().plugin("print").set("plugin.print.wrokers=3").run();
    exit.code(2);
    assert!(exit.stderr().contains("wrokers"));
}

#[test]
fn the_file_is_found_by_the_environment() {
    let text = "[[watch]]\npath = \"{root}\"\n";
    let host = Host::new().plugin("print").config(text);
    let file = host.temp().join("notifyit.toml");
    let home = host.temp().join("home/.config/notifyit");
    fs::create_dir_all(&home).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    for (variable, value, path) in [
        ("NOTIFYIT_CONFIG", host.temp().join("other.toml"), host.temp().join("other.toml")),
        ("XDG_CONFIG_HOME", host.temp().join("home/.config"), home.join("notifyit.toml")),
    ] {
        let host = Host::new().plugin("print");
        fs::write(&path, &text).unwrap();
        let host = host.env(variable, value).watching(Vec::<PathBuf>::new()).start();
        host.signal(rustix::process::Signal::TERM);
        host.wait().success();
        fs::remove_file(path).unwrap();
    }
}

#[test]
fn a_file_that_the_environment_names_is_not_passed_over() {
    let host = Host::new().plugin("print").env("NOTIFYIT_CONFIG", "/absent/typo.toml");
    let host = host.watching(Vec::<PathBuf>::new());
    host.run().code(1).one_error(&["failed to read the configuration file", "typo.toml", "No such file"]);
}

fn check(text: &str) -> Host {
    let host = Host::new().verb("check");
    host.add_plugin("recorder");
    host.add_plugin("print");
    host.config(text)
}

/// Every file below, with its size and its time.
fn everything(below: &Path) -> BTreeMap<PathBuf, (u64, SystemTime)> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(below).expect("a directory can be listed").flatten() {
        let metadata = fs::symlink_metadata(entry.path()).expect("nothing goes away here");
        if metadata.is_dir() {
            found.extend(everything(&entry.path()));
        }
        found.insert(entry.path(), (metadata.len(), metadata.modified().expect("files have times")));
    }
    found
}

#[test]
fn check_of_what_is_right_is_0_and_leaves_no_trace() {
    let host = check(WHOLE);
    let temp = host.temp().to_owned();
    let before = everything(&temp);
    let exit = host.run();
    exit.success();
    assert_eq!(everything(&temp), before);
    assert!(exit.records("recorder").is_empty(), "no plugin's `new` was called");
}

#[test]
fn check_says_what_is_wrong_with_the_code_that_watch_would_have() {
    check("[[watch]]\npath = \"{root}\"\nrecursve = true\n").run().code(78).one_error(&["notifyit.toml:3:1"]);
    let host = check(WHOLE);
    fs::remove_dir(host.root()).unwrap();
    host.run().code(1).one_error(&["no such directory", "--wait"]);
    let missing = format!("{WHOLE}\n[plugin.absent]\n");
    check(&missing).run().code(1).one_error(&["absent"]);
}
