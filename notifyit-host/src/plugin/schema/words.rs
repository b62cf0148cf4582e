//! A schema and a value in the words of an error.

use serde_json::{Map, Value};

use super::list;

/// A longer text is cut in an error.
const LONGEST: usize = 60;

/// The schema itself, or what it refers to.
pub fn resolved<'a>(root: &'a Value, schema: &'a Map<String, Value>) -> Option<&'a Map<String, Value>> {
    // One that refers to itself says nothing.
    let mut schema = schema;
    for _ in 0..8 {
        if !schema.contains_key("$ref") {
            return Some(schema);
        }
        schema = referred(root, schema)?.as_object()?;
    }
    None
}

/// What the schema refers to: `#/$defs/NAME`, as schemars writes it.
pub(super) fn referred<'a>(root: &'a Value, schema: &Map<String, Value>) -> Option<&'a Value> {
    let reference = schema.get("$ref")?.as_str()?;
    root.pointer(reference.strip_prefix('#')?)
}

/// The one choice beside nothing.
pub(super) fn optional(choices: &[Value]) -> Option<&Value> {
    let is_null = |choice: &Value| choice.get("type").is_some_and(|name| name == "null");
    match choices {
        [one, null] | [null, one] if is_null(null) && !is_null(one) => Some(one),
        _ => None,
    }
}

/// What is expected, in words.
pub fn expected(root: &Value, schema: &Map<String, Value>) -> String {
    let Some(schema) = resolved(root, schema) else { return "something else".to_owned() };
    if let choices @ [_, ..] = list(schema, "enum") {
        return either(choices.iter().map(quoted).collect());
    }
    if let Some(only) = schema.get("const") {
        return quoted(only);
    }
    for choices in ["anyOf", "oneOf"].map(|key| list(schema, key)) {
        if !choices.is_empty() {
            return choice(root, choices);
        }
    }
    let names = match schema.get("type") {
        Some(Value::Array(names)) => names.iter().filter_map(Value::as_str).collect(),
        Some(Value::String(name)) => vec![name.as_str()],
        _ => Vec::new(),
    };
    let names = names.into_iter().filter(|name| *name != "null" || schema["type"].is_string());
    let names: Vec<String> = names.map(|name| of_type(root, schema, name)).collect();
    if names.is_empty() { "anything".to_owned() } else { either(names) }
}

/// One of several.
pub(super) fn choice(root: &Value, choices: &[Value]) -> String {
    if let Some((key, _)) = tag(root, choices) {
        return format!("a table with `{key}`");
    }
    let is_null = |choice: &&Value| choice.get("type").is_some_and(|name| name == "null");
    let choices = choices.iter().filter(|choice| !is_null(choice)).filter_map(Value::as_object);
    let mut words: Vec<String> = choices.map(|choice| expected(root, choice)).collect();
    words.dedup();
    either(words)
}

/// The key by whose value all choices differ, and these values in words.
pub(super) fn tag<'a>(root: &'a Value, choices: &'a [Value]) -> Option<(&'a str, String)> {
    let tag_of = |choice: &'a Value| {
        let properties = resolved(root, choice.as_object()?)?.get("properties")?.as_object()?;
        properties.iter().find_map(|(key, property)| Some((key.as_str(), property.get("const")?)))
    };
    let tags: Vec<(&str, &Value)> = choices.iter().map(tag_of).collect::<Option<_>>()?;
    let (key, _) = tags.first()?;
    let is_shared = tags.iter().all(|(other, _)| other == key);
    is_shared.then(|| (*key, either(tags.iter().map(|(_, tag)| quoted(tag)).collect())))
}

fn of_type(root: &Value, schema: &Map<String, Value>, name: &str) -> String {
    match name {
        "integer" => match range(schema) {
            (Some(least), Some(most)) => format!("an integer from {least} to {most}"),
            (Some(least), None) => format!("an integer from {least} on"),
            (None, Some(most)) => format!("an integer up to {most}"),
            (None, None) => "an integer".to_owned(),
        },
        "string" => "a string".to_owned(),
        "number" => "a number".to_owned(),
        "boolean" => "a boolean".to_owned(),
        "array" => {
            let items = schema.get("items").and_then(Value::as_object);
            match items.map(|items| expected(root, items)).as_deref() {
                Some(each @ ("a string" | "a number" | "a boolean" | "a table" | "an array")) => {
                    format!("an array of {}s", each.split_once(' ').map_or(each, |(_, noun)| noun))
                }
                Some(each) => format!("an array, each {each}"),
                None => "an array".to_owned(),
            }
        }
        "object" => match list(schema, "required") {
            [only]
                if schema.get("properties").and_then(Value::as_object).is_some_and(|all| all.len() == 1) =>
            {
                format!("a table with {}", quoted(only))
            }
            _ => "a table".to_owned(),
        },
        "null" => "nothing".to_owned(),
        other => other.to_owned(),
    }
}

/// The least and the most of an integer. The ends of 64 bits go without saying.
pub(super) fn range(schema: &Map<String, Value>) -> (Option<i128>, Option<i128>) {
    let bound = |key: &str| schema.get(key).and_then(Value::as_number).and_then(serde_json::Number::as_i128);
    let (least, most) = match schema.get("format").and_then(Value::as_str) {
        Some("int8") => (Some(i8::MIN.into()), Some(i8::MAX.into())),
        Some("int16") => (Some(i16::MIN.into()), Some(i16::MAX.into())),
        Some("int32") => (Some(i32::MIN.into()), Some(i32::MAX.into())),
        Some("uint8") => (Some(0), Some(u8::MAX.into())),
        Some("uint16") => (Some(0), Some(u16::MAX.into())),
        Some("uint32") => (Some(0), Some(u32::MAX.into())),
        Some("uint" | "uint64" | "uint128") => (Some(0), None),
        _ => (None, None),
    };
    (bound("minimum").or(least), bound("maximum").or(most))
}

/// A value in words.
pub(super) fn found(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() > LONGEST => {
            let start: String = text.chars().take(LONGEST).collect();
            format!("the string {start:?}…")
        }
        Value::String(text) => format!("the string {text:?}"),
        Value::Number(number) if number.is_f64() => format!("the number {number}"),
        Value::Number(number) => format!("the integer {number}"),
        Value::Bool(value) => format!("the boolean {value}"),
        Value::Array(_) => "an array".to_owned(),
        Value::Object(_) => "a table".to_owned(),
        Value::Null => "nothing".to_owned(),
    }
}

/// Known keys.
pub(super) fn known<'a>(keys: impl Iterator<Item = &'a String>) -> String {
    let keys: Vec<String> = keys.map(|key| format!("`{key}`")).collect();
    match keys.as_slice() {
        [] => "none".to_owned(),
        [only] => only.clone(),
        keys => format!("one of {}", keys.join(", ")),
    }
}

fn quoted(value: &Value) -> String {
    value.as_str().map_or_else(|| format!("`{value}`"), |text| format!("`{text}`"))
}

fn either(words: Vec<String>) -> String {
    match words.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} or {last}", first.join(", ")),
    }
}
