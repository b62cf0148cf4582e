//! What the guide for authors says of the host is what the host does.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::tidy::{is_there, production};

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A page of `notifyit_plugin_api::guide`, without the marks of its comments.
fn page(name: &str) -> String {
    let path = workspace().join(format!("notifyit-plugin-api/src/guide/{name}.rs"));
    let text = fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path:?}: {e}"));
    let lines = text.lines().filter_map(|line| line.strip_prefix("//!"));
    lines.map(|line| line.strip_prefix(' ').unwrap_or(line)).collect::<Vec<_>>().join("\n")
}

/// Where the host says why a plugin does not run.
const REFUSING: [&str; 14] = [
    "plugin/trust.rs",
    "plugin/precheck.rs",
    "plugin/probe.rs",
    "plugin/load.rs",
    "plugin/load/layout.rs",
    "plugin/discover.rs",
    "plugin/set.rs",
    "plugin/schema.rs",
    "plugin/instance.rs",
    "plugin/isolated/process.rs",
    "plugin/isolated/confine/user.rs",
    "plugin/isolated/confine/sandbox.rs",
    "config/confinement.rs",
    "run/beneath.rs",
];

/// What stands there and is said to no user.
const INTERNAL: [&str; 6] = [
    "it is isolated",                 // a test's
    "nobody asked for it",            // a prober of the tests'
    "the host has panicked",          // a plugin is told so, should it ever be
    "it has panicked",                // the same of a thread of the host's
    "the child has no process id",    // no user has seen that
    "cannot open shared object file", // the linker's own words, which are looked for
];

/// A text of the host's, as the parts between what is filled in; only those by which it is known.
type Parts = Vec<String>;

/// The texts of three words and more in the code of these files, but for what goes to the log alone.
fn texts() -> Vec<Parts> {
    let read = |file: &str| fs::read_to_string(workspace().join("notifyit-host/src").join(file));
    let all = REFUSING.iter().flat_map(|file| literals(production(&read(file).expect("it is there"))));
    let all: BTreeSet<String> =
        all.filter(|text| text.split(' ').count() > 2 && !INTERNAL.contains(&text.as_str())).collect();
    all.iter().map(|text| parts(text)).filter(|parts| !parts.is_empty()).collect()
}

/// The string literals of a source.
fn literals(source: &str) -> Vec<String> {
    let code: Vec<&str> = source.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code = code.join("\n").replace("'\"'", "");
    let mut found = Vec::new();
    let mut rest = code.as_str();
    while let Some((before, after)) = rest.split_once('"') {
        let mut quotes = after.match_indices('"').map(|(at, _)| at);
        let end = quotes.find(|at| !after[..*at].ends_with('\\')).expect("a text ends");
        let is_said_elsewhere = ["debug!(", "warn!(", "error!(", "expect(", "reason ="];
        if !is_said_elsewhere.iter().any(|call| before.trim_end().ends_with(call)) {
            found.push(joined(&after[..end]));
        }
        rest = &after[end + 1..];
    }
    found
}

/// Without the breaks of a long text, and without its escapes.
fn joined(text: &str) -> String {
    let lines = text.split("\\\n").map(str::trim_start);
    lines.collect::<String>().replace("\\\"", "\"")
}

/// The page has message and remedy, between which stands a `;`, in two cells.
fn parts(text: &str) -> Parts {
    let between = text.split(['{', '}']).step_by(2).flat_map(|part| part.split("; "));
    let between = between.map(|part| part.trim_matches([' ', ';', ':', ',']));
    between.filter(|part| part.len() > 7).map(str::to_owned).collect()
}

fn is_in(parts: &Parts, text: &str) -> bool {
    parts.iter().all(|part| text.contains(part.as_str()))
}

#[test]
fn each_refusal_stands_in_the_guide_with_its_remedy_and_no_other_does() {
    let (page, texts) = (page("refused"), texts());
    assert!(texts.len() > 50, "{texts:#?}");
    let missing: Vec<&Parts> = texts.iter().filter(|parts| !is_in(parts, &page)).collect();
    assert!(missing.is_empty(), "not in guide/refused.rs: {missing:#?}");

    let rows: Vec<&str> = page.lines().filter(|line| line.starts_with("| `")).collect();
    assert!(rows.len() > 50, "{rows:#?}");
    let says = |row: &str, parts: &Parts| {
        let message = row.split(" | ").next().unwrap_or_default();
        is_in(parts, row) && message.contains(parts[0].as_str())
    };
    let stale: Vec<&&str> = rows.iter().filter(|row| !texts.iter().any(|parts| says(row, parts))).collect();
    assert!(stale.is_empty(), "no refusal of the host's any more: {stale:#?}");
}

#[test]
fn the_tests_that_hold_what_is_promised_are_there() {
    let page = page("compatibility");
    let named: Vec<&str> = page.split('`').filter(|word| word.contains("tests::")).collect();
    assert!(named.len() > 8, "{named:?}");
    let missing: Vec<&&str> = named.iter().filter(|test| !is_there(test)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn each_of_the_cookbook_is_in_its_tables() {
    let cookbook = workspace().join("plugins/cookbook");
    let tables = [page("cookbook"), fs::read_to_string(cookbook.join("README.md")).expect("it is there")];
    let readme = fs::read_to_string(workspace().join("README.md")).expect("it is there");
    for entry in fs::read_dir(&cookbook).expect("it is there").flatten().filter(|entry| entry.path().is_dir())
    {
        let name = entry.file_name().to_string_lossy().into_owned();
        let named = |text: &str| text.lines().any(|row| row.starts_with("| ") && row.contains(&name));
        assert!(tables.iter().all(|text| named(text)), "{name}");
        assert!(readme.contains(&format!("plugins/cookbook/{name}/src/lib.rs")), "{name} is in the README");
    }
}
