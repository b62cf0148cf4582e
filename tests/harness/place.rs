//! A test's own directory.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;

use crate::built::{file_name, library};
use crate::record::{self, Record};
use crate::{spawn, undisturbed, write};

/// A test's own directory, removed at the end. In it: `in` (the watched root), `plugins` (the plugin directory),
/// `named` (plugins that run when they are named), and `NAME.jsonl` for each recorder. A clone is the same directory.
#[derive(Debug, Clone)]
pub struct Place {
    temp: Arc<TempDir>,
}

impl Place {
    pub(crate) fn new() -> Place {
        let temp = TempDir::with_prefix("notifyit-").expect("a directory can be made");
        let place = Place { temp: Arc::new(temp) };
        for directory in ["in", "plugins", "named", "home"] {
            place.make_directory(&place.temp().join(directory));
        }
        place
    }

    /// The directory itself.
    pub fn temp(&self) -> &Path {
        self.temp.path()
    }

    /// The watched directory.
    pub fn root(&self) -> PathBuf {
        self.temp().join("in")
    }

    /// The plugin directory.
    pub fn plugins(&self) -> PathBuf {
        self.temp().join("plugins")
    }

    /// A path beneath the watched directory.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root().join(relative)
    }

    /// Starts a process that writes the files `from`, `from + 1`, … up to `to`. Another process: in this one each file
    /// waits for the tests beside that start a program.
    pub fn writer(&self, from: usize, to: usize) -> std::process::Child {
        self.shell(&format!("n={from}; while [ $n -lt {to} ]; do echo x >$n; n=$((n+1)); done"))
    }

    /// Starts a process that writes the files `f0`, `f1`, … so many, without a pause.
    pub fn writer_of(&self, count: usize) -> std::process::Child {
        self.shell(&format!("n=0; while [ $n -lt {count} ]; do echo x >f$n; n=$((n+1)); done"))
    }

    /// Starts a shell in the watched directory.
    pub fn shell(&self, script: &str) -> std::process::Child {
        let mut command = std::process::Command::new("sh");
        command.args(["-c", script]).current_dir(self.root());
        spawn(&mut command)
    }

    /// Writes a file beneath the watched directory, whose own directory is there.
    pub fn write(&self, relative: impl AsRef<Path>, content: impl AsRef<[u8]>) {
        write(&self.path(relative), content);
    }

    /// Makes a directory beneath the watched one, and those above it.
    pub fn mkdir(&self, relative: impl AsRef<Path>) {
        self.make_directory(&self.path(relative));
    }

    /// Renames beneath the watched directory.
    pub fn rename(&self, from: impl AsRef<Path>, to: impl AsRef<Path>) {
        let (from, to) = (self.path(from), self.path(to));
        fs::rename(&from, &to).unwrap_or_else(|e| panic!("failed to rename {from:?} to {to:?}: {e}"));
    }

    /// Writes a file beside the watched directory: a script, a gate.
    pub fn aside(&self, name: &str, content: &str) -> PathBuf {
        let path = self.temp().join(name);
        write(&path, content);
        path
    }

    /// Writes an executable shell script beside the watched directory.
    pub fn script(&self, name: &str, body: &str) -> PathBuf {
        // Written by another process: a file that some thread of this one has open for writing at a moment when
        // another forks cannot be executed (ETXTBSY).
        let path = self.aside(&format!("{name}.body"), &format!("#!/bin/sh\n{body}\n"));
        let script = self.temp().join(name);
        let mut install = std::process::Command::new("install");
        let status = spawn(install.args(["-m", "755"]).arg(&path).arg(&script)).wait();
        assert!(status.is_ok_and(|status| status.success()), "failed to make {script:?}");
        script
    }

    /// Copies a plugin's library into the plugin directory, and returns the copy's path.
    pub fn add_plugin(&self, plugin: &str) -> PathBuf {
        self.add_library(&library(plugin), &file_name(plugin))
    }

    /// Copies a library into the plugin directory under a name of its own.
    pub fn add_library(&self, from: &Path, name: &str) -> PathBuf {
        let to = self.plugins().join(name);
        copy(from, &to);
        to
    }

    /// Copies a plugin's library beside the plugin directory, and returns the copy's directory.
    pub(crate) fn add_named_plugin(&self, plugin: &str) -> PathBuf {
        let directory = self.temp().join("named");
        copy(&library(plugin), &directory.join(file_name(plugin)));
        directory
    }

    /// What the recorder of this name has written so far.
    pub fn records(&self, recorder: &str) -> Vec<Record> {
        record::read(&self.record_file(recorder))
    }

    /// The answers that a recorder gave for this file, oldest first.
    pub fn attempts(&self, recorder: &str, relative: impl AsRef<Path>) -> Vec<Record> {
        let relative = relative.as_ref();
        let records = self.records(recorder).into_iter();
        records.filter(|r| r.relative.as_deref() == Some(relative)).collect()
    }

    /// How many times a recorder has answered `done` for this file.
    pub fn times_done(&self, recorder: &str, relative: impl AsRef<Path>) -> usize {
        self.attempts(recorder, relative).iter().filter(|r| r.say == "done").count()
    }

    pub(crate) fn record_file(&self, recorder: &str) -> PathBuf {
        self.temp().join(format!("{recorder}.jsonl"))
    }

    fn make_directory(&self, path: &Path) {
        fs::create_dir_all(path).unwrap_or_else(|e| panic!("failed to make {path:?}: {e}"));
        chmod(path, 0o755);
    }
}

fn copy(from: &Path, to: &Path) {
    undisturbed(|| fs::copy(from, to)).unwrap_or_else(|e| panic!("failed to copy {from:?} to {to:?}: {e}"));
    chmod(to, 0o644);
}

fn chmod(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode))
        .unwrap_or_else(|e| panic!("failed to chmod {path:?}: {e}"));
}
