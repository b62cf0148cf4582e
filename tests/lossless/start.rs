//! What is there before the host, and what lands while it starts.

use std::fs;

use notifyit_tests::wait_for_a_tick;

use super::{Case, both, deliveries, repeat};

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

#[test]
fn what_lands_during_the_start_is_not_lost() {
    repeat(|| {
        let host = both();
        for n in 0..100 {
            host.mkdir(format!("old/{n}"));
        }
        let host = host.arg("-v").spawn();
        // From its first word on: it cannot know when it was asked for.
        host.wait_for("the first word", |host| (!host.log().is_empty()).then_some(()));
        let mut count = 0;
        while !host.log().contains("ready") {
            assert!(host.exited().is_none(), "the host has ended");
            let name = format!("old/{}/{count}", count % 100);
            host.write(&name, "x");
            host.mkdir(format!("new{count}"));
            fs::write(host.path(format!("new{count}/file")), "x").unwrap();
            count += 1;
            std::thread::sleep(std::time::Duration::from_micros(300));
        }
        Case::all("start: landed during it", &host).exactly_once();
        host.stop().success();
    });
}
