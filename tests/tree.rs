//! The watched tree: directories that come, go and move.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use notifyit_tests::{Host, Running, until};

fn recursive() -> Host {
    Host::new().plugin("recorder").arg("-r")
}

fn has_watches(host: &Running, expected: usize) {
    let settled = until(|| (host.watches() == expected || host.exited().is_some()).then_some(()));
    assert!(host.exited().is_none(), "the host has ended");
    assert!(settled.is_some(), "{} watches, not {expected}", host.watches());
}

/// Waits until a directory that was made just now is watched: writes files into it until one is handled.
fn probe(host: &Running, directory: &str) {
    let mut probes = 0;
    host.wait_for(&format!("{directory} to be watched"), |host| {
        let path = host.path(directory).join(format!("probe{probes}"));
        probes += 1;
        let _ = fs::write(path, "x");
        let prefix = Path::new(directory);
        let seen = host
            .records("recorder")
            .iter()
            .any(|r| r.relative.as_deref().is_some_and(|p| p.starts_with(prefix)));
        seen.then_some(())
    });
}

#[test]
fn directories_that_are_there_are_watched_all_the_way_down() {
    let host = recursive();
    host.mkdir("a/b/c/d/e");
    let host = host.start();
    has_watches(&host, 6);
    for path in ["top.txt", "a/1.txt", "a/b/2.txt", "a/b/c/d/e/3.txt"] {
        host.write(path, "x");
        host.handled("recorder", path);
    }
    host.stop().success();
}

#[test]
fn without_recursive_only_the_directory_itself_is_watched() {
    let host = Host::new().plugin("recorder");
    host.mkdir("sub");
    let host = host.start();
    has_watches(&host, 1);
    host.write("sub/a.txt", "x");
    host.write("b.txt", "x");
    host.handled("recorder", "b.txt");
    assert!(host.attempts("recorder", "sub/a.txt").is_empty());
    host.stop().success();
}

#[test]
fn a_new_directory_is_watched() {
    let host = recursive().start();
    host.mkdir("new/deeper");
    probe(&host, "new/deeper");
    host.write("new/deeper/a.txt", "x");
    host.handled("recorder", "new/deeper/a.txt");
    has_watches(&host, 3);
    host.stop().success();
}

#[test]
fn a_directory_that_is_moved_in_is_watched() {
    let host = recursive().start();
    fs::create_dir_all(host.temp().join("outside/deeper")).unwrap();
    fs::rename(host.temp().join("outside"), host.path("inside")).unwrap();
    probe(&host, "inside/deeper");
    has_watches(&host, 3);
    host.stop().success();
}

#[test]
fn a_renamed_directory_goes_by_its_new_name() {
    let host = recursive();
    host.mkdir("old/sub");
    host.mkdir("other");
    let host = host.start();
    host.rename("old", "new");
    host.write("new/a.txt", "x");
    host.write("new/sub/b.txt", "x");
    host.handled("recorder", "new/a.txt");
    host.handled("recorder", "new/sub/b.txt");
    host.rename("new/sub", "other/moved");
    host.write("other/moved/c.txt", "x");
    host.handled("recorder", "other/moved/c.txt");
    has_watches(&host, 4);
    host.stop().success();
}

#[test]
fn a_directory_that_is_moved_out_is_no_longer_watched() {
    let host = recursive();
    host.mkdir("sub/deeper");
    let host = host.start();
    has_watches(&host, 3);
    fs::rename(host.path("sub"), host.temp().join("away")).unwrap();
    has_watches(&host, 1);
    host.aside("away/deeper/a.txt", "x");
    host.drained("recorder");
    assert!(
        host.records("recorder").iter().all(|r| r.relative.as_deref() != Some(Path::new("sub/deeper/a.txt")))
    );
    host.stop().success();
}

#[test]
fn a_removed_directory_leaves_nothing_and_can_come_back() {
    let host = recursive();
    for n in 0..20 {
        host.mkdir(format!("sub/{n}"));
    }
    let host = host.start();
    has_watches(&host, 22);
    for _ in 0..3 {
        fs::remove_dir_all(host.path("sub")).unwrap();
        has_watches(&host, 1);
        host.mkdir("sub/0");
        probe(&host, "sub/0");
        has_watches(&host, 3);
    }
    host.stop().success();
}

#[test]
fn two_directories_that_change_places_are_told_apart() {
    let host = recursive();
    host.mkdir("a");
    host.mkdir("b");
    let host = host.start();
    host.rename("a", "swap");
    host.rename("b", "a");
    host.rename("swap", "b");
    host.write("a/in-a.txt", "x");
    host.write("b/in-b.txt", "x");
    host.handled("recorder", "a/in-a.txt");
    host.handled("recorder", "b/in-b.txt");
    host.stop().success();
}

#[test]
fn an_excluded_directory_is_not_watched() {
    let host = recursive().args(["--exclude", "node_modules", "--exclude", "/build"]);
    for directory in ["node_modules/deep", "src/node_modules/x", "build/out", "src/build"] {
        host.mkdir(directory);
    }
    let host = host.start();
    has_watches(&host, 3); // the root, src, src/build
    for path in ["node_modules/a.txt", "src/node_modules/x/b.txt", "build/out/c.txt"] {
        host.write(path, "x");
    }
    host.write("src/build/d.txt", "x");
    host.handled("recorder", "src/build/d.txt");
    assert_eq!(host.records("recorder").iter().filter(|r| r.say == "done").count(), 1);
    host.mkdir("new/node_modules");
    probe(&host, "new");
    has_watches(&host, 4);
    host.stop().success();
}

#[test]
fn a_file_that_is_renamed_at_once_is_told_under_one_of_its_names() {
    let host = Host::new().plugin("print").args(["-r", "-e", "close-write"]);
    host.mkdir("sub");
    let host = host.start();
    for n in 0..100 {
        host.write(format!("{n}.part"), "x");
        host.rename(format!("{n}.part"), format!("sub/{n}.txt"));
    }
    host.drained("print");
    for n in 0..100 {
        let times = host.printed(format!("{n}.part")) + host.printed(format!("sub/{n}.txt"));
        assert_eq!(times, 1, "{n}");
    }
    host.stop().success();
}

#[test]
fn a_file_that_lived_too_short_is_still_told() {
    let host = Host::new().plugin("print").set("print.format=\"json\"").args(["-e", "close-write"]).start();
    host.write("a.txt", "x");
    fs::remove_file(host.path("a.txt")).unwrap();
    host.wait_for("a.txt", |host| host.stdout_lines().iter().any(|l| l.contains("/a.txt\"")).then_some(()));
    host.stop().success();
}

#[test]
fn a_link_to_a_directory_is_not_followed_but_a_root_may_be_one() {
    let host = recursive();
    let outside = host.temp().join("outside");
    fs::create_dir(&outside).unwrap();
    symlink(&outside, host.path("link")).unwrap();
    symlink(host.root(), host.temp().join("way-in")).unwrap();
    let way_in = host.temp().join("way-in");
    let host = host.watching([way_in.as_os_str()]).start();
    has_watches(&host, 1);
    fs::write(outside.join("a.txt"), "x").unwrap();
    host.write("b.txt", "x");
    host.handled("recorder", "b.txt");
    assert!(host.attempts("recorder", "link/a.txt").is_empty());
    host.stop().success();
}

#[test]
fn several_directories_are_watched_at_once() {
    let host = recursive();
    let (root, other) = (host.root(), host.temp().join("other"));
    fs::create_dir(&other).unwrap();
    let host = host.watching([root.as_os_str(), other.as_os_str()]).start();
    host.write("a.txt", "x");
    fs::write(other.join("b.txt"), "x").unwrap();
    host.handled("recorder", "a.txt");
    host.handled("recorder", "b.txt");
    host.stop().success();
}

#[test]
fn a_relative_directory_is_taken_from_where_the_host_was_started() {
    let host = recursive().watching(["in"]).start();
    host.write("a.txt", "x");
    host.handled("recorder", "a.txt");
    let path = host.path("a.txt");
    assert_eq!(host.attempts("recorder", "a.txt")[0].event["path"].as_str(), path.to_str());
    host.stop().success();
}

#[test]
fn overlapping_roots_blind_each_other_not() {
    let host = recursive();
    host.mkdir("sub/deeper");
    let (root, sub) = (host.root(), host.path("sub"));
    let host = host.watching([root.as_os_str(), sub.as_os_str()]).start();
    host.write("sub/deeper/a.txt", "x");
    host.handled("recorder", "sub/deeper/a.txt");
    host.handled("recorder", "deeper/a.txt");
    host.stop().success();
}

#[test]
fn overlapping_roots_that_ask_for_different_events_get_them_all() {
    let host = Host::new().named_plugin("recorder").config(
        r#"
        [[watch]]
        name = "outer"
        path = "{root}"
        recursive = true
        [[watch]]
        name = "inner"
        path = "{root}/inner"
        [plugin.deletes]
        library = "recorder"
        watch = ["outer"]
        events = ["delete"]
        config = { out = "{temp}/deletes.jsonl" }
        [plugin.closes]
        library = "recorder"
        watch = ["inner"]
        events = ["close-write"]
        config = { out = "{temp}/closes.jsonl" }
        "#,
    );
    host.mkdir("inner");
    let host = host.start();
    host.write("inner/a.txt", "x");
    host.handled("closes", "a.txt");
    fs::remove_file(host.path("inner/a.txt")).unwrap();
    host.handled("deletes", "inner/a.txt");
    host.stop().success();
}

#[test]
fn a_root_that_is_missing_is_an_error_or_waited_for() {
    let missing = |host: &Host| host.temp().join("missing");
    let host = recursive();
    let path = missing(&host);
    host.watching([path.as_os_str()]).run().code(1).one_error(&["missing", "no such directory", "--wait"]);

    let host = recursive().arg("--wait");
    let path = missing(&host);
    let host = host.watching([path.as_os_str()]).spawn();
    host.logged(&["missing"]);
    fs::create_dir(&path).unwrap();
    let mut probes = 0;
    host.wait_for("the root to be watched", |host| {
        probes += 1;
        let _ = fs::write(path.join(format!("probe{probes}")), "x");
        host.records("recorder").iter().any(|r| r.say == "done").then_some(())
    });
    host.stop().success();
}

#[test]
fn a_root_that_is_removed_is_told_and_watched_anew_when_it_is_back() {
    let host = recursive().arg("--wait").start();
    fs::remove_dir(host.root()).unwrap();
    let root = host.root();
    host.logged(&["WARN", root.to_str().unwrap()]);
    fs::create_dir(&root).unwrap();
    probe(&host, "");
    host.stop().success();
}

#[test]
fn a_directory_that_holds_the_plugins_is_not_watched() {
    let host = recursive();
    let temp = host.temp().to_owned();
    host.watching([temp.as_os_str()]).run().code(1).one_error(&["plugin"]);
}

#[test]
fn a_root_that_is_no_directory_is_an_error() {
    let host = recursive();
    let file = host.aside("file", "x");
    host.watching([file.as_os_str()]).run().code(1).one_error(&["file", "directory"]);
}

#[test]
fn a_directory_goes_from_one_root_to_another() {
    let host = recursive();
    let (root, other) = (host.root(), host.temp().join("other"));
    fs::create_dir(&other).unwrap();
    host.mkdir("sub/deeper");
    let host = host.watching([root.as_os_str(), other.as_os_str()]).start();
    has_watches(&host, 4);
    fs::rename(host.path("sub"), other.join("moved")).unwrap();
    let mut probes = 0;
    host.wait_for("the directory to be watched under its new root", |host| {
        probes += 1;
        let _ = fs::write(other.join(format!("moved/deeper/probe{probes}")), "x");
        let seen =
            |r: &notifyit_tests::Record| r.relative.as_deref().is_some_and(|p| p.starts_with("moved/deeper"));
        host.records("recorder").iter().any(seen).then_some(())
    });
    has_watches(&host, 4);
    host.stop().success();
}

#[test]
fn a_directory_that_is_renamed_out_of_an_exclusion_is_watched_and_the_other_way_round() {
    let host = recursive().args(["--exclude", "*.tmp"]);
    host.mkdir("a.tmp/sub");
    host.mkdir("b/sub");
    let host = host.start();
    has_watches(&host, 3);
    host.rename("a.tmp", "a");
    probe(&host, "a/sub");
    has_watches(&host, 5);
    host.rename("b", "b.tmp");
    has_watches(&host, 3);
    host.stop().success();
}

/// Directories below the root, the root too.
fn count_directories(at: &Path) -> usize {
    let entries = fs::read_dir(at).expect("nothing goes away now").flatten();
    1 + entries.filter(|e| e.path().is_dir()).map(|e| count_directories(&e.path())).sum::<usize>()
}

#[test]
fn after_a_storm_of_changes_each_directory_is_watched_once_and_known_by_its_name() {
    let host = recursive().start();
    // A row of numbers that is the same in each run.
    let mut state = 12345_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..4000 {
        let mut name = || (0..=random(3)).map(|_| random(4).to_string()).collect::<Vec<_>>().join("/");
        let (from, to) = (host.path(name()), host.path(name()));
        let _ = match random(4) {
            0 => fs::rename(&from, &to),
            1 => fs::remove_dir_all(&from),
            _ => fs::create_dir_all(&from),
        };
    }
    has_watches(&host, count_directories(&host.root()));
    let mut directories = vec![host.root()];
    while let Some(directory) = directories.pop() {
        let below =
            fs::read_dir(&directory).unwrap().flatten().map(|e| e.path()).filter(|path| path.is_dir());
        directories.extend(below.collect::<Vec<_>>());
        fs::write(directory.join("file"), "x").unwrap();
        host.handled("recorder", directory.join("file").strip_prefix(host.root()).unwrap());
    }
    host.stop().success();
}
