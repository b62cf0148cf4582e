//! Plugins and hosts of several minor versions of the API, of several compilers, in debug and release.
//!
//! The same plugin is built with a frozen 1.0 (`older`) and 1.1 (`previous`), with `today`'s API, and with a later minor
//! version (`newer`): see `api/README.md`. If a test here fails, a change to the wire has broken the plugins that people have.

use std::fs;
use std::path::{Path, PathBuf};

use notifyit_tests::{Host, Running, inline_only, libraries_by, library, skip};

use crate::cookbook::servers::http;

use self::hosts::{Told, fits, next, today, v1_0, v1_1};

mod hosts;

#[test]
fn what_an_older_version_has_on_the_wire_is_there_and_means_the_same() {
    if inline_only("no host runs") {
        return;
    }
    for old in [v1_0::HOST, v1_1::HOST] {
        let known: Vec<_> = (old.codes)().into_iter().filter(|(name, code)| !unknown(name, *code)).collect();
        assert!(known.len() > 20, "{known:?}");
        for host in [today::HOST, next::HOST] {
            let codes = (host.codes)();
            for code in &known {
                assert!(codes.contains(code), "{code:?} has changed: {codes:?}");
            }
            fits((old.layout, old.version), (host.layout, host.version)).unwrap_or_else(|e| panic!("{e}"));
        }
    }
}

/// `origin-7`: may get a name later.
fn unknown(name: &str, code: u32) -> bool {
    name.ends_with(&format!("-{code}"))
}

#[test]
fn each_version_of_the_host_runs_each_of_the_plugin() {
    if inline_only("its hosts are the test itself") {
        return;
    }
    // What the plugin knows of the host, and what a later host knows of the library and the handler.
    let (old, previous, today, next) = (v1_0::HOST, v1_1::HOST, today::HOST, next::HOST);
    let alpha = r#"Some("alpha")"#;
    let cases = [
        (&old, "older", "nothing", None),
        (&old, "previous", "None", None),
        (&old, "today", &format!("None, {NO_STORE}, stopping false"), None),
        (&old, "newer", "None None", None),
        (&previous, "older", "nothing", None),
        (&previous, "previous", r#"Some("alpha")"#, None),
        (&previous, "today", &format!("{alpha}, {NO_STORE}, stopping false"), None),
        (&previous, "newer", r#"Some("alpha") None"#, None),
        (&today, "older", "nothing", None),
        (&today, "previous", r#"Some("alpha")"#, None),
        (&today, "today", &format!("{alpha}, a store, stopping true"), None),
        (&today, "newer", r#"Some("alpha") None"#, None),
        (&next, "older", "nothing", Some((None, 0))),
        (&next, "previous", r#"Some("alpha")"#, Some((None, 0))),
        (&next, "today", &format!("{alpha}, a store, stopping true"), Some((None, 0))),
        (&next, "newer", r#"Some("alpha") Some(7)"#, Some((Some(7), 9))),
    ];
    let place = tempfile::tempdir().unwrap();
    let mut logs: Option<Vec<String>> = None;
    let mut without_figures = Vec::new();
    for (host, plugin, knows, later) in cases {
        let case = format!("{plugin} on a host of {}", host.version);
        let told = {
            let texts = ANSWERS.map(|(text, _)| text);
            (host.run)(&library(plugin), r#"{"greeting":"hello"}"#, &place.path().join("file"), &texts)
        };
        let Told { answers, logs: mut said, later: is_later } =
            told.unwrap_or_else(|e| panic!("{case}: {e}"));
        assert_eq!(answers, ANSWERS.map(|(_, answer)| answer), "{case}");
        assert_eq!(is_later, later, "{case}");
        let made = format!("6 3 made, knows {knows}");
        assert_eq!(said.iter().filter(|line| **line == made).count(), ANSWERS.len(), "{case}: {said:#?}");
        said.retain(|line| *line != made);
        without_figures.extend(said.extract_if(.., |line| line.contains("figures of a plugin's own")));
        assert_eq!(&said, logs.get_or_insert_with(|| said.clone()), "{case}");
    }
    assert_eq!(
        without_figures,
        [format!("6 2 {}", NO_STORE.replace("store", "figures of a plugin's own"))],
        "once"
    );
}

#[test]
fn a_host_that_takes_no_deferred_verdict_has_a_clear_answer() {
    if inline_only("its hosts are the test itself") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (file, out) = (place.path().join("file.txt"), place.path().join("out"));
    for host in [v1_0::HOST, v1_1::HOST] {
        let told = (host.run)(&library("flying"), &format!("{{\"out\":{out:?}}}"), &file, &["text"]).unwrap();
        let answer = "1 2 0 the host is older than 1.2 of notifyit-plugin-api and takes no deferred verdict: update notifyit";
        assert_eq!(told.answers, [format!("0, {answer}, 0 0 0, 0 0 0")], "{}", host.version);
    }
}

#[test]
fn a_host_that_hands_no_file_on_has_a_clear_answer() {
    if inline_only("its hosts are the test itself") {
        return;
    }
    let place = tempfile::tempdir().unwrap();
    let (file, out) = (place.path().join("file.txt"), place.path().join("out"));
    let copies = place.path().join("copies");
    for host in [v1_0::HOST, v1_1::HOST] {
        for emits in ["\"emits\":true".to_owned(), format!("\"emits_copies\":{copies:?}")] {
            let config = format!("{{\"out\":{out:?},{emits}}}");
            let told = (host.run)(&library("recorder"), &config, &file, &["text"]).unwrap();
            let answer = "1 2 0 the host is older than 1.2 of notifyit-plugin-api and hands no file on to other plugins: update \
                          notifyit";
            assert_eq!(told.answers, [format!("0, {answer}, 0 0 0, 0 0 0")], "{}", host.version);
        }
    }
    // What asks for nothing else would not be run by such a host: it says which kinds it does not know.
    assert!("emitted".parse::<notifyit_plugin_api_1_0::Kind>().is_err());
}

#[test]
fn the_upload_of_the_cookbook_runs_on_a_host_that_takes_no_deferred_verdict() {
    if inline_only("its hosts are the test itself") {
        return;
    }
    let file = tempfile::tempdir().unwrap();
    let file = file.path().join("file.txt");
    for host in [v1_0::HOST, v1_1::HOST] {
        let server = http(&["201 Created", "413 Content Too Large"]);
        let config = format!("{{\"url\":\"{}\"}}", server.url);
        let told = (host.run)(&library("upload"), &config, &file, &["first", "second"]).unwrap();
        assert_eq!(told.answers[0], "0, 0 0 0, 0 0 0, 0 0 0", "{}", host.version);
        assert!(told.answers[1].contains("answers 413"), "{:?}", told.answers);
        let put = |body: &str| ("PUT /file.txt HTTP/1.1".to_owned(), body.to_owned());
        assert_eq!(server.requests(), [put("first"), put("second")]);
    }
}

/// What a plugin is told that asks an older host for its store.
const NO_STORE: &str = "the host is older than 1.2 of notifyit-plugin-api: it has no store; update notifyit";

/// For the text of a file what `create`, `on_event`, `flush` and `shutdown` answer, the latter not asked after a panic.
const ANSWERS: [(&str, &str); 5] = [
    ("text", "0, 0 0 0 rewritten, 0 0 0, 0 0 0"),
    ("reject", "0, 2 0 0 told to reject, 0 0 0, 0 0 0"),
    ("retry", "0, 1 1 20000000 try again in 20ms, 0 0 0, 0 0 0"),
    ("unavailable", "0, 1 2 0 told to be unavailable, 0 0 0, 0 0 0"),
    ("panic", "0, 3 0 0 told to panic"),
];

/// A library, and the name under which it runs: `older-release-nightly`.
type Named = (String, PathBuf);

/// Today's plugin, and the others in debug and release, by our compiler and by those of other channels that are here.
fn builds() -> Vec<Named> {
    let plugins = ["older", "previous", "newer"];
    let mut all = vec![("today".to_owned(), library("today"))];
    for toolchain in [None, Some("nightly"), Some("beta")] {
        for profile in ["dev", "release"] {
            let Some(built) = libraries_by(toolchain, profile, &plugins) else {
                skip(&format!("plugins of another compiler: no toolchain {toolchain:?}"));
                break;
            };
            let names =
                plugins.map(|plugin| [&[plugin, profile][..], toolchain.as_slice()].concat().join("-"));
            all.extend(names.into_iter().zip(built));
        }
    }
    all
}

fn configured(host: Host, builds: &[Named]) -> Host {
    let mut config = "[[watch]]\npath = \"{root}\"\n".to_owned();
    for (name, library) in builds {
        let copy = host.temp().join("named").join(format!("{name}.so"));
        fs::copy(library, &copy).unwrap_or_else(|e| panic!("failed to copy {library:?}: {e}"));
        config += &format!(
            "[plugin.{name}]\nlibrary = {copy:?}\nretry = {{ first = \"10ms\" }}\nconfig = {{ greeting = \"hello\" }}\n"
        );
    }
    host.config(&config)
}

#[test]
fn older_and_newer_plugins_of_all_compilers_run_side_by_side() {
    let builds = builds();
    let host = configured(Host::new(), &builds).start();
    for text in ["plain", "retry", "panic", "reject"] {
        host.write(text, text);
    }
    for (name, _) in &builds {
        runs(&host, name);
    }
    let exit = host.stop();
    exit.success();
    for (name, _) in &builds {
        let lines = |words: &str| exit.lines(&[&format!(" {name}: {words}")]).len();
        let knows = match name.split('-').next() {
            Some("older") => "nothing".to_owned(),
            Some("newer") => format!("Some({name:?}) None"),
            Some("today") => format!("Some({name:?}), no state directory"),
            _ => format!("Some({name:?})"),
        };
        assert_eq!(lines(&format!("made, knows {knows}")), 2, "{name}: made anew after the panic");
        assert_eq!(lines("shut down"), 1, "{name}");
    }
}

fn runs(host: &Running, name: &str) {
    for text in ["plain", "retry", "panic"] {
        host.logged(&[&format!(" {name}: hello {text}")]);
    }
    host.logged(&[&format!(" {name}: flushed ")]);
    for file in ["panic", "reject"] {
        host.logged(&[name, file, &format!("told to {file}")]);
    }
}

#[test]
fn the_frozen_sources_are_as_they_were() {
    if inline_only("no host runs") {
        return;
    }
    let api = Path::new(env!("CARGO_MANIFEST_DIR")).join("api");
    let readme = api.join("README.md");
    for (version, sum) in [("1.0", 15_763_267_176_127_799_524), ("1.1", 11_856_222_073_700_816_358)] {
        assert_eq!(
            sum_of(&api.join(version)),
            sum,
            "the frozen copy of {version} was edited: see {readme:?}"
        );
    }
}

/// FNV-1a of the sources, in the order of their names.
fn sum_of(directory: &Path) -> u64 {
    let mut sources = Vec::new();
    collect(directory, &mut sources);
    sources.sort();
    assert!(sources.len() > 15, "{sources:?}");
    let bytes = sources.iter().flat_map(|path| fs::read(path).expect("a source is readable"));
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn collect(directory: &Path, found: &mut Vec<PathBuf>) {
    for path in fs::read_dir(directory).expect("the directory is there").flatten().map(|entry| entry.path()) {
        if path.is_dir() {
            collect(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") && !path.ends_with("build.rs") {
            found.push(path);
        }
    }
}

/// That it compiles with each version holds what 1.0 promises an author: so it must leave out nothing.
#[test]
fn the_surface_has_all_that_1_0_gives_an_author() {
    if inline_only("no host runs") {
        return;
    }
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    let read = |path: PathBuf| fs::read_to_string(path).expect("a source is readable");
    let surface = ["surface.rs", "surface_testing.rs"].map(|name| tests.join("plugins/today/src").join(name));
    let surface = surface.map(read).concat();
    let mut sources = Vec::new();
    collect(&tests.join("api/1.0/src"), &mut sources);
    sources.retain(|path| !path.components().any(|part| part.as_os_str() == "abi"));
    let given: Vec<String> = sources.into_iter().flat_map(|path| given(&read(path))).collect();
    assert!(given.len() > 60, "{given:?}");
    let is_used = |name: &&String| {
        [format!("::{name}"), format!(".{name}("), format!(" {name},")]
            .iter()
            .any(|use_| surface.contains(use_))
    };
    let left_out: Vec<_> = given.iter().filter(|name| !is_used(name)).collect();
    assert!(left_out.is_empty(), "{left_out:?}");
}

/// The names of the public functions, types and variants that are not hidden.
fn given(source: &str) -> Vec<String> {
    const ITEMS: [&str; 4] = ["pub fn ", "pub struct ", "pub enum ", "pub trait "];
    let (mut names, mut is_hidden, mut is_enum) = (Vec::new(), false, false);
    for line in source.split("#[cfg(test)]").next().unwrap_or_default().lines() {
        let code = line.trim_start();
        is_enum = code.starts_with("pub enum ") || (is_enum && line != "}");
        let variant = Some(code).filter(|code| is_enum && code.starts_with(char::is_uppercase));
        let named = ITEMS.iter().find_map(|item| code.strip_prefix(item)).or(variant);
        if let Some(named) = named {
            let name = named.split(|c: char| !c.is_alphanumeric() && c != '_').next();
            names.extend(name.filter(|_| !is_hidden).map(str::to_owned));
        }
        is_hidden = code == "#[doc(hidden)]" || (is_hidden && code.starts_with("#["));
    }
    names
}
