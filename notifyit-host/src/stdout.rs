//! What commands write to stdout: a text, or a list in columns.

use std::fmt::Write as _;
use std::io::{self, ErrorKind, Write};

use anyhow::{Context, Result};

/// What is wider than this is no reason to pad the others.
const WIDEST: usize = 60;

/// Writes a text. A reader that has gone has read enough.
///
/// # Errors
///
/// It cannot be written: a full disk.
pub fn print(text: &str) -> Result<()> {
    match io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(error).context("failed to write to stdout")
        }
        _ => Ok(()),
    }
}

/// Lines of cells in columns, as far as they are not too wide for that. The first line is the head.
pub fn columns<const N: usize>(lines: &[[String; N]]) -> String {
    let width =
        |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0).min(WIDEST);
    let widths: [usize; N] = std::array::from_fn(|column| if column + 1 == N { 0 } else { width(column) });
    let mut text = String::new();
    for line in lines {
        let cells: Vec<_> = line.iter().zip(widths).map(|(cell, width)| format!("{cell:<width$}")).collect();
        let _ = writeln!(text, "{}", cells.join("  ").trim_end());
    }
    text
}
