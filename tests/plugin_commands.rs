//! `notifyit plugin …`: what is inspected, installed, listed and removed.

use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use notifyit_tests::{Exit, Host, library};
use serde_json::Value;

use crate::probe::sinner;
use crate::zoo::set_mode;

/// A place for plugins, and the commands on it.
struct Shelf(Host);

impl Shelf {
    fn new() -> Shelf {
        Shelf(Host::new())
    }

    fn directory(&self) -> PathBuf {
        self.0.plugins()
    }

    fn at(&self, name: &str) -> PathBuf {
        self.directory().join(name)
    }

    /// Runs `notifyit plugin COMMAND --plugin-dir …`.
    fn run<A: Into<OsString>>(&self, command: &str, arguments: impl IntoIterator<Item = A>) -> Exit {
        let directory = self.directory();
        let arguments = arguments.into_iter().map(Into::into);
        run([command.into(), "--plugin-dir".into(), directory.into()].into_iter().chain(arguments))
    }

    fn names(&self) -> Vec<String> {
        let names = fs::read_dir(self.directory()).expect("it is there").flatten();
        let mut names: Vec<String> = names.map(|e| e.file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    }
}

fn run(arguments: impl IntoIterator<Item = OsString>) -> Exit {
    Host::new().verb("plugin").args(arguments).watching([""; 0]).run()
}

/// What it said on stdout.
fn text(exit: &Exit) -> String {
    String::from_utf8_lossy(exit.stdout()).into_owned()
}

/// What it said when all was well.
fn told(exit: &Exit) -> String {
    assert_eq!(exit.success().stderr(), "");
    text(exit)
}

fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    text.lines().find_map(|line| line.strip_prefix(&format!("{key:<13}")))
}

#[test]
fn a_plugin_is_inspected_by_file_and_by_name() {
    let shelf = Shelf::new();
    let file = shelf.0.add_plugin("print");
    let by_file = told(&shelf.run("inspect", [&file]));
    let by_name = told(&shelf.run("inspect", ["print"]));
    assert_eq!(by_file, by_name);
    for (key, expected) in [
        ("file", &*format!("{file:?}")),
        ("name", "print"),
        ("version", "0.1.0"),
        ("description", "Prints the path of each file that was closed after writing"),
        ("panic", "unwind"),
        ("events", "close-write"),
        ("max workers", "1"),
        ("reads only", "yes"),
        ("size", &format!("{} bytes", fs::metadata(&file).unwrap().len())),
        ("trusted", "yes"),
        ("runs", "yes"),
    ] {
        assert_eq!(value(&by_file, key), Some(expected), "{key} in {by_file}");
    }
    assert!(value(&by_file, "rustc").is_some_and(|rustc| rustc.starts_with("rustc 1.")), "{by_file}");
    let json = told(&shelf.run("inspect", ["--json", "print"]));
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&json["v"], &json["runs"], &json["why"]), (&1.into(), &true.into(), &Value::Null));
    assert_eq!((&json["name"], json["hash"].as_str()), (&"print".into(), value(&by_file, "hash")));
    assert_eq!(json["file"].as_str().map(Path::new), Some(&*file));
}

#[test]
fn what_would_not_run_is_inspected_all_the_same_and_ends_with_1() {
    let shelf = Shelf::new();
    let crashes = sinner(&shelf.0, "crashes");
    let why =
        "it crashes while it is loaded (SIGSEGV); mend or remove it; it is tried again when the file changes";
    let exit = shelf.run("inspect", [&crashes]);
    exit.code(1).one_error(&[&format!("failed to load plugin {crashes:?}: {why}")]);
    let said = text(&exit);
    assert_eq!((value(&said, "trusted"), value(&said, "runs")), (Some("yes"), Some(&*format!("no: {why}"))));

    // What is not trusted is not run, not even in a child.
    set_mode(&crashes, 0o646);
    let exit = shelf.run("inspect", ["--json".as_ref(), crashes.as_os_str()]);
    exit.code(1).one_error(&["writable by everyone", "chmod o-w"]);
    let json: Value = serde_json::from_str(&text(&exit)).unwrap();
    assert_eq!(
        (&json["trusted"], &json["runs"], &json["hash"]),
        (&false.into(), &false.into(), &Value::Null)
    );
    assert!(json["why"].as_str().is_some_and(|why| why.starts_with("the file is writable by everyone")));

    shelf.run("inspect", ["absent"]).code(1).one_error(&["absent"]);
    shelf.run("inspect", ["absent.so"]).code(1).one_error(&["absent.so"]);
    shelf.run("inspect", ["a b"]).code(2);
}

#[test]
fn a_plugin_is_installed_under_its_name_and_runs() {
    let shelf = Shelf::new();
    let build = shelf.0.aside("any.name", "");
    fs::copy(library("print"), &build).unwrap();
    // Whoever may write to the original: it is the copy that counts.
    set_mode(&build, 0o666);
    let target = shelf.at("libnotifyit_print.so");
    let said = told(&shelf.run("install", [&build]));
    let runs = "it runs in every host with this plugin directory\n";
    assert_eq!(said, format!("installed print 0.1.0 as {target:?}\n{runs}"));
    assert_eq!(fs::read(&target).unwrap(), fs::read(&build).unwrap());
    assert_eq!(fs::metadata(&target).unwrap().permissions().mode() & 0o7777, 0o644);
    assert_eq!(shelf.names(), ["libnotifyit_print.so"], "nothing else is left");

    let host = Host::new().arg("--plugin-dir").arg(shelf.directory()).start();
    host.alive("print");
    host.stop().success();
}

/// The fixture in another version.
fn version(shelf: &Shelf, version: &[u8; 5]) -> PathBuf {
    let mut bytes = fs::read(library("hostile")).expect("the fixture was built");
    let at = bytes.windows(13).position(|window| window == b"0.1.0-hostile").expect("its version");
    bytes[at..at + 5].copy_from_slice(version);
    let file = shelf.0.aside("version.so", "");
    fs::write(&file, bytes).expect("it is ours");
    file
}

#[test]
fn what_was_there_is_replaced_whole_and_said() {
    let shelf = Shelf::new();
    let target = shelf.at("libnotifyit_hostile.so");
    fs::write(&target, "text").unwrap();
    let installed = |version_: &[u8; 5]| {
        let (mut open, before) = (fs::File::open(&target).unwrap(), fs::read(&target).unwrap());
        let said = told(&shelf.run("install", [version(&shelf, version_)]));
        let mut after = Vec::new();
        open.read_to_end(&mut after).unwrap();
        assert!(after == before, "who has it open keeps it as it was");
        said.lines().next().unwrap().to_owned()
    };
    let now = |version: &str| format!("installed hostile {version}-hostile as {target:?}");
    let broken = format!("{}, in place of a file that would not run", now("0.1.0"));
    assert_eq!(installed(b"0.1.0"), broken);
    assert_eq!(installed(b"0.2.0"), format!("{}, in place of 0.1.0-hostile", now("0.2.0")));
    assert_eq!(installed(b"0.2.0"), format!("{}, which it was already", now("0.2.0")));

    fs::copy(&target, shelf.at("hostile.so")).unwrap();
    let said = told(&shelf.run("install", [&target]));
    let twin =
        format!("{:?} has the same name and comes after it: remove one of them", shelf.at("hostile.so"));
    assert_eq!(said.lines().last(), Some(&*twin));
}

#[test]
fn what_this_host_would_not_run_is_not_installed() {
    let shelf = Shelf::new();
    let sins = Host::new();
    let refuse = |file: &Path, words: &[&str]| {
        let exit = shelf.run("install", [file]);
        exit.code(1).one_error(&["failed to install"]).one_error(words);
        assert_eq!((text(&exit), shelf.names()), (String::new(), vec![]));
    };
    refuse(&sinner(&sins, "crashes"), &["crashes.so", "it crashes while it is loaded (SIGSEGV)"]);
    refuse(&library("wrong-layout"), &["libnotifyit_wrong_layout.so", "differ"]);
    refuse(&library("no-loader"), &["no notifyit plugin"]);
    refuse(&sins.aside("text.so", "text"), &["text.so", "ELF"]);
    set_mode(&shelf.directory(), 0o777);
    refuse(&library("print"), &["writable by", "run `chmod go-w", "plugins"]);
    set_mode(&shelf.directory(), 0o755);
    let exit = shelf.run("install", [shelf.directory()]);
    exit.code(1).one_error(&["failed to read", "it is no file"]);
    let absent = shelf.at("absent");
    let exit = run(["install".into(), library("print").into(), "--plugin-dir".into(), absent.clone().into()]);
    exit.code(1).one_error(&[&format!("mkdir -p {absent:?}")]);
}

#[test]
fn the_configuration_file_says_where_plugins_are() {
    let shelf = Shelf::new();
    let config = shelf.0.aside("n.toml", "[host]\nplugin_dirs = [\"plugins\", \"named\"]\n");
    let with = |arguments: &[&str]| {
        let words = arguments.iter().map(OsString::from).chain(["-c".into(), config.clone().into()]);
        run(words)
    };
    let print = library("print");
    told(&with(&["install", print.to_str().unwrap()]));
    assert_eq!(shelf.names(), ["libnotifyit_print.so"]);
    assert!(told(&with(&["list"])).contains("libnotifyit_print.so"));
    told(&with(&["remove", "print"]));
    assert_eq!(shelf.names(), [""; 0]);
    fs::write(&config, "[host]\nplugin_dir = 1\n").unwrap();
    with(&["list"]).code(78).one_error(&["n.toml:2:1: ", "plugin_dir"]);
}

#[test]
fn the_list_says_what_runs_when_and_what_does_not() {
    let shelf = Shelf::new();
    shelf.0.add_plugin("print");
    shelf.0.add_library(&library("print"), "twin.so");
    shelf.0.add_library(&library("no-loader"), "no.so");
    let crashes = sinner(&shelf.0, "crashes");
    let named = shelf.0.temp().join("named");
    for name in ["libnotifyit_exec.so", "libnotifyit_print.so"] {
        fs::copy(library("exec"), named.join(name)).unwrap();
    }
    let list = |more: &[&str]| {
        let host = Host::new().env("NOTIFYIT_PLUGIN_PATH", &named).verb("plugin").arg("list");
        let host = host.arg("--plugin-dir").arg(shelf.directory()).args(more.iter().copied());
        told(&host.watching([""; 0]).run())
    };
    let said = list(&[]);
    let line = |file: &Path| {
        let file = file.to_str().unwrap();
        let line = said.lines().find(|line| line.contains(&format!("  {file}")));
        line.unwrap_or_else(|| panic!("{file} in {said}")).split_whitespace().collect::<Vec<_>>().join(" ")
    };
    let print = shelf.at("libnotifyit_print.so");
    let (exec, other) = (named.join("libnotifyit_exec.so"), named.join("libnotifyit_print.so"));
    assert!(said.starts_with("NAME "), "{said}");
    for (file, expected) in [
        (&print, format!("print 0.1.0 always {}", print.display())),
        (
            &shelf.at("twin.so"),
            format!(
                "print 0.1.0 never {} {print:?} is plugin `print` already",
                shelf.at("twin.so").display()
            ),
        ),
        (&crashes, format!("crashes - never {} it crashes while it is loaded (SIGSEGV);", crashes.display())),
        (&exec, format!("exec 0.1.0 with -p exec {}", exec.display())),
        (&other, format!("exec 0.1.0 never {} `-p print` is {print:?}", other.display())),
    ] {
        assert!(line(file).starts_with(&expected), "{expected}: {said}");
    }
    assert!(!said.contains("no.so"), "what is no plugin is passed over");

    let json: Vec<Value> = list(&["--json"]).lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let of = |file: &Path| json.iter().find(|value| value["file"] == file.to_str().unwrap()).unwrap();
    assert_eq!((&of(&print)["when"], &of(&exec)["when"]), (&"directory".into(), &"name".into()));
    let twin = of(&other);
    assert_eq!(
        (&twin["when"], &twin["runs"], &twin["name"]),
        (&"never".into(), &false.into(), &"exec".into())
    );
}

#[test]
fn a_plugin_is_removed_by_name_or_file_from_where_plugins_are() {
    let shelf = Shelf::new();
    let print = shelf.0.add_plugin("print");
    let twin = shelf.0.add_library(&library("print"), "print.so");
    let exit = shelf.run("remove", ["print"]);
    exit.code(1).one_error(&["it could be any of", &format!("{print:?}, {twin:?}"), "name the file"]);
    let then = "a host that runs it lets it finish what it has, and drops it\n";
    assert_eq!(told(&shelf.run("remove", [&twin])), format!("removed {twin:?}\n{then}"));
    assert_eq!(told(&shelf.run("remove", ["print"])), format!("removed {print:?}\n{then}"));
    shelf.run("remove", ["print"]).code(1).one_error(&["failed to find plugin \"print\""]);

    let elsewhere = shelf.0.aside("elsewhere.so", "");
    shelf.run("remove", [&elsewhere]).code(1).one_error(&["in any of", "--plugin-dir"]);
    let notes = shelf.at("notes.txt");
    fs::write(&notes, "").unwrap();
    shelf.run("remove", [&notes]).code(1).one_error(&["no `.so` file"]);
    assert!(elsewhere.exists() && notes.exists());
}
