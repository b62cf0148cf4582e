//! What is known of one plugin file.

use std::fs;
use std::path::{Path, PathBuf};

use notifyit_plugin_api::{Info, Kind};
use serde::Serialize;

use super::example::example;
use crate::plugin::{Loader, Refused, Step, name_of};

/// A plugin file, looked at.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) file: PathBuf,
    pub(super) size: Option<u64>,
    pub(super) hash: Option<u64>,
    /// What it says of itself, or why this host would not run it.
    pub(super) info: Result<Info, Refused>,
}

/// Its JSON form. `v` is the version of the form: it may gain keys.
#[derive(Debug, Serialize)]
struct Form<'a> {
    v: u32,
    /// What is not UTF-8 in it is replaced.
    file: String,
    size: Option<u64>,
    /// Of the content, 16 hex digits.
    hash: Option<String>,
    /// May its code run here?
    trusted: bool,
    /// Would this host run it?
    runs: bool,
    /// If not, why.
    why: Option<String>,
    /// `directory`, `name` or `never`; only where it was found in a list.
    #[serde(skip_serializing_if = "Option::is_none")]
    when: Option<&'static str>,
    #[serde(flatten)]
    info: Option<&'a Info>,
}

impl Seen {
    pub(super) fn look(loader: &Loader, file: &Path) -> Seen {
        let examined = loader.examine(file);
        let size = fs::metadata(file).ok().map(|metadata| metadata.len());
        Seen { file: file.to_owned(), size, hash: examined.hash, info: examined.info }
    }

    /// May its code run here? Not if others could have put it there, or nothing is there.
    fn is_trusted(&self) -> bool {
        !matches!(&self.info, Err(refused) if refused.step() == Step::Trust)
    }

    /// Why this host would not run it.
    pub(super) fn objection(&self) -> Option<String> {
        match &self.info {
            Err(refused) => Some(refused.reason()),
            Ok(info) if info.events.iter().any(|kind| kind.parse::<Kind>().is_ok()) => None,
            Ok(info) => Some(format!("it asks for {:?}, none of which this host knows", info.events)),
        }
    }

    /// The plugin's own name, or what its file's name stands for.
    pub(super) fn name(&self) -> String {
        self.info.as_ref().map_or_else(|_| name_of(&self.file), |info| info.name.clone())
    }

    pub(super) fn version(&self) -> &str {
        self.info.as_ref().map_or("-", |info| &info.version)
    }

    /// One line of JSON. `when` and another reason not to run are those of a list.
    pub(super) fn to_json(&self, when: Option<&'static str>, shadowed: Option<&str>) -> String {
        let why = self.objection().or_else(|| shadowed.map(str::to_owned));
        let form = Form {
            v: 1,
            file: self.file.to_string_lossy().into_owned(),
            size: self.size,
            hash: self.hash.map(|hash| format!("{hash:016x}")),
            trusted: self.is_trusted(),
            runs: why.is_none(),
            why,
            when,
            info: self.info.as_ref().ok(),
        };
        serde_json::to_string(&form).unwrap_or_default() + "\n"
    }

    /// All of it, a line each, then its configuration as an example.
    pub(super) fn to_text(&self) -> String {
        let mut lines = vec![("file", format!("{:?}", self.file))];
        if let Ok(info) = &self.info {
            lines.extend([
                ("name", info.name.clone()),
                ("version", info.version.clone()),
                ("description", info.description.clone()),
                ("api", info.api.clone()),
                ("rustc", info.rustc.clone()),
                ("panic", info.panic.clone()),
                ("events", info.events.join(", ")),
                ("max workers", info.max_workers.to_string()),
                ("in flight", info.in_flight.to_string()),
                ("reads only", (if info.reads_only { "yes" } else { "no" }).to_owned()),
            ]);
        }
        lines.extend(self.size.map(|size| ("size", format!("{size} bytes"))));
        lines.extend(self.hash.map(|hash| ("hash", format!("{hash:016x}"))));
        let (trusted, runs) = match (self.is_trusted(), self.objection()) {
            (false, Some(why)) => (format!("no: {why}"), "no".to_owned()),
            (_, Some(why)) => ("yes".to_owned(), format!("no: {why}")),
            (_, None) => ("yes".to_owned(), "yes".to_owned()),
        };
        lines.extend([("trusted", trusted), ("runs", runs)]);
        let lines = lines.iter().filter(|(_, value)| !value.is_empty());
        let lines = lines.map(|(key, value)| format!("{key:<12} {}\n", crate::log::one_line(value)));
        let schema = self.info.as_ref().ok().and_then(|info| info.config.as_ref());
        let example = schema.map(|schema| example(&self.name(), schema)).unwrap_or_default();
        let gap = if example.is_empty() { "" } else { "\n" };
        lines.chain([gap.to_owned(), example]).collect()
    }
}
