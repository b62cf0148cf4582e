//! What the model comes upon too rarely.

use super::Step::{Event, Flush, NewCode, Overflow, Read, Turn, Write};
use super::plugin::Answer;
use super::*;

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
fn a_lane_that_pauses_is_tried_though_what_waits_is_found_again_and_again() {
    let waiting = [Write(A), Write(B), Write(C), Write(D), Read(9), Turn(4)];
    // Each look has room for those that wait, and none for the last.
    let steps = [&vec![Event(Answer::Unavailable); 4][..], &waiting, &[Write(E), Overflow]].concat();
    run(Kind::CloseWrite, Clock::Fine, &steps).unwrap();
}

#[test]
fn new_code_handles_what_the_old_code_has_not_made_safe() {
    let done = [Write(A), Write(B), Read(9), Turn(1), NewCode];
    for failure in [Answer::Retry, Answer::Panic] {
        let steps = [&[Flush(failure), Event(Answer::Done), Event(failure)][..], &done, &[Turn(1)]].concat();
        run(Kind::CloseWrite, Clock::Fine, &steps).unwrap();
    }
}
