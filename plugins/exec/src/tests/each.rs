use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use notifyit_plugin_api::{Verdict, json};

use super::{LONG, is_gone, logged, refused, reject, retry, sh, start};
use crate::child::{Child, Step};

#[test]
fn the_exit_status_is_the_verdict() {
    for (script, verdict) in [
        ("exit 0", Verdict::Done),
        ("exit 75", retry("exited with 75")),
        ("exit 65", reject("exited with 65")),
        ("exit 3", retry("exited with 3")),
        ("kill -9 $$", retry("killed by signal 9 (SIGKILL)")),
        ("echo first >&2; echo last >&2; echo out; exit 65", reject("exited with 65: last")),
        ("printf 'no newline' >&2; exit 1", retry("exited with 1: no newline")),
    ] {
        assert_eq!(sh(script).write("a", "x"), verdict, "{script}");
    }
}

#[test]
fn output_is_logged_line_by_line_under_the_files_name() {
    let mut host = sh("echo one; echo; printf 'two\\377'; echo three >&2");
    host.write("sub/a\nb", "x").assert_done();
    let mut logs = host.logs();
    logs.sort();
    let name = r#""sub/a\nb""#;
    let expected =
        [format!("INFO {name}: one"), format!("INFO {name}: two\u{fffd}"), format!("WARN {name}: three")];
    assert_eq!(logs, expected);
}

#[test]
fn a_flood_without_a_newline_is_cut() {
    let mut host = sh("head -c 5000000 /dev/zero | tr '\\0' x; echo; echo after");
    host.write("a", "x").assert_done();
    let logs = host.logs();
    assert_eq!(logs.len(), 2);
    assert!(logs[0].ends_with("xxx [cut: 4991808 bytes more]") && logs[0].len() < 9000, "{}", logs[0].len());
    assert_eq!(logs[1], r#"INFO "a": after"#);
}

#[test]
fn a_hostile_name_is_only_a_name() {
    let script = r#"printf '%s\0%s\0' "$1" "$NOTIFYIT_PATH" > "$2"; printf %s "$#" >&2"#;
    let names: [&[u8]; 6] = [
        b"$(rm -rf x);\n\"",
        b"`touch pwned`",
        b"--version",
        b"\xff\xfe '\\ *",
        b"{file}{path}",
        &[b'n'; 255],
    ];
    for name in names {
        let out = tempdir("hostile").join("out");
        let mut host = start(json!({"command": ["sh", "-c", script, "sh", "{path}", out.to_str().unwrap()]}));
        host.write(OsStr::from_bytes(name), "x").assert_done();
        let path = host.root().join(OsStr::from_bytes(name));
        let path = path.as_os_str().as_bytes();
        assert_eq!(fs::read(&out).unwrap(), [path, b"\0", path, b"\0"].concat(), "{name:?}");
        assert!(logged(&host, ": ").ends_with('2'), "{:?}", host.logs());
        assert_eq!(fs::read_dir(host.root()).unwrap().count(), 1, "{name:?}");
        fs::remove_dir_all(out.parent().unwrap()).unwrap();
    }
}

#[test]
fn placeholders_are_filled_in() {
    let command = json!([
        "printf",
        "%s|",
        "{name}",
        "{relative}",
        "{stem}",
        "{ext}",
        "{watch}",
        "{kind}",
        "{attempt}",
        "{size}",
        "{{name}}",
        "x{name}-{size}y",
        "{print $1}",
        "{path}",
        "{root}",
        "{dir}",
        "{id}",
    ]);
    let mut host = start(json!({"command": command}));
    host.write("sub/b.tar.gz", "four").assert_done();
    let root = host.root().display();
    let start = format!(
        "b.tar.gz|sub/b.tar.gz|b.tar|gz|test|landed|1|4|{{name}}|xb.tar.gz-4y|{{print $1}}|{root}/sub/b.tar.gz|{root}|{root}/sub|"
    );
    let line = logged(&host, ": ");
    let id = line.strip_prefix(&start).unwrap_or_else(|| panic!("{line}"));
    assert!(id.len() == 17 && id.chars().take(16).all(|c| c.is_ascii_hexdigit()), "{id}");
}

#[test]
fn the_event_stands_in_the_environment() {
    let script = "env | grep ^NOTIFYIT_ | grep -v EVENT | sort; env | grep -E '^(OWN|NOTIFY_SOCKET)='";
    let host = start(json!({"command": ["sh", "-c", script], "env": {"OWN": "a=b", "NOTIFY_SOCKET": "own"}}));
    let time = std::time::UNIX_EPOCH + Duration::new(1_000_000_000, 5_000);
    host.event("sub/a").content("four").modified(time).attempt(7).deliver().assert_done();
    let logs: Vec<String> = host.logs().iter().map(|l| l.split_once(": ").unwrap().1.to_owned()).collect();
    let root = host.root().display();
    let mut expected = [
        "NOTIFYIT_ATTEMPT=7".to_owned(),
        "NOTIFYIT_KIND=landed".to_owned(),
        "NOTIFYIT_MTIME=1000000000.000005000".to_owned(),
        "NOTIFYIT_NAME=a".to_owned(),
        "NOTIFYIT_ORIGIN=live".to_owned(),
        format!("NOTIFYIT_PATH={root}/sub/a"),
        "NOTIFYIT_RELATIVE=sub/a".to_owned(),
        format!("NOTIFYIT_ROOT={root}"),
        "NOTIFYIT_SIZE=4".to_owned(),
        "NOTIFYIT_WATCH=test".to_owned(),
        "OWN=a=b".to_owned(),
        "NOTIFY_SOCKET=own".to_owned(),
    ];
    let without_id: BTreeSet<&str> =
        logs.iter().filter(|l| !l.starts_with("NOTIFYIT_ID=")).map(String::as_str).collect();
    expected.sort();
    assert_eq!(without_id, expected.iter().map(String::as_str).collect());
}

#[test]
fn the_event_comes_as_a_line_of_json_on_standard_input() {
    let mut host = sh(r#"cat; test "$(wc -l)" = 0 && printf '%s\n' "$NOTIFYIT_EVENT""#);
    host.write("a\nb", "x").assert_done();
    let logs = host.logs();
    assert_eq!(logs.len(), 2);
    assert_eq!(logs[0], logs[1]);
    let json: notifyit_plugin_api::serde_json::Value =
        notifyit_plugin_api::serde_json::from_str(&logged(&host, ": ")).unwrap();
    assert_eq!((&json["v"], &json["name"]), (&json!(1), &json!("a\nb")));
}

#[test]
fn cwd_is_where_it_runs_and_where_its_relative_path_begins() {
    let dir = tempdir("cwd");
    symlink("/bin/sh", dir.join("own-sh")).unwrap();
    let mut host =
        start(json!({"command": ["./own-sh", "-c", "pwd; echo $0"], "cwd": dir.to_str().unwrap()}));
    host.write("a", "x").assert_done();
    assert_eq!(host.logs(), [format!("INFO \"a\": {}", dir.display()), "INFO \"a\": ./own-sh".to_owned()]);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn the_file_is_handed_over_opened_and_at_its_beginning() {
    let mut host = start(json!({"command": ["sh", "-c", "cat \"$1\"; cat <&3; echo", "sh", "{file}"]}));
    host.write("a", "content ").assert_done();
    assert_eq!(host.logs(), [r#"INFO "a": content content "#]);
}

#[test]
fn what_cannot_be_opened_safely_starts_nothing() {
    let mut host = start(json!({"command": ["sh", "-c", "echo started", "sh", "{file}"]}));
    symlink("/etc/passwd", host.root().join("link")).unwrap();
    host.land("link").assert_retry("failed to open \"link\": ");
    assert_eq!(
        host.land("missing"),
        retry("failed to open \"missing\": No such file or directory (os error 2)")
    );
    fs::create_dir(host.root().join("dir")).unwrap();
    assert_eq!(
        host.land("dir"),
        reject("{file} is for files alone: failed to open \"dir\": not a regular file")
    );
    assert_eq!(host.logs(), [""; 0]);
}

#[test]
fn it_inherits_three_descriptors_and_the_file_and_no_signal_settings() {
    let script = r#"grep -E '^Sig(Blk|Ign)' /proc/self/status
        ls -l /proc/$$/fd
        echo "pid $$"; echo "group $(cut -d' ' -f5 /proc/$$/stat)""#;
    let inherited = inheritable();
    for (placeholder, last) in [("{path}", 2), ("{file}", 3)] {
        let mut host = start(json!({"command": ["sh", "-c", script, "sh", placeholder]}));
        host.write("a", "x").assert_done();
        let logs = host.logs().join("\n");
        assert!(logs.contains("SigBlk:\t0000000000000000"), "{logs}");
        let ignored = u64::from_str_radix(&logged(&host, "SigIgn:\t"), 16).unwrap();
        assert_eq!(ignored & (1 << (13 - 1)), 0, "SIGPIPE is ignored: {logs}");
        let number = |line: &str| line.split_once(" -> ")?.0.rsplit(' ').next()?.parse().ok();
        let fds: BTreeSet<i32> = logs.lines().filter_map(number).collect();
        let expected: BTreeSet<i32> = (0..=last).chain(inherited.iter().copied()).collect();
        assert_eq!(fds, expected, "{logs}");
        assert_eq!(logged(&host, ": pid "), logged(&host, ": group "));
        assert!(is_gone(&logged(&host, ": pid ")));
    }
}

/// What this process was started with and passes on.
fn inheritable() -> Vec<i32> {
    let cloexec = |fd: &i32| {
        let info = fs::read_to_string(format!("/proc/self/fdinfo/{fd}")).ok();
        let flags =
            info.and_then(|i| i.lines().find_map(|l| l.strip_prefix("flags:")).map(|f| f.trim().to_owned()));
        flags.is_none_or(|flags| u32::from_str_radix(&flags, 8).unwrap() & 0o2_000_000 != 0)
    };
    let fds = fs::read_dir("/proc/self/fd").unwrap();
    fds.filter_map(|fd| fd.unwrap().file_name().to_str()?.parse().ok())
        .filter(|fd| *fd > 2 && !cloexec(fd))
        .collect()
}

#[test]
fn a_program_that_leaves_its_own_children_behind_is_done_when_it_exits() {
    let mut host = sh("sleep 600 & echo $!; echo not read by anyone else");
    let before = Instant::now();
    host.write("a", "x").assert_done();
    assert!(before.elapsed() < LONG);
    assert_eq!(host.logs().len(), 2);
    let left = logged(&host, ": ");
    assert!(!is_gone(&left), "only a deadline ends the group");
    assert!(Command::new("kill").arg(&left).status().unwrap().success());
}

/// A deadline by which a shell has said who it is, however busy the machine is.
const LATE: Duration = Duration::from_secs(2);

#[test]
fn a_deadline_ends_the_whole_group() {
    let mut host =
        start(json!({"command": ["sh", "-c", "echo $$; sleep 600 & echo $!; wait"], "kill_after": "5s"}));
    host.set_timeout(Some(LATE));
    assert_eq!(host.write("a", "x"), retry("timed out after 2s"));
    let logs = host.logs();
    assert_eq!(logs.len(), 2);
    for line in logs {
        let pid = line.split_once(": ").unwrap().1.to_owned();
        super::wait_for("the group has ended", || is_gone(&pid));
    }
}

#[test]
fn who_does_not_heed_the_deadline_is_killed() {
    let script =
        "trap '' TERM; echo $$; (while :; do sleep 0.01; done) & echo $!; while :; do sleep 0.01; done";
    let mut host = start(json!({"command": ["sh", "-c", script], "kill_after": "50ms"}));
    host.set_timeout(Some(LATE));
    assert_eq!(host.write("a", "x"), retry("timed out after 2s"));
    assert_eq!(host.logs().len(), 2);
    for line in host.logs() {
        let pid = line.split_once(": ").unwrap().1.to_owned();
        super::wait_for("the group has ended", || is_gone(&pid));
    }
}

#[test]
fn the_leader_may_go_first_and_the_rest_is_killed_all_the_same() {
    let script = "(trap '' TERM; while :; do sleep 0.01; done) & echo $!; trap 'echo bye; exit 0' TERM; wait";
    let mut host = start(json!({"command": ["sh", "-c", script], "kill_after": "1s"}));
    host.set_timeout(Some(LATE));
    assert_eq!(host.write("a", "x"), retry("timed out after 2s"), "also if it exits with 0 then");
    assert_eq!(host.logs()[1], r#"INFO "a": bye"#);
    let pid = logged(&host, ": ");
    super::wait_for("the rest is killed", || is_gone(&pid));
}

#[test]
fn a_flood_of_output_does_not_put_the_deadline_off() {
    let mut host = start(json!({"command": ["yes", &"x".repeat(4000)]}));
    host.set_timeout(Some(Duration::from_millis(50)));
    let before = Instant::now();
    assert_eq!(host.write("a", "x"), retry("timed out after 50ms"));
    assert!(before.elapsed() < LONG);
}

#[test]
fn a_program_that_cannot_be_started_is_the_plugins_failure() {
    let error = refused(json!({"command": ["no-such-program"]}));
    let path = std::env::var("PATH").unwrap();
    assert_eq!(error, format!("failed to start `no-such-program`: not found in PATH={path}"));
    let dir = tempdir("start");
    let program = dir.join("program");
    let config = json!({"command": [program.to_str().unwrap()]});
    assert!(refused(config.clone()).ends_with("program`: No such file or directory (os error 2)"));
    fs::write(&program, "neither ELF nor script").unwrap();
    assert!(refused(config.clone()).ends_with("program`: Permission denied (os error 13)"));
    assert!(refused(json!({"command": [dir.to_str().unwrap()]})).ends_with("`: not a file"));
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    assert!(refused(config.clone()).ends_with("program`: a script needs its `#!` line"));
    fs::write(&program, "\0neither").unwrap();
    let mut host = start(config);
    let started = format!("failed to start `{}`: ", program.display());
    host.write("a", "x").assert_retry(&started);
    fs::remove_file(&program).unwrap();
    host.write("a", "x").assert_retry(&started);
    fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_wrong_configuration_is_refused_by_its_key() {
    let refused_key = |config, text: &str| {
        let error = refused(config);
        assert_eq!(error, format!("configuration: {text}"));
    };
    refused_key(json!({}), "missing field `command`");
    refused_key(json!({"command": []}), "key `command`: names no program");
    refused_key(json!({"command": [""]}), "key `command`: names no program");
    refused_key(
        json!({"command": ["{path}"]}),
        "key `command`: the program `{path}` cannot have a placeholder",
    );
    refused_key(json!({"command": ["true", "a\0b"]}), "key `command`: an argument cannot hold a NUL");
    refused_key(
        json!({"command": ["true"], "mode": "x"}),
        "key `mode`: unknown variant `x`, expected `each` or `lines`",
    );
    refused_key(
        json!({"command": ["true"], "env": {"A=B": ""}}),
        r#"key `env`: "A=B" cannot be the name of a variable"#,
    );
    refused_key(json!({"command": ["true"], "shell": true}), "unknown key `shell`");
    let error = refused(json!({"command": ["true"], "kill_after": "soon"}));
    assert!(
        error.starts_with("configuration: key `kill_after`: ") && error.ends_with(", such as `2s`"),
        "{error}"
    );
    let error = refused(json!({"command": ["true"], "cwd": "/dev/null"}));
    assert_eq!(error, "failed to use \"/dev/null\" as cwd: not a directory");
}

#[test]
fn input_larger_than_a_pipe_neither_deadlocks_nor_must_be_read() {
    let line = format!("{}\n", "x".repeat(4000));
    for (program, lines) in [("cat", 500), ("true", 0)] {
        let mut command = Command::new(program);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        let mut child = Child::new(command.spawn().unwrap(), Duration::from_secs(1)).unwrap();
        child.feed_last(line.repeat(500).as_bytes());
        let mut seen = 0;
        while child.step(None, None, &mut |_, l| seen += usize::from(l.len() == 4000)).unwrap()
            != Step::Exited
        {}
        assert!(child.reap().unwrap().success());
        assert_eq!(seen, lines, "{program}");
    }
}

fn tempdir(name: &str) -> std::path::PathBuf {
    static NEXT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
    let n = NEXT.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    let dir = std::env::temp_dir().join(format!("notifyit-exec-{}-{n}-{name}", std::process::id()));
    fs::create_dir(&dir).unwrap();
    dir.canonicalize().unwrap()
}

#[test]
fn what_a_program_that_rewrites_leaves_is_its_work() {
    for (rewrites, status) in [(true, 0), (true, 65), (true, 1), (false, 0)] {
        let script = format!("echo more >> \"$1\"; exit {status}");
        let mut host = start(json!({"command": ["sh", "-c", script, "sh", "{path}"], "rewrites": rewrites}));
        assert_eq!(host.write("a", "x").is_done(), status == 0);
        assert_eq!(host.rewrote(), rewrites, "{rewrites} {status}");
    }
}

#[test]
fn what_a_program_is_done_with_is_handed_on() {
    for (emits, status) in [(true, 0), (true, 65), (true, 1), (false, 0)] {
        let mut host = start(json!({"command": ["sh", "-c", format!("exit {status}")], "emits": emits}));
        assert_eq!(host.write("a", "x").is_done(), status == 0);
        assert_eq!(!host.emitted().is_empty(), emits && status == 0, "{emits} {status}");
    }
}

#[test]
fn a_program_is_told_who_has_handed_its_file_on() {
    let host = sh("echo by $NOTIFYIT_EMITTED_BY");
    host.event("a").content("x").emitted_by("scan").deliver().assert_done();
    host.assert_logged("by scan");
}
