//! A state directory on a disk that is full. Skipped where nothing can be mounted.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use notifyit_tests::Running;

use crate::mounts::Mount;
use crate::services::{answers, keeping};
use crate::state::{Site, stopped};

/// A site whose state directory is on a small disk, and the file that fills it.
fn small_disk() -> Option<(Site, Mount, PathBuf)> {
    let site = Site::new();
    let options = ["-t", "tmpfs", "-o", "size=8m", "tmpfs"].map(OsStr::new);
    let disk = Mount::new("mount", &options, &site.0.path().join("state"))?;
    let filler = site.0.path().join("state/filler");
    Some((site, disk, filler))
}

/// Lets files land until the ledger finds no room, filling the disk in the meantime. Returns how many.
fn land_until_full(site: &Site, host: &Running, filler: &PathBuf) -> usize {
    let mut landed = 0;
    host.wait_for("the ledger to find no room", |host| {
        let mut filler = fs::OpenOptions::new().append(true).create(true).open(filler).expect("a new file");
        for size in [1 << 16, 1 << 12, 1] {
            while filler.write_all(&vec![7; size]).is_ok() {}
        }
        for _ in 0..200 {
            // Names that need room of their own.
            site.write(format!("{landed}-{}", "x".repeat(200)), "x");
            landed += 1;
        }
        (host.count_logged(&["ERROR", "failed to write the ledger", "No space left"]) > 0).then_some(landed)
    })
}

fn all_handled(site: &Site, host: &Running, count: usize) {
    host.wait_for("all files", |_| (site.handled().len() == count).then_some(()));
}

#[test]
fn while_the_disk_of_the_ledger_is_full_files_are_handled_and_settled_when_there_is_room() {
    let Some((site, _disk, filler)) = small_disk() else { return };
    let host = site.host().start();
    let landed = land_until_full(&site, &host, &filler);
    all_handled(&site, &host, landed);
    site.settle(&host, "full");
    assert_eq!(host.count_logged(&["ERROR"]), 1);
    fs::remove_file(&filler).expect("a file");
    host.logged(&["INFO", "the ledger is written again"]);
    site.settle(&host, "room");
    assert_eq!(host.count_logged(&["ERROR"]), 1);
    stopped(host);
    let host = site.host().start();
    site.settle(&host, "again");
    stopped(host);
    assert_eq!(site.handled().len(), landed + 3, "nothing twice");
}

#[test]
fn a_host_whose_disk_is_full_stops_and_starts_and_loses_no_file() {
    let Some((site, _disk, filler)) = small_disk() else { return };
    let host = site.host().start();
    let landed = land_until_full(&site, &host, &filler);
    all_handled(&site, &host, landed);
    stopped(host);
    site.write("down", "x");
    fs::remove_file(&filler).expect("a file");
    let host = site.host().start();
    site.wait_for(&host, "down");
    stopped(host);
}

#[test]
fn a_plugins_store_says_so_and_goes_on_when_there_is_room() {
    let host = keeping();
    let options = ["-t", "tmpfs", "-o", "size=16m", "tmpfs"].map(OsStr::new);
    let Some(_disk) = Mount::new("mount", &options, &host.temp().join("state")) else { return };
    let host = host.start();
    answers(&host, "a", "put k one", "done");
    let filler = host.temp().join("state/filler");
    let mut file = fs::File::create(&filler).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![7; size]).is_ok() {}
    }
    host.write("full", "fill");
    host.logged(&["asks", "plugins' stores", "No space left"]);
    fs::remove_file(&filler).unwrap();
    // What is tried again fills the disk once more; what it has put is there all the same.
    answers(&host, "b", "get k", "one");
    host.stop();
}
