//! The plugin `exec`: a program for each file.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use notifyit_tests::{Exit, Host, Running};

/// A host that runs a script with these arguments; in the script, `$T` is the test's directory.
pub(crate) fn running(body: &str, arguments: &[&str]) -> Host {
    let host = Host::new().plugin("exec").set(r#"plugin.exec.retry={first="10ms"}"#);
    let script = host.script("handler", &format!("T='{}'\n{body}", host.temp().display()));
    let mut command = vec![script.into_os_string()];
    command.extend(arguments.iter().map(Into::into));
    host.command(command)
}

/// The lines that a script has written to this file so far.
pub(crate) fn lines(place: &notifyit_tests::Place, name: &str) -> Vec<String> {
    let text = fs::read_to_string(place.temp().join(name)).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

pub(crate) fn wait_for_lines(host: &Running, name: &str, count: usize) -> Vec<String> {
    host.wait_for(&format!("{count} lines in {name}"), |host| {
        let lines = lines(host, name);
        (lines.len() >= count).then_some(lines)
    })
}

/// Lets one file be handled by a script that answers `first` and after that 0; how often it ran.
fn answered(first: &str) -> (Exit, usize) {
    let body = format!(r#"echo "$1" >> $T/ran; [ $(grep -c "$1" $T/ran) = 1 ] && {first}; exit 0"#);
    let host = running(&body, &["{name}"]).start();
    host.write("a.txt", "x");
    wait_for_lines(&host, "ran", 1);
    if first != "exit 0" && first != "exit 65" {
        wait_for_lines(&host, "ran", 2);
    }
    host.write("marker", "x");
    host.wait_for("the marker", |host| lines(host, "ran").contains(&"marker".to_owned()).then_some(()));
    // The marker's own first answer is `first` too.
    let exit = host.stop();
    exit.success();
    let times = lines(&exit, "ran").iter().filter(|line| *line == "a.txt").count();
    (exit, times)
}

#[test]
fn exit_0_is_done() {
    assert_eq!(answered("exit 0").1, 1);
}

#[test]
fn exit_75_is_tried_again() {
    assert_eq!(answered("exit 75").1, 2);
}

#[test]
fn exit_65_is_rejected() {
    let (exit, times) = answered("exit 65");
    assert_eq!(times, 1);
    assert_eq!(exit.lines(&["exec", "a.txt", "65"]).len(), 1);
}

#[test]
fn any_other_exit_and_any_signal_is_tried_again_and_named() {
    let (exit, times) = answered("exit 3");
    assert_eq!(times, 2);
    assert!(!exit.lines(&["exec", "a.txt", "3"]).is_empty());
    let (exit, times) = answered("kill -9 $$");
    assert_eq!(times, 2);
    assert!(!exit.lines(&["exec", "a.txt", "signal"]).is_empty());
}

#[test]
fn the_placeholders_stand_for_the_event() {
    let arguments = ["{path}", "{name}", "{root}", "{relative}", "<{name}>", "{kind}", "{attempt}"];
    let host = running(r#"for word; do printf '%s\n' "$word"; done > $T/words"#, &arguments).arg("-r");
    host.mkdir("sub");
    let host = host.start();
    host.write("sub/a b.txt", "x");
    let words = wait_for_lines(&host, "words", 7);
    let show = |path: PathBuf| path.to_str().unwrap().to_owned();
    let (path, root) = (show(host.path("sub/a b.txt")), show(host.root()));
    assert_eq!(words, [&path, "a b.txt", &root, "sub/a b.txt", "<a b.txt>", "landed", "1"]);
    host.stop().success();
}

#[test]
fn file_is_the_checked_descriptor() {
    let host = running(
        r#"echo "$1" > $T/word; cat "$1" > $T/content.part; mv $T/content.part $T/content"#,
        &["{file}"],
    );
    let host = host.start();
    host.write("a.txt", "the content\n");
    assert_eq!(wait_for_lines(&host, "content", 1), ["the content"]);
    assert_eq!(lines(&host, "word"), ["/dev/fd/3"]);
    host.stop().success();
}

#[test]
fn a_link_swapped_in_is_not_opened() {
    let host = running(r#"cat "$1" >> $T/content"#, &["{file}"]).start();
    let secret = host.aside("secret", "secret\n");
    std::os::unix::fs::symlink(secret, host.temp().join("link")).unwrap();
    fs::rename(host.temp().join("link"), host.path("link")).unwrap();
    host.write("a.txt", "public\n");
    assert_eq!(wait_for_lines(&host, "content", 1), ["public"]);
    host.stop().success();
}

#[test]
fn no_other_descriptor_is_inherited() {
    let list = "ls -l /proc/self/fd > $T/fds.part; mv $T/fds.part $T/fds";
    let host = running(list, &["{file}"]).start();
    host.write("a.txt", "x");
    let fds = wait_for_lines(&host, "fds", 4).join("\n");
    assert!(fds.contains(" 3 -> ") && fds.contains("in/a.txt"), "{fds}");
    // Others may come from whoever started these tests, but none from the host.
    for own in ["inotify", "eventpoll", "eventfd", "signalfd", "memfd", "socket", ".so"] {
        assert!(!fds.contains(own), "{own}: {fds}");
    }
    host.stop().success();
}

#[test]
fn a_hostile_name_does_nothing_but_be_a_name() {
    let host = running(r#"printf '%s\0' "$1" "$2" "$NOTIFYIT_NAME" >> $T/words"#, &["{name}", "x{name}y"]);
    host.mkdir("x");
    let host = host.start();
    let names = ["$(rm -rf x);\\n\"", "`touch y`", "a\nb", "-rf", "--", "; touch y", "{path}", "*"];
    for name in names {
        host.write(name, "x");
        host.wait_for(name, |host| {
            let words = fs::read_to_string(host.temp().join("words")).unwrap_or_default();
            words.ends_with(&format!("{name}\0x{name}y\0{name}\0")).then_some(())
        });
    }
    assert!(host.path("x").exists() && !host.path("y").exists() && !host.temp().join("y").exists());
    host.stop().success();
}

#[test]
fn the_event_is_on_stdin_and_in_the_environment() {
    let host =
        running("cat > $T/stdin; env | grep ^NOTIFYIT_ | sort > $T/env.part; mv $T/env.part $T/env", &[])
            .start();
    host.write("a.txt", "four");
    let environment = wait_for_lines(&host, "env", 5);
    let event: serde_json::Value = serde_json::from_str(&lines(&host, "stdin").join("\n")).unwrap();
    assert_eq!(event["relative"], "a.txt");
    assert_eq!(event["v"], 1);
    for (name, value) in [
        ("PATH", host.path("a.txt").to_str().unwrap()),
        ("NAME", "a.txt"),
        ("RELATIVE", "a.txt"),
        ("ROOT", host.root().to_str().unwrap()),
        ("KIND", "landed"),
        ("ATTEMPT", "1"),
        ("SIZE", "4"),
        ("ID", event["id"].as_str().unwrap()),
    ] {
        assert!(environment.contains(&format!("NOTIFYIT_{name}={value}")), "{name}: {environment:#?}");
    }
    host.stop().success();
}

#[test]
fn a_program_that_does_not_read_its_stdin_is_no_error() {
    let host = running("exec <&-; echo ran >> $T/ran", &[]).start();
    host.write("a.txt", "x");
    host.write("b.txt", "x");
    wait_for_lines(&host, "ran", 2);
    let exit = host.stop();
    exit.success();
    assert_eq!(lines(&exit, "ran").len(), 2);
}

#[test]
fn output_is_logged_line_by_line() {
    let host =
        running(r#"echo "to stdout $1"; echo "to stderr $1" >&2; printf 'no newline'"#, &["{name}"]).start();
    host.write("a.txt", "x");
    for text in ["to stdout a.txt", "to stderr a.txt", "no newline"] {
        host.logged(&["exec", text]);
    }
    let exit = host.stop();
    exit.success();
    assert!(exit.stdout().is_empty(), "stdout belongs to print");
}

#[test]
fn a_flood_of_output_neither_blocks_nor_fills_the_memory() {
    let host = running("head -c 3000000 /dev/zero | tr '\\0' x; seq 20000; echo >> $T/ran", &[]).start();
    host.write("a.txt", "x");
    wait_for_lines(&host, "ran", 1);
    host.stop().success();
}

/// Waits until no process has this id, or only one that nobody has waited for.
pub(crate) fn gone(host: &Running, pid: &str) {
    host.wait_for(&format!("process {pid} to be gone"), |_| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        (status.is_empty() || status.contains("State:\tZ")).then_some(())
    });
}

#[test]
fn on_a_deadline_the_whole_group_is_ended() {
    let body = r#"sleep 600 & echo "$! $$" >> $T/pids; wait"#;
    let host = running(body, &[]).set("plugin.exec.timeout=\"200ms\"").start();
    host.write("a.txt", "x");
    let pids = wait_for_lines(&host, "pids", 2); // and it is tried again
    for pid in pids[0].split_whitespace() {
        gone(&host, pid);
    }
    host.logged(&["exec", "a.txt", "200ms"]);
    host.stop().success();
}

#[test]
fn a_program_that_ignores_the_term_signal_is_killed() {
    let body = r#"trap '' TERM; echo $$ >> $T/pids; while :; do sleep 0.1; done"#;
    let host =
        running(body, &[]).set("plugin.exec.timeout=\"100ms\"").set("exec.kill_after=\"200ms\"").start();
    host.write("a.txt", "x");
    let pids = wait_for_lines(&host, "pids", 1);
    gone(&host, &pids[0]);
    host.stop().success();
}

#[test]
fn never_more_children_than_workers() {
    let body = r#"echo + >> $T/log; sleep 0.05; echo - >> $T/log"#;
    let host = running(body, &[]).set("plugin.exec.workers=2").start();
    for n in 0..20 {
        host.write(n.to_string(), "x");
    }
    let log = wait_for_lines(&host, "log", 40);
    let mut now = 0_i32;
    let counts: Vec<i32> = log
        .iter()
        .map(|line| {
            now += if line == "+" { 1 } else { -1 };
            now
        })
        .collect();
    assert_eq!(counts.iter().max(), Some(&2));
    host.stop().success();
}

#[test]
fn a_stop_waits_for_the_child() {
    let host = running("echo begun >> $T/log; sleep 0.3; echo ended >> $T/log", &[]).start();
    host.write("a.txt", "x");
    wait_for_lines(&host, "log", 1);
    let exit = host.stop();
    exit.success();
    assert_eq!(lines(&exit, "log"), ["begun", "ended"]);
}

#[test]
fn a_terminals_interrupt_does_not_hit_the_children() {
    // A terminal signals the whole foreground group; a child in a group of its own finishes its work.
    let host = running("cut -d' ' -f5 /proc/$$/stat > $T/group.part; mv $T/group.part $T/group", &[]).start();
    host.write("a.txt", "x");
    let group = wait_for_lines(&host, "group", 1);
    let own = rustix::process::getpgid(Some(host.pid())).unwrap();
    assert_ne!(group[0].trim(), own.as_raw_nonzero().to_string());
    host.stop().success();
}

#[test]
fn a_program_that_is_missing_ends_the_start() {
    let exit = Host::new().plugin("exec").command(["no-such-program-here", "{file}"]).run();
    exit.code(1).one_error(&["exec", "no-such-program-here"]);
}

#[test]
fn a_program_that_may_not_be_executed_ends_the_start() {
    let host = Host::new().plugin("exec");
    let text = host.aside("text", "not a program");
    host.command([text]).run().code(1).one_error(&["exec", "text", "ermission denied"]);
}

#[test]
fn a_program_that_goes_missing_costs_no_file_its_attempts() {
    let host = running("echo \"$1\" >> $T/ran", &["{name}"])
        .set(r#"plugin.exec.retry={first="10ms",max="50ms",attempts=2}"#);
    let host = host.start();
    let (handler, away) = (host.temp().join("handler"), host.temp().join("away"));
    fs::rename(&handler, &away).unwrap();
    host.write("a.txt", "x");
    host.logged(&["exec", "handler"]);
    host.write("b.txt", "x");
    let begin = Instant::now();
    host.wait_for("more than two attempts' time", |_| {
        (begin.elapsed() > Duration::from_millis(300)).then_some(())
    });
    fs::rename(&away, &handler).unwrap();
    let mut ran = wait_for_lines(&host, "ran", 2);
    ran.sort();
    assert_eq!(ran, ["a.txt", "b.txt"]);
    host.stop().success();
}

#[test]
fn an_unknown_placeholder_ends_the_start() {
    let exit = Host::new().plugin("exec").command(["true", "{pth}"]).run();
    exit.code(1).one_error(&["exec", "{pth}"]);
}

#[test]
fn without_a_command_it_says_what_is_missing() {
    Host::new().plugin("exec").args(["-p", "exec"]).run().code(78).one_error(&["exec", "command"]);
}

#[test]
fn a_command_narrows_to_exec() {
    let host = Host::new().plugin("print").plugin("exec").command(["true"]).start();
    host.write("a.txt", "x");
    let exit = host.stop();
    exit.success();
    assert!(exit.stdout().is_empty());
}

#[test]
fn exec_says_that_its_program_rewrites() {
    let body = "echo ran >> $T/ran; echo more >> \"$1\"";
    let host = running(body, &["{path}"]).set("exec.rewrites=true").start();
    host.write("a", "x");
    wait_for_lines(&host, "ran", 1);
    for n in 2..5 {
        host.write(format!("marker{n}"), "x");
        wait_for_lines(&host, "ran", n);
    }
    assert_eq!(lines(&host, "ran").len(), 4, "each file once");
    host.write("a", "again");
    wait_for_lines(&host, "ran", 5);
    host.stop().success();

    let host = running(body, &["{path}"]).start();
    host.write("a", "x");
    host.logged(&["WARN", "exec", "again and again", "rewrites = true"]);
    host.stop();
}

/// A program looks into each file; only what it lets pass is taken.
const SCREENED: &str = r#"
[[watch]]
path = "{root}"

[plugin.screen]
library = "exec"
config = { command = ["sh", "-c", 'grep -q good "$1" || exit 65', "sh", "{file}"], emits = true }

[plugin.take]
library = "recorder"
events = ["emitted"]
config = { out = "{temp}/take.jsonl" }
"#;

#[test]
fn a_program_lets_files_pass_to_another_plugin() {
    let host = Host::new().named_plugin("exec").named_plugin("recorder").config(SCREENED).start();
    host.write("a", "bad");
    host.write("b", "good");
    host.handled("take", "b");
    let exit = host.stop();
    exit.success();
    assert!(exit.attempts("take", "a").is_empty());
    assert_eq!(exit.lines(&["screen", "rejected", "/a"]).len(), 1);
}
