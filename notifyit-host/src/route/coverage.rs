//! Which files a plugin gets of one watch, as a text that a later run understands: what a subscription covers newly was
//! there before it, and what it covered already has landed since.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::Subscription;
use crate::event::WatchId;
use crate::patterns::{Entry, Patterns};

/// Which files a plugin gets of one watch.
#[derive(Debug, Clone)]
pub struct Coverage {
    files: bool,
    recursive: bool,
    watch: Patterns,
    plugin: Patterns,
}

/// Its form in the ledger.
#[derive(Serialize, Deserialize)]
struct Written {
    files: bool,
    recursive: bool,
    watch: String,
    plugin: String,
}

impl Coverage {
    /// What a subscription covers of a watch with these patterns.
    pub fn new(
        subscription: &Subscription,
        watch: WatchId,
        patterns: &Patterns,
        recursive: bool,
    ) -> Coverage {
        Coverage {
            files: subscription.wants_watch(watch) && subscription.wants_files(),
            recursive,
            watch: patterns.clone(),
            plugin: subscription.patterns.clone(),
        }
    }

    /// As a text: the same one, the same files.
    pub fn to_text(&self) -> String {
        let (watch, plugin) = (self.watch.source().to_owned(), self.plugin.source().to_owned());
        let written = Written { files: self.files, recursive: self.recursive, watch, plugin };
        serde_json::to_string(&written).expect("two flags and two texts have a JSON form")
    }

    /// From a text; `None` if another version of the host has written it in another form.
    pub fn parse(text: &str) -> Option<Coverage> {
        let Written { files, recursive, watch, plugin } = serde_json::from_str(text).ok()?;
        let (watch, plugin) = (Patterns::from_source(&watch)?, Patterns::from_source(&plugin)?);
        Some(Coverage { files, recursive, watch, plugin })
    }

    /// Is a file at this path, relative to the root, covered?
    pub fn covers(&self, relative: &Path) -> bool {
        let is_deep = relative.components().nth(1).is_some();
        self.files
            && (self.recursive || !is_deep)
            && self.watch.accepts(relative, Entry::File)
            && self.plugin.accepts(relative, Entry::File)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::patterns::Case;
    use crate::route::Kinds;
    use notifyit_plugin_api::Kind;

    fn coverage(kind: Kind, include: &[&str], exclude: &[&str], recursive: bool) -> Coverage {
        let kinds: Kinds = [kind].into_iter().collect();
        let patterns =
            |include: &[&str], exclude: &[&str]| Patterns::compile(include, exclude, Case::Ignored).unwrap();
        let subscription = Subscription::new(kinds, Some(vec![WatchId(1)]), patterns(include, &[]));
        Coverage::new(&subscription, WatchId(1), &patterns(&[], exclude), recursive)
    }

    #[track_caller]
    fn covers(coverage: &Coverage, path: &str) -> bool {
        let read = Coverage::parse(&coverage.to_text()).unwrap();
        assert_eq!(read.to_text(), coverage.to_text());
        assert_eq!(read.covers(Path::new(path)), coverage.covers(Path::new(path)), "{path}");
        read.covers(Path::new(path))
    }

    #[test]
    fn what_is_read_back_covers_the_same_files() {
        let some = coverage(Kind::Landed, &["*.jpg"], &["no/"], true);
        assert!(covers(&some, "a.JPG") && covers(&some, "x/a.jpg"));
        assert!(!covers(&some, "a.png") && !covers(&some, "x/no/a.jpg"));
        let flat = coverage(Kind::CloseWrite, &[], &[], false);
        assert!(covers(&flat, "a") && !covers(&flat, "x/a"));
        assert!(!covers(&coverage(Kind::Delete, &[], &[], true), "a"), "it hears of no files that are there");
        assert!(Coverage::parse("").is_none() && Coverage::parse("{\"files\":true}").is_none());
    }

    #[test]
    fn another_kind_of_event_is_no_other_coverage() {
        let text = |kind| coverage(kind, &["a"], &[], true).to_text();
        assert_eq!(text(Kind::Landed), text(Kind::CloseWrite));
        assert_ne!(text(Kind::Landed), text(Kind::Delete));
    }
}
