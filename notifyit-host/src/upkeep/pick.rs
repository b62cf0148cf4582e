//! Which files a person means: by plugin, path, pattern and age.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::named;
use crate::cli::PickArgs;
use crate::config::{Environment, UsageError};
use crate::patterns::{Case, Entry, Patterns};
use crate::settle::at_rest::{AtRest, Known, Watch};
use crate::sys::{self, Stat};

/// What was typed, ready to be asked about each file.
#[derive(Debug)]
pub(super) struct Pick {
    pub(super) instances: Vec<Known>,
    pub(super) watches: Vec<Watch>,
    patterns: Patterns,
    modified_after: u64,
    /// Beneath which watch, and where: none for everything.
    places: Option<Vec<(usize, PathBuf)>>,
}

impl Pick {
    pub(super) fn new(args: &PickArgs, environment: &Environment, state: &AtRest) -> Result<Pick> {
        let watches = state.watches()?;
        let patterns = Patterns::compile(&args.include, &[], Case::Sensitive)
            .map_err(|error| UsageError(format!("--include: {error}")))?;
        let now = sys::wall_nanos();
        let within = |since: std::time::Duration| u64::try_from(since.as_nanos()).unwrap_or(u64::MAX);
        let mut places = Vec::new();
        for path in &args.paths {
            places.extend(places_of(&environment.current_dir.join(path), &watches)?);
        }
        Ok(Pick {
            instances: named(state, &args.plugin)?,
            patterns,
            modified_after: args.since.map_or(0, |since| now.saturating_sub(within(since))),
            places: (!args.paths.is_empty()).then_some(places),
            watches,
        })
    }

    /// Is a file at this path of a watch meant?
    pub(super) fn wants(&self, watch: usize, relative: &Path, stat: &Stat) -> bool {
        let is_there = |places: &Vec<(usize, PathBuf)>| {
            places.iter().any(|(of, path)| *of == watch && relative.starts_with(path))
        };
        stat.is_file()
            && stat.modified_nanos() >= self.modified_after
            && self.places.as_ref().is_none_or(is_there)
            && self.patterns.accepts(relative, Entry::File)
    }
}

/// The parts of watches that a path stands for: of the one that it lies in, or all that lie beneath it.
fn places_of(path: &Path, watches: &[Watch]) -> Result<Vec<(usize, PathBuf)>> {
    let path: PathBuf = path.components().collect();
    // Neither the path nor the root need be written as the kernel would write them.
    let real = path.canonicalize().with_context(|| format!("failed to find {path:?}"))?;
    let mut places = Vec::new();
    for (place, watch) in watches.iter().enumerate() {
        let root = watch.root.canonicalize().unwrap_or_else(|_| watch.root.clone());
        for (path, root) in [(&path, &watch.root), (&real, &root)] {
            if let Ok(relative) = path.strip_prefix(root) {
                places.push((place, relative.to_owned()));
            } else if root.starts_with(path) {
                places.push((place, PathBuf::new()));
            }
        }
    }
    if places.is_empty() {
        let roots: Vec<_> = watches.iter().map(|watch| format!("{:?}", watch.root)).collect();
        bail!("{path:?} lies in none of the watched directories, which are {}", roots.join(", "));
    }
    Ok(places)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_part_of_a_watch_or_all_watches_beneath_it() {
        let dir = tempfile::tempdir().unwrap();
        let root = |name: &str| dir.path().join(name);
        std::fs::create_dir_all(root("a/sub")).unwrap();
        std::fs::create_dir_all(root("b")).unwrap();
        std::os::unix::fs::symlink(root("a"), root("link")).unwrap();
        let watch = |name: &str| Watch { name: name.to_owned(), root: root(name), recursive: true };
        let watches = [watch("a"), watch("b")];
        let places = |path: &str| {
            let mut places = places_of(&root(path), &watches).unwrap();
            places.dedup();
            places
        };
        assert_eq!(places("a/./sub"), [(0, PathBuf::from("sub"))]);
        assert_eq!(places("link/sub"), [(0, PathBuf::from("sub"))]);
        assert_eq!(places("."), [(0, PathBuf::new()), (1, PathBuf::new())]);
        std::fs::create_dir(root("c")).unwrap();
        let error = places_of(&root("c"), &watches).unwrap_err().to_string();
        assert!(error.contains("lies in none of the watched directories"), "{error}");
    }
}
