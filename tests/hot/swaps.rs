//! New code for a plugin that is at work.

use std::fs;
use std::time::{Duration, Instant};

use notifyit_tests::{Host, library, recorder, recorder_of_closes};

use super::{FILE, each_once, install, overwrite, running, works};

/// In the slow profile as many as the promise says.
fn many(normal: usize, slow: usize) -> usize {
    if std::env::var_os("NOTIFYIT_TESTS_SLOW").is_some() { slow } else { normal }
}

fn numbered(count: usize) -> impl Iterator<Item = String> {
    (0..count).map(|number| format!("f{number}"))
}

#[test]
fn a_replaced_plugin_runs_its_new_code_and_the_old_one_is_shut_down() {
    let host = running("one").start();
    works(&host, "one");
    install(&host, FILE, &recorder("two"));
    works(&host, "two");
    host.logged(&["INFO", "plugin `recorder` is replaced"]);
    let shut = |build: &str| host.records("recorder").iter().any(|r| r.say == "shutdown" && r.build == build);
    host.wait_for("the old instance to be shut down", |_| shut("one").then_some(()));
    assert!(!shut("two"));
}

#[test]
fn under_load_each_event_is_handled_once_whatever_is_replaced() {
    let host = running("v0").start();
    works(&host, "v0");
    let files = many(6_000, 50_000);
    let mut writer = host.writer_of(files);
    for version in 1..=20 {
        install(&host, FILE, &recorder(&format!("v{version}")));
        let build = format!("v{version}");
        host.wait_for("the new code to be made", |host| {
            host.records("recorder").iter().any(|r| r.build == build).then_some(())
        });
    }
    assert!(writer.wait().expect("a child").success());
    host.all_handled_within("recorder", numbered(files), Duration::from_secs(120));
    each_once(&host, numbered(files));
}

#[test]
fn each_worker_changes_over_when_it_has_finished_its_event() {
    let host = running("one").set("plugin.recorder.workers=2").set("recorder.hold='{temp}/hold'").start();
    let held = host.aside("hold", "");
    // One worker is at an event that does not come back for now.
    host.write("stuck", "x");
    host.logged(&["holding", "stuck"]);
    install(&host, FILE, &recorder("two"));
    let calls = |say: &str, build: &str| {
        host.records("recorder").iter().filter(|r| r.say == say && r.build == build).count()
    };
    host.wait_for("the idle worker to change over", |_| (calls("shutdown", "one") == 1).then_some(()));
    assert_eq!((calls("new", "two"), host.count_logged(&["is replaced"])), (2, 0));
    fs::remove_file(held).expect("it is there");
    host.logged(&["plugin `recorder` is replaced"]);
    let stuck = host.answered("recorder", "stuck", 1);
    assert_eq!((stuck.len(), stuck[0].build.as_str(), calls("shutdown", "one")), (1, "one", 2));
}

#[test]
fn what_is_refused_leaves_the_old_code_at_work_and_the_log_says_why() {
    let host = running("one").start();
    works(&host, "one");
    let path = host.plugins().join(FILE);
    let bytes = recorder("two");
    for (broken, words) in [
        (bytes[..bytes.len() / 2].to_vec(), "it is incomplete"),
        (
            b"no library at all, but a text of some length, which is longer than a header".to_vec(),
            "not an ELF file",
        ),
        (fs::read(library("other-major")).expect("it is built"), "not the same major version"),
        (recorder("no-new"), "told to fail for now"),
        (recorder("rejects"), "told to reject"),
    ] {
        overwrite(&path, &broken);
        let line = host.logged(&["WARN", words]);
        assert!(line.contains("goes on"), "{line}");
        host.alive("recorder");
        let last = host.records("recorder").into_iter().rfind(|r| r.say == "done").expect("one");
        assert_eq!(last.build, "one");
    }
    overwrite(&path, &bytes);
    works(&host, "two");
}

#[test]
fn one_that_asks_for_other_events_takes_the_place_of_the_old_lane() {
    let Some(other) = recorder_of_closes() else { return };
    let host = running("one").arg("-r").start();
    works(&host, "one");
    // A hard link lands, but is not closed after writing.
    host.write("a", "x");
    host.handled("recorder", "a");
    fs::hard_link(host.path("a"), host.path("linked")).expect("a link");
    host.handled("recorder", "linked");
    install(&host, FILE, &other);
    host.logged(&["plugin `recorder` is replaced: 0.2.0", "runs now, in the place of 0.1.0"]);
    host.drained("recorder");
    fs::hard_link(host.path("a"), host.path("linked too")).expect("a link");
    host.drained("recorder");
    assert_eq!(host.times_done("recorder", "linked too"), 0);
    install(&host, FILE, &recorder("three"));
    host.logged(&["in the place of 0.2.0"]);
    works(&host, "three");
    fs::hard_link(host.path("a"), host.path("linked again")).expect("a link");
    host.handled("recorder", "linked again");
    each_once(&host, ["a", "linked", "linked again"].into_iter().map(str::to_owned));
}

#[test]
fn a_host_that_stops_does_not_wait_for_a_lane_that_waits_for_its_turn() {
    let Some(other) = recorder_of_closes() else { return };
    let host = running("one").set("recorder.hold='{temp}/hold'").args(["--grace", "200ms"]);
    host.aside("hold", "");
    let host = host.start();
    host.write("stuck", "x");
    host.logged(&["holding", "stuck"]);
    install(&host, FILE, &other);
    host.logged(&["plugin `recorder` is replaced: 0.2.0"]);
    host.write("for the new one", "x");
    // The call before it does not come back.
    host.stop().success();
}

#[test]
fn what_is_replaced_ten_times_a_second_ends_with_the_last() {
    let host = running("v0").start();
    works(&host, "v0");
    for version in 1..=20 {
        let begin = Instant::now();
        overwrite(&host.plugins().join(FILE), &recorder(&format!("v{version}")));
        std::thread::sleep(Duration::from_millis(100).saturating_sub(begin.elapsed()));
    }
    works(&host, "v20");
    host.logged(&["plugin `recorder` is replaced"]);
    assert_eq!(host.count_logged(&["WARN"]) + host.count_logged(&["ERROR"]), 0);
}

#[test]
fn new_code_that_hangs_in_its_start_holds_up_neither_the_old_nor_others_nor_what_comes_next() {
    let host = running("one").set("recorder.hold_new='{temp}/hold'").start();
    works(&host, "one");
    let hold = host.aside("hold", "");
    install(&host, FILE, &recorder("hang-new"));
    host.logged(&["holding the start"]);
    host.drained("recorder");
    install(&host, "libnotifyit_print.so", &fs::read(library("print")).expect("it is built"));
    host.logged(&["plugin `print`", "runs now"]);
    host.alive("print");
    install(&host, FILE, &recorder("two"));
    host.logged(&["plugin `recorder` is replaced"]);
    fs::remove_file(hold).expect("it is there");
    works(&host, "two");
    host.wait_for("what came too late to be shut down", |host| {
        host.records("recorder").iter().any(|r| r.say == "shutdown" && r.build == "hang-new").then_some(())
    });
    works(&host, "two");
    host.stop().success();
}

#[test]
fn new_code_that_is_replaced_before_it_is_at_work_and_hangs_in_its_end_holds_up_nobody() {
    let host = running("one").set("recorder.hold='{temp}/hold'").set("recorder.hold_end='{temp}/hold'");
    let _hold = host.aside("hold", "");
    let host = host.args(["--grace", "300ms"]).start();
    host.write("stuck", "x");
    host.logged(&["holding", "stuck"]);
    for build in ["hang-end", "two"] {
        install(&host, FILE, &recorder(build));
        host.wait_for("it to be made", |host| {
            host.records("recorder").iter().any(|r| r.say == "new" && r.build == build).then_some(())
        });
    }
    host.logged(&["holding the end"]);
    install(&host, "libnotifyit_print.so", &fs::read(library("print")).expect("it is built"));
    host.logged(&["plugin `print`", "runs now"]);
    host.alive("print");
    host.stop().success();
}

#[test]
fn what_fails_while_other_code_takes_over_changes_nothing_of_that() {
    let host = running("one").set("plugin.recorder.workers=2").set("recorder.hold='{temp}/hold'").start();
    let hold = host.aside("hold", "");
    host.write("stuck", "x");
    host.logged(&["holding", "stuck"]);
    let ended =
        |build: &str| host.records("recorder").iter().any(|r| r.say == "shutdown" && r.build == build);
    install(&host, FILE, &recorder("two"));
    host.wait_for("the idle worker to change over", |_| ended("one").then_some(()));
    install(&host, FILE, &recorder("no-new"));
    host.logged(&["WARN", "told to fail for now", "goes on"]);
    // Back to what ran first: one worker runs other code by now.
    install(&host, FILE, &recorder("one"));
    host.wait_for("the idle worker to change back", |_| ended("two").then_some(()));
    fs::remove_file(hold).expect("it is there");
    host.logged(&["plugin `recorder` is replaced"]);
    for number in 0..20 {
        host.write(format!("f{number}"), "x");
        host.handled("recorder", format!("f{number}"));
    }
    let files = host.records("recorder").into_iter().filter(|r| r.say == "done");
    assert!(files.filter(|r| r.relative.is_some()).all(|r| r.build == "one"));
}

#[test]
fn a_lane_that_takes_the_place_of_another_waits_for_the_call_in_hand() {
    let Some(other) = recorder_of_closes() else { return };
    let host = running("one").set("recorder.hold='{temp}/hold'").start();
    let hold = host.aside("hold", "");
    host.write("slow900ms", "x");
    host.logged(&["holding", "slow900ms"]);
    host.write("queued", "x");
    install(&host, FILE, &other);
    host.logged(&["plugin `recorder` is replaced"]);
    fs::remove_file(hold).expect("it is there");
    host.handled("recorder", "slow900ms");
    host.handled("recorder", "queued");
    host.write("next", "x");
    host.handled("recorder", "next");
    each_once(&host, ["slow900ms", "queued", "next"].into_iter().map(str::to_owned));
    assert_eq!((host.count_logged(&["WARN"]), host.count_logged(&["has not handled"])), (0, 0));
}

#[test]
fn many_replacements_leave_no_descriptor_and_only_the_libraries() {
    let host = running("r0").start();
    works(&host, "r0");
    let count = many(30, 1000);
    let descriptors =
        || fs::read_dir(format!("/proc/{}/fd", host.pid().as_raw_nonzero())).expect("/proc is there").count();
    let resident = || {
        let status = fs::read_to_string(format!("/proc/{}/status", host.pid().as_raw_nonzero()));
        let status = status.expect("/proc is there");
        let line = status.lines().find(|line| line.starts_with("RssAnon:")).expect("the kernel tells");
        line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).expect("a number")
    };
    let (mut before, mut memory) = (0, 0);
    for version in 1..=count {
        let build = format!("r{version}");
        install(&host, FILE, &recorder(&build));
        host.wait_for("the new code", |host| {
            host.records("recorder").iter().any(|r| r.say == "new" && r.build == build).then_some(())
        });
        if version == 5 {
            (before, memory) = (descriptors(), resident());
        }
    }
    works(&host, &format!("r{count}"));
    // A look at the plugin files, a probe: there may be one more for a moment.
    let flat = notifyit_tests::until(|| (descriptors() <= before).then_some(()));
    assert!(flat.is_some(), "{} descriptors, {before} before", descriptors());
    let each = resident().saturating_sub(memory) / u64::try_from(count - 5).expect("few");
    assert!(each < 1024, "{each} KiB for each replacement");
    notifyit_tests::say(&format!("{count} replacements: {before} descriptors, {each} KiB each"));
}

#[test]
fn a_file_that_was_asked_for_is_followed_too() {
    let host = Host::new();
    let out = host.temp().join("recorder.jsonl");
    let file = host.temp().join("named/libnotifyit_recorder.so");
    fs::write(&file, recorder("one")).expect("the directory is ours");
    let host = host.env("RECORDER_OUT", out).args(["-p".as_ref(), file.as_os_str()]).start();
    works(&host, "one");
    overwrite(&file, &recorder("two"));
    works(&host, "two");
}
