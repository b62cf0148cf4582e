//! What stands where on a page, in words of 64 bits, little end first.
//!
//! | word | holds |
//! |---|---|
//! | 0 | [`MARK`] |
//! | 1, 2 | the run of the kernel |
//! | 3 | how far the host's end in good order has come |
//! | 4 | what the process died of on this worker's thread: 0, a signal, or 256 for `exit` |
//! | 5 | 0, or how many words there are from 7 on: an event is in hand |
//! | 6 | their checksum |
//! | 7 | the directory's number |
//! | 8 to 10 | the stamp: inode, size, seconds |
//! | 11 | its nanoseconds, and in the upper half the [`ABOUT`] and [`RACY`] bits |
//! | 12 | failed attempts, in the upper half those that were crashes |
//! | 13 | when it began: nanoseconds since 1970 |
//! | 14 | how many bytes of the path follow, in the upper half how many of these, the last ones, are the file's name |
//!
//! The length is stored last, and nothing else tells that there is an event: a page is whole whenever the process dies.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Begun;
use crate::settle::ledger::{Stamp, Version};
use crate::sys::page::WORDS;

/// What each page begins with.
const MARK: u64 = u64::from_le_bytes(*b"notify:1");
const BOOT: usize = 1;
const END: usize = 3;
pub(super) const DEATH: usize = 4;
const LENGTH: usize = 5;
const SUM: usize = 6;
const BODY: usize = 7;
/// The words of the body before the path.
const FIXED: usize = 8;
/// So many bytes of a path there is room for. Of a longer one the end is kept: the file's name is the key.
const MOST_PATH: usize = (WORDS - BODY - FIXED) * 8;
/// The event is about a version of a file.
const ABOUT: u64 = 1;
/// The file may have another version with this stamp.
const RACY: u64 = 2;

type Words = [AtomicU64; WORDS];

/// How far a host's end in good order has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    None,
    /// It waits for its workers.
    Stops,
    /// It waits for nobody any more.
    Stopped,
}

/// What a page says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Sheet {
    pub(super) boot: u128,
    pub(super) end: End,
    /// 0 for none.
    pub(super) death: u64,
    pub(super) in_hand: Option<InHand>,
}

/// An event that a worker had in hand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InHand {
    /// The version, if the event was about one.
    pub version: Option<Version>,
    /// May the file have had another version with that stamp?
    pub is_racy: bool,
    /// Attempts that had failed before, and counted.
    pub failed: u32,
    /// Those of them in which the process died.
    pub crashes: u32,
    /// When it began: nanoseconds since 1970.
    pub began_nanos: u64,
    /// Its path then; of one that is far too long, the end.
    pub path: PathBuf,
}

/// Stores words one after the other, and sums them up.
struct Pen<'a> {
    words: &'a Words,
    at: usize,
    sum: u64,
}

impl Pen<'_> {
    fn put(&mut self, word: u64) {
        self.words[self.at].store(word.to_le(), Ordering::Relaxed);
        self.at += 1;
        self.sum = summed(self.sum, word);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        let (whole, rest) = bytes.as_chunks::<8>();
        whole.iter().for_each(|chunk| self.put(u64::from_le_bytes(*chunk)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.put(u64::from_le_bytes(last));
        }
    }
}

/// One step of a checksum: it is to tell a page from what is none, not from what somebody has made up.
fn summed(sum: u64, word: u64) -> u64 {
    (sum ^ word).wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(29)
}

fn halves(lower: u32, upper: u32) -> u64 {
    u64::from(lower) | u64::from(upper) << 32
}

/// What every page has, before any event.
pub(super) fn begin(words: &Words, boot: u128) {
    let (lower, upper) = split(boot);
    words[BOOT].store(lower.to_le(), Ordering::Relaxed);
    words[BOOT + 1].store(upper.to_le(), Ordering::Relaxed);
    words[0].store(MARK.to_le(), Ordering::Release);
}

#[expect(clippy::cast_possible_truncation, reason = "it is cut in two")]
fn split(boot: u128) -> (u64, u64) {
    (boot as u64, (boot >> 64) as u64)
}

pub(super) fn end(words: &Words, end: End) {
    let end: u64 = match end {
        End::None => 0,
        End::Stops => 1,
        End::Stopped => 2,
    };
    words[END].store(end.to_le(), Ordering::Relaxed);
}

/// An event is in hand from now on. Nothing must be in hand before.
pub(super) fn write(words: &Words, begun: &Begun<'_>) {
    let path = &begun.path[begun.path.len().saturating_sub(MOST_PATH)..];
    let stamp = begun.version.map_or(NO_STAMP, |version| version.stamp);
    let (directory, name) = begun.version.map_or((0, 0), |version| (version.directory, version.name.len()));
    let about = if begun.version.is_some() { ABOUT } else { 0 };
    let racy = if begun.is_racy { RACY } else { 0 };
    let mut pen = Pen { words, at: BODY, sum: 0 };
    pen.put(directory);
    pen.put(stamp.inode);
    pen.put(stamp.size);
    pen.put(stamp.mtime_seconds.cast_unsigned());
    pen.put(u64::from(stamp.mtime_nanos) | (about | racy) << 32);
    pen.put(halves(begun.failed, begun.crashes));
    pen.put(begun.began_nanos);
    pen.put(path.len() as u64 | (name as u64) << 32);
    pen.put_bytes(path);
    let (length, sum) = (pen.at - BODY, pen.sum);
    words[SUM].store(sum.to_le(), Ordering::Relaxed);
    words[LENGTH].store((length as u64).to_le(), Ordering::Release);
}

const NO_STAMP: Stamp = Stamp { inode: 0, size: 0, mtime_seconds: 0, mtime_nanos: 0 };

/// Nothing is in hand any more.
pub(super) fn clear(words: &Words) {
    words[LENGTH].store(0, Ordering::Release);
}

/// What a page says.
///
/// # Errors
///
/// It is none: why.
pub(super) fn read(bytes: &[u8]) -> Result<Sheet, &'static str> {
    let (words, rest) = bytes.as_chunks::<8>();
    let words: Vec<u64> = words.iter().map(|word| u64::from_le_bytes(*word)).collect();
    if words.len() != WORDS || !rest.is_empty() {
        return Err("it has another length");
    }
    if words[0] != MARK {
        return Err("it begins otherwise");
    }
    let end = match words[END] {
        0 => End::None,
        1 => End::Stops,
        _ => End::Stopped,
    };
    let boot = u128::from(words[BOOT]) | u128::from(words[BOOT + 1]) << 64;
    let in_hand = match words[LENGTH] {
        0 => None,
        length => Some(in_hand(&words, length).ok_or("it is damaged")?),
    };
    Ok(Sheet { boot, end, death: words[DEATH], in_hand })
}

fn in_hand(words: &[u64], length: u64) -> Option<InHand> {
    let body = words[BODY..].get(..usize::try_from(length).ok()?)?;
    if body.iter().fold(0, |sum, word| summed(sum, *word)) != words[SUM] {
        return None;
    }
    let (fixed, path) = body.split_first_chunk::<FIXED>()?;
    let [directory, inode, size, seconds, nanos, counts, began_nanos, lengths] = *fixed;
    let bytes: Vec<u8> = path.iter().flat_map(|word| word.to_le_bytes()).collect();
    let (path_length, name_length) = parts(lengths);
    let path = bytes.get(..usize::try_from(path_length).ok()?)?;
    let name = &path[path.len().checked_sub(usize::try_from(name_length).ok()?)?..];
    let ((mtime_nanos, bits), (failed, crashes)) = (parts(nanos), parts(counts));
    let stamp = Stamp { inode, size, mtime_seconds: seconds.cast_signed(), mtime_nanos };
    let version = Version { directory, name: OsStr::from_bytes(name).into(), stamp };
    Some(InHand {
        version: (u64::from(bits) & ABOUT != 0).then_some(version),
        is_racy: u64::from(bits) & RACY != 0,
        failed,
        crashes,
        began_nanos,
        path: OsStr::from_bytes(path).into(),
    })
}

#[expect(clippy::cast_possible_truncation, reason = "it is cut in two")]
fn parts(word: u64) -> (u32, u32) {
    (word as u32, (word >> 32) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sys::Stat;
    use std::sync::Arc;

    fn page() -> Box<Words> {
        let words: Box<Words> = Box::new([const { AtomicU64::new(0) }; WORDS]);
        begin(&words, 7 << 64 | 9);
        words
    }

    fn bytes(words: &Words) -> Vec<u8> {
        words.iter().flat_map(|word| word.load(Ordering::Relaxed).to_ne_bytes()).collect()
    }

    fn version(name: &[u8]) -> Version {
        let stat = Stat {
            device: 1,
            inode: u64::MAX,
            size: 3,
            mode: 0,
            mtime_seconds: -5,
            mtime_nanos: 999_999_999,
            ctime_nanos: 8,
        };
        Version::new(u64::MAX - 1, &Arc::from(OsStr::from_bytes(name)), &stat)
    }

    fn written(version: Option<&Version>, path: &[u8]) -> Vec<u8> {
        let words = page();
        let (failed, crashes, began_nanos) = (u32::MAX, 2, 77);
        write(&words, &Begun { version, is_racy: true, failed, crashes, began_nanos, path });
        bytes(&words)
    }

    #[test]
    fn what_is_begun_is_read_and_what_is_over_is_not() {
        let words = page();
        let path = b"/srv/in/\xffname\n";
        let version = version(b"\xffname\n");
        for _ in 0..2 {
            assert_eq!(read(&bytes(&words)).unwrap().in_hand, None);
            let begun = Begun {
                version: Some(&version),
                is_racy: false,
                failed: 4,
                crashes: 2,
                began_nanos: 6,
                path,
            };
            write(&words, &begun);
            let sheet = read(&bytes(&words)).unwrap();
            assert_eq!((sheet.boot, sheet.end, sheet.death), (7 << 64 | 9, End::None, 0));
            let known = sheet.in_hand.unwrap();
            assert_eq!(known.version.as_ref(), Some(&version));
            assert_eq!((known.failed, known.crashes, known.began_nanos, known.is_racy), (4, 2, 6, false));
            assert_eq!(known.path.as_os_str().as_bytes(), path);
            clear(&words);
        }
    }

    #[test]
    fn names_and_paths_of_any_length_fit_or_lose_their_begin() {
        for name in [1, 7, 8, 9, 255] {
            for directory in [1, 8, 4096, MOST_PATH, 20_000] {
                let name = vec![b'n'; name];
                let path = [&vec![b'/'; directory][..], &name].concat();
                let version = version(&name);
                let known = read(&written(Some(&version), &path)).unwrap().in_hand.unwrap();
                assert_eq!(known.version, Some(version));
                let kept = known.path.as_os_str().as_bytes();
                assert!(kept == path || kept.len() == MOST_PATH && path.ends_with(kept));
                assert!(known.is_racy && known.failed == u32::MAX);
            }
        }
        assert_eq!(read(&written(None, b"")).unwrap().in_hand.unwrap().version, None);
    }

    #[test]
    fn what_is_damaged_is_no_event_and_nothing_is_taken_for_a_page() {
        let whole = written(Some(&version(b"n")), b"/d/n");
        let length = (BODY + FIXED + 1) * 8;
        for at in (LENGTH * 8 + 8..length).chain([0]) {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(read(&damaged).is_err(), "byte {at}");
        }
        for length in [1, 255, 1023, 1 << 40, u64::MAX] {
            let mut damaged = whole.clone();
            damaged[LENGTH * 8..LENGTH * 8 + 8].copy_from_slice(&length.to_le_bytes());
            assert_eq!(read(&damaged), Err("it is damaged"), "length {length}");
        }
        assert_eq!(read(&whole[..whole.len() - 1]), Err("it has another length"));
        assert_eq!(read(&[]), Err("it has another length"));
        assert_eq!(read(&vec![0; whole.len()]), Err("it begins otherwise"));
    }
}
