//! While a plugin hangs: in its `new`, in a call, in its `shutdown`.

use std::fs;

use notifyit_tests::{Host, Running, inline_only, recorder};

use super::{SOCKET, ask, host, in_state, plugin, status};

fn with_build(build: &str) -> Host {
    let host = host();
    let out = host.temp().join("recorder.jsonl");
    fs::write(host.plugins().join("libnotifyit_recorder.so"), recorder(build)).expect("it is ours");
    host.env("RECORDER_OUT", out)
}

#[test]
fn a_start_that_hangs_in_new_is_asked() {
    let host = with_build("hang-new").set("recorder.hold_new='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.spawn();
    host.logged(&["holding"]);
    let starting = in_state(&host, "recorder", "starting", &["it is made, for"]);
    assert_eq!(starting["file"], host.plugins().join("libnotifyit_recorder.so").to_str().unwrap());
    let whole = status(&host);
    assert_eq!((&whole["state"], &whole["watches"][0]["state"]), (&"starting".into(), &"starting".into()));
    fs::remove_file(hold).unwrap();
    host.logged(&["ready"]);
    in_state(&host, "recorder", "running", &[]);
    host.stop().success();
}

#[test]
fn a_call_and_a_flush_that_hang_are_asked() {
    if inline_only("a process that does not come back is ended") {
        return;
    }
    for (setting, words) in [
        ("recorder.hold='{temp}/hold'", ["it is at \"", "a.txt\" for"]),
        ("recorder.hold_flush='{temp}/hold'", ["it is at its flush for", "timeout of 0.1s"]),
    ] {
        let host = host().plugin("recorder").set("plugin.recorder.timeout='100ms'").set(setting);
        let host = host.set("recorder.buffered=true");
        let hold = host.aside("hold", "");
        let host = host.start();
        host.write("a.txt", "x");
        in_state(&host, "recorder", "stuck", &words);
        fs::remove_file(hold).unwrap();
        in_state(&host, "recorder", "running", &[]);
        host.handled("recorder", "a.txt");
        host.stop().success();
    }
}

/// Without a timeout nobody says how long is too long; but what is in hand is recorded in a state directory.
#[test]
fn what_is_in_hand_without_a_timeout_the_flight_recorder_knows() {
    if inline_only("what a process of its own has in hand is not recorded") {
        return;
    }
    let host = host().plugin("recorder").set("recorder.hold='{temp}/hold'").args(["--state-dir", "state"]);
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("a.txt", "x");
    host.logged(&["holding"]);
    let recorder = plugin(&host, "recorder").expect("it runs");
    let in_hand = &recorder["workers"][0]["in_hand"];
    assert_eq!((&in_hand["path"], &in_hand["late"]), (&host.path("a.txt").to_str().into(), &false.into()));
    fs::remove_file(hold).unwrap();
    host.handled("recorder", "a.txt");
    host.wait_for("nothing to be in hand", |host| {
        plugin(host, "recorder")?["workers"][0]["in_hand"].is_null().then_some(())
    });
    host.stop().success();
}

#[test]
fn a_stop_that_hangs_in_shutdown_is_asked() {
    let host = with_build("hang-end").set("recorder.hold_end='{temp}/hold'").args(["--grace", "60s"]);
    let hold = host.aside("hold", "");
    let host = host.start();
    host.signal(rustix::process::Signal::TERM);
    let draining = in_state(&host, "recorder", "draining", &["the last call of it takes"]);
    assert_eq!(draining["workers"][0]["stage"], "ends");
    assert_eq!(status(&host)["state"], "stopping");
    fs::remove_file(hold).unwrap();
    let exit = host.wait();
    exit.success();
    assert!(!exit.temp().join(SOCKET).exists());
}

/// Nothing that a plugin can hold is waited for: it hangs wherever it may, and the answer comes.
#[test]
fn a_plugin_that_holds_up_its_lane_holds_up_no_answer() {
    let host = host().plugin("recorder").plugin("print").set("recorder.hold='{temp}/hold'");
    host.aside("hold", "");
    let host = host.set("plugin.recorder.queue=4").start();
    for n in 0..100 {
        host.write(format!("{n}.txt"), "x");
    }
    host.logged(&["holding"]);
    let answers = |host: &Running| (0..20).all(|_| plugin(host, "recorder").is_some());
    assert!(answers(&host));
    ask(&host, &["--socket", SOCKET]).success();
}
