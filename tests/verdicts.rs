//! Every verdict and its consequence.

use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

use notifyit_tests::{Host, Record, Running};

fn recorder(retry: &str) -> Host {
    Host::new().plugin("recorder").set(&format!("plugin.recorder.retry={retry}"))
}

fn gaps(attempts: &[Record]) -> Vec<Duration> {
    attempts.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect()
}

fn says(attempts: &[Record]) -> Vec<&str> {
    attempts.iter().map(|record| record.say.as_str()).collect()
}

#[test]
fn a_file_that_is_done_comes_once() {
    let host = Host::new().plugin("recorder").start();
    host.write("a.txt", "x");
    host.handled("recorder", "a.txt");
    host.drained("recorder");
    let attempts = host.attempts("recorder", "a.txt");
    assert_eq!(says(&attempts), ["done"]);
    assert_eq!(attempts[0].attempt, 1);
    host.stop().success();
}

#[test]
fn an_error_is_tried_again_with_growing_pauses() {
    let host = recorder(r#"{first="20ms",max="1s"}"#).start();
    host.write("a.retry4.txt", "x");
    let attempts = host.answered("recorder", "a.retry4.txt", 5);
    assert_eq!(says(&attempts), ["retry", "retry", "retry", "retry", "done"]);
    assert_eq!(attempts.iter().map(|r| r.attempt).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    for (gap, nominal) in gaps(&attempts).into_iter().zip([20, 40, 80, 160]) {
        let least = Duration::from_millis(nominal).mul_f32(0.4); // there is jitter
        assert!(gap >= least, "{gap:?} is less than {least:?}");
    }
    let id = &attempts[0].event["id"];
    assert!(attempts.iter().all(|r| r.event["id"] == *id), "the same version keeps its id");
    host.stop().success();
}

#[test]
fn the_pauses_grow_no_longer_than_their_limit() {
    let host = recorder(r#"{first="10ms",max="30ms"}"#).start();
    host.write("a.retry15.txt", "x");
    // Unlimited, the last pause alone would be two minutes.
    host.handled("recorder", "a.retry15.txt");
    host.stop().success();
}

#[test]
fn an_error_is_logged_with_the_plugin_the_file_and_the_reason() {
    let host = recorder(r#"{first="10ms"}"#).start();
    host.write("a.retry1.txt", "x");
    host.logged(&["recorder", "a.retry1.txt", "told to retry in attempt 1"]);
    host.stop().success();
}

#[test]
fn a_plugin_can_ask_for_a_longer_pause() {
    let host = recorder(r#"{first="10ms"}"#).start();
    host.write("a.after400ms.txt", "x");
    let attempts = host.answered("recorder", "a.after400ms.txt", 2);
    assert_eq!(says(&attempts), ["retry", "done"]);
    assert!(gaps(&attempts)[0] >= Duration::from_millis(400), "{:?}", gaps(&attempts));
    host.stop().success();
}

#[test]
fn a_rejected_file_is_never_tried_again_and_logged_once() {
    let host = recorder(r#"{first="10ms"}"#).start();
    host.write("a.reject.txt", "x");
    host.write("b.txt", "x");
    host.handled("recorder", "b.txt");
    host.drained("recorder");
    assert_eq!(says(&host.attempts("recorder", "a.reject.txt")), ["reject"]);
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.lines(&["recorder", "a.reject.txt", "told to reject"]).len(), 1);
    assert_eq!(says(&exit.attempts("recorder", "a.reject.txt")), ["reject"]);
}

#[test]
fn a_file_is_given_up_after_the_last_attempt_and_a_person_is_told() {
    let host = recorder(r#"{first="10ms",attempts=3}"#).start();
    host.write("a.retry.txt", "x");
    host.logged(&["ERROR", "recorder", "a.retry.txt"]);
    host.drained("recorder");
    assert_eq!(says(&host.attempts("recorder", "a.retry.txt")), ["retry"; 3]);
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.lines(&["ERROR", "a.retry.txt"]).len(), 1);
}

#[test]
fn a_file_is_given_up_when_its_time_is_over() {
    let host = recorder(r#"{first="20ms",max="20ms",for="200ms"}"#).start();
    host.write("a.retry.txt", "x");
    host.logged(&["ERROR", "recorder", "a.retry.txt"]);
    let attempts = host.attempts("recorder", "a.retry.txt");
    assert!((2..50).contains(&attempts.len()), "{} attempts", attempts.len());
    host.stop().success();
}

#[test]
fn a_file_that_waits_for_its_next_attempt_holds_up_no_other() {
    let host = recorder(r#"{first="60s",max="60s"}"#).start();
    for n in 0..5 {
        host.write(format!("{n}.retry.txt"), "x");
    }
    host.write("b.txt", "x");
    host.handled("recorder", "b.txt");
    host.stop().success();
}

#[test]
fn a_newer_version_of_a_waiting_file_is_tried_at_once_and_from_the_start() {
    let host = recorder(r#"{first="60s",max="60s"}"#).set("recorder.fail_while='{temp}/broken'");
    let broken = host.aside("broken", "");
    let host = host.start();
    host.write("a.txt", "first");
    host.answered("recorder", "a.txt", 1);
    fs::remove_file(broken).unwrap();
    host.write("a.txt", "second version");
    host.handled("recorder", "a.txt");
    let attempts = host.attempts("recorder", "a.txt");
    assert_eq!(says(&attempts), ["retry", "done"]);
    assert_eq!(attempts[1].attempt, 1);
    assert_ne!(attempts[0].event["id"], attempts[1].event["id"]);
    host.stop().success();
}

#[test]
fn a_failed_flush_makes_its_burst_a_retry() {
    let host = recorder(r#"{first="10ms"}"#).set("recorder.failing_flushes=1").start();
    host.write("a.txt", "x");
    let attempts = host.answered("recorder", "a.txt", 2);
    assert_eq!(says(&attempts), ["done", "done"]);
    assert_eq!(attempts[1].attempt, 2);
    host.logged(&["recorder", "the flush failed"]);
    host.stop().success();
}

#[test]
fn a_flush_that_fails_because_something_is_away_costs_no_file_an_attempt() {
    let host = recorder(r#"{first="10ms",attempts=1}"#).set("recorder.failing_flushes=2");
    let host = host.set("recorder.away=true").start();
    host.write("a.txt", "x");
    host.logged(&["recorder", "pauses", "it is unavailable: failed to flush: told to be away"]);
    let attempts = host.answered("recorder", "a.txt", 3);
    assert_eq!(attempts.iter().map(|attempt| attempt.attempt).collect::<Vec<_>>(), [1, 1, 1]);
    host.logged(&["recorder", "works again"]);
    host.stop().success();
}

#[test]
fn what_is_away_is_left_alone_for_as_long_as_the_plugin_asks() {
    let host = recorder(r#"{first="1ms",max="1ms"}"#).start();
    host.write("a.away300ms.txt", "x");
    let attempts = host.answered("recorder", "a.away300ms.txt", 2);
    assert_eq!(says(&attempts), ["retry", "done"]);
    let waited = attempts[1].at.saturating_sub(attempts[0].at);
    assert!(waited >= Duration::from_millis(300), "{waited:?}");
    host.stop().success();
}

/// Thirty files that all fail.
fn a_lane_in_trouble() -> (Running, std::path::PathBuf) {
    let host = recorder(r#"{first="20ms",max="200ms"}"#).set("recorder.fail_while='{temp}/broken'");
    let broken = host.aside("broken", "");
    let host = host.start();
    for n in 0..30 {
        host.write(format!("{n}.txt"), "x");
    }
    (host, broken)
}

#[test]
fn a_lane_pauses_when_ten_different_files_failed_in_a_row() {
    let (host, _broken) = a_lane_in_trouble();
    host.logged(&["recorder", "paus"]);
    let attempts = |host: &Running| -> Vec<Record> {
        host.records("recorder").into_iter().filter(|r| r.relative.is_some()).collect()
    };
    let files =
        |attempts: &[Record]| attempts.iter().map(|r| r.relative.clone()).collect::<BTreeSet<_>>().len();
    let (tenth, attempts) = host.wait_for("five attempts more", |host| {
        let attempts = attempts(host);
        let tenth = (0..attempts.len()).find(|n| files(&attempts[..=*n]) == 10)?;
        (attempts.len() > tenth + 5).then_some((tenth, attempts))
    });
    let pauses = gaps(&attempts[tenth..tenth + 6]);
    assert!(pauses.iter().all(|pause| *pause >= Duration::from_millis(15)), "{pauses:?}");
    host.stop().success();
}

#[test]
fn a_paused_lane_goes_on_when_a_file_succeeds() {
    let (host, broken) = a_lane_in_trouble();
    host.logged(&["recorder", "paus"]);
    fs::remove_file(broken).unwrap();
    host.all_handled("recorder", (0..30).map(|n| format!("{n}.txt")));
    host.write("later.txt", "x");
    host.handled("recorder", "later.txt");
    assert_eq!(host.count_logged(&["recorder", "works again"]), 1);
    host.stop().success();
}

#[test]
fn a_lane_whose_flush_fails_pauses_until_the_flush_works() {
    let host = recorder(r#"{first="500ms",max="500ms"}"#).set("recorder.failing_flushes=12");
    // So many, and so long a pause, that ten different files have failed by then: a slow one may be flushed after each.
    let host = host.plugin("print").set("recorder.hold='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.start_and_look();
    for n in 0..30 {
        host.write(format!("{n}.txt"), "x");
    }
    host.logged(&["holding"]);
    // What `print` has lies before the recorder, too.
    host.all_handled("print", (0..30).map(|n| format!("{n}.txt")));
    fs::remove_file(hold).unwrap();
    let flushed = |host: &Running| host.records("recorder").iter().any(|r| r.say == "flush");
    host.wait_for("a flush that works", |host| flushed(host).then_some(()));
    for n in 0..30 {
        let name = format!("{n}.txt");
        host.wait_for("a delivery before a flush that worked", |host| {
            let records = host.records("recorder");
            let done =
                records.iter().rposition(|r| r.say == "done" && r.relative.as_deref() == Some(name.as_ref()));
            let safe = done.is_some_and(|done| records[done..].iter().any(|r| r.say == "flush"));
            safe.then_some(())
        });
    }
    host.logged(&["recorder", "works again"]);
    assert!(host.count_logged(&["recorder", "paus"]) > 0);
    assert_eq!(
        host.count_logged(&["recorder", "works again"]),
        1,
        "an answer that no flush has made safe is no success"
    );
    host.stop().success();
}
