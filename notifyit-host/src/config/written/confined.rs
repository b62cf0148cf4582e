//! What a plugin in worker processes of its own may not do, as written.

use std::fmt;
use std::num::NonZeroU64;

use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserializer, Error, MapAccess, Visitor};
use toml::Spanned;

use super::{CheckedText, FilePath, TimeOverZero};

/// `limits = { … }`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(in crate::config) struct Limits {
    pub(in crate::config) memory: Option<Size>,
    pub(in crate::config) open_files: Option<NonZeroU64>,
    pub(in crate::config) processes: Option<NonZeroU64>,
    pub(in crate::config) file_size: Option<Size>,
    pub(in crate::config) cpu: Option<TimeOverZero>,
}

/// `sandbox = { … }`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a table")]
pub(in crate::config) struct SandboxTable {
    pub(in crate::config) read: Vec<Spanned<FilePath>>,
    pub(in crate::config) write: Vec<Spanned<FilePath>>,
    pub(in crate::config) network: bool,
    pub(in crate::config) require: bool,
}

/// `sandbox = …`: none, or a table; `true` and `"require"` are short for one.
#[derive(Debug)]
pub(in crate::config) struct Sandbox(pub(in crate::config) Option<SandboxTable>);

impl<'de> Deserialize<'de> for Sandbox {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;
        impl<'de> Visitor<'de> for Any {
            type Value = Sandbox;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("true, false, \"require\" or a table")
            }

            fn visit_bool<E: Error>(self, on: bool) -> Result<Sandbox, E> {
                Ok(Sandbox(on.then(SandboxTable::default)))
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Sandbox, E> {
                match text {
                    "require" => Ok(Sandbox(Some(SandboxTable { require: true, ..SandboxTable::default() }))),
                    _ => Err(E::invalid_value(serde::de::Unexpected::Str(text), &self)),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, table: A) -> Result<Sandbox, A::Error> {
                SandboxTable::deserialize(MapAccessDeserializer::new(table)).map(|table| Sandbox(Some(table)))
            }
        }
        deserializer.deserialize_any(Any)
    }
}

/// A user's name, or its number.
#[derive(Debug, Clone)]
pub(in crate::config) struct User(pub(in crate::config) String);

impl<'de> Deserialize<'de> for User {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = User;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a user's name or number")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<User, E> {
                match text.is_empty() || text.contains([':', '/']) || text.contains(char::is_control) {
                    true => Err(E::custom(format!("{text:?} is no user's name"))),
                    false => Ok(User(text.to_owned())),
                }
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<User, E> {
                // The last number stands for none at all: `setuid(-1)` changes nothing.
                let user = u32::try_from(number).ok().filter(|user| *user != u32::MAX);
                let user = user.ok_or_else(|| E::custom(format!("{number} is no user's number")))?;
                Ok(User(user.to_string()))
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// A size in bytes, at least 1.
#[derive(Debug, Clone, Copy)]
pub(in crate::config) struct Size(pub(in crate::config) u64);

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Either;
        impl Visitor<'_> for Either {
            type Value = Size;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a size such as \"512MiB\", or a number of bytes")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Size, E> {
                size(text).map(Size).ok_or_else(|| {
                    let text = text.escape_debug();
                    E::custom(format!("`{text}` is no size such as 64KiB, 512MiB or 2GiB"))
                })
            }

            fn visit_i64<E: Error>(self, number: i64) -> Result<Size, E> {
                match u64::try_from(number) {
                    Ok(bytes @ 1..) => Ok(Size(bytes)),
                    _ => Err(E::custom(format!("{number} is no size in bytes"))),
                }
            }
        }
        deserializer.deserialize_any(Either)
    }
}

fn size(text: &str) -> Option<u64> {
    const UNITS: [(&str, u64); 3] = [("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)];
    let (number, unit) =
        UNITS.iter().find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim_end(), unit)))?;
    let digits = number.bytes().all(|byte| byte.is_ascii_digit());
    let bytes = number.parse::<u64>().ok().filter(|_| digits)?.checked_mul(*unit)?;
    (bytes > 0).then_some(bytes)
}

checked_text!(
    /// The permissions that new files do not get.
    #[derive(Copy)]
    Umask(u32),
    "an octal text such as \"027\"",
    |text| {
        let digits = !text.is_empty() && text.bytes().all(|byte| matches!(byte, b'0'..=b'7'));
        let umask = u32::from_str_radix(text, 8).ok().filter(|umask| digits && *umask <= 0o777);
        umask.ok_or_else(|| format!("`{}` is no umask such as 027", text.escape_debug()))
    }
);
