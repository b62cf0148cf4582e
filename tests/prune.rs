//! The ledger in a state directory forgets what is gone, and nothing that is only away.

use std::fs;

use crate::roots::{bind, tmpfs, unmount};
use crate::state::{Site, stopped};

#[test]
fn what_is_deleted_while_the_host_is_down_or_runs_is_forgotten_at_the_next_start() {
    let site = Site::new();
    let host = site.host().start();
    let aside = site.0.path().join("aside");
    fs::create_dir(&aside).expect("a new directory");
    for name in ["stays", "sub/stays", "file", "while-running", "dir/deep/file", "dir/file"] {
        site.write(name, "x");
        site.wait_for(&host, name);
    }
    // Each could come back just as it was: then its entry in the ledger would know it.
    let take = |name: &str| fs::rename(site.root().join(name), aside.join(name)).expect("a rename");
    take("while-running");
    stopped(host);
    take("file");
    take("dir");
    let host = site.host().arg("-v").start();
    host.logged(&["forgets 4 entries and 2 directories"]);
    stopped(host);
    for name in ["while-running", "file", "dir"] {
        fs::rename(aside.join(name), site.root().join(name)).expect("a rename");
    }
    let host = site.host().arg("-v").start();
    for name in ["while-running", "file", "dir/file", "dir/deep/file"] {
        host.wait_for("it to come again", |_| (site.times(name) == 2).then_some(()));
    }
    site.settle(&host, "marker");
    stopped(host);
    assert_eq!((site.times("stays"), site.times("sub/stays")), (1, 1));
}

#[test]
fn a_root_that_is_away_while_the_host_starts_loses_no_entries() {
    let site = Site::new();
    let real = site.0.path().join("real");
    let Some(_real) = tmpfs(&real) else { return };
    site.write("beneath", "x");
    let Some(mount) = bind(&real, &site.root()) else { return };
    let host = site.host().start();
    for name in ["a", "sub/b"] {
        site.write(name, "x");
        site.wait_for(&host, name);
    }
    stopped(host);
    // So that the first start with entries notes which file system they are from.
    let host = site.host().start();
    site.settle(&host, "marker0");
    stopped(host);
    unmount(mount);
    let host = site.host().arg("-v").start();
    host.logged(&["INFO", "the ledger keeps what it knows of watch `in`"]);
    // Nor when it goes away and comes back while the host runs.
    let Some(mount) = bind(&real, &site.root()) else { return };
    site.settle(&host, "marker1");
    unmount(mount);
    site.settle(&host, "marker2");
    stopped(host);
    fs::remove_file(site.root().join("beneath")).expect("a file");
    fs::remove_file(site.root().join("marker2")).expect("a file");
    let host = site.host().arg("-v").start();
    host.logged(&["watching 1 directory"]);
    stopped(host);
    let Some(_mount) = bind(&real, &site.root()) else { return };
    let host = site.host().start();
    site.settle(&host, "marker3");
    stopped(host);
    assert_eq!((site.times("a"), site.times("sub/b"), site.times("marker1")), (1, 1, 1));
}
