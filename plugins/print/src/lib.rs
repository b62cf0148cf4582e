//! Prints the path of each file that was closed after writing: to standard output, which the host leaves to its
//! plugins.
//!
//! An event costs a few bytes in a buffer; the buffer is written when it is full and at the end of each burst. So a
//! reader sees a single event at once, and a flood costs few writes.
#![forbid(unsafe_code)]

mod format;
mod output;

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;

use notifyit_plugin_api::{Context, Event, Host, Kind, Plugin, Result, config, export_plugin};

use format::Form;
use output::{Failure, Output};

/// Written out when this full: the longest path still fits into the 64 KiB behind it.
const FULL: usize = ROOM - 4 * 1024;
const ROOM: usize = 64 * 1024;

/// So many events of failed bursts are remembered; if more fail, lines are written twice rather than memory grow.
const REMEMBERED: usize = 64 * 1024;

#[config]
struct Config {
    #[serde(default)]
    format: Format,
}

/// How an event is written.
#[config]
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Format {
    /// The path and a newline.
    #[default]
    Text,
    /// The event as a line of JSON.
    Json,
    /// The path and a NUL.
    Nul,
}

struct Print {
    printer: Printer,
}

impl Plugin for Print {
    type Config = Config;
    const EVENTS: &'static [Kind] = &[Kind::CloseWrite];
    const MAX_WORKERS: u16 = 1;
    const READS_ONLY: bool = true;

    fn new(config: Config, host: Host) -> Result<Self> {
        let output = Output::stdout()?;
        let form = Form::new(config.format, output.is_terminal());
        Ok(Print { printer: Printer::new(output, form, host) })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        self.printer.print(event);
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        self.printer.flush()
    }
}

export_plugin!(Print);

/// A buffer before an output, and what is known of the burst in it.
struct Printer<W = File> {
    output: Output<W>,
    form: Form,
    host: Host,
    buffer: Vec<u8>,
    /// The bytes of this burst that have left the buffer.
    out: usize,
    /// The events of this burst: id, and where in the burst's bytes its own end.
    burst: Vec<(u64, usize)>,
    /// What went wrong in this burst. The host delivers all of it again, so the rest of it is not written.
    failed: Option<io::Error>,
    /// Events of failed bursts that were written nevertheless: a retry of these prints nothing.
    written: HashSet<u64>,
    /// Those of them that are retried in this burst.
    skipped: Vec<u64>,
    /// Nobody reads any more, and the host knows.
    closed: bool,
}

impl<W: Write + AsFd> Printer<W> {
    fn new(output: Output<W>, form: Form, host: Host) -> Self {
        Printer {
            output,
            form,
            host,
            buffer: Vec::with_capacity(ROOM),
            out: 0,
            burst: Vec::new(),
            failed: None,
            written: HashSet::new(),
            skipped: Vec::new(),
            closed: false,
        }
    }

    fn print(&mut self, event: &Event<'_>) {
        if self.closed || self.failed.is_some() {
            return;
        }
        if !self.written.is_empty() && self.is_written(event) {
            return;
        }
        self.form.append(event, &mut self.buffer);
        self.burst.push((event.id(), self.out + self.buffer.len()));
        if self.buffer.len() >= FULL {
            self.write_out();
        }
    }

    /// A first attempt is another close of the same version, and that one is printed.
    fn is_written(&mut self, event: &Event<'_>) -> bool {
        if event.attempt() == 1 {
            self.written.remove(&event.id());
            return false;
        }
        let is = self.written.contains(&event.id());
        if is {
            self.skipped.push(event.id());
        }
        is
    }

    fn flush(&mut self) -> Result<()> {
        if self.failed.is_none() {
            self.write_out();
        }
        self.burst.clear();
        self.out = 0;
        let skipped = std::mem::take(&mut self.skipped);
        match self.failed.take() {
            Some(error) => Err(error).context("failed to write to standard output"),
            None => {
                skipped.iter().for_each(|id| _ = self.written.remove(id));
                Ok(())
            }
        }
    }

    fn write_out(&mut self) {
        match self.output.write_all(&self.buffer) {
            Ok(()) => self.out += self.buffer.len(),
            Err(Failure { error, .. }) if error.kind() == io::ErrorKind::BrokenPipe => self.close(),
            Err(Failure { written, error }) => self.fail(written, error),
        }
        self.buffer.clear();
    }

    fn close(&mut self) {
        self.closed = true;
        self.host.stop("nobody reads standard output any more");
    }

    /// Notes what the output took before it failed, so that the burst, which comes again, is neither torn nor doubled:
    /// the rest of a line that was begun goes first next time, and what was written counts as written.
    fn fail(&mut self, written: usize, error: io::Error) {
        let reached = self.out + written;
        let whole = self.burst.partition_point(|(_, end)| *end <= reached);
        let begins = if whole == 0 { 0 } else { self.burst[whole - 1].1 };
        let mut taken = whole;
        if let Some((_, end)) = self.burst.get(whole).filter(|_| begins < reached) {
            self.output.owe(&self.buffer[written..end - self.out]);
            taken += 1;
        }
        if self.written.len() > REMEMBERED {
            self.written.clear();
        }
        self.written.extend(self.burst[..taken].iter().map(|(id, _)| id));
        self.failed = Some(error);
    }
}

#[cfg(test)]
mod tests;
