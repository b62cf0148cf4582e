//! Which names and paths are wanted: gitignore's patterns.
//!
//! - Without `/` a pattern is matched against the name, at any depth; with `/` (at its beginning or within) against the
//!   path beneath the root. There `*` stops at `/` and `**` does not.
//! - A trailing `/` stands for a directory.
//! - `exclude` covers a directory that it matches with all that lies beneath, and wins over `include`.
//! - `include` chooses what is delivered, never what is descended into. What lies beneath a directory that it names
//!   with a trailing `/` is included.
//! - Names are bytes: `?` is one byte, and case is ignored for ASCII letters only.

use std::ffi::OsStr;
use std::fmt;
use std::path::Path;

use globset::{GlobBuilder, GlobSet, GlobSetBuilder};

/// Compiled `include` and `exclude` patterns. The default lets everything through.
#[derive(Debug, Clone, Default)]
pub struct Patterns {
    include: Globs,
    exclude: Globs,
    /// As they were written.
    source: String,
}

/// What an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// Anything but a directory.
    File,
    /// A directory.
    Directory,
}

/// Do `a` and `A` differ?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Case {
    /// They do.
    Sensitive,
    /// They do not (ASCII letters only).
    Ignored,
}

impl Patterns {
    /// Compiles patterns.
    ///
    /// # Errors
    ///
    /// The first pattern that is wrong.
    pub fn compile<S: AsRef<str>>(include: &[S], exclude: &[S], case: Case) -> Result<Patterns, BadPattern> {
        let texts = |patterns: &[S]| patterns.iter().map(|p| p.as_ref().to_owned()).collect::<Vec<_>>();
        let (globs, source) =
            (Globs::compile(include, case)?, (texts(include), texts(exclude), case == Case::Ignored));
        Ok(Patterns {
            include: globs,
            exclude: Globs::compile(exclude, case)?,
            source: serde_json::to_string(&source).expect("texts have a JSON form"),
        })
    }

    /// The patterns as they were written: the same text, the same patterns.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Patterns from their [`Patterns::source`]; `None` if it is none.
    pub fn from_source(source: &str) -> Option<Patterns> {
        if source.is_empty() {
            return Some(Patterns::default());
        }
        let (include, exclude, ignore_case): (Vec<String>, Vec<String>, bool) =
            serde_json::from_str(source).ok()?;
        let case = if ignore_case { Case::Ignored } else { Case::Sensitive };
        Patterns::compile(&include, &exclude, case).ok()
    }

    /// Are there no patterns at all?
    pub fn is_empty(&self) -> bool {
        self.include.empty && self.exclude.empty
    }

    /// Is what lies at this path, relative to the root, to be delivered?
    ///
    /// Looks at each directory above it too. A caller who knows that [`Patterns::excludes_dir`] is false for the
    /// file's directory, and that [`Patterns::needs_path`] is, gets the same answer from [`Patterns::accepts_name`].
    pub fn accepts(&self, relative: &Path, entry: Entry) -> bool {
        self.is_empty() || (self.includes(relative, entry) && !self.excludes(relative, entry))
    }

    /// Is a directory, relative to the root, excluded with all that lies beneath? The root itself never is.
    pub fn excludes_dir(&self, relative: &Path) -> bool {
        !self.exclude.empty && self.excludes(relative, Entry::Directory)
    }

    /// Does the answer depend on more than the name, for a file in a directory that is not excluded?
    pub fn needs_path(&self) -> bool {
        !(self.include.by_name_alone() && self.exclude.files_by_name_alone())
    }

    /// [`Patterns::accepts`] for a file, by the patterns without `/` alone.
    pub fn accepts_name(&self, name: &OsStr) -> bool {
        self.is_empty()
            || ((self.include.empty || self.include.names.is_match(name))
                && !self.exclude.names.is_match(name))
    }

    fn includes(&self, relative: &Path, entry: Entry) -> bool {
        let include = &self.include;
        include.empty
            || include.matches(relative, entry)
            || above(relative).any(|dir| include.matches_as_directory(dir))
    }

    fn excludes(&self, relative: &Path, entry: Entry) -> bool {
        let exclude = &self.exclude;
        !exclude.empty
            && (exclude.matches(relative, entry)
                || above(relative).any(|dir| exclude.matches(dir, Entry::Directory)))
    }
}

/// The directories between the root, which is left out, and what lies at this path.
fn above(relative: &Path) -> impl Iterator<Item = &Path> {
    relative.ancestors().skip(1).filter(|dir| !dir.as_os_str().is_empty())
}

/// A list of patterns, sorted by what they are matched against.
#[derive(Debug, Clone)]
struct Globs {
    empty: bool,
    names: GlobSet,
    paths: GlobSet,
    directory_names: GlobSet,
    directory_paths: GlobSet,
}

impl Default for Globs {
    fn default() -> Self {
        let none = GlobSet::empty;
        Globs { empty: true, names: none(), paths: none(), directory_names: none(), directory_paths: none() }
    }
}

impl Globs {
    fn compile<S: AsRef<str>>(patterns: &[S], case: Case) -> Result<Globs, BadPattern> {
        let mut sets = [(); 4].map(|()| GlobSetBuilder::new());
        for pattern in patterns {
            let parsed = Parsed::new(pattern.as_ref())?;
            let glob = parsed.glob(case).map_err(|e| BadPattern::new(pattern.as_ref(), e.kind()))?;
            sets[usize::from(parsed.directory) * 2 + usize::from(parsed.path)].add(glob);
        }
        let build =
            |set: &GlobSetBuilder| set.build().map_err(|e| BadPattern::new(e.glob().unwrap_or(""), e.kind()));
        Ok(Globs {
            empty: patterns.is_empty(),
            names: build(&sets[0])?,
            paths: build(&sets[1])?,
            directory_names: build(&sets[2])?,
            directory_paths: build(&sets[3])?,
        })
    }

    fn matches(&self, relative: &Path, entry: Entry) -> bool {
        let name = relative.file_name().unwrap_or_default();
        // The root has no name, and no pattern means it.
        !name.is_empty()
            && (self.names.is_match(name)
                || self.paths.is_match(relative)
                || (entry == Entry::Directory && self.matches_as_directory(relative)))
    }

    fn matches_as_directory(&self, relative: &Path) -> bool {
        let name = relative.file_name().unwrap_or_default();
        self.directory_names.is_match(name) || self.directory_paths.is_match(relative)
    }

    /// A directory pattern says nothing of a file's own name or path.
    fn files_by_name_alone(&self) -> bool {
        self.paths.is_empty()
    }

    fn by_name_alone(&self) -> bool {
        self.paths.is_empty() && self.directory_names.is_empty() && self.directory_paths.is_empty()
    }
}

/// A pattern without what says how it is meant.
struct Parsed<'a> {
    text: &'a str,
    path: bool,
    directory: bool,
}

impl<'a> Parsed<'a> {
    fn new(pattern: &'a str) -> Result<Self, BadPattern> {
        let wrong = |why: &str| Err(BadPattern::new(pattern, why));
        if pattern.starts_with('!') {
            return wrong("a pattern cannot be negated; use include, or write \\! for a name that begins so");
        }
        let directory = pattern.ends_with('/');
        let inner = pattern.strip_suffix('/').unwrap_or(pattern);
        let path = inner.contains('/');
        let text = inner.strip_prefix('/').unwrap_or(inner);
        if text.is_empty() {
            return wrong("it is empty");
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return wrong("it matches nothing: paths beneath the root have no empty, `.` or `..` component");
        }
        Ok(Parsed { text, path, directory })
    }

    fn glob(&self, case: Case) -> Result<globset::Glob, globset::Error> {
        let text = if self.path { stop_classes_at_slash(self.text) } else { self.text.to_owned() };
        GlobBuilder::new(&text)
            // A name has no separator; without this globset finds its fast ways (literal, suffix) for names.
            .literal_separator(self.path)
            .case_insensitive(case == Case::Ignored)
            .backslash_escape(true)
            .empty_alternates(true)
            .build()
    }
}

/// Adds `/` to what negated classes leave out: globset lets them match it, gitignore does not.
fn stop_classes_at_slash(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 1);
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        out.push(c);
        match c {
            '\\' => out.extend(rest.next()),
            '[' => copy_class(&mut rest, &mut out),
            _ => {}
        }
    }
    out
}

fn copy_class(rest: &mut std::str::Chars<'_>, out: &mut String) {
    let negated = rest.as_str().starts_with(['!', '^']);
    if negated {
        out.extend(rest.next());
    }
    // At the beginning these stand for themselves, so they must stay there.
    if rest.as_str().starts_with([']', '-']) {
        out.extend(rest.next());
    }
    if negated {
        out.push('/');
    }
    let text = rest.as_str();
    let class = text.find(']').map_or(text, |end| &text[..=end]);
    out.push_str(class);
    *rest = text[class.len()..].chars();
}

/// Is this a pattern that compiles?
///
/// # Errors
///
/// What is wrong with it.
pub fn check(pattern: &str) -> Result<(), BadPattern> {
    Globs::compile(&[pattern], Case::Sensitive).map(drop)
}

/// A pattern that is wrong, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadPattern {
    pattern: String,
    why: String,
}

impl BadPattern {
    fn new(pattern: &str, why: impl fmt::Display) -> Self {
        BadPattern { pattern: pattern.to_owned(), why: why.to_string() }
    }
}

impl fmt::Display for BadPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "bad pattern {:?}: {}", self.pattern, self.why)
    }
}

impl std::error::Error for BadPattern {}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::ffi::OsStrExt;

    fn patterns(include: &[&str], exclude: &[&str]) -> Patterns {
        Patterns::compile(include, exclude, Case::Sensitive).unwrap()
    }

    fn included(pattern: &str, path: &str) -> bool {
        patterns(&[pattern], &[]).accepts(Path::new(path), Entry::File)
    }

    fn excluded(pattern: &str, path: &str) -> bool {
        !patterns(&[], &[pattern]).accepts(Path::new(path), Entry::File)
    }

    fn refused(pattern: &str) -> String {
        check(pattern).unwrap_err().to_string()
    }

    #[test]
    fn no_patterns_accept_everything() {
        let none = Patterns::default();
        assert!(none.is_empty() && !none.needs_path());
        assert!(none.accepts(Path::new("a/.b"), Entry::File) && none.accepts_name(OsStr::new("")));
        assert!(!none.excludes_dir(Path::new("a")));
        assert!(patterns(&[], &[]).is_empty());
    }

    #[test]
    fn without_a_slash_the_name_counts_at_any_depth() {
        for path in ["a.jpg", "x/a.jpg", "x/y/.jpg"] {
            assert!(included("*.jpg", path), "{path}");
        }
        assert!(!included("*.jpg", "a.jpg.part") && !included("*.jpg", "x.jpg/a"));
        assert!(included("?.txt", "x/a.txt") && !included("?.txt", "ab.txt"));
        assert!(included("[a-c]x", "bx") && !included("[!a-c]x", "bx"));
        assert!(excluded(".*", "x/.a") && !excluded(".*", "x/a"));
    }

    #[test]
    fn with_a_slash_the_path_beneath_the_root_counts() {
        assert!(included("in/*.jpg", "in/a.jpg"));
        assert!(!included("in/*.jpg", "x/in/a.jpg"), "anchored at the root");
        assert!(!included("in/*.jpg", "in/x/a.jpg"), "* stops at /");
        assert!(included("in/**/*.jpg", "in/a.jpg") && included("in/**/*.jpg", "in/x/y/a.jpg"));
        assert!(included("**/in/*.jpg", "in/a.jpg") && included("**/in/*.jpg", "x/in/a.jpg"));
        assert!(included("in/**", "in/x/a") && !included("in/**", "in"));
        assert!(!included("x/in?a", "x/in/a"));
        for class in ["[!b]", "[^b]", "[!]b]", "[!-b]", "[!b-d]"] {
            let pattern = format!("x/in{class}a");
            assert!(!included(&pattern, "x/in/a") && !included(&pattern, "x/inba"), "{pattern}");
            assert!(included(&pattern, "x/inea"), "{pattern}");
        }
        assert!(included(r"x/\[[!b]", "x/[a") && !included(r"x/\[!b", "x/a"));
    }

    #[test]
    fn a_leading_slash_anchors() {
        assert!(included("/a.jpg", "a.jpg") && !included("/a.jpg", "x/a.jpg"));
        assert!(included("/*.jpg", "a.jpg") && !included("/*.jpg", "x/a.jpg"));
    }

    #[test]
    fn alternatives_stand_in_braces() {
        let p = patterns(&["*.{jpg,png}", "doc{,s}/x"], &[]);
        for (path, accepted) in
            [("a.jpg", true), ("a.png", true), ("a.gif", false), ("doc/x", true), ("docs/x", true)]
        {
            assert_eq!(p.accepts(Path::new(path), Entry::File), accepted, "{path}");
        }
    }

    #[test]
    fn a_backslash_takes_a_character_as_it_is() {
        assert!(included(r"\*", "*") && !included(r"\*", "a") && included(r"\!a", "!a"));
    }

    #[test]
    fn exclude_wins() {
        let p = patterns(&["*.jpg"], &["a*"]);
        assert!(p.accepts(Path::new("b.jpg"), Entry::File));
        assert!(!p.accepts(Path::new("a.jpg"), Entry::File) && !p.accepts(Path::new("b.png"), Entry::File));
    }

    #[test]
    fn an_excluded_directory_covers_all_beneath() {
        for pattern in [".git", ".git/", "/.git", "/.git/", "**/.git"] {
            let p = patterns(&[], &[pattern]);
            assert!(p.excludes_dir(Path::new(".git")) && p.excludes_dir(Path::new(".git/a/b")), "{pattern}");
            assert!(!p.accepts(Path::new(".git/a/b"), Entry::File), "{pattern}");
            assert!(!p.excludes_dir(Path::new("x")) && !p.excludes_dir(Path::new("")), "{pattern}");
        }
        let beneath = patterns(&[], &["a/**"]);
        assert!(!beneath.excludes_dir(Path::new("a")) && beneath.excludes_dir(Path::new("a/b")));
        assert!(!patterns(&[], &["*"]).excludes_dir(Path::new("")), "the root is never excluded");
    }

    #[test]
    fn a_trailing_slash_means_directories() {
        let p = patterns(&[], &["tmp/"]);
        assert!(p.accepts(Path::new("tmp"), Entry::File) && p.accepts_name(OsStr::new("tmp")));
        assert!(
            !p.accepts(Path::new("tmp"), Entry::Directory) && !p.accepts(Path::new("x/tmp/a"), Entry::File)
        );
        let p = patterns(&["photos/"], &[]);
        assert!(p.accepts(Path::new("x/photos/y/a"), Entry::File) && !p.accepts(Path::new("a"), Entry::File));
        assert!(
            !p.accepts(Path::new("photos"), Entry::File) && p.accepts(Path::new("photos"), Entry::Directory)
        );
    }

    #[test]
    fn include_is_never_in_the_way_of_a_descent() {
        let p = patterns(&["*.jpg"], &["x"]);
        assert!(!p.excludes_dir(Path::new("a")) && p.excludes_dir(Path::new("x")));
        assert!(p.accepts(Path::new("a/b.jpg"), Entry::File));
        assert!(
            !p.accepts(Path::new("a"), Entry::Directory),
            "what is delivered of a directory must match too"
        );
    }

    #[test]
    fn case_is_ignored_on_request() {
        let p = Patterns::compile(&["*.JPG", "In/a"], &["Tmp/"], Case::Ignored).unwrap();
        assert!(p.accepts(Path::new("a.jpg"), Entry::File) && p.accepts(Path::new("iN/A"), Entry::File));
        assert!(p.excludes_dir(Path::new("TMP")));
        assert!(!included("*.JPG", "a.jpg"));
    }

    #[test]
    fn names_are_bytes() {
        let odd = OsStr::from_bytes(b"\xff\n.jpg");
        let p = patterns(&["*.jpg"], &["x/**"]);
        assert!(p.accepts_name(odd) && p.accepts(Path::new(odd), Entry::File));
        assert!(!p.accepts(&Path::new("x").join(odd), Entry::File));
        assert!(patterns(&["?\n.jpg"], &[]).accepts_name(odd));
        assert!(included("ä*", "äb") && !included("?", "ä"));
    }

    #[test]
    fn the_path_is_needed_only_for_patterns_that_look_at_it() {
        assert!(!patterns(&["*.jpg"], &[".*", "tmp/", "/x/y/"]).needs_path());
        for (include, exclude) in [("a/b", "x"), ("a/", "x"), ("x", "a/b"), ("/a", "x")] {
            assert!(patterns(&[include], &[exclude]).needs_path(), "{include} {exclude}");
        }
    }

    #[test]
    fn a_bad_pattern_is_named_in_one_line() {
        assert_eq!(refused("[a"), "bad pattern \"[a\": unclosed character class; missing ']'");
        assert_eq!(
            refused("{a"),
            "bad pattern \"{a\": unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"
        );
        assert_eq!(refused("a\n[z-a]"), "bad pattern \"a\\n[z-a]\": invalid range; 'z' > 'a'");
        assert_eq!(refused("x/[!a"), "bad pattern \"x/[!a\": unclosed character class; missing ']'");
        assert_eq!(refused(""), "bad pattern \"\": it is empty");
        assert_eq!(refused("/"), "bad pattern \"/\": it is empty");
        assert_eq!(
            refused("!a"),
            "bad pattern \"!a\": a pattern cannot be negated; use include, or write \\! for a name that begins so"
        );
        for pattern in ["./a", "a/../b", "a//b", "a/.", "//a"] {
            assert!(refused(pattern).contains("it matches nothing"), "{pattern}");
        }
        assert!(
            Patterns::compile(&["a"], &["[b"], Case::Sensitive).unwrap_err().to_string().contains("\"[b\"")
        );
    }

    /// A slow and simple reading of the rules, for patterns of `a`, `?`, `*`, `**` and `/`.
    mod model {
        pub(super) fn matches(pattern: &str, path: &str, directory: bool) -> bool {
            let inner = pattern.strip_suffix('/').unwrap_or(pattern);
            if pattern.ends_with('/') && !directory {
                return false;
            }
            let name = path.rsplit('/').next().unwrap_or(path);
            if !inner.contains('/') {
                return component(inner.as_bytes(), name.as_bytes());
            }
            let wanted: Vec<&str> = inner.strip_prefix('/').unwrap_or(inner).split('/').collect();
            components(&wanted, &path.split('/').collect::<Vec<_>>())
        }

        pub(super) fn covers(pattern: &str, path: &str, directory: bool) -> bool {
            let above = path.match_indices('/').map(|(slash, _)| &path[..slash]);
            matches(pattern, path, directory) || above.into_iter().any(|dir| matches(pattern, dir, true))
        }

        fn components(wanted: &[&str], path: &[&str]) -> bool {
            match wanted {
                [] => path.is_empty(),
                ["**"] => !path.is_empty(),
                ["**", rest @ ..] => (0..=path.len()).any(|skip| components(rest, &path[skip..])),
                [first, rest @ ..] => path.split_first().is_some_and(|(name, beneath)| {
                    component(first.as_bytes(), name.as_bytes()) && components(rest, beneath)
                }),
            }
        }

        fn component(wanted: &[u8], name: &[u8]) -> bool {
            match wanted {
                [] => name.is_empty(),
                [b'*', rest @ ..] => (0..=name.len()).any(|skip| component(rest, &name[skip..])),
                [b'?', rest @ ..] => name.split_first().is_some_and(|(_, name)| component(rest, name)),
                [byte, rest @ ..] => {
                    name.split_first().is_some_and(|(first, name)| first == byte && component(rest, name))
                }
            }
        }
    }

    fn pattern() -> impl Strategy<Value = String> {
        let part = proptest::sample::select(&["a", "b", "*", "**", "?", "a*", "*b", "a?b", "ab"][..]);
        let parts = proptest::collection::vec(part, 1..4).prop_map(|parts| parts.join("/"));
        (parts, any::<bool>(), any::<bool>()).prop_map(|(parts, anchored, directory)| {
            format!("{}{parts}{}", if anchored { "/" } else { "" }, if directory { "/" } else { "" })
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_agrees_with_the_model(
            include in proptest::collection::vec(pattern(), 0..3),
            exclude in proptest::collection::vec(pattern(), 0..3),
            path in "[ab]{1,3}(/[ab]{1,3}){0,3}",
            directory in any::<bool>(),
        ) {
            let p = Patterns::compile(&include, &exclude, Case::Sensitive).unwrap();
            let entry = if directory { Entry::Directory } else { Entry::File };
            let path = path.as_str();
            let above = || path.match_indices('/').map(|(slash, _)| &path[..slash]);
            let excluded = exclude.iter().any(|x| model::covers(x, path, directory));
            let beneath = |i: &String| i.ends_with('/') && above().any(|dir| model::matches(i, dir, true));
            let included = include.is_empty()
                || include.iter().any(|i| model::matches(i, path, directory) || beneath(i));
            prop_assert_eq!(p.accepts(Path::new(path), entry), included && !excluded);
            let dir_excluded = exclude.iter().any(|x| model::covers(x, path, true));
            prop_assert_eq!(p.excludes_dir(Path::new(path)), dir_excluded);

            let parent = Path::new(path).parent().unwrap();
            if !p.needs_path() && !p.excludes_dir(parent) {
                let name = Path::new(path).file_name().unwrap();
                prop_assert_eq!(p.accepts_name(name), p.accepts(Path::new(path), Entry::File));
            }
        }
    }
}
