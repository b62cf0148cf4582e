//! How often: over failures, newer versions, and hosts without the plugin.

use std::fs;

use serde_json::Value;

use super::{SOON, Scene, died, killed, lines, supervised};
use crate::state::stopped;

#[test]
fn an_instance_that_does_not_run_any_more_keeps_its_count() {
    let scene = Scene::new();
    killed(scene.holding(scene.host(), "a.wait.wait.kill.txt"));
    let other = scene.host_of("print").start();
    other.logged(&["WARN", "`deadly`", "a.wait.wait.kill.txt", "crash 1 of 3"]);
    stopped(other);
    let host = scene.host().start();
    host.logged(&["holding"]);
    assert_eq!(host.count_logged(&["in hand"]), 0);
    killed(host);
    let host = scene.host().spawn();
    host.logged(&["WARN", "crash 2 of 3"]);
}

#[test]
fn a_newer_version_is_tried_anew() {
    let scene = Scene::new();
    let file = "a.bad.txt";
    let first = scene.host().start();
    scene.0.write(file, "bad");
    died(first);
    died(scene.host().spawn());
    scene.0.write(file, "bad, and newer");
    let host = scene.host().spawn();
    host.logged(&["WARN", file, "crash 2 of 3"]);
    died(host);
    let host = scene.host().spawn();
    host.logged(&["WARN", file, "crash 1 of 3"]);
    died(host);
    scene.0.write(file, "good");
    let host = scene.host().start();
    host.wait_for("the good one", |_| scene.is_done(file).then_some(()));
    stopped(host);
    assert!(scene.lines().contains(&format!("done 1 {file}")));
    assert_eq!(scene.letters(), [] as [Value; 0]);
}

#[test]
fn crashes_are_counted_over_failures_in_between_and_not_over_a_success() {
    let scene = Scene::new();
    let host = || scene.hosts_of(&["a", "commit"]);
    let first = host().start();
    let file = "a.segv.fail.late.fail.late.txt";
    scene.0.write(file, "x");
    let (_, mut said) = died(first);
    for _ in 0..2 {
        fs::write(scene.temp("hold"), "").expect("a file");
        let host = host().spawn();
        host.logged(&["holding", file]);
        // The failure before this attempt is on disk then.
        scene.0.wait_for_commit(&host);
        fs::remove_file(scene.temp("hold")).expect("a file");
        said += &died(host).1;
    }
    let last = host().start();
    last.logged(&["gave up"]);
    stopped(last);
    assert_eq!(lines(&said, &["crash 1 of 3"]).len() + lines(&said, &["crash 2 of 3"]).len(), 2, "{said}");
    let letters = scene.letters();
    assert_eq!((&letters[0]["crashes"], &letters[0]["attempts"]), (&3.into(), &5.into()), "{letters:?}");

    let first = scene.host().start();
    let file = "b.segv.segv.ok.txt";
    scene.0.write(file, "x");
    supervised(first, || scene.host().spawn(), |_| scene.is_done(file));
    let first = scene.host().start();
    scene.0.write(file, "again");
    let (said, _) = supervised(
        first,
        || scene.host().spawn(),
        |_| scene.lines().iter().filter(|line| **line == format!("done 3 {file}")).count() == 2,
    );
    assert_eq!(lines(&said, &[file, "crash 1 of 3"]).len(), 1, "{said}");
    assert_eq!(scene.letters().len(), 1);
}

#[test]
fn a_crash_is_an_attempt_and_fewer_of_either_may_be_asked_for() {
    for (policy, began) in [("crashes=1", 1), ("attempts=2", 2)] {
        let scene = Scene::new();
        let host = || scene.host().set(&format!("plugin.deadly.retry={{{SOON},{policy}}}"));
        let first = host().start();
        scene.0.write("a.abort.txt", "x");
        let (said, _) = supervised(first, || host().spawn(), |said| said.contains("gave up"));
        assert_eq!(scene.began("a.abort.txt"), began, "{policy}: {said}");
        assert_eq!(scene.letters()[0]["crashes"], began);
    }
}
