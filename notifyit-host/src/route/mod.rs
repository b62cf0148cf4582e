//! Which plugins want an event: kinds, watches, patterns. Pure; on the source's thread.

pub mod coverage;

use std::path::Path;

use inotify::{EventMask, WatchMask};
use notifyit_plugin_api::Kind;

use crate::event::{Certainty, Happened, WatchId};
use crate::patterns::{Entry, Patterns};

/// What one plugin wants.
#[derive(Debug)]
pub struct Subscription {
    kinds: Kinds,
    /// The words that can bring about one of the kinds: most events of a busy directory are told apart by this alone.
    words: EventMask,
    /// `None`: every watch.
    watches: Option<Vec<WatchId>>,
    patterns: Patterns,
    /// Whose files it takes of what is emitted. `None`: whoever's.
    emitted_by: Option<Vec<String>>,
}

/// A set of kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kinds(u32);

/// What may be a landing: only the first says so for sure.
const LANDING: EventMask = EventMask::CLOSE_WRITE.union(EventMask::MOVED_TO).union(EventMask::CREATE);

/// Each kind and inotify's word for it. `landed` stands for several.
const WORDS: [(Kind, EventMask, WatchMask); 10] = [
    (Kind::CloseWrite, EventMask::CLOSE_WRITE, WatchMask::CLOSE_WRITE),
    (Kind::CloseNowrite, EventMask::CLOSE_NOWRITE, WatchMask::CLOSE_NOWRITE),
    (Kind::Create, EventMask::CREATE, WatchMask::CREATE),
    (Kind::Delete, EventMask::DELETE, WatchMask::DELETE),
    (Kind::Modify, EventMask::MODIFY, WatchMask::MODIFY),
    (Kind::Attrib, EventMask::ATTRIB, WatchMask::ATTRIB),
    (Kind::Open, EventMask::OPEN, WatchMask::OPEN),
    (Kind::Access, EventMask::ACCESS, WatchMask::ACCESS),
    (Kind::MovedFrom, EventMask::MOVED_FROM, WatchMask::MOVED_FROM),
    (Kind::MovedTo, EventMask::MOVED_TO, WatchMask::MOVED_TO),
];

impl Kinds {
    /// Is it in the set?
    pub fn has(self, kind: Kind) -> bool {
        self.0 & bit(kind) != 0
    }
}

impl FromIterator<Kind> for Kinds {
    fn from_iter<I: IntoIterator<Item = Kind>>(kinds: I) -> Self {
        Kinds(kinds.into_iter().fold(0, |bits, kind| bits | bit(kind)))
    }
}

/// Kinds that have no name here have no bit: nothing can bring them about.
fn bit(kind: Kind) -> u32 {
    if matches!(kind, Kind::Other(_)) { 0 } else { 1 << kind.code() }
}

/// What patterns are to take it for.
pub fn entry(happened: &Happened<'_>) -> Entry {
    if happened.directory { Entry::Directory } else { Entry::File }
}

impl Subscription {
    /// `watches` of `None` is every watch.
    pub fn new(kinds: Kinds, watches: Option<Vec<WatchId>>, patterns: Patterns) -> Self {
        let mut words = if kinds.has(Kind::Landed) { LANDING } else { EventMask::empty() };
        words.extend(WORDS.iter().filter(|(kind, ..)| kinds.has(*kind)).map(|(_, word, _)| *word));
        if kinds.has(Kind::CloseWrite) {
            words |= EventMask::MOVED_TO; // for what a rename uncovers
        }
        Subscription { kinds, words, watches, patterns, emitted_by: None }
    }

    /// It takes of what is emitted what these plugins emit. `None`: whatever is.
    pub fn emitted_by(self, plugins: Option<Vec<String>>) -> Self {
        Subscription { emitted_by: plugins, ..self }
    }

    /// What to ask of the kernel for a watch.
    pub fn interest(&self, watch: WatchId) -> WatchMask {
        let mut mask = WatchMask::empty();
        if !self.wants_watch(watch) {
            return mask;
        }
        if self.kinds.has(Kind::Landed) {
            mask |= WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO | WatchMask::CREATE;
        }
        for (kind, _, word) in WORDS {
            if self.kinds.has(kind) {
                mask |= word;
            }
        }
        mask
    }

    /// Does it want events of that watch?
    pub fn wants_watch(&self, watch: WatchId) -> bool {
        self.watches.as_ref().is_none_or(|watches| watches.contains(&watch))
    }

    /// Does it want to hear of each file that has landed, renamed ones included?
    pub fn wants_landed(&self) -> bool {
        self.kinds.has(Kind::Landed)
    }

    /// Must the path be known to tell whether it wants a file? With any pattern it must: `target` excludes a
    /// directory of that name too, and that directory is watched for others.
    pub fn needs_path(&self) -> bool {
        !self.patterns.is_empty()
    }

    /// As which kind this plugin wants the event, if at all. `relative` is looked at only if
    /// [`Subscription::needs_path`].
    pub fn wants(&self, happened: &Happened<'_>, relative: &Path) -> Option<(Kind, Certainty)> {
        if !happened.what.intersects(self.words) {
            return None;
        }
        let kind = self.kind(happened)?;
        (self.wants_watch(happened.watch) && self.patterns.accepts(relative, entry(happened))).then_some(kind)
    }

    /// Does it want the files that lie in its watches, whoever has put them there?
    pub fn wants_files(&self) -> bool {
        self.file_kind().is_some_and(|kind| kind != Kind::Emitted)
    }

    /// Does it want files that others hand on to it?
    pub fn wants_emitted(&self) -> bool {
        self.kinds.has(Kind::Emitted)
    }

    /// Of those that others hand on to it: whose it takes; none named, whoever's. `None`: it takes none.
    fn takes_emitted(&self) -> Option<Vec<String>> {
        self.kinds.has(Kind::Emitted).then(|| self.emitted_by.clone().unwrap_or_default())
    }

    /// The first that says the most.
    fn file_kind(&self) -> Option<Kind> {
        [Kind::Landed, Kind::CloseWrite, Kind::Emitted].into_iter().find(|kind| self.kinds.has(*kind))
    }

    /// As which kind this plugin wants a complete file that a rescan has found, if at all; as [`Kind::Emitted`] only if that
    /// it is.
    pub fn wants_file(&self, watch: WatchId, relative: &Path) -> Option<Kind> {
        let kind = self.file_kind()?;
        (self.wants_watch(watch) && self.patterns.accepts(relative, Entry::File)).then_some(kind)
    }

    fn kind(&self, happened: &Happened<'_>) -> Option<(Kind, Certainty)> {
        if !happened.directory && self.kinds.has(Kind::Landed) && happened.what.intersects(LANDING) {
            let told = happened.what.contains(EventMask::CLOSE_WRITE);
            return Some((Kind::Landed, if told { Certainty::Told } else { Certainty::Supposed }));
        }
        let told =
            WORDS.iter().find(|(kind, word, _)| happened.what.contains(*word) && self.kinds.has(*kind));
        told.map(|(kind, ..)| *kind).or_else(|| self.uncovered(happened)).map(|kind| (kind, Certainty::Told))
    }

    /// A plugin that asked for close-write alone does not hear of renames; but a file that had a name which it does
    /// not want (`.upload.part`) was never told to it, and now has one that it wants.
    fn uncovered(&self, happened: &Happened<'_>) -> Option<Kind> {
        let from = happened.renamed_from?;
        let was_told = from.was_wanted
            && self.wants_watch(from.watch)
            && self.patterns.accepts(&from.relative, Entry::File);
        let uncovered = !happened.directory && self.kinds.has(Kind::CloseWrite) && !was_told;
        uncovered.then_some(Kind::CloseWrite)
    }

    /// Would it be told of a file of that name that is renamed to there?
    pub fn hears_of_rename(&self, watch: WatchId, relative: &Path) -> bool {
        self.wants_landed() && self.wants_watch(watch) && self.patterns.accepts(relative, Entry::File)
    }
}
