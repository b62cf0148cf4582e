//! The plugin `exec` with `mode = "lines"`: one long-lived child that answers events line by line.

use std::fs;

use crate::exec::{gone, lines, running, wait_for_lines};

/// A long-lived child that answers what the file's name says.
const BY_NAME: &str = r#"
echo "$$" >> $T/started
while read -r line; do
    printf '%s\n' "$line" >> $T/events
    case $line in
        *'"relative":"reject'*) echo 'reject told to' ;;
        *'"relative":"retry'*'"attempt":1'* | *'"attempt":1,'*'"relative":"retry'*) echo 'retry told to' ;;
        *'"relative":"die'*) [ -e $T/died ] && echo done || { touch $T/died; exit 9; } ;;
        *) echo done ;;
    esac
done
"#;

#[test]
fn one_child_answers_many_events() {
    let host = running(BY_NAME, &[]).set("exec.mode=\"lines\"").start();
    for name in ["a.txt", "reject.txt", "retry.txt", "b.txt"] {
        host.write(name, "x");
    }
    let events = wait_for_lines(&host, "events", 5);
    let names: Vec<String> = events
        .iter()
        .map(|line| {
            serde_json::from_str::<serde_json::Value>(line).unwrap()["relative"].as_str().unwrap().to_owned()
        })
        .collect();
    for (name, times) in [("a.txt", 1), ("b.txt", 1), ("reject.txt", 1), ("retry.txt", 2)] {
        assert_eq!(names.iter().filter(|n| *n == name).count(), times, "{name}");
    }
    host.logged(&["exec", "reject.txt", "told to"]);
    assert_eq!(lines(&host, "started").len(), 1);
    host.stop().success();
}

#[test]
fn a_child_that_dies_is_started_again() {
    let host = running(BY_NAME, &[]).set("exec.mode=\"lines\"").start();
    host.write("die.txt", "x");
    wait_for_lines(&host, "events", 2);
    host.write("a.txt", "x");
    wait_for_lines(&host, "events", 3);
    let started = lines(&host, "started");
    assert_eq!(started.len(), 2);
    host.stop().success();
    let status = fs::read_to_string(format!("/proc/{}/status", started[1])).unwrap_or_default();
    assert!(status.is_empty(), "the child is gone with the host");
}

#[test]
fn a_silent_child_is_ended_on_the_deadline() {
    let body = "echo $$ >> $T/started; while read -r line; do sleep 600; done";
    let host = running(body, &[])
        .args(["--set", "exec.mode=\"lines\"", "--set", "plugin.exec.timeout=\"200ms\""])
        .start();
    host.write("a.txt", "x");
    let started = wait_for_lines(&host, "started", 2);
    gone(&host, &started[0]);
    host.stop().success();
}
