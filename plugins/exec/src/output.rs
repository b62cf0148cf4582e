//! What a child says, line by line, in bounded memory.

use std::path::Path;

use notifyit_plugin_api::log;

/// A longer line is cut here.
const LONGEST: usize = 8 * 1024;
/// So much of the last line of standard error stands in an error.
const QUOTED: usize = 300;

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    Stdout,
    Stderr,
}

/// Takes the lines.
pub(crate) type OnLine<'a> = dyn FnMut(Source, &str) + 'a;

/// Makes lines of bytes. What is not UTF-8 is replaced.
#[derive(Debug, Default)]
pub(crate) struct Splitter {
    line: Vec<u8>,
    cut: usize,
}

impl Splitter {
    /// Hands on each line that these bytes complete.
    pub(crate) fn push(&mut self, mut bytes: &[u8], on_line: &mut dyn FnMut(&str)) {
        while let Some(end) = bytes.iter().position(|b| *b == b'\n') {
            self.keep(&bytes[..end]);
            self.finish(on_line);
            bytes = &bytes[end + 1..];
        }
        self.keep(bytes);
    }

    /// Hands on the last line, if there is one that no newline ends.
    pub(crate) fn finish(&mut self, on_line: &mut dyn FnMut(&str)) {
        if self.line.last() == Some(&b'\r') && self.cut == 0 {
            self.line.pop();
        }
        if self.cut > 0 {
            let mark = format!(" [cut: {} bytes more]", self.cut);
            self.line.extend_from_slice(mark.as_bytes());
        }
        if !self.line.is_empty() {
            on_line(&String::from_utf8_lossy(&self.line));
        }
        self.line.clear();
        self.cut = 0;
    }

    /// Is a line begun?
    pub(crate) fn is_amid(&self) -> bool {
        !self.line.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) {
        let fits = bytes.len().min(LONGEST - self.line.len());
        self.line.extend_from_slice(&bytes[..fits]);
        self.cut += bytes.len() - fits;
    }
}

/// Logs a child's lines, and keeps the last of its standard error for the verdict.
#[derive(Debug, Default)]
pub(crate) struct Log {
    about: String,
    last: String,
}

impl Log {
    /// Of a child that handles this file alone: each line names it.
    pub(crate) fn about(file: &Path) -> Self {
        Log { about: format!("{file:?}: "), last: String::new() }
    }

    pub(crate) fn line(&mut self, source: Source, line: &str) {
        let about = &self.about;
        match source {
            Source::Stdout => log::info!("{about}{line}"),
            Source::Stderr => {
                log::warn!("{about}{line}");
                self.last.clear();
                self.last.push_str(quoted(line));
            }
        }
    }

    /// An error's text with what the child last said.
    pub(crate) fn explain(&self, text: &str) -> String {
        if self.last.is_empty() { text.to_owned() } else { format!("{text}: {}", self.last) }
    }

    /// What was said belongs to what is over.
    pub(crate) fn forget(&mut self) {
        self.last.clear();
    }
}

/// As much of a line as an error shows.
pub(crate) fn quoted(line: &str) -> &str {
    let end = (0..=QUOTED.min(line.len())).rfind(|end| line.is_char_boundary(*end));
    &line[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(chunks: &[&[u8]]) -> Vec<String> {
        let (mut splitter, mut lines) = (Splitter::default(), Vec::new());
        let mut on_line = |line: &str| lines.push(line.to_owned());
        chunks.iter().for_each(|chunk| splitter.push(chunk, &mut on_line));
        splitter.finish(&mut on_line);
        lines
    }

    #[test]
    fn lines_come_whole_however_they_are_read() {
        assert_eq!(split(&[b"a", b"b\nc\r\n", b"\n\n", b"d"]), ["ab", "c", "d"]);
        assert_eq!(split(&[b"\xff!\n"]), ["\u{fffd}!"]);
    }

    #[test]
    fn a_long_line_is_cut_and_the_next_is_whole() {
        let chunk = [b'x'; 1000];
        let mut chunks: Vec<&[u8]> = vec![&chunk; 10];
        chunks.push(b"\nnext\n");
        let lines = split(&chunks);
        assert_eq!(lines[0], format!("{} [cut: {} bytes more]", "x".repeat(LONGEST), 10_000 - LONGEST));
        assert_eq!(lines[1..], ["next"]);
    }

    #[test]
    fn an_error_quotes_a_bounded_part_of_a_line() {
        assert_eq!(quoted(&"ü".repeat(1000)).len(), QUOTED);
        assert_eq!(quoted("short"), "short");
    }
}
