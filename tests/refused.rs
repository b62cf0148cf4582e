//! Files that are no plugin, or none for this host: each is refused in one line, and the host lives.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use notifyit_tests::{Exit, Host, inline_only, skip};

use crate::zoo::{NO_PLUGIN, Wrong, bytes_of_a_plugin, fill, set_mode, wrong};

fn is_root(what: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        skip(&format!("{what}: needs root"));
    }
    root
}

/// Runs `-p FILE` for a file of the zoo: exit 1 and one line, before any event.
fn refused(host: Host, file: &Path, words: &[&str]) -> Exit {
    let exit = host.args(["-p".as_ref(), file.as_os_str()]).run();
    let name = file.file_name().and_then(|n| n.to_str()).expect("the zoo's names are plain");
    exit.code(1).one_error(&[name]).one_error(words);
    exit
}

#[test]
fn the_zoo_beside_a_plugin_is_refused_in_a_line_each_and_the_plugin_works() {
    if !is_root("the wrong-file zoo") {
        return;
    }
    let host = Host::new().plugin("print");
    fill(&host.plugins());
    let host = host.start();
    host.alive("print");
    let exit = host.stop();
    exit.success();
    let there = |name: &str| fs::symlink_metadata(exit.plugins().join(name)).is_ok();
    let wrong: Vec<&Wrong> = wrong().filter(|(name, _)| there(name)).collect();
    let mut problems = Vec::new();
    for (name, words) in wrong {
        let lines = exit.lines(&[name]);
        if lines.len() != 1 || !words.iter().all(|word| lines[0].contains(word)) {
            problems.push(format!("{name} {words:?}: {lines:#?}"));
        }
    }
    for (name, _) in NO_PLUGIN {
        problems
            .extend(exit.lines(&[name]).iter().map(|line| format!("{name} is to be passed over: {line}")));
    }
    assert!(problems.is_empty(), "{}", problems.join("\n"));
}

#[test]
fn each_of_the_zoo_ends_the_start_when_it_is_named() {
    if !is_root("the wrong-file zoo") {
        return;
    }
    let zoo = Host::new();
    let cage = zoo.temp().join("named");
    fill(&cage);
    for (name, words) in wrong().chain(NO_PLUGIN) {
        let file = cage.join(name);
        if fs::symlink_metadata(&file).is_ok() {
            refused(Host::new(), &file, words);
        }
    }
}

#[test]
fn an_executable_is_no_plugin() {
    let host = Host::new();
    let file = host.add_library(Path::new("/proc/self/exe"), "program.so");
    refused(host, &file, &["it is an executable", "cdylib"]);
}

#[test]
fn a_plugin_without_section_headers_is_loaded() {
    let host = Host::new();
    let mut bytes = bytes_of_a_plugin();
    // e_shoff, e_shnum, e_shstrndx of a 64-bit file.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    let stripped = host.aside("stripped", "");
    fs::write(&stripped, bytes).unwrap();
    host.add_library(&stripped, "stripped.so");
    let host = host.start();
    host.alive("print");
    host.stop().success();
}

#[test]
fn hidden_files_and_other_endings_are_not_looked_at() {
    let host = Host::new().plugin("print");
    for name in [".hidden.so", "libx.so.1", "notes.txt", "libx.so~"] {
        fs::write(host.plugins().join(name), "nothing").unwrap();
    }
    let host = host.start();
    host.alive("print");
    let exit = host.stop();
    exit.success();
    assert!(
        exit.lines(&["hidden"]).is_empty()
            && exit.lines(&["libx"]).is_empty()
            && exit.lines(&["notes"]).is_empty()
    );
}

#[test]
fn a_plugin_directory_that_others_may_write_to_is_refused() {
    let host = Host::new().plugin("print").args(["-p", "print"]);
    set_mode(&host.plugins(), 0o777);
    host.run().code(1).one_error(&["plugins", "writable", "chmod"]);
}

#[test]
fn trust_can_be_given_up() {
    let host = Host::new().plugin("print").config("[host]\ntrust = \"off\"\n[[watch]]\npath = \"{root}\"\n");
    set_mode(&host.plugins(), 0o777);
    let host = host.start();
    host.alive("print");
    host.stop().success();
}

#[test]
fn a_name_that_is_not_found_ends_the_start_and_says_where_was_looked() {
    let host = Host::new().plugin("print").args(["-p", "prnit"]);
    let plugins = host.plugins();
    host.run().code(1).one_error(&["prnit", plugins.to_str().unwrap()]);
}

#[test]
fn a_plugin_named_in_the_configuration_that_is_refused_ends_the_start() {
    let config = "[[watch]]\npath = \"{root}\"\n[plugin.x]\nlibrary = \"{temp}/named/text.so\"\n";
    let host = Host::new().plugin("print").config(config);
    fs::write(host.temp().join("named/text.so"), "text").unwrap();
    let exit = host.run();
    exit.code(1).one_error(&["text.so", "ELF"]);
    assert!(exit.stdout().is_empty());
}

#[test]
fn an_error_in_new_ends_the_start_and_names_the_key() {
    let host = Host::new().plugin("print").plugin("exec").args(["-p", "print", "-p", "exec"]);
    let host = host.set("exec.command=[\"true\"]").set("exec.kill_after=soon");
    host.run().code(1).one_error(&["exec", "key `kill_after`", "such as `2s`"]);
}

#[test]
fn an_error_in_new_of_what_was_only_found_leaves_it_out() {
    let host = Host::new().plugin("print").plugin("exec").set("exec.command=[]").start();
    host.alive("print");
    let exit = host.stop();
    exit.success();
    assert_eq!(exit.lines(&["ERROR", "exec", "command"]).len(), 1);
}

#[test]
fn a_host_without_any_plugin_says_so_and_waits_for_one() {
    let host = Host::new().start();
    let plugins = host.plugins();
    host.logged(&["WARN", "no plugin runs yet", plugins.to_str().unwrap()]);
    host.logged(&["ready: watching 1 directory, running no plugin yet"]);
    host.add_plugin("print");
    host.logged(&["INFO", "plugin `print`", "runs now"]);
    host.alive("print");
}

/// What `cp` does: the same inode, cut to nothing and filled again.
fn overwrite(path: &Path, bytes: &[u8]) {
    use std::io::Write;
    let mut file =
        fs::OpenOptions::new().write(true).truncate(true).open(path).expect("the plugin is writable");
    file.write_all(bytes).expect("the plugin is writable");
}

#[test]
fn a_loaded_plugin_can_be_overwritten_in_place() {
    let host = Host::new().plugin("print").plugin("recorder").start();
    let file = |name: &str| -> PathBuf { host.plugins().join(name) };
    let same = bytes_of_a_plugin();
    overwrite(&file("libnotifyit_print.so"), &same);
    host.alive("print");
    overwrite(&file("libnotifyit_print.so"), &vec![0xcc; same.len()]);
    host.alive("print");
    overwrite(&file("libnotifyit_print.so"), b"");
    overwrite(&file("libnotifyit_recorder.so"), b"");
    host.alive("print");
    host.alive("recorder");
    // Code that was not run before is read from the file only now.
    host.write("a.reject.txt", "x");
    host.logged(&["told to reject"]);
    host.stop().success();
}

/// Directories below `path` and what is in them, one level deep.
fn staged(path: &Path) -> Vec<PathBuf> {
    let list = |path: &Path| {
        fs::read_dir(path).into_iter().flatten().flatten().map(|e| e.path()).collect::<Vec<_>>()
    };
    list(path)
        .iter()
        .flat_map(|below| list(below))
        .flat_map(|below| if below.is_dir() { list(&below) } else { vec![below] })
        .collect()
}

#[test]
fn a_private_copy_is_loaded_and_a_start_removes_what_a_dead_host_left() {
    if inline_only("it looks at what is mapped into the host") {
        return;
    }
    let host = Host::new().plugin("print");
    let runtime = host.temp().join("run");
    fs::create_dir(&runtime).unwrap();
    set_mode(&runtime, 0o700);
    let host = host.env("XDG_RUNTIME_DIR", &runtime).start();
    host.alive("print");
    let maps = fs::read_to_string(format!("/proc/{}/maps", host.pid().as_raw_nonzero())).unwrap();
    let plugins = host.plugins();
    assert!(!maps.contains(plugins.to_str().unwrap()), "the file in the plugin directory is not mapped");
    assert!(maps.contains(runtime.to_str().unwrap()), "the copy is");
    let private = |path: &Path| path.metadata().unwrap().permissions().mode().trailing_zeros() >= 6;
    let left = staged(&runtime);
    assert!(!left.is_empty());
    assert!(
        left.iter().all(|file| file.ancestors().any(|above| above.starts_with(&runtime) && private(above)))
    );
    host.signal(rustix::process::Signal::KILL);
    host.wait_for("its end", |host| host.exited());
    let next = Host::new().plugin("print").env("XDG_RUNTIME_DIR", &runtime).start();
    next.alive("print");
    let now = staged(&runtime);
    assert!(left.iter().all(|file| !now.contains(file)), "{left:?} was left: {now:?}");
    next.stop().success();
}
