//! Stopping: what was begun is finished, what was left is counted.

use std::fs;
use std::time::{Duration, Instant};

use notifyit_tests::{DEADLINE, Host, Running};
use rustix::process::Signal;

/// A host whose `recorder` has one event in hand and does not let go of it.
fn holding(config: &str) -> (Running, std::path::PathBuf) {
    let text = format!("{config}\n[[watch]]\npath = \"{{root}}\"\n");
    let host = Host::new().plugin("recorder").config(&text).set("recorder.hold='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("a.txt", "x");
    host.logged(&["holding", "a.txt"]);
    (host, hold)
}

#[test]
fn both_signals_end_it_well() {
    for signal in [Signal::TERM, Signal::INT] {
        let host = Host::new().plugin("recorder").start();
        host.alive("recorder");
        host.signal(signal);
        let exit = host.wait();
        exit.success();
        assert_eq!(exit.records("recorder").last().map(|r| r.say.clone()).as_deref(), Some("shutdown"));
    }
}

#[test]
fn an_attempt_in_flight_is_finished() {
    let (host, hold) = holding("");
    host.signal(Signal::TERM);
    fs::remove_file(hold).unwrap();
    let exit = host.wait();
    exit.success();
    assert_eq!(exit.times_done("recorder", "a.txt"), 1);
}

#[test]
fn no_longer_than_grace_is_waited_for_a_plugin() {
    let (host, _hold) = holding("[host]\ngrace = \"300ms\"");
    let begin = Instant::now();
    // It is held for ever.
    let exit = host.stop();
    assert!(begin.elapsed() >= Duration::from_millis(300), "{:?}", begin.elapsed());
    exit.success();
    assert!(!exit.lines(&["recorder", "a.txt"]).is_empty(), "what was in hand is named");
}

#[test]
fn nor_for_each_of_its_workers() {
    let host = Host::new().plugin("recorder").set("plugin.recorder.workers=32");
    let host = host.set("recorder.hold='{temp}/hold'").args(["--grace", "3s"]);
    let _hold = host.aside("hold", "");
    let host = host.start();
    (0..200).for_each(|number| host.write(format!("f{number}"), "x"));
    host.wait_for("many calls", |host| (host.count_logged(&["holding"]) > 25).then_some(()));
    // For each of them that would take longer than anything may here.
    const { assert!(DEADLINE.as_secs() < 32 * 3) };
    host.stop().success();
}

#[test]
fn a_second_signal_leaves_at_once() {
    let (host, _hold) = holding("[host]\ngrace = \"10m\"");
    host.signal(Signal::TERM);
    host.logged(&["stopping"]);
    host.signal(Signal::TERM);
    const { assert!(DEADLINE.as_secs() < 600) };
    host.wait().code(1);
}

#[test]
fn what_is_left_in_the_queue_is_counted() {
    let config = r#"
[host]
grace = "200ms"
[[watch]]
path = "{root}"
[plugin.recorder.config]
hold = "{temp}/hold"
slow_ms = 50
"#;
    let host = Host::new().plugin("print").plugin("recorder").config(config);
    let hold = host.aside("hold", "");
    // What that look finds counts once more, until it is known to be the same.
    let host = host.start_and_look();
    let files = 400;
    for n in 0..files {
        host.write(format!("{n:05}"), "x");
    }
    // When `print` has had the last one, the other lane has it in its queue. All of that takes twenty seconds.
    host.handled("print", format!("{:05}", files - 1));
    fs::remove_file(hold).unwrap();
    let exit = host.stop();
    exit.success();
    let done = exit.records("recorder").iter().filter(|r| r.say == "done").count();
    let left = files - done;
    assert!(left > 0, "the stop was to come in the middle");
    assert_eq!(exit.lines(&["recorder", "left", &left.to_string()]).len(), 1, "{left} were left");
}

#[test]
fn a_stop_under_load_loses_nothing_that_was_accepted() {
    // What the look at what is there finds, it tells in an order of its own.
    let host = Host::new().plugin("print").plugin("recorder").start_and_look();
    let first = 10_000;
    let mut writer = host.writer(first, first + 20_000);
    host.handled("print", "10500");
    let exit = host.stop();
    exit.success();
    writer.wait().expect("the writer");
    // One writer, one directory: what was accepted is an unbroken row from the first file on.
    let row = |count: usize| (first..first + count).map(|n| n.to_string()).collect::<Vec<_>>();
    let seen: Vec<_> = exit.records("recorder").into_iter().filter_map(|r| r.relative).collect();
    let seen: Vec<_> = seen.iter().map(|path| path.to_string_lossy().into_owned()).collect();
    assert!(seen.len() > 500);
    assert!(seen == row(seen.len()), "there is a hole in what was handled");
    let text = String::from_utf8_lossy(exit.stdout()).into_owned();
    assert!(text.ends_with('\n'), "the last line is whole");
    let prefix = format!("{}/", exit.root().display());
    let printed: Vec<_> = text.lines().filter_map(|line| line.strip_prefix(&prefix)).collect();
    assert!(printed == row(printed.len()), "there is a hole in what was printed");
}

#[test]
fn a_signal_during_a_start_that_hangs_ends_it() {
    let host = Host::new().plugin("recorder").set("recorder.out='{temp}/fifo'");
    let made = std::process::Command::new("mkfifo").arg(host.temp().join("fifo")).status();
    assert!(made.expect("mkfifo can be started").success());
    let host = host.spawn();
    let tasks = format!("/proc/{}/task", host.pid().as_raw_nonzero());
    host.wait_for("the worker, which makes the plugin", |_| {
        let names = fs::read_dir(&tasks).ok()?.flatten();
        let mut names = names.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.any(|name| name.starts_with("recorder/")).then_some(())
    });
    host.signal(Signal::TERM);
    host.wait().success();
}
