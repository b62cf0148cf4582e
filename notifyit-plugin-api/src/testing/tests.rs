//! The harness holds what its docs say.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, SystemTime};

use super::event::since_1970;
use super::place::new_directory;
use super::{TestEvent, TestHost};
use crate::{
    Event, Host, Kind, Origin, Plugin, Reject, Result, RetryAfter, Unavailable, anyhow, bail, ensure, json,
    log, serde_json,
};

/// Rejects what it has seen, by the version's number.
struct Once(Vec<u64>);

impl Plugin for Once {
    type Config = ();

    fn new(_: (), host: Host) -> Result<Self> {
        assert_eq!(host.instance().as_deref(), Some("test"));
        Ok(Once(Vec::new()))
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        if self.0.contains(&event.id()) {
            bail!(Reject::new("seen"));
        }
        self.0.push(event.id());
        Ok(())
    }
}

mod emitted;
mod in_flight;

#[test]
fn each_version_of_a_file_has_its_number_and_keeps_it() {
    let mut host = TestHost::start::<Once>(json!({})).unwrap();
    assert!(host.write("a", "1").is_done());
    assert!(host.land("a").is_reject());
    assert!(host.write("a", "22").is_done());
    assert!(host.write("b", "22").is_done());
}

/// Makes text loud. Says so when it is done, too early, or not at all, by the file's name.
struct Loud;

impl Plugin for Loud {
    type Config = ();

    fn new(_: (), _: Host) -> Result<Self> {
        Ok(Loud)
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let text = std::io::read_to_string(event.open()?)?;
        if event.name() == "early" {
            event.rewrote();
        }
        let mut file = fs::File::create(event.path())?;
        std::io::Write::write_all(&mut file, format!("{text}!").as_bytes())?;
        if event.name() == "open" {
            event.rewrote_as(&file);
        }
        drop(file);
        if event.name() == "said" {
            event.rewrote();
        }
        Ok(())
    }
}

#[test]
fn a_plugin_says_what_is_its_work() {
    let mut host = TestHost::start::<Loud>(json!({})).unwrap();
    assert!(!host.rewrote(), "no event yet");
    for (name, says) in [("said", true), ("open", true), ("early", false), ("unsaid", false)] {
        assert!(host.write(name, "1").is_done());
        assert_eq!(host.rewrote(), says, "{name}");
    }
    assert!(host.write("said", "1").is_done());
    fs::write(host.root().join("said"), "of another").unwrap();
    assert!(!host.rewrote(), "another has written since");
}

#[test]
fn a_directory_that_another_run_left_is_not_taken() {
    let directories = [new_directory().unwrap(), new_directory().unwrap()];
    assert_ne!(directories[0], directories[1]);
    for directory in directories {
        fs::remove_dir(directory).unwrap();
    }
}

/// Does what the file's name says, and counts its events.
struct Obedient {
    host: Host,
    events: u32,
    drop_panics: bool,
}

const BOOM_LINE: u32 = line!() + 2;
fn boom() {
    panic!("boom {}", 1);
}

impl Plugin for Obedient {
    type Config = ();

    fn new(_: (), host: Host) -> Result<Self> {
        log::debug!("made {:?}", host.instance());
        match host.instance().as_deref() {
            Some("unmade") => return Err(anyhow!("no network").context("not today")),
            Some("boom") => boom(),
            _ => {}
        }
        Ok(Obedient { host, events: 0, drop_panics: false })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        self.events += 1;
        match event.name().to_str().unwrap_or_default() {
            "boom" => boom(),
            "drop" => self.drop_panics = true,
            "json" => log::info!("{}", event.to_json()),
            "levels" => {
                log::error!("1");
                log::warn!("2");
                log::debug!("{}", log::log_enabled!(log::Level::Trace));
                log::trace!("5");
            }
            "thread" => {
                let host = self.host;
                let thread = std::thread::spawn(move || {
                    log::info!("unheard");
                    host.attach_thread();
                    log::info!("heard");
                    panic!("on its own");
                });
                assert!(thread.join().is_err());
            }
            "later" => bail!(RetryAfter(Duration::from_secs(3))),
            "down" => bail!(Unavailable::new("no disk")),
            "never" => bail!(Reject::new("no image")),
            _ => log::info!("event {}", self.events),
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        ensure!(self.events < 10, "too many");
        Ok(())
    }

    fn shutdown(&mut self) -> Result<()> {
        if self.events == 2 {
            boom();
        }
        Ok(())
    }
}

impl Drop for Obedient {
    fn drop(&mut self) {
        if self.drop_panics {
            boom();
        }
    }
}

fn obedient() -> TestHost {
    TestHost::start::<Obedient>(json!({})).unwrap()
}

/// How the test fails in which this happens.
fn failure(f: impl FnOnce()) -> String {
    let payload = catch_unwind(AssertUnwindSafe(f)).expect_err("it fails");
    let literal = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
    literal.or_else(|| payload.downcast_ref::<String>().cloned()).expect("a panic of ours has a text")
}

/// What the plugin's panic says.
fn boom_at() -> String {
    format!("boom 1, at {}:{BOOM_LINE}", file!())
}

/// There its code is hidden that is not shown; the README has no way to hide any.
#[test]
fn the_readmes_test_is_a_part_of_the_front_pages() {
    let (_, section) = include_str!("../../README.md").split_once("## Testing").unwrap();
    let code = section.split("```").nth(1).unwrap();
    let page: Vec<&str> =
        include_str!("mod.rs").lines().map(|line| line.trim_start_matches(['/', '!']).trim()).collect();
    let lines = code.lines().skip(3).map(str::trim).filter(|line| !line.is_empty());
    let missing: Vec<&str> = lines.filter(|line| !page.contains(line)).collect();
    assert_eq!(missing, [""; 0]);
}

#[test]
#[should_panic(expected = "the plugin panicked: boom 1")]
fn a_panic_fails_the_test() {
    obedient().write("boom", "");
}

#[test]
fn a_panic_fails_with_the_plugins_words_and_place_wherever_it_happens() {
    let mut host = obedient();
    assert_eq!(failure(|| drop(host.write("boom", ""))), format!("the plugin panicked: {}", boom_at()));
    let mut host = obedient();
    host.write("a", "").assert_done();
    host.write("drop", "").assert_done();
    let failed = failure(|| drop(host.shutdown()));
    assert_eq!(failed, format!("the plugin panicked: {}", boom_at()), "the first of two");
    let mut host = obedient();
    host.write("drop", "").assert_done();
    let root = host.root().to_owned();
    let failed = failure(|| drop(host));
    assert_eq!(failed, format!("the plugin panicked: {} (while it was dropped)", boom_at()));
    assert!(!root.exists());
    let failed = failure(|| {
        let mut host = obedient();
        host.write("drop", "").assert_done();
        panic!("the test's own");
    });
    assert_eq!(failed, "the test's own");
}

#[test]
fn after_an_expected_panic_there_is_a_new_instance() {
    let mut host = obedient();
    host.write("a", "").assert_done();
    let said = host.expect_panic(|host| {
        host.write("boom", "");
        unreachable!("the rest is not run");
    });
    assert_eq!(said, boom_at());
    host.take_logs();
    host.write("a", "").assert_done();
    assert_eq!(host.logs(), ["INFO event 1"], "it is new");
    let mut second = host.worker().unwrap();
    second.write("drop", "").assert_done();
    let said = second.expect_panic(TestHost::shutdown);
    assert_eq!(said, format!("{} (while it was dropped)", boom_at()));
    assert!(failure(|| drop(second.flush())).contains("has been shut down"));
    host.write("a", "").assert_done();
    assert_eq!(host.expect_panic(TestHost::shutdown), boom_at());
    assert!(failure(|| drop(host.flush())).contains("has been shut down"), "the end is the end");
}

#[test]
fn what_is_no_panic_of_the_plugin_is_not_taken_for_one() {
    let mut host = obedient();
    let failed = failure(|| drop(host.expect_panic(|host| host.write("a", ""))));
    assert!(failed.starts_with("expected the plugin to panic, but it did not\nthe logs:"), "{failed}");
    let failed = failure(|| drop(host.expect_panic(|host| host.write("a", "").assert_reject(""))));
    assert!(failed.starts_with("expected a reject, but it is done"), "{failed}");
    let failed = failure(|| drop(host.write("boom", "")));
    assert!(failed.starts_with("the plugin panicked"), "it is expected no more: {failed}");
}

/// Runs `testing::tests::fails` in a process of its own.
fn failed_test(name: &str, value: &str) -> String {
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "testing::tests::fails", "--ignored", "--nocapture"])
        .env(name, value)
        .output()
        .unwrap();
    assert!(!output.status.success());
    String::from_utf8(output.stderr).unwrap()
}

const FAILS_LINE: u32 = line!() + 5;
#[test]
#[ignore = "run by the two below"]
fn fails() {
    let mut host = obedient();
    host.write("boom", "");
}

#[test]
fn a_panic_is_shown_with_the_plugins_place_and_the_tests() {
    let shown = failed_test("RUST_BACKTRACE", "0");
    let places: Vec<&str> = shown.lines().filter_map(|l| Some(l.split_once("panicked at ")?.1)).collect();
    let place = |line: u32| format!("{}:{line}:", file!());
    let [plugin, test] = places[..] else { panic!("{shown}") };
    assert!(plugin.starts_with(&place(BOOM_LINE)) && test.starts_with(&place(FAILS_LINE)), "{shown}");
}

#[test]
fn the_directory_of_a_test_that_fails_is_kept_if_that_is_asked_for() {
    let mark = "the test's directory is kept: ";
    let shown = failed_test("NOTIFYIT_TEST_KEEP", "1");
    let kept = shown.lines().find_map(|line| line.strip_prefix(mark)).unwrap_or_else(|| panic!("{shown}"));
    assert!(fs::read(Path::new(kept).join("boom")).is_ok());
    fs::remove_dir_all(kept).unwrap();
    assert!(!failed_test("NOTIFYIT_OTHER", "1").contains(mark));
}

#[test]
fn workers_share_directory_and_logs_and_nothing_else() {
    let mut host = TestHost::start_as::<Obedient>("alpha", json!({})).unwrap();
    host.set_timeout(Some(Duration::from_secs(1)));
    let mut second = host.worker().unwrap();
    assert_eq!(host.take_logs(), [r#"DEBUG made Some("alpha")"#; 2]);
    std::thread::scope(|scope| {
        scope.spawn(|| host.write("a", "").assert_done());
        scope.spawn(|| second.write("b", "").assert_done());
    });
    assert_eq!(second.logs(), ["INFO event 1"; 2]);
    let root = host.root().to_owned();
    host.shutdown().assert_done();
    drop(host);
    assert_eq!(fs::read_dir(&root).unwrap().count(), 2, "the second still needs it");
    second.write("c", "").assert_done();
    drop(second);
    assert!(!root.exists());
}

#[test]
fn a_refusal_for_good_is_told_from_one_that_may_pass() {
    let refused = TestHost::start::<Obedient>(json!({"x": 1})).unwrap_err();
    assert!(refused.is::<Reject>());
    assert_eq!(refused.to_string(), "configuration: unknown key `x`: this plugin takes no configuration");
    let failed = TestHost::start_as::<Obedient>("unmade", json!({})).unwrap_err();
    assert!(!failed.is::<Reject>());
    assert_eq!(failed.to_string(), "not today: no network");
    let failed = failure(|| drop(TestHost::start_as::<Obedient>("boom", json!({}))));
    assert_eq!(failed, format!("the plugin panicked in `new`: {}", boom_at()));
}

#[test]
fn an_event_is_what_was_said_of_it() {
    let host = obedient();
    let told = |event: TestEvent<'_>| {
        host.take_logs();
        event.deliver().assert_done();
        let logs = host.take_logs();
        let json = logs[0].strip_prefix("INFO ").unwrap_or_else(|| panic!("{logs:?}"));
        serde_json::from_str::<serde_json::Value>(json).unwrap()
    };
    let file = told(host.event("sub/json").content("four"));
    assert_eq!((&file["relative"], &file["size"]), (&json!("sub/json"), &json!(4)));
    assert_eq!(
        (&file["kind"], &file["origin"], &file["attempt"], &file["watch"]),
        (&json!("landed"), &json!("live"), &json!(1), &json!("test"))
    );
    let again = told(host.event(host.root().join("./sub/json")).attempt(3).origin(Origin::Replay));
    assert_eq!((&again["id"], &again["path"], &again["attempt"]), (&file["id"], &file["path"], &json!(3)));
    let gone = host.event("sub/json").kind(Kind::Delete).missing().directory().watch("scans");
    let gone = told(gone.renamed_from("old"));
    assert_eq!(
        (&gone["kind"], &gone["directory"], &gone["watch"], &gone["renamed_from"], &gone["size"]),
        (&json!("delete"), &json!(true), &json!("scans"), &json!("old"), &json!(null))
    );
    let time = SystemTime::UNIX_EPOCH + Duration::new(1, 5);
    let imagined = told(host.event("json").size(9).modified(time));
    assert_eq!(
        (&imagined["size"], &imagined["modified"]),
        (&json!(9), &json!("1970-01-01T00:00:01.000000005Z"))
    );
    fs::create_dir(host.root().join("json")).unwrap();
    assert_eq!(told(host.event("json"))["directory"], json!(true));
}

#[test]
fn an_event_beneath_another_root_is_refused() {
    let (host, other) = (obedient(), obedient());
    assert!(failure(|| drop(host.event("/etc/passwd"))).contains("is not beneath the root"));
    assert!(failure(|| drop(host.burst([other.event("a")]))).contains("of another host"));
}

#[test]
fn a_time_before_1970_is_the_same_time() {
    for before in [Duration::from_secs(2), Duration::new(2, 5)] {
        let (seconds, nanos) = since_1970(SystemTime::UNIX_EPOCH - before);
        assert_eq!(
            -Duration::from_secs(seconds.unsigned_abs()).as_nanos().cast_signed() + i128::from(nanos),
            -before.as_nanos().cast_signed()
        );
    }
}

#[test]
fn a_flush_that_fails_undoes_what_was_done_in_its_burst() {
    let mut host = obedient();
    let events = ["a", "never", "later"].map(|name| host.event(name));
    let verdicts = host.burst(events);
    verdicts[0].assert_done();
    for _ in 0..10 {
        host.event("a").deliver().assert_done();
    }
    let verdicts = host.burst(["a", "never", "later"].map(|name| host.event(name)));
    verdicts[0].assert_retry("failed to flush: too many");
    verdicts[1].assert_reject("no image");
    assert_eq!(verdicts[2].retry_after(), Some(Duration::from_secs(3)));
    assert_eq!(host.land("a").message(), "too many");
}

#[test]
fn a_verdict_that_was_not_expected_is_shown_with_the_logs() {
    let host = obedient();
    host.take_logs();
    let [done, later, down, never] = ["a", "later", "down", "never"].map(|name| host.event(name).deliver());
    let failed = failure(|| later.assert_done());
    assert_eq!(
        failed,
        "expected done, but it is a retry after 3s: try again in 3s\nthe logs:\n  INFO event 1"
    );
    let failed = failure(|| down.assert_reject("no"));
    assert!(
        failed.starts_with(
            "expected a reject that says \"no\", but it is a retry with `Unavailable`: no disk\n"
        ),
        "{failed}"
    );
    let failed = failure(|| never.assert_reject("no video"));
    assert!(failed.contains("that says \"no video\", but it is a reject: no image\n"), "{failed}");
    assert!(failure(|| done.assert_retry("")).starts_with("expected a retry, but it is done\n"));
    assert!(failure(|| later.assert_unavailable("")).starts_with("expected a retry with `Unavailable`, but"));
    assert!(failure(|| down.assert_unavailable("cpu")).contains("that says \"cpu\""));
    assert!(failure(|| down.assert_retry("cpu")).contains("that says \"cpu\""));
    down.assert_retry("disk");
    down.assert_unavailable("disk");
    host.take_logs();
    assert!(failure(|| done.assert_retry("")).ends_with("\nnothing was logged"));
}

#[test]
fn logs_are_heard_by_level_and_from_attached_threads() {
    let mut host = obedient();
    host.take_logs();
    host.write("levels", "").assert_done();
    assert_eq!(host.take_logs(), ["ERROR 1", "WARN 2", "DEBUG false"]);
    host.set_log_level(log::LevelFilter::Trace);
    host.write("levels", "").assert_done();
    assert_eq!(host.take_logs()[2..], ["DEBUG true", "TRACE 5"]);
    host.set_log_level(log::LevelFilter::Off);
    host.write("levels", "").assert_done();
    assert!(host.logs().is_empty());
    host.set_log_level(log::LevelFilter::Info);
    host.write("thread", "").assert_done();
    host.assert_logged("INFO heard");
    host.assert_logged("ERROR a thread of its own panicked: on its own, at ");
    assert!(!host.logged("unheard"));
    let failed = failure(|| host.assert_logged("unheard"));
    assert!(
        failed.starts_with("nothing that was logged has \"unheard\" in it; the logs:\n  INFO heard"),
        "{failed}"
    );
    assert!(failed.contains("`Host::attach_thread`"), "{failed}");
}

#[test]
fn the_last_of_many_logs_are_shown() {
    let host = obedient();
    for _ in 0..60 {
        host.event("a").deliver().assert_done();
    }
    let failed = failure(|| host.assert_logged("x"));
    assert!(failed.contains("the logs:\n  (11 more before these)\n  INFO event 11\n"), "{failed}");
    assert!(failed.contains("INFO event 60"), "{failed}");
}

/// A plugin with a thread of its own, which its `Drop` waits for.
struct Waits(Option<std::thread::JoinHandle<bool>>);

impl Plugin for Waits {
    type Config = ();
    fn new((): (), host: Host) -> Result<Self> {
        Ok(Waits(Some(std::thread::spawn(move || host.wait_for_stop(Duration::from_secs(600))))))
    }
    fn on_event(&mut self, _: &Event<'_>) -> Result<()> {
        Ok(())
    }
}

impl Drop for Waits {
    fn drop(&mut self) {
        assert!(self.0.take().unwrap().join().unwrap());
    }
}

#[test]
fn a_thread_that_waits_for_the_end_of_its_instance_does_not_hold_up_its_drop() {
    let host = TestHost::start::<Waits>(json!({})).unwrap();
    let other = host.worker().unwrap();
    drop(host);
    drop(other);
}

/// What the store says to the name of a file.
struct Stores(Host);

impl Plugin for Stores {
    type Config = ();
    fn new((): (), host: Host) -> Result<Self> {
        Ok(Stores(host))
    }
    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let store = self.0.store()?;
        match event.name().to_str() {
            Some("empty") => store.put("", "x"),
            Some("long") => store.get("x".repeat(513)).map(drop),
            Some("large") => store.put("k", vec![0; (1 << 20) + 1]),
            Some("fill") => (0..64).try_for_each(|n| store.put([n], vec![0; 1 << 20])),
            Some("names") => {
                self.0.count("Rows", 1);
                self.0.gauge("b", f64::NAN);
                (0..70).for_each(|n| self.0.count(&format!("n{n}"), 1));
                Ok(())
            }
            _ => (0..2500).try_for_each(|n| store.put(format!("{n:04}"), "")),
        }
    }
}

#[test]
fn the_store_has_the_limits_of_a_hosts() {
    let mut host = TestHost::start::<Stores>(json!({})).unwrap();
    host.write("empty", "").assert_retry("a key of the store is empty");
    host.write("long", "").assert_retry("has 513 bytes, and at most 512");
    host.write("large", "").assert_retry("a value of the store has 1048577 bytes");
    host.write("fill", "").assert_unavailable("the store of plugin `test` is full: it may hold 64 MiB");
}

#[test]
fn all_keys_come_in_pieces() {
    let mut host = TestHost::start::<Stores>(json!({})).unwrap();
    host.write("many", "").assert_done();
    let store = crate::Host::new(super::heard::api(), host.heard().context()).store().unwrap();
    let keys = store.keys("").unwrap();
    assert!(keys.iter().cloned().eq(host.stored().into_keys()) && keys.len() == 2500);
    assert_eq!(store.keys("24").unwrap().len(), 100);
}

#[test]
fn figures_that_are_left_out_are_said() {
    let mut host = TestHost::start::<Stores>(json!({})).unwrap();
    host.write("names", "").assert_done();
    host.assert_logged("WARN the figure \"Rows\" is left out: a name is made of");
    host.assert_logged("WARN the figure \"b\" is left out: NaN");
    host.assert_logged("WARN the figure \"n64\" is left out: an instance has at most 64");
    assert_eq!((host.metric("n63"), host.metric("n64")), (Some(1.0), None));
}
