//! Handlers that write to the file that they handle, and others who write to it at the same time.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use notifyit_tests::{Host, Record, Running};

const FILES: usize = 200;

fn host() -> Host {
    let host = Host::new().plugin("recorder").set(r#"plugin.recorder.exclude=["*.part"]"#);
    host.set(r#"plugin.recorder.retry={first="100ms"}"#)
}

/// The answers for this file, when all that the host was told has been handled.
fn times(host: &Running, name: &str) -> usize {
    // What a handler has closed lies in the kernel's queue before a file that is written then.
    host.drained("recorder");
    host.attempts("recorder", name).len()
}

/// With a ledger in memory, and with one on disk.
fn each(check: impl Fn(Host)) {
    check(host());
    let on_disk = host();
    let directory = on_disk.temp().join("state");
    check(on_disk.arg("--state-dir").arg(directory));
}

fn content(host: &Running, name: &str) -> String {
    fs::read_to_string(host.path(name)).expect("the file is there")
}

#[test]
fn a_handler_that_opens_its_file_for_writing_and_writes_nothing_gets_it_once() {
    each(|host| {
        let host = host.start();
        for name in ["a.open.reopen", "b.reopen.reject"] {
            host.write(name, "1");
            host.answered("recorder", name, 1);
            assert_eq!(times(&host, name), 1, "{name}");
            host.write(name, "2");
            host.answered("recorder", name, 2);
            assert_eq!(times(&host, name), 2, "{name}");
        }
        let queued: Vec<String> = (0..FILES).map(|n| format!("{n}.reopen")).collect();
        queued.iter().for_each(|name| host.write(name, "x"));
        host.all_handled("recorder", &queued);
        host.drained("recorder");
        let answers = host.records("recorder").into_iter().filter_map(|record| record.relative);
        let answers: Vec<_> = answers.filter(|name| queued.iter().any(|queued| name == queued)).collect();
        assert_eq!(answers.len(), FILES, "each once");
        host.stop().success();
    });
}

#[test]
fn a_failed_attempt_that_opened_its_file_for_writing_waits_for_its_time() {
    let host = host().set(r#"plugin.recorder.retry={first="400ms"}"#).start();
    host.write("a.reopen.retry2", "x");
    let answers = host.answered("recorder", "a.reopen.retry2", 3);
    let attempts: Vec<u64> = answers.iter().map(|answer| answer.attempt).collect();
    assert_eq!(attempts, [1, 2, 3], "its own close is no new version");
    assert!(answers[1].at - answers[0].at >= Duration::from_millis(300));
    host.stop().success();
}

#[test]
fn a_handler_that_says_that_it_rewrote_its_file_gets_it_once() {
    each(|host| {
        let host = host.start();
        for name in ["a.rewrote", "b.replace"] {
            host.write(name, "1");
            host.handled("recorder", name);
            assert_eq!((times(&host, name), content(&host, name)), (1, "1+".to_owned()), "{name}");
            host.write(name, "2");
            host.answered("recorder", name, 2);
            assert_eq!((times(&host, name), content(&host, name)), (2, "2+".to_owned()), "{name}");
        }
        host.stop().success();
    });
}

#[test]
fn a_handler_that_goes_round_in_circles_is_slowed_down_and_told_so() {
    let host = host().start();
    host.write("a.rewrite", "");
    let answers = host.answered("recorder", "a.rewrite", 8);
    let pause = |n: usize| answers[n].at - answers[n - 1].at;
    for (n, least) in [(5, 75), (6, 150), (7, 300)] {
        assert!(pause(n) >= Duration::from_millis(least), "{n}: {:?}", pause(n));
    }
    // It is said with the first pause.
    let words =
        ["WARN", "recorder", "a.rewrite", "again and again", "last 5 calls", "rewrote()", "rewrites = true"];
    host.logged(&words);
    assert_eq!(host.count_logged(&["again and again"]), 1);
    // Others are not held up, and another's version is not lost in between.
    host.alive("recorder");
    host.write("a.rewrite", "new");
    host.wait_for("the new version", |host| {
        host.attempts("recorder", "a.rewrite").iter().any(|a| a.text.starts_with("new")).then_some(())
    });
    host.stop();
}

#[test]
fn two_closes_in_each_call_are_no_storm() {
    let host = host().start();
    host.write("a.rewrite.slow5ms.rewrite", "");
    host.logged(&["WARN", "again and again"]);
    let before = host.attempts("recorder", "a.rewrite.slow5ms.rewrite").len();
    assert!(before < 20, "{before}");
    let answers = host.answered("recorder", "a.rewrite.slow5ms.rewrite", before + 3);
    let last = &answers[before..before + 3];
    assert!(last[2].at - last[0].at >= Duration::from_millis(300), "{answers:?}");
    host.stop();
}

/// Writes each file again, at another moment of its handling each, and waits until `is_well` says of every file's
/// content, and of what the handler last read in it, that its last version was handled.
fn race(words: &str, is_well: impl Fn(&str, Option<&str>) -> bool) {
    let host = host().set("recorder.slow_ms=2").set("plugin.recorder.workers=2").start();
    let names: Vec<String> = (0..FILES).map(|n| format!("{n}.{words}")).collect();
    for (n, name) in names.iter().enumerate() {
        host.write(name, "one");
        std::thread::sleep(Duration::from_micros(n as u64 * 7_919 % 6_000));
        overwrite(&host.path(name));
    }
    host.wait_for("the last version of each file", |host| {
        std::thread::sleep(Duration::from_millis(20)); // there is much to read
        let records = host.records("recorder").into_iter();
        let last: HashMap<PathBuf, String> =
            records.filter_map(|record| Some((record.relative?, record.text))).collect();
        let handled = |name: &str| last.get(Path::new(name)).map(String::as_str);
        names.iter().all(|name| is_well(&content(host, name), handled(name))).then_some(())
    });
    host.stop().success();
}

/// In place, in one stroke: a handler never reads half of it.
fn overwrite(path: &Path) {
    use std::os::unix::fs::FileExt;
    let file = fs::File::options().write(true).open(path).expect("the file is there");
    file.write_all_at(b"two", 0).expect("it can be written");
}

#[test]
fn a_version_that_another_writes_while_its_file_is_opened_for_writing_is_handled() {
    race("open.reopen", |content, handled| handled == Some(content));
}

#[test]
fn a_version_that_another_writes_while_its_file_is_replaced_is_handled() {
    race("replace", |content, handled| handled.is_some_and(|text| content == format!("{text}+")));
}

#[test]
fn versions_that_come_soon_after_a_delivery_wait_and_the_last_one_comes() {
    let host = host().set("plugin.recorder.coalesce=1s").start();
    host.write("a.open", "first");
    host.handled("recorder", "a.open");
    for version in 0..5 {
        host.write("a.open", format!("version {version}"));
    }
    let answers = host.wait_for("the last version", |host| {
        let answers = host.attempts("recorder", "a.open");
        answers.last().is_some_and(|last| last.text == "version 4").then_some(answers)
    });
    // There are two, unless to write took longer than a second.
    let is_late = |pair: &[Record]| pair[1].at - pair[0].at >= Duration::from_millis(990);
    assert!(answers.windows(2).all(is_late), "{answers:?}");
    host.drained("recorder");
    assert_eq!(host.attempts("recorder", "a.open").len(), answers.len());
    host.stop().success();
}

#[test]
fn a_version_that_waits_for_its_time_is_unfinished_and_is_not_lost_by_a_stop() {
    let host = host().arg("--state-dir").arg("state").set("plugin.recorder.coalesce=1h").start();
    host.write("a.open", "first");
    // The first does not wait, nor do others.
    host.handled("recorder", "a.open");
    for version in 0..5 {
        host.write("a.open", format!("version {version}"));
        host.write(format!("{version}.open"), "another file");
    }
    host.all_handled("recorder", (0..5).map(|n| format!("{n}.open")));
    host.drained("recorder");
    assert_eq!(host.attempts("recorder", "a.open").len(), 1);
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.lines(&["has not handled", "a.open"]).len(), 1);
}
