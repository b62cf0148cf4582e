//! Plugins that crash, hang or end the process while they are loaded: the host never notices.

use std::fs;
use std::path::{Path, PathBuf};

use notifyit_tests::{Host, Place, inline_only, library, until};
use rustix::process::Signal;

/// What each sin is called, and what is said of it.
const QUARANTINED: [(&str, &str); 6] = [
    ("crashes", "it crashes while it is loaded (SIGSEGV)"),
    ("root", "it crashes while it is loaded (SIGSEGV)"),
    ("info", "it crashes while it is loaded (SIGABRT)"),
    ("exits", "it ends the process while it is loaded (exit status 3)"),
    ("forks", "it ends the process while it is loaded (exit status 0)"),
    ("meddles", "while it is loaded it writes to a file that is not its own"),
];

const HANGS: &str = "it does not finish loading within 10s";
const REMEDY: &str = "; mend or remove it; it is tried again when the file changes";

/// Makes a plugin that does this while it is loaded.
pub(crate) fn sinner(place: &Place, sin: &str) -> PathBuf {
    let mut bytes = fs::read(library("hostile")).expect("the fixture was built");
    let at = bytes.windows(8).position(|window| window == b"SIN:none").expect("the sin's place");
    bytes[at + 4..at + 16].copy_from_slice(format!("{sin:.<12}").as_bytes());
    let aside = place.aside(sin, "");
    fs::write(&aside, bytes).expect("it is ours");
    place.add_library(&aside, &format!("{sin}.so"))
}

/// The processes that this host, or what it started, has begun to probe with.
fn probes(host: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let ids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mark = format!("\0__probe\0{host}\0");
    let is_one = |id: &u32| {
        let line = fs::read(format!("/proc/{id}/cmdline")).unwrap_or_default();
        line.ends_with(mark.as_bytes())
    };
    ids.filter(is_one).collect()
}

fn id(host: &notifyit_tests::Running) -> u32 {
    host.pid().as_raw_nonzero().get().cast_unsigned()
}

#[test]
fn what_does_harm_while_it_is_loaded_is_said_in_a_line_each_and_the_others_work() {
    let host = Host::new().plugin("print").arg("-v");
    let files: Vec<PathBuf> = QUARANTINED.iter().map(|(sin, _)| sinner(&host, sin)).collect();
    let host = host.start();
    host.write("a.txt", "x");
    host.handled("print", "a.txt");
    assert_eq!(probes(id(&host)), [0_u32; 0], "no process is left");
    let exit = host.stop();
    exit.success();
    for ((sin, why), file) in QUARANTINED.iter().zip(files) {
        let said = format!("failed to load plugin {file:?}: {why}{REMEDY}");
        let lines = exit.lines(&[&format!("/{sin}.so"), "failed"]);
        assert!(
            matches!(lines[..], [line] if line.contains(" WARN ") && line.ends_with(&said)),
            "{lines:#?}"
        );
    }
    assert_eq!(exit.lines(&["I have had enough\\u{1b}[31m"]).len(), 1, "its last words, with -v");
    assert_eq!(exit.stdout(), format!("{}\n", exit.path("a.txt").display()).as_bytes());
}

#[test]
fn what_was_named_and_does_harm_ends_the_start() {
    for (sin, why) in QUARANTINED {
        let host = Host::new().plugin("print");
        let file = sinner(&host, sin);
        let exit = host.args(["-p".as_ref(), file.as_os_str()]).run();
        exit.code(1).one_error(&[&format!("failed to load plugin {file:?}: {why}{REMEDY}")]);
        assert_eq!(exit.stderr().lines().count(), 1);
        assert!(exit.stdout().is_empty());
    }
}

#[test]
fn what_prints_or_babbles_is_loaded_and_says_it_once() {
    let host = Host::new().plugin("print");
    sinner(&host, "prints");
    let host = host.start();
    host.alive("print");
    host.logged(&["ready", "hostile"]);
    let exit = host.stop();
    exit.success();
    let stdout = String::from_utf8_lossy(exit.stdout()).into_owned();
    assert_eq!(stdout.matches("stdout is mine\n").count(), 1, "the child's went nowhere");

    let host = Host::new();
    let file = sinner(&host, "babbles");
    let exit = host.verb("check").args(["-p".as_ref(), file.as_os_str()]).run();
    assert_eq!(
        exit.success().lines(&["bla bla bla"]).len(),
        0,
        "the child's went nowhere, and it was loaded nowhere else"
    );
}

#[test]
fn what_hangs_is_given_up_and_leaves_no_process() {
    let host = Host::new().plugin("print");
    let file = sinner(&host, "hangs");
    let host = host.spawn();
    let said = || host.log().lines().find(|line| line.contains("hangs.so")).map(str::to_owned);
    // Ten seconds are its, ten are the machine's.
    let line = until(said).or_else(|| until(said)).expect("a line about it");
    assert!(line.ends_with(&format!("failed to load plugin {file:?}: {HANGS}{REMEDY}")), "{line}");
    host.logged(&["ready"]);
    host.alive("print");
    assert_eq!(probes(id(&host)), [0_u32; 0]);
    host.stop().success();
}

#[test]
fn a_probe_dies_with_its_host() {
    let host = Host::new().plugin("print");
    sinner(&host, "hangs");
    let host = host.spawn();
    let host_id = id(&host);
    host.wait_for("the probe", |_| (!probes(host_id).is_empty()).then_some(()));
    host.signal(Signal::KILL);
    host.wait_for("its end", |host| host.exited());
    assert!(until(|| probes(host_id).is_empty().then_some(())).is_some());
}

#[test]
fn what_is_refused_is_never_mapped_into_the_host() {
    if inline_only("it looks at what is mapped into the host") {
        return;
    }
    let host = Host::new().plugin("print");
    host.add_library(&library("wrong-layout"), "refused.so");
    let host = host.start();
    host.alive("print");
    let maps = fs::read_to_string(Path::new("/proc").join(id(&host).to_string()).join("maps")).unwrap();
    assert!(maps.contains("libnotifyit_print.so") && !maps.contains("refused.so"), "{maps}");
    let exit = host.stop();
    assert_eq!(exit.success().lines(&["refused.so", "differ"]).len(), 1);
}

#[test]
fn a_host_that_was_started_with_children_ignored_probes_all_the_same() {
    for verb in ["watch", "check"] {
        let host = Host::new().plugin("print").verb(verb);
        let file = sinner(&host, "crashes");
        let host = host.args(["-p".as_ref(), file.as_os_str()]);
        let host = host.wrapped(["env", "--ignore-signal=CHLD"]);
        host.run().code(1).one_error(&["(SIGSEGV)"]);
    }
}
