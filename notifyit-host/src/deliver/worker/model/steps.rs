//! What may happen.

use proptest::prelude::*;

use super::plugin::Answer;
use crate::plugin::isolated::pretended::Fate;

/// By directory and name.
pub(super) type Where = (usize, &'static str);

#[derive(Debug, Clone)]
pub(super) enum Step {
    Write(Where),
    Rename(Where, Where),
    Remove(Where),
    /// A grain of the coarse clock goes by.
    Grain,
    /// What has happened since the last read is not told.
    Overflow,
    /// The source reads so many events.
    Read(usize),
    /// The worker makes so many turns.
    Turn(usize),
    /// The rescan does what it was told to.
    Rescan,
    Event(Answer),
    Flush(Answer),
    /// The plugin says of one of the events whose verdict it has deferred what becomes of it.
    Complete(usize, Answer),
    /// The time of the first that is in flight is over.
    Late,
    /// The lane is to change over to new code.
    NewCode,
    /// The host is killed, and another one starts.
    Kill,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let file = || (0..2_usize, prop::sample::select(&["a", "b", "c", "d", "e", "f"][..]));
    let answer = || {
        let fates = [Fate::GivesBack, Fate::Dies, Fate::DiesIdle].map(Answer::Fate);
        let failures =
            [Answer::Retry, Answer::Reject, Answer::Unavailable, Answer::Panic, Answer::Defer, Answer::Defer];
        let failures = [failures.as_slice(), &fates].concat();
        prop_oneof![2 => Just(Answer::Done), 3 => prop::sample::select(failures)]
    };
    prop_oneof![
        12 => file().prop_map(Step::Write),
        6 => (file(), file()).prop_map(|(from, to)| Step::Rename(from, to)),
        2 => file().prop_map(Step::Remove),
        1 => Just(Step::Grain),
        1 => Just(Step::Overflow),
        8 => (1..6_usize).prop_map(Step::Read),
        8 => (1..6_usize).prop_map(Step::Turn),
        2 => Just(Step::Rescan),
        4 => answer().prop_map(Step::Event),
        2 => answer().prop_map(Step::Flush),
        3 => (0..3_usize, answer()).prop_map(|(place, answer)| Step::Complete(place, answer)),
        1 => Just(Step::Late),
        1 => Just(Step::NewCode),
        1 => Just(Step::Kill),
    ]
}
