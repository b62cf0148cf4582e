//! What the model comes upon too rarely.

use notifyit_plugin_api::Origin;

use super::Step::{Event, Flush, Grain, Kill, NewCode, Overflow, Read, Rename, Rescan, Turn, Write};
use super::*;
use crate::event::{Certainty, FileEvent};
use crate::plugin::{Lost, Reply};
use crate::settle::ledger::Stamp;

const A: Where = (0, "a");
const B: Where = (0, "b");
const C: Where = (0, "c");
const D: Where = (0, "d");
const E: Where = (0, "e");

#[test]
fn a_racy_stamp_is_not_entered_while_a_newer_version_waits_for_its_next_try() {
    let mut world = World::with_pauses(Kind::CloseWrite, Clock::Coarse, Duration::from_secs(1000));
    let (a, b) = ((0, "a"), (0, "b"));
    let first = [Step::Write(a), Step::Write(b), Step::Read(9), Step::Turn(1)];
    // Neither has been flushed when the second version of `a` fails.
    let second = [Step::Write(a), Step::Read(9), Step::Event(Answer::Done), Step::Event(Answer::Retry)];
    let then = [Step::Turn(9), Step::Grain, Step::Turn(9), Step::Read(9), Step::Turn(9)];
    first.iter().chain(&second).chain(&then).for_each(|step| world.step(step));
    assert!(world.host().worker.racy.is_empty(), "all has been judged");
    assert_eq!((world.look(a), world.look(b)), ((3, false), (2, true)));
}

#[test]
fn where_inodes_do_not_last_what_is_moved_to_a_files_place_is_not_taken_for_it() {
    let mut world = World::new(Kind::Landed, Clock::Coarse);
    let terms = world.tree.read().terms(WATCH);
    world.tree.write().set_terms(WATCH, filesystem::Terms { inodes_last: false, ..terms });
    let (a, outside) = ((0, "a"), world.directory.path().join("outside"));
    let steps = [Step::Grain, Step::Read(9), Step::Turn(9), Step::Read(9), Step::Turn(9), Step::Grain];
    world.step(&Step::Write(a));
    let modified = fs::metadata(world.path(a)).unwrap().modified().unwrap();
    world.write(&outside);
    File::options().write(true).open(&outside).unwrap().set_modified(modified).unwrap();
    steps.iter().for_each(|step| world.step(step));
    fs::rename(&outside, world.path(a)).unwrap();
    world.queue.push_back(Told::Entry(EventMask::MOVED_TO, a));
    steps.iter().for_each(|step| world.step(step));
    assert!(script(|script| script.safe.contains(&2)), "it looks like the one before");
}

#[test]
fn a_file_is_not_lost_whose_old_name_was_taken_before_its_rename_was_told() {
    // When the event of the first file is handled, the second lies there; it is flushed before the rename is read …
    let flushed = [Write(A), Read(9), Rename(A, B), Write(A), Turn(9)];
    // … or after that.
    let unflushed = [Write(C), Write(A), Read(9), Rename(A, B), Write(A), Turn(2)];
    for clock in [Clock::Fine, Clock::Coarse] {
        run(Kind::CloseWrite, clock, &flushed).unwrap();
        run(Kind::CloseWrite, clock, &unflushed).unwrap();
    }
}

#[test]
fn a_missing_file_is_not_gone_before_its_rename_was_told() {
    run(Kind::CloseWrite, Clock::Fine, &[Write(A), Read(9), Rename(A, B), Turn(9)]).unwrap();
    // The kernel tells of a rename a moment behind doing it: behind the first fence perhaps.
    let mut world = World::new(Kind::CloseWrite, Clock::Fine);
    [Write(A), Read(9)].iter().for_each(|step| world.step(step));
    fs::rename(world.path(A), world.path(B)).unwrap();
    [Turn(9), Read(9), Turn(1)].iter().for_each(|step| world.step(step));
    world.queue.push_back(Told::Renamed(A, B));
    world.come_to_rest().unwrap();
}

#[test]
fn what_has_taken_a_name_too_early_is_handled_anew_when_the_flush_fails() {
    let steps = [Write(C), Write(A), Read(9), Rename(A, B), Write(A), Turn(2), Read(9), Turn(1)];
    let failing = [Flush(Answer::Retry)];
    let steps = [&failing[..], &steps[..]].concat();
    for kind in [Kind::CloseWrite, Kind::Landed] {
        run(kind, Clock::Fine, &steps).unwrap();
    }
}

#[test]
fn two_files_that_had_one_name_are_both_tried_again_when_their_flush_fails() {
    let steps = [Write(A), Read(9), Turn(1), Rename(A, B), Write(A), Read(9), Flush(Answer::Retry), Turn(2)];
    run(Kind::CloseWrite, Clock::Fine, &steps).unwrap();
}

#[test]
fn what_a_rescan_has_found_is_not_taken_for_what_has_come_to_its_name_since() {
    let mut world = World::with_pauses(Kind::CloseWrite, Clock::Fine, Duration::from_secs(1000));
    [Write(A), Read(9), Overflow].iter().for_each(|step| world.step(step));
    gather(&mut world.host().worker);
    let Some(Message::Event(event)) = world.host().worker.local.pop_front() else { panic!("it was told of") };
    let found = FileEvent { certainty: Certainty::Supposed, origin: Origin::Rescan, ..event };
    let since = [Rename(A, B), Write(A), Read(9), Event(Answer::Retry), Turn(9)];
    since.iter().for_each(|step| world.step(step));
    // It is handed over late: the rename has been read, and the next file has failed.
    world.host().worker.local.push_back(Message::Event(found));
    [Turn(9), Read(9), Turn(9)].iter().for_each(|step| world.step(step));
    assert_eq!(world.look(B), (1, true));
}

#[test]
fn what_a_rescan_has_found_is_looked_for_where_it_was_too_when_that_was_renamed() {
    // The renames were done before the look, and are told of only behind it.
    let steps = [Write(A), Write(B), Write(E), Overflow, Rename(B, C), Rename(E, B), Rescan];
    run(Kind::CloseWrite, Clock::Fine, &steps).unwrap();
}

#[test]
fn what_a_rescan_has_found_right_behind_a_rename_is_not_what_was_renamed() {
    let steps = [Write(A), Kill, Overflow, Turn(1), Rename(A, B), Read(1), Write(A), Overflow];
    run(Kind::Landed, Clock::Coarse, &steps).unwrap();
}

#[test]
fn what_is_held_of_a_file_goes_with_it_when_a_newer_event_does() {
    // The second event of the file is read before its rename, and handled behind it.
    let lost = [Write(A), Read(1), Read(1), Overflow, Turn(2), Write(A), Rename(A, D), Write(B), Grain];
    run(Kind::CloseWrite, Clock::Coarse, &[&lost[..], &[Turn(1), Write(A)]].concat()).unwrap();
}

#[test]
fn what_is_held_of_a_renamed_file_gives_way_to_what_was_told_under_its_new_name() {
    let lost = [Write(A), Read(9), Turn(9), Rename(A, D), Write(D), Read(9), Event(Answer::Retry), Turn(1)];
    run(Kind::CloseWrite, Clock::Coarse, &[&lost[..], &[Turn(1), Grain, Turn(1), Read(9)]].concat()).unwrap();
}

#[test]
fn what_is_held_does_not_count_when_the_event_of_a_newer_version_of_its_stamp_was_lost() {
    let held = [Write(A), Read(9), Turn(9)];
    let lost = [Write(A), Overflow, Grain, Turn(9), Read(9), Turn(9)];
    for _ in 0..3 {
        // Both versions mostly have one time.
        run(Kind::CloseWrite, Clock::Coarse, &[&held[..], &lost].concat()).unwrap();
    }
}

#[test]
fn what_waits_in_the_ledger_alone_is_not_hidden_by_an_older_version_of_its_stamp() {
    let crowd = [Write(A), Write(B), Write(C), Write(D), Write(E), Read(20), Event(Answer::Retry)];
    let then = [Turn(1), Turn(9), Grain, Turn(9), Read(9), Turn(9)];
    run(Kind::CloseWrite, Clock::Coarse, &[&[Write(A), Read(9), Turn(1)], &crowd[..], &then].concat())
        .unwrap();
}

#[test]
fn a_lane_that_pauses_is_tried_though_what_waits_is_found_again_and_again() {
    let waiting = [Write(A), Write(B), Write(C), Write(D), Read(9), Turn(4)];
    // Each look has room for those that wait, and none for the last.
    let steps = [&vec![Event(Answer::Unavailable); 4][..], &waiting, &[Write(E), Overflow]].concat();
    run(Kind::CloseWrite, Clock::Fine, &steps).unwrap();
}

#[test]
fn a_probe_whose_file_has_landed_elsewhere_gives_its_place_back() {
    let steps = [Event(Answer::Unavailable), Write(A), Read(9), Turn(2), Rename(A, B), Read(9), Turn(9)];
    run(Kind::Landed, Clock::Fine, &steps).unwrap();
}

#[test]
fn new_code_handles_what_the_old_code_has_not_made_safe() {
    let done = [Write(A), Write(B), Read(9), Turn(1), NewCode];
    for failure in [Answer::Retry, Answer::Panic] {
        let steps = [&[Flush(failure), Event(Answer::Done), Event(failure)][..], &done, &[Turn(1)]].concat();
        run(Kind::CloseWrite, Clock::Fine, &steps).unwrap();
    }
}

#[test]
fn what_its_own_process_has_died_of_is_tried_again_with_its_count_and_given_up_in_the_end() {
    let mut world = World::with_pauses(Kind::CloseWrite, Clock::Fine, Duration::from_secs(1000));
    [Write(A), Read(9), Event(Answer::Retry), Turn(1)].iter().for_each(|step| world.step(step));
    let stamp = Stamp::of(&sys::stat(&world.path(A)).unwrap().unwrap());
    let place = (world.tree.read().serial(world.nodes[0]), OsStr::new("a"));
    let mut dies = || {
        let worker = &mut world.host().worker;
        let (work, behind) = worker.waiting.take_due(Instant::now() + Duration::from_secs(2000)).unwrap();
        worker.process_died(work, behind, &"died of SIGSEGV");
        let known = world.ledger.waiting(LANE, place, stamp);
        known.map(|known| (known.attempts, known.crashes))
    };
    assert_eq!([dies(), dies(), dies()], [Some((2, 1)), Some((3, 2)), None]);
    assert_eq!(world.look(A), (1, true), "it is given up");
}

#[test]
fn what_waits_under_a_name_that_another_takes_goes_on_under_its_own() {
    let (in_sub, f) = ((1, "a"), (0, "f"));
    // The second file waits for a fence under `f`, which it has left, when the first one comes there and fails.
    let steps = [
        Write(E),
        Rename(E, in_sub),
        Flush(Answer::Retry),
        Read(1),
        Write(f),
        Read(4),
        Rename(f, A),
        Turn(3),
        Rename(in_sub, f),
        Read(3),
        Event(Answer::Unavailable),
        Turn(1),
    ];
    run(Kind::CloseWrite, Clock::Fine, &steps).unwrap();
}

#[test]
fn what_is_deferred_is_tried_again_when_its_process_is_lost_over_the_other_answers() {
    let mut world = World::flying(Kind::CloseWrite, Clock::Fine, Isolation::Process);
    // The second one's end flushes the first, and the process goes with that.
    let answers = [Event(Answer::Done), Event(Answer::Reject), Event(Answer::Defer), Flush(Answer::Panic)];
    let steps = [Write(A), Write(B), Write(C), Read(9), Turn(1)];
    answers.iter().chain(&steps).for_each(|step| world.step(step));
    assert!(world.host().worker.in_flight.is_empty());
    world.come_to_rest().unwrap();
}

#[test]
fn what_is_renamed_to_where_another_is_in_flight_waits_behind_that() {
    let mut world = World::flying(Kind::CloseWrite, Clock::Fine, Isolation::Inline);
    let first = [Event(Answer::Defer), Write(A), Read(9), Turn(1)];
    let failed = [Event(Answer::Retry), Write(B), Read(9), Turn(1)];
    let renamed = [Rename(B, A), Read(9), Event(Answer::Defer), Turn(3)];
    first.iter().chain(&failed).chain(&renamed).for_each(|step| world.step(step));
    world.check().unwrap();
    world.come_to_rest().unwrap();
}

#[test]
fn a_verdict_counts_that_a_process_has_said_before_its_end() {
    let mut world = World::flying(Kind::CloseWrite, Clock::Fine, Isolation::Process);
    let in_flight = [Event(Answer::Defer), Event(Answer::Defer), Write(A), Write(B), Read(9), Turn(1)];
    in_flight.iter().for_each(|step| world.step(step));
    plugin::complete(0, Answer::Done);
    world.host().worker.lose_instance(&Lost::Died("died as it was told".to_owned()));
    assert_eq!((world.look(A), world.look(B)), ((1, true), (2, false)));
    world.come_to_rest().unwrap();
}

#[test]
fn verdicts_that_nobody_waits_for_do_not_pile_up() {
    let mut world = World::flying(Kind::CloseWrite, Clock::Fine, Isolation::Process);
    let worker = &mut world.host().worker;
    worker.desk().completed(7, Reply::Done.into());
    assert!(worker.turn() == Flow::GoOn && !worker.desk().has_completed());
}

#[test]
fn a_suspect_that_is_answered_is_none_any_more() {
    let mut world = World::flying(Kind::CloseWrite, Clock::Fine, Isolation::Process);
    let in_flight = [Event(Answer::Defer), Event(Answer::Defer), Write(A), Write(B), Read(9), Turn(1)];
    in_flight.iter().for_each(|step| world.step(step));
    world.host().worker.lose_instance(&Lost::Died("died as it was told".to_owned()));
    let suspects = |world: &mut World| {
        let waiting = &world.host().worker.waiting;
        waiting.events().filter(|event| waiting.get(event).is_some_and(|work| work.is_suspect)).count()
    };
    assert_eq!(suspects(&mut world), 2);
    world.step(&Event(Answer::Retry));
    world.step(&Turn(1));
    assert_eq!((suspects(&mut world), world.host().worker.waiting.events().count()), (1, 2));
}
