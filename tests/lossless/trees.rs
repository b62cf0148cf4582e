//! Whole trees at once: a file is written before the directory that it lies in can have a watch.

use std::fs;
use std::path::Path;
use std::thread;

use notifyit_tests::Place;

use super::table::left_out;
use super::{Case, both, deliveries, files, has, names, of_inode, repeat, sh};

/// A tree beside the watched directory: 300 files in 50 directories.
fn tree(place: &Place) {
    for n in 0..300 {
        let directory = place.temp().join(format!("tree/{}/{}", n % 10, n % 50));
        fs::create_dir_all(&directory).expect("it can be made");
        fs::write(directory.join(format!("{n}.txt")), "x".repeat(n)).expect("it can be written");
    }
}

#[test]
fn each_in_its_own_new_four_level_directory() {
    repeat(|| {
        let host = both().start();
        for n in 0..200 {
            host.mkdir(format!("{n}/a/b/c"));
            host.write(format!("{n}/a/b/c/file"), "x");
        }
        Case::all("a: each in its own new directory", &host).exactly_once();
        host.stop().success();
    });
}

#[test]
fn made_and_written_at_once() {
    repeat(|| {
        let host = both().start();
        thread::scope(|scope| {
            for writer in 0..2 {
                let host = &host;
                scope.spawn(move || {
                    for n in 0..200 {
                        let directory = host.path(format!("{writer}/{}/{n}/deep", n % 7));
                        fs::create_dir_all(&directory).unwrap();
                        fs::write(directory.join("one"), "x").unwrap();
                        fs::write(directory.join("two"), "xx").unwrap();
                    }
                });
            }
        });
        Case::all("b: mkdir -p and write, two threads", &host).exactly_once();
        host.stop().success();

        let host = both().start();
        sh(&host, "for n in $(seq 100); do mkdir -p s$n/x/y && echo $n > s$n/x/y/file; done");
        Case::all("b: mkdir -p and write, sh", &host).exactly_once();
        host.stop().success();
    });
}

#[test]
fn copied() {
    for (name, script) in [
        ("c: cp -r", "cp -r $0/tree copy"),
        ("c: cp -a", "cp -a $0/tree copy"),
        ("c: tar x", "tar -C $0 -c tree | tar x"),
    ] {
        repeat(|| {
            let host = both();
            tree(&host);
            let host = host.start();
            sh(&host, script);
            Case::all(name, &host).exactly_once();
            host.stop().success();
        });
    }
}

/// It closes `.name.XXXXXX`, sets the file's time, and then its name. Nobody has written since it was closed: `print`,
/// which does not ask for renames, may have been told of the file as it was before it had its time.
#[test]
fn synchronised() {
    if !has("rsync") {
        return left_out("c: rsync -a", "rsync is not installed");
    }
    repeat(|| {
        let host = both();
        tree(&host);
        // What that look finds before it has its time comes again when its close is told.
        let host = host.start_and_look();
        sh(&host, "rsync -a $0/tree .");
        Case::all("c: rsync -a", &host).but("print", |_| false).exactly_once();
        for (path, (inode, ..)) in files(&host.root()) {
            let told = of_inode(&host, "print", inode).len();
            assert_eq!(told, 1, "print and {path:?}");
        }
        host.stop().success();
    });
}

#[test]
fn cloned() {
    if !has("git") {
        return left_out("c: git clone", "git is not installed");
    }
    repeat(|| {
        let host = both();
        tree(&host);
        let host = host.start();
        sh(
            &host,
            "cd $0/tree; git init -q; git add .; git -c user.name=a -c user.email=a@example.org commit -qm tree",
        );
        sh(&host, "git clone -q $0/tree clone");
        // Objects come as hard links, which nobody writes: `print` hears of those only that came before the watch.
        let is_object = |path: &Path| path.starts_with("clone/.git/objects");
        let again = ["clone/.git/config", "clone/.git/HEAD"].map(Path::new);
        let is_closed_again = |path: &Path| again.contains(&&*path.with_extension(""));
        let doubled = Case::all("c: git clone", &host).but("print", |path| !is_object(path)).at_least_once();
        // These are closed and renamed to their place several times: each close is an event of its own, and a late one
        // finds the version that is there by then.
        let others: Vec<_> = doubled.iter().filter(|d| !is_closed_again(&d.file)).collect();
        assert!(others.is_empty(), "{others:#?}");
        host.stop().success();
    });
}

#[test]
fn moved_in() {
    repeat(|| {
        let host = both();
        tree(&host);
        let host = host.start();
        for n in 0..10 {
            fs::rename(host.temp().join(format!("tree/{n}")), host.path(format!("in{n}"))).unwrap();
        }
        let moved = files(&host.root());
        for n in 0..10 {
            host.write(format!("in{n}/{n}/later.txt"), "written after the move");
        }
        let written = |path: &Path| path.ends_with("later.txt");
        Case::all("d: moved in", &host).but("print", written).exactly_once();
        // What was written just before the move may have been written just after it.
        assert!(names(&host, "print").iter().all(|file| written(file) || moved.contains_key(file)));
        assert!(deliveries(&host, "recorder").len() == moved.len() + 10);
        host.stop().success();
    });
}
