//! `plugin list`: which plugins there are, and when each runs.

use std::collections::HashMap;
use std::path::PathBuf;

use anyhow::Result;

use super::loader;
use super::seen::Seen;
use crate::config::PluginPlaces;
use crate::log::one_line;
use crate::plugin::{by_name, in_directories, name_of};
use crate::stdout::{columns, print};

/// When a plugin runs.
enum When {
    /// In every host with its plugin directory.
    Directory,
    /// When this is typed behind `-p`.
    Name(String),
    /// What is wrong with it, or which file comes first.
    Never(String),
}

/// Lists every plugin of the plugin directories, then of the places where names are looked up.
///
/// # Errors
///
/// A plugin directory cannot be read.
pub(super) fn list(json: bool, places: &PluginPlaces) -> Result<()> {
    let mut found = in_directories(&places.plugin_dirs);
    if !found.errors.is_empty() {
        return Err(found.errors.remove(0));
    }
    // Of the usual places most are not there.
    let (drop_ins, all) = (found.files, in_directories(&places.search_path).files);
    let loader = loader(places);
    let mut plugins: Vec<(Seen, When)> = Vec::new();
    let mut running = HashMap::new();
    for file in all {
        let seen = Seen::look(&loader, &file);
        if seen.info.as_ref().is_err_and(crate::plugin::Refused::is_no_plugin) {
            continue;
        }
        let when = match seen.objection() {
            Some(why) => When::Never(why),
            None if drop_ins.contains(&file) => as_drop_in(&seen, &mut running),
            None => by_its_name(&seen, &places.search_path),
        };
        plugins.push((seen, when));
    }
    print(&if json { as_json(&plugins) } else { as_list(&plugins, places) })
}

/// Of two drop-ins that are one plugin the first runs.
fn as_drop_in(seen: &Seen, running: &mut HashMap<String, PathBuf>) -> When {
    let name = seen.name();
    match running.get(&name) {
        Some(first) => When::Never(format!("{first:?} is plugin `{name}` already")),
        None => {
            running.insert(name, seen.file.clone());
            When::Directory
        }
    }
}

/// Of two files that a name could mean it means the first.
fn by_its_name(seen: &Seen, search_path: &[PathBuf]) -> When {
    let name = name_of(&seen.file);
    match by_name(&name, search_path) {
        Ok(file) if file == seen.file => When::Name(name),
        Ok(other) => When::Never(format!("`-p {name}` is {other:?}")),
        Err(_) => When::Never(format!("it has no plugin's name; `-p {:?}` runs it", seen.file)),
    }
}

fn as_json(plugins: &[(Seen, When)]) -> String {
    let line = |(seen, when): &(Seen, When)| match when {
        When::Directory => seen.to_json(Some("directory"), None),
        When::Name(_) => seen.to_json(Some("name"), None),
        When::Never(why) => seen.to_json(Some("never"), Some(why)),
    };
    plugins.iter().map(line).collect()
}

fn as_list(plugins: &[(Seen, When)], places: &PluginPlaces) -> String {
    if plugins.is_empty() {
        return format!("no plugins in {:?}\n", places.search_path);
    }
    let head = ["NAME", "VERSION", "RUNS", "FILE", "WHY NOT"].map(str::to_owned);
    let line = |(seen, when): &(Seen, When)| {
        let (runs, why) = match when {
            When::Directory => ("always".to_owned(), ""),
            When::Name(name) => (format!("with -p {name}"), ""),
            When::Never(why) => ("never".to_owned(), &**why),
        };
        let file = one_line(&seen.file.to_string_lossy()).into_owned();
        [
            one_line(&seen.name()).into_owned(),
            one_line(seen.version()).into_owned(),
            runs,
            file,
            why.to_owned(),
        ]
    };
    let lines: Vec<[String; 5]> = std::iter::once(head).chain(plugins.iter().map(line)).collect();
    columns(&lines)
}
