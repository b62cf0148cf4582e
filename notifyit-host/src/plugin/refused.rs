//! Why a file was not loaded.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::log::one_line;

/// A plugin file that was not loaded. `Display` is one line: the file, what is wrong (both sides of a mismatch), and
/// the remedy.
#[derive(Clone)]
pub struct Refused(Box<Inner>);

#[derive(Clone)]
struct Inner {
    file: PathBuf,
    step: Step,
    reason: Reason,
}

/// At which step of loading a file was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Step {
    /// It is not there, no file, or others could have put it there.
    Trust,
    /// It is no whole shared library for this machine.
    Format,
    /// It is a shared library, but no plugin: it has no loader symbol.
    Symbol,
    /// No private copy could be made.
    Stage,
    /// Loading it ends or stops a process.
    Probe,
    /// The dynamic linker did not take it.
    Open,
    /// It was built for another wire: another abi_stable, or another major version of the API.
    Version,
    /// Its types are laid out otherwise than ours.
    Layout,
    /// What it says of itself makes no sense, or rules it out.
    Info,
}

impl Refused {
    pub(super) fn new(file: &Path, step: Step, reason: Reason) -> Refused {
        Refused(Box::new(Inner { file: file.to_owned(), step, reason }))
    }

    /// The file as the user gave it.
    pub fn file(&self) -> &Path {
        &self.0.file
    }

    /// Where it ended.
    pub fn step(&self) -> Step {
        self.0.step
    }

    /// Is it a sound library that is no notifyit plugin at all? What was only found in a directory may be that (a
    /// workspace's own proc macros lie beside its plugins); what was named may not.
    pub fn is_no_plugin(&self) -> bool {
        self.0.step == Step::Symbol
    }

    /// Did it crash, hang or end the process when it was tried? Then it is not tried again until it changes.
    pub fn is_quarantined(&self) -> bool {
        self.0.step == Step::Probe
    }

    /// The whole raw report, in many lines; empty if the one line says it all.
    pub fn detail(&self) -> &str {
        &self.0.reason.detail
    }

    /// What is wrong and what to do, in one line without the file.
    pub fn reason(&self) -> String {
        self.0.reason.to_string()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to load plugin {:?}: {}", self.0.file, self.0.reason)
    }
}

/// The one line: a dump of 1,400 lines in a test's or an error's debug form helps nobody.
impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Refused({:?}, {self})", self.0.step)
    }
}

impl std::error::Error for Refused {}

/// What is wrong and what to do, before it is known with which file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Reason {
    pub(super) why: String,
    pub(super) remedy: String,
    pub(super) detail: String,
}

impl Reason {
    pub(super) fn new(why: impl Into<String>, remedy: impl Into<String>) -> Reason {
        Reason { why: why.into(), remedy: remedy.into(), detail: String::new() }
    }

    pub(super) fn with_detail(self, detail: impl Into<String>) -> Reason {
        Reason { detail: detail.into(), ..self }
    }

    /// As the reason why this file was refused.
    pub(super) fn at(self, step: Step, file: &Path) -> Refused {
        Refused::new(file, step, self)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&one_line(&self.why))?;
        if self.remedy.is_empty() { Ok(()) } else { write!(f, "; {}", one_line(&self.remedy)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_one_line_whatever_the_file_is_called() {
        let reason = Reason::new("it said\nno", "ask\tagain").with_detail("1\n2\n");
        let refused = reason.at(Step::Open, Path::new("/p/a\nb.so"));
        assert_eq!(refused.to_string(), r#"failed to load plugin "/p/a\nb.so": it said\nno; ask\tagain"#);
        assert!(!refused.is_no_plugin());
        assert_eq!(refused.detail(), "1\n2\n");
    }
}
