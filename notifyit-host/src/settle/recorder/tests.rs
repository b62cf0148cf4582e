use super::*;
use std::ffi::OsStr;

use crate::sys::Stat;

fn version() -> Version {
    let stat =
        Stat { device: 1, inode: 2, size: 3, mode: 0, mtime_seconds: 4, mtime_nanos: 5, ctime_nanos: 6 };
    Version::new(7, &OsStr::new("a").into(), &stat)
}

fn begin(recorder: &Recorder, version: &Version) {
    let (version, path) = (Some(version), b"/in/a".as_slice());
    recorder.begin(&Begun { version, is_racy: false, failed: 0, crashes: 0, began_nanos: 1, path });
}

/// The plugins that had something in hand.
fn busy(recorders: &Recorders) -> Vec<String> {
    let mut plugins: Vec<String> = recorders.deaths().into_iter().map(|death| death.plugin).collect();
    plugins.sort();
    plugins
}

#[test]
fn each_worker_has_a_page_for_as_long_as_it_lives() {
    let directory = tempfile::tempdir().unwrap();
    let recorders = Recorders::in_directory(directory.path()).unwrap();
    let [one, other, next] = ["a", "a", "b"].map(|plugin| recorders.open(plugin));
    begin(&one, &version());
    begin(&next, &version());
    assert_eq!(busy(&recorders), ["a", "b"]);
    assert_eq!(recorders.deaths()[0].in_hand.as_ref().unwrap().version, Some(version()));
    one.end();
    assert_eq!(busy(&recorders), ["b"]);
    begin(&other, &version());
    drop(next);
    assert_eq!(busy(&recorders), ["a"]);
    recorders.clear();
    assert_eq!(fs::read_dir(directory.path().join("recorder")).unwrap().count(), 0);
}

#[test]
fn a_host_that_has_stopped_blames_nobody_whoever_comes_yet() {
    let directory = tempfile::tempdir().unwrap();
    let recorders = Recorders::in_directory(directory.path()).unwrap();
    let before = recorders.open("a");
    begin(&before, &version());
    recorders.clone().host_has_stopped();
    let behind = recorders.open("a");
    begin(&behind, &version());
    assert_eq!(busy(&recorders), [""; 0]);
}

#[test]
fn without_a_state_directory_or_a_page_nothing_is_recorded() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("recorder"), "in the way").unwrap();
    for recorders in [Recorders::default(), Recorders::in_directory(directory.path()).unwrap()] {
        let recorder = recorders.open("a");
        assert!(recorder.watch_this_thread().is_none());
        begin(&recorder, &version());
        recorders.host_stops();
        recorders.clear();
        assert_eq!(recorders.deaths(), []);
    }
}

#[test]
fn what_is_in_hand_can_be_seen_from_another_thread_as_long_as_it_is() {
    let directory = tempfile::tempdir().unwrap();
    let recorders = Recorders::in_directory(directory.path()).unwrap();
    let recorder = recorders.open("a");
    let glance = recorder.glance();
    assert_eq!(glance.in_hand(), None);
    begin(&recorder, &version());
    let seen = std::thread::spawn(move || (glance.in_hand(), glance)).join().unwrap();
    let (in_hand, glance) = seen;
    assert_eq!(in_hand.map(|in_hand| in_hand.path), Some("/in/a".into()));
    recorder.end();
    assert_eq!(glance.in_hand(), None);
    begin(&recorder, &version());
    drop(recorder);
    assert_eq!(glance.in_hand(), None);
    assert_eq!(Recorder::default().glance().in_hand(), None);
}
