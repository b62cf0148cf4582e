//! When the plugin is in trouble: what waits is neither lost nor blamed, and the lane finds its way out.

use std::fs;
use std::path::{Path, PathBuf};

use notifyit_tests::{Host, Running};

fn recorder(retry: &str) -> Host {
    Host::new().plugin("recorder").set(&format!("plugin.recorder.retry={retry}"))
}

/// Holds `first` in hand, so that what is written now comes in one burst.
fn held(host: Host) -> (Running, PathBuf) {
    let host = host.plugin("print").set("recorder.hold='{temp}/hold'");
    let hold = host.aside("hold", "");
    // What that look finds is flushed for, and would end the burst.
    let host = host.start_and_look();
    host.write("first", "x");
    host.logged(&["holding", "first"]);
    (host, hold)
}

/// Lets go of it, when these files are queued behind it: `print` has them then.
fn let_go<P: AsRef<Path>>(host: &Running, hold: &Path, files: impl IntoIterator<Item = P>) {
    host.all_handled("print", files);
    fs::remove_file(hold).expect("it is held");
}

fn nothing_is_left(host: Running) {
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.lines(&["unhandled"]), [""; 0]);
}

/// Has one instance said that this file is done, and flushed after that?
fn is_safe(host: &Running, name: &str) -> bool {
    let records = host.records("recorder");
    let done =
        records.iter().rposition(|r| r.say == "done" && r.relative.as_deref() == Some(Path::new(name)));
    done.is_some_and(|at| {
        let later = &records[at..];
        later.iter().any(|r| r.say == "flush" && r.instance == records[at].instance)
    })
}

#[test]
fn a_paused_lane_is_not_held_up_by_files_that_are_gone() {
    let host = recorder(r#"{first="20ms",max="100ms"}"#).set("recorder.fail_while='{temp}/broken'");
    let broken = host.aside("broken", "");
    let host = host.start();
    for n in 0..30 {
        host.write(format!("{n}.txt"), "x");
    }
    host.logged(&["recorder", "paus"]);
    for n in 0..30 {
        fs::remove_file(host.path(format!("{n}.txt"))).unwrap();
    }
    fs::remove_file(broken).unwrap();
    host.write("later.txt", "x");
    host.handled("recorder", "later.txt");
    host.logged(&["works again"]);
    host.stop().success();
}

#[test]
fn files_that_always_fail_do_not_hold_up_those_behind_them() {
    let host = recorder(r#"{first="10ms",max="50ms"}"#).start();
    for n in 0..12 {
        host.write(format!("{n}.retry.txt"), "x");
    }
    host.logged(&["recorder", "paus"]);
    for n in 0..12 {
        host.write(format!("{n}.txt"), "x");
    }
    host.all_handled("recorder", (0..12).map(|n| format!("{n}.txt")));
    host.stop().success();
}

#[test]
fn a_long_burst_whose_flush_fails_once_is_tried_again_soon() {
    // The longest pause is ten minutes.
    let (host, hold) = held(recorder(r#"{first="20ms"}"#).set("recorder.failing_flushes=1"));
    for n in 0..300 {
        host.write(format!("{n}.txt"), "x");
    }
    let_go(&host, &hold, (0..300).map(|n| format!("{n}.txt")));
    host.logged(&["the flush failed"]);
    host.wait_for("each file to be safe", |host| {
        (0..300).all(|n| is_safe(host, &format!("{n}.txt"))).then_some(())
    });
    // One pause for all of them; none if the flush that failed was for the first alone, as may be on a busy machine.
    assert!(host.count_logged(&["recorder", "pauses"]) <= 1);
    host.drained("recorder");
    nothing_is_left(host);
}

#[test]
fn what_an_instance_has_not_flushed_before_it_panics_is_handled_anew_and_not_blamed() {
    let (host, hold) = held(recorder(r#"{first="20ms",attempts=1}"#));
    for n in 0..20 {
        host.write(format!("{n}.txt"), "x");
    }
    host.write("panic", "x");
    host.write("last.txt", "x");
    let_go(&host, &hold, ["panic", "last.txt"]);
    host.logged(&["gave up on", "panic"]);
    host.wait_for("each file to be safe", |host| {
        (0..20).all(|n| is_safe(host, &format!("{n}.txt"))).then_some(())
    });
    host.wait_for("the last file to be safe", |host| is_safe(host, "last.txt").then_some(()));
    assert!(host.records("recorder").iter().all(|r| r.attempt <= 1), "nobody else is blamed");
    assert_eq!(host.count_logged(&["gave up on"]), 1);
    assert_eq!(host.count_logged(&["pauses"]), 0);
    nothing_is_left(host);
}

#[test]
fn a_file_that_came_twice_in_a_burst_whose_flush_failed_is_counted_once() {
    let (host, hold) = held(recorder(r#"{first="20ms"}"#).set("recorder.failing_flushes=1"));
    for n in 0..5 {
        host.write("a.txt", format!("{n}"));
        host.write("b.txt", format!("{n}"));
    }
    let_go(&host, &hold, ["a.txt", "b.txt"]);
    host.wait_for("both to be safe", |host| (is_safe(host, "a.txt") && is_safe(host, "b.txt")).then_some(()));
    host.drained("recorder");
    nothing_is_left(host);
}

/// A host with a short queue, where each file fails and waits for its next try while `broken` is there.
fn all_wait() -> (Running, PathBuf) {
    let host = recorder(r#"{first="300ms",max="300ms"}"#).args(["-e", "close-write"]);
    let host = host.set("recorder.fail_while='{temp}/broken'").set("plugin.recorder.queue=4");
    let broken = host.aside("broken", "");
    (host.start(), broken)
}

#[test]
fn a_waiting_file_that_is_renamed_is_not_replaced_by_the_next_of_its_old_name() {
    let (host, broken) = all_wait();
    host.write("log", "old");
    host.answered("recorder", "log", 1);
    host.rename("log", "log.1");
    host.write("log", "newer");
    host.wait_for("the newer one to wait, too", |host| {
        host.attempts("recorder", "log").iter().any(|r| r.event["size"] == 5).then_some(())
    });
    fs::remove_file(broken).unwrap();
    host.handled("recorder", "log");
    host.handled("recorder", "log.1");
    nothing_is_left(host);
}

#[test]
fn a_waiting_file_that_is_renamed_onto_another_waiting_one_takes_its_place() {
    let (host, broken) = all_wait();
    for n in 0..6 {
        let before = host.attempts("recorder", "to.open").len();
        host.write(format!("{n}.open"), format!("{n}"));
        host.write("to.open", "x");
        host.answered("recorder", "to.open", before + 1);
        host.answered("recorder", format!("{n}.open"), 1);
        host.rename(format!("{n}.open"), "to.open");
        fs::remove_file(&broken).unwrap();
        host.wait_for("the one that is left", |host| {
            let answers = host.attempts("recorder", "to.open");
            answers.iter().any(|r| r.say == "done" && r.text == format!("{n}")).then_some(())
        });
        host.drained("recorder");
        host.aside("broken", "");
    }
    // The other event may still wait, to find that all is done. It is due before the second of these.
    for last in ["last1.open", "last2.open"] {
        host.aside("broken", "");
        host.write(last, "x");
        host.answered("recorder", last, 1);
        fs::remove_file(&broken).unwrap();
        host.handled("recorder", last);
    }
    host.drained("recorder");
    nothing_is_left(host);
}
