//! A state directory on a disk that is full. Skipped where nothing can be mounted.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::PathBuf;

use notifyit_tests::Running;

use crate::mounts::Mount;
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
