//! Plugins that are dropped, replaced and removed while the host runs.
//!
//! | file | holds |
//! |---|---|
//! | `ways` | twenty ways to put a file there, and what each comes to |
//! | `swaps` | new code for a plugin that is at work: under load, again and again, refused |
//! | `comings` | what is dropped and removed, and what it gets |
//! | `names` | one library many times, two libraries of one name, a library that changes its name |

mod comings;
mod names;
mod swaps;
mod ways;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use notifyit_tests::{Host, Place, Record, Running, recorder};

/// The file that a recorder is dropped as.
const FILE: &str = "libnotifyit_recorder.so";

/// A host whose recorder writes where the tests look for it.
fn host() -> Host {
    let host = Host::new();
    let out = host.temp().join("recorder.jsonl");
    host.env("RECORDER_OUT", out)
}

/// A host that runs this build of the recorder.
fn running(build: &str) -> Host {
    let host = host();
    install(&host, FILE, &recorder(build));
    host
}

/// Puts a file into the plugin directory at once, as `mv` does.
fn install(place: &Place, name: &str, bytes: &[u8]) -> PathBuf {
    let hidden = place.plugins().join(format!(".{name}.new"));
    fs::write(&hidden, bytes).expect("the directory is ours");
    fs::set_permissions(&hidden, fs::Permissions::from_mode(0o644)).expect("the file is ours");
    let path = place.plugins().join(name);
    fs::rename(&hidden, &path).expect("the directory is ours");
    path
}

/// Overwrites a file in place, as `cp` does: the same inode, cut to nothing and filled again.
fn overwrite(path: &Path, bytes: &[u8]) {
    let mut file = fs::OpenOptions::new().write(true).truncate(true).open(path).expect("the file is ours");
    file.write_all(bytes).expect("the file is ours");
}

/// Writes file after file until one is handled by this build. Returns how many that took.
fn works(host: &Running, build: &str) -> usize {
    let mut written = 0;
    host.wait_for(&format!("build {build} to handle a file"), |host| {
        host.write(format!("works-{build}-{written}"), "x");
        written += 1;
        host.records("recorder").iter().any(|r| r.say == "done" && r.build == build).then_some(())
    });
    written
}

/// Each of these files was handled exactly once.
fn each_once(host: &Running, files: impl Iterator<Item = String>) {
    let mut wrong = Vec::new();
    let records = host.records("recorder");
    let mut times = std::collections::HashMap::new();
    for record in records.iter().filter(|r| r.say == "done") {
        *times.entry(record.relative.clone().expect("a file")).or_insert(0) += 1;
    }
    for file in files {
        match times.get(Path::new(&file)) {
            Some(1) => {}
            other => wrong.push(format!("{file}: {}", other.unwrap_or(&0))),
        }
    }
    let wrong_at_all = |record: &&Record| {
        let name = record.relative.as_ref().map(|path| format!("{}: ", path.display()));
        name.is_some_and(|name| wrong.iter().any(|wrong| wrong.starts_with(&name)))
    };
    let calls: Vec<String> = records
        .iter()
        .filter(wrong_at_all)
        .take(9)
        .map(|r| format!("{} by {} at {:?}: {}", r.say, r.build, r.at, r.event))
        .collect();
    let first = &wrong[..wrong.len().min(9)];
    assert!(wrong.is_empty(), "not handled once: {} files, {first:?}\n{}", wrong.len(), calls.join("\n"));
}
