//! Names: one library many times, two libraries of one name, a library that changes its name.

use std::fs;

use notifyit_tests::{library, recorder, renamed};

use super::{FILE, host, install, overwrite, running, works};

#[test]
fn of_two_files_with_one_name_the_first_runs_and_the_other_when_that_is_gone() {
    let host = running("one").start();
    works(&host, "one");
    let second = install(&host, "zzz.so", &recorder("two"));
    let first = format!(
        "is not run: {:?} is plugin `recorder` already; remove one of them",
        host.plugins().join(FILE)
    );
    host.logged(&["WARN", "zzz.so", &first]);
    host.alive("recorder");
    fs::remove_file(host.plugins().join(FILE)).expect("it is there");
    works(&host, "two");
    // One that comes before it takes its place.
    install(&host, "aaa.so", &recorder("three"));
    works(&host, "three");
    host.logged(&["WARN", "zzz.so", "is not run"]);
    assert!(second.exists());
}

#[test]
fn a_library_that_changes_its_name_is_another_plugin() {
    let Some(other) = renamed("print", "prinx") else { return };
    let host = host();
    let file = install(&host, "some.so", &fs::read(library("print")).expect("it is built"));
    let host = host.start();
    host.alive("print");
    overwrite(&file, &other);
    host.logged(&["plugin `print` is removed"]);
    host.logged(&["plugin `prinx`", "runs now"]);
    host.logged(&["plugin `print` has gone"]);
    host.drained("print");
}

#[test]
fn each_instance_of_a_library_is_replaced() {
    let host = host().config(
        r#"
[host]
plugin_dirs = ["{plugins}"]

[[watch]]
path = "{root}"

[plugin.one]
library = "recorder"
include = ["*.1"]
[plugin.one.config]
out = "{temp}/one.jsonl"

[plugin.two]
library = "recorder"
include = ["*.2"]
[plugin.two.config]
out = "{temp}/two.jsonl"
"#,
    );
    install(&host, FILE, &recorder("old"));
    let host = host.start();
    host.write("a.1", "x");
    host.write("a.2", "x");
    host.handled("one", "a.1");
    host.handled("two", "a.2");
    install(&host, FILE, &recorder("new"));
    host.logged(&["plugin `one` is replaced"]);
    host.logged(&["plugin `two` is replaced"]);
    host.write("b.1", "x");
    host.write("b.2", "x");
    for (name, file) in [("one", "b.1"), ("two", "b.2")] {
        assert_eq!(host.answered(name, file, 1)[0].build, "new", "{name}");
    }
}
