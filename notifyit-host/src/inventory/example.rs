//! A plugin's configuration as an example, made from its schema: TOML in which what may be left out is a comment.

use std::fmt::Write as _;

use serde_json::{Map, Value};

use crate::config::part_of_key;
use crate::log::one_line;
use crate::plugin::schema::{expected, resolved};

/// Tables in tables in tables: further ones are shown empty.
const DEEPEST: usize = 4;

/// The table `[plugin.NAME.config]`, or nothing if the schema knows no keys.
pub(super) fn example(plugin: &str, schema: &Value) -> String {
    let anything = Map::new();
    let mut page = Page { root: schema, anything: &anything, text: String::new() };
    let header = format!("plugin.{}.config", part_of_key(plugin));
    match schema.as_object().and_then(|table| page.properties(table)) {
        Some(_) => page.table((&header, "[", "]"), schema, "", 0),
        None => return String::new(),
    }
    page.text
}

struct Page<'a> {
    root: &'a Value,
    /// The schema of what may be anything.
    anything: &'a Keys,
    text: String,
}

type Keys = Map<String, Value>;

impl<'a> Page<'a> {
    /// A table with what is said of it. `mark` begins each line of what may be left out.
    fn table(
        &mut self,
        (path, open, close): (&str, &str, &str),
        schema: &'a Value,
        mark: &str,
        depth: usize,
    ) {
        let Some(table) = schema.as_object() else { return };
        self.description(table, mark);
        let _ = writeln!(self.text, "{mark}{open}{path}{close}");
        let Some(properties) = self.properties(table) else { return };
        let required = self.choosable(table).and_then(|table| table.get("required"));
        let is_required = |key: &str| {
            required.and_then(Value::as_array).is_some_and(|keys| keys.iter().any(|required| required == key))
        };
        let (tables, keys): (Vec<_>, Vec<_>) =
            properties.iter().partition(|(_, of)| self.inner(of, depth).is_some());
        for (key, of) in keys {
            self.key(key, of, mark, is_required(key));
        }
        for (key, of) in tables {
            let Some((inner, open, close)) = self.inner(of, depth) else { continue };
            let mark = if is_required(key) { mark } else { "# " };
            self.text.push('\n');
            self.table((&format!("{path}.{}", part_of_key(key)), open, close), inner, mark, depth + 1);
        }
    }

    fn key(&mut self, key: &str, schema: &'a Value, mark: &str, is_required: bool) {
        let schema = schema.as_object().unwrap_or(self.anything);
        self.description(schema, mark);
        self.choices(schema, mark);
        let default = schema.get("default").filter(|default| !default.is_null());
        let value = default.cloned().unwrap_or_else(|| self.sample(schema, 0));
        let (mark, word) = match default {
            _ if is_required => (mark, "required"),
            Some(_) => ("# ", "default"),
            None => ("# ", "optional"),
        };
        let kind = expected(self.root, schema);
        let line = format!("{mark}{} = {}", part_of_key(key), one_line(&toml(&value)));
        let _ = writeln!(self.text, "{line:<32} # {}, {word}", one_line(&kind));
    }

    fn description(&mut self, schema: &Keys, mark: &str) {
        let own = schema.get("description").or_else(|| resolved(self.root, schema)?.get("description"));
        self.comment(own, "", mark);
    }

    /// What each of several values means.
    fn choices(&mut self, schema: &'a Keys, mark: &str) {
        let Some(schema) = self.choosable(schema) else { return };
        for choice in schema.get("oneOf").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = choice.get("const").and_then(Value::as_str) {
                self.comment(choice.get("description"), &format!("- `{name}`: "), mark);
            }
        }
    }

    fn comment(&mut self, text: Option<&Value>, before: &str, mark: &str) {
        let Some(text) = text.and_then(Value::as_str) else { return };
        let mut before = before;
        for line in text.lines() {
            let line = format!("{mark}# {before}{}", one_line(line));
            let _ = writeln!(self.text, "{}", line.trim_end());
            before = "";
        }
    }

    /// The schema of a value that is there.
    fn choosable(&self, schema: &'a Keys) -> Option<&'a Keys> {
        let schema = resolved(self.root, schema)?;
        let choices = schema.get("anyOf").and_then(Value::as_array);
        let is_null = |choice: &&Value| choice.get("type").is_some_and(|name| name == "null");
        match choices.and_then(|choices| choices.iter().find(|choice| !is_null(choice))) {
            Some(choice) => resolved(self.root, choice.as_object()?),
            None => Some(schema),
        }
    }

    fn properties(&self, schema: &'a Keys) -> Option<&'a Keys> {
        let properties = self.choosable(schema)?.get("properties")?.as_object()?;
        (!properties.is_empty()).then_some(properties)
    }

    /// A table, or an array of tables, that is shown by itself.
    fn inner(&self, schema: &'a Value, depth: usize) -> Option<(&'a Value, &'static str, &'static str)> {
        let keys = schema.as_object()?;
        if depth >= DEEPEST {
            return None;
        }
        if self.properties(keys).is_some() {
            return Some((schema, "[", "]"));
        }
        let items = self.choosable(keys)?.get("items")?;
        self.properties(items.as_object()?).map(|_| (items, "[[", "]]"))
    }

    fn sample(&self, schema: &'a Keys, depth: usize) -> Value {
        let Some(schema) = self.choosable(schema) else { return "".into() };
        let first = |key: &str| schema.get(key).and_then(Value::as_array).and_then(|all| all.first());
        if let Some(value) = first("enum").or(schema.get("const")) {
            return value.clone();
        }
        if let Some(choice) = first("oneOf").or(first("anyOf")).and_then(Value::as_object)
            && depth < DEEPEST
        {
            return self.sample(choice, depth + 1);
        }
        let kind = schema.get("type").and_then(|kind| kind.as_str().or_else(|| kind.get(0)?.as_str()));
        match kind {
            Some("integer") => schema.get("minimum").cloned().unwrap_or(0.into()),
            Some("number") => 0.0.into(),
            Some("boolean") => false.into(),
            Some("array") => Value::Array(Vec::new()),
            Some("object") => Value::Object(Map::new()),
            _ => "".into(),
        }
    }
}

/// A value in one line.
fn toml(value: &Value) -> String {
    match value {
        Value::Array(values) => format!("[{}]", values.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(table) if table.is_empty() => "{}".to_owned(),
        Value::Object(table) => {
            let keys = table.iter().filter(|(_, value)| !value.is_null());
            let keys = keys.map(|(key, value)| format!("{} = {}", part_of_key(key), toml(value)));
            format!("{{ {} }}", keys.collect::<Vec<_>>().join(", "))
        }
        Value::Null => "\"\"".to_owned(),
        // JSON's texts, numbers and booleans are TOML's.
        plain => plain.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use notifyit_plugin_api::{Config, config};
    use serde::Serialize;

    /// What it counts.
    #[config]
    #[expect(dead_code, reason = "only its schema is tested")]
    struct Whole {
        /// Larger files are rejected.
        ///
        /// In bytes.
        max_bytes: Option<u64>,
        into: String,
        #[serde(default = "three", rename = "odd key")]
        tries: u8,
        /// How it counts.
        #[serde(default)]
        mode: Mode,
        part: Part,
        others: Option<Vec<Part>>,
    }

    fn three() -> u8 {
        3
    }

    /// A mode.
    #[config]
    #[derive(Default, Serialize)]
    #[serde(rename_all = "lowercase")]
    enum Mode {
        /// Line by line.
        #[default]
        Lines,
        /// Byte by byte.
        Bytes,
    }

    /// A part.
    #[config]
    #[expect(dead_code, reason = "only its schema is tested")]
    struct Part {
        /// Its name.
        name: String,
    }

    #[config]
    #[expect(dead_code, reason = "only its schema is tested")]
    struct Chain {
        next: Option<Box<Chain>>,
    }

    const EXPECTED: &str = r##"# What it counts.
[plugin.lines.config]
into = ""                        # a string, required
# Larger files are rejected.
#
# In bytes.
# max_bytes = 0                  # an integer from 0 on, optional
# How it counts.
# - `lines`: Line by line.
# - `bytes`: Byte by byte.
# mode = "lines"                 # `lines` or `bytes`, default
# "odd key" = 3                  # an integer from 0 to 255, default

# # A part.
# [[plugin.lines.config.others]]
# # Its name.
# name = ""                      # a string, required

# A part.
[plugin.lines.config.part]
# Its name.
name = ""                        # a string, required
"##;

    #[test]
    fn an_example_has_every_key_with_what_is_known_of_it() {
        let text = example("lines", &Whole::schema().unwrap());
        assert_eq!(text, EXPECTED);
        let table: toml::Table = toml::from_str(&text).unwrap();
        let config = &table["plugin"]["lines"]["config"];
        let json = serde_json::to_string(config).unwrap();
        Whole::from_json(&json).unwrap_or_else(|e| panic!("{e}: {text}"));
        // What may be left out may be taken, too.
        let all = text.lines().filter(|line| line.contains(" = ") || line.contains('['));
        let all: String = all.map(|line| format!("{}\n", line.trim_start_matches("# "))).collect();
        let table: toml::Table = toml::from_str(&all).unwrap_or_else(|e| panic!("{e}: {all}"));
        let config = &table["plugin"]["lines"]["config"];
        Whole::from_json(&serde_json::to_string(config).unwrap()).unwrap_or_else(|e| panic!("{e}: {all}"));
    }

    #[test]
    fn what_has_no_keys_has_no_example() {
        assert_eq!(example("lines", &<()>::schema().unwrap()), "");
        assert_eq!(example("lines", &Value::Null), "");
    }

    #[test]
    fn what_holds_itself_has_an_example_that_ends() {
        let text = example("x", &Chain::schema().unwrap());
        assert_eq!(text.lines().last(), Some("# next = {}                      # a table, optional"));
    }
}
