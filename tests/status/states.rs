//! Each state of a plugin, seen through the command.

use std::fs;

use notifyit_tests::{Host, inline_only, is_isolated, recorder};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{host, in_state, plugin, status, text};
use crate::probe::sinner;

const FILE: &str = "libnotifyit_recorder.so";

/// A host with this build of the recorder.
fn with_build(build: &str) -> Host {
    let host = host();
    let out = host.temp().join("recorder.jsonl");
    let host = host.env("RECORDER_OUT", out);
    install(&host, build);
    host
}

fn install(place: &notifyit_tests::Place, build: &str) {
    let new = place.aside("new.so", "");
    fs::write(&new, recorder(build)).expect("it is ours");
    fs::rename(new, place.plugins().join(FILE)).expect("the directory is ours");
}

#[test]
fn a_host_that_is_well_says_so() {
    let host = host().plugin("print").plugin("recorder").set("plugin.recorder.workers=2").start();
    for n in 0..3 {
        host.write(format!("{n}.txt"), "x");
    }
    host.write("4.reject", "x");
    host.logged(&["rejected"]);
    host.all_handled("recorder", (0..3).map(|n| format!("{n}.txt")));
    let recorder = host.wait_for("all to be safe", |host| {
        plugin(host, "recorder").filter(|plugin| plugin["handled"] == 3 && plugin["under_way"] == 0)
    });
    let whole = status(&host);
    assert_eq!((&whole["v"], &whole["state"]), (&1.into(), &"running".into()));
    assert_eq!(whole["pid"], host.pid().as_raw_nonzero().get());
    assert_eq!(whole["watches"][0]["state"], "ok");
    assert_eq!(whole["watches"][0]["path"], host.root().to_str().unwrap());
    assert_eq!((&recorder["state"], &recorder["reason"]), (&"running".into(), &"".into()));
    assert_eq!((&recorder["rejected"], &recorder["failed"]), (&1.into(), &0.into()));
    assert_eq!(recorder["file"], host.plugins().join(FILE).to_str().unwrap());
    let workers = recorder["workers"].as_array().unwrap();
    assert_eq!(workers.len(), 2);
    let names: Vec<_> = whole["plugins"].as_array().unwrap().iter().map(|p| p["name"].clone()).collect();
    assert_eq!(names, ["print", "recorder"]);
    let text = text(&host);
    let row = text.lines().find(|line| line.starts_with("recorder")).unwrap();
    let runs = if is_isolated() {
        workers.iter().map(|worker| worker["process"].to_string()).collect::<Vec<_>>().join(" ")
    } else {
        assert!(workers.iter().all(|worker| worker["process"].is_null()));
        "inline".to_owned()
    };
    let words: Vec<&str> = row.split_whitespace().collect();
    assert!(words.join(" ").starts_with(&format!("recorder running {runs} 0 of 65536 3 0 1 0 ")), "{row}");
    host.stop().success();
}

#[test]
fn a_lane_that_pauses_is_failing_and_the_log_says_so_once() {
    let host = host().plugin("recorder").set("recorder.fail_while='{temp}/broken'").arg("-v");
    let host = host.set(r#"plugin.recorder.retry={first="10ms",max="50ms"}"#);
    let broken = host.aside("broken", "");
    let host = host.start();
    for n in 0..30 {
        host.write(format!("{n}.txt"), "x");
    }
    let failing = in_state(&host, "recorder", "failing", &["told to fail for now", "pauses for"]);
    assert!(failing["failed"].as_u64() >= Some(10) && failing["next_try_ms"].is_u64(), "{failing}");
    host.wait_for("five probes", |host| {
        (host.count_logged(&["DEBUG", "`recorder` still pauses"]) >= 5).then_some(())
    });
    fs::remove_file(broken).unwrap();
    let well = in_state(&host, "recorder", "running", &[]);
    assert_eq!((&well["reason"], &well["next_try_ms"]), (&"".into(), &Value::Null));
    host.all_handled("recorder", (0..30).map(|n| format!("{n}.txt")));
    assert_eq!(host.count_logged(&["WARN", "pauses"]), 1);
    assert_eq!(host.count_logged(&["INFO", "works again"]), 1);
    host.stop().success();
}

#[test]
fn a_process_that_dies_again_and_again_is_said_once() {
    let host = host().plugin("print").plugin("recorder").arg("-v");
    let host = host.set("plugin.recorder.isolation=process").set(r#"plugin.recorder.retry={first="10ms"}"#);
    let host = host.set("recorder.hold='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.start();
    let process = |host: &notifyit_tests::Running| {
        let process = plugin(host, "recorder")?["workers"][0]["process"].as_i64()?;
        Pid::from_raw(i32::try_from(process).ok()?)
    };
    // Between two events, and then each time that it is tried: the lane never works in between.
    kill_process(host.wait_for("a process", process), Signal::KILL).unwrap();
    host.write("a.txt", "x");
    host.logged(&["WARN", "recorder", "had no event in hand", "pauses"]);
    in_state(&host, "recorder", "failing", &["its process died of SIGKILL"]);
    for deaths in 1..=2 {
        host.wait_for("the event to be in hand", |host| {
            (host.count_logged(&["holding"]) == deaths).then_some(())
        });
        kill_process(host.wait_for("a process", process), Signal::KILL).unwrap();
        host.wait_for("its death to be said", |host| {
            (host.count_logged(&["DEBUG", "in its pause", "SIGKILL"]) == deaths).then_some(())
        });
    }
    fs::remove_file(hold).unwrap();
    host.handled("recorder", "a.txt");
    in_state(&host, "recorder", "running", &[]);
    host.logged(&["works again"]);
    assert_eq!(host.count_logged(&["ERROR", "its process died"]), 1);
    assert_eq!(host.count_logged(&["WARN", "pauses"]), 1);
    assert_eq!(host.count_logged(&["works again"]), 1);
    host.stop().success();
}

#[test]
fn one_that_has_fallen_behind_says_so() {
    let host = host().plugin("recorder").set("recorder.hold='{temp}/hold'").set("plugin.recorder.queue=8");
    let hold = host.aside("hold", "");
    let host = host.start();
    for n in 0..40 {
        host.write(format!("{n}.txt"), "x");
    }
    let behind = in_state(&host, "recorder", "behind", &["the 8 it queues"]);
    assert_eq!(behind["queue"], 8);
    fs::remove_file(hold).unwrap();
    host.all_handled("recorder", (0..40).map(|n| format!("{n}.txt")));
    in_state(&host, "recorder", "running", &[]);
    host.stop().success();
}

#[test]
fn one_whose_new_fails_is_shown_with_its_next_try() {
    let host = with_build("no-new").plugin("print").start();
    let failed = in_state(&host, "recorder", "failed", &["told to fail for now", "next try in"]);
    assert!(failed["next_try_ms"].is_u64(), "{failed}");
    install(&host, "rejects");
    let failed =
        in_state(&host, "recorder", "failed", &["told to reject", "left out until its file changes"]);
    assert!(failed["next_try_ms"].is_null(), "{failed}");
    install(&host, "good");
    in_state(&host, "recorder", "running", &[]);
    // What runs goes on beside what cannot be made.
    install(&host, "rejects");
    in_state(&host, "recorder", "running", &["told to reject", "the old code goes on"]);
    host.alive("recorder");
}

#[test]
fn files_that_do_not_run_are_listed_with_the_reason() {
    let host = host().plugin("print");
    sinner(&host, "exits");
    fs::write(host.plugins().join("text.so"), "no library").unwrap();
    let host = host.start();
    let whole = status(&host);
    let of = |state: &str| {
        let all = whole["not_run"].as_array().unwrap();
        let one = all.iter().find(|file| file["state"] == state);
        one.unwrap_or_else(|| panic!("none is {state}: {whole}")).clone()
    };
    let refused = of("refused");
    assert!(refused["file"].as_str().unwrap().ends_with("/text.so"), "{refused}");
    let quarantined = of("quarantined");
    assert!(quarantined["reason"].as_str().unwrap().contains("exit status 3"), "{quarantined}");
    let text = text(&host);
    assert!(text.contains("\nrefused: failed to load plugin") && text.contains("quarantined"), "{text}");
    fs::remove_file(host.plugins().join("text.so")).unwrap();
    host.wait_for("it to be forgotten", |host| {
        (status(host)["not_run"].as_array()?.len() == 1).then_some(())
    });
}

#[test]
fn roots_are_watched_polled_or_missing() {
    let host = host().plugin("print").config(
        r#"
        [[watch]]
        path = "{root}"
        [[watch]]
        path = "{temp}/later"
        missing = "wait"
        [[watch]]
        path = "{temp}/polled"
        backend = "poll"
        "#,
    );
    fs::create_dir(host.temp().join("polled")).unwrap();
    let host = host.start();
    let states = |host: &notifyit_tests::Running| -> Vec<String> {
        let watches = status(host)["watches"].as_array().cloned().unwrap_or_default();
        watches.iter().map(|watch| watch["state"].as_str().unwrap_or_default().to_owned()).collect()
    };
    assert_eq!(states(&host), ["ok", "missing", "polled"]);
    fs::create_dir(host.temp().join("later")).unwrap();
    host.wait_for("it to be watched", |host| (states(host) == ["ok", "ok", "polled"]).then_some(()));
    fs::remove_dir(host.temp().join("later")).unwrap();
    host.wait_for("it to be missed", |host| (states(host)[1] == "missing").then_some(()));
}

#[test]
fn new_code_that_is_made_and_old_code_that_ends_are_a_change() {
    let host = with_build("hang-end").set("recorder.hold_end='{temp}/hold_end'");
    let host = host.set("recorder.hold_new='{temp}/hold_new'");
    let (hold_new, hold_end) = (host.aside("hold_new", ""), host.aside("hold_end", ""));
    let host = host.start();
    install(&host, "hang-new");
    in_state(&host, "recorder", "changing", &["new code is made"]);
    fs::remove_file(hold_new).unwrap();
    in_state(&host, "recorder", "changing", &["takes over from", "the old code's last call takes"]);
    fs::remove_file(hold_end).unwrap();
    in_state(&host, "recorder", "running", &[]);
    host.alive("recorder");
    host.stop().success();
}

#[test]
fn one_whose_file_is_gone_drains() {
    let host = with_build("good").set("recorder.hold='{temp}/hold'").plugin("print");
    let hold = host.aside("hold", "");
    // What that look finds is under way once more, until it is known to be the same.
    let host = host.start_and_look();
    host.write("a.txt", "x");
    host.logged(&["holding"]);
    fs::remove_file(host.plugins().join(FILE)).unwrap();
    let draining = in_state(&host, "recorder", "draining", &["takes no more events"]);
    assert!(draining["file"].is_null() && draining["under_way"] == 1, "{draining}");
    fs::remove_file(hold).unwrap();
    host.wait_for("it to be gone", |host| plugin(host, "recorder").is_none().then_some(()));
    host.stop().success();
}

#[test]
fn workers_that_are_stuck_are_named_each_with_its_file() {
    if inline_only("a process that does not come back is ended") {
        return;
    }
    let host = host().plugin("recorder").set("plugin.recorder.timeout='100ms'");
    let host = host.set("plugin.recorder.workers=2").set("recorder.hold='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.start();
    for n in 0..16 {
        host.write(format!("{n}.txt"), "x");
    }
    let words = ["worker 1 is at", "worker 2 is at", ".txt\" for", "over its timeout of 0.1s"];
    let stuck = in_state(&host, "recorder", "stuck", &words);
    for worker in stuck["workers"].as_array().unwrap() {
        let in_hand = &worker["in_hand"];
        let path = in_hand["path"].as_str().unwrap();
        assert!(path.starts_with(host.root().to_str().unwrap()) && in_hand["late"] == true, "{worker}");
        assert!(in_hand["since_ms"].as_u64() >= Some(100), "{worker}");
    }
    fs::remove_file(hold).unwrap();
    in_state(&host, "recorder", "running", &[]);
    host.stop().success();
}
