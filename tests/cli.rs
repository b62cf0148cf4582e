//! What is typed.

use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

use notifyit_tests::{DEADLINE, Exit, Host, wait_for_a_tick};

fn usage(arguments: &[&str], word: &str) {
    let exit = Host::new().plugin("print").args(arguments).run();
    exit.code(2);
    assert!(exit.stderr().contains(word), "{word}");
    assert!(exit.stdout().is_empty());
}

#[test]
fn what_is_typed_wrong_ends_with_2() {
    usage(&["--no-such-option"], "--no-such-option");
    usage(&["-e", "closed"], "close-write");
    usage(&["--log-format", "xml"], "xml");
    usage(&["--include", "a["], "a[");
}

#[test]
fn an_unknown_command_ends_with_2() {
    Host::new().verb("wacth").watching(Vec::<PathBuf>::new()).run().code(2);
}

fn shown(verb: &'static str) -> Exit {
    let exit = Host::new().verb(verb).watching(Vec::<PathBuf>::new()).run();
    exit.success();
    exit
}

#[test]
fn help_and_version_go_to_stdout() {
    let help = String::from_utf8_lossy(shown("--help").stdout()).into_owned();
    assert!(help.contains("watch") && help.contains("check"));
    let version = String::from_utf8_lossy(shown("--version").stdout()).into_owned();
    assert!(version.starts_with("notifyit "), "{version}");
}

#[test]
fn nothing_to_watch_is_an_error_that_says_what_to_do() {
    let exit = Host::new().plugin("print").watching(Vec::<PathBuf>::new()).run();
    assert!(exit.stderr().contains("DIR") || exit.stderr().contains("directory"));
    assert!(!exit.stderr().contains("ready"));
}

#[test]
fn ready_is_said_when_every_watch_is_in_place() {
    let host = Host::new().plugin("print").arg("-r");
    for n in 0..50 {
        host.mkdir(format!("{n}/sub"));
    }
    let host = host.start();
    for n in 0..50 {
        host.write(format!("{n}/sub/a.txt"), "x");
    }
    host.all_handled("print", (0..50).map(|n| format!("{n}/sub/a.txt")));
    assert_eq!(host.count_logged(&["ready"]), 1);
    host.stop().success();
}

#[test]
fn systemd_is_told_when_it_is_ready_and_when_it_stops() {
    let host = Host::new().plugin("print");
    let socket = host.temp().join("notify");
    let listener = UnixDatagram::bind(&socket).unwrap();
    listener.set_read_timeout(Some(DEADLINE)).unwrap();
    let host = host.env("NOTIFY_SOCKET", &socket).start();
    let hear = || {
        let mut buffer = [0; 1024];
        let length = listener.recv(&mut buffer).expect("a word from the host");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    while !hear().contains("READY=1") {}
    host.signal(rustix::process::Signal::TERM);
    while !hear().contains("STOPPING=1") {}
    host.wait().success();
}

#[test]
fn the_log_can_be_json() {
    let host = Host::new().plugin("recorder").args(["--log-format", "json"]).start();
    host.write("a.reject.txt", "x");
    host.logged(&["told to reject"]);
    let exit = host.stop();
    exit.success();
    for line in exit.stderr().lines() {
        let parsed: serde_json::Value =
            serde_json::from_str(line).unwrap_or_else(|e| panic!("{e} in {line}"));
        assert!(parsed.is_object());
    }
}

#[test]
fn verbose_says_more_and_quiet_less() {
    let lines = |arguments: &[&str]| {
        let host = Host::new().plugin("print").args(arguments).spawn();
        host.wait_for("the first event", |host| {
            host.write("a.txt", "x");
            (host.printed("a.txt") > 0).then_some(())
        });
        let exit = host.stop();
        exit.success();
        exit.stderr().lines().count()
    };
    let (quiet, plain, verbose) = (lines(&["-q"]), lines(&[]), lines(&["-v"]));
    assert!(quiet < plain && plain < verbose, "{quiet} {plain} {verbose}");
}

#[test]
fn events_before_the_host_was_ready_are_not_invented() {
    let host = Host::new().plugin("print");
    host.write("old.txt", "x");
    wait_for_a_tick();
    let host = host.start();
    host.write("new.txt", "x");
    host.handled("print", "new.txt");
    assert_eq!(host.printed("old.txt"), 0);
    host.stop().success();
}

#[test]
fn an_error_is_one_line_also_where_backtraces_are_asked_for() {
    let host = Host::new().args(["-p", "absent"]).env("RUST_BACKTRACE", "1");
    host.run().code(1).one_error(&["absent"]);
}
