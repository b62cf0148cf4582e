//! Where the files lie that are emitted, and where they go.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::thread;
use std::time::{Duration, SystemTime};

use notifyit_tests::Running;

use super::{CHAIN, COPIES, chain, killed, names, next};

/// `scan` copies to `out`, which is there.
fn copies(text: &str) -> notifyit_tests::Host {
    let host = chain(text);
    fs::create_dir(host.temp().join("out")).expect("a new directory");
    host
}

fn once(host: &Running, files: &[String]) {
    host.all_handled("take", files);
    let twice: Vec<_> = files.iter().filter(|name| host.times_done("take", name) != 1).collect();
    assert!(twice.is_empty(), "{twice:?}");
}

#[test]
fn what_was_renamed_to_its_place_before_it_was_emitted_goes_on_from_there() {
    let host = copies(COPIES).set("scan.copied='renamed'").start();
    let files = names(100);
    for name in &files {
        host.write(name, "content");
    }
    let files: Vec<_> = files.iter().map(|name| format!("new/deep/{name}")).collect();
    once(&host, &files);
    // Again, over the ones that are there.
    for name in names(100) {
        host.write(name, "another");
    }
    for file in &files {
        host.answered("take", file, 2);
    }
    host.stop().success();
}

#[test]
fn what_is_renamed_before_the_plugin_has_answered_goes_on_under_its_new_name() {
    let host = copies(COPIES).set("scan.copied='renamed later'").start();
    let files = names(100);
    for name in &files {
        host.write(name, "content");
    }
    host.all_handled("take", files.iter().map(|name| format!("new/deep/{name}")));
    host.stop().success();
}

#[test]
fn what_is_emitted_in_a_directory_that_is_renamed_at_once_goes_along() {
    let host =
        copies(COPIES).set("scan.copied='in a directory'").set("scan.emits_copies='{temp}/out'").start();
    let files = names(100);
    let out = host.temp().join("out");
    let [from, to] = ["new", "moved"].map(|ending| {
        let out = out.clone();
        move |name: &str| out.join(format!("{name}.{ending}"))
    });
    let mover = thread::spawn({
        let files = files.clone();
        move || {
            for name in &files {
                while !from(name).join("copy").exists() {
                    thread::sleep(Duration::from_micros(20));
                }
                fs::rename(from(name), to(name)).unwrap();
            }
        }
    });
    for name in &files {
        host.write(name, "content");
    }
    mover.join().unwrap();
    for name in &files {
        // One that came too late is made again.
        let places = ["moved", "new"].map(|ending| format!("{name}.{ending}/copy"));
        host.wait_for(&places[0], |host| {
            places.iter().any(|place| host.times_done("take", place) > 0).then_some(())
        });
    }
    host.stop().success();
}

#[test]
fn what_somebody_takes_away_again_and_again_is_not_made_for_ever() {
    let text = COPIES.replace("emits_copies = \"{temp}/out/new/deep\"", "emits_copies = \"{temp}/out\"");
    let text = text.replace("/scan.jsonl\"", "/scan.jsonl\", buffered = true, hold_flush = \"{temp}/hold\"");
    let host = copies(&text).set("plugin.scan.retry={ first = '1s' }");
    host.aside("hold", "");
    let host = host.start();
    host.write("a", "content");
    for time in 1..3 {
        host.wait_for("the flush", |host| (host.count_logged(&["holding the flush"]) == time).then_some(()));
        fs::remove_file(host.temp().join("out/a")).expect("it was made");
        fs::remove_file(host.temp().join("hold")).expect("it was there");
        if time == 1 {
            host.logged(&["scan", "failed to emit", "out/a", "it is not there any more"]);
            host.aside("hold", "");
        }
    }
    host.write("b", "content");
    host.handled("take", "b");
    let exit = host.stop();
    exit.success();
    assert_eq!((exit.times_done("scan", "a"), exit.attempts("take", "a").len()), (2, 0));
    assert_eq!(exit.lines(&["failed to emit"]).len(), 1);
}

#[test]
fn a_file_is_emitted_by_way_of_a_link_to_its_directory() {
    let host = copies(COPIES).set("scan.emits_copies='{temp}/out/link'");
    fs::create_dir(host.temp().join("out/real")).unwrap();
    symlink("real", host.temp().join("out/link")).unwrap();
    let host = host.start();
    host.write("a", "content");
    host.handled("take", "real/a");
    host.stop().success();
}

#[test]
fn a_file_whose_time_is_set_when_it_has_been_passed_is_looked_at_again() {
    let host = chain(CHAIN).start();
    host.aside("hold-take", "");
    host.write("first", "content");
    host.logged(&["take", "holding \"first\""]);
    host.write("a", "content");
    host.handled("scan", "a");
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
    // Without a close.
    let time = File::open(host.path("a")).unwrap();
    time.set_times(fs::FileTimes::new().set_modified(long_ago)).unwrap();
    fs::remove_file(host.temp().join("hold-take")).unwrap();
    host.handled("take", "a");
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.times_done("take", "a"), 1);
}

#[test]
fn of_roots_that_overlap_each_that_lies_above_is_asked_for_takers() {
    let text = COPIES.replace(
        "[plugin.scan]",
        r#"
[[watch]]
name = "deep"
path = "{temp}/out/new"

[plugin.scan]
"#,
    );
    let text = format!(
        r#"{text}
[plugin.other]
library = "recorder"
events = ["emitted"]
watch = ["deep"]
config = {{ out = "{{temp}}/other.jsonl" }}
"#
    );
    let host = copies(&text);
    fs::create_dir(host.temp().join("out/new")).unwrap();
    let host = host.start();
    host.write("a", "content");
    host.handled("take", "new/deep/a");
    host.write("last", "content");
    host.handled("take", "new/deep/last");
    let exit = host.stop();
    exit.success();
    assert!(exit.attempts("other", "deep/a").is_empty(), "its watch is not recursive");
}

#[test]
fn a_polled_root_is_as_any_other() {
    let text = CHAIN.replace("recursive = true", "recursive = true\npoll = \"50ms\"\nstable_for = \"100ms\"");
    let host = chain(&text).args(["--state-dir", "state"]).start();
    host.mkdir("sub");
    let files: Vec<_> = names(20).into_iter().map(|name| format!("sub/{name}")).collect();
    for name in &files {
        host.write(name, "content");
    }
    once(&host, &files);
    host.aside("hold-take", "");
    host.write("sub/held", "content");
    host.handled("scan", "sub/held");
    host.logged(&["take", "holding \"sub/held\""]);
    host.write("sub/behind", "content");
    host.handled("scan", "sub/behind");
    let place = killed(host);
    fs::remove_file(place.temp().join("hold-take")).unwrap();
    let host = next(&place, &text).start();
    host.all_handled("take", ["sub/held", "sub/behind"]);
    host.stop().success();
}

#[test]
fn a_directory_renamed_between_the_emit_and_the_take_takes_its_files_along_whatever_is_killed() {
    let host = chain(CHAIN).args(["--state-dir", "state"]).start();
    host.aside("hold-take", "");
    host.mkdir("a");
    let files = names(10);
    for name in &files {
        host.write(format!("a/{name}"), "content");
    }
    host.all_handled("scan", files.iter().map(|name| format!("a/{name}")));
    host.rename("a", "b");
    host.mkdir("a");
    host.write("a/0.txt", "another");
    host.handled("scan", "a/0.txt");
    let place = killed(host);
    place.rename("b", "c");
    fs::remove_file(place.temp().join("hold-take")).unwrap();
    let host = next(&place, CHAIN).start();
    host.all_handled("take", files.iter().map(|name| format!("c/{name}")));
    host.handled("take", "a/0.txt");
    host.stop().success();
}

#[test]
#[ignore = "not done: beside two busy loops one run in twenty has lost the hand-over of one of 300 files; see the README"]
fn a_file_that_makes_way_for_the_next_goes_on_under_its_new_name() {
    // Nobody tells `scan` of the renames: what it has passed it gets no second time.
    let text = CHAIN.replace("[plugin.scan]\nlibrary", "[plugin.scan]\nevents = [\"close_write\"]\nlibrary");
    let host = chain(&text).start();
    let count = 300;
    for n in 1..=count {
        host.write("log", "x".repeat(n));
        if n % 3 == 0 {
            host.answered("scan", "log", 1);
        }
        host.rename("log", format!("log.{n}"));
    }
    let sizes = |host: &Running, plugin: &str| -> BTreeSet<u64> {
        let done = host.records(plugin).into_iter().filter(|record| record.say == "done");
        done.filter_map(|record| record.event["size"].as_u64()).collect()
    };
    let all: BTreeSet<u64> = (1..=count as u64).collect();
    for plugin in ["scan", "take"] {
        host.wait_for(&format!("{plugin} to handle each"), |host| {
            let left: Vec<_> = all.difference(&sizes(host, plugin)).copied().collect();
            left.is_empty().then_some(())
        });
    }
    host.stop().success();
}

#[test]
fn of_a_file_that_is_written_again_and_again_the_last_goes_on_and_none_twice() {
    let host = chain(CHAIN).set("take.slow_ms=2").start();
    let count = 300;
    for n in 1..=count {
        host.write("a", "x".repeat(n));
    }
    host.wait_for("the last to be taken", |host| {
        let taken = host.attempts("take", "a");
        taken.iter().any(|record| record.event["size"] == count).then_some(())
    });
    host.write("last", "x");
    host.handled("take", "last");
    let exit = host.stop();
    exit.success();
    let taken = exit.attempts("take", "a");
    let versions: BTreeSet<_> = taken.iter().map(|record| record.event["id"].as_str()).collect();
    assert_eq!(versions.len(), taken.len(), "a version twice");
    assert!(
        exit.attempts("scan", "a").len() <= count,
        "a rescan's part in it is only what no event tells of"
    );
}
