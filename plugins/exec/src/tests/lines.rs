use std::time::Duration;

use notifyit_plugin_api::testing::TestHost;
use notifyit_plugin_api::{Blame, Verdict, json};

use super::{LONG, is_gone, logged, refused, reject, retry, start, wait_for};

/// A host whose plugin's one child runs this script. It says its number first.
fn lines(script: &str) -> TestHost {
    lines_killed_after("1s", script)
}

fn lines_killed_after(kill_after: &str, script: &str) -> TestHost {
    let script = format!("echo pid $$ >&2; {script}");
    start(json!({"command": ["sh", "-c", script], "mode": "lines", "kill_after": kill_after}))
}

/// How often the child was started.
fn starts(host: &TestHost) -> usize {
    host.logs().iter().filter(|line| line.starts_with("WARN pid ")).count()
}

/// Answers by the file's name.
const BY_NAME: &str = r#"while read -r line; do case $line in
    *'"name":"done"'*) echo done;;
    *'"name":"retry"'*) echo retry no room;;
    *'"name":"later"'*) echo '{"verdict":"retry","reason":"busy","after":"10s"}';;
    *'"name":"reject"'*) echo reject no image;;
    *'"name":"odd"'*) echo what;;
    *'"name":"twice"'*) printf 'done\ndone\n';;
    *'"name":"exit"'*) echo overboard >&2; exit 3;;
    *'"name":"last"'*) echo done; exit 0;;
    *'"name":"mute"'*) exec >&-; while :; do sleep 0.01; done;;
    *'"name":"hang"'*) while :; do sleep 0.01; done;;
esac; done"#;

#[test]
fn one_child_answers_many_events() {
    let mut host = lines(BY_NAME);
    for _ in 0..50 {
        host.write("done", "x").assert_done();
    }
    assert_eq!(host.write("retry", "x"), retry("no room"));
    assert_eq!(host.write("reject", "x"), reject("no image"));
    let after = Some(Duration::from_secs(10));
    assert_eq!(
        host.write("later", "x"),
        Verdict::Retry { message: "busy: try again in 10s".into(), after, blame: Blame::File }
    );
    assert_eq!(host.write("odd", "x"), retry(r#"answered "what", which is no verdict"#));
    host.write("sub\n/done", "x").assert_done();
    assert_eq!(starts(&host), 1);
}

#[test]
fn a_child_that_exits_is_a_retry_and_the_next_event_starts_another() {
    let mut host = lines(BY_NAME);
    assert_eq!(host.write("exit", "x"), retry("exited with 3 before it answered: overboard"));
    assert_eq!(starts(&host), 1);
    assert!(is_gone(&logged(&host, "pid ")));
    host.write("done", "x").assert_done();
    assert_eq!(starts(&host), 2);
    assert_eq!(host.write("last", "x"), Verdict::Done, "an answer counts, whatever comes then");
    host.wait_logged("WARN exited with 0 between two events");
    host.write("done", "x").assert_done();
    assert_eq!(starts(&host), 3);
}

#[test]
fn a_child_that_closes_its_output_is_ended() {
    let mut host = lines(BY_NAME);
    assert_eq!(host.write("mute", "x"), retry("closed its standard output before it answered"));
    assert!(is_gone(&logged(&host, "pid ")));
    host.write("done", "x").assert_done();
}

#[test]
fn a_deadline_ends_the_child() {
    let mut host = lines(BY_NAME);
    // By then it has said who it is, however busy the machine is.
    host.set_timeout(Some(Duration::from_secs(2)));
    assert_eq!(host.write("hang", "x"), retry("timed out after 2s"));
    assert!(is_gone(&logged(&host, "pid ")));
    host.set_timeout(None);
    host.write("done", "x").assert_done();
    assert_eq!(starts(&host), 2);
}

#[test]
fn two_answers_at_once_are_a_retry_and_a_new_child() {
    let mut host = lines(BY_NAME);
    assert_eq!(host.write("twice", "x"), retry(r#"answered more than once, beginning with "done""#));
    assert!(is_gone(&logged(&host, "pid ")));
    host.write("done", "x").assert_done();
    assert_eq!(starts(&host), 2);
}

#[test]
fn an_answer_without_a_question_ends_the_child_at_once() {
    let beginning = "printf be; sleep 0.02; echo there >&2; read x";
    for (extra, shown) in [("echo more", "more"), (beginning, "the beginning of a line")] {
        let script = format!("read -r line; echo done; sleep 0.02; {extra}; while :; do sleep 0.01; done");
        let mut host = lines(&script);
        host.write("a", "x").assert_done();
        if extra == "echo more" {
            wait_for("the child is ended", || is_gone(&logged(&host, "pid ")));
        } else {
            host.wait_logged("WARN there");
        }
        host.set_timeout(Some(LONG));
        host.write("b", "x").assert_done();
        let error = format!("ERROR the program is out of step and is ended: it wrote {shown:?} unasked");
        host.assert_logged(&error);
        assert!(is_gone(&logged(&host, "pid ")));
    }
}

#[test]
fn between_events_its_log_is_not_late_and_its_exit_leaves_no_zombie() {
    let mut host = lines("read -r line; echo done; sleep 0.02; echo still here >&2; exit 4");
    host.write("a", "x").assert_done();
    host.wait_logged("WARN still here");
    wait_for("its end", || is_gone(&logged(&host, "pid ")));
    host.wait_logged("WARN exited with 4 between two events: still here; the next event starts it again");
    host.write("b", "x").assert_done();
}

#[test]
fn shutdown_closes_its_input_and_waits() {
    let script = "while read -r line; do echo done; done; sleep 0.02; echo bye >&2";
    let mut host = lines_killed_after("1m", script);
    host.write("a", "x").assert_done();
    host.shutdown().assert_done();
    assert_eq!(host.logs()[1..], ["WARN bye"]);
    assert!(is_gone(&logged(&host, "pid ")));
}

#[test]
fn who_does_not_heed_the_shutdown_is_killed() {
    let script = "trap '' TERM; read -r line; echo done; while :; do sleep 0.01; done";
    let mut host = lines_killed_after("100ms", script);
    host.write("a", "x").assert_done();
    host.shutdown().assert_done();
    assert!(is_gone(&logged(&host, "pid ")));
    assert!(host.logs()[1].starts_with("WARN killed by signal 9 (SIGKILL)"), "{:?}", host.logs());
}

#[test]
fn a_drop_without_shutdown_ends_the_child_too() {
    let mut host = lines(BY_NAME);
    host.write("done", "x").assert_done();
    let pid = logged(&host, "pid ");
    drop(host);
    assert!(is_gone(&pid));
}

#[test]
fn a_host_without_events_starts_nothing() {
    let mut host = lines("exit 1");
    host.shutdown().assert_done();
    assert_eq!(starts(&host), 0);
}

#[test]
fn a_program_that_went_missing_is_a_retry_that_says_so() {
    let dir = std::env::temp_dir().join(format!("notifyit-lines-{}", std::process::id()));
    std::fs::create_dir(&dir).unwrap();
    let program = dir.join("program");
    std::os::unix::fs::symlink("/bin/cat", &program).unwrap();
    let mut host = start(json!({"command": [program.to_str().unwrap()], "mode": "lines"}));
    std::fs::remove_dir_all(&dir).unwrap();
    let started = format!("failed to start `{}`: ", program.display());
    host.write("a", "x").assert_retry(&started);
}

#[test]
fn placeholders_are_refused() {
    let error = refused(json!({"command": ["cat", "{path}"], "mode": "lines"}));
    assert_eq!(
        error,
        "configuration: key `command`: `{path}` has a placeholder, and with mode = \"lines\" the program is started before \
         there is an event"
    );
}

#[test]
fn an_answer_can_say_that_the_file_was_rewritten() {
    let script = r#"while read -r line; do
        path=${line#*\"path\":\"}; path=${path%%\"*}
        echo more >> "$path"
        case $path in */said) echo '{"verdict":"done","rewrote":true}' ;; *) echo done ;; esac
    done"#;
    let mut host = lines(script);
    for (name, says) in [("said", true), ("unsaid", false)] {
        host.write(name, "x").assert_done();
        assert_eq!(host.rewrote(), says, "{name}");
    }
}

#[test]
fn an_answer_can_hand_its_file_on() {
    let script = r#"while read -r line; do
        case $line in *\"on\"*) echo '{"verdict":"done","emits":true}' ;; *) echo done ;; esac
    done"#;
    let mut host = lines(script);
    host.write("off", "x").assert_done();
    host.write("on", "x").assert_done();
    assert_eq!(host.emitted(), [host.root().join("on")]);
}
