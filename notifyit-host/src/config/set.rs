//! The key of a `--set`.

use toml::de::{DeTable, DeValue};

/// The parts of the whole key, and the text of the value.
///
/// # Errors
///
/// What is wrong before the value.
pub(super) fn split(typed: &str) -> Result<(Vec<String>, &str), &'static str> {
    let end = end_of_key(typed).ok_or("there is no `=`")?;
    let key = key(&typed[..end]).ok_or("what stands before `=` is no key")?;
    let key = full_key(key).ok_or("what stands before `=` is too short")?;
    Ok((key, &typed[end + 1..]))
}

/// Where the `=` stands that ends the key, for a part of a key may be quoted.
fn end_of_key(typed: &str) -> Option<usize> {
    let mut quote = None;
    typed.char_indices().find_map(|(at, c)| {
        match (quote, c) {
            (None, '=') => return Some(at),
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if open == c => quote = None,
            _ => {}
        }
        None
    })
}

/// The parts of a dotted key, read as TOML reads one.
fn key(typed: &str) -> Option<Vec<String>> {
    if typed.contains(['\n', '#', '[']) {
        return None;
    }
    let document = format!("{typed} = 0");
    let mut table = DeTable::parse(&document).ok()?.into_inner();
    let mut parts = Vec::new();
    while let Some((part, value)) = table.into_iter().next() {
        parts.push(part.into_inner().into_owned());
        let DeValue::Table(beneath) = value.into_inner() else { break };
        table = beneath;
    }
    Some(parts)
}

/// `exec.KEY` is short for `plugin.exec.config.KEY`.
fn full_key(key: Vec<String>) -> Option<Vec<String>> {
    match key.first()?.as_str() {
        _ if key.len() < 2 => None,
        "host" | "plugin" => Some(key),
        _ => {
            let mut parts = key.into_iter();
            let front = ["plugin".to_owned(), parts.next()?, "config".to_owned()];
            Some(front.into_iter().chain(parts).collect())
        }
    }
}
