//! Which plugin files there are, and which file a name means.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};

/// What lies in the plugin directories.
#[derive(Debug, Default)]
pub struct Discovered {
    /// Every `*.so` that is not hidden: directories in the order given, the files of each sorted by name.
    pub files: Vec<PathBuf>,
    /// One for each directory that could not be read.
    pub errors: Vec<anyhow::Error>,
}

/// Looks for plugin files in these directories, not in directories beneath them. What is found need not be a plugin,
/// nor a file: the loader says so.
pub fn in_directories(dirs: &[PathBuf]) -> Discovered {
    let mut found = Discovered::default();
    for (i, dir) in dirs.iter().enumerate() {
        if dirs[..i].contains(dir) {
            continue;
        }
        match plugin_files(dir).with_context(|| format!("failed to read plugin directory {dir:?}")) {
            Ok(files) => found.files.extend(files),
            Err(error) => found.errors.push(error),
        }
    }
    found
}

/// The file that a plugin's name means: in each directory in order `libnotifyit_NAME.so`, `notifyit_NAME.so`,
/// `libNAME.so`, `NAME.so`, where `-` and `_` are the same.
///
/// # Errors
///
/// Nothing there: where it looked, what lies there instead, and what to do.
pub fn by_name(name: &str, search_path: &[PathBuf]) -> Result<PathBuf> {
    if name.is_empty() || name.contains('/') {
        bail!("failed to find plugin {name:?}: not a plugin's name");
    }
    let named =
        |dir: &PathBuf| stems(name).into_iter().map(|s| dir.join(s + ".so")).find(|file| exists(file));
    search_path.iter().find_map(named).ok_or_else(|| not_found(name, search_path))
}

/// The plugin's name that a file's name stands for: `libnotifyit_my_tool.so` → `my-tool`.
pub fn name_of(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default().to_string_lossy();
    let plain = stem.strip_prefix("lib").unwrap_or(&stem);
    let plain =
        plain.strip_prefix("notifyit").and_then(|rest| rest.strip_prefix(['_', '-'])).unwrap_or(plain);
    plain.replace('_', "-")
}

fn plugin_files(dir: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        if Path::new(&name).extension() == Some(OsStr::new("so")) && !name.as_bytes().starts_with(b".") {
            files.push(dir.join(name));
        }
    }
    files.sort();
    Ok(files)
}

/// What a file of this name can be called, without `.so`. Cargo writes `-` as `_`.
fn stems(name: &str) -> Vec<String> {
    let cargo = name.replace('-', "_");
    let mut stems = Vec::new();
    for name in [cargo.as_str(), name] {
        let forms = ["libnotifyit_", "notifyit_", "lib", ""].map(|prefix| format!("{prefix}{name}"));
        stems.extend(forms);
    }
    stems.dedup();
    if cargo == name {
        stems.truncate(4);
    }
    stems
}

/// Also a dangling link exists: it is the loader that says what is wrong with it.
fn exists(file: &Path) -> bool {
    file.symlink_metadata().is_ok()
}

fn not_found(name: &str, search_path: &[PathBuf]) -> anyhow::Error {
    if let Some(built) = built_otherwise(name, search_path) {
        let so = built.with_extension("so");
        return anyhow!(
            "failed to find plugin {name:?}: {built:?} was built, but no {:?} beside it; its Cargo.toml needs [lib] crate-type = [\"cdylib\"]",
            so.file_name().unwrap_or_default()
        );
    }
    if search_path.is_empty() {
        return anyhow!(
            "failed to find plugin {name:?}: there is no directory to look in; name one with --plugin-dir"
        );
    }
    let places: Vec<String> = search_path.iter().map(|dir| place(dir)).collect();
    let names = names_in(search_path);
    let stem = &stems(name)[0];
    anyhow!(
        "failed to find plugin {name:?}: no {stem}.so in {}; {}build it (cargo build, with crate-type = [\"cdylib\"]), or name its directory with --plugin-dir",
        places.join(", "),
        instead(name, &names)
    )
}

/// What a plugin leaves in the target directory when it is built as anything but a `cdylib`.
fn built_otherwise(name: &str, search_path: &[PathBuf]) -> Option<PathBuf> {
    let stem = &stems(name)[0];
    search_path.iter().find_map(|dir| {
        ["rlib", "d"].map(|e| dir.join(format!("{stem}.{e}"))).into_iter().find(|f| exists(f))
    })
}

fn place(dir: &Path) -> String {
    match fs::read_dir(dir) {
        Ok(_) => format!("{dir:?}"),
        Err(error) if error.kind() == io::ErrorKind::NotFound => format!("{dir:?} (does not exist)"),
        Err(error) => format!("{dir:?} ({error})"),
    }
}

fn names_in(search_path: &[PathBuf]) -> Vec<String> {
    let mut names: Vec<String> = in_directories(search_path).files.iter().map(|file| name_of(file)).collect();
    names.sort();
    names.dedup();
    names
}

fn instead(name: &str, names: &[String]) -> String {
    const SHOWN: usize = 20;
    if names.is_empty() {
        return String::new();
    }
    let near =
        names.iter().min_by_key(|other| distance(name, other)).filter(|other| distance(name, other) <= 2);
    let near = near.map(|near| format!("did you mean {near:?}? ")).unwrap_or_default();
    let more = if names.len() > SHOWN { ", …" } else { "" };
    let shown: Vec<String> = names.iter().take(SHOWN).map(|n| format!("{n:?}")).collect();
    format!("{near}found there: {}{more}; ", shown.join(", "))
}

/// How many letters must be changed, added or left out.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let changed = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for file in files {
            fs::write(dir.path().join(file), "").unwrap();
        }
        dir
    }

    #[test]
    fn directories_are_searched_in_order_without_hidden_files_and_subdirectories() {
        let (one, two) = (dir(&["b.so", "a.so", ".hidden.so", "a.d", "so"]), dir(&["c.so"]));
        fs::create_dir(one.path().join("sub")).unwrap();
        fs::write(one.path().join("sub/deep.so"), "").unwrap();
        let (one, two) = (one.path().to_owned(), two.path().to_owned());
        let missing = two.join("missing\n");
        let found = in_directories(&[one.clone(), missing.clone(), two.clone(), one.clone()]);
        assert_eq!(found.files, [one.join("a.so"), one.join("b.so"), two.join("c.so")]);
        let errors: Vec<String> = found.errors.iter().map(|e| format!("{e:#}")).collect();
        let expected =
            format!("failed to read plugin directory {missing:?}: No such file or directory (os error 2)");
        assert_eq!(errors, [expected]);
    }

    #[test]
    fn a_name_is_found_under_all_its_spellings() {
        for file in
            ["libnotifyit_my_tool.so", "notifyit_my_tool.so", "libmy_tool.so", "my_tool.so", "my-tool.so"]
        {
            let dir = dir(&[file]);
            assert_eq!(by_name("my-tool", &[dir.path().into()]).unwrap(), dir.path().join(file));
        }
        let dir = dir(&["libnotifyit_my_tool.so"]);
        assert!(by_name("my_tool", &[dir.path().into()]).is_ok());
        assert!(by_name("notifyit-my-tool", &[dir.path().into()]).is_ok());
    }

    #[test]
    fn the_first_directory_wins_before_the_better_name() {
        let (one, two) = (dir(&["x.so"]), dir(&["libnotifyit_x.so"]));
        let path = [one.path().to_owned(), two.path().to_owned()];
        assert_eq!(by_name("x", &path).unwrap(), one.path().join("x.so"));
    }

    #[test]
    fn a_name_that_is_not_there_is_told_what_is() {
        let here = dir(&["libnotifyit_print.so", "libnotifyit_exec.so"]);
        let (here, gone) = (here.path(), here.path().join("gone"));
        let error = by_name("pritn", &[here.into(), gone.clone()]).unwrap_err().to_string();
        let expected = format!(
            "failed to find plugin \"pritn\": no libnotifyit_pritn.so in {here:?}, {gone:?} (does not exist); did you mean \"print\"? found there: \"exec\", \"print\"; build it (cargo build, with crate-type = [\"cdylib\"]), or name its directory with --plugin-dir"
        );
        assert_eq!(error, expected);
        assert!(by_name("x", &[]).unwrap_err().to_string().contains("--plugin-dir"));
        assert!(by_name("", &[here.into()]).is_err());
    }

    #[test]
    fn a_forgotten_crate_type_is_seen() {
        for built in ["libnotifyit_my_tool.rlib", "libnotifyit_my_tool.d"] {
            let dir = dir(&[built]);
            let error = by_name("my-tool", &[dir.path().into()]).unwrap_err().to_string();
            let expected = format!(
                "failed to find plugin \"my-tool\": {:?} was built, but no \"libnotifyit_my_tool.so\" beside it; its Cargo.toml needs [lib] crate-type = [\"cdylib\"]",
                dir.path().join(built)
            );
            assert_eq!(error, expected);
        }
    }

    #[test]
    fn a_files_name_stands_for_the_plugins() {
        for (file, name) in
            [("libnotifyit_my_tool.so", "my-tool"), ("notifyit-x.so", "x"), ("libnotifyit.so", "notifyit")]
        {
            assert_eq!(name_of(Path::new(file)), name);
        }
    }
}
