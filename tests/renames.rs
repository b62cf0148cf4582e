//! Renames while work is queued or in hand: it goes along.

use std::fs;
use std::path::PathBuf;

use notifyit_tests::{Host, Running};
use rustix::fs::{CWD, RenameFlags, renameat_with};

/// A host that asks for close-write alone and holds `first` in hand, so that what is written now waits behind it.
fn held() -> (Running, PathBuf) {
    let host = Host::new().plugin("recorder").args(["-r", "-e", "close-write"]);
    let host = host.set("recorder.hold='{temp}/hold'").set("recorder.fail_while='{temp}/broken'");
    let host = host.set(r#"plugin.recorder.retry={first="50ms"}"#);
    let hold = host.aside("hold", "");
    host.mkdir("old/sub");
    let host = host.start_and_look();
    host.write("first", "x");
    host.logged(&["holding", "first"]);
    (host, hold)
}

fn done(host: &Running) -> Vec<String> {
    let done = host.records("recorder").into_iter().filter(|r| r.say == "done").filter_map(|r| r.relative);
    done.map(|path| path.to_string_lossy().into_owned()).collect()
}

#[test]
fn a_queued_file_is_delivered_once_and_by_its_new_name() {
    let (host, hold) = held();
    host.write("a.open.part", "content");
    host.rename("a.open.part", "a.open.txt");
    fs::remove_file(hold).unwrap();
    host.handled("recorder", "a.open.txt");
    host.drained("recorder");
    assert_eq!(done(&host)[..2], ["first", "a.open.txt"]);
    assert_eq!(done(&host).len(), 3, "{:?}", done(&host));
    host.stop().success();
}

#[test]
fn queued_files_go_along_with_their_directory() {
    let (host, hold) = held();
    for n in 0..20 {
        host.write(format!("old/sub/{n}.open"), "content");
    }
    host.rename("old", "new");
    fs::remove_file(hold).unwrap();
    host.all_handled("recorder", (0..20).map(|n| format!("new/sub/{n}.open")));
    host.drained("recorder");
    assert_eq!(done(&host).len(), 22, "each once: {:?}", done(&host));
    host.stop().success();
}

#[test]
fn a_file_that_is_renamed_while_it_waits_for_its_next_attempt_is_tried_by_its_new_name() {
    let (host, hold) = held();
    fs::remove_file(hold).unwrap();
    host.handled("recorder", "first");
    let broken = host.aside("broken", "");
    host.write("a.txt", "x");
    host.answered("recorder", "a.txt", 1);
    host.rename("a.txt", "b.txt");
    fs::remove_file(broken).unwrap();
    host.handled("recorder", "b.txt");
    assert_eq!(host.times_done("recorder", "a.txt"), 0);
    host.stop().success();
}

#[test]
fn a_file_that_is_renamed_while_it_is_in_hand_is_not_lost() {
    let (host, hold) = held();
    host.write("a.open", "content");
    fs::remove_file(&hold).unwrap();
    host.handled("recorder", "a.open");
    fs::write(&hold, "").unwrap();
    host.write("b.open", "content");
    host.logged(&["holding", "b.open"]);
    host.rename("b.open", "c.open");
    fs::remove_file(hold).unwrap();
    // `open` fails, for the name is gone; the next attempt knows the new one.
    host.handled("recorder", "c.open");
    host.stop().success();
}

#[test]
fn a_chain_of_renames_is_followed() {
    let (host, hold) = held();
    host.write("0.open", "content");
    for n in 0..50 {
        let to = if n % 2 == 0 { format!("old/{}.open", n + 1) } else { format!("{}.open", n + 1) };
        let from = if n % 2 == 0 { format!("{n}.open") } else { format!("old/{n}.open") };
        host.rename(from, to);
    }
    fs::remove_file(hold).unwrap();
    host.handled("recorder", "50.open");
    host.drained("recorder");
    assert_eq!(done(&host).len(), 3, "{:?}", done(&host));
    host.stop().success();
}

#[test]
fn a_file_that_another_is_renamed_over_is_delivered_as_the_new_one() {
    let (host, hold) = held();
    host.write("a.open", "older");
    host.write("b.open", "newer");
    host.rename("b.open", "a.open");
    fs::remove_file(hold).unwrap();
    host.wait_for("the newer content", |host| {
        host.attempts("recorder", "a.open").iter().any(|r| r.text == "newer").then_some(())
    });
    host.alive("recorder");
    host.stop().success();
}

#[test]
fn a_file_that_was_removed_while_it_waited_is_not_tried_for_ever() {
    let (host, hold) = held();
    fs::remove_file(hold).unwrap();
    host.write("a.retry", "x");
    host.answered("recorder", "a.retry", 2);
    fs::remove_file(host.path("a.retry")).unwrap();
    host.logged(&["DEBUG", "a.retry", "was gone before plugin `recorder` had handled it"]);
    let tried = host.attempts("recorder", "a.retry").len();
    host.drained("recorder");
    assert_eq!(host.attempts("recorder", "a.retry").len(), tried);
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.lines(&["unhandled"]), [""; 0]);
}

fn exchange(host: &Running, one: &str, other: &str) {
    renameat_with(CWD, host.path(one), CWD, host.path(other), RenameFlags::EXCHANGE).expect("both are there");
}

#[test]
fn queued_files_that_change_places_are_each_delivered_once() {
    let (host, hold) = held();
    host.write("a.open", "one");
    host.write("b.open", "other");
    exchange(&host, "a.open", "b.open");
    host.write("there.open", "x");
    host.rename("there.open", "back.open");
    host.rename("back.open", "there.open");
    fs::remove_file(hold).unwrap();
    host.all_handled("recorder", ["a.open", "b.open", "there.open"]);
    host.drained("recorder");
    assert_eq!(done(&host).len(), 5, "{:?}", done(&host));
    assert_eq!(host.attempts("recorder", "a.open")[0].text, "other");
    assert_eq!(host.attempts("recorder", "b.open")[0].text, "one");
    host.stop().success();
}

#[test]
fn directories_that_change_places_go_on_being_watched_and_take_their_files_along() {
    let (host, hold) = held();
    host.mkdir("one");
    host.mkdir("old/sub/other");
    fs::remove_file(&hold).unwrap();
    host.drained("recorder");
    for n in 0..20 {
        fs::write(&hold, "").unwrap();
        host.write(format!("held{n}"), "x");
        host.logged(&["holding", &format!("held{n}")]);
        host.write(format!("one/{n}.open"), "one");
        host.write(format!("old/sub/other/{n}.open"), "other");
        exchange(&host, "one", "old/sub/other");
        host.write(format!("one/{n}.open.later"), "other");
        host.write(format!("old/sub/other/{n}.open.later"), "one");
        fs::remove_file(&hold).unwrap();
        for (place, content) in [("one", "other"), ("old/sub/other", "one")] {
            for name in [format!("{n}.open"), format!("{n}.open.later")] {
                host.handled("recorder", format!("{place}/{name}"));
                assert_eq!(host.attempts("recorder", format!("{place}/{name}"))[0].text, content);
            }
        }
    }
    host.drained("recorder");
    host.stop().success();
}
