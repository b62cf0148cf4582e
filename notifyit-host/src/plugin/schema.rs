//! What a plugin's configuration may be, by the JSON schema that its library tells, and what of a configuration is not
//! so.
//!
//! The plugin itself has the last word, in its `new`. What it would take is never refused here: what a keyword means
//! that is not known here, and how serde reads beside what the schema says, is given the benefit of the doubt.

use serde_json::{Map, Value};

use crate::config::{Part, Step};

mod words;

pub use words::{expected, resolved};

/// A schema may refer to itself, and a configuration be as deep as it likes.
const DEEPEST: usize = 128;

/// What of a configuration the schema does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The way to it.
    pub path: Vec<Step>,
    /// What of it.
    pub part: Part,
    /// What was found and what is expected.
    pub message: String,
}

/// All that is wrong with a configuration.
pub fn wrong(schema: &Value, config: &Map<String, Value>) -> Vec<Wrong> {
    let mut check = Check { root: schema, path: Vec::new(), is_open: false, depth: 0, wrong: Vec::new() };
    check.value(schema, &Value::Object(config.clone()));
    check.wrong
}

/// One thing at a time is compared with its schema.
struct Check<'a> {
    root: &'a Value,
    path: Vec<Step>,
    /// Serde has read ahead: unknown keys pass from here on down.
    is_open: bool,
    depth: usize,
    wrong: Vec<Wrong>,
}

impl<'a> Check<'a> {
    fn value(&mut self, schema: &'a Value, value: &Value) {
        let Value::Object(schema) = schema else { return };
        if is_true(schema, "x-any") || self.depth > DEEPEST {
            return;
        }
        let was_open = self.is_open;
        self.is_open |= is_true(schema, "x-open");
        self.depth += 1;
        self.keywords(schema, value);
        self.depth -= 1;
        self.is_open = was_open;
    }

    fn keywords(&mut self, schema: &'a Map<String, Value>, value: &Value) {
        if schema.contains_key("$ref")
            && let Some(referred) = words::referred(self.root, schema)
        {
            self.value(referred, value);
        }
        for part in list(schema, "allOf") {
            self.value(part, value);
        }
        for choice in ["anyOf", "oneOf"] {
            if let choices @ [_, ..] = list(schema, choice) {
                self.one_of(choices, value);
            }
        }
        if !self.is_of_type(schema, value) || !self.is_listed(schema, value) || !is_in_range(schema, value) {
            self.unexpected(schema, value);
            return;
        }
        match value {
            Value::Object(table) => self.keys(schema, table),
            Value::Array(values) => {
                if let Some(items) = schema.get("items") {
                    for (index, value) in values.iter().enumerate() {
                        self.step(Step::Index(index), items, value);
                    }
                }
            }
            _ => {}
        }
    }

    fn step(&mut self, step: Step, schema: &'a Value, value: &Value) {
        self.path.push(step);
        self.value(schema, value);
        self.path.pop();
    }

    fn says(&mut self, part: Part, message: String) {
        self.wrong.push(Wrong { path: self.path.clone(), part, message });
    }

    fn unexpected(&mut self, schema: &Map<String, Value>, value: &Value) {
        let expected = expected(self.root, schema);
        self.says(Part::Value, format!("found {}, expected {expected}", words::found(value)));
    }

    /// serde_json takes an array for a struct, and what serde has read ahead an empty table for nothing, and a number for a
    /// tag.
    fn is_of_type(&self, schema: &Map<String, Value>, value: &Value) -> bool {
        let is = |name: &str| match name {
            "string" => {
                let is_tag = schema.contains_key("const") || schema.contains_key("enum");
                value.is_string()
                    || (is_tag && (unit_variant(value).is_some() || (self.is_open && value.is_u64())))
            }
            "integer" => value.is_i64() || value.is_u64(),
            "number" => value.is_number(),
            "boolean" => value.is_boolean(),
            "null" => value.is_null() || (self.is_open && is_empty(value)),
            "array" => value.is_array(),
            "object" => value.is_object() || (value.is_array() && !is_map(schema)),
            _ => true,
        };
        match schema.get("type") {
            Some(Value::String(name)) => is(name),
            Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).any(is),
            _ => true,
        }
    }

    /// A variant without content may be written as `{ variant = … }`, and what serde has read ahead by its number. The
    /// list of a table is what schemars leaves of an enum within a tagged one.
    fn is_listed(&self, schema: &Map<String, Value>, value: &Value) -> bool {
        if schema.get("type").is_some_and(|name| name == "object") {
            return true;
        }
        let is = |listed: &Value| {
            listed == value || (self.is_open && value.is_u64()) || unit_variant(value) == listed.as_str()
        };
        let has_name = |names: &[Value]| names.is_empty() || names.iter().any(is);
        has_name(list(schema, "enum")) && schema.get("const").is_none_or(is)
    }

    fn keys(&mut self, schema: &'a Map<String, Value>, table: &Map<String, Value>) {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object);
        let names = |property: &'a Value| property.get("x-aliases").and_then(Value::as_array);
        let is_of = |name: &str, (key, property): (&String, &'a Value)| {
            key == name || names(property).is_some_and(|names| names.iter().any(|alias| alias == name))
        };
        let property = |name: &str| properties.into_iter().flatten().find(|property| is_of(name, *property));
        for (name, value) in table {
            match (property(name), schema.get("additionalProperties")) {
                (Some((_, property)), _) => self.step(Step::Key(name.clone()), property, value),
                (None, Some(Value::Bool(false)))
                    if !self.is_open && !schema.contains_key("patternProperties") =>
                {
                    self.path.push(Step::Key(name.clone()));
                    let known = words::known(properties.unwrap_or(&none).keys());
                    self.says(Part::Key, format!("unknown key `{}`, expected {known}", name.escape_debug()));
                    self.path.pop();
                }
                (None, Some(others)) => self.step(Step::Key(name.clone()), others, value),
                (None, None) => {}
            }
        }
        for missing in list(schema, "required").iter().filter_map(Value::as_str) {
            let property = properties.and_then(|properties| properties.get_key_value(missing));
            if !table.keys().any(|name| name == missing || property.is_some_and(|p| is_of(name, p))) {
                let expected = property.and_then(|(_, schema)| schema.as_object());
                let expected =
                    expected.map_or("anything".to_owned(), |schema| words::expected(self.root, schema));
                self.says(Part::Key, format!("missing key `{missing}`, expected {expected}"));
            }
        }
    }

    /// One is enough: which of them serde takes it knows best.
    fn one_of(&mut self, choices: &'a [Value], value: &Value) {
        let is_optional = words::optional(choices).is_some();
        let mut attempts = Vec::new();
        for choice in choices {
            let was_open = self.is_open;
            self.is_open |= !is_optional && !is_tagged_outside(choice);
            let before = self.wrong.len();
            self.value(choice, value);
            self.is_open = was_open;
            let wrong = self.wrong.split_off(before);
            if wrong.is_empty() {
                return;
            }
            attempts.push((choice, wrong));
        }
        let meant =
            |choice: &Value| words::optional(choices) == Some(choice) || is_meant(self.root, choice, value);
        match attempts.into_iter().find(|(choice, _)| meant(choice)) {
            Some((_, wrong)) => self.wrong.extend(wrong),
            None => self.none_of(choices, value),
        }
    }

    /// A table without a tag, or with another one, is told of the tag.
    fn none_of(&mut self, choices: &'a [Value], value: &Value) {
        let found = words::found(value);
        match (words::tag(self.root, choices), value) {
            (Some((key, tags)), Value::Object(table)) => match table.get(key) {
                Some(tag) => {
                    self.path.push(Step::Key(key.to_owned()));
                    self.says(Part::Value, format!("found {}, expected {tags}", words::found(tag)));
                    self.path.pop();
                }
                None => self.says(Part::Key, format!("missing key `{key}`, expected {tags}")),
            },
            _ => self
                .says(Part::Value, format!("found {found}, expected {}", words::choice(self.root, choices))),
        }
    }
}

fn list<'a>(schema: &'a Map<String, Value>, key: &str) -> &'a [Value] {
    schema.get(key).and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

fn is_true(schema: &Map<String, Value>, key: &str) -> bool {
    schema.get(key) == Some(&Value::Bool(true))
}

fn is_map(schema: &Map<String, Value>) -> bool {
    !schema.contains_key("properties")
        && !matches!(schema.get("additionalProperties"), None | Some(Value::Bool(false)))
}

fn is_empty(value: &Value) -> bool {
    value.as_object().is_some_and(Map::is_empty) || value.as_array().is_some_and(Vec::is_empty)
}

/// The variant that `{ variant = … }` is, if it is nothing more.
fn unit_variant(value: &Value) -> Option<&str> {
    let mut keys = value.as_object()?.iter();
    match (keys.next(), keys.next()) {
        (Some((name, content)), None) if content.is_null() || is_empty(content) => Some(name),
        _ => None,
    }
}

/// `{ variant = content }`, where serde does not read ahead.
fn is_tagged_outside(choice: &Value) -> bool {
    choice.get("properties").and_then(Value::as_object).is_some_and(|properties| properties.len() == 1)
        && choice.get("additionalProperties") == Some(&Value::Bool(false))
        && choice.get("required").and_then(Value::as_array).is_some_and(|required| required.len() == 1)
}

/// Does the value carry the tag of this choice, within or without?
fn is_meant(root: &Value, choice: &Value, value: &Value) -> bool {
    let Some(choice) = choice.as_object().and_then(|choice| resolved(root, choice)) else { return false };
    let (Some(properties), Some(table)) =
        (choice.get("properties").and_then(Value::as_object), value.as_object())
    else {
        return false;
    };
    let tag = properties.iter().find_map(|(key, property)| Some((key, property.get("const")?)));
    match tag {
        Some((key, tag)) => table.get(key) == Some(tag),
        None => properties.len() == 1 && properties.keys().all(|key| table.contains_key(key)),
    }
}

/// Of numbers alone.
fn is_in_range(schema: &Map<String, Value>, value: &Value) -> bool {
    let Value::Number(number) = value else { return true };
    let (least, most) = words::range(schema);
    match number.as_i128() {
        Some(number) => least.is_none_or(|least| number >= least) && most.is_none_or(|most| number <= most),
        None => true,
    }
}

#[cfg(test)]
mod tests;
