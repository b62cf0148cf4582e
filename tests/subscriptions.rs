//! What a plugin subscribes to changes from one run to the next, and what counts as existing then.

use std::fs;

use notifyit_tests::wait_for_a_tick;

use crate::state::{Site, stopped};

#[test]
fn a_subscription_that_covers_more_brings_nothing_old_of_what_it_covers_newly() {
    let site = Site::new();
    let host = site.host().args(["--include", "*.txt"]).start();
    site.write("a.txt", "1");
    site.wait_for(&host, "a.txt");
    site.write("a.jpg", "1");
    stopped(host);
    site.write("down.txt", "1");
    site.write("down.jpg", "1");
    wait_for_a_tick();
    let host = site.host().start();
    site.wait_for(&host, "down.txt");
    site.settle(&host, "marker1");
    let line = host.logged(&["INFO", "subscribes to more files of `in` than before"]);
    assert!(line.contains(": 2 that were there already count as finished"), "{line}");
    site.write("new.jpg", "1");
    site.wait_for(&host, "new.jpg");
    stopped(host);
    site.write("a.jpg", "22");
    let host = site.host().start();
    site.wait_for(&host, "a.jpg");
    site.settle(&host, "marker2");
    assert_eq!(host.count_logged(&["subscribes to"]), 0, "it was said");
    stopped(host);
    let handled: Vec<String> = site.handled().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(handled.len(), 6, "{handled:?}");
    assert_eq!((site.times("down.jpg"), site.times("a.txt"), site.times("a.jpg")), (0, 1, 1));
}

#[test]
fn a_subscription_that_covers_more_brings_what_is_there_if_asked() {
    let site = Site::new();
    site.write("sub/old", "1");
    wait_for_a_tick();
    // A look that was cut short would be made up for.
    stopped(site.host_with(&[]).start_and_look());
    let host = site.host().args(["--existing", "deliver"]).start_and_look();
    site.wait_for(&host, "sub/old");
    stopped(host);
    site.write("sub/down", "1");
    let host = site.host_with(&[]).start_and_look();
    site.settle(&host, "marker");
    stopped(host);
    wait_for_a_tick();
    let host = site.host().start();
    host.logged(&["INFO", ": 1 that were there already"]);
    stopped(host);
    assert_eq!((site.times("sub/old"), site.times("sub/down")), (1, 0));
}

#[test]
fn a_root_that_was_not_there_at_the_first_start_has_its_first_look_later() {
    let site = Site::new();
    let aside = site.0.path().join("aside");
    fs::rename(site.root(), &aside).expect("a rename");
    stopped(site.host().arg("--wait").start());
    fs::write(aside.join("since"), "x").expect("a new file");
    fs::rename(&aside, site.root()).expect("a rename");
    let host = site.host().arg("--wait").start();
    site.wait_for(&host, "since");
    stopped(host);

    let site = Site::new();
    site.write("old", "x");
    wait_for_a_tick();
    let aside = site.0.path().join("aside");
    fs::rename(site.root(), &aside).expect("a rename");
    stopped(site.host().arg("--wait").start());
    fs::rename(&aside, site.root()).expect("a rename");
    let host = site.host().arg("--wait").start();
    site.settle(&host, "marker");
    stopped(host);
    assert_eq!(site.times("old"), 0);
}

#[test]
fn what_was_there_before_is_skipped_also_when_the_queue_is_full() {
    let site = Site::new();
    stopped(site.host().args(["--include", "*.txt"]).start());
    for n in 0..20 {
        site.write(format!("{n}.txt"), "1");
        site.write(format!("{n}.jpg"), "1");
    }
    wait_for_a_tick();
    let host = site.host().set("plugin.recorder.queue=2").start();
    for n in 0..20 {
        site.wait_for(&host, &format!("{n}.txt"));
    }
    host.logged(&["INFO", ": 20 that were there already"]);
    site.settle(&host, "marker");
    stopped(host);
    assert_eq!(site.handled().len(), 21, "no picture");
}
