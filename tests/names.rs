//! A file name may hold any bytes but `/` and NUL.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use notifyit_tests::{Host, Place, bytes_of};
use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};

/// Names that have broken such programs before.
fn hostile() -> Vec<OsString> {
    let mut names: Vec<OsString> = [
        "plain",
        "with space",
        "line\nbreak",
        "carriage\rreturn",
        "tab\tand\x1b[31mred",
        "quote\"and'apostrophe",
        "back\\slash",
        "$(rm -rf x);\\n\"",
        "`reboot`",
        "-rf",
        "--",
        "{path}",
        "%s%n",
        "*",
        "?[a-z]",
        "#hash",
        "~",
        "ünï→códe",
        "..hidden",
        " ",
    ]
    .map(OsString::from)
    .into();
    names.push(OsString::from_vec(b"not\xffutf\xc3\x28eight".to_vec()));
    names.push("x".repeat(255).into());
    names.push(OsString::from_vec(vec![0xe4; 255]));
    names
}

fn write_all(place: &Place) -> BTreeSet<PathBuf> {
    let names = hostile();
    for name in &names {
        place.write(name, "x");
    }
    names.into_iter().map(PathBuf::from).collect()
}

#[test]
fn any_name_reaches_a_plugin_as_it_is() {
    let host = Host::new().plugin("recorder").start();
    for name in write_all(&host) {
        host.handled("recorder", &name);
    }
    for record in host.records("recorder").into_iter().filter(|r| r.relative.is_some()) {
        let path = host.path(record.relative.unwrap_or_default());
        assert_eq!(bytes_of(&record.event, "path").as_deref(), Some(path.as_os_str().as_bytes()));
        assert_eq!(bytes_of(&record.event, "name").as_deref(), path.file_name().map(OsStr::as_bytes));
    }
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.lines(&["break"]).len(), 0, "nothing about them is logged");
}

#[test]
fn nul_separated_output_is_lossless() {
    let host = Host::new().plugin("print").set("print.format=\"nul\"").start();
    let written = write_all(&host);
    let seen = host.wait_for("all names", |host| {
        let out = host.stdout();
        let whole: Vec<&[u8]> = out.split(|byte| *byte == 0).collect();
        let paths = whole[..whole.len() - 1].iter().map(|path| Path::new(OsStr::from_bytes(path)));
        let seen: BTreeSet<PathBuf> =
            paths.map(|path| path.strip_prefix(host.root()).expect("beneath the root").to_owned()).collect();
        (seen.len() >= written.len()).then_some(seen)
    });
    assert_eq!(seen, written);
    host.stop().success();
}

#[test]
fn json_output_is_lossless() {
    let host = Host::new().plugin("print").set("print.format=\"json\"").start();
    let written = write_all(&host);
    let lines = host.wait_for("all names", |host| {
        let lines = host.stdout_lines();
        (lines.len() >= written.len()).then_some(lines)
    });
    let events =
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}")));
    let seen: BTreeSet<PathBuf> = events
        .map(|event: serde_json::Value| {
            assert_eq!(event["v"], 1);
            PathBuf::from(OsString::from_vec(bytes_of(&event, "relative").expect("a path")))
        })
        .collect();
    assert_eq!(seen, written);
    host.stop().success();
}

#[test]
fn a_name_cannot_forge_a_line_of_the_log() {
    let host = Host::new().plugin("recorder").start();
    let name = "a\nERROR forged: \x1b[31m.reject.txt";
    host.write(name, "x");
    host.answered("recorder", name, 1);
    host.logged(&["told to reject"]);
    let exit = host.stop();
    exit.success();
    assert!(!exit.stderr().lines().any(|line| line.starts_with("ERROR forged")));
    assert!(!exit.stderr().contains('\x1b'), "no escape sequence reaches the terminal");
}

/// Makes directories until the path is longer than PATH_MAX, and calls `f` with each, its path and its length.
fn descend(root: &Path, levels: usize, mut f: impl FnMut(&OwnedFd, &Path)) {
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let mut here = openat(CWD, root, flags, Mode::empty()).expect("the root is there");
    let mut path = PathBuf::new();
    for _ in 0..levels {
        let name = "d".repeat(200);
        match mkdirat(&here, &name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => {}
            Err(e) => panic!("failed to make a directory in {path:?}: {e}"),
        }
        here = openat(&here, &name, flags, Mode::empty()).expect("it was made just now");
        path.push(name);
        f(&here, &path);
    }
}

fn write_at(directory: &OwnedFd, name: &str) {
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
    drop(openat(directory, name, flags, Mode::from_raw_mode(0o644)).expect("a file can be made"));
}

#[test]
fn a_path_longer_than_the_system_allows_is_handled_or_reported() {
    let host = Host::new();
    descend(&host.root(), 25, |_, _| {});
    let host = host.plugin("recorder").arg("-r").start();
    let mut written = Vec::new();
    descend(&host.root(), 25, |directory, path| {
        write_at(directory, "file");
        written.push(path.join("file"));
    });
    let short = |relative: &&PathBuf| host.path(relative).as_os_str().len() < 4096;
    assert!(written.iter().any(|path| !short(&path)), "some are too long");
    for path in written.iter().filter(short) {
        host.handled("recorder", path);
    }
    // What lies too deep is not passed over in silence.
    host.wait_for("the others to be handled, or said", |host| {
        let are_handled =
            written.iter().filter(|p| !short(p)).all(|p| !host.attempts("recorder", p).is_empty());
        let is_said = |line: &str| line.contains("WARN") && line.contains("ddd");
        (are_handled || host.log().lines().any(is_said)).then_some(())
    });
    host.alive("recorder");
    host.stop().success();
}

#[test]
fn a_deep_directory_that_is_made_live_does_not_end_the_host() {
    let host = Host::new().plugin("recorder").arg("-r").start();
    descend(&host.root(), 25, |directory, _| write_at(directory, "file"));
    host.alive("recorder");
    host.stop().success();
}
