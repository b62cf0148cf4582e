//! Directories renamed under load; links; changes of owner and mode: nothing comes again that should not.

use std::collections::BTreeMap;
use std::fs;
use std::thread;

use notifyit_tests::Running;

use super::{Case, both, deliveries, repeat, sh};

/// How often each file was handled, by its own name, whatever its directory was called.
pub(super) fn times(host: &Running, plugin: &str) -> BTreeMap<String, usize> {
    let mut times = BTreeMap::new();
    for delivery in deliveries(host, plugin) {
        let name = delivery.file.file_name().expect("a file has a name").to_string_lossy().into_owned();
        *times.entry(name).or_default() += 1;
    }
    times
}

#[test]
fn a_directory_renamed_back_and_forth() {
    repeat(|| {
        let host = both().set(r#"plugin.recorder.retry={first="20ms",max="100ms"}"#);
        host.mkdir("here/sub");
        let host = host.start();
        for n in 0..50 {
            host.write(format!("here/finished{n}"), "x");
        }
        Case::all("m: before", &host).untold().exactly_once();
        thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..100 {
                    host.rename("here", "there");
                    host.rename("there", "here");
                }
            });
            for n in 0..300 {
                let kind = ["plain", "retry2", "slow1ms"][n % 3];
                let written = || {
                    let names = ["here/sub", "there/sub"].map(|d| host.path(d).join(format!("n{n}.{kind}")));
                    names.iter().any(|path| fs::write(path, "x").is_ok())
                };
                while !written() {}
            }
        });
        // A file goes by the name that its directory had when it was handled.
        Case::all("m: renamed back and forth", &host).by_own_name().exactly_once();
        for plugin in ["recorder", "print"] {
            let doubled: Vec<_> = times(&host, plugin).into_iter().filter(|(_, times)| *times > 1).collect();
            assert!(doubled.is_empty(), "{plugin}: {doubled:?}");
        }
        host.stop().success();
    });
}

#[test]
fn what_changes_no_content() {
    repeat(|| {
        let host = both();
        host.mkdir("links");
        // That look tells no file that was linked in from one that was written.
        let host = host.start_and_look();
        sh(&host, "mkdir -p a/b; for n in $(seq 100); do echo $n > a/b/$n; done");
        Case::all("m: before", &host).untold().exactly_once();
        let before = ["recorder", "print"].map(|plugin| deliveries(&host, plugin).len());
        sh(&host, "chown -R $(id -u):$(id -g) a; chmod -R go-w a; chmod 600 a/b/*");
        Case::all("m: chown -R, chmod", &host).exactly_once();
        assert_eq!(["recorder", "print"].map(|plugin| deliveries(&host, plugin).len()), before);
        // A link is a landing under a name of its own; nobody has written it.
        sh(&host, "cp -al a/b/* links; cp -al a copy");
        Case::all("m: cp -al", &host).exactly_once();
        assert_eq!(deliveries(&host, "recorder").len(), before[0] + 200);
        let told: Vec<_> = deliveries(&host, "print").into_iter().skip(before[1]).collect();
        assert!(told.iter().all(|d| d.file.starts_with("copy")), "{told:?}");
        // A rename of the directory takes all along.
        host.rename("a", "z");
        host.write("z/b/new", "x");
        Case::all("m: then renamed", &host).but("recorder", |path| path.ends_with("new")).exactly_once();
        assert_eq!(deliveries(&host, "recorder").len(), before[0] + 201);
        host.stop().success();
    });
}
