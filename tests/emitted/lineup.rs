//! Who emits and who takes: replaced, killed, changed and stopped in the middle.

use std::fs;
use std::time::Duration;

use notifyit_tests::{Host, Place, recorder};
use rustix::process::Signal;

use super::{CHAIN, chain, killed, names, next};

#[test]
fn a_taker_that_is_replaced_in_the_middle_gets_each_file_once() {
    let host = chain(CHAIN).start();
    let files = names(600);
    for (number, name) in files.iter().enumerate() {
        if number % 150 == 75 {
            let build = format!("v{number}");
            let hidden = host.plugins().join(".new");
            fs::write(&hidden, recorder(&build)).unwrap();
            fs::rename(&hidden, host.plugins().join("libnotifyit_recorder.so")).unwrap();
            host.write(name, "content");
            host.wait_for("the new code", |host| {
                ["scan", "take"]
                    .iter()
                    .all(|plugin| host.records(plugin).iter().any(|record| record.build == build))
                    .then_some(())
            });
        } else {
            host.write(name, "content");
        }
    }
    host.all_handled("take", &files);
    let exit = host.stop();
    exit.success();
    let twice: Vec<_> = files.iter().filter(|name| exit.times_done("take", name) != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

const FLYING: &str = r#"
[[watch]]
name = "in"
path = "{root}"

[plugin.scan]
library = "flying"
retry = { first = "10ms", max = "50ms" }
config = { out = "{temp}/scan.txt", emits = true }

[plugin.take]
library = "recorder"
events = ["emitted"]
config = { out = "{temp}/take.jsonl" }
"#;

#[test]
fn of_a_batch_and_of_what_is_answered_later_each_goes_on_that_is_done() {
    for batches in [true, false] {
        let host = chain(FLYING).named_plugin("flying").set(&format!("scan.batches={batches}")).start();
        let files: Vec<_> = (0..200)
            .map(|n| match n % 10 {
                3 => format!("{n}.fail.txt"),
                7 => format!("{n}.reject.txt"),
                _ => format!("{n}.txt"),
            })
            .collect();
        for name in &files {
            host.write(name, "content");
        }
        let (rejected, done): (Vec<_>, Vec<_>) = files.iter().partition(|name| name.contains("reject"));
        host.all_handled("take", &done);
        host.write("last.txt", "content");
        host.handled("take", "last.txt");
        let exit = host.stop();
        exit.success();
        assert!(rejected.iter().all(|name| exit.attempts("take", name).is_empty()));
        let twice: Vec<_> = done.iter().filter(|name| exit.times_done("take", name) != 1).collect();
        assert!(twice.is_empty(), "{twice:?}");
    }
}

#[test]
fn whoever_takes_files_as_they_land_for_a_while_gets_what_was_handed_on_to_it() {
    let landed = CHAIN.replace("events = [\"emitted\"]\n", "");
    let host = chain(&landed).args(["--state-dir", "state"]).start();
    host.write("landed", "content");
    host.handled("take", "landed");
    let exit = host.stop();
    exit.success();

    let hold = |place: &Place| place.aside("hold-take", "");
    let host = next(&exit, CHAIN).args(["--grace", "200ms"]).start();
    hold(&host);
    for name in ["emitted.0", "emitted.1", "emitted.2"] {
        host.write(name, "content");
        host.handled("scan", name);
    }
    // A kill could come before it is on disk that they were handed on.
    host.signal(Signal::TERM);
    let place = (*host.wait()).clone();
    // Killed before its first look, and once more.
    for _ in 0..2 {
        let host = next(&place, &landed).start();
        host.wait_for("the first to be tried", |host| host.log().contains("holding").then_some(()));
        killed(host);
    }
    fs::remove_file(place.temp().join("hold-take")).unwrap();
    let host = next(&place, &landed).start();
    host.all_handled("take", ["emitted.0", "emitted.1", "emitted.2"]);
    host.write("landed again", "content");
    host.handled("take", "landed again");
    let exit = host.stop();
    exit.success();

    let host = next(&exit, CHAIN).start();
    host.write("last", "content");
    host.handled("take", "last");
    let exit = host.stop();
    exit.success();
    assert!(exit.attempts("take", "last").iter().all(|record| record.event["kind"] == "emitted"));
    assert!((0..3).all(|n| exit.times_done("take", format!("emitted.{n}")) == 1));
    assert_eq!(exit.times_done("take", "landed"), 1);
}

#[test]
fn a_stop_waits_for_what_is_still_handed_on() {
    let host = chain(CHAIN).set("scan.hold='{temp}/hold-scan'").start();
    host.aside("hold-scan", "");
    host.write("a.slow300ms", "content");
    host.write("b", "content");
    host.logged(&["scan", "holding \"a.slow300ms\""]);
    host.signal(Signal::TERM);
    fs::remove_file(host.temp().join("hold-scan")).unwrap();
    let exit = host.wait();
    exit.success();
    for name in ["a.slow300ms", "b"] {
        assert_eq!(exit.times_done("take", name), exit.times_done("scan", name), "{name}");
    }
    assert_eq!(exit.times_done("scan", "a.slow300ms"), 1);
}

#[test]
fn a_stop_waits_for_nobody_whose_files_only_wait_for_their_next_try() {
    let text = format!(
        r#"{CHAIN}
[plugin.other]
library = "recorder"
events = ["emitted"]
emitted_by = ["take"]
config = {{ out = "{{temp}}/other.jsonl", fail_while = "{{temp}}/other-fails" }}
"#
    );
    let slow = "{ first = '10m' }";
    let host =
        chain(&text).set(&format!("plugin.take.retry={slow}")).set(&format!("plugin.other.retry={slow}"));
    let host = host
        .set(&format!("plugin.scan.retry={slow}"))
        .set("take.emits=true")
        .args(["--grace", "10m"])
        .start();
    host.aside("other-fails", "");
    host.write("a", "content");
    host.answered("other", "a", 1);
    host.aside("take-fails", "");
    host.write("b", "content");
    host.answered("take", "b", 1);
    host.aside("scan-fails", "");
    host.write("c", "content");
    host.answered("scan", "c", 1);
    // The test is over before the time of grace is.
    host.stop().success();
}

/// From `in` to `middle`, from there to `out`: each makes a copy and hands that on.
const THREE: &str = r#"
[[watch]]
name = "in"
path = "{root}"
recursive = true
[[watch]]
name = "middle"
path = "{temp}/middle"
recursive = true
[[watch]]
name = "out"
path = "{temp}/out"
recursive = true

[plugin.scan]
library = "recorder"
watch = ["in"]
retry = { first = "10ms", max = "50ms" }
config = { out = "{temp}/scan.jsonl", emits_copies = "{temp}/middle/a/b", copied = "renamed" }

[plugin.refine]
library = "recorder"
events = ["emitted"]
emitted_by = ["scan"]
watch = ["middle"]
retry = { first = "10ms", max = "50ms" }
config = { out = "{temp}/refine.jsonl", emits_copies = "{temp}/out/c" }

[plugin.take]
library = "recorder"
events = ["emitted"]
emitted_by = ["refine"]
retry = { first = "10ms", max = "50ms" }
config = { out = "{temp}/take.jsonl" }
"#;

fn storm(host: Host) -> Host {
    host.args(["--state-dir", "state"])
}

#[test]
fn through_three_plugins_everything_goes_whatever_is_killed() {
    let host = storm(chain(THREE));
    for directory in ["middle", "out"] {
        fs::create_dir(host.temp().join(directory)).unwrap();
    }
    let place = Place::clone(&host);
    let mut host = host.start();
    let mut files = Vec::new();
    for round in 0..12_u64 {
        for n in 0..30 {
            let name = format!("{round}-{n}.txt");
            host.write(&name, "content");
            files.push(name);
        }
        let (plugin, directory, n) =
            [("scan", "", 3), ("refine", "a/b/", 0), ("take", "c/", 0), ("refine", "a/b/", 29)]
                [usize::try_from(round).unwrap() % 4];
        host.handled(plugin, format!("{directory}{round}-{n}.txt"));
        std::thread::sleep(Duration::from_millis(round % 5));
        killed(host);
        host = next(&place, THREE).start();
    }
    host.all_handled("take", files.iter().map(|name| format!("c/{name}")));
    let exit = host.stop();
    exit.success();
    let emitted_by = |plugin: &str, name: &str| exit.attempts(plugin, name)[0].event["emitted_by"].clone();
    assert_eq!(
        (emitted_by("refine", "a/b/0-0.txt"), emitted_by("take", "c/0-0.txt")),
        ("scan".into(), "refine".into())
    );
}
