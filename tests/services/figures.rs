//! What `notifyit status` shows of a plugin's own figures.

use std::path::PathBuf;

use notifyit_tests::{Host, Running};
use serde_json::{Value, json};

use super::{answers, asking};

fn host() -> Host {
    asking().args(["--socket", "control.sock"])
}

fn metrics(host: &Running) -> Value {
    let ask = Host::at(notifyit_tests::Place::clone(host)).verb("status").watching(Vec::<PathBuf>::new());
    let exit = ask.args(["--socket", "control.sock", "--json"]).run();
    exit.success();
    let status: Value = serde_json::from_slice(exit.stdout()).expect("it is JSON");
    status["plugins"][0]["metrics"].clone()
}

#[test]
fn they_are_added_up_over_the_workers() {
    let host = host().set("plugin.asks.workers=3").start();
    assert_eq!(metrics(&host), json!({ "counters": {}, "gauges": {} }));
    for n in 0..12 {
        answers(&host, &format!("c{n}"), &format!("count rows 1{n:02}"), "done");
    }
    answers(&host, "g", "gauge depth 2.5", "done");
    answers(&host, "g", "gauge depth 1.5", "done");
    let rows: u64 = (100..112).sum();
    assert_eq!(metrics(&host), json!({ "counters": { "rows": rows }, "gauges": { "depth": 1.5 } }));
    host.stop().success();
}

#[test]
fn what_was_counted_outlives_a_panic_and_a_gauge_does_not() {
    let host = host().start();
    answers(&host, "a", "count rows 5", "done");
    answers(&host, "b", "gauge depth 2", "done");
    host.write("c", "panic");
    host.logged(&["asks", "panic: done"]);
    answers(&host, "d", "count rows 2", "done");
    assert_eq!(metrics(&host), json!({ "counters": { "rows": 7 }, "gauges": {} }));
    host.stop().success();
}

#[test]
fn what_is_no_name_is_left_out_and_said_once() {
    let host = host().start();
    answers(&host, "a", "count Rows 5", "done");
    answers(&host, "b", "count ro-ws 5", "done");
    host.logged(&["WARN", "asks", "the figure \"Rows\" is left out"]);
    assert_eq!(host.count_logged(&["is left out"]), 1);
    assert_eq!(metrics(&host)["counters"], json!({}));
    host.stop().success();
}
