//! What the host left.

use std::ops::Deref;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use crate::place::Place;
use crate::say;

/// A host that has ended, and what it left.
#[derive(Debug)]
pub struct Exit {
    place: Place,
    status: ExitStatus,
    stdout: Vec<u8>,
    stderr: String,
}

impl Deref for Exit {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.place
    }
}

impl Exit {
    pub(crate) fn new(place: Place, status: ExitStatus, stdout: Vec<u8>, stderr: String) -> Exit {
        Exit { place, status, stdout, stderr }
    }

    /// It ended with 0.
    pub fn success(&self) -> &Exit {
        self.code(0)
    }

    /// It ended with this code.
    pub fn code(&self, code: i32) -> &Exit {
        let signal = self.status.signal();
        assert_eq!(self.status.code(), Some(code), "exit code (signal: {signal:?})");
        self
    }

    /// It said one line on stderr, an error of the host's, with all these words.
    pub fn one_error(&self, words: &[&str]) -> &Exit {
        let lines: Vec<&str> = self.stderr.lines().filter(|line| line.starts_with("notifyit: ")).collect();
        assert_eq!(lines.len(), 1, "one line begins with `notifyit: `");
        assert_eq!(self.stderr.lines().count(), 1, "one line on stderr");
        for word in words {
            assert!(lines[0].contains(word), "the error lacks {word:?}: {}", lines[0]);
        }
        self
    }

    /// What it printed on stderr.
    pub fn stderr(&self) -> &str {
        &self.stderr
    }

    /// What it printed on stdout.
    pub fn stdout(&self) -> &[u8] {
        &self.stdout
    }

    /// The lines on stderr that have all these words.
    pub fn lines(&self, words: &[&str]) -> Vec<&str> {
        self.stderr.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect()
    }
}

impl Drop for Exit {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let stdout = String::from_utf8_lossy(&self.stdout);
            let records = records_in(self);
            say(&format!(
                "--- {}\n--- stdout\n{stdout}\n--- stderr\n{}\n{records}",
                self.status, self.stderr
            ));
        }
    }
}

/// The end of what each recorder wrote.
pub(crate) fn records_in(place: &Place) -> String {
    let files = std::fs::read_dir(place.temp()).into_iter().flatten().flatten();
    let records = files.filter(|file| file.path().extension().is_some_and(|e| e == "jsonl")).map(|file| {
        let text = std::fs::read_to_string(file.path()).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let tail = lines[lines.len().saturating_sub(30)..].join("\n");
        format!("--- {:?}, the last of {} lines\n{tail}", file.file_name(), lines.len())
    });
    records.collect::<Vec<_>>().join("\n")
}
