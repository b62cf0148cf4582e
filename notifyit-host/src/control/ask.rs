//! The other end: asks a host.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use super::place::connected;
use super::status::{Status, VERSION};

/// So long a host may take.
const WITHIN: Duration = Duration::from_secs(5);
/// No answer is longer.
const LONGEST: usize = 64 << 20;

/// What a host has said.
#[derive(Debug)]
pub(super) struct Answer {
    /// As it came.
    pub(super) line: String,
    pub(super) status: Status,
}

/// Asks the host at this socket.
///
/// # Errors
///
/// No host is there, or none that answers in time; it speaks another form.
pub(super) fn status(socket: &Path) -> Result<Answer> {
    let line = asked(socket, Instant::now() + WITHIN)?;
    let value: Value = serde_json::from_str(&line)
        .map_err(|_| anyhow!("failed to read the status at {socket:?}: no host of notifyit answers there"))?;
    if value["v"] != VERSION {
        bail!(
            "failed to read the status at {socket:?}: it has the form {}, and this program knows {VERSION}; ask with the \
             host's own program",
            value["v"]
        );
    }
    if let Some(error) = value["error"].as_str() {
        bail!("failed to read the status at {socket:?}: {}", crate::log::one_line(error));
    }
    let status = serde_json::from_value(value);
    Ok(Answer { line, status: status.with_context(|| format!("failed to read the status at {socket:?}"))? })
}

fn asked(socket: &Path, until: Instant) -> Result<String> {
    let remedy = "is it running, and with this --socket, --state-dir or configuration file?";
    let stream = connected(socket, WITHIN)
        .map_err(|error| anyhow!("no host answers at {socket:?} ({error:#}); {remedy}"))?;
    talk(UnixStream::from(stream), until)
        .map_err(|error| anyhow!("the host at {socket:?} does not answer ({error}); its log may say why"))
}

fn talk(mut stream: UnixStream, until: Instant) -> std::io::Result<String> {
    stream.set_write_timeout(Some(WITHIN))?;
    stream.write_all(b"status\n")?;
    let (mut answer, mut buffer) = (Vec::new(), vec![0; 64 << 10]);
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() || answer.len() > LONGEST {
            return Err(ErrorKind::TimedOut.into());
        }
        stream.set_read_timeout(Some(left))?;
        match stream.read(&mut buffer) {
            Ok(0) if answer.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(0) => return String::from_utf8(answer).map_err(|_| ErrorKind::InvalidData.into()),
            Ok(count) => answer.extend(&buffer[..count]),
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
