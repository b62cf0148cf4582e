//! Who is told to end, and when.

use std::fs;
use std::time::{Duration, Instant};

use notifyit_tests::{Host, library};

use super::{answers, asking};

#[test]
fn a_handler_that_waits_is_told_when_the_host_stops_and_its_file_comes_again() {
    let host = asking().args(["--grace", "60s"]).start();
    host.write("a", "wait");
    host.logged(&["asks", "waits for its end"]);
    let begin = Instant::now();
    let exit = host.stop();
    assert!(begin.elapsed() < Duration::from_secs(30), "it was told");
    exit.success();
    assert!(!exit.lines(&["asks", "told to stop: true"]).is_empty());
    assert!(!exit.lines(&["asks", "stopping in its last call: true"]).is_empty());
}

#[test]
fn a_thread_of_its_own_is_told_and_the_drop_waits_for_it() {
    let host = asking().set("asks.thread=true").start();
    host.logged(&["asks", "its thread waits"]);
    answers(&host, "a", "count n 1", "done");
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.lines(&["asks", "its thread is told to stop: true"]).len(), 1);
}

#[test]
fn an_instance_that_panics_is_dropped_though_its_thread_waits() {
    let host = asking().set("asks.thread=true").start();
    host.write("a", "panic");
    host.logged(&["asks", "panic: done"]);
    assert!(host.count_logged(&["asks", "its thread waits"]) >= 1);
    answers(&host, "b", "count n 1", "done");
    host.stop().success();
}

#[test]
fn older_code_is_told_when_newer_code_takes_its_place_and_nobody_else() {
    let config = "[[watch]]\npath = \"{root}\"\n[plugin.asks]\nexclude = [\"other*\"]\n[plugin.asks.retry]\nfirst = \"1h\"\nmax = \"1h\"\n\
                  [plugin.other]\nlibrary = \"{plugins}/other.so\"\ninclude = [\"other*\"]\n";
    let host = Host::new().plugin("asks").config(config);
    fs::copy(library("asks"), host.plugins().join("other.so")).unwrap();
    let host = host.start();
    host.write("a", "wait");
    host.logged(&["asks", "waits for its end"]);
    host.write("other", "wait");
    host.logged(&["other", "waits for its end"]);
    let mut newer = fs::read(library("asks")).unwrap();
    newer.extend(b"newer");
    let aside = host.aside("newer.so", "");
    fs::write(&aside, newer).unwrap();
    fs::rename(aside, host.plugins().join("libnotifyit_asks.so")).unwrap();
    host.logged(&["asks", "is replaced"]);
    host.logged(&["asks", "told to stop: true"]);
    assert_eq!(host.count_logged(&["other: told to stop"]), 0);
    answers(&host, "b", "count n 1", "done");
    host.stop().success();
}

#[test]
fn one_that_is_removed_is_told() {
    let host = asking().args(["--grace", "60s"]).start();
    host.write("a", "wait");
    host.logged(&["asks", "waits for its end"]);
    fs::remove_file(host.plugins().join("libnotifyit_asks.so")).unwrap();
    host.logged(&["asks", "stopping in its last call: true"]);
    host.stop().success();
}
