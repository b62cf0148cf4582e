//! More than a queue holds, and a root that goes away with what is in it.

use std::fs;
use std::time::{Duration, SystemTime};

use notifyit_tests::{Host, Running, say};
use rustix::process::Signal;

use super::{Case, Names, Told, both, files, many, repeat};

#[test]
fn more_than_the_kernels_queue_holds() {
    repeat(|| {
        let host = both();
        let files = many(20_000, 100_000);
        host.mkdir("sub/deeper");
        let host = host.start();
        host.signal(Signal::STOP);
        for n in 0..files {
            let directory = ["", "sub/", "sub/deeper/"][n % 3];
            host.write(format!("{directory}{n}"), "x");
        }
        host.mkdir("untold/deep");
        host.write("untold/deep/file", "x");
        host.signal(Signal::CONT);
        host.logged(&["WARN", "overflowed"]);
        Case::all("e: overflow", &host).exactly_once();
        host.stop().success();
    });
}

/// The most memory that a process has had, in KiB.
fn most_memory(host: &Running) -> usize {
    let status =
        fs::read_to_string(format!("/proc/{}/status", host.pid().as_raw_nonzero())).expect("it is there");
    let line = status.lines().find(|line| line.starts_with("VmHWM:")).expect("the kernel counts it");
    let number = line.split_whitespace().nth(1).and_then(|number| number.parse().ok());
    number.expect("a number")
}

const FAST_AND_SLOW: &str = r#"
[[watch]]
path = "{root}"
recursive = true

[plugin.fast]
library = "recorder"
[plugin.fast.config]
out = "{temp}/fast.jsonl"

[plugin.slow.config]
out = "{temp}/slow.jsonl"

[plugin.slow]
library = "recorder"
"#;

/// `slow` is how that lane is set up. In the normal profile its calls are longer, for there are few: it takes ten seconds
/// and more.
fn fast_and_slow(name: &str, slow: &str, count: usize) {
    let host = Host::new().named_plugin("recorder").config(&format!("{FAST_AND_SLOW}{slow}\n"));
    let host = host.set(&format!("slow.slow_ms={}", many(35, 10))).start();
    for n in 0..count {
        if n % 1000 == 0 {
            host.mkdir((n / 1000).to_string());
        }
        host.write(format!("{}/{n}", n / 1000), "x");
    }
    let written = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("it is later");
    let there = files(&host.root());
    let judge = |plugin| {
        let expected = vec![(plugin, there.clone())];
        let name = &format!("{name}, the {plugin} one");
        Case { name, host: &host, expected, names: Names::Paths, told: Told::Yes }.exactly_once();
    };
    judge("fast");
    let last = host.records("fast").iter().filter(|record| record.say == "done").map(|r| r.at).max();
    let behind = last.expect("it has handled all").saturating_sub(written);
    say(&format!("the fast one was {behind:.1?} behind the writer"));
    assert!(behind < Duration::from_secs(8), "the fast one is delayed: {behind:.1?}");
    judge("slow");
    let memory = most_memory(&host);
    say(&format!("the host had {memory} KiB"));
    assert!(memory <= 64 * 1024, "{memory} KiB");
    host.stop().success();
}

/// 100,000 times 10 ms, by sixteen workers, are a minute.
#[test]
fn more_than_a_slow_plugins_queue_holds() {
    repeat(|| fast_and_slow("l: a short queue", "workers = 16\nqueue = 300", many(5_000, 100_000)));
}

/// Once in either profile: by eight workers they are two minutes. The queue is what it is by default, and a rescan finds
/// more than half of it at once. In the slow profile it wants a machine of its own: where the fast plugin's lane falls
/// behind as well, for want of a processor, two queues are full.
#[test]
fn a_slow_plugins_queue_takes_little_memory() {
    fast_and_slow("l: a long queue", "workers = 8", many(5_000, 100_000));
}

#[test]
fn a_root_made_anew() {
    repeat(|| {
        let host = both().arg("--wait").start();
        host.write("before", "x");
        Case::all("k: before", &host).untold().exactly_once();
        for round in 0..5 {
            fs::remove_dir_all(host.root()).unwrap();
            fs::create_dir(host.root()).unwrap();
            for n in 0..50 {
                host.write(format!("{round}-{n}"), "x");
            }
            host.mkdir(format!("{round}/sub"));
            host.write(format!("{round}/sub/file"), "x");
            let case = Case::all("k: a root made anew", &host);
            if round == 4 { case.exactly_once() } else { drop(case.untold().at_least_once()) }
        }
        host.stop().success();
    });
}
