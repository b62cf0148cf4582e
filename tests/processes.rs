//! Plugins in processes of their own: whose those are, what ends them, and what that costs. What plugins can do wrong in
//! them stands in `misbehaviours`.

use std::fs;
use std::process::Command;
use std::time::Duration;

use notifyit_tests::{Host, Running, aborting_library, children, recorder, skip, until};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};

fn isolated() -> Host {
    Host::new().plugin("recorder").arg("--isolation").arg("process")
}

/// The processes of the recorder's workers that live and were started by this host.
fn workers(host: &Running) -> Vec<Pid> {
    let host = host.pid();
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let ids = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let is_one = |id: &Pid| {
        let of = |what: &str| fs::read(format!("/proc/{}/{what}", id.as_raw_nonzero())).unwrap_or_default();
        let (line, stat) = (of("cmdline"), String::from_utf8_lossy(&of("stat")).into_owned());
        let parent = stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(1)?.parse().ok());
        line.ends_with(b"\0__worker\0recorder\0")
            && parent == Some(host.as_raw_nonzero().get())
            && !stat.contains(") Z ")
    };
    ids.filter(is_one).collect()
}

/// It sleeps: nothing of its plugin does that by itself.
fn waits_for_its_host(worker: Pid) -> Option<()> {
    let stat = fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_nonzero())).ok()?;
    stat.contains(") S ").then_some(())
}

fn is_gone(process: Pid) -> Option<()> {
    // Whoever took it over may not have waited for it yet.
    let stat = fs::read_to_string(format!("/proc/{}/stat", process.as_raw_nonzero())).unwrap_or_default();
    (test_kill_process(process).is_err() || stat.contains(") Z ")).then_some(())
}

#[test]
fn each_worker_of_a_plugin_has_a_process_and_the_host_loads_nothing_itself() {
    let host = isolated().set("plugin.recorder.workers=3").start();
    assert_eq!(workers(&host).len(), 3);
    host.write("a.txt", "x");
    host.handled("recorder", "a.txt");
    let name = |id: Pid| fs::read_to_string(format!("/proc/{}/comm", id.as_raw_nonzero())).unwrap();
    assert!(workers(&host).into_iter().all(|worker| name(worker) == "recorder\n"));
    let maps = |id: Pid| fs::read_to_string(format!("/proc/{}/maps", id.as_raw_nonzero())).unwrap();
    assert!(!maps(host.pid()).contains("recorder"));
    let all = workers(&host);
    host.stop().success();
    assert!(all.into_iter().all(|worker| is_gone(worker).is_some()));
}

#[test]
fn one_plugin_can_be_isolated_and_another_inline() {
    let host =
        Host::new().plugin("print").plugin("recorder").set("plugin.recorder.isolation=process").start();
    assert_eq!(workers(&host).len(), 1);
    host.write("a.txt", "x");
    host.handled("recorder", "a.txt");
    host.handled("print", "a.txt");
    host.stop().success();
}

#[test]
fn a_worker_dies_with_a_host_that_is_killed_even_in_the_middle_of_a_call() {
    let host = isolated().set("recorder.hold='{temp}/hold'");
    host.aside("hold", "");
    let host = host.start();
    host.write("a.txt", "x");
    host.logged(&["holding", "a.txt"]);
    let all = workers(&host);
    assert_eq!(all.len(), 1);
    host.signal(Signal::KILL);
    host.wait_for("its end", |host| host.exited());
    until(|| is_gone(all[0])).expect("the worker has died");
}

#[test]
fn a_worker_that_is_killed_costs_the_event_that_it_has_in_hand_one_attempt_and_the_others_none() {
    let host =
        isolated().set("recorder.hold_held='{temp}/hold'").set(r#"plugin.recorder.retry={first="10ms"}"#);
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("before", "x");
    host.handled("recorder", "before");
    host.write("held", "x");
    host.logged(&["holding", "held"]);
    let files: Vec<String> = (0..50).map(|n| format!("f{n}")).collect();
    files.iter().for_each(|file| host.write(file, "x"));
    // While it is in the call: of a flush that is cut short each file comes again.
    kill_process(workers(&host)[0], Signal::KILL).unwrap();
    fs::remove_file(hold).unwrap();
    host.all_handled("recorder", files.iter().map(String::as_str).chain(["held"]));
    host.drained("recorder");
    let attempts =
        |file: &str| host.attempts("recorder", file).iter().filter_map(|r| r.event["attempt"].as_u64()).max();
    let again: Vec<_> =
        files.iter().map(String::as_str).chain(["held"]).filter(|file| attempts(file) > Some(1)).collect();
    assert!(again == ["held"] && attempts("held") == Some(2), "{again:?}");
    assert_eq!(host.count_logged(&["ERROR", "recorder", "its process died of SIGKILL"]), 1);
    host.stop().success();
}

#[test]
fn a_call_that_is_over_its_time_is_ended_and_counts_as_a_failure() {
    let host = isolated().plugin("print").set("recorder.hold_held='{temp}/hold'");
    let host = host.set("plugin.recorder.timeout=\"2s\"").set(r#"plugin.recorder.retry={first="10ms"}"#);
    let hold = host.aside("hold", "");
    let host = host.start();
    let first = workers(&host)[0];
    host.write("held", "x");
    host.write("after", "x");
    host.logged(&["WARN", "recorder", "did not come back within 2s", "killed"]);
    until(|| is_gone(first)).expect("it has been killed");
    host.handled("recorder", "after");
    host.alive("print");
    fs::remove_file(hold).unwrap();
    host.handled("recorder", "held");
    assert!(host.attempts("recorder", "held").iter().any(|r| r.event["attempt"].as_u64() > Some(1)));
    assert!(host.attempts("recorder", "after").iter().all(|r| r.event["attempt"] == 1));
    host.stop().success();
}

#[test]
fn a_stop_does_not_wait_for_a_hung_call_beyond_its_time_and_leaves_no_process() {
    let host = isolated().set("recorder.hold='{temp}/hold'").args(["--grace", "200ms"]);
    host.aside("hold", "");
    // What that look finds counts once more, until it is known to be the same.
    let host = host.start_and_look();
    host.write("a.txt", "x");
    host.logged(&["holding", "a.txt"]);
    let all = workers(&host);
    let exit = host.stop();
    exit.success();
    assert!(all.into_iter().all(|worker| is_gone(worker).is_some()));
    assert_eq!(exit.lines(&["recorder", "left 1 event unhandled"]).len(), 1);
    assert_eq!(exit.lines(&["ERROR"]).len(), 0);
}

#[test]
fn a_stop_does_not_wait_for_a_start_that_hangs_beyond_its_time() {
    let host = isolated().set("recorder.hold_new='{temp}/hold'").args(["--grace", "200ms"]);
    fs::write(host.plugins().join("libnotifyit_recorder.so"), recorder("hang-new")).unwrap();
    let host = host.set(r#"plugin.recorder.retry={first="10ms"}"#).start();
    host.aside("hold", "");
    kill_process(workers(&host)[0], Signal::KILL).unwrap();
    host.write("a.txt", "x");
    host.logged(&["holding the start"]);
    let exit = host.stop();
    exit.success();
    // Had it not come back, its events would not be named.
    assert_eq!(exit.lines(&["recorder", "has not handled", "a.txt"]).len(), 1);
    assert_eq!(exit.lines(&["ERROR", "cannot be made anew"]).len(), 0);
}

/// systemd stops a service by sending SIGTERM to all of its processes.
#[test]
fn a_stop_that_is_sent_to_every_process_costs_no_event_an_attempt() {
    let host = isolated().set("recorder.hold='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("a.txt", "x");
    host.logged(&["holding", "a.txt"]);
    for signal in [Signal::TERM, Signal::INT] {
        kill_process(workers(&host)[0], signal).unwrap();
    }
    host.signal(Signal::TERM);
    host.logged(&["stopping after SIGTERM"]);
    fs::remove_file(hold).unwrap();
    let exit = host.wait();
    exit.success();
    assert_eq!(exit.lines(&["WARN"]).len() + exit.lines(&["ERROR"]).len(), 0);
    assert_eq!(exit.lines(&["stopped: 1 handled"]).len(), 1);
}

#[test]
fn one_that_dies_between_two_events_is_started_again_and_no_event_is_blamed() {
    let host = isolated().set(r#"plugin.recorder.retry={first="10ms"}"#).start();
    host.write("a", "x");
    host.handled("recorder", "a");
    let first = workers(&host)[0];
    // Its last call may not have come back yet.
    let is_flushed = || host.records("recorder").iter().any(|r| r.say == "flush").then_some(());
    until(is_flushed).expect("it is asked to flush");
    until(|| waits_for_its_host(first)).expect("it waits");
    kill_process(first, Signal::KILL).unwrap();
    until(|| is_gone(first)).expect("it has been killed");
    host.write("b", "x");
    host.handled("recorder", "b");
    host.logged(&["ERROR", "recorder", "its process died of SIGKILL"]);
    host.logged(&["WARN", "recorder", "had no event in hand", "pauses"]);
    host.logged(&["INFO", "recorder", "works again"]);
    let attempts: Vec<_> =
        host.attempts("recorder", "b").iter().map(|r| r.event["attempt"].clone()).collect();
    assert_eq!(attempts, [1]);
    host.stop().success();
}

/// What lies in `/tmp` for long is removed by those who tidy up there.
#[test]
fn one_is_started_again_though_its_plugins_private_copy_has_been_removed() {
    let host = isolated().set(r#"plugin.recorder.retry={first="10ms"}"#);
    let places = host.aside("places", "");
    fs::remove_file(&places).unwrap();
    fs::create_dir(&places).unwrap();
    let host = host.env("RUNTIME_DIRECTORY", &places).start();
    // Beside the socket of `notifyit status`.
    let mut entries = fs::read_dir(&places).unwrap().map(|entry| entry.unwrap().path());
    let staged = entries.find(|entry| entry.is_dir()).expect("the copy lies there");
    fs::remove_dir_all(staged).unwrap();
    let first = workers(&host)[0];
    kill_process(first, Signal::KILL).unwrap();
    until(|| is_gone(first)).expect("it has been killed");
    host.write("a", "x");
    host.handled("recorder", "a");
    host.stop().success();
}

#[test]
fn a_signal_that_stops_the_whole_service_ends_no_call() {
    let host = isolated().set("recorder.hold_held='{temp}/hold'");
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("held", "x");
    host.logged(&["holding", "held"]);
    for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
        workers(&host).into_iter().for_each(|worker| kill_process(worker, signal).unwrap());
    }
    host.signal(Signal::TERM);
    host.logged(&["stopping after SIGTERM"]);
    fs::remove_file(hold).unwrap();
    let exit = host.wait();
    exit.success();
    assert_eq!(exit.times_done("recorder", "held"), 1);
    assert_eq!(exit.lines(&["ERROR"]).len() + exit.lines(&["unhandled"]).len(), 0);
}

#[test]
fn one_that_is_stopped_is_ended_when_its_time_is_over() {
    let host =
        isolated().set("plugin.recorder.timeout=\"1s\"").set(r#"plugin.recorder.retry={first="10ms"}"#);
    let host = host.start();
    let first = workers(&host)[0];
    kill_process(first, Signal::STOP).unwrap();
    host.write("a", "x");
    host.handled("recorder", "a");
    until(|| is_gone(first)).expect("it has been killed");
    host.stop().success();
}

/// The child holds the channel open: that ends with nobody.
#[test]
fn the_death_of_one_that_leaves_a_child_behind_is_seen_at_once() {
    let host = Host::new().plugin("misbehaves").arg("--isolation").arg("process");
    let host = host.set("misbehaves.how='leaves a child that holds its descriptors, and kills itself'");
    let host = host.set(r#"plugin.misbehaves.retry={first="10ms"}"#).start();
    host.write("bad", "x");
    host.logged(&["ERROR", "misbehaves", "its process died of SIGKILL"]);
    host.logged(&["misbehaves", "handled bad in attempt 2"]);
    host.stop().success();
}

/// In a container nobody else waits for the children that a worker has left.
#[test]
fn a_host_that_is_the_first_process_leaves_no_zombies_of_a_session_that_it_has_killed() {
    let first = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--mount-proc", "--kill-child"];
    if !Command::new(first[0]).args(&first[1..]).arg("true").status().is_ok_and(|status| status.success()) {
        return skip("namespaces are not to be had here");
    }
    let host = Host::new().plugin("misbehaves").arg("--isolation").arg("process").wrapped(first);
    let host = host.set("misbehaves.how='leaves a child that holds its descriptors, and kills itself'");
    let host = host.set(r#"plugin.misbehaves.retry={first="10ms"}"#).start();
    host.write("bad", "x");
    host.logged(&["misbehaves", "handled bad in attempt 2"]);
    let [itself] = children(host.pid())[..] else { panic!("unshare has one child") };
    assert_eq!(children(itself).len(), 1, "its worker alone");
    host.signal(Signal::KILL);
    host.wait();
}

#[test]
fn a_child_that_goes_on_like_its_parent_says_nothing_in_its_place() {
    let host = Host::new().plugin("misbehaves").arg("--isolation").arg("process");
    let host = host.set("misbehaves.how='forks, and both go on'").start();
    host.write("bad", "x");
    host.logged(&["misbehaves", "handled bad in attempt 1"]);
    let files: Vec<String> = (0..50).map(|n| format!("f{n}")).collect();
    for file in &files {
        host.write(file, "x");
        host.logged(&["misbehaves", &format!("handled {file} in attempt 1")]);
    }
    // Nothing has come twice, and no answer has been taken for another's.
    assert_eq!(host.count_logged(&["begins in on_event"]), 1);
    assert!(files.iter().all(|file| host.count_logged(&["handled", &format!(" {file} ")]) == 1));
    host.stop().success();
}

#[test]
fn what_is_given_up_after_crashes_has_had_as_many_attempts() {
    let host = Host::new().plugin("misbehaves").arg("--isolation").arg("process");
    let host = host.set("misbehaves.how='aborts'").set("misbehaves.always=true");
    let host = host.set(r#"plugin.misbehaves.retry={first="1ms",max="2ms"}"#).start();
    // So many that the lane pauses.
    let files: Vec<String> = (0..15).map(|n| format!("bad{n}")).collect();
    files.iter().for_each(|file| host.write(file, "x"));
    for file in &files {
        host.logged(&["gave up on", &format!("{file}\""), "after 3 attempts", "3 times"]);
    }
    host.stop().success();
}

/// That it came to its end with this file in hand says little: what it had before has used that time, too.
#[test]
fn processor_time_that_is_used_up_is_no_crash() {
    let host = Host::new().plugin("misbehaves").arg("--isolation").arg("process");
    let host = host.set("misbehaves.how='loops for ever'").set("misbehaves.always=true");
    let host = host.set("plugin.misbehaves.limits.cpu='1s'");
    let host = host.set(r#"plugin.misbehaves.retry={first="10ms",crashes=1,attempts=2}"#).start();
    host.write("bad", "x");
    host.logged(&["WARN", "misbehaves", "failed on", "bad", "next try", "used up limits.cpu"]);
    host.logged(&["ERROR", "misbehaves", "bad", "attempts"]);
    host.stop().success();
}

#[test]
fn a_plugin_whose_panics_abort_runs_in_a_process_of_its_own_and_nowhere_else() {
    let host = Host::new();
    let file = host.add_library(&aborting_library(), "libnotifyit_panics.so");
    let host = host.set(r#"panics.in=["on_event"]"#).args(["-p".as_ref(), file.as_os_str()]);
    let host = host.set(r#"plugin.panics.retry={first="10ms"}"#).args(["--isolation", "process"]).start();
    host.write("poison", "x");
    host.logged(&["ERROR", "panics", "its process died of SIGABRT"]);
    host.logged(&["panics", "handled poison in attempt 2"]);
    host.stop().success();
}

#[test]
fn a_slow_plugin_gets_one_event_at_a_time() {
    let host = isolated().set("recorder.slow_ms=20").start();
    let files: Vec<String> = (0..40).map(|n| format!("f{n}")).collect();
    files.iter().for_each(|file| host.write(file, "x"));
    host.all_handled_within("recorder", &files, Duration::from_secs(20));
    host.drained("recorder");
    assert!(files.iter().all(|file| host.times_done("recorder", file) == 1));
    host.stop().success();
}
