//! A status for people.

use std::fmt::Write;
use std::time::Duration;

use super::state::time;
use super::status::{HostState, NotRun, NotRunState, Plugin, PluginState, Status, Watch, WatchState};
use crate::config::Isolation;
use crate::log::one_line;
use crate::plugin::Metrics;
use crate::stdout::columns;

pub(super) fn text(status: &Status) -> String {
    let Status { version, pid, since, .. } = status;
    let state = match status.state {
        HostState::Starting => "starting",
        HostState::Running => "running",
        HostState::Stopping => "stopping",
    };
    let up = time(Duration::from_millis(status.up_ms));
    let mut text = format!(
        "notifyit {} {state}, process {pid}, since {} ({up})\n\n",
        one_line(version),
        one_line(since)
    );
    let head = ["WATCH", "STATE", "DIRECTORY"].map(str::to_owned);
    text += &columns(&[vec![head], status.watches.iter().map(watch).collect()].concat());
    let head = ["PLUGIN", "STATE", "RUNS", "UNDER WAY", "HANDLED", "FAILED", "REJECTED", "GIVEN UP", "FILE"];
    let plugins: Vec<_> = status.plugins.iter().map(plugin).collect();
    let rows = [vec![head.map(str::to_owned)], plugins, status.not_run.iter().map(not_run).collect()];
    let _ = write!(text, "\n{}", columns(&rows.concat()));
    let said = status.plugins.iter().filter(|plugin| !plugin.reason.is_empty());
    let said = said.map(|plugin| (format!("{} is {}", plugin.name, state_of(plugin.state)), &plugin.reason));
    let files = status.not_run.iter().map(|file| (not_run_state(file).to_owned(), &file.reason));
    for (place, (what, reason)) in said.chain(files).enumerate() {
        let gap = if place == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{gap}{}: {}", one_line(&what), one_line(reason));
    }
    let counting = status.plugins.iter().filter(|plugin| plugin.metrics != Metrics::default());
    for (place, plugin) in counting.enumerate() {
        let gap = if place == 0 { "\n" } else { "" };
        let _ = writeln!(text, "{gap}{} counts {}", one_line(&plugin.name), figures(&plugin.metrics));
    }
    text
}

/// `rows 12, depth 1.5`: the host that answers may be another version, so that the names may be anything.
fn figures(metrics: &Metrics) -> String {
    let counters = metrics.counters.iter().map(|(name, value)| format!("{} {value}", one_line(name)));
    let gauges = metrics.gauges.iter().map(|(name, value)| format!("{} {value}", one_line(name)));
    counters.chain(gauges).collect::<Vec<_>>().join(", ")
}

fn watch(watch: &Watch) -> [String; 3] {
    let state = match watch.state {
        WatchState::Starting => "starting",
        WatchState::Ok => "ok",
        WatchState::Polled => "polled",
        WatchState::Missing => "missing",
    };
    [one_line(&watch.name).into_owned(), state.to_owned(), one_line(&watch.path.shown()).into_owned()]
}

fn plugin(plugin: &Plugin) -> [String; 9] {
    [
        one_line(&plugin.name).into_owned(),
        state_of(plugin.state).to_owned(),
        runs(plugin),
        format!("{} of {}", plugin.under_way, plugin.queue),
        plugin.handled.to_string(),
        plugin.failed.to_string(),
        plugin.rejected.to_string(),
        plugin.given_up.to_string(),
        file(plugin.file.as_deref()),
    ]
}

/// Where it runs: the processes of its workers.
fn runs(plugin: &Plugin) -> String {
    if plugin.isolation == Isolation::Inline {
        return "inline".to_owned();
    }
    let processes = plugin.workers.iter().filter_map(|worker| worker.process);
    let processes: Vec<String> = processes.map(|process| process.to_string()).collect();
    if processes.is_empty() { "no process".to_owned() } else { processes.join(" ") }
}

fn not_run(not_run: &NotRun) -> [String; 9] {
    let mut row = ["-"; 9].map(str::to_owned);
    row[1] = not_run_state(not_run).to_owned();
    row[8] = file(not_run.file.as_deref());
    row
}

fn file(file: Option<&str>) -> String {
    file.map_or("-".to_owned(), |file| one_line(file).into_owned())
}

fn state_of(state: PluginState) -> &'static str {
    match state {
        PluginState::Draining => "draining",
        PluginState::Stuck => "stuck",
        PluginState::Failing => "failing",
        PluginState::Failed => "failed",
        PluginState::Starting => "starting",
        PluginState::Changing => "changing",
        PluginState::Behind => "behind",
        PluginState::Running => "running",
    }
}

fn not_run_state(not_run: &NotRun) -> &'static str {
    match not_run.state {
        NotRunState::Refused => "refused",
        NotRunState::Quarantined => "quarantined",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use expect_test::expect;

    const JSON: &str = r#"{"v":1,"version":"0.1.0","pid":7,"state":"running","since":"2026-01-31T12:00:00Z",
        "up_ms":61000,"new":[],
        "watches":[{"name":"in","path":"/srv/in","state":"ok"},{"name":"b","path_base64":"L/8=","state":"missing"}],
        "plugins":[
            {"name":"print","state":"running","reason":"","file":"/p/a.so","version":"1","isolation":"inline",
             "next_try_ms":null,"under_way":0,"queue":65536,"handled":12,"failed":0,"rejected":0,"given_up":0,"gone":0,
             "metrics":{"counters":{"rows":12},"gauges":{"depth":1.5,"load":3.0}},
             "workers":[{"process":null,"stage":"works","stage_ms":3,"in_hand":null}]},
            {"name":"to-do","state":"stuck","reason":"it is at \"/x\"\u001b","file":null,"version":null,
             "isolation":"process","next_try_ms":1,"under_way":1,"queue":8,"handled":0,"failed":3,"rejected":1,
             "given_up":2,"gone":0,"workers":[{"process":11,"stage":"works","stage_ms":3,"in_hand":null},
             {"process":12,"stage":"changes-over","stage_ms":3,"in_hand":{"path":"/x","since_ms":9,"late":true}}]}],
        "not_run":[{"file":"/p/x.so","state":"quarantined","reason":"it crashes"}]}"#;

    #[test]
    fn a_status_is_a_head_two_tables_and_the_reasons() {
        let status: Status = serde_json::from_str(JSON).unwrap();
        expect![[r#"
            notifyit 0.1.0 running, process 7, since 2026-01-31T12:00:00Z (1m 1s)

            WATCH  STATE    DIRECTORY
            in     ok       /srv/in
            b      missing  /�

            PLUGIN  STATE        RUNS    UNDER WAY   HANDLED  FAILED  REJECTED  GIVEN UP  FILE
            print   running      inline  0 of 65536  12       0       0         0         /p/a.so
            to-do   stuck        11 12   1 of 8      0        3       1         2         -
            -       quarantined  -       -           -        -       -         -         /p/x.so

            to-do is stuck: it is at "/x"\u{1b}
            quarantined: it crashes

            print counts rows 12, depth 1.5, load 3
        "#]]
        .assert_eq(&text(&status));
        let whole = serde_json::to_string(&status).unwrap();
        assert_eq!(serde_json::from_str::<Status>(&whole).unwrap(), status);
    }
}
