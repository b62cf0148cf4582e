//! The house rules that the compiler does not know.

use std::fs;
use std::path::{Path, PathBuf};

/// The workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// Every source file beneath these directories of the workspace, by its path from there. Other versions of the plugin
/// API are not looked at: they are copies.
fn sources(directories: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for directory in directories {
        collect(&workspace().join(directory), &mut found);
    }
    assert!(!found.is_empty(), "there are sources in {directories:?}");
    found.sort();
    found
}

fn collect(directory: &Path, found: &mut Vec<(String, String)>) {
    for entry in fs::read_dir(directory).expect("the directory is there").flatten() {
        let path = entry.path();
        if path.is_dir() {
            if entry.file_name() != "target" && path != workspace().join("tests/api") {
                collect(&path, found);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let name = path.strip_prefix(workspace()).expect("found below it").to_string_lossy().into_owned();
            found.push((name, fs::read_to_string(&path).expect("sources are UTF-8")));
        }
    }
}

#[test]
fn the_top_level_holds_what_belongs_there() {
    let folders = [ALL.as_slice(), &["target"]].concat();
    let mut strangers = Vec::new();
    for entry in fs::read_dir(workspace()).expect("the workspace is there").flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() && !name.starts_with('.') && !folders.contains(&name.as_str()) {
            strangers.push(name);
        }
    }
    none(&strangers, "folders at the top level");
}

const ALL: [&str; 4] = ["notifyit-host", "notifyit-plugin-api", "plugins", "tests"];

/// What stands before the file's own tests.
pub(crate) fn production(text: &str) -> &str {
    text.split("\n#[cfg(test)]\nmod ").next().unwrap_or(text)
}

/// Lines of code that break a rule, each with its place.
fn offenders(files: &[(String, String)], breaks: impl Fn(&str, &str) -> bool) -> Vec<String> {
    let lines = files.iter().flat_map(|(name, text)| {
        production(text).lines().enumerate().map(move |(number, line)| (name, number + 1, line))
    });
    let code = lines.filter(|(_, _, line)| !line.trim_start().starts_with("//"));
    let broken = code.filter(|(name, _, line)| breaks(name, line));
    broken.map(|(name, number, line)| format!("{name}:{number}: {}", line.trim())).collect()
}

#[track_caller]
fn none(offenders: &[String], rule: &str) {
    assert!(offenders.is_empty(), "{rule}:\n{}", offenders.join("\n"));
}

#[test]
fn exceptions_to_lints_are_expected_and_say_why() {
    let bare = ["#[al", "low("].concat();
    let bare_inner = ["#![al", "low("].concat();
    none(
        &offenders(&sources(&ALL), |_, line| line.contains(&bare) || line.contains(&bare_inner)),
        "use expect, with a reason",
    );
}

#[test]
fn unsafe_code_lives_in_four_places() {
    let allowed = [
        "notifyit-host/src/plugin/load.rs",
        "notifyit-host/src/sys.rs",
        "notifyit-plugin-api/src/export.rs",
        // Loads as the first does.
        "tests/compat/hosts.rs",
    ];
    let keyword = [" unsa", "fe {"].concat();
    let found = offenders(&sources(&ALL), |name, line| {
        let here = allowed.contains(&name) || name.starts_with("notifyit-plugin-api/src/abi/");
        let here = here || name.starts_with("notifyit-host/src/sys/");
        let sins = ["hostile", "misbehaves", "deadly"];
        let here = here || sins.iter().any(|sin| name.starts_with(&format!("tests/plugins/{sin}/")));
        !here && format!(" {line}").contains(&keyword)
    });
    none(&found, "unsafe code");
}

#[test]
fn plugins_forbid_unsafe_code() {
    for (name, text) in sources(&["plugins"]) {
        if name.ends_with("src/lib.rs") {
            assert!(text.contains("#![forbid(unsafe_code)]"), "{name}");
        }
    }
}

#[test]
fn a_file_holds_one_idea() {
    let files = sources(&ALL).into_iter().filter(|(name, _)| !name.ends_with("/tests.rs"));
    let long = files.map(|(name, text)| (production(&text).lines().count(), name));
    let long: Vec<String> =
        long.filter(|(lines, _)| *lines > 400).map(|(lines, name)| format!("{name}: {lines}")).collect();
    none(&long, "more than 400 lines");
}

/// The host's modules, highest first; a module uses only lower lines, and those on one line never meet.
const LINES: [&[&str]; 8] = [
    &["run", "upkeep", "inventory"],
    &["control"],
    &["roster"],
    &["deliver"],
    &["source", "route", "plugin", "settle"],
    &["config"],
    &["log", "stdout"],
    &["event", "sys", "cli", "patterns"],
];

fn line_of(module: &str) -> Option<usize> {
    LINES.iter().position(|line| line.contains(&module))
}

/// The module that a source file belongs to: `notifyit-host/src/source/tree.rs` → `source`.
fn module_of(name: &str) -> Option<&str> {
    let inside = name.strip_prefix("notifyit-host/src/")?;
    inside.split(['/', '.']).next()
}

#[test]
fn modules_use_only_what_is_below_them() {
    let found = offenders(&sources(&["notifyit-host/src"]), |name, line| {
        let Some((own, own_line)) = module_of(name).and_then(|own| Some((own, line_of(own)?))) else {
            return false;
        };
        let mut used = line
            .split("crate::")
            .skip(1)
            .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next());
        used.any(|other| other != own && line_of(other).is_some_and(|other_line| other_line <= own_line))
    });
    none(&found, "one-way rule");
}

/// The rows of the tables of rules: the number, and the tests that hold the rule.
fn rules(text: &str) -> Vec<(u32, Vec<&str>)> {
    let rows = text.lines().filter_map(|line| line.strip_prefix("//! | "));
    let rows = rows.filter_map(|row| {
        let mut cells = row.split(" | ");
        let number = cells.next()?.parse().ok()?;
        let tests = cells.nth(2)?.split('`').filter(|name| name.contains("::"));
        Some((number, tests.collect()))
    });
    rows.collect()
}

/// Is a test of that name in the file that its path leads to? `tests::busy::it_waits` is in `tests/busy.rs`,
/// `source::fence::tests::it_holds` in the host's `source/fence.rs`.
pub(crate) fn is_there(test: &str) -> bool {
    let Some((module, name)) = test.rsplit_once("::") else { return false };
    let file = match module.strip_prefix("tests::") {
        Some(module) => format!("tests/{}", module.replace("::", "/")),
        None => format!("notifyit-host/src/{}", module.trim_end_matches("::tests").replace("::", "/")),
    };
    let text = fs::read_to_string(workspace().join(file + ".rs")).unwrap_or_default();
    let Some((before, _)) = text.split_once(&format!("fn {name}(")) else { return false };
    let mut above = before.lines().rev().skip_while(|line| line.trim().is_empty());
    above.next().is_some_and(|line| line.trim() == "#[test]")
}

#[test]
fn each_rule_has_its_tests() {
    let text = fs::read_to_string(workspace().join("notifyit-host/src/rules.rs")).expect("it is there");
    let rules = rules(&text);
    let mut numbers: Vec<u32> = rules.iter().map(|(number, _)| *number).collect();
    numbers.dedup();
    assert_eq!(numbers, (1..=28).collect::<Vec<u32>>(), "in their order");
    let bare = rules.iter().filter(|(_, tests)| tests.is_empty()).map(|(number, _)| *number);
    assert_eq!(bare.collect::<Vec<u32>>(), [] as [u32; 0], "rules that nothing holds");
    let missing = rules.iter().flat_map(|(_, tests)| tests).filter(|test| !is_there(test));
    none(
        &missing.map(|test| (*test).to_owned()).collect::<Vec<String>>(),
        "tests of rules that are not there",
    );
}
