//! Those who write in their own ways. A file is handled when its writer is done, and not before.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

use notifyit_tests::Running;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, linkat, open};

use super::table::left_out;
use super::{Case, about, both, has, names, repeat, sh};

const BOTH: [&str; 2] = ["recorder", "print"];

/// Nothing was told of this file, though all that was written before now was.
pub(super) fn untold(host: &Running, plugins: [&str; 2], file: &str) {
    static MARKERS: AtomicU64 = AtomicU64::new(0);
    let marker = format!("marker-{}", MARKERS.fetch_add(1, Ordering::Relaxed));
    host.write(&marker, "x");
    for plugin in plugins {
        host.wait_for("the marker", |host| names(host, plugin).contains(Path::new(&marker)).then_some(()));
        assert!(!names(host, plugin).contains(Path::new(file)), "{plugin} was told of {file} too early");
    }
}

pub(super) fn content_told(host: &Running, file: &str) -> String {
    about(host, "recorder", Path::new(file)).last().map(|told| told.text.clone()).unwrap_or_default()
}

#[test]
fn one_that_holds_a_file_open_for_long() {
    repeat(|| {
        let host = both().start();
        host.mkdir("sub");
        for name in ["long.open", "sub/long.open"] {
            let mut writer = File::create(host.path(name)).unwrap();
            for _ in 0..3 {
                writer.write_all(b"part ").unwrap();
                untold(&host, BOTH, name);
            }
        }
        Case::all("i: open for long", &host).exactly_once();
        assert_eq!(content_told(&host, "sub/long.open"), "part part part ");
        host.stop().success();
    });
}

const MAPPER: &str = r#"
import mmap, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(fd, 4096)
view = mmap.mmap(fd, 4096)
os.close(fd)
view[:5] = b"first"
print("mapped", flush=True)
sys.stdin.readline()
view[:5] = b"later"
view.flush()
view.close()
"#;

#[test]
fn one_that_writes_by_a_mapping() {
    if !has("python3") {
        return left_out("i: mapped", "python3 is not installed");
    }
    repeat(|| {
        let host = both().start();
        let path = host.path("map.open");
        let mut command = Command::new("python3");
        command.args(["-c", MAPPER]).arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut writer = command.spawn().unwrap();
        let mut said = String::new();
        BufReader::new(writer.stdout.as_mut().unwrap()).read_line(&mut said).unwrap();
        assert_eq!(said, "mapped\n");
        untold(&host, BOTH, "map.open");
        writer.stdin.take().unwrap().write_all(b"\n").unwrap();
        assert!(writer.wait().unwrap().success());
        Case::all("i: mapped", &host).exactly_once();
        assert!(content_told(&host, "map.open").starts_with("later"));
        host.stop().success();
    });
}

#[test]
fn one_that_dies() {
    repeat(|| {
        let host = both().start();
        host.mkdir("sub");
        for n in 0..20 {
            let script = format!("exec > sub/{n}.open; echo half; kill -9 $$");
            let status = Command::new("sh").args(["-c", &script]).current_dir(host.root()).status();
            assert!(!status.unwrap().success());
        }
        Case::all("i: a writer that dies", &host).exactly_once();
        assert_eq!(content_told(&host, "sub/7.open"), "half\n");
        host.stop().success();
    });
}

/// No event tells the name; only `landed` can know it.
#[test]
fn one_whose_file_gets_its_name_late() {
    repeat(|| {
        let host = both().start();
        for n in 0..50 {
            let file = open(host.root(), OFlags::TMPFILE | OFlags::RDWR, Mode::from_raw_mode(0o644)).unwrap();
            let mut file = File::from(file);
            file.write_all(b"early, ").unwrap();
            let name = format!("{n}.open");
            let own = format!("/proc/self/fd/{}", file.as_raw_fd());
            linkat(CWD, own, CWD, host.path(&name), AtFlags::SYMLINK_FOLLOW).unwrap();
            if n % 10 == 0 {
                untold(&host, BOTH, &name);
            }
            file.write_all(b"late").unwrap();
        }
        Case::all("i: O_TMPFILE", &host).but("print", |_| false).exactly_once();
        assert!((0..50).all(|n| content_told(&host, &format!("{n}.open")) == "early, late"));
        host.stop().success();
    });
}

#[test]
fn one_whose_file_gets_another_name_while_it_is_open() {
    repeat(|| {
        let host = both().start();
        for n in 0..50 {
            let mut file = File::create(host.path(format!("{n}.open"))).unwrap();
            file.write_all(b"early, ").unwrap();
            fs::hard_link(host.path(format!("{n}.open")), host.path(format!("{n}.link.open"))).unwrap();
            file.write_all(b"late").unwrap();
        }
        Case::all("i: linked while open", &host).exactly_once();
        assert!((0..50).all(|n| content_told(&host, &format!("{n}.link.open")) == "early, late"));
        host.stop().success();
    });
}

#[test]
fn one_that_renames_when_it_is_done() {
    repeat(|| {
        let host = both().args(["--exclude", "*.part"]).start();
        sh(&host, "for n in $(seq 50); do echo $n > $n.part; mv $n.part $n; done");
        sh(&host, "mkdir new; for n in $(seq 50); do echo $n > new/$n.part; mv new/$n.part new/$n; done");
        Case::all("i: .part and mv", &host).exactly_once();
        host.stop().success();
    });
}

#[test]
fn one_that_downloads_and_renames() {
    if !has("curl") {
        return left_out("i: curl -o x.part && mv", "curl is not installed");
    }
    repeat(|| {
        let host = both().args(["--exclude", "*.part"]);
        host.aside("source", &"x".repeat(100_000));
        let host = host.start();
        sh(&host, "for n in $(seq 20); do curl -sS -o $n.part file://$0/source && mv $n.part $n; done");
        Case::all("i: curl -o x.part && mv", &host).exactly_once();
        host.stop().success();
    });
}

/// It writes to `.name.XXXXXX` and renames that; a second run replaces what has changed.
#[test]
fn one_that_synchronises() {
    if !has("rsync") {
        return left_out("i: rsync -a, twice", "rsync is not installed");
    }
    repeat(|| {
        let host = both().args(["--exclude", ".*"]).start();
        sh(&host, "mkdir -p $0/source/sub; for n in $(seq 50); do echo $n > $0/source/sub/$n; done");
        sh(&host, "rsync -a $0/source/ .");
        sh(&host, "for n in $(seq 1 2 50); do echo more >> $0/source/sub/$n; done; rsync -a $0/source/ .");
        Case::all("i: rsync -a, twice", &host).exactly_once();
        host.stop().success();
    });
}

#[test]
fn an_editor() {
    repeat(|| {
        let host = both().args(["--exclude", ".*", "--exclude", "*~"]).start();
        host.write("new.open", "old");
        host.write("back.open", "old");
        host.handled("recorder", "new.open");
        for n in 0..20 {
            let text = format!("save {n}");
            // A new file in the old one's place.
            host.write(".new.tmp", &text);
            host.rename(".new.tmp", "new.open");
            // The old one put away first.
            host.rename("back.open", "back.open~");
            host.write("back.open", &text);
            fs::remove_file(host.path("back.open~")).unwrap();
        }
        if has("vim") {
            sh(&host, "vim -es -u NONE -c 'set backup swapfile' -c 'normal Aby an editor' -c wq vim.open");
        }
        let kept = |path: &Path| !path.to_string_lossy().ends_with('~');
        let case = Case::all("i: an editor", &host).but("print", kept).but("recorder", kept);
        case.at_least_once();
        assert_eq!(content_told(&host, "new.open"), "save 19");
        assert_eq!(content_told(&host, "back.open"), "save 19");
        host.stop().success();
    });
}

#[test]
fn one_that_appends_and_appends() {
    repeat(|| {
        let host = both().start();
        for _ in 0..200 {
            let mut log = OpenOptions::new().append(true).create(true).open(host.path("log.open")).unwrap();
            log.write_all(b"line\n").unwrap();
        }
        Case::all("i: appended 200 times", &host).at_least_once();
        assert_eq!(content_told(&host, "log.open").len(), 1000);
        host.stop().success();
    });
}
