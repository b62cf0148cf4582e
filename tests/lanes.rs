//! Order, workers, deadlines: what one plugin does is no other's concern.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::Path;

use notifyit_tests::{Host, inline_only};

const FAST_AND_SLOW: &str = r#"
[[watch]]
path = "{root}"

[plugin.fast]
library = "recorder"
[plugin.fast.config]
out = "{temp}/fast.jsonl"

[plugin.slow]
library = "recorder"
[plugin.slow.config]
out = "{temp}/slow.jsonl"
hold = "{temp}/hold"
"#;

#[test]
fn a_slow_plugin_delays_no_other() {
    let host = Host::new().named_plugin("recorder").config(FAST_AND_SLOW);
    let hold = host.aside("hold", "");
    let host = host.start();
    for n in 0..100 {
        host.write(format!("{n}.txt"), "x");
    }
    host.all_handled("fast", (0..100).map(|n| format!("{n}.txt")));
    assert!(host.records("slow").iter().all(|r| r.relative.is_none()), "it has answered nothing yet");
    fs::remove_file(hold).unwrap();
    host.all_handled("slow", (0..100).map(|n| format!("{n}.txt")));
    host.stop().success();
}

/// Makes a file a byte longer. (Writing it anew would show it empty in between.)
fn append(path: &Path) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).expect("the file is ours");
    file.write_all(b"x").expect("the file is ours");
}

#[test]
fn events_of_one_path_stay_in_order_and_with_one_worker() {
    let host =
        Host::new().plugin("recorder").set("plugin.recorder.workers=4").arg("-e").arg("close-write").start();
    let (paths, rounds) = (16, 30);
    for _ in 0..rounds {
        for path in 0..paths {
            append(&host.path(path.to_string()));
        }
    }
    for path in 0..paths {
        host.wait_for("the last version", |host| {
            host.attempts("recorder", path.to_string())
                .iter()
                .any(|r| r.event["size"] == rounds)
                .then_some(())
        });
    }
    let mut sizes: BTreeMap<_, Vec<u64>> = BTreeMap::new();
    let mut workers: BTreeMap<_, BTreeSet<_>> = BTreeMap::new();
    for record in host.records("recorder") {
        let Some(path) = record.relative else { continue };
        sizes.entry(path.clone()).or_default().extend(record.event["size"].as_u64());
        workers.entry(path).or_default().insert((record.thread, record.instance));
    }
    assert!(sizes.values().all(|sizes| sizes.is_sorted()), "{sizes:?}");
    assert!(workers.values().all(|of_path| of_path.len() == 1), "{workers:?}");
    let all: BTreeSet<_> = workers.values().flatten().collect();
    assert!(all.len() > 1, "several workers share the work: {all:?}");
    host.stop().success();
}

#[test]
fn workers_work_at_the_same_time_each_with_an_instance_of_its_own() {
    let host =
        Host::new().plugin("recorder").set("plugin.recorder.workers=3").set("recorder.hold='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.start();
    for n in 0..64 {
        host.write(n.to_string(), "x");
    }
    host.wait_for("three events in hand", |host| (host.count_logged(&["holding"]) == 3).then_some(()));
    assert_eq!(host.records("recorder").iter().filter(|r| r.say == "new").count(), 3);
    fs::remove_file(hold).unwrap();
    host.all_handled("recorder", (0..64).map(|n| n.to_string()));
    assert_eq!(host.count_logged(&["holding"]), 3);
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.records("recorder").iter().filter(|r| r.say == "shutdown").count(), 3);
}

#[test]
fn a_plugin_that_misses_its_deadline_is_reported() {
    let host = Host::new().plugin("print").plugin("recorder").set("plugin.recorder.timeout=\"100ms\"");
    let host = host.set("recorder.hold='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("a.txt", "x");
    host.logged(&["WARN", "recorder", "a.txt", "100ms"]);
    host.alive("print");
    fs::remove_file(hold).unwrap();
    host.handled("recorder", "a.txt");
    host.stop().success();
}

#[test]
fn a_flush_that_misses_the_deadline_is_reported() {
    if inline_only("a process that does not come back is ended") {
        return;
    }
    let host = Host::new().plugin("recorder").set("plugin.recorder.timeout=\"100ms\"");
    let host = host.set("recorder.hold_flush='{temp}/hold'").set("recorder.buffered=true");
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("a.txt", "x");
    host.logged(&["WARN", "recorder", "has been at its flush for over 100ms"]);
    fs::remove_file(hold).unwrap();
    host.logged(&["WARN", "recorder", "came back from its flush"]);
    host.stop().success();
}

#[test]
fn a_worker_that_is_stuck_does_not_fill_the_queue_for_the_others() {
    if inline_only("a process that does not come back is ended") {
        return;
    }
    let host = Host::new().plugin("recorder").set("recorder.hold_held='{temp}/hold'");
    let host = host.set("plugin.recorder.timeout=\"100ms\"").set("plugin.recorder.workers=2");
    let host = host.set("plugin.recorder.queue=16");
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("held", "x");
    host.logged(&["WARN", "recorder", "held", "takes no other event"]);
    // About half of these are the stuck worker's, and more than the queue holds.
    let files: Vec<String> = (0..200).map(|n| format!("f{n}")).collect();
    files.iter().for_each(|file| host.write(file, "x"));
    host.wait_for("most of the other worker's files", |host| {
        let done = host.records("recorder").iter().filter(|r| r.say == "done").count();
        (done > 60).then_some(())
    });
    assert!(host.attempts("recorder", "held").iter().all(|r| r.say != "done"));
    fs::remove_file(hold).unwrap();
    host.all_handled("recorder", files.iter().map(String::as_str).chain(["held"]));
    host.logged(&["WARN", "recorder", "came back from", "held"]);
    host.drained("recorder");
    assert!(files.iter().all(|file| host.times_done("recorder", file) == 1));
    host.stop().success();
}

#[test]
fn a_burst_is_handled_whole_and_in_order() {
    // What the look at what is there finds, it tells in an order of its own.
    let host = Host::new().plugin("recorder").arg("-r").start_and_look();
    let (first, last) = (10_000, 12_999);
    assert!(host.writer(first, last + 1).wait().expect("the writer").success());
    host.handled("recorder", last.to_string());
    let seen: Vec<_> = host.records("recorder").into_iter().filter_map(|r| r.relative).collect();
    let expected: Vec<_> = (first..=last).map(|n| std::path::PathBuf::from(n.to_string())).collect();
    assert!(seen == expected, "{} handled, or not in order", seen.len());
    host.stop().success();
}
