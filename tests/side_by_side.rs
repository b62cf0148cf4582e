//! `git clone`, `tar x` and `cargo build` into a tree that was there before, seen by the host and by `inotifywait` side
//! by side.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use notifyit_tests::{DEADLINE, Host, Running, skip, until};
use serde_json::Value;

/// `inotifywait`, which writes to a file; ended when it is dropped.
struct Inotifywait {
    child: Child,
    out: PathBuf,
}

impl Drop for Inotifywait {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Inotifywait {
    fn start(root: &Path, beside: &Path) -> Option<Inotifywait> {
        let (out, log) = (beside.join("inotifywait.out"), beside.join("inotifywait.log"));
        let file =
            |path: &Path| Stdio::from(fs::File::create(path).expect("the test's directory is writable"));
        let mut command = Command::new("inotifywait");
        command.args(["-m", "-r", "-e", "close_write,moved_from,moved_to", "--format", "%:e %w%f"]).arg(root);
        let Ok(child) = command.stdout(file(&out)).stderr(file(&log)).spawn() else {
            skip("inotifywait is not installed");
            return None;
        };
        let started = Inotifywait { child, out };
        until(|| {
            fs::read_to_string(&log).is_ok_and(|text| text.contains("Watches established")).then_some(())
        })
        .expect("inotifywait watches");
        Some(started)
    }

    fn lines(&self) -> Vec<(String, PathBuf)> {
        let text = fs::read_to_string(&self.out).unwrap_or_default();
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        lines.map(|(event, path)| (event.to_owned(), PathBuf::from(path))).collect()
    }
}

/// A host and `inotifywait` that watch the same tree.
struct Both {
    host: Running,
    other: Inotifywait,
    /// The directories that were there before.
    before: BTreeSet<PathBuf>,
}

impl Both {
    fn watch(host: Host) -> Option<Both> {
        let host = host.plugin("print").args(["-r", "-e", "close-write"]).set("print.format=\"json\"");
        let before = directories(&host.root());
        let other = Inotifywait::start(&host.root(), host.temp())?;
        // The look at what is there finds files that were linked or renamed to their place.
        Some(Both { host: host.start_and_look(), other, before })
    }

    /// Both have seen all that happened up to now, and they have seen the same.
    fn agree(self, at_least: usize) {
        self.host.write("the-end", "x");
        let end = self.host.path("the-end");
        let seen = until(|| self.other.lines().iter().any(|(_, path)| *path == end).then_some(()));
        assert!(seen.is_some(), "inotifywait has not come to the end within {DEADLINE:?}");
        self.host.wait_for("the end", |host| printed(host).contains(&end).then_some(()));
        let lines = self.other.lines();
        let names = last_names(&lines);
        let name_of = |path: PathBuf| names.get(&path).cloned().unwrap_or(path);
        let here = |path: &PathBuf| path.parent().is_some_and(|parent| self.before.contains(parent));
        let closed =
            lines.iter().filter(|(event, _)| event.contains("CLOSE_WRITE")).map(|(_, path)| path.clone());
        let theirs: BTreeSet<PathBuf> = closed.filter(here).map(name_of).collect();
        // What was closed in a directory that is new and then renamed into one that was there is not compared.
        let ours: BTreeSet<PathBuf> = closed_at(&self.host).into_iter().filter(here).map(name_of).collect();
        let only_theirs: Vec<_> = theirs.difference(&ours).collect();
        let only_ours: Vec<_> = ours.difference(&theirs).collect();
        assert!(
            only_theirs.is_empty() && only_ours.is_empty(),
            "missed {only_theirs:#?}, invented {only_ours:#?}"
        );
        assert!(theirs.len() >= at_least, "only {} files: the test shows nothing", theirs.len());
        self.host.stop().success();
    }
}

/// The paths that were printed.
fn printed(host: &Running) -> BTreeSet<PathBuf> {
    events(host).iter().filter_map(|event| event["path"].as_str().map(PathBuf::from)).collect()
}

/// The paths that were printed; of what was renamed, the one before.
fn closed_at(host: &Running) -> BTreeSet<PathBuf> {
    let root = host.root();
    let before = |event: &Value| event["renamed_from"].as_str().map(|relative| root.join(relative));
    let path = |event: &Value| event["path"].as_str().map(PathBuf::from);
    events(host).iter().filter_map(|event| before(event).or_else(|| path(event))).collect()
}

fn events(host: &Running) -> Vec<Value> {
    let lines = host.stdout_lines();
    lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"))).collect()
}

/// Each name that a file had on its way, with the last one: a file that was renamed counts under either.
fn last_names(lines: &[(String, PathBuf)]) -> BTreeMap<PathBuf, PathBuf> {
    let mut last: BTreeMap<PathBuf, PathBuf> = BTreeMap::new();
    for pair in lines.windows(2) {
        let [(from_event, from), (to_event, to)] = pair else { continue };
        if from_event.contains("MOVED_FROM") && to_event.contains("MOVED_TO") {
            last.values_mut().filter(|name| *name == from).for_each(|name| name.clone_from(to));
            last.insert(from.clone(), to.clone());
        }
    }
    last
}

fn directories(below: &Path) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::from([below.to_owned()]);
    for entry in fs::read_dir(below).expect("a directory can be listed").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            found.extend(directories(&entry.path()));
        }
    }
    found
}

/// Makes all directories of `like` below `root`, and no file.
fn same_directories(like: &Path, root: &Path) {
    for directory in directories(like) {
        let relative = directory.strip_prefix(like).expect("found below it");
        fs::create_dir_all(root.join(relative)).expect("the root is writable");
    }
}

/// Runs a program, quietly; false with a message if it is not there.
fn run(program: &str, arguments: &[&str], at: &Path) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).current_dir(at).env("HOME", at).env("GIT_CONFIG_NOSYSTEM", "1");
    for (name, value) in [("NAME", "test"), ("EMAIL", "test@example.org")] {
        command.env(format!("GIT_AUTHOR_{name}"), value).env(format!("GIT_COMMITTER_{name}"), value);
    }
    match command.output() {
        Ok(output) => {
            let log = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{command:?}: {log}");
            true
        }
        Err(_) => {
            skip(&format!("{program} is not installed"));
            false
        }
    }
}

/// A tree of some thousand files.
fn make_tree(at: &Path) {
    for directory in 0..40 {
        let path = at.join(format!("{}/{directory}", directory % 5));
        fs::create_dir_all(&path).expect("the directory is writable");
        for file in 0..50 {
            fs::write(path.join(format!("{file}.txt")), format!("{directory} {file}\n").repeat(file + 1))
                .expect("the directory is writable");
        }
    }
}

#[test]
fn a_clone_looks_the_same() {
    let host = Host::new();
    let source = host.temp().join("source");
    make_tree(&source);
    let git = |arguments: &[&str]| run("git", arguments, &source);
    if !(git(&["init", "-q"]) && git(&["add", "."]) && git(&["commit", "-q", "-m", "first"])) {
        return;
    }
    for commit in 0..5 {
        fs::write(source.join(format!("0/{}/0.txt", commit * 5)), format!("changed in {commit}")).unwrap();
        git(&["commit", "-q", "-a", "-m", "next"]);
    }
    // `git clone` wants an empty directory, so that nothing would be there before; these are the steps that it takes.
    let root = host.root();
    run("git", &["init", "-q"], &root);
    fs::create_dir_all(root.join(".git/refs/remotes/origin")).unwrap();
    fs::create_dir_all(root.join(".git/logs/refs/remotes/origin")).unwrap();
    for directory in directories(&source) {
        let relative = directory.strip_prefix(&source).unwrap();
        if !relative.starts_with(".git") {
            fs::create_dir_all(root.join(relative)).unwrap();
        }
    }
    let Some(both) = Both::watch(host) else { return };
    let source = source.to_str().unwrap().to_owned();
    run("git", &["fetch", "-q", &source, "HEAD:refs/remotes/origin/main"], &root);
    run("git", &["reset", "-q", "--hard", "origin/main"], &root);
    both.agree(2000);
}

#[test]
fn an_archive_looks_the_same() {
    let host = Host::new();
    let source = host.temp().join("source");
    make_tree(&source);
    let archive = host.temp().join("archive.tar");
    if !run("tar", &["cf", archive.to_str().unwrap(), "-C", source.to_str().unwrap(), "."], host.temp()) {
        return;
    }
    same_directories(&source, &host.root());
    let root = host.root();
    let Some(both) = Both::watch(host) else { return };
    run("tar", &["xf", archive.to_str().unwrap()], &root);
    both.agree(2000);
}

/// A crate without dependencies that has some programs to compile.
fn make_crate(at: &Path) {
    let write = |name: &str, text: &str| fs::write(at.join(name), text).expect("the directory is writable");
    fs::create_dir_all(at.join("src/bin")).expect("the directory is writable");
    write("Cargo.toml", "[package]\nname = \"example\"\nedition = \"2021\"\n[workspace]\n");
    write("src/lib.rs", "pub fn answer() -> u32 { 42 }\n");
    for n in 0..4 {
        write(
            &format!("src/bin/program{n}.rs"),
            "fn main() { std::process::exit(example::answer() as i32) }\n",
        );
    }
}

#[test]
fn a_build_looks_the_same() {
    let host = Host::new();
    let (source, root) = (host.temp().join("example"), host.root());
    make_crate(&source);
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let target = root.to_str().unwrap().to_owned();
    let build = |directory: &str| {
        let mut command = Command::new(&cargo);
        command.args(["build", "--quiet", "--offline", "--target-dir", directory]).current_dir(&source);
        let output = command.env_remove("RUSTC_WRAPPER").output().expect("cargo can be started");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    };
    // The directories that a build makes, without its files.
    build(&target);
    let shape = directories(&root);
    fs::remove_dir_all(&root).unwrap();
    for directory in shape {
        fs::create_dir_all(directory).unwrap();
    }
    let Some(both) = Both::watch(host) else { return };
    build(&target);
    both.agree(20);
}
