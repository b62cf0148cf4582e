//! The host's side, with shell scripts for children.

use std::ffi::OsStr;
use std::fs;

use super::*;
use crate::plugin::services::tests::logged;
use crate::plugin::stage::Staging;

const SOUND: &str = r#"{"v":1,"sound":{"name":"x","version":"1","api":"1.0.0","panic":"unwind","events":[],"max_workers":1,"more":1}}"#;

/// A directory with a program in it that is run in place of the child.
struct Bench {
    dir: tempfile::TempDir,
    prober: Prober,
}

impl Bench {
    fn new(script: &str, limit: Duration) -> Bench {
        let dir = tempfile::tempdir().unwrap();
        let (body, program) = (dir.path().join("body"), dir.path().join("program"));
        fs::write(&body, format!("#!/bin/sh\ncd {:?}\n{script}\n", dir.path())).unwrap();
        // By another process: what a thread of this one has open for writing while another forks cannot be executed.
        let installed = Command::new("install").args([&body, &program]).status().unwrap();
        assert!(installed.success());
        Bench { dir, prober: Prober::new(Some(program), limit) }
    }

    fn staged(&self, content: &str) -> Staged {
        let path = self.dir.path().join("plugin");
        fs::write(&path, content).unwrap();
        Staging::Memory.copy(&mut File::open(&path).unwrap(), OsStr::new("plugin")).unwrap()
    }

    fn probe(&self) -> Result<Tried, (Step, Reason)> {
        self.prober.probe(&self.staged("content"))
    }

    fn quarantined(&self) -> Reason {
        let (step, reason) = self.probe().unwrap_err();
        assert_eq!(step, Step::Probe);
        reason
    }

    fn wait_for_the_end_of(&self, name: &str) {
        let end = Instant::now() + LONG;
        while self.is_alive(name) {
            assert!(Instant::now() < end, "{name} lives");
        }
    }

    fn is_alive(&self, name: &str) -> bool {
        let id = fs::read_to_string(self.dir.path().join(name)).unwrap();
        // A process without a parent that has been killed is there until somebody has reaped it.
        let stat = fs::read_to_string(format!("/proc/{}/stat", id.trim())).unwrap_or_default();
        !(stat.is_empty() || stat.contains(") Z "))
    }
}

const LONG: Duration = Duration::from_secs(60);

fn name(tried: &Tried) -> Option<&str> {
    match tried {
        Tried::Sound(info) => Some(&info.name),
        Tried::Not(_) => None,
    }
}

#[test]
fn the_child_gets_the_copy_as_its_stdin_and_each_content_is_tried_once() {
    let bench = Bench::new(&format!("cat >>seen; echo $1 >>seen; echo '{SOUND}'"), LONG);
    for content in ["one ", "two ", "one "] {
        let tried = bench.prober.probe(&bench.staged(content)).unwrap();
        assert_eq!(name(&tried), Some("x"));
    }
    let seen = fs::read_to_string(bench.dir.path().join("seen")).unwrap();
    assert_eq!(seen, "one __probe\ntwo __probe\n");
}

#[test]
fn how_it_ended_is_said_and_remembered() {
    for (script, why) in [
        ("kill -SEGV $$", "it crashes while it is loaded (SIGSEGV)"),
        ("exit 3", "it ends the process while it is loaded (exit status 3)"),
        ("exit 0", "it ends the process while it is loaded (exit status 0)"),
        ("echo nonsense", "while it is loaded it writes to a file that is not its own"),
        (r#"echo '{"v":2,"sound":1}'"#, "while it is loaded it writes to a file that is not its own"),
    ] {
        let bench = Bench::new(&format!("echo x >>times; {script}"), LONG);
        assert_eq!(bench.quarantined().why, why);
        assert_eq!(bench.quarantined().remedy, "mend or remove it; it is tried again when the file changes");
        assert_eq!(fs::read_to_string(bench.dir.path().join("times")).unwrap(), "x\n");
    }
}

#[test]
fn a_child_that_does_not_end_is_ended_with_all_that_it_has_started() {
    let script = "echo $$ >one; sh -c 'echo $$ >two; exec sleep 1000' & while :; do sleep 0.01; done";
    // By then both have said who they are, however busy the machine is.
    let bench = Bench::new(script, Duration::from_secs(3));
    assert_eq!(bench.quarantined().why, "it does not finish loading within 3s");
    bench.wait_for_the_end_of("one");
    bench.wait_for_the_end_of("two");
}

#[test]
fn what_it_leaves_behind_holds_nothing_up_and_is_ended() {
    let script = format!("sleep 1000 & echo $! >left; echo '{SOUND}'");
    let bench = Bench::new(&script, LONG);
    assert_eq!(name(&bench.probe().unwrap()), Some("x"));
    bench.wait_for_the_end_of("left");
}

#[test]
fn a_flood_on_stderr_ends_and_its_last_lines_are_kept() {
    let script = "i=0; while [ $i -lt 30000 ]; do echo 0123456789; i=$((i+1)); done >&2; printf 'la\\033st\\n' >&2; exit 1";
    let detail = Bench::new(script, LONG).quarantined().detail;
    assert_eq!((detail.lines().count(), detail.lines().last()), (20, Some(r"la\u{1b}st")));
}

#[test]
fn a_large_answer_comes_through() {
    let script = r#"printf '{"v":1,"refused":{"step":"layout","reason":{"why":"w","remedy":"r","detail":"'
        head -c 500000 /dev/zero | tr '\0' x; printf '"}}}'"#;
    let bench = Bench::new(&format!("echo x >>times; {script}"), LONG);
    for _ in 0..2 {
        let (step, reason) = bench.probe().unwrap_err();
        assert_eq!((step, &*reason.why, reason.detail.len()), (Step::Layout, "w", 500_000));
    }
    let times = fs::read_to_string(bench.dir.path().join("times")).unwrap();
    assert_eq!(times, "x\nx\n", "what a library misses may be there the next time");
}

#[test]
fn without_a_descriptor_for_its_end_the_end_is_seen_all_the_same() {
    let bench = Bench::new("exit 3", LONG);
    let program = bench.prober.program.as_ref().unwrap();
    let mut trial = Trial::start(program, bench.staged("x").path()).unwrap();
    trial.exit = None;
    assert!(trial.wait(Instant::now() + LONG).unwrap());
    assert_eq!(trial.end().unwrap().code(), Some(3));
}

#[test]
fn a_host_that_can_start_no_child_says_so_once_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let absent = dir.path().join("absent");
    let unable = Bench::new(r#"echo '{"v":1,"unable":"no /dev/null"}'"#, LONG);
    for (prober, why) in [(Prober::by(&absent), "No such file"), (unable.prober, "no /dev/null")] {
        let said = logged(|| {
            for content in ["one", "two"] {
                fs::write(dir.path().join("file"), content).unwrap();
                let file = &mut File::open(dir.path().join("file")).unwrap();
                let staged = Staging::Memory.copy(file, OsStr::new("x")).unwrap();
                let tried = prober.probe(&staged).unwrap();
                assert!(matches!(tried, Tried::Not(said) if said.starts_with(why)));
            }
        });
        assert_eq!(said.matches("without being tried").count(), 1, "{said}");
    }
}
