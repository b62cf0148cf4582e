//! From the user's table to the author's struct.

use serde::de::DeserializeOwned;

use crate::Result;

/// What can be a plugin's configuration: a struct with [`#[config]`](macro@crate::config), or `()`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a plugin's configuration",
    label = "write `#[config]` above `struct {Self}`, or take `()`"
)]
pub trait Config: Sized {
    /// Reads it from a JSON object. `[before each call of new, on its thread]`
    ///
    /// # Errors
    ///
    /// Unknown, missing and wrong keys, each named.
    fn from_json(json: &str) -> Result<Self>;

    /// What it may be, as a JSON schema, by which the host tells users where they are wrong before
    /// [`Plugin::new`](crate::Plugin::new) is called. Default: none, and `from_json` alone says what is wrong. What it
    /// does not allow never gets to `from_json`. Since 1.2. `[whenever the library is asked what it is, on any thread, also before
    /// the first instance is made and in a process that makes none; a panic stands for none]`
    fn schema() -> Option<serde_json::Value> {
        None
    }
}

impl Config for () {
    fn from_json(json: &str) -> Result<Self> {
        let table: serde_json::Map<String, serde_json::Value> = serde_json::from_str(json)?;
        match table.keys().next() {
            Some(key) => anyhow::bail!("unknown key `{key}`: this plugin takes no configuration"),
            None => Ok(()),
        }
    }

    fn schema() -> Option<serde_json::Value> {
        Some(serde_json::json!({ "type": "object", "additionalProperties": false }))
    }
}

/// What `#[config]` expands to a call of.
#[doc(hidden)]
pub fn read<T: DeserializeOwned>(json: &str) -> Result<T> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut text = serde_json::Deserializer::from_str(json);
    let tracked = serde_path_to_error::Deserializer::new(&mut text, &mut track);
    let result = serde_ignored::deserialize(tracked, |key| unknown.push(key.to_string()));
    match result {
        Err(error) => Err(refused(&track.path().to_string(), &error)),
        Ok(_) if !unknown.is_empty() => anyhow::bail!("unknown key `{}`", unknown.join("`, `")),
        Ok(value) => Ok(value),
    }
}

/// serde_json's message without its line and column: they are of the host's JSON, which the user never wrote.
fn refused(key: &str, error: &serde_json::Error) -> anyhow::Error {
    let text = error.to_string();
    let text = text.rfind(" at line ").map_or(text.as_str(), |at| &text[..at]);
    if key == "." { anyhow::anyhow!("{text}") } else { anyhow::anyhow!("key `{key}`: {text}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its reading is tested")]
    struct Outer {
        max: Option<u64>,
        #[serde(default)]
        inner: Vec<Inner>,
    }

    #[derive(Debug, Deserialize)]
    #[expect(dead_code, reason = "only its reading is tested")]
    struct Inner {
        name: String,
    }

    /// What many plugins share, each with its own part.
    #[crate::config]
    struct Shared<T: Clone, const N: usize = 1>
    where
        T: PartialEq,
    {
        part: T,
        list: Vec<T>,
    }

    fn error(json: &str) -> String {
        format!("{:#}", read::<Outer>(json).unwrap_err())
    }

    #[test]
    fn errors_name_the_key() {
        assert!(read::<Outer>(r#"{"max": 3, "inner": [{"name": "x"}]}"#).is_ok());
        assert_eq!(error(r#"{"max": "x"}"#), "key `max`: invalid type: string \"x\", expected u64");
        assert_eq!(
            error(r#"{"inner": [{"name": "x"}, {"name": 3}]}"#),
            "key `inner[1].name`: invalid type: integer `3`, expected a string"
        );
        assert_eq!(error(r#"{"inner": [{}]}"#), "key `inner[0]`: missing field `name`");
    }

    #[test]
    fn unknown_keys_are_refused_at_any_depth() {
        assert_eq!(error(r#"{"maxx": 3}"#), "unknown key `maxx`");
        assert_eq!(error(r#"{"inner": [{"name": "x", "size": 3}]}"#), "unknown key `inner.0.size`");
    }

    #[test]
    fn a_generic_struct_is_a_configuration_if_its_parts_can_be_read() {
        let json = r#"{"part": 1, "list": [2, 3]}"#;
        let read = <Shared<u8> as Config>::from_json(json).unwrap();
        assert_eq!((read.part, read.list), (1, vec![2, 3]));
        assert!(<Shared<String> as Config>::from_json(json).is_err());
    }

    #[test]
    fn the_unit_takes_an_empty_table_only() {
        assert!(<() as Config>::from_json("{}").is_ok());
        let error = <() as Config>::from_json(r#"{"a": 1}"#).unwrap_err().to_string();
        assert_eq!(error, "unknown key `a`: this plugin takes no configuration");
    }
}
