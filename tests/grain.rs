//! A file system whose clock counts whole seconds: ext4 with inodes of 128 bytes. Skipped where it is not to be had.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use notifyit_tests::{Host, Running, skip};
use rustix::process::Signal;

use crate::mounts::Mount;
use crate::state::{Site, stopped};

/// The clock's grain, as the host takes it.
const GRAIN: Duration = Duration::from_secs(2);

/// A site with another watched directory, where times are whole seconds.
struct Coarse {
    mount: Mount,
    site: Site,
}

impl Coarse {
    fn new() -> Option<Coarse> {
        let site = Site::new();
        let image = site.0.path().join("image");
        fs::File::create(&image).and_then(|file| file.set_len(16 << 20)).expect("a new file");
        let made = Command::new("mkfs.ext4").args(["-q", "-I", "128"]).arg(&image).output();
        if !made.is_ok_and(|output| output.status.success()) {
            skip("mkfs.ext4 cannot be run here");
            return None;
        }
        let arguments = ["-o", "loop"].map(OsStr::new);
        let mount = Mount::new(
            "mount",
            &[&arguments[..], &[image.as_os_str()]].concat(),
            &site.0.path().join("coarse"),
        )?;
        Some(Coarse { mount, site })
    }

    fn start(&self) -> Running {
        self.site.host().watching([self.site.root(), self.mount.at().to_owned()]).start()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.mount.at().join(name)
    }

    fn modified(&self, name: &str) -> (i64, i64) {
        let meta = self.path(name).metadata().expect("the file is there");
        (meta.mtime(), meta.mtime_nsec())
    }

    /// What has been read of a file, each time that it was handled.
    fn read(&self, name: &str) -> Vec<String> {
        let of = self.site.records().filter(|record| record["event"]["relative"] == name);
        of.map(|record| record["text"].as_str().unwrap_or_default().to_owned()).collect()
    }
}

/// Waits until most of a second of the clock is still to come.
fn wait_for_a_second() {
    let into_it = || SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.subsec_millis());
    while !(20..100).contains(&into_it()) {}
}

#[test]
fn a_version_with_the_stamp_of_the_last_is_not_lost_by_a_kill() {
    let Some(coarse) = Coarse::new() else { return };
    for turn in 0..10 {
        let name = format!("{turn}.open.txt");
        let host = coarse.start();
        wait_for_a_second();
        fs::write(coarse.path(&name), "one").unwrap();
        coarse.site.wait_for(&host, &name);
        let before = coarse.modified(&name);
        coarse.site.wait_for_commit(&host);
        host.signal(Signal::KILL);
        drop(host.wait());
        fs::write(coarse.path(&name), "two").unwrap();
        if coarse.modified(&name) != before {
            continue;
        }
        let host = coarse.start();
        host.wait_for("the second version", |_| (coarse.read(&name) == ["one", "two"]).then_some(()));
        stopped(host);
        return;
    }
    skip("this machine is too slow to write a file twice in a second");
}

#[test]
fn a_file_comes_once_if_the_host_has_lived_a_grain_longer() {
    let Some(coarse) = Coarse::new() else { return };
    let host = coarse.start();
    fs::write(coarse.path("a.open.txt"), "one").unwrap();
    coarse.site.wait_for(&host, "a.open.txt");
    let handled = Instant::now();
    host.wait_for("a grain", |_| (handled.elapsed() > GRAIN).then_some(()));
    // Whoever handles these has set the fence for the other.
    coarse.site.wait_for_commit(&host);
    stopped(host);
    let host = coarse.start();
    fs::write(coarse.path("b.open.txt"), "two").unwrap();
    coarse.site.wait_for(&host, "b.open.txt");
    stopped(host);
    assert_eq!(coarse.read("a.open.txt"), ["one"]);
}

#[test]
fn a_close_that_may_be_the_handlers_own_is_delivered_once_the_clock_tells() {
    let Some(coarse) = Coarse::new() else { return };
    let host = coarse.start();
    let calls = |name: &str| -> Vec<u64> {
        let of = coarse.site.records().filter(|record| record["event"]["relative"] == name);
        of.filter_map(|record| record["at_nanos"].as_u64()).collect()
    };
    fs::write(coarse.path("a.reopen"), "x").expect("the file system is there");
    host.wait_for("the close to be told", |_| (calls("a.reopen").len() == 2).then_some(()));
    let at = calls("a.reopen");
    assert!(Duration::from_nanos(at[1] - at[0]) >= GRAIN, "{at:?}");
    // What the second call has closed lies in the kernel's queue before this.
    fs::write(coarse.path("marker"), "x").expect("the file system is there");
    host.wait_for("the marker", |_| (!calls("marker").is_empty()).then_some(()));
    assert_eq!(calls("a.reopen").len(), 2, "and by then it tells");
    stopped(host);
}

/// Each file goes through `scan` to `take`.
const CHAIN: &str = r#"
[[watch]]
path = "{coarse}"
[plugin.scan]
library = "recorder"
config = { out = "{temp}/scan.jsonl", emits = true }
[plugin.take]
library = "recorder"
events = ["emitted"]
config = { out = "{temp}/take.jsonl" }
"#;

#[test]
fn a_version_is_handed_on_when_its_stamp_tells_it_from_the_next() {
    let Some(coarse) = Coarse::new() else { return };
    let text = CHAIN.replace("{coarse}", &coarse.mount.at().display().to_string());
    let host = Host::new().named_plugin("recorder").config(&text).start();
    wait_for_a_second();
    fs::write(coarse.path("a.open"), "one").unwrap();
    host.answered("scan", "a.open", 1);
    let before = coarse.modified("a.open");
    fs::write(coarse.path("a.open"), "two").unwrap();
    host.answered("scan", "a.open", 2);
    let is_the_same = coarse.modified("a.open") == before;
    host.handled("take", "a.open");
    let exit = host.stop();
    exit.success();
    let taken: Vec<_> = exit.attempts("take", "a.open").into_iter().map(|record| record.text).collect();
    // Where a second was over in between each is told from the other.
    assert!(taken == ["two"] || !is_the_same && taken.last().is_some_and(|last| last == "two"), "{taken:?}");
}
