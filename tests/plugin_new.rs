//! `notifyit plugin new`: the crate builds, its tests pass, and the plugin handles a file. `plugin dev`: so it does while
//! somebody works on it.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use notifyit_tests::{Exit, Host, Running, cargo_in, target_directory, until};

/// Runs `notifyit plugin new` in the directory of its own.
fn new(host: Host, arguments: &[&str]) -> Exit {
    host.verb("plugin").arg("new").args(arguments.iter().copied()).watching(Vec::<&str>::new()).run()
}

/// Held by who builds: all do it in one target directory, to which packages of one name are one package.
fn alone() -> MutexGuard<'static, ()> {
    static BUILDING: Mutex<()> = Mutex::new(());
    BUILDING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn checkout() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().expect("the tests lie in it")
}

#[test]
fn a_new_plugin_passes_its_tests_and_handles_a_file() {
    let _alone = alone();
    let checkout = checkout();
    let exit = new(Host::new(), &["my-lines", "--api-path", checkout.to_str().unwrap()]);
    let told = String::from_utf8_lossy(exit.success().stdout()).into_owned();
    assert!(told.contains("`my-lines`") && told.contains("my-lines/src/lib.rs"), "{told}");
    let program = target_directory().join("debug/notifyit").canonicalize().unwrap();
    assert!(told.contains(&format!("{} plugin dev --path \"my-lines\" DIR", program.display())), "{told}");
    let package = exit.temp().join("my-lines");
    assert_eq!(fs::read_to_string(package.join(".gitignore")).unwrap(), "/target\n");
    // What is in the registry's cache for sure, so that no network is needed.
    fs::copy(checkout.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    let target = target_directory().join("new");
    for arguments in
        [&["fmt", "--check"][..], &["test", "--quiet", "--offline"], &["build", "--quiet", "--offline"]]
    {
        cargo_in(&package, &target, arguments);
    }
    let host = Host::new();
    host.add_library(&target.join("debug/libnotifyit_my_lines.so"), "libnotifyit_my_lines.so");
    let host = host.args(["-p", "my-lines"]).set("my-lines.max_bytes=10").start();
    host.write("a.txt", "one\ntwo\n");
    host.logged(&["INFO", "my-lines", "a.txt has 2 lines"]);
    host.write("b.txt", "a line that is too long\n");
    host.logged(&["my-lines", "b.txt", "larger than max_bytes"]);
    host.stop().success();
}

#[test]
fn it_depends_on_the_published_crate_unless_a_checkout_is_named() {
    let exit = new(Host::new(), &["a/notifyit-lines"]);
    exit.success();
    let manifest = fs::read_to_string(exit.temp().join("a/notifyit-lines/Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"notifyit-lines\"\n"), "{manifest}");
    assert!(manifest.contains("notifyit-plugin-api = \"1."), "{manifest}");
    assert!(!manifest.contains("[workspace]"), "{manifest}");
    let exit = new(Host::new(), &["b", "--name", "other"]);
    let manifest = fs::read_to_string(exit.success().temp().join("b/Cargo.toml")).unwrap();
    assert!(manifest.contains("name = \"notifyit-other\"\n"), "{manifest}");
}

#[test]
fn within_another_package_it_is_one_of_its_own() {
    let host = Host::new();
    host.aside("Cargo.toml", "[workspace]\n");
    let exit = new(host, &["lines"]);
    let manifest = fs::read_to_string(exit.success().temp().join("lines/Cargo.toml")).unwrap();
    assert!(manifest.ends_with("[workspace]\n"), "{manifest}");
}

#[test]
fn what_is_there_is_left_alone_and_what_is_wrong_is_one_line() {
    let host = Host::new();
    fs::create_dir(host.temp().join("full")).unwrap();
    fs::write(host.temp().join("full/file"), "x").unwrap();
    let exit = new(host, &["full"]);
    exit.code(1).one_error(&["full", "file\" is there", "another directory"]);
    assert_eq!(fs::read_dir(exit.temp().join("full")).unwrap().count(), 1);
    new(Host::new(), &["9lives"]).code(2).one_error(&["9lives", "no name for a plugin", "--name"]);
    new(Host::new(), &["lines", "--name", "a b"]).code(2).one_error(&["a b", "no name for a plugin"]);
    let exit = new(Host::new(), &["lines", "--api-path", "nowhere"]);
    exit.code(2).one_error(&["--api-path", "nowhere", "lies that crate"]);
    assert!(!exit.temp().join("lines").exists());
}

/// A host with a crate that `plugin dev` builds.
fn developed(host: Host) -> Host {
    let checkout = checkout();
    let temp = host.temp().to_owned();
    let arguments = ["my-lines", "--api-path", checkout.to_str().expect("the checkout's path is UTF-8")];
    let exit = Host::new().verb("plugin").arg("new").args(arguments).watching(Vec::<&str>::new()).run();
    exit.success();
    fs::rename(exit.temp().join("my-lines"), temp.join("my-lines")).expect("it has been made");
    fs::copy(checkout.join("Cargo.lock"), temp.join("my-lines/Cargo.lock")).expect("the checkout has one");
    let home = |variable: &str, default: &str| {
        let own = std::env::var_os("HOME").map(|home| Path::new(&home).join(default).into());
        std::env::var_os(variable).or(own).unwrap_or_default()
    };
    host.verb("plugin")
        .args(["dev", "--path", "my-lines"])
        .env("CARGO_TARGET_DIR", target_directory().join("new"))
        .env("CARGO_NET_OFFLINE", "true")
        .env("CARGO_HOME", home("CARGO_HOME", ".cargo"))
        .env("RUSTUP_HOME", home("RUSTUP_HOME", ".rustup"))
}

/// As `logged`, but for what takes a build, perhaps behind another one.
fn built(host: &Running, words: &[&str]) {
    let is_logged = || (host.count_logged(words) > 0 || host.exited().is_some()).then_some(());
    let waited = (0..12).find_map(|_| until(is_logged));
    assert!(waited.is_some() && host.exited().is_none(), "waited in vain for {words:?}");
}

#[test]
fn what_is_developed_runs_and_is_built_and_changed_over_when_its_sources_change() {
    let _alone = alone();
    let host = developed(Host::new());
    let source = host.temp().join("my-lines/src/lib.rs");
    let text = fs::read_to_string(&source).unwrap();
    fs::write(&source, text.replace("Ok(())", "Ok(())))")).unwrap();
    let host = host.spawn();
    built(&host, &["nothing runs yet; it is built again"]);
    assert_eq!(host.count_logged(&["no plugin runs yet"]), 0);
    fs::write(&source, &text).unwrap();
    built(&host, &["ready: "]);
    host.write("a.txt", "one\n");
    host.logged(&["INFO", "my-lines", "a.txt has 1 lines"]);
    fs::write(&source, text.replace("Ok(())", "Ok(()")).unwrap();
    built(&host, &["what runs goes on as it was"]);
    host.logged(&["error", "delimiter"]);
    host.write("b.txt", "one\n");
    host.logged(&["INFO", "my-lines", "b.txt has 1 lines"]);
    fs::write(&source, text.replace("{lines} lines", "{lines} rows")).unwrap();
    built(&host, &["plugin `my-lines` is replaced"]);
    host.write("c.txt", "one\n");
    host.logged(&["INFO", "my-lines", "c.txt has 1 rows"]);
    host.stop().success();
}

#[test]
fn a_crate_that_becomes_no_plugin_is_told_what_it_lacks() {
    let _alone = alone();
    let host = developed(Host::new());
    let manifest = host.temp().join("my-lines/Cargo.toml");
    let text = fs::read_to_string(&manifest).unwrap();
    fs::write(&manifest, text.replace("crate-type = [\"cdylib\"]", "")).unwrap();
    host.run().code(1).one_error(&["notifyit-my-lines", "Cargo.toml", "crate-type = [\"cdylib\"]"]);
    let host = developed(Host::new());
    fs::remove_file(host.temp().join("my-lines/Cargo.toml")).unwrap();
    host.run().code(1).one_error(&["my-lines", "failed to find a package"]);
}
