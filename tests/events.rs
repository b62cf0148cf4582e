//! Kinds, filters, and what counts as landed.

use std::fs;
use std::io::Write;

use notifyit_tests::{Host, Running, wait_for_a_tick};

fn kinds(host: &Running, relative: &str) -> Vec<String> {
    let records = host.attempts("recorder", relative).into_iter();
    records.map(|record| record.event["kind"].as_str().unwrap_or_default().to_owned()).collect()
}

#[test]
fn kinds_are_asked_for_in_a_list_and_in_any_spelling() {
    for spelling in [vec!["-e", "create,delete"], vec!["-e", "IN_CREATE", "-e", "in_delete"]] {
        let host = Host::new().plugin("recorder").args(spelling).start();
        host.write("a.txt", "x");
        fs::remove_file(host.path("a.txt")).unwrap();
        host.answered("recorder", "a.txt", 2);
        assert_eq!(kinds(&host, "a.txt"), ["create", "delete"]);
        host.stop().success();
    }
}

#[test]
fn a_rename_is_told_as_moved_from_and_moved_to() {
    let host = Host::new().plugin("recorder").args(["-e", "moved-from,moved-to"]).start_and_look();
    host.write("a.txt", "x");
    host.rename("a.txt", "b.txt");
    host.answered("recorder", "b.txt", 1);
    assert_eq!(kinds(&host, "a.txt"), ["moved-from"]);
    assert_eq!(kinds(&host, "b.txt"), ["moved-to"]);
    assert_eq!(host.attempts("recorder", "b.txt")[0].event["renamed_from"], "a.txt");
    host.stop().success();
}

#[test]
fn directories_have_events_too() {
    let host = Host::new().plugin("recorder").args(["-r", "-e", "create,delete"]).start();
    host.mkdir("dir");
    let made = host.answered("recorder", "dir", 1);
    assert_eq!(made[0].event["directory"], true);
    fs::remove_dir(host.path("dir")).unwrap();
    host.answered("recorder", "dir", 2);
    assert_eq!(kinds(&host, "dir"), ["create", "delete"]);
    host.stop().success();
}

#[test]
fn an_ordinary_file_lands_once() {
    let host = Host::new().plugin("recorder").start();
    for n in 0..200 {
        host.write(n.to_string(), "x");
    }
    host.all_handled("recorder", (0..200).map(|n| n.to_string()));
    host.drained("recorder");
    let done = host.records("recorder").iter().filter(|r| r.say == "done").count();
    assert_eq!(done, 201, "each once, and the marker");
    host.stop().success();
}

#[test]
fn what_is_renamed_in_has_landed() {
    let host = Host::new().plugin("recorder").start();
    fs::rename(host.aside("a.txt", "x"), host.path("a.txt")).unwrap();
    host.handled("recorder", "a.txt");
    host.drained("recorder");
    assert_eq!(host.times_done("recorder", "a.txt"), 1);
    host.stop().success();
}

#[test]
fn what_is_renamed_within_has_landed_under_its_new_name() {
    let host = Host::new().plugin("recorder").args(["--exclude", "*.part"]).start_and_look();
    host.write("a.part", "x");
    host.rename("a.part", "a.txt");
    host.handled("recorder", "a.txt");
    host.drained("recorder");
    assert_eq!(host.times_done("recorder", "a.txt"), 1);
    assert_eq!(host.attempts("recorder", "a.txt")[0].event["renamed_from"], "a.part");
    assert!(host.attempts("recorder", "a.part").is_empty());
    host.stop().success();
}

#[test]
fn what_is_linked_in_has_landed() {
    let host = Host::new().plugin("recorder").start();
    fs::hard_link(host.aside("a.txt", "x"), host.path("a.txt")).unwrap();
    host.handled("recorder", "a.txt");
    host.drained("recorder");
    assert_eq!(host.times_done("recorder", "a.txt"), 1);
    host.stop().success();
}

#[test]
fn a_file_that_is_still_written_has_not_landed() {
    let host = Host::new().plugin("recorder").start();
    let open = fs::File::create(host.path("a.txt")).unwrap();
    host.drained("recorder");
    assert!(host.attempts("recorder", "a.txt").is_empty());
    drop(open);
    host.handled("recorder", "a.txt");
    host.stop().success();
}

#[test]
fn patterns_choose_files() {
    let host = Host::new().plugin("recorder").args(["-r", "--include", "*.jpg", "--include", "in/**/*.png"]);
    let host = host.args(["--exclude", "secret*", "--exclude", "in/no.jpg"]);
    host.mkdir("in/deep/er");
    let host = host.start();
    let (yes, no) = (
        ["a.jpg", "in/b.jpg", "in/deep/c.png", "in/deep/er/d.png", "in/e.png"],
        ["a.txt", "f.png", "secret.jpg", "in/secret-g.jpg", "in/no.jpg"],
    );
    for name in no.iter().chain(&yes) {
        host.write(name, "x");
    }
    host.all_handled("recorder", yes);
    for name in no {
        assert!(host.attempts("recorder", name).is_empty(), "{name}");
    }
    host.stop().success();
}

#[test]
fn each_watch_has_a_name_that_events_carry() {
    let config = "[[watch]]\nname = \"first\"\npath = \"{root}\"\n[[watch]]\nname = \"second\"\npath = \"{temp}/other\"\n";
    let host = Host::new().named_plugin("recorder").config(&format!(
        "{config}[plugin.all]\nlibrary = \"recorder\"\nconfig = {{ out = \"{{temp}}/all.jsonl\" }}\n\
         [plugin.one]\nlibrary = \"recorder\"\nwatch = [\"second\"]\nconfig = {{ out = \"{{temp}}/one.jsonl\" }}\n"
    ));
    fs::create_dir(host.temp().join("other")).unwrap();
    let host = host.start();
    host.write("a.txt", "x");
    host.aside("other/b.txt", "x");
    host.handled("all", "a.txt");
    host.handled("all", "b.txt");
    host.handled("one", "b.txt");
    assert!(host.attempts("one", "a.txt").is_empty());
    assert_eq!(host.attempts("all", "a.txt")[0].event["watch"], "first");
    assert_eq!(host.attempts("all", "b.txt")[0].event["watch"], "second");
    host.stop().success();
}

#[test]
fn other_kinds_are_told_while_a_file_is_written_and_it_lands_once() {
    let host = Host::new().plugin("recorder").args(["-e", "landed,modify,open"]).start();
    for n in 0..20 {
        let name = format!("{n}.txt");
        let mut file = fs::File::create(host.path(&name)).unwrap();
        for length in 0..3 {
            std::io::Write::write_all(&mut file, b"x").unwrap();
            host.wait_for("the write to be told", |host| {
                let told = kinds(host, &name).iter().filter(|kind| *kind == "modify").count();
                (told > length).then_some(())
            });
        }
        drop(file);
        host.wait_for("the file to land", |host| {
            kinds(host, &name).iter().any(|kind| kind == "landed").then_some(())
        });
    }
    host.drained("recorder");
    for n in 0..20 {
        let kinds = kinds(&host, &format!("{n}.txt"));
        assert_eq!(kinds.iter().filter(|kind| *kind == "landed").count(), 1, "{kinds:?}");
    }
    host.stop().success();
}

#[test]
fn a_close_is_told_though_the_file_looks_as_it_did() {
    let host = Host::new().plugin("recorder").start();
    host.write("a.open.txt", "one");
    host.answered("recorder", "a.open.txt", 1);
    // What is written before the call has ended, or in the same tick of the kernel's clock, could be the handler's own.
    host.drained("recorder");
    wait_for_a_tick();
    let mut file = fs::File::options().write(true).open(host.path("a.open.txt")).unwrap();
    let before = file.metadata().unwrap().modified().unwrap();
    file.write_all(b"two").unwrap();
    file.set_modified(before).unwrap();
    drop(file);
    let answers = host.answered("recorder", "a.open.txt", 2);
    assert_eq!(answers[1].text, "two");
    assert_eq!(answers[0].event["id"], answers[1].event["id"], "by its stamp it is one version");
    host.stop().success();
}
