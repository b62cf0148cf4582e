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
    /// Whose it takes of the files that are emitted, if any; none named, whoever's.
    emitted: Option<Vec<String>>,
    recursive: bool,
    watch: Patterns,
    plugin: Patterns,
}

/// Its form in the ledger.
#[derive(Serialize, Deserialize)]
struct Written {
    files: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    emitted: Option<Vec<String>>,
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
            emitted: subscription.takes_emitted().filter(|_| subscription.wants_watch(watch)),
            recursive,
            watch: patterns.clone(),
            plugin: subscription.patterns.clone(),
        }
    }

    /// As a text: the same one, the same files.
    pub fn to_text(&self) -> String {
        let (watch, plugin) = (self.watch.source().to_owned(), self.plugin.source().to_owned());
        let emitted = self.emitted.clone();
        let written = Written { files: self.files, emitted, recursive: self.recursive, watch, plugin };
        serde_json::to_string(&written).expect("two flags and two texts have a JSON form")
    }

    /// From a text; `None` if another version of the host has written it in another form.
    pub fn parse(text: &str) -> Option<Coverage> {
        let Written { files, emitted, recursive, watch, plugin } = serde_json::from_str(text).ok()?;
        let (watch, plugin) = (Patterns::from_source(&watch)?, Patterns::from_source(&plugin)?);
        Some(Coverage { files, emitted, recursive, watch, plugin })
    }

    /// Is a file at this path, relative to the root, covered?
    pub fn covers(&self, relative: &Path) -> bool {
        self.files && self.accepts(relative)
    }

    /// Does it take any file that is emitted?
    pub fn takes_emitted(&self) -> bool {
        self.emitted.is_some()
    }

    /// Does it take the file at this path if that plugin emits it?
    pub fn takes(&self, by: &str, relative: &Path) -> bool {
        let takes = |from: &Vec<String>| from.is_empty() || from.iter().any(|name| name == by);
        self.emitted.as_ref().is_some_and(takes) && self.accepts(relative)
    }

    /// Does it take the file at this path if anybody emits it?
    pub fn takes_any(&self, relative: &Path) -> bool {
        self.takes_emitted() && self.accepts(relative)
    }

    fn accepts(&self, relative: &Path) -> bool {
        let is_deep = relative.components().nth(1).is_some();
        (self.recursive || !is_deep)
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
    fn who_takes_what_is_emitted_says_whose() {
        let takes = |coverage: &Coverage, by: &str, path: &str| {
            Coverage::parse(&coverage.to_text()).unwrap().takes(by, Path::new(path))
        };
        let any = coverage(Kind::Emitted, &["*.jpg"], &[], true);
        assert!(takes(&any, "scan", "x/a.jpg") && !takes(&any, "scan", "a.png"));
        assert!(any.takes_emitted() && !covers(&any, "a.jpg"), "what only lies there it does not get");
        let subscription =
            Subscription::new([Kind::Emitted].into_iter().collect(), None, Patterns::default());
        let some = subscription.emitted_by(Some(vec!["scan".to_owned()]));
        let some = Coverage::new(&some, WatchId(0), &Patterns::default(), false);
        assert!(takes(&some, "scan", "a") && !takes(&some, "other", "a") && !takes(&some, "scan", "x/a"));
        assert!(!takes(&coverage(Kind::Landed, &[], &[], true), "scan", "a"));
    }

    #[test]
    fn another_kind_of_event_is_no_other_coverage() {
        let text = |kind| coverage(kind, &["a"], &[], true).to_text();
        assert_eq!(text(Kind::Landed), text(Kind::CloseWrite));
        assert_ne!(text(Kind::Landed), text(Kind::Delete));
    }
}
