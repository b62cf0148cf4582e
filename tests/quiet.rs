//! What comes by the clock: `quiet`, and the look at everything.

use std::fs;
use std::path::Path;
use std::process::Command;

use notifyit_tests::Host;

use crate::poll::with_watch;

#[test]
fn the_quiet_look_finds_what_no_event_has_told() {
    let host = Host::new()
        .plugin("recorder")
        .config("[host]\nrescan_every = \"300ms\"\n[[watch]]\npath = \"{root}\"\nrecursive = true\n");
    let host = host.start();
    host.mkdir("sub");
    host.write("sub/a.txt", "long");
    host.write("sub/b.txt", "x");
    host.handled("recorder", "sub/a.txt");
    host.handled("recorder", "sub/b.txt");
    // truncate(2) by path closes nothing.
    truncate_by_path(&host.path("sub/a.txt"));
    host.answered("recorder", "sub/a.txt", 2);
    host.logged(&["WARN", "1 of", "had changed without an event"]);
    assert_eq!(host.times_done("recorder", "sub/b.txt"), 1);
    host.stop().success();
}

/// `truncate FILE` of coreutils opens the file, and so its close is told; perl's does not.
fn truncate_by_path(path: &Path) {
    let status = Command::new("perl").args(["-e", "truncate($ARGV[0], 1) or die"]).arg(path).status();
    assert!(status.is_ok_and(|status| status.success()), "perl can truncate");
}

#[test]
fn a_file_that_must_be_quiet_comes_once_however_often_it_is_closed() {
    for watch in ["", "poll = \"20ms\"\nstable_for = \"20ms\""] {
        let host = with_watch(watch).set("plugin.recorder.quiet=500ms").start();
        for content in ["1", "22", "333", "4444", "55555"] {
            host.write("scan.open.pdf", content);
            std::thread::sleep(std::time::Duration::from_millis(60));
        }
        let written = host.path("scan.open.pdf").metadata().unwrap().modified().unwrap();
        let answers = host.answered("recorder", "scan.open.pdf", 1);
        assert_eq!(answers[0].text, "55555");
        let written = written.duration_since(std::time::UNIX_EPOCH).unwrap();
        assert!(answers[0].at >= written + std::time::Duration::from_millis(480), "{answers:?}");
        host.drained("recorder");
        assert_eq!(host.attempts("recorder", "scan.open.pdf").len(), 1);
        host.stop().success();
    }
}

#[test]
fn quiet_holds_for_what_is_renamed_in_and_for_what_a_start_finds() {
    let host = with_watch("existing = \"deliver\"").set("plugin.recorder.quiet=700ms");
    host.write("old.txt", "x");
    let host = host.start();
    host.aside("outside.txt", "x");
    fs::rename(host.temp().join("outside.txt"), host.path("renamed.txt")).unwrap();
    assert!(host.attempts("recorder", "old.txt").is_empty());
    for name in ["old.txt", "renamed.txt"] {
        host.handled("recorder", name);
        let changed = std::os::unix::fs::MetadataExt::ctime(&host.path(name).metadata().unwrap());
        let changed = std::time::Duration::from_secs(changed.unsigned_abs());
        assert!(host.attempts("recorder", name)[0].at > changed + std::time::Duration::from_millis(600));
    }
    host.stop().success();
}
