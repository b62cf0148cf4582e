//! What lies in a plugin's store after whatever happens.

use std::fs;

use notifyit_tests::{Host, Place, is_isolated, library, until};
use rustix::process::{Pid, Signal, kill_process};

use super::{answers, asking, keeping, next};

#[test]
fn what_is_put_is_there_after_a_kill_a_moment_later() {
    let host = keeping().start();
    let place = Place::clone(&host);
    answers(&host, "a", "put k one", "done");
    host.signal(Signal::KILL);
    drop(host.wait());
    // It may not be settled, and would be put once more.
    fs::remove_file(place.path("a")).unwrap();
    let host = next(&place).start();
    answers(&host, "b", "get k", "one");
    answers(&host, "c", "get other", "nothing");
    answers(&host, "d", "remove k", "done");
    host.stop().success();
    let host = next(&place).start();
    answers(&host, "e", "get k", "nothing");
    host.stop().success();
}

#[test]
fn all_workers_share_it_and_another_instance_has_its_own() {
    let config = "[[watch]]\npath = \"{root}\"\n[plugin.asks]\nworkers = 3\n\
                  [plugin.other]\nlibrary = \"asks\"\ninclude = [\"other*\"]\n";
    let host = Host::new().plugin("asks").config(config).args(["--state-dir", "state"]).start();
    for n in 0..9 {
        answers(&host, &format!("{n}"), &format!("put k{n} v"), "done");
    }
    answers(&host, "keys", "keys k", "k0 k1 k2 k3 k4 k5 k6 k7 k8");
    host.write("other", "get k1");
    host.logged(&["other", "get k1: nothing"]);
    host.stop().success();
}

#[test]
fn newer_code_finds_what_older_code_has_put_and_the_last_call_may_put() {
    let host = keeping().set("asks.put_at_the_end=true").start();
    answers(&host, "a", "put k one", "done");
    let mut newer = fs::read(library("asks")).unwrap();
    newer.extend(b"newer");
    let aside = host.aside("newer.so", "");
    fs::write(&aside, newer).unwrap();
    fs::rename(aside, host.plugins().join("libnotifyit_asks.so")).unwrap();
    host.logged(&["asks", "is replaced"]);
    answers(&host, "b", "get k", "one");
    answers(&host, "c", "get end", "reached");
    host.stop().success();
}

#[test]
fn without_a_state_directory_there_is_none_and_that_is_said() {
    let host = asking().start();
    host.write("a", "put k v");
    host.logged(&["asks", "no state directory, so that there is no store; name one with --state-dir"]);
    host.stop().success();
    let exit = asking().set("asks.store=true").arg("-p").arg("asks").run();
    exit.code(1).one_error(&["failed to start plugin `asks`", "name one with --state-dir"]);
}

#[test]
fn a_plugin_cannot_fill_it_without_end_and_is_no_harm_to_others() {
    let config = "[[watch]]\npath = \"{root}\"\n[plugin.asks]\nexclude = [\"other*\"]\nretry = { first = \"1h\", max = \"1h\" }\n\
                  [plugin.other]\nlibrary = \"asks\"\ninclude = [\"other*\"]\n";
    let host = Host::new().plugin("asks").config(config).args(["--state-dir", "state"]).start();
    host.write("a", "fill");
    // A slow disk takes its time for each.
    (0..63).for_each(|n| drop(host.logged(&["asks", &format!("filled {n}")])));
    host.logged(&["asks", "the store of plugin `asks` is full: it may hold 64 MiB"]);
    assert_eq!(host.count_logged(&["filled 64"]), 0);
    host.write("other", "put k v");
    host.logged(&["other", "put k v: done"]);
    host.stop().success();
}

#[test]
fn a_worker_that_is_killed_while_it_puts_leaves_all_that_was_answered() {
    if !is_isolated() {
        return;
    }
    let host = keeping().start();
    for round in 0..5 {
        let lines: Vec<String> = (0..200).map(|n| format!("put {round}/{n:03} v")).collect();
        host.write(format!("{round}"), lines.join("\n"));
        host.logged(&[&format!("put {round}/005 v: done")]);
        let worker = worker_of(&host).expect("it has one");
        kill_process(worker, Signal::KILL).unwrap();
        // Handled to its end by another process.
        host.logged(&[&format!("put {round}/199 v: done")]);
    }
    answers(&host, "keys", "keys 4/19", "4/190 4/191 4/192 4/193 4/194 4/195 4/196 4/197 4/198 4/199");
    host.stop().success();
}

fn worker_of(host: &notifyit_tests::Running) -> Option<Pid> {
    until(|| {
        let children = format!("/proc/{0}/task", host.pid().as_raw_nonzero());
        let tasks = fs::read_dir(children).ok()?.flatten();
        let ids = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
        ids.flat_map(|ids| ids.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
            .find_map(|id| Pid::from_raw(id.parse().ok()?))
    })
}

#[test]
fn forgetting_a_plugin_forgets_its_store() {
    let host = keeping().start();
    let place = Place::clone(&host);
    answers(&host, "a", "put k v", "done");
    host.stop().success();
    let forget = |more: &[&str]| {
        let host = Host::at(place.clone()).verb("forget").watching(Vec::<std::path::PathBuf>::new());
        let exit = host.args(["--state-dir", "state", "asks"]).args(more.to_vec()).run();
        exit.success();
        String::from_utf8_lossy(exit.stdout()).into_owned()
    };
    assert!(forget(&["--dry-run"]).contains("; 1 in its own store"));
    assert!(forget(&[]).contains("; 1 in its own store"));
    let host = next(&place).start();
    answers(&host, "b", "get k", "nothing");
    host.stop().success();
}
