//! A plugin's own table, `[plugin.NAME.config]`: what the plugin reads, and where each part of it was written, so that
//! what is wrong with it can be said when the plugin's schema is known.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use anyhow::Error;
use serde_json::{Map, Value};

use super::layers::part_of_key;
use super::{ConfigError, UsageError};
use crate::log::one_line;

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Table {
    /// What was written.
    pub values: Map<String, Value>,
    spots: Spots,
}

/// A step on the way to a part of a table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Step {
    /// To the value of a key.
    Key(String),
    /// To an element of an array.
    Index(usize),
}

/// What of a part is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// That it is there.
    Key,
    /// What it is.
    Value,
}

/// Where each part was written: its key, and its value.
pub(super) type Spots = BTreeMap<Vec<Step>, (Spot, Spot)>;

/// A place that an error can name.
#[derive(Debug, Clone)]
pub(super) enum Spot {
    /// File, line and column.
    File(String),
    /// What was typed.
    Typed(String),
}

impl Spot {
    pub(super) fn error(&self, message: &str) -> Error {
        match self {
            Spot::File(place) => ConfigError(format!("{place}: {message}")).into(),
            Spot::Typed(label) if label.is_empty() => UsageError(message.to_owned()).into(),
            Spot::Typed(label) => UsageError(format!("{label}: {message}")).into(),
        }
    }
}

impl Table {
    pub(super) fn new(values: Map<String, Value>, spots: Spots) -> Table {
        Table { values, spots }
    }

    /// An error about a part of the table of this plugin: it names the place and the key.
    pub fn error(&self, plugin: &str, path: &[Step], part: Part, message: &str) -> Error {
        let mut key = format!("plugin.{}.config", part_of_key(plugin));
        for step in path {
            let _ = match step {
                Step::Key(name) => write!(key, ".{}", part_of_key(name)),
                Step::Index(index) => write!(key, "[{index}]"),
            };
        }
        let message = one_line(&format!("{key}: {message}")).into_owned();
        match (self.spots.get(path), part) {
            (Some((spot, _)), Part::Key) | (Some((_, spot)), Part::Value) => spot.error(&message),
            // Nothing was written of this plugin.
            (None, _) => ConfigError(message).into(),
        }
    }
}
