//! One event, as bytes.

use std::io::Write;
use std::os::unix::ffi::OsStrExt;

use notifyit_plugin_api::Event;

use crate::Format;

/// How events are written to this output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Ended(u8),
    /// A line for a person: nothing in a file's name may command the terminal.
    Shown,
    Json,
    JsonShown,
}

impl Form {
    pub(crate) fn new(format: Format, terminal: bool) -> Self {
        match (format, terminal) {
            (Format::Nul, _) => Form::Ended(0),
            (Format::Text, false) => Form::Ended(b'\n'),
            (Format::Text, true) => Form::Shown,
            (Format::Json, false) => Form::Json,
            (Format::Json, true) => Form::JsonShown,
        }
    }

    pub(crate) fn append(self, event: &Event<'_>, buffer: &mut Vec<u8>) {
        let path = event.path().as_os_str().as_bytes();
        match self {
            Form::Ended(end) => {
                buffer.extend_from_slice(path);
                buffer.push(end);
                return;
            }
            Form::Shown => show(path, buffer),
            Form::Json => buffer.extend_from_slice(event.to_json().as_bytes()),
            Form::JsonShown => show_json(&event.to_json(), buffer),
        }
        buffer.push(b'\n');
    }
}

/// Writes what a terminal would take for a command as `\n`, `\t`, `\r`, `\x1b`, `\u{202e}`, and what is not UTF-8 as
/// `\xff`.
fn show(path: &[u8], buffer: &mut Vec<u8>) {
    for chunk in path.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '\n' => buffer.extend_from_slice(b"\\n"),
                '\r' => buffer.extend_from_slice(b"\\r"),
                '\t' => buffer.extend_from_slice(b"\\t"),
                c if c.is_ascii_control() => append(buffer, format_args!("\\x{:02x}", u32::from(c))),
                c if commands(c) => append(buffer, format_args!("\\u{{{:x}}}", u32::from(c))),
                c => append_char(buffer, c),
            }
        }
        for byte in chunk.invalid() {
            append(buffer, format_args!("\\x{byte:02x}"));
        }
    }
}

/// JSON escapes the ASCII controls but for DEL, and what it means stays the same with the others escaped too.
fn show_json(json: &str, buffer: &mut Vec<u8>) {
    for c in json.chars() {
        if commands(c) {
            append(buffer, format_args!("\\u{:04x}", u32::from(c)));
        } else {
            append_char(buffer, c);
        }
    }
}

/// Control characters, line and paragraph separators, and those that turn the direction of the text around them.
fn commands(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn append(buffer: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    buffer.write_fmt(text).expect("a vector takes every write");
}

fn append_char(buffer: &mut Vec<u8>, c: char) {
    buffer.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(path: &[u8]) -> String {
        let mut buffer = Vec::new();
        show(path, &mut buffer);
        String::from_utf8(buffer).unwrap()
    }

    #[test]
    fn a_terminal_sees_no_command_and_all_that_is_harmless() {
        assert_eq!(shown("/a b/ü\\'\"漢.txt".as_bytes()), "/a b/ü\\'\"漢.txt");
        assert_eq!(shown(b"/\n\r\t\x1b[2J\x7f"), r"/\n\r\t\x1b[2J\x7f");
        assert_eq!(shown("/\u{9b}31m\u{202e}gpj".as_bytes()), r"/\u{9b}31m\u{202e}gpj");
        assert_eq!(shown(b"/\xff\x9b\xc3"), r"/\xff\x9b\xc3");
    }

    #[test]
    fn json_on_a_terminal_means_the_same() {
        let mut buffer = Vec::new();
        show_json("{\"name\":\"\u{9b}\u{7f}ü\"}", &mut buffer);
        assert_eq!(String::from_utf8(buffer).unwrap(), "{\"name\":\"\\u009b\\u007fü\"}");
    }

    #[test]
    fn only_text_and_json_are_changed_for_a_terminal() {
        assert_eq!(Form::new(Format::Nul, true), Form::Ended(0));
        assert_eq!(Form::new(Format::Text, true), Form::Shown);
        assert_eq!(Form::new(Format::Json, true), Form::JsonShown);
        assert_eq!(Form::new(Format::Text, false), Form::Ended(b'\n'));
    }
}
