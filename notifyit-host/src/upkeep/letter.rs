//! One dead letter, for people and as JSON.

use std::ffi::OsStr;
use std::fmt::Write;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use notifyit_plugin_api::Event;
use notifyit_plugin_api::abi::{Bytes, EventRaw, Said, Text};
use serde_json::{Map, Value};

use crate::log::one_line;
use crate::settle::at_rest::{Known, Spot};
use crate::settle::ledger::identity;
use crate::settle::trouble::{State, Trouble};
use crate::sys;

/// A dead letter and where its file is.
#[derive(Debug)]
pub(super) struct Letter {
    pub(super) instance: Known,
    pub(super) spot: Spot,
    pub(super) trouble: Trouble,
    watch: String,
    /// The watch's root, empty if it is not known any more.
    root: PathBuf,
    relative: PathBuf,
}

/// What is at a letter's path now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Now {
    /// The version that it is about.
    Same,
    /// Another version, which is not finished.
    Newer,
    /// Nothing.
    Gone,
}

impl Letter {
    pub(super) fn new(
        instance: &Known,
        (spot, trouble): (Spot, Trouble),
        watch: &OsStr,
        root: &Path,
        relative: &Path,
    ) -> Letter {
        let relative = relative.join(&spot.name);
        let watch = watch.to_string_lossy().into_owned();
        Letter { instance: instance.clone(), spot, trouble, watch, root: root.to_owned(), relative }
    }

    /// The delivery's id, the same in every attempt.
    pub(super) fn id(&self) -> u64 {
        identity(&self.watch, self.relative.as_os_str().as_bytes(), Some(self.trouble.stamp))
    }

    pub(super) fn path(&self) -> PathBuf {
        self.root.join(&self.relative)
    }

    pub(super) fn now(&self) -> Now {
        match sys::stat(&self.path()) {
            Ok(Some(stat)) if self.trouble.stamp.is_of(&stat) => Now::Same,
            Ok(None) => Now::Gone,
            _ => Now::Newer,
        }
    }

    /// The columns of a list: id, plugin, attempts, time of the last, path, error.
    pub(super) fn columns(&self) -> [String; 6] {
        [
            format!("{:016x}", self.id()),
            self.instance.name.clone(),
            self.trouble.attempts.to_string(),
            humantime::format_rfc3339_seconds(time(self.trouble.last_nanos)).to_string(),
            one_line(&self.path().to_string_lossy()).into_owned(),
            format!("{}: {}", self.why(), one_line(&self.trouble.error)),
        ]
    }

    /// All that is known, a line each.
    pub(super) fn write(&self, out: &mut String) {
        let (inode, size, ..) = self.trouble.stamp.parts();
        let at = |nanos| humantime::format_rfc3339_nanos(time(nanos)).to_string();
        let now = match self.now() {
            Now::Same => "as it was",
            Now::Newer => "changed since, and so not finished",
            Now::Gone => "gone",
        };
        let lines = [
            ("id", format!("{:016x}", self.id())),
            ("plugin", self.instance.name.clone()),
            ("why", self.why().to_owned()),
            ("attempts", self.trouble.attempts.to_string()),
            ("crashes", self.trouble.crashes.to_string()),
            ("first", at(self.trouble.first_nanos)),
            ("last", at(self.trouble.last_nanos)),
            ("error", one_line(&self.trouble.error).into_owned()),
            ("watch", self.watch.clone()),
            ("path", one_line(&self.path().to_string_lossy()).into_owned()),
            ("size", size.to_string()),
            ("inode", inode.to_string()),
            ("modified", self.json()["modified"].as_str().unwrap_or("unknown").to_owned()),
            ("file", now.to_owned()),
        ];
        for (key, value) in lines {
            let _ = writeln!(out, "{key:<10}{value}");
        }
    }

    /// As the event's form, where they have the same to say.
    pub(super) fn json(&self) -> Map<String, Value> {
        let path = self.path();
        let (root, bytes) = (self.root.as_os_str().as_bytes(), path.as_os_str().as_bytes());
        let (inode, size, mtime_seconds, mtime_nanos) = self.trouble.stamp.parts();
        let raw = EventRaw {
            id: self.id(),
            kind: 0,
            origin: 0,
            attempt: self.trouble.attempts,
            flags: 0,
            watch: Text::from_str(&self.watch),
            root: Bytes::from_slice(root),
            path: Bytes::from_slice(bytes),
            relative_from: (bytes.len() - self.relative.as_os_str().len()) as u64,
            renamed_from: Bytes::EMPTY,
            device: 0,
            // Without one, the event's form would take the file for missing.
            inode: inode.max(1),
            size,
            mode: 0,
            mtime_nanos,
            mtime_seconds,
            seen_nanos: 0,
            timeout_nanos: 0,
            spare: [0; 8],
            extra: Bytes::EMPTY,
        };
        let mut form: Map<_, _> =
            serde_json::from_str(&Event::from_raw(&raw, &Said::default()).to_json()).unwrap_or_default();
        for of_an_event in ["kind", "origin", "attempt", "seen"] {
            form.remove(of_an_event);
        }
        if inode == 0 {
            form.remove("inode");
        }
        let at = |nanos| Value::from(humantime::format_rfc3339_nanos(time(nanos)).to_string());
        form.insert("plugin".to_owned(), self.instance.name.clone().into());
        let is_rejected = self.trouble.state == State::Rejected;
        form.insert("why".to_owned(), if is_rejected { "rejected" } else { "exhausted" }.into());
        form.insert("attempts".to_owned(), self.trouble.attempts.into());
        form.insert("crashes".to_owned(), self.trouble.crashes.into());
        form.insert("first".to_owned(), at(self.trouble.first_nanos));
        form.insert("last".to_owned(), at(self.trouble.last_nanos));
        form.insert("error".to_owned(), self.trouble.error.clone().into());
        form
    }

    fn why(&self) -> &'static str {
        if self.trouble.state == State::Rejected { "rejected" } else { "given up" }
    }
}

fn time(nanos: u64) -> SystemTime {
    UNIX_EPOCH + Duration::from_nanos(nanos)
}
