//! The file and each `--set` as one tree that knows where every value was written.
//!
//! Positions are byte offsets into a text that exists only in thought: the file's text, then that of each `--set`,
//! one behind the other. A `--set` is parsed behind as many spaces as there is text before it, so that every value
//! carries the right offset from the parser on; the tree is deserialized in one go, and an offset in an error leads
//! back to the line of the file, or to the `--set`, that caused it.

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use anyhow::Error;
use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::table::{Spot, Spots, Step};
use super::{UsageError, set};
use crate::log::one_line;

type Span = Range<usize>;

/// What was written, layer over layer.
#[derive(Debug, Default)]
pub(super) struct Layers {
    texts: Vec<Text>,
    /// Where the next text begins.
    end: usize,
}

/// A part of the text in thought.
#[derive(Debug)]
struct Text {
    start: usize,
    place: Place,
}

#[derive(Debug)]
enum Place {
    File { path: PathBuf, text: String },
    Typed { label: String, key: Vec<String>, value: Value },
}

#[derive(Debug)]
enum Value {
    /// A document `v=VALUE`, behind as many spaces as put VALUE at `from`.
    Padded { text: String, from: usize },
    /// The command behind `--`.
    Words(Vec<String>),
}

impl Layers {
    /// Lays a file at the bottom: it must come first. What is wrong with it shows in [`Layers::read`].
    ///
    /// # Errors
    ///
    /// If it is not UTF-8.
    pub(super) fn file(&mut self, path: &Path, bytes: &[u8]) -> Result<(), Error> {
        let utf8 = std::str::from_utf8(bytes);
        let text = String::from_utf8_lossy(bytes).into_owned();
        let length = text.len();
        self.push(Place::File { path: path.to_owned(), text }, length);
        utf8.map(drop).map_err(|e| self.error_at(&(e.valid_up_to()..e.valid_up_to()), "not UTF-8"))
    }

    /// Lays a `--set` over what is there.
    ///
    /// # Errors
    ///
    /// If it is not PLUGIN.KEY=VALUE. What the value is shows in [`Layers::read`].
    pub(super) fn set(&mut self, typed: &str) -> Result<(), UsageError> {
        let label = format!("--set {}", one_line(typed));
        let (key, value) =
            set::split(typed).map_err(|why| UsageError(format!("{label}: {why}; write PLUGIN.KEY=VALUE")))?;
        let from = self.end + typed.len() - value.len();
        let text = format!("{:>from$}{value}", "v=");
        self.push(Place::Typed { label, key, value: Value::Padded { text, from } }, typed.len());
        Ok(())
    }

    /// Lays the command behind `--` over what is there, as `exec`'s.
    pub(super) fn command(&mut self, words: Vec<String>) {
        let key = ["plugin", "exec", "config", "command"].map(str::to_owned).to_vec();
        self.push(Place::Typed { label: "-- COMMAND".to_owned(), key, value: Value::Words(words) }, 1);
    }

    /// The whole, in the shape of `T`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] if what is wrong stands in the file, [`UsageError`] if it was typed.
    pub(super) fn read<T: DeserializeOwned>(&self) -> Result<T, Error> {
        let table = Spanned::new(0..0, self.tree()?);
        T::deserialize(toml::de::Deserializer::from(table))
            .map_err(|e| self.error(&e.span().unwrap_or(0..0), in_users_words(e.message())))
    }

    /// An error about what was written there: it names the place and the key.
    pub(super) fn error(&self, span: &Span, message: impl AsRef<str>) -> Error {
        let key = self.key_of(span).map(|key| format!("{key}: ")).unwrap_or_default();
        self.error_at(span, &one_line(&format!("{key}{}", message.as_ref())))
    }

    /// How an error about what was written there begins that is found later: the place and the key.
    pub(super) fn place_of(&self, span: &Span) -> String {
        let key = self.key_of(span).unwrap_or_default();
        match self.spot(span) {
            Spot::File(place) | Spot::Typed(place) => one_line(&format!("{place}: {key}")).into_owned(),
        }
    }

    fn key_of(&self, span: &Span) -> Option<String> {
        self.tree().ok().and_then(|tree| key_at(&tree, span))
    }

    /// Where a plugin's own table, and each part of it, was written.
    pub(super) fn own_table(&self, plugin: &str) -> Spots {
        let mut spots = Spots::new();
        let tree = self.tree().ok();
        let plugins = tree.as_ref().and_then(|tree| beneath(tree, "plugin"));
        let Some((name, DeValue::Table(plugin))) = plugins.and_then(|(_, value)| match value {
            DeValue::Table(plugins) => beneath(plugins, plugin),
            _ => None,
        }) else {
            return spots;
        };
        match beneath(plugin, "config") {
            Some((key, table)) => self.note(&mut spots, &mut Vec::new(), (&key, &key), table),
            // Nothing of its own: what is missing is missing here.
            None => drop(spots.insert(Vec::new(), (self.spot(&name), self.spot(&name)))),
        }
        spots
    }

    /// Notes where a value, of this key, and each part of it was written.
    fn note(
        &self,
        spots: &mut Spots,
        path: &mut Vec<Step>,
        (key, span): (&Span, &Span),
        value: &DeValue<'_>,
    ) {
        spots.insert(path.clone(), (self.spot(key), self.spot(span)));
        match value {
            DeValue::Table(table) => {
                for (name, value) in table {
                    path.push(Step::Key(name.get_ref().to_string()));
                    self.note(spots, path, (&name.span(), &value.span()), value.get_ref());
                    path.pop();
                }
            }
            DeValue::Array(values) => {
                for (index, value) in values.iter().enumerate() {
                    path.push(Step::Index(index));
                    self.note(spots, path, (&value.span(), &value.span()), value.get_ref());
                    path.pop();
                }
            }
            _ => {}
        }
    }

    /// Was this typed rather than written in the file?
    pub(super) fn is_typed(&self, span: &Span) -> bool {
        matches!(self.place(span), Some(Place::Typed { .. }))
    }

    /// The plugins that a `--set` names, each with that `--set`.
    pub(super) fn plugins_set(&self) -> impl Iterator<Item = (&str, &str)> {
        self.texts.iter().filter_map(|text| match &text.place {
            Place::Typed { label, key, value: Value::Padded { .. } } if key[0] == "plugin" => {
                Some((&*key[1], &**label))
            }
            _ => None,
        })
    }

    fn push(&mut self, place: Place, length: usize) {
        self.texts.push(Text { start: self.end, place });
        self.end += length + 1;
    }

    fn tree(&self) -> Result<DeTable<'_>, Error> {
        let mut tree = DeTable::new();
        for Text { start, place } in &self.texts {
            match place {
                Place::File { text, .. } => tree = self.parse(text)?,
                Place::Typed { key, value, .. } => {
                    let value = value.at(*start);
                    let span = *start..value.span().start.max(start + 1);
                    lay(&mut tree, key, &span, value).map_err(|left| {
                        let upper = key[..key.len() - left].join(".");
                        self.error_at(&span, &one_line(&format!("{upper} is no table")))
                    })?;
                }
            }
        }
        Ok(tree)
    }

    fn parse<'a>(&self, text: &'a str) -> Result<DeTable<'a>, Error> {
        let table = DeTable::parse(text).map_err(|e| {
            // At the end of a file the parser names no place.
            self.error_at(&e.span().unwrap_or(text.len()..text.len()), &one_line(e.message()))
        })?;
        Ok(table.into_inner())
    }

    fn place(&self, span: &Span) -> Option<&Place> {
        self.texts.iter().rev().find(|text| text.start <= span.start).map(|text| &text.place)
    }

    fn error_at(&self, span: &Span, message: &str) -> Error {
        self.spot(span).error(message)
    }

    fn spot(&self, span: &Span) -> Spot {
        match self.place(span) {
            Some(Place::File { path, text }) => {
                let (line, column) = position(text, span.start);
                Spot::File(format!("{}:{line}:{column}", one_line(&path.to_string_lossy())))
            }
            Some(Place::Typed { label, .. }) => Spot::Typed(label.clone()),
            None => Spot::Typed(String::new()),
        }
    }
}

/// Puts a value into the tree and makes the tables on the way to it.
///
/// # Errors
///
/// If something on the way is no table: how many parts of the key were left.
fn lay<'a>(
    table: &mut DeTable<'a>,
    key: &[String],
    span: &Span,
    value: Spanned<DeValue<'a>>,
) -> Result<(), usize> {
    let Some((first, rest)) = key.split_first() else { return Ok(()) };
    let name = Spanned::new(span.clone(), Cow::Owned(first.clone()));
    // What is there keeps its name's place: a plugin of the file stays one.
    let entry = table.entry(name);
    if rest.is_empty() {
        *entry.or_insert_with(|| Spanned::new(span.clone(), DeValue::Boolean(false))) = value;
        return Ok(());
    }
    let empty = || Spanned::new(span.clone(), DeValue::Table(DeTable::new()));
    match entry.or_insert_with(empty).get_mut() {
        DeValue::Table(table) => lay(table, rest, span, value),
        _ => Err(rest.len()),
    }
}

impl Value {
    /// TOML; what is not valid TOML is a string.
    fn at(&self, start: usize) -> Spanned<DeValue<'_>> {
        match self {
            Value::Padded { text, from } => sole_value(text).unwrap_or_else(|| {
                Spanned::new(*from..text.len(), DeValue::String(Cow::Borrowed(&text[*from..])))
            }),
            Value::Words(words) => {
                let span = start..start + 1;
                let word = |word| Spanned::new(span.clone(), DeValue::String(Cow::Borrowed(word)));
                Spanned::new(span.clone(), DeValue::Array(words.iter().map(|w| word(&**w)).collect()))
            }
        }
    }
}

/// The value of a document of one key. (`DeValue::parse` takes no spaces in front.)
fn sole_value(document: &str) -> Option<Spanned<DeValue<'_>>> {
    let table = DeTable::parse(document).ok()?.into_inner();
    if table.len() != 1 {
        return None;
    }
    table.into_iter().next().map(|(_, value)| value)
}

/// The dotted key whose name or value was written exactly there.
fn key_at(table: &DeTable<'_>, span: &Span) -> Option<String> {
    table.iter().find_map(|(name, value)| {
        let beneath = key_within(value, span).map(|rest| format!("{}.{rest}", part_of_key(name.get_ref())));
        let here = name.span() == *span || value.span() == *span || element_at(value, span);
        beneath.or_else(|| here.then(|| part_of_key(name.get_ref())))
    })
}

/// Where the key was written, and its value.
fn beneath<'t, 'a>(table: &'t DeTable<'a>, key: &str) -> Option<(Span, &'t DeValue<'a>)> {
    let (name, value) = table.iter().find(|(name, _)| *name.get_ref() == key)?;
    Some((name.span(), value.get_ref()))
}

/// A part of a key as it would be written: in quotes if it must be.
pub fn part_of_key(name: &str) -> String {
    let bare = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if !name.is_empty() && name.chars().all(bare) { name.to_owned() } else { format!("{name:?}") }
}

fn key_within(value: &Spanned<DeValue<'_>>, span: &Span) -> Option<String> {
    match value.get_ref() {
        DeValue::Table(table) => key_at(table, span),
        DeValue::Array(values) => values.iter().find_map(|value| key_within(value, span)),
        _ => None,
    }
}

fn element_at(value: &Spanned<DeValue<'_>>, span: &Span) -> bool {
    match value.get_ref() {
        DeValue::Array(values) => values.iter().any(|value| value.span() == *span || element_at(value, span)),
        _ => false,
    }
}

/// Line and column, from 1; columns count characters.
fn position(text: &str, offset: usize) -> (usize, usize) {
    let before = text.get(..offset).unwrap_or(text);
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    (before.matches('\n').count() + 1, before[line_start..].chars().count() + 1)
}

/// What serde says in Rust's words, in TOML's.
fn in_users_words(message: &str) -> String {
    const WORDS: [(&str, &str); 10] = [
        ("unknown field", "unknown key"),
        ("unknown variant", "unknown value"),
        ("missing field", "missing key"),
        ("invalid type: map", "invalid type: table"),
        ("invalid type: sequence", "invalid type: array"),
        ("expected a map", "expected a table"),
        ("expected a sequence", "expected an array"),
        ("expected a nonzero u16", "expected a number from 1 to 65535"),
        ("expected a nonzero u32", "expected a number from 1 to 4294967295"),
        ("expected a nonzero u64", "expected a number from 1 on"),
    ];
    WORDS.iter().fold(message.to_owned(), |text, (theirs, ours)| text.replace(theirs, ours))
}
