//! The plugin `print`.

use std::fs::File;
use std::os::fd::OwnedFd;

use notifyit_tests::Host;
use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

#[test]
fn a_path_is_printed_as_soon_as_its_file_is_closed() {
    let host = Host::new().plugin("print").start();
    for n in 0..5 {
        host.write(format!("{n}.txt"), "x");
        host.handled("print", format!("{n}.txt"));
    }
    host.drained("print");
    assert_eq!(host.stdout_lines().len(), 6, "each once, and the marker");
    host.stop().success();
}

#[test]
fn stdout_holds_paths_alone_and_stderr_no_path() {
    let host = Host::new().plugin("print").start();
    host.write("a.txt", "x");
    host.handled("print", "a.txt");
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.stdout(), format!("{}\n", exit.path("a.txt").display()).as_bytes());
    assert!(!exit.stderr().contains("a.txt"));
}

#[test]
fn it_asks_for_close_write_alone() {
    // The look at what is there tells no file that was moved in from one that was written.
    let host = Host::new().plugin("print").start_and_look();
    let outside = host.aside("moved", "x");
    std::fs::rename(outside, host.path("moved")).unwrap();
    host.drained("print");
    assert_eq!(host.printed("moved"), 0);
    host.stop().success();
}

#[test]
fn json_is_the_events_own_form() {
    let host = Host::new().plugin("print").set("print.format=\"json\"").start_and_look();
    host.write("a.txt", "four");
    let line = host.wait_for("a line", |host| host.stdout_lines().first().cloned());
    let event: serde_json::Value = serde_json::from_str(&line).unwrap();
    assert_eq!(event["v"], 1);
    assert_eq!(event["kind"], "close-write");
    assert_eq!(event["origin"], "live");
    assert_eq!(event["attempt"], 1);
    assert_eq!(event["size"], 4);
    assert_eq!(event["relative"], "a.txt");
    assert_eq!(event["path"].as_str(), host.path("a.txt").to_str());
    assert_eq!(event["id"].as_str().map(str::len), Some(16));
    host.stop().success();
}

#[test]
fn an_unknown_format_ends_the_start() {
    let exit = Host::new().plugin("print").args(["-p", "print"]).set("print.format=\"xml\"").run();
    exit.code(2).one_error(&["print", "format", "xml"]);
}

#[test]
fn a_reader_that_goes_ends_the_host_quietly() {
    let host = Host::new().plugin("print").stdout_reader_goes_after(1).start();
    let mut n = 0;
    host.wait_for("the end", |host| {
        n += 1;
        host.write(n.to_string(), "x");
        host.exited()
    });
    let exit = host.wait();
    exit.success();
    for word in ["ERROR", "WARN", "panic", "roken pipe"] {
        assert!(exit.lines(&[word]).is_empty(), "{word}");
    }
}

#[test]
fn a_full_disk_behind_stdout_makes_the_events_a_retry() {
    let full = File::options().write(true).open("/dev/full").unwrap();
    let nothing = File::open("/dev/null").unwrap();
    let host = Host::new().plugin("print").set(r#"plugin.print.retry={first="10ms"}"#);
    let host = host.stdout(full.into(), nothing).start();
    host.write("a.txt", "x");
    host.logged(&["print", "o space left on device"]);
    assert!(host.exited().is_none());
    host.stop().success();
}

fn terminal() -> (OwnedFd, File) {
    let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)
        .expect("terminals are to be had");
    grantpt(&ours).and_then(|()| unlockpt(&ours)).expect("a new terminal is ours");
    let name = ptsname(&ours, Vec::new()).expect("a terminal has a name");
    let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
    let theirs = rustix::fs::open(name, flags, Mode::empty()).expect("the terminal is unlocked");
    (theirs, File::from(ours))
}

#[test]
fn control_characters_do_not_reach_a_terminal() {
    let (theirs, ours) = terminal();
    let host = Host::new().plugin("print").stdout(theirs, ours).start();
    host.write("red\x1b[31m\nnext\x07", "x");
    host.write("plain", "x");
    let shown = host.wait_for("both names", |host| {
        let shown = String::from_utf8_lossy(&host.stdout()).into_owned();
        (shown.contains("/plain") && shown.matches('\n').count() >= 2).then_some(shown)
    });
    assert!(!shown.contains('\x1b') && !shown.contains('\x07'), "{shown:?}");
    assert_eq!(shown.lines().count(), 2, "{shown:?}");
    host.stop().success();
}
