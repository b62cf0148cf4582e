//! Files that somebody has open for writing, and whose close no event tells of by the name that they are given.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notifyit_tests::{Host, Running, until};

use crate::limits::as_nobody;
use crate::poll::with_watch;

/// A host, and a file that is linked in while it is open: by its other name, which nobody watches.
fn linked_in(name: &str) -> (Running, File) {
    let host = Host::new().plugin("recorder").start();
    let path = host.aside("outside", "");
    let mut file = File::options().append(true).open(&path).expect("it is there");
    file.write_all(b"the beginning").expect("room");
    fs::hard_link(&path, host.path(name)).expect("a link");
    (host, file)
}

/// Has the host a watch on this very file?
fn is_watched(host: &Running, file: &File) -> bool {
    let inode = format!("ino:{:x} ", file.metadata().expect("it is open").ino());
    let directory = PathBuf::from(format!("/proc/{}/fdinfo", host.pid().as_raw_nonzero()));
    let told = fs::read_dir(directory)
        .expect("the host runs")
        .flatten()
        .map(|entry| fs::read_to_string(entry.path()));
    told.flatten().any(|text| text.lines().any(|line| line.starts_with("inotify ") && line.contains(&inode)))
}

#[test]
fn a_file_is_handled_as_soon_as_its_writer_closes_it_however_long_that_took() {
    let since_1970 = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    // Not before: the first test of all waits for the build.
    let (host, mut file) = linked_in("linked");
    let linked = since_1970();
    // By then the pauses are longer than five seconds: asked by the clock it would be ten seconds after it was linked.
    let end = Instant::now() + Duration::from_millis(5_500);
    host.wait_for("the pauses to grow", |_| (Instant::now() > end).then_some(()));
    assert_eq!(host.times_done("recorder", "linked"), 0);
    file.write_all(b", and the end").unwrap();
    drop(file);
    host.handled("recorder", "linked");
    let answers = host.attempts("recorder", "linked");
    assert!(answers[0].at < linked + Duration::from_secs(10), "{answers:?}, {linked:?}");
    host.drained("recorder");
    assert_eq!(host.times_done("recorder", "linked"), 1);
    host.stop().success();
}

#[test]
fn a_file_that_is_not_waited_for_any_more_is_not_watched() {
    let (host, file) = linked_in("linked");
    host.wait_for("the watch", |host| is_watched(host, &file).then_some(()));
    fs::remove_file(host.path("linked")).unwrap();
    host.wait_for("its end", |host| (!is_watched(host, &file)).then_some(()));
    drop(file);
    host.alive("recorder");
    host.stop().success();
}

#[test]
fn the_second_of_two_writers_is_waited_for_too() {
    let (host, file) = linked_in("linked");
    let second = File::options().append(true).open(host.temp().join("outside")).unwrap();
    host.wait_for("the watch", |host| is_watched(host, &file).then_some(()));
    drop(file);
    assert!(until(|| is_watched(&host, &second).then_some(())).is_some());
    drop(second);
    host.handled("recorder", "linked");
    host.drained("recorder");
    assert_eq!(host.times_done("recorder", "linked"), 1);
    host.stop().success();
}

#[test]
fn a_close_is_an_event_though_another_writer_has_the_file_open() {
    let host = Host::new().plugin("recorder").start();
    let another = File::create(host.path("shared.txt")).unwrap();
    host.write("shared.txt", "by one of two");
    host.handled("recorder", "shared.txt");
    drop(another);
    host.stop().success();
}

#[test]
fn without_a_lease_a_file_is_handled_when_it_has_not_changed_for_a_while() {
    // The file is ours, and so the kernel gives a host that is somebody else no lease on it.
    let Some(host) = as_nobody(with_watch("stable_for = \"800ms\"")) else { return };
    let host = host.start();
    let path = host.aside("outside", "");
    let mut writer = File::options().append(true).open(&path).unwrap();
    writer.write_all(b"the beginning").unwrap();
    let linked = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    fs::hard_link(&path, host.path("linked")).unwrap();
    // It is still open: with a lease it would be busy.
    let answers = host.answered("recorder", "linked", 1);
    assert!(answers[0].at >= linked + Duration::from_millis(800), "{answers:?}, {linked:?}");
    drop(writer);
    host.stop().success();
}
