//! `replay`, `skip` and `forget`: what a person changes in a state directory.

use std::fs::{self, File};
use std::time::{Duration, SystemTime};

use notifyit_tests::Host;

use crate::state::{Site, stopped};

fn names(site: &Site, origin: &str) -> Vec<String> {
    let of = site.handled().into_iter().filter(|(name, _, from)| from == origin && !name.contains("marker"));
    let mut names: Vec<String> = of.map(|(name, ..)| name).collect();
    names.sort();
    names
}

/// Runs a host until so many files have come with this origin, and nothing else that is under way. Returns which, in
/// order.
fn run(site: &Site, host: Host, origin: &str, expected: usize) -> Vec<String> {
    let before = names(site, origin);
    let host = host.arg("-v").start();
    let count = before.len() + expected;
    host.wait_for(&format!("{expected} files"), |_| (names(site, origin).len() >= count).then_some(()));
    host.logged(&["rescanned", "start)"]);
    for turn in ["one", "two"] {
        site.settle(&host, &format!("marker-{turn}-{}", site.handled().len()));
    }
    stopped(host);
    let mut after = names(site, origin);
    for name in before {
        after.remove(after.iter().position(|known| *known == name).expect("records stay"));
    }
    after
}

/// A site where these files have been handled.
fn with_files(files: &[&str]) -> Site {
    let site = Site::new();
    let host = site.host().start();
    for file in files {
        site.write(file, "x");
        site.wait_for(&host, file);
    }
    stopped(host);
    site
}

#[test]
fn what_is_replayed_comes_again_once_and_a_dry_run_changes_nothing() {
    let site = with_files(&["a.txt", "d/b.txt", "d/c.jpg", "gone.txt", "newer.txt"]);
    fs::remove_file(site.root().join("gone.txt")).expect("a file");
    site.write("newer.txt", "another version");
    let dry = site.told("replay", &["--dry-run"]);
    for name in ["a.txt", "d/b.txt", "d/c.jpg"] {
        assert!(dry.lines().any(|line| line.starts_with("recorder: /") && line.ends_with(name)), "{dry}");
    }
    assert!(dry.ends_with("plugin `recorder`: 3 files would come again\n"), "{dry}");
    assert_eq!(run(&site, site.host(), "replay", 0), [""; 0]);
    assert_eq!(site.times("newer.txt"), 2);

    let told = site.told("replay", &["-p", "recorder", "--include", "*.txt", "--include", "*.pdf"]);
    assert!(told.contains("files will come again at the next start"), "{told}");
    let replayed = run(&site, site.host(), "replay", 3);
    assert_eq!(replayed, ["a.txt", "d/b.txt", "newer.txt"]);
    assert_eq!(site.answers("a.txt")[1], (1, "replay".to_owned(), "done".to_owned()));
    assert_eq!(run(&site, site.host(), "replay", 0), [""; 0], "once");
}

#[test]
fn a_replay_is_of_what_was_meant() {
    let site = with_files(&["a.txt", "d/b.txt", "d/e/c.txt", "old.txt"]);
    let old = File::options().write(true).open(site.root().join("d/b.txt")).expect("a file");
    old.set_modified(SystemTime::now() - Duration::from_secs(3 * 86_400)).expect("our own file");
    drop(old);
    assert_eq!(run(&site, site.host(), "start", 1), ["d/b.txt"], "that is a version of its own");
    let at = |name: &str| site.root().join(name).display().to_string();
    let dry = |arguments: &[&str]| {
        let told = site.told("replay", &[&["--dry-run", "--include", "*.txt"], arguments].concat());
        let mut names: Vec<String> = told
            .lines()
            .filter_map(|line| line.split_once("/in/"))
            .map(|(_, name)| name.to_owned())
            .collect();
        names.sort();
        names
    };
    assert_eq!(dry(&["--since", "2d"]), ["a.txt", "d/e/c.txt", "old.txt"]);
    assert_eq!(dry(&[&at("d")]), ["d/b.txt", "d/e/c.txt"]);
    assert_eq!(dry(&[&at("d/e"), &at("a.txt")]), ["a.txt", "d/e/c.txt"]);
    assert_eq!(dry(&[&site.0.path().display().to_string(), "--since", "2d"]).len(), 3);
    site.command("replay", &["/usr"]).code(1).one_error(&["/usr", "none of the watched", "/in"]);
    let exit = site.command("replay", &["--include", "a["]);
    exit.code(2).one_error(&["--include", "a["]);
    site.command("replay", &["-p", "nobody"]).code(1).one_error(&["nobody", "recorder"]);
}

#[test]
fn what_is_skipped_is_never_handed_out_and_a_dry_run_changes_nothing() {
    let site = with_files(&["a.txt"]);
    for name in ["down.txt", "new/sub/down.txt", "new/wanted.txt"] {
        site.write(name, "x");
    }
    let dry = site.told("skip", &["--include", "down.*", "--dry-run"]);
    assert!(dry.contains("new/sub/down.txt\n"), "{dry}");
    assert!(dry.ends_with("plugin `recorder`: 2 files would be entered as finished\n"), "{dry}");
    let told = site.told("skip", &["--include", "down.*"]);
    assert_eq!(told, "plugin `recorder`: 2 files entered as finished\n");
    assert_eq!(
        site.told("skip", &["--include", "down.*"]),
        "plugin `recorder`: 0 files entered as finished\n"
    );
    assert_eq!(run(&site, site.host(), "start", 1), ["new/wanted.txt"]);
    assert_eq!((site.times("down.txt"), site.times("new/sub/down.txt")), (0, 0));
    assert_eq!(
        site.told("replay", &["--include", "down.*"]),
        "plugin `recorder`: 2 files will come again at the next start\n"
    );
    assert_eq!(run(&site, site.host(), "replay", 2), ["down.txt", "new/sub/down.txt"]);
}

#[test]
fn a_dry_run_of_skip_leaves_all_to_be_handed_out() {
    let site = with_files(&["a.txt"]);
    site.write("down.txt", "x");
    site.told("skip", &["--dry-run"]);
    assert_eq!(run(&site, site.host(), "start", 1), ["down.txt"]);
}

#[test]
fn an_instance_that_is_forgotten_is_as_new() {
    let site = with_files(&["a.txt", "b.txt"]);
    let host = site.host().start();
    site.write("c.reject.txt", "x");
    host.logged(&["rejected"]);
    stopped(host);
    let counts =
        "plugin `recorder`: 3 finished files, 1 dead letter among them; 0 files waited for another try\n";
    assert_eq!(site.told("forget", &["recorder", "--dry-run"]), format!("would forget {counts}"));
    assert_eq!(site.told("dead", &["list"]).lines().count(), 2);
    assert_eq!(site.told("forget", &["recorder"]), format!("forgot {counts}"));
    site.command("forget", &["recorder"]).code(1).one_error(&["recorder"]);
    let deliver = site.host().args(["--existing", "deliver"]);
    assert_eq!(run(&site, deliver, "start", 2), ["a.txt", "b.txt"]);
    assert_eq!(site.answers("c.reject.txt").len(), 2);
}

#[test]
fn the_state_directory_is_found_as_watch_finds_it() {
    let site = with_files(&["a.txt"]);
    let state = site.0.path().join("state");
    let bare = || Host::new().verb("replay").arg("--dry-run").watching([""; 0]);
    let config = site.0.path().join("notifyit.toml");
    fs::write(&config, "[host]\nstate_dir = \"state\"\n").expect("a file");
    for host in [
        bare().arg("-c").arg(&config),
        bare().env("STATE_DIRECTORY", &state),
        bare().env("NOTIFYIT_CONFIG", &config),
    ] {
        let exit = host.run();
        assert!(String::from_utf8_lossy(exit.success().stdout()).contains("1 file would come again"));
    }
    bare().run().code(2).one_error(&["--state-dir"]);
    fs::write(&config, "[host]\nstate_dri = \"state\"\n").expect("a file");
    bare().arg("-c").arg(&config).run().code(78).one_error(&["notifyit.toml:2:1", "state_dri"]);
}
