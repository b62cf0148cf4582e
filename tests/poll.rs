//! Directories that are polled.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use notifyit_tests::{Host, Running, wait_for_a_tick};

/// A recorder whose directory is polled often, and whose files are complete soon.
fn polled(more: &str) -> Host {
    with_watch(&format!("recursive = true\npoll = \"50ms\"\nstable_for = \"100ms\"\n{more}"))
}

pub(crate) fn with_watch(watch: &str) -> Host {
    Host::new().plugin("recorder").config(&format!("[[watch]]\npath = \"{{root}}\"\n{watch}"))
}

pub(crate) fn origin(host: &Running, relative: &str) -> String {
    let attempts = host.attempts("recorder", relative);
    attempts[0].event["origin"].as_str().expect("an event has an origin").to_owned()
}

/// Waits until what was there has been looked at a few times more: a file that is written now is handled.
fn polled_again(host: &Running) {
    host.drained("recorder");
    host.drained("recorder");
}

#[test]
fn a_polled_directory_has_no_watch_and_its_new_files_are_handled() {
    let host = Host::new().plugin("recorder").args(["-r", "--poll=100ms"]);
    host.mkdir("sub/deeper");
    let host = host.start_and_look();
    host.logged(&["INFO", "is polled every 100ms, as was asked for"]);
    host.logged(&["ready: watching 3 directories"]);
    assert_eq!(host.watches(), 0);
    host.write("a.txt", "x");
    host.write("sub/deeper/b.txt", "x");
    host.handled("recorder", "a.txt");
    host.handled("recorder", "sub/deeper/b.txt");
    assert_eq!(origin(&host, "a.txt"), "rescan");
    assert_eq!(
        (host.times_done("recorder", "a.txt"), host.times_done("recorder", "sub/deeper/b.txt")),
        (1, 1)
    );
    host.stop().success();
}

#[test]
fn without_recursive_only_the_directory_itself_is_polled() {
    let host = with_watch("poll = \"50ms\"\nstable_for = \"100ms\"").start();
    host.mkdir("sub");
    host.write("sub/a.txt", "x");
    polled_again(&host);
    assert!(host.attempts("recorder", "sub/a.txt").is_empty());
    host.stop().success();
}

#[test]
fn a_polled_file_comes_once_for_each_version() {
    let host = polled("").start();
    for (times, content) in ["1", "22", "333"].into_iter().enumerate() {
        host.write("a.txt", content);
        host.answered("recorder", "a.txt", times + 1);
    }
    polled_again(&host);
    // Who may write, and the name's other places, are no part of a version.
    fs::set_permissions(host.path("a.txt"), fs::Permissions::from_mode(0o600)).unwrap();
    polled_again(&host);
    assert_eq!(host.times_done("recorder", "a.txt"), 3);
    host.rename("a.txt", "b.txt");
    host.handled("recorder", "b.txt");
    fs::remove_file(host.path("b.txt")).unwrap();
    polled_again(&host);
    host.write("b.txt", "again");
    host.answered("recorder", "b.txt", 2);
    host.stop().success();
}

#[test]
fn directories_are_found_by_listing_when_they_are_made_moved_in_and_gone() {
    let host = polled("exclude = [\"*.tmp\"]").start();
    host.mkdir("made/deep/deeper");
    host.write("made/deep/deeper/a.txt", "x");
    host.handled("recorder", "made/deep/deeper/a.txt");

    let outside = host.temp().join("outside");
    fs::create_dir_all(outside.join("sub")).unwrap();
    fs::write(outside.join("sub/b.txt"), "x").unwrap();
    fs::rename(&outside, host.path("moved-in")).unwrap();
    host.handled("recorder", "moved-in/sub/b.txt");

    host.mkdir("x.tmp/sub");
    host.write("x.tmp/sub/c.txt", "x");
    fs::remove_dir_all(host.path("made")).unwrap();
    polled_again(&host);
    assert!(host.attempts("recorder", "x.tmp/sub/c.txt").is_empty());
    host.mkdir("made/deep");
    host.write("made/deep/d.txt", "x");
    host.handled("recorder", "made/deep/d.txt");
    host.stop().success();
}

#[test]
fn a_renamed_directory_takes_along_what_is_known_of_its_files() {
    let host = polled("").start();
    for directory in ["a/sub", "b/sub"] {
        host.mkdir(directory);
        host.write(format!("{directory}/{}.txt", &directory[..1]), "x");
        host.handled("recorder", format!("{directory}/{}.txt", &directory[..1]));
    }
    host.rename("a", "swap");
    host.rename("b", "a");
    host.rename("swap", "b");
    polled_again(&host);
    host.rename("a/sub", "b/other");
    host.rename("b", "c");
    polled_again(&host);
    let done = |host: &Running| host.records("recorder").iter().filter(|r| r.say == "done").count();
    let markers = |host: &Running| {
        let is_marker = |path: &PathBuf| path.to_string_lossy().starts_with("marker");
        host.records("recorder").iter().filter(|r| r.relative.as_ref().is_some_and(is_marker)).count()
    };
    assert_eq!(done(&host) - markers(&host), 2, "nothing comes again");
    host.write("c/other/b.txt", "another");
    host.handled("recorder", "c/other/b.txt");
    host.stop().success();
}

#[test]
fn files_that_were_there_before_follow_existing() {
    for (existing, times) in [("skip", 0), ("deliver", 1)] {
        let host = polled(&format!("existing = \"{existing}\""));
        host.mkdir("sub");
        host.write("sub/old.txt", "x");
        host.write("rewritten.txt", "x");
        wait_for_a_tick();
        let host = host.start();
        if existing == "deliver" {
            host.handled("recorder", "sub/old.txt");
            assert_eq!(origin(&host, "sub/old.txt"), "start");
        }
        host.write("rewritten.txt", "more");
        host.write("new.txt", "x");
        host.handled("recorder", "rewritten.txt");
        host.handled("recorder", "new.txt");
        polled_again(&host);
        assert_eq!(host.times_done("recorder", "sub/old.txt"), times, "{existing}");
        host.stop().success();
    }
}

#[test]
fn a_polled_file_is_handled_when_it_has_not_changed_for_a_while() {
    let host = with_watch("poll = \"20ms\"\nstable_for = \"400ms\"").start();
    let mut file = File::create(host.path("a.open.txt")).unwrap();
    let mut written = Vec::new();
    for _ in 0..20 {
        file.write_all(b"x").unwrap();
        written.push(file.metadata().unwrap().modified().unwrap());
        std::thread::sleep(Duration::from_millis(40));
    }
    // Still open for writing: nobody could tell on a network.
    let answers = host.wait_for("all of it", |host| {
        let answers = host.attempts("recorder", "a.open.txt");
        answers.last().is_some_and(|last| last.event["size"] == 20).then_some(answers)
    });
    assert_eq!(answers[answers.len() - 1].text, "x".repeat(20));
    // On a busy machine it may have been the same for so long in between.
    for size in answers.iter().map(|answer| answer.event["size"].as_u64().unwrap()) {
        let size = usize::try_from(size).unwrap();
        let is_so = |next: &SystemTime| *next >= written[size - 1] + Duration::from_millis(380);
        assert!(written.get(size).is_none_or(is_so), "{size} of {written:?}");
    }
    drop(file);
    host.stop().success();
}

#[test]
fn polls_do_not_fill_the_queue_of_a_slow_plugin_nor_disturb_what_waits() {
    let host = polled("").set("recorder.slow_ms=30").set("plugin.recorder.queue=60").start();
    let names: Vec<String> = (0..40).map(|n| format!("{n}.txt")).collect();
    for name in &names {
        host.write(name, "x");
    }
    host.write("f.retry2", "x");
    host.all_handled("recorder", &names);
    host.answered("recorder", "f.retry2", 3);
    polled_again(&host);
    assert!(names.iter().all(|name| host.times_done("recorder", name) == 1));
    assert_eq!(host.attempts("recorder", "f.retry2").len(), 3);
    assert_eq!(host.count_logged(&["has fallen"]), 0);
    host.stop().success();
}

#[test]
fn a_lane_that_is_too_short_for_a_poll_gets_all_the_same() {
    let host = polled("").set("plugin.recorder.queue=5").start();
    let names: Vec<String> = (0..60).map(|n| format!("{n}.txt")).collect();
    for name in &names {
        host.write(name, "x");
    }
    host.all_handled("recorder", &names);
    host.stop().success();
}

#[test]
fn a_polled_root_that_goes_away_has_lost_nothing() {
    let host = polled("").start();
    host.mkdir("sub");
    host.write("sub/a.txt", "x");
    host.handled("recorder", "sub/a.txt");
    fs::rename(host.root(), host.temp().join("away")).unwrap();
    host.logged(&["WARN", "failed to poll", "trying again"]);
    fs::rename(host.temp().join("away"), host.root()).unwrap();
    host.logged(&["INFO", "polling", "again"]);
    polled_again(&host);
    assert_eq!(host.times_done("recorder", "sub/a.txt"), 1);
    assert_eq!(host.count_logged(&["failed to poll"]), 1);
    host.stop().success();
}

#[test]
fn polled_and_watched_directories_live_side_by_side() {
    let host = Host::new().plugin("recorder");
    let other = host.temp().join("other");
    fs::create_dir(&other).unwrap();
    let host = host
        .config(
            "[[watch]]\npath = \"{root}\"\nrecursive = true\npoll = \"50ms\"\nstable_for = \"100ms\"\n\
             [[watch]]\npath = \"{temp}/other\"\nrecursive = true\n",
        )
        .start();
    assert_eq!(host.watches(), 1);
    host.mkdir("a/b");
    host.write("a/b/polled.txt", "x");
    fs::create_dir(other.join("sub")).unwrap();
    fs::write(other.join("sub/watched.txt"), "x").unwrap();
    host.handled("recorder", "a/b/polled.txt");
    host.handled("recorder", "sub/watched.txt");
    host.stop().success();
}

#[test]
fn a_polled_root_may_appear_later() {
    let host = Host::new().plugin("recorder").args(["--poll=50ms", "--wait"]);
    let missing = host.temp().join("missing");
    let host = host.watching([missing.as_os_str()]).spawn();
    host.logged(&["is not there yet"]);
    fs::create_dir(&missing).unwrap();
    fs::write(missing.join("a.txt"), "x").unwrap();
    host.handled("recorder", "a.txt");
    host.stop().success();
}

#[test]
fn what_is_written_wrong_about_polling_is_told() {
    let exit = with_watch("poll = \"1s\"\nbackend = \"inotify\"").run();
    exit.code(78).one_error(&["poll", "backend = \"inotify\"", "leave one out"]);
    let exit = with_watch("backend = \"fanotify\"").run();
    exit.code(78).one_error(&["fanotify", "auto", "inotify", "poll"]);
}

#[test]
fn check_says_that_a_directory_is_polled() {
    let host = Host::new().named_plugin("print").verb("check").args(["-p", "print", "--poll"]);
    let exit = host.run();
    exit.success();
    assert_eq!(exit.lines(&["is polled every 10s"]).len(), 1);
}
