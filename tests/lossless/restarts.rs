//! What happens while the host is down, stopped or killed.

use std::fs::{self, File};
use std::io::Write;
use std::path::Path;
use std::process::Command;

use notifyit_tests::{Host, Place, Running};

use super::kills::{Down, Left};
use super::moves::times;
use super::writers::{content_told, untold};
use super::{Case, Delivery, about, deliveries, lasting, names, repeat, sh};

const BOTH: [&str; 2] = ["recorder", "closes"];

fn each_way(mut case: impl FnMut(Down)) {
    repeat(|| [Down::Stopped, Down::Killed].into_iter().for_each(&mut case));
}

/// Starts the next host, and waits until it has looked at everything.
fn again(place: &Place) -> Running {
    lasting(place).start_and_look()
}

/// Nothing is lost; what was finished when the host came down has not come again; after a stop, nothing has.
fn judge(case: &Case<'_>, down: Down, left: &Left) -> Vec<Delivery> {
    let doubled = case.at_least_once();
    left.nothing_again(case.host);
    assert!(down == Down::Killed || doubled.is_empty(), "{}: doubled: {doubled:#?}", case.name);
    doubled
}

#[test]
fn written_while_the_host_is_down() {
    each_way(|down| {
        let host = lasting(&Host::new()).start();
        host.mkdir("known/sub");
        for n in 0..100 {
            host.write(format!("known/sub/before{n}"), "x");
        }
        Case::lasting("g: before", &host).untold().exactly_once();
        let (place, left) = down.end(host);
        fs::create_dir_all(place.temp().join("aside/deep")).unwrap();
        for n in 0..100 {
            place.mkdir(format!("new{}/a/b", n % 20));
            place.write(format!("new{}/a/b/new{n}", n % 20), "x");
            place.write(format!("known/sub/later{n}"), "x");
            fs::write(place.temp().join(format!("aside/deep/moved{n}")), "x").unwrap();
        }
        fs::rename(place.temp().join("aside"), place.path("moved")).unwrap();
        let host = again(&place);
        judge(&Case::lasting("g: written while the host is down", &host), down, &left);
        host.stop().success();
    });
}

#[test]
fn rewritten_while_the_host_is_down() {
    each_way(|down| {
        let host = lasting(&Host::new()).start();
        for n in 0..120 {
            host.write(format!("{n}.open"), "first");
        }
        Case::lasting("h: before", &host).untold().exactly_once();
        let (place, left) = down.end(host);
        for n in 0..90 {
            let name = format!("{n}.open");
            match n % 3 {
                0 => place.write(&name, "longer"),
                1 => place.write(&name, "other"),
                _ => {
                    place.write("beside.part", "other");
                    place.rename("beside.part", &name);
                }
            }
        }
        let host = again(&place);
        judge(&Case::lasting("h: rewritten while the host is down", &host), down, &left);
        for n in 0..120 {
            let text = if n >= 90 { "first" } else { ["longer", "other", "other"][n % 3] };
            assert_eq!(content_told(&host, &format!("{n}.open")), text, "{n}");
        }
        host.stop().success();
    });
}

/// The first file is in each plugin's hand, the others are queued, when the host is killed.
#[test]
fn rewritten_while_queued_or_in_hand_and_killed_then() {
    repeat(|| {
        let host = Host::new();
        let hold = host.aside("hold", "");
        let host = lasting(&host).start();
        host.write("0.open", "first");
        host.wait_for("both to hold it", |host| {
            (host.count_logged(&["holding", "0.open"]) == 2).then_some(())
        });
        for n in 1..80 {
            host.write(format!("{n}.open"), "first");
        }
        for n in (0..80).filter(|n| n % 4 < 2) {
            host.write(format!("{n}.open"), "again");
        }
        let (place, left) = Down::Killed.end(host);
        for n in (0..80).filter(|n| n % 2 == 0) {
            place.write(format!("{n}.open"), "at last");
        }
        fs::remove_file(hold).unwrap();
        let host = again(&place);
        judge(&Case::lasting("h: rewritten while queued or in hand, killed", &host), Down::Killed, &left);
        for n in 0..80 {
            let told = about(&host, "recorder", Path::new(&format!("{n}.open")));
            let text = ["at last", "again", "at last", "first"][n % 4];
            assert_eq!(told.last().unwrap().text, text, "{told:?}");
        }
        host.stop().success();
    });
}

#[test]
fn held_open_through_a_restart() {
    each_way(|down| {
        let host = lasting(&Host::new()).start();
        host.mkdir("sub");
        let names = ["sub/during.open", "sub/after.open", "never.open"];
        let mut writers = names.map(|name| File::create(host.path(name)).unwrap());
        for (name, writer) in names.iter().zip(&mut writers) {
            writer.write_all(b"early, ").unwrap();
            untold(&host, BOTH, name);
        }
        let (place, left) = down.end(host);
        let [mut during, mut after, never] = writers;
        during.write_all(b"late").unwrap();
        drop(during);
        let host = again(&place);
        untold(&host, BOTH, names[1]);
        after.write_all(b"late").unwrap();
        untold(&host, BOTH, names[1]);
        drop(after);
        let case = Case::lasting("i: open through a restart", &host);
        let is_closed = |path: &Path| path != Path::new(names[2]);
        judge(&case.but("recorder", is_closed).but("closes", is_closed), down, &left);
        for name in &names[..2] {
            assert_eq!(content_told(&host, name), "early, late");
        }
        untold(&host, BOTH, names[2]);
        drop(never);
        judge(&Case::lasting("i: open through a restart, to the end", &host), down, &left);
        host.stop().success();
    });
}

/// A directory that is renamed while files in it are finished, and others fail and wait, and then the host is down.
#[test]
fn a_directory_renamed_back_and_forth_before_a_restart() {
    each_way(|down| {
        let host = lasting(&Host::new()).start();
        host.mkdir("here/sub");
        for n in 0..50 {
            host.write(format!("here/sub/finished{n}"), "x");
        }
        Case::lasting("m: before", &host).untold().exactly_once();
        let fail = host.aside("fail", "");
        for n in 0..30 {
            host.write(format!("here/sub/failing{n}"), "x");
        }
        host.logged(&["recorder", "pauses"]);
        for _ in 0..20 {
            host.rename("here", "there");
            host.rename("there", "here");
        }
        host.write("here/sub/last", "x");
        host.rename("here", "there");
        host.wait_for("`closes` to handle the last", |host| {
            names(host, "closes").iter().any(|path| path.ends_with("last")).then_some(())
        });
        let (place, left) = down.end(host);
        let script = "chown -R $(id -u):$(id -g) in; chmod -R go-w in; cp -al in outside";
        let status = Command::new("sh").args(["-ec", script]).current_dir(place.temp()).status();
        assert!(status.unwrap().success());
        fs::remove_file(fail).unwrap();
        let host = again(&place);
        let case = Case::lasting("m: renamed back and forth, and a restart", &host).by_own_name();
        judge(&case, down, &left);
        for plugin in BOTH.into_iter().filter(|_| down == Down::Stopped) {
            let doubled: Vec<_> = times(&host, plugin).into_iter().filter(|(_, times)| *times > 1).collect();
            assert!(doubled.is_empty(), "{plugin}: {doubled:?}");
        }
        host.stop().success();
    });
}

#[test]
fn what_changes_no_content_and_a_restart() {
    each_way(|down| {
        let host = lasting(&Host::new()).start();
        sh(&host, "mkdir -p a/b links; for n in $(seq 100); do echo $n > a/b/$n; done");
        Case::lasting("m: before", &host).untold().exactly_once();
        sh(&host, "chown -R $(id -u):$(id -g) a; chmod 600 a/b/*; cp -al a/b/* links; cp -al a copy");
        Case::lasting("m: before the restart", &host).untold().exactly_once();
        let before = deliveries(&host, "recorder").len();
        let (place, left) = down.end(host);
        let host = again(&place);
        judge(&Case::lasting("m: cp -al, chown -R, and a restart", &host), down, &left);
        if down == Down::Stopped {
            assert_eq!(deliveries(&host, "recorder").len(), before);
        }
        host.stop().success();
    });
}

/// A plugin that asked for close-write alone hears of no rename: what it has finished stays finished.
#[test]
fn renamed_when_it_was_finished() {
    repeat(|| {
        let host = lasting(&Host::new()).start();
        host.mkdir("sub");
        for n in 0..50 {
            host.write(format!("finished{n}"), "x");
        }
        Case::lasting("m: before", &host).untold().exactly_once();
        for n in 0..50 {
            host.rename(format!("finished{n}"), format!("sub/renamed{n}"));
        }
        Case::lasting("m: before the restart", &host).untold().exactly_once();
        let place = Place::clone(&host);
        host.stop().success();
        let host = again(&place);
        Case::lasting("m: files renamed, and a restart", &host).exactly_once();
        assert!(!names(&host, "closes").iter().any(|path| path.starts_with("sub")));
        host.stop().success();
    });
}
