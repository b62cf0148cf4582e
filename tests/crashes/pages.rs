//! Pages that blame nobody, and where there are none.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::process::ExitStatusExt;

use rustix::process::Signal;

use super::{Scene, died, killed};
use crate::mounts::Mount;
use crate::state::stopped;

/// The next host blames nobody, and tries the file for the first time.
fn nobody_is_blamed(scene: &Scene, file: &str) {
    let before = scene.began(file);
    let host = scene.host().start();
    host.logged(&["holding", file]);
    assert_eq!(host.count_logged(&["in hand"]), 0);
    let first = format!("began 1 {file}");
    assert_eq!(scene.lines().iter().filter(|line| **line == first).count(), before + 1);
    drop(host);
}

#[test]
fn a_stop_is_nobodys_crash_whatever_it_leaves_behind() {
    let scene = Scene::new();
    let host = scene.holding(scene.host().args(["--grace", "100ms"]), "a.wait.txt");
    stopped(host);
    nobody_is_blamed(&scene, "a.wait.txt");
    // The same at once, and by one who has no patience.
    for last in [Signal::TERM, Signal::KILL] {
        let scene = Scene::new();
        let host = scene.holding(scene.host().args(["--grace", "60s"]), "a.wait.txt");
        host.signal(Signal::TERM);
        host.logged(&["stopping"]);
        host.signal(last);
        drop(host.wait());
        nobody_is_blamed(&scene, "a.wait.txt");
    }
}

#[test]
fn who_is_left_behind_may_crash_when_the_ground_goes() {
    let scene = Scene::new();
    let host = scene.host().args(["--grace", "100ms"]).start();
    scene.0.write("a.end.txt", "x");
    host.logged(&["holding", "a.end.txt"]);
    host.signal(Signal::TERM);
    let (status, _) = died(host);
    assert_eq!(status.signal(), Some(11));
    nobody_is_blamed(&scene, "a.end.txt");
}

#[test]
fn what_a_plugin_does_while_the_host_stops_is_its_own() {
    let scene = Scene::new();
    let host = scene.holding(scene.host().args(["--grace", "60s"]), "a.late.txt");
    host.signal(Signal::TERM);
    host.logged(&["stopping"]);
    fs::remove_file(scene.temp("hold")).expect("a file");
    died(host);
    let host = scene.host().spawn();
    host.logged(&["WARN", "died of SIGSEGV", "a.late.txt", "crash 1 of 3"]);
}

#[test]
fn a_page_of_another_boot_blames_nobody() {
    let scene = Scene::new();
    killed(scene.holding(scene.host(), "a.wait.txt"));
    let pages = scene.pages();
    assert_eq!(pages.len(), 1, "{pages:?}");
    let mut page = fs::read(&pages[0]).expect("a page");
    assert_eq!(page.len(), 8192);
    page[8] ^= 1;
    fs::write(&pages[0], page).expect("a page");
    nobody_is_blamed(&scene, "a.wait.txt");
}

#[test]
fn what_is_no_whole_page_is_said_and_blames_nobody() {
    let scene = Scene::new();
    killed(scene.holding(scene.host(), "a.wait.txt"));
    let page = fs::read(&scene.pages()[0]).expect("a page");
    let at = |name: &str| scene.temp("state/recorder").join(name);
    let damaged = |place: usize| {
        let mut damaged = page.clone();
        damaged[place] ^= 1;
        damaged
    };
    fs::write(at("deadly.0"), damaged(56)).expect("a file");
    fs::write(at("deadly.1"), &page[..100]).expect("a file");
    fs::write(at("deadly.2"), damaged(0)).expect("a file");
    fs::write(at("README"), "not of ours").expect("a file");
    fs::create_dir(at("deadly.3")).expect("a directory");
    let host = scene.host().start();
    for (file, why) in [
        ("deadly.0", "it is damaged"),
        ("deadly.1", "it has another length"),
        ("deadly.2", "it begins otherwise"),
        ("deadly.3", "it is no file"),
    ] {
        host.logged(&["WARN", file, why]);
    }
    host.logged(&["holding", "a.wait.txt"]);
    assert_eq!(host.count_logged(&["WARN"]), 4, "{}", host.log());
    assert!(at("README").exists(), "it is let be");
    killed(host);
    let host = scene.host().start();
    host.logged(&["WARN", "a.wait.txt", "crash 1 of 3"]);
}

#[test]
fn a_full_disk_has_no_recorder_and_ends_no_host() {
    let scene = Scene::new();
    let options = ["-t", "tmpfs", "-o", "size=4m", "tmpfs"].map(OsStr::new);
    let Some(_disk) = Mount::new("mount", &options, &scene.temp("state")) else { return };
    let host = scene.host().start();
    let fill = || {
        let mut filler =
            fs::File::options().append(true).create(true).open(scene.temp("state/filler")).expect("a file");
        for size in [1 << 16, 1 << 12, 1] {
            while std::io::Write::write_all(&mut filler, &vec![7; size]).is_ok() {}
        }
    };
    // A page that is had already, may be written to.
    fill();
    scene.0.write("a.txt", "x");
    host.wait_for("a file", |_| scene.is_done("a.txt").then_some(()));
    stopped(host);
    fill();
    let host = scene.host().set("plugin.deadly.workers=4").start();
    host.logged(&["WARN", "failed to make a flight recorder", "recorder", "No space left"]);
    scene.0.write("b.txt", "x");
    host.wait_for("a file", |_| scene.is_done("b.txt").then_some(()));
    assert_eq!(host.count_logged(&["flight recorder"]), 1, "once");
    drop(host);
}

#[test]
fn a_page_that_cannot_be_written_to_any_more_ends_no_host() {
    let scene = Scene::new();
    let host = scene.host().start();
    let page = fs::File::options().write(true).open(&scene.pages()[0]).expect("a page");
    page.set_len(0).expect("it can be cut");
    for file in ["a.txt", "b.txt"] {
        scene.0.write(file, "x");
        host.wait_for("a file", |_| scene.is_done(file).then_some(()));
    }
    stopped(host);
}

#[test]
fn a_worker_has_a_page_and_a_stop_leaves_none() {
    let scene = Scene::new();
    let host = scene.host().start();
    assert_eq!(scene.pages().len(), 1);
    stopped(host);
    assert_eq!(scene.pages().len(), 0);
}
