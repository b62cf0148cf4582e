//! What a configuration may be, as a JSON schema: what `#[config]` makes beside the reading.
//!
//! It allows whatever serde takes, and may allow more. Three keys are not JSON schema's own:
//!
//! | key | of | says |
//! |---|---|---|
//! | `x-open` | a type | serde reads ahead in it: unknown keys in it pass, at any depth |
//! | `x-any` | a type | it takes more than the schema says |
//! | `x-aliases` | a key | other names for it |

use std::fmt;
use std::marker::PhantomData;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::de::{DeserializeOwned, Deserializer, Error, Visitor};
use serde_json::Value;

/// Says within this module that a key may be left out.
const OPTIONAL: &str = "x-optional";
/// Says within this module that nothing is known of a key, not even in which form its default would be written.
const ANYTHING: &str = "x-anything";

/// The schema of a configuration.
pub fn of<T: JsonSchema>() -> Value {
    let generator = SchemaSettings::draft2020_12().into_generator();
    let mut schema = generator.into_root_schema_for::<T>().to_value();
    relieve(&mut schema);
    schema
}

/// Takes what may be left out from what is required.
fn relieve(schema: &mut Value) {
    match schema {
        Value::Object(schema) => {
            let properties = schema.get_mut("properties").and_then(Value::as_object_mut);
            let mut optional = Vec::new();
            for (key, property) in properties.into_iter().flatten() {
                let Some(property) = property.as_object_mut() else { continue };
                if property.remove(OPTIONAL).is_some() {
                    optional.push(key.clone());
                }
                if property.remove(ANYTHING).is_some() {
                    property.remove("default");
                }
            }
            if let Some(Value::Array(required)) = schema.get_mut("required") {
                required.retain(|key| !optional.iter().any(|optional| key == optional));
            }
            schema.values_mut().for_each(relieve);
        }
        Value::Array(schemas) => schemas.iter_mut().for_each(relieve),
        _ => {}
    }
}

/// Of what nothing is known.
pub fn anything(_: &mut SchemaGenerator) -> Schema {
    schemars::json_schema!({ ANYTHING: true })
}

/// Makes the schema of a field of this type, if it has one: its own functions come before those of [`Anything`].
#[derive(Debug)]
pub struct Of<T>(PhantomData<T>);

impl<T: JsonSchema + DeserializeOwned> Of<T> {
    /// The schema of a field.
    pub fn field(generator: &mut SchemaGenerator) -> Schema {
        optional::<T>(generator.subschema_for::<T>())
    }

    /// The schema of a field that is flattened.
    pub fn flattened(generator: &mut SchemaGenerator) -> Schema {
        if may_be_missing::<T>() { Schema::default() } else { T::json_schema(generator) }
    }
}

/// The schema of a field whose type has none.
pub trait Anything {
    /// The schema of a field.
    fn field(generator: &mut SchemaGenerator) -> Schema;

    /// The schema of a field that is flattened.
    fn flattened(_: &mut SchemaGenerator) -> Schema {
        Schema::default()
    }
}

impl<T: DeserializeOwned> Anything for Of<T> {
    fn field(generator: &mut SchemaGenerator) -> Schema {
        optional::<T>(anything(generator))
    }
}

fn optional<T: DeserializeOwned>(mut schema: Schema) -> Schema {
    if may_be_missing::<T>() {
        schema.insert(OPTIONAL.to_owned(), true.into());
    }
    schema
}

/// As serde asks it: what takes nothing for a value may be left out.
fn may_be_missing<T: DeserializeOwned>() -> bool {
    struct Missing;

    impl<'de> Deserializer<'de> for Missing {
        type Error = Absent;

        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Absent> {
            Err(Absent)
        }

        fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Absent> {
            visitor.visit_none()
        }

        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
            newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
        }
    }
    T::deserialize(Missing).is_ok()
}

#[derive(Debug)]
struct Absent;

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it is not there")
    }
}

impl std::error::Error for Absent {}

impl Error for Absent {
    fn custom<T: fmt::Display>(_: T) -> Absent {
        Absent
    }
}

#[cfg(test)]
mod tests {
    #![expect(dead_code, reason = "only the schemas are tested")]

    use std::collections::BTreeMap;
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::Config;

    fn shown<T: Config>() -> Value {
        T::schema().unwrap()
    }

    /// What a plugin does with a file.
    #[crate::config]
    struct Whole {
        /// Larger files are rejected.
        ///
        /// In bytes.
        max_bytes: Option<u64>,
        r#in: Vec<String>,
        #[serde(default = "three", rename = "tries", alias = "attempts")]
        times: u8,
        #[serde(default)]
        mode: Mode,
        part: BTreeMap<String, Part>,
    }

    fn three() -> u8 {
        3
    }

    #[crate::config]
    #[derive(Default)]
    #[serde(rename_all = "kebab-case")]
    enum Mode {
        #[default]
        FirstOne,
        Other(u8),
    }

    #[crate::config]
    struct Part {
        name: String,
    }

    #[test]
    fn it_says_what_the_struct_says() {
        let expected = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Whole",
            "description": "What a plugin does with a file.",
            "type": "object",
            "additionalProperties": false,
            "required": ["in", "part"],
            "properties": {
                "max_bytes": {
                    "description": "Larger files are rejected.\n\nIn bytes.",
                    "type": ["integer", "null"], "format": "uint64", "minimum": 0,
                },
                "in": { "type": "array", "items": { "type": "string" } },
                "tries": {
                    "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255, "default": 3,
                    "x-aliases": ["attempts"],
                },
                "mode": { "$ref": "#/$defs/Mode" },
                "part": { "type": "object", "additionalProperties": { "$ref": "#/$defs/Part" } },
            },
            "$defs": {
                "Mode": { "oneOf": [
                    { "type": "string", "enum": ["first-one"] },
                    {
                        "type": "object", "additionalProperties": false, "required": ["other"],
                        "properties": { "other": { "type": "integer", "format": "uint8", "minimum": 0, "maximum": 255 } },
                    },
                ] },
                "Part": {
                    "type": "object", "additionalProperties": false, "required": ["name"],
                    "properties": { "name": { "type": "string" } },
                },
            },
        });
        assert_eq!(shown::<Whole>(), expected);
        assert_eq!(shown::<()>(), json!({ "type": "object", "additionalProperties": false }));
    }

    /// Serde reads it, and nothing else is known.
    #[derive(serde::Deserialize)]
    struct Plain {}

    #[derive(serde::Deserialize)]
    #[serde(try_from = "Option<u8>")]
    struct Maybe;

    impl TryFrom<Option<u8>> for Maybe {
        type Error = String;

        fn try_from(_: Option<u8>) -> std::result::Result<Maybe, String> {
            Ok(Maybe)
        }
    }

    fn seconds<'de, D: Deserializer<'de>>(text: D) -> std::result::Result<Duration, D::Error> {
        serde::Deserialize::deserialize(text).map(Duration::from_secs)
    }

    #[crate::config]
    struct Foreign {
        plain: Plain,
        maybe_plain: Option<Plain>,
        maybe: Maybe,
        #[serde(deserialize_with = "seconds")]
        pause: Duration,
        #[serde(default, deserialize_with = "seconds")]
        other: Duration,
    }

    #[test]
    fn what_has_no_schema_may_be_anything_and_what_may_be_missing_is_asked_of_serde() {
        let schema = shown::<Foreign>();
        let properties = schema["properties"].as_object().unwrap();
        assert_eq!(
            properties.keys().collect::<Vec<_>>(),
            ["maybe", "maybe_plain", "other", "pause", "plain"]
        );
        assert!(properties.values().all(|property| *property == json!({})), "{properties:?}");
        assert_eq!(schema["required"], json!(["plain", "pause"]));
        assert!(Foreign::from_json(r#"{"plain": {}, "pause": 3}"#).is_ok());
    }

    #[crate::config]
    #[serde(tag = "kind")]
    enum Tagged {
        One { part: Part },
    }

    #[crate::config]
    enum Lenient {
        One,
        #[serde(other)]
        Other,
    }

    #[crate::config]
    struct Open {
        #[serde(flatten)]
        part: Part,
        #[serde(flatten)]
        rest: BTreeMap<String, u8>,
    }

    #[test]
    fn where_serde_reads_ahead_it_is_open() {
        assert_eq!(shown::<Tagged>()["x-open"], true);
        assert_eq!(shown::<Lenient>()["x-any"], true);
        let open = shown::<Open>();
        assert_eq!(open["x-open"], true);
        assert_eq!(open["properties"], json!({ "name": { "type": "string" } }));
        assert!(Open::from_json(r#"{"name": "x", "more": 3}"#).is_ok());
    }
}
