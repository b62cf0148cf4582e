//! What goes between the host and a plugin's process: frames, each a length and a body. Both ends are the same program.
//!
//! An event and an answer are what they are on the wire of the ABI, byte for byte. Whatever comes out of the process is
//! checked as if an enemy had written it, for a broken plugin may write anywhere.

use std::io::{self, Read};

use notifyit_plugin_api::abi::{Bytes, CallResult, EventRaw, Text};
use serde::{Deserialize, Serialize};

use crate::config::Confinement;
use crate::plugin::CreateError;

/// Of the first frame. Another one cannot come but by a mistake.
pub(super) const VERSION: u32 = 2;
/// A longer frame is garbage. 256 answers with messages of [`LONGEST`] fit.
const LONGEST_FRAME: usize = 64 * 1024 * 1024;
/// Messages are cut to this many bytes, and so are records.
pub(super) const LONGEST: usize = 192 * 1024;

/// The first frame of the host, as JSON. With it come descriptors: see [`DESCRIPTORS`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) v: u32,
    /// The host's process id.
    pub(super) host: u32,
    /// The instance's name.
    pub(super) name: String,
    /// Its configuration, a JSON object.
    pub(super) config: String,
    /// The least severe level that is logged: 1 error … 5 trace.
    pub(super) level: u32,
    /// What the process may not do.
    pub(super) confinement: Confinement,
    /// The watched directories.
    pub(super) roots: Vec<Vec<u8>>,
    /// How many events the plugin gets in one call. `None`: it takes one after the other.
    pub(super) in_flight: Option<u16>,
}

/// The records' way to the host; the file that says which event is in hand; the plugin; the way of what it asks; what
/// tells it to end; the file of its figures.
pub(super) const DESCRIPTORS: usize = 6;

/// What the host asks for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) enum Asked {
    /// So many [`WireEvent`]s follow in this frame.
    Events(u32),
    Flush,
    Shutdown,
}

/// What the process says.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Said {
    /// There is an instance, or why there is none.
    Made(Result<(), CreateError>),
    /// So many [`WireResult`]s follow in this frame, for the first of the events. The others have not been begun, and are
    /// not going to be. For a flush or a shutdown it is one.
    Answers(u32),
}

/// What the process says at any time, on a way of its own.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Aside<'a> {
    Record {
        level: u32,
        message: &'a str,
    },
    Stop {
        reason: &'a str,
    },
    /// The verdict on the event with this ticket, which came later.
    Completed {
        ticket: u64,
        #[serde(borrow)]
        result: WireResult<'a>,
    },
}

/// What the plugin asks of the host, on a way of its own: see [`asks`](notifyit_plugin_api::abi::asks). The answer is a
/// frame, too.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Ask<'a> {
    pub(super) operation: u32,
    #[serde(with = "serde_bytes")]
    pub(super) payload: &'a [u8],
}

/// The host's answer to an [`Ask`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Answered<'a> {
    pub(super) status: u32,
    #[serde(with = "serde_bytes")]
    pub(super) payload: &'a [u8],
}

/// [`EventRaw`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireEvent<'a> {
    id: u64,
    kind: u32,
    origin: u32,
    attempt: u32,
    flags: u32,
    watch: &'a str,
    #[serde(with = "serde_bytes")]
    root: &'a [u8],
    #[serde(with = "serde_bytes")]
    path: &'a [u8],
    relative_from: u64,
    #[serde(with = "serde_bytes")]
    renamed_from: &'a [u8],
    device: u64,
    inode: u64,
    size: u64,
    mode: u32,
    mtime_nanos: u32,
    mtime_seconds: i64,
    seen_nanos: u64,
    timeout_nanos: u64,
    spare: [u64; 8],
    #[serde(with = "serde_bytes")]
    extra: &'a [u8],
}

impl<'a> WireEvent<'a> {
    pub(super) fn of(raw: &EventRaw<'a>) -> WireEvent<'a> {
        let EventRaw { id, kind, origin, attempt, flags, relative_from, device, inode, size, .. } = *raw;
        let EventRaw { mode, mtime_nanos, mtime_seconds, seen_nanos, timeout_nanos, spare, .. } = *raw;
        WireEvent {
            id,
            kind,
            origin,
            attempt,
            flags,
            watch: raw.watch.as_str(),
            root: raw.root.as_slice(),
            path: raw.path.as_slice(),
            relative_from,
            renamed_from: raw.renamed_from.as_slice(),
            device,
            inode,
            size,
            mode,
            mtime_nanos,
            mtime_seconds,
            seen_nanos,
            timeout_nanos,
            spare,
            extra: raw.extra.as_slice(),
        }
    }

    pub(super) fn to_raw(&self) -> EventRaw<'a> {
        let WireEvent { id, kind, origin, attempt, flags, relative_from, device, inode, size, .. } = *self;
        let WireEvent { mode, mtime_nanos, mtime_seconds, seen_nanos, timeout_nanos, spare, .. } = *self;
        EventRaw {
            id,
            kind,
            origin,
            attempt,
            flags,
            watch: Text::from_str(self.watch),
            root: Bytes::from_slice(self.root),
            path: Bytes::from_slice(self.path),
            relative_from,
            renamed_from: Bytes::from_slice(self.renamed_from),
            device,
            inode,
            size,
            mode,
            mtime_nanos,
            mtime_seconds,
            seen_nanos,
            timeout_nanos,
            spare,
            extra: Bytes::from_slice(self.extra),
        }
    }
}

/// [`CallResult`].
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct WireResult<'a> {
    status: u32,
    flags: u32,
    number: u64,
    message: &'a str,
    notes: &'a str,
}

impl<'a> WireResult<'a> {
    pub(super) fn of(result: &'a CallResult) -> WireResult<'a> {
        let CallResult { status, flags, number, .. } = *result;
        // Notes that are cut are none.
        let notes = if result.notes.len() > LONGEST { "" } else { &result.notes };
        WireResult { status, flags, number, message: cut(&result.message), notes }
    }

    pub(super) fn to_result(&self) -> CallResult {
        let WireResult { status, flags, number, .. } = *self;
        CallResult { status, flags, number, message: self.message.into(), notes: self.notes.into() }
    }
}

/// Its first [`LONGEST`] bytes.
pub(super) fn cut(text: &str) -> &str {
    let end = (0..=LONGEST.min(text.len())).rfind(|end| text.is_char_boundary(*end));
    &text[..end.unwrap_or(0)]
}

/// Appends a value.
pub(super) fn put(bytes: &mut Vec<u8>, value: &impl Serialize) -> io::Result<()> {
    *bytes = postcard::to_extend(value, std::mem::take(bytes)).map_err(io::Error::other)?;
    Ok(())
}

/// A frame: a value, and what follows it.
pub(super) fn frame(value: &impl Serialize, rest: &[u8]) -> io::Result<Vec<u8>> {
    let mut frame = vec![0; 4];
    put(&mut frame, value)?;
    frame.extend_from_slice(rest);
    let length = u32::try_from(frame.len() - 4).map_err(io::Error::other)?;
    frame[..4].copy_from_slice(&length.to_le_bytes());
    Ok(frame)
}

/// Takes a value off the front.
pub(super) fn get<'a, T: Deserialize<'a>>(bytes: &mut &'a [u8]) -> io::Result<T> {
    let (value, rest) = postcard::take_from_bytes(bytes).map_err(|_| garbage())?;
    *bytes = rest;
    Ok(value)
}

/// It is no frame of ours.
pub(super) fn garbage() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no frame of the protocol")
}

/// Takes frames out of a stream, which may come in pieces.
#[derive(Debug, Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    /// What has been read and not taken.
    from: usize,
    to: usize,
}

impl Frames {
    /// The next frame's body, if it is there whole.
    pub(super) fn next(&mut self) -> io::Result<Option<&[u8]>> {
        let rest = &self.buffer[self.from..self.to];
        let Some((length, body)) = rest.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > LONGEST_FRAME {
            return Err(garbage());
        }
        if body.len() < length {
            return Ok(None);
        }
        let begin = self.from + 4;
        self.from = begin + length;
        Ok(Some(&self.buffer[begin..begin + length]))
    }

    /// Reads once. Returns how many bytes came: 0 at the end.
    pub(super) fn read(&mut self, from: &mut impl Read) -> io::Result<usize> {
        const PIECE: usize = 64 * 1024;
        if self.from > 0 {
            self.buffer.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        if self.buffer.len() < self.to + PIECE {
            self.buffer.resize(self.to + PIECE, 0);
        }
        let read = from.read(&mut self.buffer[self.to..])?;
        self.to += read;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn event(path: &[u8]) -> EventRaw<'_> {
        EventRaw {
            id: u64::MAX,
            kind: 1,
            origin: 2,
            attempt: 3,
            flags: 4,
            watch: Text::from_str("in"),
            root: Bytes::from_slice(b"/in"),
            path: Bytes::from_slice(path),
            relative_from: 4,
            renamed_from: Bytes::from_slice(b"\xff"),
            device: 5,
            inode: 6,
            size: 7,
            mode: 8,
            mtime_nanos: 9,
            mtime_seconds: -10,
            seen_nanos: 11,
            timeout_nanos: 12,
            spare: [13; 8],
            extra: Bytes::from_slice(b"more"),
        }
    }

    #[test]
    fn events_and_answers_come_out_as_they_went_in() {
        let (one, two) = (event(b"/in/a\xfe"), event(b"/in/b"));
        let mut events = Vec::new();
        for raw in [&one, &two] {
            put(&mut events, &WireEvent::of(raw)).unwrap();
        }
        let mut stream = frame(&Asked::Events(2), &events).unwrap();
        let mut result = CallResult::new(1, "m");
        (result.flags, result.number, result.notes) = (2, 3, "{}".into());
        let mut answer = Vec::new();
        put(&mut answer, &WireResult::of(&result)).unwrap();
        stream.extend(frame(&Said::Answers(1), &answer).unwrap());
        // In pieces of one byte.
        let (mut frames, mut bodies) = (Frames::default(), Vec::new());
        for byte in stream {
            assert_eq!(frames.read(&mut [byte].as_slice()).unwrap(), 1);
            bodies.extend(frames.next().unwrap().map(<[u8]>::to_vec));
        }
        let mut body = bodies[0].as_slice();
        assert!(matches!(get(&mut body).unwrap(), Asked::Events(2)));
        for raw in [&one, &two] {
            let came: WireEvent<'_> = get(&mut body).unwrap();
            assert_eq!(format!("{:?}", came.to_raw()), format!("{raw:?}"));
        }
        let mut body = bodies[1].as_slice();
        assert!(matches!(get(&mut body).unwrap(), Said::Answers(1)));
        let came: WireResult<'_> = get(&mut body).unwrap();
        assert_eq!(format!("{:?}", came.to_result()), format!("{result:?}"));
        assert!(body.is_empty() && bodies.len() == 2);
    }

    #[test]
    fn what_is_too_long_is_cut_between_two_characters() {
        let long = "ü".repeat(LONGEST);
        assert_eq!(cut(&format!("x{long}")).len(), LONGEST - 1);
        let mut result = CallResult::new(1, long.as_str());
        result.notes = long.as_str().into();
        let wire = WireResult::of(&result);
        assert_eq!((wire.message.len(), wire.notes), (LONGEST, ""));
    }

    proptest! {
        #[test]
        fn garbage_is_an_error_and_no_panic(garbage: Vec<u8>) {
            let mut frames = Frames::default();
            let mut stream = garbage.as_slice();
            while frames.read(&mut stream).unwrap() > 0 {}
            while let Ok(Some(mut body)) = frames.next() {
                let _ = get::<Said>(&mut body).map(|_| get::<WireResult<'_>>(&mut body).is_ok());
            }
            let mut body = garbage.as_slice();
            let _ = get::<Aside<'_>>(&mut body);
            let _ = get::<Ask<'_>>(&mut garbage.as_slice());
        }
    }
}
