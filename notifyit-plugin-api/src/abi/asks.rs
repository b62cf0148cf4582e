//! What a plugin may ask of its host with [`HostApi::ask`](super::HostApi): operations by number, which are never used for
//! anything else. Integers are little-endian. A *pair* is the length of its first part (4 bytes), that part, and the second,
//! which goes to the end.
//!
//! | operation | payload | answer | waits |
//! |---|---|---|---|
//! | [`STORE_OPEN`] | nothing | nothing | for the disk |
//! | [`STORE_GET`] | a key | nothing: it is not there; or a 1 and the value | for the disk |
//! | [`STORE_PUT`] | a pair: key, value | nothing: it is on disk | for the disk |
//! | [`STORE_REMOVE`] | a key | nothing: it is gone from the disk | for the disk |
//! | [`STORE_KEYS`] | a pair: prefix, and the key (or nothing) behind which to begin | some of the keys in their order, each with its length (4 bytes) before it; none: there are no more | for the disk |
//! | [`STOPPING`] | how long to wait for it at most, in nanoseconds (8 bytes) | 1 if the instance is to end, else 0 | that long |
//! | [`ENDS`] | nothing: the instance is about to be dropped, so that [`STOPPING`] is true of it | nothing | no |
//! | [`COUNT`] | 8 bytes that are added, and the name | nothing | no |
//! | [`GAUGE`] | a double (8 bytes), and the name | nothing | no |
//!
//! Statuses: [`DONE`](super::DONE); [`UNKNOWN_OPERATION`](super::UNKNOWN_OPERATION), as an older host says it;
//! [`REJECT`](super::REJECT) if the plugin is mistaken, and else that the host cannot do it now, each with a message as the
//! answer. The figures answer `DONE` always.

/// Is there a store?
pub const STORE_OPEN: u32 = 1;
/// The value of a key.
pub const STORE_GET: u32 = 2;
/// Gives a key a value.
pub const STORE_PUT: u32 = 3;
/// Takes a key away.
pub const STORE_REMOVE: u32 = 4;
/// The keys that begin so.
pub const STORE_KEYS: u32 = 5;
/// Is the instance to end?
pub const STOPPING: u32 = 6;
/// The instance ends: said by [`guard`](super::guard), before it drops the plugin.
pub const ENDS: u32 = 7;
/// Adds to a figure that only grows.
pub const COUNT: u32 = 8;
/// Sets a figure that goes up and down.
pub const GAUGE: u32 = 9;

/// The longest key, in bytes. An empty one is none.
pub const LONGEST_KEY: usize = 512;
/// The largest value, in bytes.
pub const LARGEST_VALUE: usize = 1 << 20;
/// The most that the keys and values of one instance may take, [`OVERHEAD`] included.
pub const LARGEST_STORE: u64 = 64 << 20;
/// What an entry counts beside its key and its value.
pub const OVERHEAD: u64 = 64;
/// The longest name of a figure, in bytes.
pub const LONGEST_NAME: usize = 64;
/// The most figures of an instance.
pub const MOST_METRICS: usize = 64;

/// Two parts as one payload.
pub fn pair(first: &[u8], second: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(4 + first.len() + second.len());
    append(&mut bytes, first);
    bytes.extend_from_slice(second);
    bytes
}

/// Appends a part with its length.
pub fn append(bytes: &mut Vec<u8>, part: &[u8]) {
    let length = u32::try_from(part.len()).unwrap_or(u32::MAX);
    bytes.extend_from_slice(&length.to_le_bytes());
    bytes.extend_from_slice(part);
}

/// A part that has its length before it, and what follows. `None`: that is no such thing.
pub fn split(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk::<4>()?;
    rest.split_at_checked(usize::try_from(u32::from_le_bytes(*length)).ok()?)
}

/// Eight bytes, and what follows as a text.
pub fn split_number(bytes: &[u8]) -> Option<([u8; 8], &str)> {
    let (number, name) = bytes.split_first_chunk::<8>()?;
    Some((*number, std::str::from_utf8(name).ok()?))
}

/// Why this is no key.
///
/// # Errors
///
/// That is what it returns.
pub fn check_key(key: &[u8]) -> Result<(), String> {
    match key.len() {
        0 => Err("a key of the store is empty".to_owned()),
        1..=LONGEST_KEY => Ok(()),
        length => {
            Err(format!("a key of the store has {length} bytes, and at most {LONGEST_KEY} are allowed"))
        }
    }
}

/// Why this is no value.
///
/// # Errors
///
/// That is what it returns.
pub fn check_value(value: &[u8]) -> Result<(), String> {
    let length = value.len();
    if length <= LARGEST_VALUE {
        return Ok(());
    }
    Err(format!("a value of the store has {length} bytes, and at most {LARGEST_VALUE} are allowed"))
}

/// `[a-z_][a-z0-9_]*`, and not too long.
pub fn is_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    name.len() <= LONGEST_NAME
        && bytes.next().is_some_and(|first| first.is_ascii_lowercase() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
}

/// Why a figure is left out, if it is: `operation` is [`COUNT`] or [`GAUGE`], `known` what the name has been used for, `count`
/// how many names there are.
pub fn left_out(name: &str, operation: u32, value: f64, known: Option<u32>, count: usize) -> Option<String> {
    if !is_name(name) {
        return Some(format!(
            "a name is made of a-z, 0-9 and _, begins with no digit, and has {LONGEST_NAME} bytes at most"
        ));
    }
    if !value.is_finite() {
        return Some(format!("{value} is no number that can be shown"));
    }
    match known {
        Some(known) if known == operation => None,
        Some(COUNT) => Some("it is a counter".to_owned()),
        Some(_) => Some("it is a gauge".to_owned()),
        None if count >= MOST_METRICS => Some(format!("an instance has at most {MOST_METRICS}")),
        None => None,
    }
}

/// What a store says that has no room for more.
pub fn full(instance: &str) -> String {
    format!(
        "the store of plugin `{instance}` is full: it may hold {} MiB, {OVERHEAD} bytes counted for each entry; remove what \
         it needs no more",
        LARGEST_STORE >> 20
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_put_together_comes_apart_and_garbage_is_none() {
        assert_eq!(split(&pair(b"key", b"value")), Some((&b"key"[..], &b"value"[..])));
        assert_eq!(split(&pair(b"", b"")), Some((&b""[..], &b""[..])));
        assert_eq!([&b""[..], b"\x01\0\0", b"\x01\0\0\0"].map(|bytes| split(bytes).is_none()), [true; 3]);
        assert_eq!(split_number(b"\x01\0\0\0\0\0\0\0rows"), Some((1_u64.to_le_bytes(), "rows")));
        assert!(split_number(b"\x01\0\0\0\0\0\0").is_none() && split_number(&[0xff; 9]).is_none());
    }

    #[test]
    fn names_are_lower_case_words() {
        for (name, is_one) in [
            ("rows_written", true),
            ("_1", true),
            ("1a", false),
            ("a-b", false),
            ("Rows", false),
            ("", false),
        ] {
            assert_eq!(is_name(name), is_one, "{name}");
        }
        assert!(is_name(&"a".repeat(LONGEST_NAME)) && !is_name(&"a".repeat(LONGEST_NAME + 1)));
    }

    #[test]
    fn a_figure_has_one_kind_and_there_are_not_too_many() {
        let left_out =
            |name: &str, value, known, count| left_out(name, GAUGE, value, known, count).unwrap_or_default();
        assert_eq!(left_out("a", 1.0, Some(GAUGE), MOST_METRICS), "");
        assert_eq!(left_out("a", 1.0, Some(COUNT), 1), "it is a counter");
        assert_eq!(left_out("a", f64::NAN, None, 1), "NaN is no number that can be shown");
        assert_eq!(left_out("a", 1.0, None, MOST_METRICS), "an instance has at most 64");
        assert!(left_out("A", 1.0, None, 0).starts_with("a name is made of a-z"));
    }

    #[test]
    fn keys_and_values_have_limits() {
        assert_eq!(check_key(b"").unwrap_err(), "a key of the store is empty");
        assert!(check_key(&[0; LONGEST_KEY]).is_ok() && check_value(&vec![0; LARGEST_VALUE]).is_ok());
        assert_eq!(
            check_key(&[0; 513]).unwrap_err(),
            "a key of the store has 513 bytes, and at most 512 are allowed"
        );
        assert!(check_value(&vec![0; LARGEST_VALUE + 1]).unwrap_err().contains("1048577 bytes"));
    }
}
