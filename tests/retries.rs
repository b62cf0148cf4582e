//! What could not be handled: it survives a restart, and keeps nothing else out.

use notifyit_tests::{Host, Running};
use rustix::process::Signal;

use crate::state::{Site, stopped};

fn retrying(site: &Site, retry: &str) -> Host {
    site.host().set(&format!("plugin.recorder.retry={retry}"))
}

fn killed(host: Running) {
    host.signal(Signal::KILL);
    drop(host.wait());
}

/// Waits until there are so many answers for a file.
fn answered(site: &Site, host: &Running, relative: &str, times: usize) -> Vec<(u64, String, String)> {
    host.wait_for(&format!("{times} answers for {relative}"), |_| {
        let answers = site.answers(relative);
        (answers.len() >= times).then_some(answers)
    })
}

fn attempts(answers: &[(u64, String, String)]) -> Vec<u64> {
    answers.iter().map(|(attempt, ..)| *attempt).collect()
}

#[test]
fn a_retry_goes_on_with_its_count_when_the_host_is_killed() {
    let site = Site::new();
    let start = |first: &str| {
        retrying(&site, &format!(r#"{{first="{first}",max="10s",attempts=5}}"#)).start_and_look()
    };
    // So that it is not given up before the kill, however long that takes.
    let host = start("1s");
    site.write("a.retry.txt", "x");
    let before = answered(&site, &host, "a.retry.txt", 2).len();
    site.wait_for_commit(&host);
    killed(host);
    let host = start("100ms");
    host.logged(&["ERROR", "a.retry.txt", "after 5 attempts"]);
    stopped(host);
    let answers = site.answers("a.retry.txt");
    let mut counted = attempts(&answers);
    // What came to an end a moment before the kill was not on disk yet.
    counted.dedup();
    assert_eq!(counted, [1, 2, 3, 4, 5]);
    let origins = (&*answers[0].1, &*answers[answers.len() - 1].1);
    assert_eq!(origins, ("live", "start"), "{before} before the kill");
    stopped(start("100ms"));
    assert_eq!(site.answers("a.retry.txt").len(), answers.len(), "it was given up");
}

#[test]
fn a_retry_keeps_its_time_when_the_host_is_stopped_and_a_newer_version_does_not_wait_for_it() {
    let site = Site::new();
    let start = || retrying(&site, r#"{first="60s",max="60s"}"#).start();
    let host = start();
    for name in ["a.retry.txt", "b.retry1.txt"] {
        site.write(name, "x");
        answered(&site, &host, name, 1);
    }
    stopped(host);
    site.write("b.retry1.txt", "a newer version");
    site.write("down.txt", "x");
    let host = start();
    site.wait_for(&host, "down.txt");
    answered(&site, &host, "b.retry1.txt", 2);
    site.settle(&host, "marker");
    assert_eq!(attempts(&site.answers("a.retry.txt")), [1], "it is not due for a minute");
    assert_eq!(attempts(&site.answers("b.retry1.txt")), [1, 1]);
    stopped(host);
}

#[test]
fn the_time_for_retries_is_not_given_anew_by_a_restart() {
    let site = Site::new();
    let start = || retrying(&site, r#"{first="100ms",max="100ms",for="5s"}"#).start();
    let host = start();
    site.write("a.retry.txt", "x");
    answered(&site, &host, "a.retry.txt", 8);
    stopped(host);
    let before = site.answers("a.retry.txt").len();
    let host = start();
    host.logged(&["ERROR", "gave up", "a.retry.txt"]);
    stopped(host);
    let attempts = attempts(&site.answers("a.retry.txt"));
    assert!(attempts.iter().copied().eq(1..=attempts.len() as u64), "{attempts:?}");
    let times: Vec<u64> =
        site.records().filter(|r| r["say"] == "retry").flat_map(|r| r["at_nanos"].as_u64()).collect();
    let last_but_one = times[times.len() - 2] - times[0];
    // It goes from when the host heard of the first failure, a moment behind that, and not from when it started again.
    let a_moment = (times[before] - times[0]) / 2;
    assert!(last_but_one < 5_000_000_000 + a_moment, "it was to be over before: {last_but_one} ns");
}

#[test]
fn a_renamed_file_takes_its_count_along() {
    let site = Site::new();
    let start = || retrying(&site, r#"{first="60s",max="60s"}"#).args(["-e", "close-write"]).start();
    let host = start();
    site.write("d/a.retry.txt", "x");
    answered(&site, &host, "d/a.retry.txt", 1);
    let at = |name: &str| site.root().join(name);
    std::fs::rename(at("d/a.retry.txt"), at("d/b.retry.txt")).expect("a rename");
    std::fs::rename(at("d"), at("e")).expect("a rename");
    site.settle(&host, "marker1");
    stopped(host);
    site.write("e/down.txt", "x");
    let host = start();
    site.wait_for(&host, "e/down.txt");
    site.settle(&host, "marker2");
    assert_eq!(site.answers("e/b.retry.txt"), [], "it is not due for a minute");
    stopped(host);
}

#[test]
fn what_is_renamed_while_a_plugin_has_it_in_hand_is_known_by_its_new_name() {
    let site = Site::new();
    let hold = site.0.path().join("hold");
    let config = site.0.path().join("notifyit.toml");
    let beside = site.0.path().join("beside");
    let text = format!(
        "[plugin.recorder.config]\nhold = {hold:?}\n[plugin.beside]\nlibrary = \"recorder\"\n\
         [plugin.beside.config]\nout = {beside:?}\n"
    );
    std::fs::write(&config, text).expect("a file");
    let start = || {
        let host = retrying(&site, r#"{first="60s",max="60s"}"#).named_plugin("recorder");
        host.args(["-e", "close-write", "-c"]).arg(&config).start()
    };
    let host = start();
    let renames = [("a.retry.txt", "b.retry.txt", "retry", "told1"), ("a.txt", "b.txt", "done", "told2")];
    for (from, to, say, next) in renames {
        std::fs::write(&hold, "").expect("a file");
        site.write(from, "x");
        host.logged(&["holding", from]);
        std::fs::rename(site.root().join(from), site.root().join(to)).expect("a rename");
        site.write(next, "x");
        let told = || std::fs::read_to_string(&beside).unwrap_or_default().contains(next);
        host.wait_for("the source to have told of the rename", |_| told().then_some(()));
        std::fs::remove_file(&hold).expect("a file");
        let answers = answered(&site, &host, from, 1);
        assert_eq!(answers[0].2, say);
        site.wait_for(&host, next);
    }
    site.settle(&host, "marker1");
    stopped(host);
    site.write("down.txt", "x");
    let host = start();
    site.wait_for(&host, "down.txt");
    site.settle(&host, "marker2");
    stopped(host);
    assert_eq!(site.answers("b.retry.txt"), [], "it is not due for a minute");
    assert_eq!(site.answers("b.txt"), [], "it was done");
}

/// Writes good files again and again until `check` has an answer; no more than a short queue holds before they are
/// handled, for else a machine that is slower than this falls behind for ever.
fn amid_good_files<T>(host: &Running, what: &str, mut check: impl FnMut(&Running) -> Option<T>) -> T {
    let mut written = 0;
    host.wait_for(what, |host| {
        let done = host.records("recorder").iter().filter(|record| record.say == "done").count();
        (written..done + 16).for_each(|turn| host.write(format!("good{turn}.txt"), "x"));
        written = written.max(done + 16);
        check(host)
    })
}

/// A host with a short queue, without and with a state directory.
fn with_a_short_queue(retry: &str, check: impl Fn(Running)) {
    for state in [false, true] {
        let host = Host::new().plugin("recorder").set("plugin.recorder.queue=16");
        let host = host.set(&format!("plugin.recorder.retry={retry}"));
        let host = if state { host.set("host.state_dir='{temp}/state'") } else { host };
        check(host.start());
    }
}

#[test]
fn files_that_fail_keep_no_good_one_out() {
    with_a_short_queue(r#"{first="60s",max="60s"}"#, |host| {
        for n in 0..40 {
            host.write(format!("{n}.retry.txt"), "x");
            host.answered("recorder", format!("{n}.retry.txt"), 1);
            host.write(format!("{n}.txt"), "x");
            host.handled("recorder", format!("{n}.txt"));
        }
        assert_eq!(host.count_logged(&["fallen"]), 0, "half of the queue is left to good files");
        host.stop().success();
    });
}

#[test]
fn files_that_fail_get_all_their_attempts_also_when_they_are_too_many_for_the_queue() {
    with_a_short_queue(r#"{first="100ms",max="100ms",attempts=2}"#, |host| {
        let failing = |n: usize| format!("{n}.retry.txt");
        for n in 0..24 {
            host.write(failing(n), "x");
        }
        amid_good_files(&host, "every file that fails to be given up", |host| {
            (host.count_logged(&["ERROR", "gave up", "after 2 attempts"]) == 24).then_some(())
        });
        for n in 0..24 {
            let records = host.attempts("recorder", failing(n));
            let mut attempts: Vec<u64> = records.iter().map(|record| record.attempt).collect();
            // In a pause attempts do not count, but what the plugin is told goes on: it may go by that.
            attempts.dedup();
            let goes_on = attempts.windows(2).all(|pair| pair[1] == pair[0] + 1);
            assert!(attempts.starts_with(&[1, 2]) && goes_on, "{n}: {attempts:?}");
        }
        host.stop().success();
    });
}

#[test]
fn a_file_that_failed_is_tried_again_however_short_the_queue_is() {
    let host = Host::new().plugin("recorder").set("plugin.recorder.queue=1");
    let host = host.set(r#"plugin.recorder.retry={first="100ms",max="100ms"}"#).start();
    host.write("a.retry.txt", "x");
    host.answered("recorder", "a.retry.txt", 3);
    host.write("good.txt", "x");
    host.handled("recorder", "good.txt");
    host.stop().success();
}
