//! Batches, and verdicts that come later.

use std::sync::Mutex;
use std::thread;

use super::failure;
use crate::testing::TestHost;
use crate::{Deferred, Event, Host, Plugin, Reject, Result, Unavailable, anyhow, bail, json};

/// Takes at most three events at once. The name of a file says what becomes of it.
struct Many {
    calls: Vec<usize>,
    /// To be completed by the next flush.
    kept: Mutex<Vec<Deferred>>,
}

impl Plugin for Many {
    type Config = ();

    const IN_FLIGHT: u16 = 3;

    fn new(_: (), _: Host) -> Result<Self> {
        Ok(Many { calls: Vec::new(), kept: Mutex::default() })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        self.on_batch(std::slice::from_ref(event))
    }

    fn on_batch(&mut self, events: &[Event<'_>]) -> Result<()> {
        self.calls.push(events.len());
        let mut result = Ok(());
        for event in events {
            match event.name().to_str().unwrap_or_default() {
                "settled" => event.settle(Err(Reject::new("by itself").into())),
                "kept" => self.kept.get_mut().unwrap_or_else(|e| e.into_inner()).push(event.defer()?),
                "later" => {
                    let deferred = event.defer()?;
                    thread::spawn(move || deferred.complete(Err(anyhow!("later"))));
                }
                "dropped" => drop(event.defer()?),
                "twice" => {
                    event.defer()?.complete(Err(anyhow!("of no account")));
                    event.settle(Ok(()));
                }
                "all" => result = Err(anyhow!("all of them")),
                "panic" => panic!("in a batch"),
                "calls" => bail!("{:?}", self.calls),
                _ => {}
            }
        }
        result
    }

    fn flush(&mut self) -> Result<()> {
        let kept = std::mem::take(self.kept.get_mut().unwrap_or_else(|e| e.into_inner()));
        kept.into_iter().for_each(|deferred| deferred.complete(Ok(())));
        Ok(())
    }
}

fn many() -> TestHost {
    TestHost::start::<Many>(json!({})).unwrap()
}

fn burst(host: &TestHost, names: &[&str]) -> Vec<crate::Verdict> {
    host.burst(names.iter().map(|name| host.event(name)))
}

#[test]
fn each_event_of_a_batch_has_its_own_verdict_or_that_of_the_call() {
    let host = many();
    let verdicts = burst(&host, &["a", "settled", "all"]);
    verdicts[0].assert_retry("all of them");
    verdicts[1].assert_reject("by itself");
    verdicts[2].assert_retry("all of them");
    let verdicts = burst(&host, &["a", "b", "c", "d"]);
    assert!(verdicts.iter().all(crate::Verdict::is_done));
    host.event("calls").deliver().assert_retry("[3, 3, 1, 1]");
}

#[test]
fn a_verdict_that_comes_later_is_waited_for() {
    let mut host = many();
    let verdicts = burst(&host, &["later", "kept", "a"]);
    verdicts[0].assert_retry("later");
    assert!(verdicts[1].is_done() && verdicts[2].is_done());
    host.write("dropped", "").assert_retry("the plugin has dropped its deferred verdict");
    host.write("twice", "").assert_done();
    // The call has failed: that is the verdict of the one that has no other.
    burst(&host, &["kept", "all"])[0].assert_done();
}

#[test]
fn a_panic_is_that_of_all_of_a_batch() {
    let host = many();
    let said = failure(|| drop(burst(&host, &["a", "panic"])));
    assert!(said.contains("in a batch"), "{said}");
}

/// Takes one after the other.
struct One;

impl Plugin for One {
    type Config = ();

    fn new(_: (), _: Host) -> Result<Self> {
        Ok(One)
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        match event.name().to_str() {
            Some("settled") => event.settle(Err(Unavailable::new("by itself").into())),
            _ => event.defer()?.complete(Ok(())),
        }
        Ok(())
    }
}

#[test]
fn who_takes_one_after_the_other_cannot_defer() {
    let mut host = TestHost::start::<One>(json!({})).unwrap();
    host.write("a", "").assert_retry("IN_FLIGHT is 1");
    host.write("settled", "").assert_unavailable("by itself");
}
