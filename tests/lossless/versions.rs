//! Files that are written again: the last version is handled, whatever becomes of those before it.

use std::fs;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use super::{Case, about, both, many, repeat, sh};

#[test]
fn rewritten_while_queued() {
    repeat(|| {
        let host = both().set("recorder.hold='{temp}/hold'");
        let hold = host.aside("hold", "");
        let host = host.start();
        host.write("first", "x");
        host.logged(&["holding", "first"]);
        for version in 1..=5 {
            for n in 0..50 {
                host.write(format!("{n}.open"), format!("{version}").repeat(version));
            }
        }
        fs::remove_file(hold).unwrap();
        Case::all("h: rewritten while queued", &host).at_least_once();
        for n in 0..50 {
            let told = about(&host, "recorder", Path::new(&format!("{n}.open")));
            assert_eq!(told.last().unwrap().text, "55555", "{told:?}");
        }
        host.stop().success();
    });
}

#[test]
fn rewritten_while_in_hand() {
    repeat(|| {
        let host = both().set("recorder.hold='{temp}/hold'");
        let host = host.start();
        for n in 0..20 {
            let hold = host.aside("hold", "");
            let name = format!("{n}.open");
            host.write(&name, "old");
            host.logged(&["holding", &name]);
            host.write(&name, "newer");
            fs::remove_file(hold).unwrap();
            host.wait_for("both versions", |host| {
                (about(host, "recorder", Path::new(&name)).len() >= 2).then_some(())
            });
        }
        Case::all("h: rewritten while in hand", &host).at_least_once();
        for n in 0..20 {
            let told = about(&host, "recorder", Path::new(&format!("{n}.open")));
            assert_eq!(told.last().unwrap().text, "newer", "{told:?}");
        }
        host.stop().success();
    });
}

/// A scanner writes page by page and closes after each: each close is an event of its own, and a handler sees the file
/// as it is when its turn comes. Nothing guesses which close is the last one.
#[test]
fn a_scanner_that_closes_five_times() {
    repeat(|| {
        let host = both().start();
        for pages in 1..=5 {
            sh(&host, "echo page >> scan.pdf");
            for plugin in ["recorder", "print"] {
                host.wait_for("the page", |host| {
                    (about(host, plugin, Path::new("scan.pdf")).len() == pages).then_some(())
                });
            }
            sleep(Duration::from_millis(u64::try_from(many(50, 1200)).unwrap()));
        }
        Case::all("j: closed five times", &host).exactly_once();
        for plugin in ["recorder", "print"] {
            let sizes: Vec<u64> =
                about(&host, plugin, Path::new("scan.pdf")).iter().map(|d| d.stamp.1).collect();
            assert_eq!(sizes, [5, 10, 15, 20, 25], "{plugin}");
        }
        host.stop().success();
    });
}
