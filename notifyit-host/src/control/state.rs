//! In which state a plugin is, and why: pure, from what the roster and its lane show.

use std::time::{Duration, Instant};

use super::status::{InHand, Path, Plugin, PluginState, Worker, WorkerStage, millis};
use crate::config::Isolation;
use crate::deliver::{InHandView, LaneView, Stage, WorkerView};
use crate::log::one_line;
use crate::roster::Posting;

/// Of a message so much is shown.
const LONGEST: usize = 1024;

/// A call that takes longer is worth a word where nobody has said how long it may take.
const LONG: Duration = Duration::from_secs(10);

/// What is to be said, and of which state.
type Said = (PluginState, String);

pub(super) fn plugin(posting: Option<&Posting>, lane: Option<&LaneView>, now: Instant) -> Plugin {
    let mut said: Vec<Said> = Vec::new();
    said.extend(lane.into_iter().flat_map(of_lane));
    said.extend(posting.into_iter().flat_map(|posting| of_posting(posting, now)));
    said.sort_by_key(|(state, _)| *state);
    let state = said.first().map_or(PluginState::Running, |(state, _)| *state);
    let reasons: Vec<&str> = said.iter().map(|(_, reason)| reason.as_str()).collect();
    let counts = lane.map(|lane| lane.counts).unwrap_or_default();
    let has_process = |lane: &LaneView| lane.workers.iter().any(|worker| worker.process.is_some());
    let seen = if lane.is_some_and(has_process) { Isolation::Process } else { Isolation::Inline };
    Plugin {
        name: posting
            .map(|posting| &posting.name)
            .or(lane.map(|lane| &lane.name))
            .cloned()
            .unwrap_or_default(),
        state,
        reason: reasons.join("; "),
        file: posting.map(|posting| posting.file.to_string_lossy().into_owned()),
        version: posting.map(|posting| posting.version.clone()),
        isolation: posting.map_or(seen, |posting| posting.isolation),
        next_try_ms: next_try(posting, lane, now).map(millis),
        under_way: lane.map_or(0, |lane| lane.under_way),
        queue: lane.map_or(0, |lane| lane.capacity),
        handled: counts.delivered,
        failed: counts.failed,
        rejected: counts.rejected,
        given_up: counts.exhausted,
        gone: counts.gone,
        metrics: lane.map(|lane| lane.metrics.clone()).unwrap_or_default(),
        workers: lane
            .into_iter()
            .flat_map(|lane| lane.workers.iter().map(|each| worker(each, lane)))
            .collect(),
    }
}

fn of_lane(lane: &LaneView) -> Vec<Said> {
    let mut said = Vec::new();
    if lane.is_leaving {
        said.push((PluginState::Draining, "it takes no more events, and goes when it is through".to_owned()));
    }
    let is_one_of_many = lane.workers.len() > 1;
    for (number, worker) in (1..).zip(&lane.workers) {
        let who = if is_one_of_many { format!("worker {number}") } else { "it".to_owned() };
        said.extend(of_worker(worker, &who, lane));
    }
    if let Some(pausing) = &lane.pausing {
        let next = if pausing.next.is_zero() {
            "one event is tried now".to_owned()
        } else {
            format!("next try in {}", time(pausing.next))
        };
        let (why, since) = (shortened(&pausing.why), time(pausing.since));
        said.push((PluginState::Failing, format!("{why}; pauses for {since} so far, {next}")));
    }
    if lane.is_behind {
        let most = lane.capacity;
        let why = format!(
            "more events came than the {most} it queues; the others' files are looked for when there is room"
        );
        said.push((PluginState::Behind, why));
    }
    said
}

fn of_worker(worker: &WorkerView, who: &str, lane: &LaneView) -> Option<Said> {
    let since = time(worker.since);
    match worker.stage {
        Stage::Ends => Some((PluginState::Draining, format!("the last call of {who} takes {since} so far"))),
        Stage::ChangesOver => {
            Some((PluginState::Changing, format!("the old code's last call takes {since} so far")))
        }
        Stage::Ready if !lane.is_leaving => {
            Some((PluginState::Starting, format!("{who} waits for the one that had its name before")))
        }
        Stage::Starts | Stage::Ready | Stage::Works | Stage::Gone => {
            let in_hand = worker.in_hand.as_ref()?;
            let what = in_hand.path.as_ref().map_or("its flush".to_owned(), |path| format!("{path:?}"));
            let at = format!("{who} is at {what} for {}", time(in_hand.since));
            match lane.timeout {
                Some(timeout) if in_hand.since > timeout => {
                    Some((PluginState::Stuck, format!("{at}, over its timeout of {}", time(timeout))))
                }
                None if in_hand.since > LONG => {
                    Some((PluginState::Running, format!("{at}; it has no timeout")))
                }
                _ => None,
            }
        }
    }
}

fn of_posting(posting: &Posting, now: Instant) -> Vec<Said> {
    let mut said = Vec::new();
    if let Some((from, to)) = &posting.changing {
        said.push((PluginState::Changing, format!("{to} takes over from {from}")));
    }
    if let Some(since) = posting.making {
        let since = time(now.saturating_duration_since(since));
        said.push(if posting.runs {
            (PluginState::Changing, format!("new code is made, for {since} so far"))
        } else {
            (PluginState::Starting, format!("it is made, for {since} so far"))
        });
    }
    if let Some((why, again)) = &posting.failed {
        let why = shortened(why);
        let then = match again {
            _ if posting.making.is_some() => "it is tried again now".to_owned(),
            Some(again) => format!("next try in {}", time(again.saturating_duration_since(now))),
            None => "left out until its file changes".to_owned(),
        };
        said.push(if posting.runs {
            (PluginState::Running, format!("{why}; the old code goes on, {then}"))
        } else {
            (PluginState::Failed, format!("{why}; {then}"))
        });
    }
    if !posting.runs && said.is_empty() {
        said.push((PluginState::Starting, "it has not been made yet".to_owned()));
    }
    said
}

fn next_try(posting: Option<&Posting>, lane: Option<&LaneView>, now: Instant) -> Option<Duration> {
    let of_lane = lane.and_then(|lane| Some(lane.pausing.as_ref()?.next));
    let again = posting.and_then(|posting| posting.failed.as_ref()?.1);
    of_lane.or_else(|| again.map(|again| again.saturating_duration_since(now)))
}

fn worker(view: &WorkerView, lane: &LaneView) -> Worker {
    let in_hand = |view: &InHandView| InHand {
        path: view.path.as_deref().map_or_else(Path::none, Path::new),
        since_ms: millis(view.since),
        late: lane.timeout.is_some_and(|timeout| view.since > timeout),
    };
    Worker {
        process: view.process,
        stage: match view.stage {
            Stage::Starts => WorkerStage::Starts,
            Stage::Ready => WorkerStage::Ready,
            Stage::Works => WorkerStage::Works,
            Stage::ChangesOver => WorkerStage::ChangesOver,
            Stage::Ends => WorkerStage::Ends,
            Stage::Gone => WorkerStage::Gone,
        },
        stage_ms: millis(view.since),
        in_hand: view.in_hand.as_ref().map(in_hand),
    }
}

/// On one line, and not too long.
pub(super) fn shortened(text: &str) -> String {
    let end = (0..=LONGEST.min(text.len())).rfind(|end| text.is_char_boundary(*end)).unwrap_or(0);
    let dots = if end < text.len() { "…" } else { "" };
    format!("{}{dots}", one_line(&text[..end]))
}

/// For people: `0.3s`, `4m 10s`.
pub(super) fn time(duration: Duration) -> String {
    if duration < Duration::from_secs(10) {
        return format!("{:.1}s", duration.as_secs_f64());
    }
    humantime::format_duration(Duration::from_secs(duration.as_secs())).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::deliver::Pausing;
    use crate::plugin::Metrics;
    use crate::settle::Counts;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn works() -> WorkerView {
        WorkerView { process: None, stage: Stage::Works, since: seconds(60), in_hand: None }
    }

    fn lane() -> LaneView {
        LaneView {
            name: "p".into(),
            under_way: 3,
            capacity: 8,
            is_behind: false,
            is_leaving: false,
            pausing: None,
            timeout: Some(seconds(1)),
            workers: vec![works()],
            counts: Counts { delivered: 1, rejected: 2, exhausted: 3, gone: 4, failed: 5 },
            metrics: Metrics::default(),
        }
    }

    fn posting() -> Posting {
        Posting {
            name: "p".into(),
            file: "/p.so".into(),
            version: "1.0".into(),
            isolation: Isolation::Inline,
            runs: true,
            changing: None,
            making: None,
            failed: None,
        }
    }

    fn at(path: Option<&str>, since: Duration) -> WorkerView {
        WorkerView { in_hand: Some(InHandView { path: path.map(Into::into), since }), ..works() }
    }

    #[track_caller]
    fn check(posting: Option<Posting>, lane: Option<LaneView>, state: PluginState, reason: &str) {
        let now = Instant::now();
        // What the roster has put up was put up a while ago.
        let plugin = plugin(posting.as_ref(), lane.as_ref(), now);
        assert_eq!((plugin.state, plugin.reason.as_str()), (state, reason));
    }

    #[test]
    fn what_a_lane_does_is_its_state_and_the_gravest_comes_first() {
        check(Some(posting()), Some(lane()), PluginState::Running, "");
        let stuck = LaneView { workers: vec![at(Some("/in/a\nb"), seconds(3))], ..lane() };
        let why = r#"it is at "/in/a\nb" for 3.0s, over its timeout of 1.0s"#;
        check(Some(posting()), Some(stuck), PluginState::Stuck, why);
        let workers = vec![works(), at(None, seconds(90)), at(Some("/in/b"), Duration::ZERO)];
        let behind = LaneView { is_behind: true, workers, ..lane() };
        let why = "worker 2 is at its flush for 1m 30s, over its timeout of 1.0s; more events came than the 8 it \
                   queues; the others' files are looked for when there is room";
        check(Some(posting()), Some(behind), PluginState::Stuck, why);
        let untimed = LaneView { timeout: None, workers: vec![at(Some("/a"), seconds(11))], ..lane() };
        check(
            Some(posting()),
            Some(untimed),
            PluginState::Running,
            r#"it is at "/a" for 11s; it has no timeout"#,
        );
        let pausing = |next| Some(Pausing { since: seconds(20), next, why: "x".repeat(2000) });
        let failing = LaneView { pausing: pausing(seconds(2)), ..lane() };
        let why = format!("{}…; pauses for 20s so far, next try in 2.0s", "x".repeat(LONGEST));
        check(Some(posting()), Some(failing.clone()), PluginState::Failing, &why);
        let plugin = plugin(Some(&posting()), Some(&failing), Instant::now());
        assert_eq!(plugin.next_try_ms, Some(2000));
        let counts = (plugin.handled, plugin.rejected, plugin.given_up, plugin.gone, plugin.failed);
        assert_eq!((plugin.under_way, plugin.queue, counts), (3, 8, (1, 2, 3, 4, 5)));
    }

    #[test]
    fn what_comes_and_what_goes_says_so() {
        let goes = "it takes no more events, and goes when it is through";
        let leaving = LaneView { is_leaving: true, ..lane() };
        check(None, Some(leaving.clone()), PluginState::Draining, goes);
        let ends = WorkerView { stage: Stage::Ends, since: seconds(4), ..works() };
        let why = format!("{goes}; the last call of it takes 4.0s so far");
        check(None, Some(LaneView { workers: vec![ends], ..leaving }), PluginState::Draining, &why);
        let waits = WorkerView { stage: Stage::Ready, ..works() };
        let why = "it waits for the one that had its name before";
        let waiting = LaneView { workers: vec![waits], ..lane() };
        check(Some(posting()), Some(waiting), PluginState::Starting, why);
        let absent = Posting { runs: false, ..posting() };
        check(Some(absent.clone()), None, PluginState::Starting, "it has not been made yet");
        let failed = Posting { failed: Some(("no way".into(), None)), ..absent };
        check(Some(failed.clone()), None, PluginState::Failed, "no way; left out until its file changes");
        let beside = Posting { runs: true, ..failed };
        let why = "no way; the old code goes on, left out until its file changes";
        check(Some(beside), Some(lane()), PluginState::Running, why);
        let changing = Posting { changing: Some(("1 (a)".into(), "2 (b)".into())), ..posting() };
        check(Some(changing), Some(lane()), PluginState::Changing, "2 (b) takes over from 1 (a)");
    }

    #[test]
    fn times_are_short() {
        let shown = [0, 900, 9_960, 61_500, 90_061_000].map(|ms| time(Duration::from_millis(ms)));
        assert_eq!(shown, ["0.0s", "0.9s", "10.0s", "1m 1s", "1day 1h 1m 1s"]);
    }

    #[test]
    fn a_message_is_cut_between_two_characters() {
        assert_eq!(shortened("a\nb"), r"a\nb");
        assert_eq!(shortened(&"ü".repeat(600)), format!("{}…", "ü".repeat(512)));
    }
}
