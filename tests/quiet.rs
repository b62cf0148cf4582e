//! What comes by the clock: `quiet`, and the look at everything.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

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
        let mut closed = Vec::new();
        for content in ["1", "22", "333", "4444", "55555"] {
            host.write("scan.open.pdf", content);
            closed.push(changed(&host.path("scan.open.pdf")));
            std::thread::sleep(Duration::from_millis(60));
        }
        let answers = host.wait_for("the last version", |host| {
            let answers = host.attempts("recorder", "scan.open.pdf");
            answers.last().is_some_and(|last| last.event["size"] == 5).then_some(answers)
        });
        assert_eq!(answers[answers.len() - 1].text, "55555");
        for answer in &answers {
            let version = answer.event["size"].as_u64().and_then(|size| usize::try_from(size).ok()).unwrap();
            let quiet = closed[version - 1] + Duration::from_millis(480);
            assert!(answer.at >= quiet, "{answers:?}");
            // On a busy machine it may have been quiet for so long in between.
            assert!(closed.get(version).is_none_or(|next| *next >= quiet), "{closed:?}: {answers:?}");
        }
        host.drained("recorder");
        assert_eq!(host.attempts("recorder", "scan.open.pdf").len(), answers.len());
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
    for name in ["old.txt", "renamed.txt"] {
        host.handled("recorder", name);
        let quiet = changed(&host.path(name)) + Duration::from_millis(680);
        assert!(host.attempts("recorder", name)[0].at >= quiet);
    }
    host.stop().success();
}

/// When a file last changed, since 1970.
fn changed(path: &Path) -> Duration {
    let meta = path.metadata().expect("it is there");
    Duration::new(meta.ctime().unsigned_abs(), u32::try_from(meta.ctime_nsec()).expect("below a second"))
}
