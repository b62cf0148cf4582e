//! `event.open()` cannot be led elsewhere by someone who may write to the watched directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use notifyit_tests::{Host, Record, Running};

/// A host whose recorder has `file` in hand, the event made and the file not opened yet.
fn before_the_open(file: &str) -> (Running, PathBuf) {
    let host = Host::new().plugin("recorder").arg("-r").set("recorder.hold='{temp}/hold'");
    let host = host.set(r#"plugin.recorder.retry={first="10ms"}"#);
    let hold = host.aside("hold", "");
    let secret = host.temp().join("secrets");
    fs::create_dir(&secret).expect("the name is free");
    fs::write(secret.join("a.open.txt"), "secret").expect("the directory is writable");
    host.mkdir("sub");
    let host = host.start();
    host.write(file, "public");
    host.logged(&["holding", file]);
    (host, hold)
}

/// Lets go, and waits for two answers: the one that was in hand, and one that the host prepared afterwards.
fn answers(host: &Running, hold: PathBuf, file: &str, expected: usize) -> Vec<Record> {
    fs::remove_file(hold).expect("the gate is there");
    let answers = host.answered("recorder", file, expected);
    assert!(host.records("recorder").iter().all(|r| r.text != "secret"), "the secret was read");
    answers
}

#[test]
fn the_file_of_the_event_is_read() {
    let (host, hold) = before_the_open("sub/a.open.txt");
    let answers = answers(&host, hold, "sub/a.open.txt", 1);
    assert_eq!((answers[0].say.as_str(), answers[0].text.as_str()), ("done", "public"));
    host.stop().success();
}

#[test]
fn a_link_swapped_in_for_the_file_is_refused() {
    let (host, hold) = before_the_open("a.open.txt");
    symlink(host.temp().join("secrets/a.open.txt"), host.path("link")).unwrap();
    host.rename("link", "a.open.txt");
    let answers = answers(&host, hold, "a.open.txt", 1);
    assert_eq!(answers[0].say, "retry");
    assert!(answers[0].text.contains("failed to open the event's file"), "{}", answers[0].text);
    host.alive("recorder");
    host.stop().success();
}

#[test]
fn a_link_swapped_in_for_the_directory_is_refused() {
    let (host, hold) = before_the_open("sub/a.open.txt");
    // Out of the tree, so that the file has no new name in it.
    fs::rename(host.path("sub"), host.temp().join("away")).unwrap();
    symlink(host.temp().join("secrets"), host.path("sub")).unwrap();
    let answers = answers(&host, hold, "sub/a.open.txt", 1);
    assert_eq!(answers[0].say, "retry");
    host.alive("recorder");
    host.stop().success();
}

#[test]
fn another_file_swapped_in_is_not_taken_for_the_one_of_the_event() {
    let (host, hold) = before_the_open("a.open.txt");
    fs::hard_link(host.temp().join("secrets/a.open.txt"), host.path("linked")).unwrap();
    let inode = |path: PathBuf| std::os::unix::fs::MetadataExt::ino(&fs::metadata(path).unwrap());
    assert_ne!(inode(host.path("linked")), inode(host.path("a.open.txt")));
    host.rename("linked", "a.open.txt");
    fs::remove_file(hold).unwrap();
    let answers = host.answered("recorder", "a.open.txt", 1);
    assert_eq!(answers[0].say, "retry");
    assert!(answers[0].text.contains("another file has taken the place"), "{}", answers[0].text);
    host.stop().success();
}

#[test]
fn a_fifo_in_the_place_of_the_file_is_not_waited_for() {
    let (host, hold) = before_the_open("a.open.txt");
    let mode = rustix::fs::Mode::from_raw_mode(0o644);
    let fifo = host.path("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, mode, 0).unwrap();
    host.rename("fifo", "a.open.txt");
    let answers = answers(&host, hold, "a.open.txt", 1);
    assert_eq!(answers[0].say, "retry");
    host.alive("recorder");
    host.stop().success();
}
