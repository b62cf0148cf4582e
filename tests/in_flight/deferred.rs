//! Verdicts that come later.

use std::fs;

use notifyit_tests::{children, inline_only, is_isolated, library};
use rustix::process::{Signal, kill_process};

use super::Scene;

#[test]
fn as_many_are_in_flight_as_the_plugin_takes_and_the_user_allows() {
    for (allowed, most) in [(None, 8), (Some(3), 3), (Some(100), 8)] {
        let scene = Scene::new();
        let host = scene.host().plugin("print");
        let host = match allowed {
            Some(allowed) => host.set(&format!("plugin.flying.in_flight={allowed}")),
            None => host,
        };
        let host = host.start();
        scene.hold();
        (0..20).for_each(|n| scene.write(&format!("{n}.txt")));
        scene.wait_until(&host, "all that may begin", || scene.count_of("began") == most);
        // Time for more, if there were any.
        scene.write("last.txt");
        host.wait_for("the other plugin", |host| {
            let path = scene.0.root().join("last.txt");
            host.stdout_lines().iter().any(|line| *line == path.to_string_lossy()).then_some(())
        });
        assert_eq!(scene.count_of("began"), most, "{:?}", scene.lines());
        scene.release();
        scene.wait_until(&host, "all", || scene.count_of("done 1 ") == 21);
        host.stop().success();
        assert_eq!(scene.lines().len(), 42, "each once: {:?}", scene.lines());
    }
}

#[test]
fn what_a_verdict_says_that_comes_later_is_done() {
    let scene = Scene::new();
    let host = scene.host().start();
    let again = ["a.fail.txt", "b.drop.txt", "c.panic.txt", "d.error.txt"];
    again.iter().chain(&["f.reject.txt", "g.txt"]).for_each(|file| scene.write(file));
    again.iter().for_each(|file| scene.wait(&host, &format!("done 2 {file}")));
    host.logged(&["WARN", "flying", "f.reject.txt", "told to reject"]);
    host.logged(&["a.fail.txt", "told to fail"]);
    host.logged(&["b.drop.txt", "the plugin has dropped its deferred verdict"]);
    host.logged(&["c.panic.txt", "the plugin has dropped its deferred verdict"]);
    host.logged(&["d.error.txt", "the call has failed"]);
    // While the lane pauses, no failure of a file is told. And none counts as an attempt.
    scene.write("e.unavailable.txt");
    scene.wait(&host, "done 1 e.unavailable.txt");
    host.logged(&["it is unavailable: told to be away"]);
    scene.wait(&host, "done 1 g.txt");
    host.stop().success();
    assert_eq!((scene.count("began 1 f.reject.txt"), scene.count_of("began 2 f.")), (1, 0));
}

#[test]
fn the_next_version_of_a_file_waits_for_the_verdict_on_the_one_before() {
    let scene = Scene::new();
    let host = scene.host().start_and_look();
    scene.hold();
    scene.write("a.txt");
    scene.wait(&host, "began 1 a.txt");
    scene.0.write("a.txt", "more of it");
    scene.write("b.txt");
    scene.wait(&host, "began 1 b.txt");
    assert_eq!(scene.count("began 1 a.txt"), 1);
    scene.release();
    scene.wait_until(&host, "both versions", || scene.count("done 1 a.txt") == 2);
    host.stop().success();
}

#[test]
fn a_stop_waits_for_verdicts_and_what_does_not_come_in_time_comes_at_the_next_start() {
    let scene = Scene::new();
    let host = scene.host().start();
    scene.hold();
    scene.write("a.txt");
    scene.wait(&host, "began 1 a.txt");
    host.signal(Signal::TERM);
    host.logged(&["stopping"]);
    scene.release();
    host.wait().success();
    assert_eq!(scene.count("done 1 a.txt"), 1);

    let host = scene.host().set("host.grace='100ms'").start();
    scene.hold();
    scene.write("b.txt");
    scene.wait(&host, "began 1 b.txt");
    let exit = host.stop();
    assert_eq!(exit.lines(&["has not handled", "b.txt"]).len(), 1, "{}", exit.stderr());
    scene.release();
    let host = scene.host().start();
    scene.wait_until(&host, "the one that was left", || scene.count("done 1 b.txt") > 0);
    host.stop().success();
    assert_eq!(scene.count_of("began 1 a.txt"), 1, "what is finished does not come again");
}

#[test]
fn a_host_that_is_killed_with_events_in_flight_loses_none() {
    let scene = Scene::new();
    let host = scene.host().start();
    scene.hold();
    (0..12).for_each(|n| scene.write(&format!("{n}.txt")));
    scene.wait_until(&host, "all that may begin", || scene.count_of("began") == 8);
    host.signal(Signal::KILL);
    host.wait();
    scene.release();
    let host = scene.host().start();
    for n in 0..12 {
        scene.wait(&host, &format!("done 1 {n}.txt"));
    }
    host.stop().success();
}

#[test]
fn a_verdict_that_does_not_come_in_time_is_a_failure() {
    let scene = Scene::new();
    let host = scene.host().set("plugin.flying.timeout='200ms'").start();
    scene.write("a.never.txt");
    scene.write("b.txt");
    scene.wait(&host, "done 2 a.never.txt");
    scene.wait_until(&host, "the other one", || scene.count_of("done ") == 2);
    let why = if is_isolated() { "did not come back within 200ms" } else { "has not come within 200ms" };
    host.logged(&["a.never.txt", why]);
    host.stop().success();
}

#[test]
fn of_several_in_flight_the_one_that_ends_the_process_is_found() {
    if !is_isolated() {
        return;
    }
    let scene = Scene::new();
    let host = scene.host().start();
    scene.hold();
    ["a.txt", "b.txt", "c.abort.txt", "d.txt"].iter().for_each(|file| scene.write(file));
    scene.wait_until(&host, "all", || scene.count_of("began") == 4);
    scene.release();
    host.logged(&["gave up", "c.abort.txt", "3 times"]);
    for file in ["a.txt", "b.txt", "d.txt"] {
        scene.wait(&host, &format!("done 1 {file}"));
    }
    assert_eq!(host.count_logged(&["gave up"]), 1, "{}", host.log());
    host.stop().success();
}

#[test]
fn a_process_that_is_killed_from_outside_with_events_in_flight_is_made_anew() {
    if !is_isolated() {
        return;
    }
    let scene = Scene::new();
    let host = scene.host().start();
    scene.hold();
    scene.write("a.txt");
    scene.write("b.txt");
    scene.wait_until(&host, "both", || scene.count_of("began") == 2);
    children(host.pid()).into_iter().for_each(|child| kill_process(child, Signal::KILL).expect("it lives"));
    scene.release();
    scene.wait_until(&host, "both", || scene.count_of("done ") >= 2);
    host.stop().success();
}

#[test]
fn a_panic_in_a_call_leaves_what_is_in_flight_alone() {
    if inline_only("what is in flight in a process goes with it") {
        return;
    }
    let scene = Scene::new();
    let host = scene.host().start();
    scene.hold();
    scene.write("a.txt");
    scene.wait(&host, "began 1 a.txt");
    scene.write("b.crash.txt");
    host.logged(&["told to panic in the call"]);
    scene.release();
    scene.wait(&host, "done 1 a.txt");
    host.stop().success();
    assert_eq!(scene.count_of("began 1 a.txt"), 1);
}

#[test]
fn a_verdict_counts_that_comes_right_before_the_end_of_its_process() {
    if !is_isolated() {
        return;
    }
    for _ in 0..3 {
        let scene = Scene::new();
        let host = scene.host().start();
        scene.write("a.last.txt");
        scene.wait(&host, "done 1 a.last.txt");
        // It may come to the old process yet, and then comes again.
        scene.write("b.txt");
        scene.wait(&host, "done 1 b.txt");
        host.stop().success();
        assert_eq!(scene.count_of("began 1 a.last.txt"), 1, "{:?}", scene.lines());
    }
}

#[test]
fn what_a_plugin_does_to_a_file_in_flight_is_not_taken_for_anothers_work() {
    let scene = Scene::new();
    let host = scene.host().set("plugin.flying.workers=4").start_and_look();
    scene.hold();
    scene.write("a.rewrote.txt");
    scene.write("b.touch.txt");
    scene.wait_until(&host, "both", || scene.count_of("began") == 2);
    scene.release();
    scene.wait_until(&host, "both", || scene.count_of("done") == 2);
    // What comes back has come by now.
    scene.write("c.touch.txt");
    scene.write("d.rewrote.txt");
    scene.wait_until(&host, "two more", || scene.count_of("done") == 4);
    (0..20).for_each(|n| scene.write(&format!("{n}.txt")));
    scene.wait_until(&host, "all", || (0..20).all(|n| scene.count(&format!("done 1 {n}.txt")) == 1));
    host.stop().success();
    assert_eq!(scene.lines().len(), 48, "each once: {:?}", scene.lines());
}

#[test]
fn new_code_waits_for_the_verdicts_on_what_the_old_code_has_in_flight() {
    let scene = Scene::new();
    let host = scene.host().start();
    scene.hold();
    scene.write("a.txt");
    scene.wait(&host, "began 1 a.txt");
    let mut newer = fs::read(library("flying")).expect("it is built");
    newer.extend(b"newer");
    let aside = host.aside("newer.so", "");
    fs::write(&aside, newer).expect("a file");
    fs::rename(aside, host.plugins().join("libnotifyit_flying.so")).expect("the directory is ours");
    scene.write("b.txt");
    scene.release();
    host.logged(&["flying", "is replaced"]);
    scene.wait(&host, "done 1 b.txt");
    host.stop().success();
    assert_eq!(scene.lines().len(), 4, "each once: {:?}", scene.lines());
}
