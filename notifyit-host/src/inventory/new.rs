//! `plugin new`: a crate that builds, with a test that passes, to begin with.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::Path;

use anyhow::{Context, Result, bail};

use crate::config::{Environment, UsageError};
use crate::plugin::api_version;
use crate::stdout::print;

/// What is written, and where. `{…}` in it is filled in.
const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("new/Cargo.toml.txt")),
    ("README.md", include_str!("new/README.md.txt")),
    (".gitignore", "/target\n"),
    ("src/lib.rs", include_str!("new/lib.rs.txt")),
];

/// Makes a plugin's crate at a path where nothing is yet.
///
/// # Errors
///
/// There is something; the name is none for a plugin; there is no API crate at `api_path`.
pub(super) fn new(
    path: &Path,
    name: Option<&str>,
    api_path: Option<&Path>,
    environment: &Environment,
) -> Result<()> {
    let directory = environment.absolute(path);
    let name = match name {
        Some(name) => name,
        None => directory.file_name().and_then(|name| name.to_str()).unwrap_or_default(),
    };
    let name = name.strip_prefix("notifyit-").unwrap_or(name);
    check_name(name)?;
    let api = api_path.map(|path| api_crate(&environment.absolute(path))).transpose()?;
    make(&directory)?;
    let fill = |text: &str| {
        text.replace("{api}", &dependency(api.as_deref()))
            .replace("{name}", name)
            .replace("{crate}", &name.replace('-', "_"))
            .replace("{type}", &type_name(name))
    };
    for (file, text) in FILES {
        let mut text = fill(text);
        if file == "Cargo.toml" && is_in_a_package(&directory) {
            text.push_str("\n# Not a part of the package that is above it.\n[workspace]\n");
        }
        let file = directory.join(file);
        File::create_new(&file)
            .and_then(|mut new| new.write_all(text.as_bytes()))
            .with_context(|| format!("failed to write {file:?}"))?;
    }
    let program = std::env::current_exe().unwrap_or_else(|_| "notifyit".into());
    let program = program.display();
    print(&format!(
        "made the plugin `{name}` in {path:?}; its code is {:?}\n\
         to run it with the files that land in DIR, and anew whenever you change it: \
         {program} plugin dev --path {path:?} DIR\n\
         or there: cargo test && cargo build --release && \
         {program} watch -r --plugin-dir target/release -p {name} DIR\n",
        path.join("src/lib.rs"),
    ))
}

/// The crate of that directory, or of the checkout that it is.
fn api_crate(path: &Path) -> Result<String> {
    let is_it = |directory: &Path| {
        let manifest = fs::read_to_string(directory.join("Cargo.toml")).unwrap_or_default();
        manifest.lines().any(|line| line.trim() == r#"name = "notifyit-plugin-api""#)
    };
    let places = [path.to_owned(), path.join("notifyit-plugin-api")];
    match places.iter().find(|place| is_it(place)) {
        Some(place) => {
            let place = place.canonicalize().with_context(|| format!("failed to find {place:?}"))?;
            // A manifest can hold nothing else.
            place.to_str().map(str::to_owned).with_context(|| format!("the path {place:?} is not UTF-8"))
        }
        None => bail!(UsageError(format!(
            "--api-path {path:?}: neither there nor in `notifyit-plugin-api` beneath it lies that crate"
        ))),
    }
}

/// The minor version that this host has, or a later one.
fn dependency(path: Option<&str>) -> String {
    match path {
        None => {
            let version = api_version();
            format!("{:?}", version.rsplit_once('.').map_or(version.as_str(), |(minor, _)| minor))
        }
        // What JSON escapes, TOML reads.
        Some(path) => format!("{{ path = {} }}", serde_json::Value::from(path)),
    }
}

/// An empty directory will do, as an empty checkout is one.
fn make(directory: &Path) -> Result<()> {
    match fs::read_dir(directory) {
        Ok(entries) => {
            let others = entries.flatten().filter(|entry| entry.file_name() != ".git");
            if let Some(other) = others.map(|entry| entry.path()).next() {
                bail!("failed to make a plugin in {directory:?}: {other:?} is there; name another directory");
            }
        }
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error).with_context(|| format!("failed to make a plugin in {directory:?}")),
    }
    let made = fs::create_dir_all(directory.join("src"));
    made.with_context(|| format!("failed to make a plugin in {directory:?}"))
}

/// Does Cargo find another manifest above it? Then it takes the new package for a part of that.
fn is_in_a_package(directory: &Path) -> bool {
    directory.ancestors().skip(1).any(|above| above.join("Cargo.toml").exists())
}

/// It becomes the name of a package, of a file, and of a table in a configuration.
fn check_name(name: &str) -> Result<(), UsageError> {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || !name.chars().all(plain) {
        return Err(UsageError(format!(
            "{name:?} is no name for a plugin: a letter, then letters, digits, `-` and `_`; name it with --name"
        )));
    }
    Ok(())
}

/// `line-count` → `LineCount`. One that the template uses itself is told apart.
fn type_name(name: &str) -> String {
    let words = name.split(['-', '_']).filter(|word| !word.is_empty());
    let name: String = words.map(|word| word[..1].to_ascii_uppercase() + &word[1..]).collect();
    let used = ["Config", "Event", "Host", "Option", "Plugin", "Reject", "Result", "Self", "TestHost"];
    if used.contains(&name.as_str()) { format!("{name}Plugin") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_becomes_a_types() {
        let names = ["lines", "line-count", "a_b--c", "event", "x9"].map(type_name);
        assert_eq!(names, ["Lines", "LineCount", "ABC", "EventPlugin", "X9"]);
    }

    #[test]
    fn what_cargo_or_a_configuration_would_not_take_is_no_name() {
        assert!(["lines", "line-count", "X_9"].iter().all(|name| check_name(name).is_ok()));
        assert!(["", "9a", "a b", "ä", "a.b", "-a", "../a"].iter().all(|name| check_name(name).is_err()));
    }
}
