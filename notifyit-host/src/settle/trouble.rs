//! What is known of a file that a plugin could not handle yet, or not at all.
//!
//! For each instance and file there is one such entry at most. While it waits for another try, it holds what a restart
//! must not forget: how often it has failed, since when, and when the next try is due. When the file is rejected or
//! given up, the entry is its dead letter, beside the finished version.

use super::disk::{decode, encode};
use super::ledger::Stamp;
use crate::log::one_line;

/// The most bytes of an error that are kept.
const MOST_ERROR: usize = 1024;
/// The first byte of an entry. What begins with another was written by a later version and is left alone.
const FORM: u8 = 2;
/// That of entries that count no crashes.
const WITHOUT_CRASHES: u8 = 1;

/// See the module. Times are nanoseconds since 1970, 0 for none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// The version of the file that it is about.
    pub stamp: Stamp,
    /// What is to become of it.
    pub state: State,
    /// Why it is handed out when it is.
    pub wish: Wish,
    /// Attempts that failed and count.
    pub attempts: u32,
    /// Those of them in which the process died.
    pub crashes: u32,
    /// When the first of them failed.
    pub first_nanos: u64,
    /// When the last of them failed.
    pub last_nanos: u64,
    /// When the next is due.
    pub next_nanos: u64,
    /// What the last of them said: one line.
    pub error: String,
}

/// What is to become of a file in trouble.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// It waits for its next try.
    Waiting,
    /// The plugin said that it can never work: a dead letter.
    Rejected,
    /// It failed too often or for too long: a dead letter.
    Exhausted,
}

/// Who wants a file in trouble to be handed out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wish {
    /// The host: it is unfinished.
    None,
    /// A person asked for it again.
    Replay,
}

impl State {
    /// Is it a dead letter?
    pub fn is_dead(self) -> bool {
        self != State::Waiting
    }
}

impl Trouble {
    /// A person wants this version to be handed out again, as if it had never been.
    pub fn replay(stamp: Stamp) -> Trouble {
        Trouble {
            stamp,
            state: State::Waiting,
            wish: Wish::Replay,
            attempts: 0,
            crashes: 0,
            first_nanos: 0,
            last_nanos: 0,
            next_nanos: 0,
            error: String::new(),
        }
    }

    /// An error as it is kept: one line that is not too long.
    pub fn error_of(message: &str) -> String {
        cut(&one_line(cut(message))).to_owned()
    }

    /// For how many nanoseconds it has to wait yet. A clock that was set back makes it due.
    pub fn wait(&self, now_nanos: u64) -> u64 {
        if now_nanos < self.last_nanos { 0 } else { self.next_nanos.saturating_sub(now_nanos) }
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let state = match self.state {
            State::Waiting => 0,
            State::Rejected => 1,
            State::Exhausted => 2,
        };
        let mut bytes = vec![FORM, state, u8::from(self.wish == Wish::Replay)];
        bytes.extend(encode(&self.stamp));
        bytes.extend(self.attempts.to_be_bytes());
        bytes.extend(self.crashes.to_be_bytes());
        for nanos in [self.first_nanos, self.last_nanos, self.next_nanos] {
            bytes.extend(nanos.to_be_bytes());
        }
        bytes.extend(cut(&self.error).as_bytes());
        bytes
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Option<Trouble> {
        let (head, rest) = bytes.split_at_checked(3)?;
        let (stamp, rest) = rest.split_at_checked(28)?;
        let (attempts, rest) = number(rest)?;
        let (crashes, rest) = if head[0] == WITHOUT_CRASHES { (0, rest) } else { number(rest)? };
        let (times, error) = rest.split_at_checked(24)?;
        let time = |place: usize| Some(u64::from_be_bytes(times.get(place..place + 8)?.try_into().ok()?));
        let state = match head {
            [WITHOUT_CRASHES | FORM, 0, _] => State::Waiting,
            [WITHOUT_CRASHES | FORM, 1, _] => State::Rejected,
            [WITHOUT_CRASHES | FORM, 2, _] => State::Exhausted,
            _ => return None,
        };
        Some(Trouble {
            stamp: decode(stamp)?,
            state,
            wish: if head[2] == 1 { Wish::Replay } else { Wish::None },
            attempts,
            crashes,
            first_nanos: time(0)?,
            last_nanos: time(8)?,
            next_nanos: time(16)?,
            error: String::from_utf8_lossy(error).into_owned(),
        })
    }
}

fn number(bytes: &[u8]) -> Option<(u32, &[u8])> {
    let (number, rest) = bytes.split_at_checked(4)?;
    Some((u32::from_be_bytes(number.try_into().ok()?), rest))
}

fn cut(error: &str) -> &str {
    let end = (0..=MOST_ERROR.min(error.len())).rfind(|end| error.is_char_boundary(*end));
    &error[..end.unwrap_or(0)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble() -> Trouble {
        Trouble {
            stamp: Stamp { inode: 1, size: 2, mtime_seconds: -3, mtime_nanos: 4 },
            state: State::Exhausted,
            wish: Wish::Replay,
            attempts: 5,
            crashes: 2,
            first_nanos: 6,
            last_nanos: 70,
            next_nanos: 100,
            error: "no such table".to_owned(),
        }
    }

    #[test]
    fn an_entry_comes_back_as_it_was() {
        for state in [State::Waiting, State::Rejected, State::Exhausted] {
            for wish in [Wish::None, Wish::Replay] {
                let trouble = Trouble { state, wish, ..trouble() };
                assert_eq!(Trouble::from_bytes(&trouble.to_bytes()), Some(trouble));
            }
        }
    }

    #[test]
    fn an_entry_from_before_crashes_were_counted_has_none() {
        let mut bytes = trouble().to_bytes();
        bytes[0] = 1;
        bytes.drain(35..39);
        assert_eq!(Trouble::from_bytes(&bytes), Some(Trouble { crashes: 0, ..trouble() }));
    }

    #[test]
    fn a_long_error_is_cut_between_two_characters() {
        let error = format!("x{}", "ü".repeat(MOST_ERROR));
        let read = Trouble::from_bytes(&Trouble { error: error.clone(), ..trouble() }.to_bytes()).unwrap();
        assert_eq!(read.error.len(), MOST_ERROR - 1);
        assert!(error.starts_with(&read.error));
        assert_eq!(Trouble::error_of("one\ntwo"), "one\\ntwo");
        assert_eq!(Trouble::error_of(&"\n".repeat(MOST_ERROR)).len(), MOST_ERROR);
    }

    #[test]
    fn what_is_no_entry_is_none() {
        let bytes = trouble().to_bytes();
        for end in 0..63 {
            assert_eq!(Trouble::from_bytes(&bytes[..end]), None);
        }
        assert_eq!(Trouble::from_bytes(&[&[FORM + 1], &bytes[1..]].concat()), None);
        assert_eq!(Trouble::from_bytes(&[&[FORM, 9], &bytes[2..]].concat()), None);
    }

    #[test]
    fn it_waits_until_its_time_but_not_for_a_clock_that_was_set_back() {
        assert_eq!([69, 70, 99, 100, 101].map(|now| trouble().wait(now)), [0, 30, 1, 0, 0]);
    }
}
