//! Builds what the tests run. `cargo test` makes no `.so` of a plugin, and must work on a fresh clone.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{FlockOperation, flock};

const PACKAGES: [&str; 27] = [
    "notifyit-host",
    "notifyit-print",
    "notifyit-exec",
    "notifyit-call",
    "notifyit-checksums",
    "notifyit-clamav",
    "notifyit-count",
    "notifyit-csv-to-sqlite",
    "notifyit-gunzip",
    "notifyit-thumbnails",
    "notifyit-upload",
    "notifyit-recorder",
    "notifyit-recordes",
    "notifyit-panics",
    "notifyit-wrong-layout",
    "notifyit-no-layout",
    "notifyit-other-major",
    "notifyit-no-loader",
    "notifyit-hostile",
    "notifyit-misbehaves",
    "notifyit-deadly",
    "notifyit-flying",
    "notifyit-older",
    "notifyit-previous",
    "notifyit-today",
    "notifyit-newer",
    "notifyit-asks",
];

/// The built host.
pub(crate) fn binary() -> PathBuf {
    profile_directory().join("notifyit")
}

/// The library of a plugin, of the project's own or of the fixtures: `print` → `…/libnotifyit_print.so`.
pub fn library(plugin: &str) -> PathBuf {
    profile_directory().join(file_name(plugin))
}

/// A build of `recorder` that differs from the others: each of its records says `build`. At most nine characters.
pub fn recorder(build: &str) -> Vec<u8> {
    const MARK: &[u8] = b"recorder-build:";
    static PLAIN: OnceLock<(Vec<u8>, Vec<usize>)> = OnceLock::new();
    let (plain, places) = PLAIN.get_or_init(|| {
        let bytes = fs::read(library("recorder")).expect("it is built");
        let places = places(&bytes, &[MARK, b"000000000"].concat());
        (bytes, places)
    });
    let text = format!("{build:_<9}");
    assert_eq!(text.len(), 9, "{build:?} is too long");
    let mut bytes = plain.clone();
    for at in places {
        bytes[at + MARK.len()..at + MARK.len() + text.len()].copy_from_slice(text.as_bytes());
    }
    bytes
}

/// A build of `recorder` that asks for `close-write` alone; none where the compiler has made instructions of its name.
pub fn recorder_of_closes() -> Option<Vec<u8>> {
    renamed("recordes", "recorder")
}

/// The library of a plugin under another name of the same length; none where the compiler has made instructions of it.
pub fn renamed(plugin: &str, name: &str) -> Option<Vec<u8>> {
    let mut bytes = fs::read(library(plugin)).expect("it is built");
    let (from, to) = (format!("notifyit-{plugin}"), format!("notifyit-{name}"));
    let is_there = bytes.windows(from.len()).any(|text| text == from.as_bytes());
    if !is_there {
        crate::skip(&format!("{plugin} under another name: its own stands nowhere as a text"));
        return None;
    }
    replace(&mut bytes, from.as_bytes(), to.as_bytes());
    Some(bytes)
}

/// Writes one text over another of the same length, wherever it stands.
fn replace(bytes: &mut [u8], from: &[u8], to: &[u8]) {
    assert_eq!(from.len(), to.len());
    for at in places(bytes, from) {
        bytes[at..at + to.len()].copy_from_slice(to);
    }
}

fn places(bytes: &[u8], text: &[u8]) -> Vec<usize> {
    let places: Vec<usize> =
        (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
    assert!(!places.is_empty(), "{:?} is there", String::from_utf8_lossy(text));
    places
}

/// A plugin that was built with `panic = "abort"`.
pub fn aborting_library() -> PathBuf {
    static ONCE: OnceLock<()> = OnceLock::new();
    ONCE.get_or_init(|| {
        let arguments = ["--profile", "abort", "-p", "notifyit-panics"];
        once_per_run("abort", || cargo_build(own_cargo(), &target_directory(), &arguments))
    });
    target_directory().join("abort").join(file_name("panics"))
}

/// The libraries of these plugins, built by the `toolchain` of that name, or by the tests' own, with Cargo's `profile`.
/// None if rustup has no such toolchain.
pub fn libraries_by(toolchain: Option<&str>, profile: &str, plugins: &[&str]) -> Option<Vec<PathBuf>> {
    let (cargo, target) = match toolchain {
        Some(name) => (cargo_of(name)?, target_directory().join(name)),
        None => (own_cargo(), target_directory()),
    };
    let packages: Vec<String> = plugins.iter().map(|plugin| format!("notifyit-{plugin}")).collect();
    let mut arguments = vec!["--locked", "--profile", profile];
    arguments.extend(packages.iter().flat_map(|package| ["-p", package]));
    let what = format!("{}-{profile}", toolchain.unwrap_or("own"));
    once_per_run(&what, || cargo_build(cargo, &target, &arguments));
    let directory = target.join(if profile == "dev" { "debug" } else { profile });
    Some(plugins.iter().map(|plugin| directory.join(file_name(plugin))).collect())
}

/// The name of a plugin's library in the target directory.
pub(crate) fn file_name(plugin: &str) -> String {
    format!("libnotifyit_{}.so", plugin.replace('-', "_"))
}

/// Where the build puts its results: the profile that the tests themselves were built with.
fn profile_directory() -> &'static Path {
    static ONCE: OnceLock<PathBuf> = OnceLock::new();
    ONCE.get_or_init(|| {
        let profile = own_profile_directory();
        once_per_run("all", || {
            let name = profile.file_name().and_then(|n| n.to_str()).expect("a profile has a plain name");
            let mut arguments = vec!["--profile", if name == "debug" { "dev" } else { name }];
            arguments.extend(PACKAGES.iter().flat_map(|package| ["-p", package]));
            cargo_build(own_cargo(), &target_directory(), &arguments);
        });
        profile
    })
}

/// `target/debug` of `target/debug/deps/host-0123456789abcdef`.
fn own_profile_directory() -> PathBuf {
    let own = std::env::current_exe().expect("the test binary has a path");
    own.ancestors().nth(2).expect("the test binary lies in target/PROFILE/deps").to_owned()
}

/// The directory of all that is built.
pub fn target_directory() -> PathBuf {
    own_profile_directory().parent().expect("a profile lies in the target directory").to_owned()
}

/// Runs `build` if no other process of this run of the tests has: `nextest` starts one for each test.
fn once_per_run(what: &str, build: impl FnOnce()) {
    let run = run_of_the_tests();
    let mut stamp = open_stamp(&own_profile_directory().join(format!("notifyit-tests-{what}")));
    let mut last = String::new();
    stamp.read_to_string(&mut last).expect("the stamp is readable");
    let begun = format!("{run} has begun to build");
    assert!(last != begun, "failed to build what the tests run: see the first test that failed");
    if last != run {
        write_stamp(&mut stamp, &begun);
        build();
        write_stamp(&mut stamp, &run);
    }
}

fn write_stamp(stamp: &mut File, text: &str) {
    let written =
        stamp.set_len(0).and_then(|()| stamp.rewind()).and_then(|()| stamp.write_all(text.as_bytes()));
    written.expect("the stamp is writable");
}

/// The file that says which run built last, locked until it is closed.
fn open_stamp(path: &Path) -> File {
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path);
    let stamp = opened.unwrap_or_else(|e| panic!("failed to open {path:?}: {e}"));
    flock(&stamp, FlockOperation::LockExclusive).expect("files here can be locked");
    stamp
}

/// Names this run: the processes of one `nextest` share its id, the tests of `cargo test` share a process.
fn run_of_the_tests() -> String {
    let own = || fs::read_to_string("/proc/self/stat").expect("/proc is there");
    std::env::var("NEXTEST_RUN_ID").unwrap_or_else(|_| own())
}

/// The Cargo that runs the tests.
fn own_cargo() -> Command {
    Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The Cargo of another toolchain, if rustup has it.
fn cargo_of(toolchain: &str) -> Option<Command> {
    let run = || {
        let mut rustup = Command::new("rustup");
        rustup.args(["run", toolchain]).env_remove("CARGO").env_remove("RUSTC");
        rustup
    };
    let there = run().args(["rustc", "--version"]).output().is_ok_and(|output| output.status.success());
    let mut command = run();
    command.arg("cargo");
    there.then_some(command)
}

/// Runs Cargo in the directory of another package, with a target directory that is not the tests' own.
pub fn cargo_in(package: &Path, target: &Path, arguments: &[&str]) {
    let mut command = own_cargo();
    command.args(arguments).current_dir(package).env("CARGO_TARGET_DIR", target);
    let output = command.output().expect("cargo can be started");
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{command:?} failed:\n{}", String::from_utf8_lossy(&said));
}

/// Cargo has let go of its lock before it starts the tests, so that this cannot hang.
fn cargo_build(mut command: Command, target: &Path, arguments: &[&str]) {
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace is above tests/");
    command.args(["build", "--quiet", "--target-dir"]).arg(target).args(arguments);
    let output = command.current_dir(workspace).output().expect("cargo can be started");
    let log = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "failed to build what the tests run ({command:?}):\n{log}");
}
