//! Dead letters: kept, listed, handed out again, dropped.

use std::fs;
use std::os::unix::ffi::OsStrExt;

use notifyit_tests::{Host, Running};
use serde_json::Value;

use crate::state::{Site, stopped};

fn host(site: &Site) -> Host {
    let broken = site.0.path().join("broken");
    site.host()
        .set(r#"plugin.recorder.retry={first="10ms",max="10ms",attempts=2}"#)
        .set(&format!("recorder.fail_while={broken:?}"))
}

/// While this is there, all that is not rejected fails.
fn broken(site: &Site) -> std::path::PathBuf {
    let broken = site.0.path().join("broken");
    fs::write(&broken, "").expect("a file");
    broken
}

fn given_up(site: &Site, host: &Running, name: &str) {
    site.write(name, "x");
    host.logged(&["ERROR", "gave up", name]);
}

/// The dead letters.
fn letters(site: &Site) -> Vec<Value> {
    let told = site.told("dead", &["list", "--json"]);
    told.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
}

fn id(letter: &Value) -> &str {
    letter["id"].as_str().expect("a letter has an id")
}

#[test]
fn what_is_given_up_or_rejected_is_listed_and_shown() {
    let site = Site::new();
    let broken = broken(&site);
    let host = host(&site).start();
    given_up(&site, &host, "d/a.txt");
    let delivered =
        site.records().find(|record| record["event"]["relative"] == "d/a.txt").expect("an answer");
    fs::remove_file(broken).expect("a file");
    site.write("b.reject.txt", "22");
    host.logged(&["WARN", "rejected", "b.reject.txt"]);
    stopped(host);

    let letters = letters(&site);
    assert_eq!(letters.len(), 2, "{letters:?}");
    let (a, b) = (&letters[0], &letters[1]);
    for key in ["v", "id", "watch", "path", "root", "relative", "name", "size", "inode", "modified"] {
        assert_eq!(a[key], delivered["event"][key], "{key} is the event's");
    }
    assert_eq!(
        (&a["plugin"], &a["attempts"], &a["why"]),
        (&"recorder".into(), &2.into(), &"exhausted".into())
    );
    assert!(a["first"].as_str() < a["last"].as_str() && a["error"] == "told to fail for now", "{a}");
    assert_eq!(
        (&b["name"], &b["attempts"], &b["why"]),
        (&"b.reject.txt".into(), &1.into(), &"rejected".into())
    );

    let list = site.told("dead", &["list"]);
    let lines: Vec<&str> = list.lines().collect();
    assert_eq!(lines.len(), 3, "{list}");
    for (line, words) in [
        (lines[0], &["ID", "PLUGIN", "ATTEMPTS", "LAST", "PATH", "ERROR"][..]),
        (lines[1], &[id(a), "recorder", "  2  ", "/in/d/a.txt", "given up: told to fail for now"]),
        (lines[2], &[id(b), "recorder", "  1  ", "/in/b.reject.txt", "rejected: told to reject"]),
    ] {
        assert!(words.iter().all(|word| line.contains(word)), "{line}");
    }
    let show = site.told("dead", &["show", id(a)]);
    for words in [["path", "/in/d/a.txt"], ["attempts", "2"], ["file", "as it was"], ["size", "1"]] {
        assert!(show.lines().any(|line| words.iter().all(|word| line.contains(word))), "{words:?} in {show}");
    }
    assert_eq!(site.told("dead", &["list", "-p", "recorder"]), list);
}

#[test]
fn a_dead_letter_that_is_retried_is_delivered_once_as_a_replay() {
    let site = Site::new();
    let broken = broken(&site);
    let running = host(&site).start();
    given_up(&site, &running, "a.txt");
    given_up(&site, &running, "b.txt");
    stopped(running);
    fs::remove_file(broken).expect("a file");
    let running = host(&site).start();
    site.settle(&running, "marker1");
    stopped(running);
    assert_eq!(site.answers("a.txt").len(), 2, "by itself it does not come again");

    let id = id(&letters(&site)[0]).to_owned();
    assert_eq!(site.told("dead", &["retry", &id]), "1 dead letter is handed out again at the next start\n");
    assert_eq!(letters(&site).len(), 1);
    for marker in ["marker2", "marker3"] {
        let running = host(&site).start();
        site.wait_for(&running, "a.txt");
        site.settle(&running, marker);
        stopped(running);
    }
    let answers = site.answers("a.txt");
    assert_eq!(answers[2..], [(1, "replay".to_owned(), "done".to_owned())]);
    assert_eq!(site.answers("b.txt").len(), 2);
    assert_eq!(letters(&site).len(), 1, "{:?}", letters(&site));
}

#[test]
fn a_replay_that_fails_stays_a_replay_over_a_restart_and_is_a_dead_letter_again() {
    let site = Site::new();
    let running = host(&site).start_and_look();
    given_up(&site, &running, "a.retry.txt");
    stopped(running);
    site.told("dead", &["retry", "--all"]);
    // So that the stop comes before the second attempt.
    let slow = || host(&site).set(r#"plugin.recorder.retry={first="5s",max="5s",attempts=2}"#).start();
    let running = slow();
    running.wait_for("the third answer", |_| (site.answers("a.retry.txt").len() == 3).then_some(()));
    stopped(running);
    assert_eq!(letters(&site), [] as [Value; 0], "it waits for another try");
    let running = slow();
    running.logged(&["ERROR", "gave up", "a.retry.txt"]);
    stopped(running);
    let answers = site.answers("a.retry.txt");
    let of: Vec<_> = answers.iter().map(|(attempt, origin, _)| (*attempt, origin.as_str())).collect();
    assert_eq!(of[1..], [(2, "live"), (1, "replay"), (2, "replay")]);
    assert_eq!(letters(&site).len(), 1);
}

#[test]
fn a_newer_version_closes_the_dead_letter_of_an_older_one() {
    let site = Site::new();
    let broken = broken(&site);
    let host = host(&site).start();
    given_up(&site, &host, "a.txt");
    fs::remove_file(broken).expect("a file");
    site.write("a.txt", "newer");
    site.wait_for(&host, "a.txt");
    stopped(host);
    assert_eq!(letters(&site), [] as [Value; 0]);
    assert_eq!(site.told("dead", &["list"]), "no dead letters\n");
}

#[test]
fn a_dead_letter_goes_where_its_directory_goes_and_survives_odd_names() {
    let site = Site::new();
    let host = host(&site).start();
    let odd = std::ffi::OsStr::from_bytes(b"d/\xff.\n.reject");
    site.write(odd, "x");
    host.logged(&["rejected"]);
    fs::rename(site.root().join("d"), site.root().join("e")).expect("a rename");
    site.settle(&host, "marker");
    stopped(host);
    let letters = letters(&site);
    let relative = notifyit_tests::bytes_of(&letters[0], "relative").expect("a path");
    assert_eq!(relative, b"e/\xff.\n.reject");
    assert_eq!(site.told("dead", &["list"]).lines().count(), 2);
}

#[test]
fn dead_letters_are_dropped_and_their_files_stay_finished() {
    let site = Site::new();
    let running = host(&site).start();
    for name in ["a.reject.txt", "b.reject.txt"] {
        site.write(name, "x");
        running.logged(&["rejected", name]);
    }
    stopped(running);
    let all = letters(&site);
    assert_eq!(site.told("dead", &["forget", id(&all[1])]), "1 dead letter is forgotten\n");
    assert_eq!(letters(&site), all[..1]);
    assert_eq!(site.told("dead", &["forget", "--all", "-p", "recorder"]), "1 dead letter is forgotten\n");
    assert_eq!(letters(&site), [] as [Value; 0]);
    let running = host(&site).start();
    site.settle(&running, "marker");
    stopped(running);
    assert_eq!(site.answers("a.reject.txt").len(), 1);
}

#[test]
fn what_is_not_there_is_one_line() {
    let site = Site::new();
    site.command("dead", &["list"]).code(1).one_error(&["state", "no host has kept a ledger there"]);
    let running = host(&site).start();
    site.write("a.reject.txt", "x");
    running.logged(&["rejected"]);
    let pid = running.pid().as_raw_nonzero().to_string();
    for (verb, arguments) in
        [("dead", &["list"][..]), ("dead", &["retry", "--all"]), ("replay", &[]), ("forget", &["recorder"])]
    {
        site.command(verb, arguments).code(1).one_error(&["state", &pid, "stop it first"]);
    }
    stopped(running);
    let unknown = "0123456789abcdef";
    let known = id(&letters(&site)[0]).to_owned();
    for verb in ["show", "retry", "forget"] {
        site.command("dead", &[verb, &known, unknown]).code(1).one_error(&["no dead letter", unknown]);
    }
    site.command("dead", &["list", "-p", "printer"]).code(1).one_error(&["`printer`", "recorder"]);
    assert_eq!(letters(&site).len(), 1, "nothing has changed");
    fs::remove_file(site.root().join("a.reject.txt")).expect("a file");
    let told = site.told("dead", &["retry", "--all"]);
    assert!(
        told.starts_with("0 dead letters are handed") && told.contains("1 dead letter is about files"),
        "{told}"
    );
}

#[test]
fn a_damaged_ledger_is_said_in_one_line_whatever_is_damaged() {
    let site = Site::new();
    let host = host(&site).start();
    site.write("a.txt", "x");
    site.wait_for(&host, "a.txt");
    stopped(host);
    let ledger = site.0.path().join("state/ledger.redb");
    let whole = fs::read(&ledger).expect("a ledger");
    for (from, to) in [(0, 64), (64, 512), (4096, whole.len())] {
        let mut damaged = whole.clone();
        damaged[from..to].fill(0x77);
        fs::write(&ledger, damaged).expect("a ledger");
        for (verb, arguments) in [("dead", &["list"][..]), ("forget", &["recorder"])] {
            site.command(verb, arguments).code(1).one_error(&["ledger", "damaged", "move it away"]);
        }
    }
}
