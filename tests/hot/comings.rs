//! What is dropped and removed while the host runs, and what it gets.

use std::fs;
use std::time::Instant;

use notifyit_tests::{Host, Place, Running, inline_only, library, recorder, until, wait_for_a_tick};

use super::{FILE, each_once, host, install, running, works};

fn remove(host: &Running) {
    fs::remove_file(host.plugins().join(FILE)).expect("it is there");
    host.logged(&["INFO", "plugin `recorder` has gone"]);
}

#[test]
fn a_dropped_plugin_gets_what_lands_from_then_on_and_not_what_was_there() {
    let host = host();
    host.mkdir("sub");
    host.write("sub/old", "x");
    wait_for_a_tick();
    let host = host.arg("-r").plugin("print").start();
    host.write("sub/before", "x");
    host.handled("print", "sub/before");
    wait_for_a_tick();
    install(&host, FILE, &recorder("one"));
    host.logged(&["INFO", "plugin `recorder` 0.1.0", "runs now"]);
    host.write("sub/after", "x");
    host.handled("recorder", "sub/after");
    // `print` asks for less than that: the directories that are watched already must tell of links too.
    fs::hard_link(host.path("sub/after"), host.path("sub/linked")).expect("a link");
    host.handled("recorder", "sub/linked");
    host.mkdir("new");
    host.write("new/file", "x");
    host.handled("recorder", "new/file");
    host.drained("recorder");
    for old in ["sub/old", "sub/before"] {
        assert!(host.attempts("recorder", old).is_empty(), "{old} was there before");
    }
}

#[test]
fn with_existing_deliver_it_gets_what_was_there_too() {
    let host = host();
    host.write("old", "x");
    wait_for_a_tick();
    let host = host.plugin("print").args(["--existing", "deliver"]).start();
    host.handled("print", "old");
    install(&host, FILE, &recorder("one"));
    host.handled("recorder", "old");
    host.drained("recorder");
    assert_eq!((host.times_done("recorder", "old"), host.printed("old")), (1, 1));
}

/// Away and back: once for what landed meanwhile, and not again for what was handled before.
fn away_and_back(host: Host) {
    let host = host.start();
    works(&host, "one");
    host.write("before", "x");
    host.handled("recorder", "before");
    remove(&host);
    for number in 0..50 {
        host.write(format!("meanwhile{number}"), "x");
    }
    // What is there is told, and read, before it is back.
    install(&host, "libnotifyit_print.so", &fs::read(library("print")).expect("it is built"));
    host.logged(&["plugin `print`", "runs now"]);
    host.drained("print");
    let deliveries = host.records("recorder").len();
    install(&host, FILE, &recorder("two"));
    host.all_handled("recorder", (0..50).map(|number| format!("meanwhile{number}")));
    works(&host, "two");
    let files = (0..50).map(|number| format!("meanwhile{number}")).chain(["before".to_owned()]);
    each_once(&host, files);
    assert!(deliveries > 0);
    host.stop().success();
}

#[test]
fn what_lands_while_a_plugin_is_away_is_handled_when_it_is_back() {
    away_and_back(running("one"));
}

#[test]
fn and_with_a_state_directory_too() {
    away_and_back(running("one").args(["--state-dir", "state"]));
}

#[test]
fn a_removed_plugin_handles_what_it_has_before_it_goes() {
    let host = running("one").plugin("print").set("recorder.hold='{temp}/hold'");
    let host = host.set("recorder.slow_ms=20");
    let hold = host.aside("hold", "");
    let host = host.start();
    let files = || (0..40).map(|number| format!("f{number}"));
    files().for_each(|file| host.write(file, "x"));
    // What `print` has lies before the recorder, too.
    host.all_handled("print", files());
    fs::remove_file(hold).expect("it is there");
    fs::remove_file(host.plugins().join(FILE)).expect("it is there");
    host.logged(&["plugin `recorder` has gone"]);
    each_once(&host, files());
    let last = host.records("recorder").pop().expect("some");
    assert_eq!(last.say, "shutdown");
}

#[test]
fn one_that_does_not_come_back_in_time_is_left_behind_and_its_file_comes_again() {
    if inline_only("a process that does not come back is ended") {
        return;
    }
    let host = running("one").set("recorder.hold='{temp}/hold'").args(["--grace", "300ms"]);
    let hold = host.aside("hold", "");
    let host = host.start();
    host.write("stuck", "x");
    host.logged(&["holding", "stuck"]);
    for file in ["left", "too"] {
        host.write(file, "x");
    }
    fs::remove_file(host.plugins().join(FILE)).expect("it is there");
    host.logged(&["WARN", "plugin `recorder` left at most", "a call has not come back"]);
    host.logged(&["plugin `recorder` has gone", "handled when it is back"]);
    fs::remove_file(hold).expect("it is there");
    install(&host, FILE, &recorder("two"));
    host.all_handled("recorder", ["stuck", "left", "too"]);
}

#[test]
fn a_host_with_no_plugin_left_lives_and_takes_the_next() {
    let host = running("one").start();
    works(&host, "one");
    remove(&host);
    assert!(host.exited().is_none());
    install(&host, FILE, &recorder("two"));
    works(&host, "two");
}

#[test]
fn one_that_was_refused_at_the_start_runs_when_it_is_mended() {
    let host = host();
    install(&host, FILE, &recorder("no-new"));
    let host = host.start();
    host.logged(&["ERROR", "told to fail for now", "tried again in 1s"]);
    install(&host, "libnotifyit_print.so", b"\x7fELF but no more");
    host.logged(&["WARN", "libnotifyit_print.so"]);
    install(&host, FILE, &recorder("two"));
    works(&host, "two");
    install(&host, "libnotifyit_print.so", &fs::read(library("print")).expect("it is built"));
    host.logged(&["plugin `print`", "runs now"]);
    host.alive("print");
    assert_eq!(host.count_logged(&["failed to load"]), 1, "each refusal is said once");
}

#[test]
fn one_that_fails_in_its_start_for_a_while_is_tried_again() {
    let place = Place::clone(&host());
    let out = place.temp().join("not yet/recorder.jsonl");
    install(&place, FILE, &recorder("one"));
    let host = Host::at(place).plugin("print").env("RECORDER_OUT", &out).start();
    host.logged(&["ERROR", "failed to start plugin `recorder`", "tried again in 1s"]);
    fs::create_dir(out.parent().expect("it has one")).expect("it is not there");
    host.logged(&["plugin `recorder` 0.1.0", "runs now"]);
    host.write("a", "x");
    let handled =
        until(|| fs::read_to_string(&out).is_ok_and(|text| text.contains("\"done\"")).then_some(()));
    assert!(handled.is_some());
}

#[test]
fn a_directory_that_is_away_for_a_moment_takes_no_plugin_with_it() {
    let host = running("one").start();
    works(&host, "one");
    let aside = host.temp().join("aside");
    fs::rename(host.plugins(), &aside).expect("the directory is ours");
    host.logged(&["WARN", "failed to read plugin directory"]);
    fs::rename(&aside, host.plugins()).expect("its place is free");
    install(&host, FILE, &recorder("two"));
    works(&host, "two");
    assert_eq!(host.count_logged(&["is removed"]), 0);
}

/// A plugin that was there at the start and fails: what lands until it works is for it.
fn works_later(host: Host) {
    host.write("old", "x");
    wait_for_a_tick();
    install(&host, FILE, &recorder("no-new"));
    let host = host.start();
    host.logged(&["told to fail for now"]);
    host.write("meanwhile", "x");
    install(&host, FILE, &recorder("two"));
    host.handled("recorder", "meanwhile");
    works(&host, "two");
    assert_eq!((host.times_done("recorder", "meanwhile"), host.times_done("recorder", "old")), (1, 0));
}

#[test]
fn what_lands_before_a_plugin_that_is_there_works_is_handled_when_it_does() {
    works_later(host());
}

#[test]
fn and_where_it_is_polled_too() {
    works_later(host().arg("--poll=1s"));
}

#[test]
fn and_over_a_restart_too() {
    let host = host().args(["--state-dir", "state"]);
    install(&host, FILE, &recorder("no-new"));
    let host = host.start();
    host.logged(&["told to fail for now"]);
    host.write("meanwhile", "x");
    wait_for_a_tick();
    let place = Place::clone(&host);
    host.stop().success();
    install(&place, FILE, &recorder("two"));
    let out = place.temp().join("recorder.jsonl");
    let host = Host::at(place).env("RECORDER_OUT", out).args(["--state-dir", "state"]).start();
    host.handled("recorder", "meanwhile");
}

#[test]
fn what_is_moved_in_while_it_is_behind_from_the_start_is_handled() {
    let host = host().arg("-r").plugin("print").args(["-e", "landed"]);
    let host = host.set("plugin.recorder.queue=2").set("recorder.hold='{temp}/hold'");
    let aside = host.temp().join("aside");
    fs::create_dir(&aside).expect("its place is free");
    for number in 0..10 {
        fs::write(aside.join(format!("old{number}")), "x").expect("there is room");
    }
    wait_for_a_tick();
    install(&host, FILE, &recorder("no-new"));
    let hold = host.aside("hold", "");
    let host = host.start();
    let new = (0..20).map(|number| format!("new{number}"));
    new.clone().for_each(|file| host.write(file, "x"));
    install(&host, FILE, &recorder("two"));
    host.logged(&["WARN", "plugin `recorder` has fallen"]);
    fs::rename(&aside, host.path("moved")).expect("its place is free");
    let old = (0..10).map(|number| format!("moved/old{number}"));
    host.all_handled("print", old.clone());
    fs::remove_file(hold).expect("it is there");
    host.all_handled("recorder", new.chain(old));
}

#[test]
fn one_that_fails_is_tried_again_in_time_and_waits_without_turning() {
    let host = running("no-new").arg("-v");
    let host = host.start();
    let begin = Instant::now();
    for pause in ["1s", "2s", "4s"] {
        host.logged(&["told to fail for now", &format!("tried again in {pause}")]);
    }
    let (took, used) = (begin.elapsed(), host.processor_time());
    assert!(used < took / 4, "{used:?} of processor time in {took:?}");
}

#[test]
fn why_a_plugin_is_left_out_is_said_before_that_its_settings_are_for_none() {
    let host = host().set("recorder.slow_ms=1");
    install(&host, FILE, b"\x7fELF but no more");
    let exit = host.run();
    exit.code(2);
    assert_eq!(exit.lines(&["WARN", FILE, "failed to load"]).len(), 1);
}
