//! The ledger in a state directory forgets what is gone, and nothing that is only away.

use std::fs;

use notifyit_tests::Running;

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

#[test]
fn what_is_mounted_beneath_a_root_may_go_and_come_back() {
    let site = Site::new();
    let real = site.0.path().join("real");
    let sources = [real.join("stays"), real.join("along")];
    let [Some(_one), Some(_other)] = sources.each_ref().map(|source| tmpfs(source)) else { return };
    let places = [site.root().join("stays"), site.root().join("goes/along")];
    let mount = || [bind(&sources[0], &places[0]), bind(&sources[1], &places[1])];
    let [Some(stays), Some(along)] = mount() else { return };
    let host = site.host().arg("--cross-mounts").start();
    for name in ["stays/a", "stays/sub/b", "goes/along/a", "goes/along/sub/b"] {
        site.write(name, "x");
        site.wait_for(&host, name);
    }
    // Each start prunes, which shows by a file that is gone. The first one notes what is mounted.
    let leave = |host: Running, gone: &str| {
        site.settle(&host, gone);
        stopped(host);
        fs::remove_file(site.root().join(gone)).expect("a file");
    };
    let start = || {
        let host = site.host().args(["-v", "--cross-mounts"]).start();
        host.logged(&["forgets 1 entries and 0 directories"]);
        host
    };
    leave(host, "gone1");
    leave(start(), "gone2");
    unmount(stays);
    unmount(along);
    fs::remove_dir(site.root().join("goes/along")).expect("nothing is mounted there");
    let host = start();
    let [Some(stays), Some(along)] = mount() else { return };
    site.settle(&host, "marker");
    unmount(stays);
    unmount(along);
    leave(host, "gone3");
    let [Some(_stays), Some(_along)] = mount() else { return };
    leave(start(), "gone4");
    fs::remove_file(site.root().join("stays/a")).expect("a file");
    let host = site.host().args(["-v", "--cross-mounts"]).start();
    host.logged(&["forgets 2 entries and 0 directories"]);
    stopped(host);
    for name in ["stays/a", "stays/sub/b", "goes/along/a", "goes/along/sub/b"] {
        assert_eq!(site.times(name), 1, "{name}");
    }
}
