//! Twenty ways to put a plugin there, and what each comes to: one table.
//!
//! In each the plugin runs in a build of its own before, and the test waits until the build that came handles a file,
//! and counts what was handled: each file once, whatever is written while the plugin file changes.

use std::fmt::Write as _;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use notifyit_tests::{Running, inline_only, recorder, say, target_directory};

use super::{FILE, each_once, install, overwrite, running, works};

/// Runs a program to its end.
fn run(program: &str, arguments: &[&Path]) {
    let status = Command::new(program).args(arguments).status();
    let status = status.unwrap_or_else(|error| panic!("failed to start {program}: {error}"));
    assert!(status.success(), "{program} {arguments:?}: {status}");
}

/// Where the new file comes from, and where it goes.
struct Drop<'a> {
    host: &'a Running,
    from: PathBuf,
    to: PathBuf,
    bytes: Vec<u8>,
}

impl Drop<'_> {
    fn sh(&self, script: &str) {
        let mut command = Command::new("sh");
        let status = command.args(["-ec", script, "sh"]).arg(&self.from).arg(&self.to).status();
        assert!(status.expect("sh can be started").success(), "{script}");
    }

    /// In pieces, as over a slow line.
    fn slowly(&self, mut file: fs::File) {
        for piece in self.bytes.chunks(self.bytes.len() / 8 + 1) {
            file.write_all(piece).expect("there is room");
            std::thread::sleep(Duration::from_millis(40));
        }
    }

    fn old_is_at_work(&self) {
        let before = self.host.records("recorder").len();
        self.host.drained("recorder");
        let records = self.host.records("recorder");
        let last = records[before..].iter().rfind(|r| r.say == "done").expect("one");
        assert_eq!(last.build, "before");
    }
}

type Way = (&'static str, fn(&Drop<'_>));

const WAYS: [Way; 22] = [
    ("mv over it", |d| run("mv", &[&d.from, &d.to])),
    ("cp over it", |d| run("cp", &[&d.from, &d.to])),
    ("cp, first removed", |d| d.sh(r#"rm "$2"; cp "$1" "$2""#)),
    ("cp, removed a moment before", |d| d.sh(r#"rm "$2"; sleep 0.1; cp "$1" "$2""#)),
    ("cp -p, with an old time", |d| d.sh(r#"touch -d 2001-01-01 "$1"; cp -p "$1" "$2""#)),
    ("install", |d| run("install", &[&d.from, &d.to])),
    ("rsync", |d| {
        d.sh(r#"if command -v rsync >/dev/null; then rsync -I "$1" "$2"; else cp "$1" "$2.part"; mv "$2.part" "$2"; fi"#)
    }),
    ("rsync --inplace", |d| {
        d.sh(r#"if command -v rsync >/dev/null; then rsync -I --inplace "$1" "$2"; else cp "$1" "$2"; fi"#)
    }),
    ("ln -f", |d| d.sh(r#"ln -f "$1" "$2""#)),
    ("ln -sf", |d| d.sh(r#"ln -sf "$1" "$2""#)),
    ("a link, its file replaced", |d| {
        // The link is there first, to a copy of what runs.
        let real = d.from.with_extension("real.so");
        fs::copy(&d.to, &real).expect("there is room");
        fs::remove_file(&d.to).expect("it is there");
        symlink(&real, &d.to).expect("its place is free");
        d.old_is_at_work();
        run("mv", &[&d.from, &real]);
    }),
    ("dd", |d| d.sh(r#"dd if="$1" of="$2" bs=64k 2>/dev/null"#)),
    ("cat >", |d| d.sh(r#"cat "$1" > "$2""#)),
    ("tar x", |d| {
        d.sh(r#"cd "$(dirname "$1")"; cp "$1" "$(basename "$2")"; tar cf x.tar "$(basename "$2")"; tar xf x.tar -C "$(dirname "$2")""#)
    }),
    ("a slow copy in place", |d| {
        let file = fs::OpenOptions::new().write(true).truncate(true).open(&d.to).expect("it is there");
        d.slowly(file);
    }),
    ("a slow copy to another name, then mv", |d| {
        let part = d.to.with_extension("part");
        d.slowly(fs::File::create(&part).expect("the directory is ours"));
        run("mv", &[&part, &d.to]);
    }),
    ("cut short, completed later", |d| {
        overwrite(&d.to, &d.bytes[..d.bytes.len() / 3]);
        d.host.logged(&["WARN", "goes on as it was"]);
        d.old_is_at_work();
        let mut file = fs::OpenOptions::new().append(true).open(&d.to).expect("it is there");
        file.write_all(&d.bytes[d.bytes.len() / 3..]).expect("there is room");
    }),
    ("nonsense first", |d| {
        overwrite(&d.to, b"nonsense");
        d.host.logged(&["WARN", "goes on as it was"]);
        d.old_is_at_work();
        overwrite(&d.to, &d.bytes);
    }),
    ("a mode that others may write, then chmod", |d| {
        fs::set_permissions(&d.from, fs::Permissions::from_mode(0o666)).expect("it is ours");
        run("mv", &[&d.from, &d.to]);
        d.host.logged(&["WARN", "chmod"]);
        d.old_is_at_work();
        run("chmod", &[Path::new("644"), &d.to]);
    }),
    ("exchanged (mv --exchange, or by three)", |d| {
        d.sh(r#"mv "$2" "$2.old"; mv "$1" "$2"; mv "$2.old" "$1""#)
    }),
    ("by another directory: mv of a link", |d| {
        let link = d.from.with_extension("link");
        symlink(&d.from, &link).expect("its place is free");
        run("mv", &[&link, &d.to]);
    }),
    ("a build: written beside, linked in", |d| {
        // As cargo does it: `deps/x.so` is made anew, `x.so` is removed and linked.
        d.sh(r#"rm -f "$2"; ln "$1" "$2""#);
    }),
];

#[test]
fn each_way_to_put_a_plugin_there() {
    if inline_only("how a file comes is not the worker's business, and this is long") {
        return;
    }
    let mut table =
        String::from("| way | runs after ms | files written meanwhile, each handled once |\n|---|---|---|\n");
    for (number, (way, put)) in WAYS.iter().enumerate() {
        let host = running("before").start();
        works(&host, "before");
        let build = format!("w{number}");
        let bytes = recorder(&build);
        let from = host.temp().join("from");
        fs::create_dir(&from).expect("not there yet");
        let from = from.join("new.so");
        fs::write(&from, &bytes).expect("there is room");
        fs::set_permissions(&from, fs::Permissions::from_mode(0o644)).expect("it is ours");
        let drop = Drop { host: &host, from, to: host.plugins().join(FILE), bytes };
        let mut writer = host.writer_of(300);
        put(&drop);
        let put_at = Instant::now();
        works(&host, &build);
        let took = put_at.elapsed();
        assert!(writer.wait().expect("a child").success());
        host.all_handled("recorder", (0..300).map(|number| format!("f{number}")));
        each_once(&host, (0..300).map(|number| format!("f{number}")));
        assert_eq!(host.count_logged(&["is removed"]), 0, "{way}");
        writeln!(table, "| {way} | {} | 300 |", took.as_millis()).expect("a string takes it");
        let exit = host.stop();
        exit.success();
    }
    say(&table);
    fs::write(target_directory().join("ways.md"), table).expect("there is room");
}

#[test]
fn what_changes_nothing_does_nothing() {
    let host = running("same").start();
    works(&host, "same");
    let path = host.plugins().join(FILE);
    let made = || host.records("recorder").iter().filter(|r| r.say == "new").count();
    run("touch", &[&path]);
    overwrite(&path, &recorder("same"));
    install(&host, FILE, &recorder("same"));
    run("chmod", &[Path::new("755"), &path]);
    // Another one that comes is seen after all of that.
    install(&host, "libnotifyit_print.so", &fs::read(notifyit_tests::library("print")).expect("it is built"));
    host.logged(&["plugin `print`", "runs now"]);
    assert_eq!(made(), 1);
    host.alive("recorder");
    assert_eq!(host.count_logged(&["WARN"]), 0);
}

#[test]
fn what_somebody_writes_to_is_not_touched_until_it_is_closed() {
    let host = running("one").start();
    works(&host, "one");
    let path = host.plugins().join(FILE);
    let bytes = recorder("two");
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(&path).expect("it is there");
    file.write_all(&bytes).expect("there is room");
    // It is whole, but who knows?
    install(&host, "libnotifyit_print.so", &fs::read(notifyit_tests::library("print")).expect("it is built"));
    host.logged(&["plugin `print`", "runs now"]);
    host.alive("recorder");
    assert_eq!((host.count_logged(&["WARN"]), host.count_logged(&["is replaced"])), (0, 0));
    drop(file);
    works(&host, "two");
}
