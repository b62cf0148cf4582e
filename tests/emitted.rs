//! What plugins hand on to one another: `event.emit()`. A recorder `scan` emits what it is done with, others take it.

mod lineup;
mod places;

use std::path::Path;

use notifyit_tests::{Host, Place, Running};
use rustix::process::Signal;

/// Each lands at `scan`, and goes from there to `take`.
const CHAIN: &str = r#"
[[watch]]
name = "in"
path = "{root}"
recursive = true
exclude = ["*.excluded"]

[plugin.scan]
library = "recorder"
retry = { first = "10ms", max = "50ms" }
config = { out = "{temp}/scan.jsonl", emits = true, fail_while = "{temp}/scan-fails" }

[plugin.take]
library = "recorder"
events = ["emitted"]
retry = { first = "10ms", max = "50ms" }
config = { out = "{temp}/take.jsonl", fail_while = "{temp}/take-fails", hold = "{temp}/hold-take" }
"#;

fn chain(text: &str) -> Host {
    Host::new().named_plugin("recorder").config(text)
}

/// The next host in that place, with that configuration and a state directory.
fn next(place: &Place, text: &str) -> Host {
    Host::at(place.clone()).named_plugin("recorder").config(text).args(["--state-dir", "state"])
}

fn killed(host: Running) -> Place {
    host.signal(Signal::KILL);
    (*host.wait()).clone()
}

fn names(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{n}.txt")).collect()
}

#[test]
fn a_file_goes_on_when_the_one_before_is_done_with_it_and_not_else() {
    let host = chain(CHAIN).start();
    host.write("a.retry2", "content");
    host.write("b.reject", "content");
    host.mkdir("sub");
    host.write("sub/c", "content");
    host.handled("take", "a.retry2");
    host.handled("take", "sub/c");
    let taken = &host.attempts("take", "a.retry2")[..];
    let event = &taken[0].event;
    assert_eq!((event["kind"].as_str(), event["emitted_by"].as_str()), (Some("emitted"), Some("scan")));
    assert_eq!((event["origin"].as_str(), event["attempt"].as_u64()), (Some("live"), Some(1)));
    let scanned = host.attempts("scan", "a.retry2");
    assert_eq!(
        scanned.iter().map(|record| record.say.as_str()).collect::<Vec<_>>(),
        ["retry", "retry", "done"]
    );
    assert!(scanned[2].at <= taken[taken.len() - 1].at);
    assert_eq!(event["id"], scanned[2].event["id"], "the same version of the same file");
    assert!(scanned[0].event.get("emitted_by").is_none());
    let exit = host.stop();
    exit.success();
    assert!(exit.attempts("take", "b.reject").is_empty());
    assert_eq!(exit.times_done("take", "sub/c"), 1);
}

#[test]
fn each_version_goes_on_once_and_only_through_the_one_before() {
    let host = chain(CHAIN).start();
    host.write("a", "1");
    host.handled("take", "a");
    host.aside("scan-fails", "");
    host.write("a", "22");
    host.answered("scan", "a", 3);
    assert_eq!(host.times_done("take", "a"), 1, "nobody has passed this version");
    std::fs::remove_file(host.temp().join("scan-fails")).unwrap();
    host.answered("take", "a", 2);
    let exit = host.stop();
    exit.success();
    let sizes: Vec<_> =
        exit.attempts("take", "a").iter().map(|record| record.event["size"].as_u64()).collect();
    assert_eq!(sizes, [Some(1), Some(2)]);
}

#[test]
fn it_is_tried_again_until_it_is_taken() {
    let host = chain(CHAIN).start();
    host.aside("take-fails", "");
    host.write("a", "content");
    host.answered("take", "a", 3);
    std::fs::remove_file(host.temp().join("take-fails")).unwrap();
    host.handled("take", "a");
    host.write("b.reject", "content");
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.times_done("scan", "a"), 1);
    let attempts = exit.attempts("take", "a");
    assert!(attempts.iter().all(|record| record.event["emitted_by"] == "scan"), "{attempts:?}");
    assert_eq!(attempts.last().unwrap().attempt, attempts.len() as u64);
}

#[test]
fn who_takes_names_files_and_whose() {
    let text = format!(
        r#"{CHAIN}
[plugin.other]
library = "recorder"
events = ["emitted"]
emitted_by = ["nobody", "take"]
config = {{ out = "{{temp}}/other.jsonl" }}

[plugin.images]
library = "recorder"
events = ["emitted"]
include = ["*.png"]
emitted_by = ["scan"]
config = {{ out = "{{temp}}/images.jsonl" }}
"#
    );
    let host = chain(&text).start();
    for name in ["a.png", "b.txt", "c.excluded", "d.png"] {
        host.write(name, "content");
    }
    host.all_handled("images", ["a.png", "d.png"]);
    host.all_handled("take", ["a.png", "b.txt", "d.png"]);
    let exit = host.stop();
    exit.success();
    assert!(exit.attempts("images", "b.txt").is_empty());
    assert!(exit.records("other").iter().all(|record| record.relative.is_none()));
}

/// `scan` makes a copy in a directory that only `take` hears of.
const COPIES: &str = r#"
[[watch]]
name = "in"
path = "{root}"

[[watch]]
name = "out"
path = "{temp}/out"
recursive = true

[plugin.scan]
library = "recorder"
watch = ["in"]
retry = { first = "10ms", max = "50ms" }
config = { out = "{temp}/scan.jsonl", emits_copies = "{temp}/out/new/deep" }

[plugin.take]
library = "recorder"
watch = ["out"]
events = ["emitted"]
config = { out = "{temp}/take.jsonl" }
"#;

#[test]
fn what_was_made_of_a_file_goes_on_from_a_directory_that_is_new() {
    let host = chain(COPIES);
    std::fs::create_dir(host.temp().join("out")).unwrap();
    let host = host.start();
    let files: Vec<String> = names(50);
    for name in &files {
        host.write(name, "content");
    }
    host.write("\u{fffd} \n", "content");
    host.all_handled("take", files.iter().map(|name| format!("new/deep/{name}")));
    host.handled("take", "new/deep/\u{fffd} \n");
    // Nobody has emitted it.
    host.aside("out/new/deep/foreign", "content");
    host.write("last", "content");
    host.handled("take", "new/deep/last");
    let exit = host.stop();
    exit.success();
    assert!(exit.attempts("take", "new/deep/foreign").is_empty());
    assert!(files.iter().all(|name| exit.times_done("take", format!("new/deep/{name}")) == 1));
}

#[test]
fn what_lies_beneath_no_watch_fails_with_its_reason() {
    let host = chain(CHAIN).set("scan.emits_copies='{temp}/elsewhere'").start();
    host.write("a", "content");
    host.logged(&["scan", "failed to emit", "elsewhere/a", "it lies beneath no watched directory"]);
    let exit = host.stop();
    exit.success();
    assert!(exit.attempts("take", "a").is_empty(), "of one event all is handed on, or nothing");
}

#[test]
fn plugins_that_emit_in_a_circle_come_to_an_end() {
    let text = r#"
[[watch]]
name = "in"
path = "{root}"
[[watch]]
name = "out"
path = "{temp}/out"

[plugin.one]
library = "recorder"
events = ["landed", "emitted"]
watch = ["in"]
config = { out = "{temp}/one.jsonl", emits_copies = "{temp}/out" }

[plugin.two]
library = "recorder"
watch = ["out"]
events = ["emitted"]
config = { out = "{temp}/two.jsonl", emits_copies = "{temp}/out" }
"#;
    let host = chain(text);
    std::fs::create_dir(host.temp().join("out")).unwrap();
    let host = host.start();
    host.write("file.0", "content");
    host.logged(&["two", "rejected", "file.8", "it was handed on 8 times before"]);
    let exit = host.stop();
    exit.success();
    for n in 1..8 {
        assert_eq!(exit.times_done("two", format!("file.{n}")), 1, "{n}");
    }
    assert!(!Path::new(&exit.temp().join("out/file.10")).exists());
}

#[test]
fn a_file_that_is_renamed_before_it_is_taken_goes_on_under_its_new_name() {
    let host = chain(CHAIN).start();
    host.aside("hold-take", "");
    host.write("first", "content");
    host.logged(&["take", "holding \"first\""]);
    host.write("old", "content");
    host.handled("scan", "old");
    host.mkdir("sub");
    host.rename("old", "sub/new");
    host.handled("scan", "sub/new");
    std::fs::remove_file(host.temp().join("hold-take")).unwrap();
    host.handled("take", "sub/new");
    let exit = host.stop();
    exit.success();
    assert_eq!((exit.times_done("take", "sub/new"), exit.attempts("take", "old").len()), (1, 0));
}

#[test]
fn more_than_the_lane_has_room_for_comes_too() {
    let host = chain(CHAIN).set("plugin.take.queue=8").start();
    host.aside("hold-take", "");
    let files = names(300);
    for name in &files {
        host.write(name, "content");
    }
    host.all_handled("scan", &files);
    host.logged(&["take", "has fallen"]);
    std::fs::remove_file(host.temp().join("hold-take")).unwrap();
    host.all_handled("take", &files);
    let exit = host.stop();
    exit.success();
    assert!(files.iter().all(|name| exit.times_done("take", name) == 1));
}

#[test]
fn what_was_there_before_its_taker_is_none_of_its_business() {
    let without: String = CHAIN.split("[plugin.take]").next().unwrap().to_owned();
    let host = chain(&without).args(["--state-dir", "state"]).start();
    host.write("old", "content");
    host.handled("scan", "old");
    let exit = host.stop();
    exit.success();
    let host = next(&exit, CHAIN).start();
    host.write("new", "content");
    host.handled("take", "new");
    let exit = host.stop();
    exit.success();
    assert!(exit.attempts("take", "old").is_empty());
}

#[test]
fn it_waits_for_a_taker_that_is_away() {
    let host = chain(CHAIN).args(["--state-dir", "state"]).start();
    host.write("before", "content");
    host.handled("take", "before");
    let exit = host.stop();
    exit.success();
    // The next host does not run it.
    let host = next(&exit, CHAIN).args(["-p", "scan"]).start();
    let files = names(20);
    for name in &files {
        host.write(name, "content");
    }
    host.all_handled("scan", &files);
    let place = killed(host);
    let host = next(&place, CHAIN).start();
    host.all_handled("take", &files);
    let exit = host.stop();
    exit.success();
    assert!(files.iter().all(|name| exit.times_done("take", name) == 1));
    assert_eq!(exit.times_done("take", "before"), 1);
}

#[test]
fn whatever_is_killed_everything_that_landed_goes_all_the_way() {
    let host = chain(CHAIN).args(["--state-dir", "state"]);
    let place = Place::clone(&host);
    let mut host = host.start();
    let mut files = Vec::new();
    for round in 0..8 {
        host.mkdir(round.to_string());
        let names = (0..40).map(|n| format!("{round}/{n}"));
        for name in names {
            host.write(&name, "content");
            files.push(name);
        }
        // At another moment each time: in the middle of the scan, of the handing on, of the taking.
        let (plugin, file) = [("scan", 5), ("take", 0), ("scan", 39), ("take", 20)][round % 4];
        host.handled(plugin, format!("{round}/{file}"));
        killed(host);
        host = next(&place, CHAIN).start_and_look();
    }
    host.all_handled("take", &files);
    // What was not in the ledger when the host was killed comes again. What is does not.
    let exit = host.stop();
    exit.success();
    let before = exit.records("take").len();
    let host = next(&exit, CHAIN).start();
    host.write("last", "content");
    host.handled("take", "last");
    let exit = host.stop();
    exit.success();
    let since = &exit.records("take")[before..];
    let again: Vec<_> = since.iter().filter_map(|record| record.relative.as_deref()).collect();
    assert_eq!(again, [Path::new("last")]);
}

#[test]
fn a_dead_letter_and_a_replay_are_as_with_any_file() {
    let host = chain(CHAIN).args(["--state-dir", "state"]).start();
    host.write("a.reject", "content");
    host.write("b", "content");
    // It rejects by the name: both do, so that it comes no further than the first.
    host.handled("take", "b");
    let exit = host.stop();
    exit.success();
    let again = Host::at((*exit).clone()).verb("replay").watching(Vec::<&str>::new());
    again.args(["--state-dir", "state", "--plugin", "take"]).run().success();
    let host = next(&exit, CHAIN).start();
    host.answered("take", "b", 2);
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.times_done("scan", "b"), 1);
    assert_eq!(exit.attempts("take", "b")[1].event["origin"], "replay");
}
