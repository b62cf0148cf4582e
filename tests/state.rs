//! With a state directory: what lands while the host is down, or is killed, is handled all the same.

use std::fs;
use std::path::{Path, PathBuf};

use notifyit_tests::{Exit, Host, Running, wait_for_a_tick};
use rustix::process::Signal;

/// A directory that outlives the hosts of one test: watched files, state, and what the recorders wrote.
pub(crate) struct Site(pub(crate) tempfile::TempDir);

impl Site {
    pub(crate) fn new() -> Site {
        let site = Site(tempfile::tempdir().expect("a temporary directory"));
        fs::create_dir(site.root()).expect("a new directory");
        site
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.0.path().join("in")
    }

    pub(crate) fn write(&self, relative: impl AsRef<Path>, content: &str) {
        let path = self.root().join(relative);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("a new directory");
        notifyit_tests::write(&path, content);
    }

    /// The host, with a recorder that appends to the site's own file.
    pub(crate) fn host(&self) -> Host {
        self.host_with(&["-r"])
    }

    pub(crate) fn host_with(&self, arguments: &[&str]) -> Host {
        let out = self.0.path().join("records");
        Host::new()
            .plugin("recorder")
            .set(&format!("recorder.out={out:?}"))
            .args(arguments)
            .arg("--state-dir")
            .arg(self.0.path().join("state"))
            .watching([self.root()])
    }

    /// Runs a command on the state directory.
    pub(crate) fn command(&self, verb: &'static str, arguments: &[&str]) -> Exit {
        let state = self.0.path().join("state");
        Host::new().verb(verb).args(arguments).arg("--state-dir").arg(state).watching([""; 0]).run()
    }

    /// What a command prints when all is well.
    pub(crate) fn told(&self, verb: &'static str, arguments: &[&str]) -> String {
        let exit = self.command(verb, arguments);
        assert_eq!(exit.success().stderr(), "");
        String::from_utf8_lossy(exit.stdout()).into_owned()
    }

    /// The answers for a file: attempt, origin, what was said.
    pub(crate) fn answers(&self, relative: &str) -> Vec<(u64, String, String)> {
        let of = self.records().filter(|record| record["event"]["relative"] == relative);
        let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().to_owned();
        of.map(|record| {
            let event = &record["event"];
            (event["attempt"].as_u64().unwrap_or(0), text(&event["origin"]), text(&record["say"]))
        })
        .collect()
    }

    pub(crate) fn records(&self) -> impl Iterator<Item = serde_json::Value> {
        let text = fs::read_to_string(self.0.path().join("records")).unwrap_or_default();
        let records = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        records.collect::<Vec<_>>().into_iter()
    }

    /// The names that were handled, with the content's size and the origin, in order.
    pub(crate) fn handled(&self) -> Vec<(String, u64, String)> {
        let done = self.records().filter(|record| record["say"] == "done" && record["event"].is_object());
        done.map(|record| {
            let event = &record["event"];
            let text = |key: &str| event[key].as_str().unwrap_or_default().to_owned();
            (text("relative"), event["size"].as_u64().unwrap_or(0), text("origin"))
        })
        .collect()
    }

    pub(crate) fn times(&self, relative: &str) -> usize {
        self.handled().iter().filter(|(name, ..)| name == relative).count()
    }

    pub(crate) fn wait_for(&self, host: &Running, relative: &str) {
        host.wait_for(relative, |_| (self.times(relative) > 0).then_some(()));
    }

    /// Waits until the ledger has been written to twice, with something new each time: what `host` settled some time
    /// before is on disk then.
    pub(crate) fn wait_for_commit(&self, host: &Running) {
        let ledger = self.0.path().join("state/ledger.redb");
        let changed = || ledger.metadata().and_then(|ledger| ledger.modified()).expect("there is a ledger");
        for turn in ["one", "another"] {
            let before = changed();
            self.write(format!("commit-{turn}-{}", self.handled().len()), "x");
            host.wait_for("a commit", |_| (changed() > before).then_some(()));
        }
    }

    /// Waits until a file that is written now has been handled: what came before it has been seen.
    pub(crate) fn settle(&self, host: &Running, marker: &str) {
        self.write(marker, "marker");
        self.wait_for(host, marker);
    }
}

pub(crate) fn stopped(host: Running) -> Exit {
    let exit = host.stop();
    exit.success();
    exit
}

#[test]
fn what_lands_while_the_host_is_down_is_handled_at_the_next_start_and_nothing_twice() {
    let site = Site::new();
    site.write("before.txt", "1");
    wait_for_a_tick();
    let host = site.host().start();
    site.write("a/b/live.txt", "1");
    site.wait_for(&host, "a/b/live.txt");
    stopped(host);
    site.write("a/b/down.txt", "1");
    site.write("new/c/down.txt", "1");
    site.write("a/b/live.txt", "22");
    let host = site.host().start_and_look();
    for name in ["a/b/down.txt", "new/c/down.txt"] {
        site.wait_for(&host, name);
    }
    host.wait_for("the new version", |_| (site.times("a/b/live.txt") == 2).then_some(()));
    site.settle(&host, "marker1");
    stopped(host);
    let host = site.host().start_and_look();
    site.settle(&host, "marker2");
    stopped(host);
    let mut handled = site.handled();
    handled.sort();
    let expect = |name: &str, size, origin: &str| (name.to_owned(), size, origin.to_owned());
    assert_eq!(
        handled,
        [
            expect("a/b/down.txt", 1, "start"),
            expect("a/b/live.txt", 1, &handled[1].2),
            expect("a/b/live.txt", 2, "start"),
            expect("marker1", 6, "live"),
            expect("marker2", 6, "live"),
            expect("new/c/down.txt", 1, "start"),
        ]
    );
}

#[test]
fn a_renamed_directory_and_a_change_of_owner_bring_nothing_again() {
    let site = Site::new();
    let host = site.host().start();
    for n in 0..20 {
        site.write(format!("d1/sub/{n}"), "x");
    }
    host.wait_for("all", |_| (site.handled().len() == 20).then_some(()));
    fs::rename(site.root().join("d1"), site.root().join("d2")).expect("a rename");
    site.settle(&host, "marker1");
    stopped(host);
    for n in 0..20 {
        let path = site.root().join(format!("d2/sub/{n}"));
        std::os::unix::fs::chown(&path, Some(12), Some(12)).expect("this test runs as root");
        fs::hard_link(&path, site.0.path().join(format!("link{n}"))).expect("a link");
    }
    let host = site.host().start();
    site.settle(&host, "marker2");
    stopped(host);
    assert_eq!(site.handled().len(), 22);
}

#[test]
fn existing_files_are_skipped_once_and_for_all_or_delivered_if_asked() {
    let site = Site::new();
    site.write("old", "x");
    wait_for_a_tick();
    let host = site.host().start();
    site.settle(&host, "marker1");
    stopped(host);
    let host = site.host().start();
    site.settle(&host, "marker2");
    stopped(host);
    assert_eq!(site.times("old"), 0);

    let site = Site::new();
    site.write("old", "x");
    for _ in 0..2 {
        let host = site.host().args(["--existing", "deliver"]).start();
        site.wait_for(&host, "old");
        stopped(host);
    }
    assert_eq!(site.times("old"), 1);
}

#[test]
fn what_a_plugin_has_not_flushed_comes_again_when_the_host_is_killed() {
    let site = Site::new();
    let hold = site.0.path().join("hold");
    fs::write(&hold, "").expect("a file");
    let beside = site.0.path().join("beside");
    let config = site.0.path().join("notifyit.toml");
    let text = format!(
        "[plugin.recorder.config]\nbuffered = true\nhold_flush = {hold:?}\n[plugin.beside]\n\
         library = \"recorder\"\n[plugin.beside.config]\nout = {beside:?}\n"
    );
    fs::write(&config, text).expect("a file");
    let start = || site.host().named_plugin("recorder").arg("-c").arg(&config).start();
    let host = start();
    site.write("a.txt", "x");
    host.logged(&["holding", "the flush"]);
    // The other plugin's outcomes go to the same ledger, in the same commits.
    site.wait_for_commit(&host);
    assert_eq!(site.times("a.txt"), 0, "nothing of it is safe");
    host.signal(Signal::KILL);
    drop(host.wait());
    fs::remove_file(hold).expect("a file");
    let host = start();
    site.wait_for(&host, "a.txt");
    stopped(host);
    assert_eq!(site.times("a.txt"), 1);
}

#[test]
fn a_second_host_on_the_same_state_is_refused_and_told_of_the_first() {
    let site = Site::new();
    let host = site.host().start();
    let pid = host.pid().as_raw_nonzero().to_string();
    site.host().run().code(1).one_error(&["state", &pid]);
    stopped(host);
}

#[test]
fn a_damaged_ledger_ends_the_start_with_the_way_out() {
    let site = Site::new();
    stopped(site.host().start());
    fs::write(site.0.path().join("state/ledger.redb"), "not a ledger").expect("a file");
    site.host().run().code(1).one_error(&["ledger.redb", "move it away"]);
}

#[test]
fn a_state_directory_in_a_watched_one_is_refused() {
    let host = Host::new().plugin("recorder");
    let state = host.root().join("state");
    host.arg("--state-dir").arg(state).run().code(1).one_error(&["state directory", "keep it elsewhere"]);
}

#[test]
fn without_a_state_directory_the_host_says_what_that_means() {
    let host = Host::new().plugin("print").start();
    host.logged(&["no state directory", "--state-dir"]);
    host.stop().success();
}

#[test]
fn what_its_handler_rewrote_is_finished_at_the_next_start() {
    let site = Site::new();
    let watching = || site.host().set(r#"plugin.recorder.exclude=["*.part"]"#);
    let host = watching().start();
    // One at a time: the rename may be read before the flush, or behind it.
    let names: Vec<String> = (0..60).flat_map(|n| [format!("{n}.rewrote"), format!("{n}.replace")]).collect();
    for name in &names {
        site.write(name, "x");
        site.wait_for(&host, name);
    }
    site.settle(&host, "marker1");
    stopped(host);
    let host = watching().start();
    site.settle(&host, "marker2");
    assert_eq!(site.handled().len(), names.len() + 2, "each once, and two markers");
    stopped(host);
}

#[test]
fn what_changes_during_its_handling_is_unfinished_however_that_ends() {
    let site = Site::new();
    let hold = site.0.path().join("hold");
    let settings = [format!("recorder.hold={hold:?}"), "plugin.recorder.retry={attempts=1}".to_owned()];
    // That look would find what is cut, and tell of it in the middle of what follows.
    let host = settings.iter().fold(site.host(), |host, setting| host.set(setting)).start_and_look();
    let ends = [("a.open", "handled"), ("b.reject", "rejected"), ("c.retry", "gave up")];
    for (name, end) in ends {
        fs::write(&hold, "").expect("a new file");
        site.write(name, "long");
        host.logged(&["holding", name]);
        // truncate(2) by path closes nothing: there will be no event.
        let mut perl = std::process::Command::new("perl");
        let status = perl.args(["-e", "truncate($ARGV[0], 1) or die"]).arg(site.root().join(name)).status();
        assert!(status.is_ok_and(|status| status.success()), "perl can truncate");
        fs::remove_file(&hold).expect("it is there");
        if end == "handled" {
            site.wait_for(&host, name);
        } else {
            host.logged(&[end, name]);
        }
    }
    site.settle(&host, "marker1");
    stopped(host);
    let host = site.host().start();
    for (name, _) in ends {
        let again =
            || site.records().filter(|r| r["event"]["relative"] == name && r["event"]["size"] == 1).count();
        host.wait_for(name, |_| (again() > 0).then_some(()));
    }
    stopped(host);
}
