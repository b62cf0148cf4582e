//! What is there before the host, and what lands while it starts.

use std::ffi::OsStr;
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

use notifyit_tests::wait_for_a_tick;

use super::{Case, both, deliveries, many, names, repeat};

#[test]
fn what_was_there_before_is_delivered_if_asked_for() {
    repeat(|| {
        let host = both().args(["--existing", "deliver"]);
        for n in 0..300 {
            host.mkdir(format!("{}/sub", n % 20));
            host.write(format!("{}/sub/{n}", n % 20), "x");
        }
        let host = host.start();
        Case::all("start: existing delivered", &host).exactly_once();
        for plugin in ["recorder", "print"] {
            assert!(deliveries(&host, plugin).iter().all(|delivery| delivery.origin == "start"));
        }
        host.stop().success();
    });
}

#[test]
fn what_was_there_before_is_left_alone_by_default() {
    repeat(|| {
        let host = both();
        for n in 0..300 {
            host.mkdir(format!("{}/sub", n % 20));
            host.write(format!("{}/sub/{n}", n % 20), "x");
        }
        wait_for_a_tick();
        let host = host.start();
        host.write("marker", "x");
        Case::all("start: existing skipped", &host)
            .but("recorder", |path| path.ends_with("marker"))
            .but("print", |path| path.ends_with("marker"))
            .exactly_once();
        assert_eq!(["recorder", "print"].map(|plugin| deliveries(&host, plugin).len()), [1, 1]);
        host.stop().success();
    });
}

/// Each file is called by its number.
fn number(path: &Path) -> usize {
    path.file_name().and_then(OsStr::to_str).and_then(|name| name.parse().ok()).expect("a number")
}

/// By default what was there at the host's first moment is left alone: which that was is shown by the first file that is
/// handled. None behind it may be missing.
fn landed_during_the_start(name: &str, existing: &str) {
    let host = both().args(["--existing", existing]);
    for n in 0..many(500, 3000) {
        host.mkdir(format!("old/{n}"));
    }
    // From before its first word on: when it says that, it may be all but ready.
    let host = host.spawn();
    let (mut count, mut at_ready) = (0, None);
    while at_ready.is_none_or(|at_ready| count < at_ready + 40) {
        assert!(host.exited().is_none(), "the host has ended");
        host.write(format!("old/{}/{count}", count % 100), "x");
        host.mkdir(format!("new{count}"));
        host.write(format!("new{count}/{}", count + 1), "x");
        count += 2;
        if at_ready.is_none() && host.log().contains("ready") {
            at_ready = Some(count);
        }
        sleep(Duration::from_micros(300));
    }
    let from = |first: usize| {
        let landed = move |path: &Path| number(path) >= first;
        Case::all(name, &host).but("recorder", landed).but("print", landed)
    };
    let mut first = 0;
    if existing == "skip" {
        from(count - 1).untold().at_least_once();
        first = names(&host, "recorder").iter().map(|path| number(path)).min().expect("the last is handled");
    }
    from(first).exactly_once();
    host.stop().success();
}

#[test]
fn what_lands_during_the_start_is_not_lost() {
    repeat(|| {
        landed_during_the_start("start: landed during it, existing skipped", "skip");
        landed_during_the_start("start: landed during it, existing delivered", "deliver");
    });
}
