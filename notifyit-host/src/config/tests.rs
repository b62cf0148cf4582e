//! The whole way: flags, file and environment in, settings or one line out.

use std::ffi::OsString;
use std::fs;
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Parser;
use expect_test::{Expect, expect};
use notifyit_plugin_api::Kind;
use serde_json::json;
use tempfile::TempDir;
use tracing::level_filters::LevelFilter;

use super::*;
use crate::cli::{Cli, Command, WatchArgs};
use crate::patterns::Entry;

/// A current directory of its own, with a configuration file if one is given.
struct Place {
    dir: TempDir,
    environment: Environment,
}

impl Place {
    fn new() -> Place {
        let dir = tempfile::tempdir().unwrap();
        let environment = Environment { current_dir: dir.path().to_owned(), ..Environment::default() };
        Place { dir, environment }
    }

    fn with(file: &str) -> Place {
        let place = Place::new();
        place.write("etc/n.toml", file);
        place
    }

    fn write(&self, path: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn resolve(&self, args: &[&str]) -> anyhow::Result<Settings> {
        resolve(&typed(args), &self.environment)
    }
}

fn typed(args: &[&str]) -> WatchArgs {
    match Cli::try_parse_from([&["notifyit", "watch"], args].concat()).unwrap().command {
        Command::Watch(args) | Command::Check(args) => args,
        _ => unreachable!("`watch` was typed"),
    }
}

/// Settings from a file alone, or with flags.
fn of_file(file: &str, args: &[&str]) -> Settings {
    Place::with(file).resolve(&[&["-c", "etc/n.toml"], args].concat()).unwrap()
}

/// Settings from flags alone, with one directory.
fn of_flags(args: &[&str]) -> Settings {
    Place::new().resolve(&[args, &["in"]].concat()).unwrap()
}

/// The errors of files alone, a line each: all of the kind that is exit status 78.
fn wrong_files(files: &[&str], expected: &Expect) {
    let error = |file: &&str| Place::with(&format!("{file}\n")).resolve(&["-c", "etc/n.toml"]).unwrap_err();
    expected.assert_eq(&lines::<ConfigError>(files.iter().map(error)));
}

/// The errors of `--set`s, a line each: all of the kind that is exit status 2.
fn wrong_sets(sets: &[&str], expected: &Expect) {
    let error = |set: &&str| Place::new().resolve(&["in", "--set", set]).unwrap_err();
    expected.assert_eq(&lines::<UsageError>(sets.iter().map(error)));
}

fn lines<E: std::error::Error + Send + Sync + 'static>(
    errors: impl Iterator<Item = anyhow::Error>,
) -> String {
    let line = |error: anyhow::Error| {
        let text = format!("{error:#}");
        assert!(error.is::<E>() && !text.contains('\n'), "{text:?}");
        text + "\n"
    };
    errors.map(line).collect()
}

fn wrong_flags(args: &[&str]) -> String {
    Place::new().resolve(&[&["in"], args].concat()).unwrap_err().downcast::<UsageError>().unwrap().to_string()
}

fn instance<'a>(settings: &'a Settings, name: &str) -> &'a PluginSettings {
    let instances = settings.plugins.requested().iter().filter_map(|request| match request {
        Request::Instance(settings) => Some(&**settings),
        Request::File(_) => None,
    });
    instances.into_iter().find(|instance| instance.name == name).unwrap()
}

fn requested(settings: &Settings) -> Vec<String> {
    let text = |request: &Request| match request {
        Request::Instance(settings) => match &settings.library {
            Library::Name(name) => format!("{} = {name}", settings.name),
            Library::File(file) => format!("{} = {}", settings.name, file.display()),
        },
        Request::File(file) => file.display().to_string(),
    };
    settings.plugins.requested().iter().map(text).collect()
}

fn names(settings: &Settings) -> Vec<&str> {
    settings.watches.iter().map(|watch| &*watch.name).collect()
}

const WATCH: &str = "[[watch]]\npath = \"/srv/incoming\"\n";

const WHOLE: &str = r#"
[host]
plugin_dirs = ["plugins", "/opt/plugins"]
trust = "owner"
grace = "1m"
rescan_every = 0
log_format = "json"
log_level = "warn"

[[watch]]
name = "incoming"
path = "/srv/incoming"
recursive = true
include = ["*.jpg"]
exclude = [".*", "*.part"]
ignore_case = true
existing = "skip"
missing = "wait"

[[watch]]
path = "../spool/out/"
backend = "auto"
poll = "30s"
stable_for = "1s"

[plugin.print]

[plugin.thumbnails]
library = "exec"
watch = ["incoming"]
include = ["*.{jpg,png}"]
exclude = ["big/"]
ignore_case = true
events = ["landed", "IN_DELETE", "emitted"]
emitted_by = ["scan"]
workers = 2
queue = 100
timeout = "30s"
quiet = "5s"
coalesce = "2s"
retry = { first = "2s", max = "5m", for = "1h 30m", attempts = 7, crashes = 2 }
isolation = "process"
user = "nobody"
[plugin.thumbnails.config]
command = ["convert", "{file}"]
since = 2024-02-03
deep = { ratio = 0.5, on = true, n = -1 }

[plugin.archive]
library = "./libarchive.so"
"#;

#[test]
fn every_key_of_a_file_arrives() {
    let place = Place::with(WHOLE);
    let settings = place.resolve(&["-c", "etc/n.toml"]).unwrap();
    assert_eq!(settings.plugin_dirs, [place.path("etc/plugins"), PathBuf::from("/opt/plugins")]);
    assert_eq!((settings.trust, settings.grace), (Trust::Owner, Duration::from_secs(60)));
    assert_eq!(settings.log, LogSettings { format: LogFormat::Json, level: LevelFilter::WARN });

    assert_eq!(names(&settings), ["incoming", "out"]);
    let [incoming, out] = &settings.watches[..] else { panic!("{:?}", settings.watches) };
    assert_eq!((incoming.path.as_path(), incoming.recursive), (Path::new("/srv/incoming"), true));
    assert_eq!((incoming.missing, out.missing), (Missing::Wait, Missing::Error));
    let seconds = Duration::from_secs;
    assert_eq!(
        (incoming.backend, incoming.poll_every, incoming.stable_for),
        (Backend::Auto, seconds(10), None)
    );
    assert_eq!((out.backend, out.poll_every, out.stable_for), (Backend::Auto, seconds(30), Some(seconds(1))));
    assert_eq!(settings.rescan_every, None);
    assert!(incoming.patterns.accepts(Path::new("a.JPG"), Entry::File));
    assert!(!incoming.patterns.accepts(Path::new(".x/a.jpg"), Entry::File));
    assert_eq!(out.path, place.path("etc/../spool/out"));
    assert!(out.patterns.is_empty() && !out.recursive);

    let library = place.path("etc/libarchive.so");
    let archive = format!("archive = {}", library.display());
    assert_eq!(requested(&settings), ["print = print", "thumbnails = exec", &archive]);
    let thumbnails = instance(&settings, "thumbnails");
    assert_eq!(thumbnails.watch, Some(vec!["incoming".to_owned()]));
    assert!(thumbnails.patterns.accepts(Path::new("a.PNG"), Entry::File));
    assert!(thumbnails.patterns.excludes_dir(Path::new("BIG")));
    assert_eq!(thumbnails.events, Some(vec![Kind::Landed, Kind::Delete, Kind::Emitted]));
    assert_eq!(thumbnails.emitted_by, Some(vec!["scan".to_owned()]));
    assert_eq!((thumbnails.workers, thumbnails.queue), (2, 100));
    assert_eq!(thumbnails.timeout, Some(Duration::from_secs(30)));
    assert_eq!((thumbnails.quiet, thumbnails.coalesce), (Some(seconds(5)), Some(seconds(2))));
    let [first, max, for_] = [2, 300, 5400].map(Duration::from_secs);
    assert_eq!(thumbnails.retry, RetrySettings { first, max, for_, attempts: Some(7), crashes: 2 });
    assert_eq!(thumbnails.isolation, Isolation::Process);
    assert_eq!(thumbnails.confinement.user.as_deref(), Some("nobody"));
    let config = json!({
        "command": ["convert", "{file}"], "since": "2024-02-03", "deep": {"ratio": 0.5, "on": true, "n": -1}
    });
    assert_eq!(serde_json::Value::Object(thumbnails.config.values.clone()), config);
}

#[test]
fn the_defaults_are_those_documented() {
    let settings = of_flags(&["-p", "print"]);
    assert_eq!((settings.trust, settings.grace), (Trust::Strict, Duration::from_secs(10)));
    assert_eq!(settings.log, LogSettings { format: LogFormat::Text, level: LevelFilter::INFO });
    let print = instance(&settings, "print");
    assert_eq!((print.workers, print.queue, print.timeout), (1, 65_536, None));
    assert_eq!((print.quiet, print.coalesce), (None, None));
    assert_eq!(settings.rescan_every, Some(Duration::from_secs(3600)));
    assert_eq!((&print.watch, &print.events), (&None, &None));
    assert!(print.patterns.is_empty() && print.config.values.is_empty());
    assert_eq!((print.isolation, &print.confinement), (Isolation::Inline, &Confinement::default()));
    let [first, max, for_] = [1, 600, 86_400].map(Duration::from_secs);
    assert_eq!(print.retry, RetrySettings { first, max, for_, attempts: None, crashes: 3 });
}

#[test]
fn a_file_that_is_wrong_is_told_by_line_column_and_key() {
    let files = [
        "[host]\ngrace = \"5s\"\nstate = 1",
        "[hots]",
        "host = 5",
        "[host]\ngrace = 5",
        "[host]\ngrace = \"5\"",
        "[host]\ntrust = \"all\"",
        "[host]\nplugin_dirs = [\"a\", \"\"]",
        "[watch]\npath = \"x\"",
        "# ä\n[[watch]]\nname = \"ä\" # no path",
        "watch = [{ path = \"ä\", pth = 1 }]",
        "[[watch]]\npath = \"x\"\nexclude = [\n  \".*\",\n  \"[a\",\n]",
        "[[watch]]\npath = \"x\"\nexisting = \"maybe\"",
        "[[watch]]\npath = \"x\"\nmissing = \"skip\"",
        "[[watch]]\npath = \"x\"\nname = \"a\\nb\"",
        "[[watch]]\npath = \"x\"\nname = \"a\"\n[[watch]]\nname = \"a\"\npath = \"y\"",
        "[host]\ngrace = \"1s\"",
        "",
    ];
    wrong_files(
        &files,
        &expect![[r#"
            etc/n.toml:3:1: host.state: unknown key `state`, expected one of `plugin_dirs`, `state_dir`, `socket`, `trust`, `grace`, `rescan_every`, `log_format`, `log_level`
            etc/n.toml:1:2: hots: unknown key `hots`, expected one of `host`, `watch`, `plugin`
            etc/n.toml:1:8: host: invalid type: integer `5`, expected a table
            etc/n.toml:2:9: host.grace: invalid type: integer `5`, expected a duration such as "30s", "10m" or "1h 30m"
            etc/n.toml:2:9: host.grace: `5` is no duration such as 30s, 10m or 1h 30m: time unit needed, for example 5sec or 5ms
            etc/n.toml:2:9: host.trust: unknown value `all`, expected one of `strict`, `owner`, `off`
            etc/n.toml:2:21: host.plugin_dirs: a path cannot be empty
            etc/n.toml:1:1: watch: invalid type: table, expected a list: each watch begins with [[watch]]
            etc/n.toml:2:1: watch: missing key `path`
            etc/n.toml:1:24: watch.pth: unknown key `pth`, expected one of `name`, `path`, `recursive`, `cross_mounts`, `include`, `exclude`, `ignore_case`, `existing`, `missing`, `backend`, `poll`, `stable_for`
            etc/n.toml:5:3: watch.exclude: bad pattern "[a": unclosed character class; missing ']'
            etc/n.toml:3:12: watch.existing: unknown value `maybe`, expected `skip` or `deliver`
            etc/n.toml:3:11: watch.missing: unknown value `skip`, expected `error` or `wait`
            etc/n.toml:3:8: watch.name: "a\nb" is no watch's name: it is empty or holds control characters
            etc/n.toml:5:8: watch.name: another watch is named `a` already
            etc/n.toml:1:1: there is nothing to watch; add a [[watch]], or name a directory on the command line
            etc/n.toml:1:1: there is nothing to watch; add a [[watch]], or name a directory on the command line
        "#]],
    );
}

#[test]
fn whoever_names_emitters_takes_what_they_emit_and_nothing_else() {
    let settings = of_file("[[watch]]\npath = \"/srv\"\n[plugin.print]\nemitted_by = [\"scan\"]\n", &[]);
    assert_eq!(instance(&settings, "print").events, Some(vec![Kind::Emitted]));
}

#[test]
fn a_plugin_that_is_written_wrong_is_told_by_line_column_and_key() {
    let plugins = [
        "wrokers = 2",
        "workers = 0",
        "workers = 70000",
        "queue = 0",
        "timeout = \"0s\"",
        "timeout = 30",
        "retry = 5",
        "retry = { first = \"0s\" }",
        "retry = { first = \"1m\", max = \"1s\" }",
        "retry = { attempts = 0 }",
        "retry = { crashes = 0 }",
        "events = [\"landed\", \"closed\"]",
        "events = []",
        "watch = [\"incoming\", \"y\"]",
        "watch = []",
        "watch = \"incoming\"",
        "emitted_by = []",
        "events = [\"landed\"]\nemitted_by = [\"scan\"]",
        "emitted_by = [\"scan\", \"a b\"]",
        "library = \"a b\"",
        "config = { a = [{ b = nan }] }",
        "config = 5",
        "isolation = \"thread\"",
        "user = \"nobody\"\nisolation = \"inline\"",
        "umask = \"027\"",
        "limits = { cpu = \"1m\" }",
        "isolation = \"inline\"\nsandbox = { read = [\"a\"] }",
        "[plugin.\"../x\"]",
        "[plugin.\"a\\nb\"]",
    ];
    let files = plugins.map(|line| format!("{WATCH}[plugin.x]\n{line}"));
    wrong_files(
        &files.each_ref().map(String::as_str),
        &expect![[r#"
            etc/n.toml:4:1: plugin.x.wrokers: unknown key `wrokers`, expected one of `library`, `watch`, `include`, `exclude`, `ignore_case`, `events`, `emitted_by`, `workers`, `in_flight`, `queue`, `timeout`, `quiet`, `coalesce`, `retry`, `isolation`, `user`, `umask`, `limits`, `sandbox`, `config`
            etc/n.toml:4:11: plugin.x.workers: invalid value: integer `0`, expected a number from 1 to 65535
            etc/n.toml:4:11: plugin.x.workers: invalid value: integer `70000`, expected a number from 1 to 65535
            etc/n.toml:4:9: plugin.x.queue: 0 is no queue's length: 1 to 16777216 are possible
            etc/n.toml:4:11: plugin.x.timeout: it must be longer than 0
            etc/n.toml:4:11: plugin.x.timeout: invalid type: integer `30`, expected a duration such as "30s", "10m" or "1h 30m"
            etc/n.toml:4:9: plugin.x.retry: invalid type: integer `5`, expected a table
            etc/n.toml:4:19: plugin.x.retry.first: it must be longer than 0
            etc/n.toml:4:31: plugin.x.retry.max: it is shorter than the first pause, 60s
            etc/n.toml:4:22: plugin.x.retry.attempts: invalid value: integer `0`, expected a number from 1 to 4294967295
            etc/n.toml:4:21: plugin.x.retry.crashes: invalid value: integer `0`, expected a number from 1 to 4294967295
            etc/n.toml:4:21: plugin.x.events: unknown kind of event `closed`; known are landed, close-write, close-nowrite, create, delete, modify, attrib, open, access, moved-from, moved-to, emitted
            etc/n.toml:4:10: plugin.x.events: it names no kind of event; leave it out for the plugin's own
            etc/n.toml:4:22: plugin.x.watch: no watch is named `y`; known are `incoming`
            etc/n.toml:4:9: plugin.x.watch: it names no watch; leave it out for all of them
            etc/n.toml:4:9: plugin.x.watch: invalid type: string "incoming", expected an array
            etc/n.toml:4:14: plugin.x.emitted_by: it names no plugin; leave it out for all of them
            etc/n.toml:5:14: plugin.x.emitted_by: its events do not have "emitted" among them: nothing that is handed on would come
            etc/n.toml:4:23: plugin.x.emitted_by: "a b" is no plugin's name: letters, digits, `-`, `_` and `.` make one
            etc/n.toml:4:11: plugin.x.library: "a b" is no plugin's name: letters, digits, `-`, `_` and `.` make one
            etc/n.toml:4:10: plugin.x.config: a: b: a plugin cannot be given the number NaN
            etc/n.toml:4:10: plugin.x.config: invalid type: integer `5`, expected a table
            etc/n.toml:4:13: plugin.x.isolation: unknown value `thread`, expected `inline` or `process`
            etc/n.toml:4:8: plugin.x.user: only worker processes can be confined; add isolation = "process", or type --isolation process
            etc/n.toml:4:9: plugin.x.umask: only worker processes can be confined; add isolation = "process", or type --isolation process
            etc/n.toml:4:10: plugin.x.limits: only worker processes can be confined; add isolation = "process", or type --isolation process
            etc/n.toml:5:11: plugin.x.sandbox: only worker processes can be confined; add isolation = "process", or type --isolation process
            etc/n.toml:4:9: plugin."../x": "../x" is no plugin's name: letters, digits, `-`, `_` and `.` make one
            etc/n.toml:4:9: plugin."a\nb": "a\nb" is no plugin's name: letters, digits, `-`, `_` and `.` make one
        "#]],
    );
}

#[test]
fn a_confinement_that_is_written_wrong_is_told_by_line_column_and_key() {
    let plugins = [
        "user = \"\"",
        "user = \"a:b\"",
        "user = -1",
        "user = 4294967295",
        "user = true",
        "umask = 27",
        "umask = \"028\"",
        "umask = \"1000\"",
        "umask = \"+2\"",
        "limits = { memory = 0 }",
        "limits = { memory = \"512\" }",
        "limits = { memory = \"512MB\" }",
        "limits = { memory = \"-1MiB\" }",
        "limits = { file_size = \"99999999999GiB\" }",
        "limits = { file_size = 1.5 }",
        "limits = { open_files = 0 }",
        "limits = { cpu = \"0s\" }",
        "limits = { ram = 1 }",
        "sandbox = \"yes\"",
        "sandbox = { read = [\"a\", \"\"] }",
        "sandbox = { network = \"no\" }",
        "sandbox = { reed = [] }",
    ];
    let files = plugins.map(|line| format!("{WATCH}[plugin.x]\nisolation = \"process\"\n{line}"));
    wrong_files(
        &files.each_ref().map(String::as_str),
        &expect![[r#"
            etc/n.toml:5:8: plugin.x.user: "" is no user's name
            etc/n.toml:5:8: plugin.x.user: "a:b" is no user's name
            etc/n.toml:5:8: plugin.x.user: -1 is no user's number
            etc/n.toml:5:8: plugin.x.user: 4294967295 is no user's number
            etc/n.toml:5:8: plugin.x.user: invalid type: boolean `true`, expected a user's name or number
            etc/n.toml:5:9: plugin.x.umask: invalid type: integer `27`, expected an octal text such as "027"
            etc/n.toml:5:9: plugin.x.umask: `028` is no umask such as 027
            etc/n.toml:5:9: plugin.x.umask: `1000` is no umask such as 027
            etc/n.toml:5:9: plugin.x.umask: `+2` is no umask such as 027
            etc/n.toml:5:21: plugin.x.limits.memory: 0 is no size in bytes
            etc/n.toml:5:21: plugin.x.limits.memory: `512` is no size such as 64KiB, 512MiB or 2GiB
            etc/n.toml:5:21: plugin.x.limits.memory: `512MB` is no size such as 64KiB, 512MiB or 2GiB
            etc/n.toml:5:21: plugin.x.limits.memory: `-1MiB` is no size such as 64KiB, 512MiB or 2GiB
            etc/n.toml:5:24: plugin.x.limits.file_size: `99999999999GiB` is no size such as 64KiB, 512MiB or 2GiB
            etc/n.toml:5:24: plugin.x.limits.file_size: invalid type: floating point `1.5`, expected a size such as "512MiB", or a number of bytes
            etc/n.toml:5:25: plugin.x.limits.open_files: invalid value: integer `0`, expected a number from 1 on
            etc/n.toml:5:18: plugin.x.limits.cpu: it must be longer than 0
            etc/n.toml:5:12: plugin.x.limits.ram: unknown key `ram`, expected one of `memory`, `open_files`, `processes`, `file_size`, `cpu`
            etc/n.toml:5:11: plugin.x.sandbox: invalid value: string "yes", expected true, false, "require" or a table
            etc/n.toml:5:26: plugin.x.sandbox.read: a path cannot be empty
            etc/n.toml:5:23: plugin.x.sandbox.network: invalid type: string "no", expected a boolean
            etc/n.toml:5:13: plugin.x.sandbox.reed: unknown key `reed`, expected one of `read`, `write`, `network`, `require`
        "#]],
    );
}

#[test]
fn what_is_no_toml_is_told_by_line_and_column() {
    let files = ["[host", "[host]\ngrace = \"1s\"\ngrace = \"2s\"", "a =", "a = \"\n", "= 1"];
    wrong_files(
        &files,
        &expect![[r#"
        etc/n.toml:1:6: unclosed table, expected `]`
        etc/n.toml:3:1: duplicate key
        etc/n.toml:1:4: string values must be quoted, expected literal string
        etc/n.toml:1:6: invalid basic string, expected `"`
        etc/n.toml:1:1: unquoted keys cannot be empty, expected letters, numbers, `-`, `_`
    "#]],
    );
}

#[test]
fn a_file_that_is_not_utf8_is_told_by_line_and_column() {
    let place = Place::new();
    place.write("n.toml", b"[host]\n# \xff");
    let error = place.resolve(&["-c", "n.toml"]).unwrap_err();
    assert_eq!(error.downcast::<ConfigError>().unwrap().to_string(), "n.toml:2:3: not UTF-8");
}

#[test]
fn a_file_that_cannot_be_read_is_another_kind_of_error() {
    let error = Place::new().resolve(&["-c", "none.toml"]).unwrap_err();
    assert!(!error.is::<ConfigError>() && !error.is::<UsageError>());
    let expected =
        "failed to read the configuration file \"none.toml\": No such file or directory (os error 2)";
    assert_eq!(format!("{error:#}"), expected);
}

#[test]
fn set_is_laid_over_the_file() {
    let args = [
        "--set=thumbnails.command=[\"true\"]",
        "--set=thumbnails.deep.on=false",
        "--set=thumbnails.mode=lines",
        "--set=plugin.thumbnails.workers=4",
        "--set=plugin.thumbnails.retry.first=3s",
        "--set=plugin.thumbnails.library=other",
        "--set=host.grace=5s",
        "--set=host.plugin_dirs=[\"p\"]",
        "--set=print.format=json",
    ];
    let place = Place::with(WHOLE);
    let settings = place.resolve(&[&["-c", "etc/n.toml"], &args[..]].concat()).unwrap();
    let thumbnails = instance(&settings, "thumbnails");
    let config = json!({
        "command": ["true"], "mode": "lines", "since": "2024-02-03", "deep": {"ratio": 0.5, "on": false, "n": -1}
    });
    assert_eq!(serde_json::Value::Object(thumbnails.config.values.clone()), config);
    assert_eq!((thumbnails.workers, thumbnails.queue), (4, 100));
    assert_eq!(thumbnails.retry.first, Duration::from_secs(3));
    assert_eq!(thumbnails.library, Library::Name("other".to_owned()));
    assert_eq!(settings.grace, Duration::from_secs(5));
    assert_eq!(settings.plugin_dirs, [place.path("p")], "typed, so relative to the current directory");
    assert_eq!(instance(&settings, "print").config.values["format"], "json");
}

#[test]
fn a_set_value_is_toml_or_else_a_string() {
    let value = |text: &str| {
        let settings = of_flags(&["-p", "x", "--set", &format!("x.k={text}")]);
        instance(&settings, "x").config.values["k"].clone()
    };
    assert_eq!(value("4"), json!(4));
    assert_eq!(value(" true "), json!(true));
    assert_eq!(value("[1, 2]"), json!([1, 2]));
    assert_eq!(value("{a = {b = 1}}"), json!({"a": {"b": 1}}));
    assert_eq!(value("\"4\""), json!("4"));
    assert_eq!(value("json"), json!("json"));
    assert_eq!(value("2s"), json!("2s"));
    assert_eq!(value(""), json!(""));
    assert_eq!(value(" a = b\n[c] "), json!(" a = b\n[c] "));
    assert_eq!(value("1\nb=2"), json!("1\nb=2"));
    assert_eq!(value("[a"), json!("[a"));
    assert_eq!(value("ä"), json!("ä"));
    let settings = of_flags(&["-p", "x", "--set", "x.\"a=b.c\".'d'=1"]);
    assert_eq!(instance(&settings, "x").config.values["a=b.c"], json!({"d": 1}));
}

#[test]
fn a_wrong_set_is_named() {
    let sets = [
        "plugin.exec.workers=x",
        "plugin.exec.wrokers=4",
        "plugin.exec.watch=[\"x\"]",
        "plugin.exec.include=['a', '[b']",
        "host.grace=5",
        "a.b.c",
        "exec=5",
        "plugin=5",
        "=5",
        "a b.c=5",
        "[a]\nb=5",
        "'a\u{1b}'.c=1",
        "'a\u{202e}'.c",
        "a..b=1",
    ];
    wrong_sets(
        &sets,
        &expect![[r#"
            --set plugin.exec.workers=x: plugin.exec.workers: invalid type: string "x", expected a number from 1 to 65535
            --set plugin.exec.wrokers=4: plugin.exec.wrokers: unknown key `wrokers`, expected one of `library`, `watch`, `include`, `exclude`, `ignore_case`, `events`, `emitted_by`, `workers`, `in_flight`, `queue`, `timeout`, `quiet`, `coalesce`, `retry`, `isolation`, `user`, `umask`, `limits`, `sandbox`, `config`
            --set plugin.exec.watch=["x"]: plugin.exec.watch: no watch is named `x`; known are `in`
            --set plugin.exec.include=['a', '[b']: plugin.exec.include: bad pattern "[b": unclosed character class; missing ']'
            --set host.grace=5: host.grace: invalid type: integer `5`, expected a duration such as "30s", "10m" or "1h 30m"
            --set a.b.c: there is no `=`; write PLUGIN.KEY=VALUE
            --set exec=5: what stands before `=` is too short; write PLUGIN.KEY=VALUE
            --set plugin=5: what stands before `=` is too short; write PLUGIN.KEY=VALUE
            --set =5: what stands before `=` is no key; write PLUGIN.KEY=VALUE
            --set a b.c=5: what stands before `=` is no key; write PLUGIN.KEY=VALUE
            --set [a]\nb=5: what stands before `=` is no key; write PLUGIN.KEY=VALUE
            --set 'a\u{1b}'.c=1: what stands before `=` is no key; write PLUGIN.KEY=VALUE
            --set 'a\u{202e}'.c: there is no `=`; write PLUGIN.KEY=VALUE
            --set a..b=1: what stands before `=` is no key; write PLUGIN.KEY=VALUE
        "#]],
    );
    let twice = wrong_flags(&["--set", "host.grace=1s", "--set", "host.grace.x=1"]);
    assert_eq!(twice, "--set host.grace.x=1: host.grace is no table");
}

#[test]
fn a_file_is_not_blamed_for_a_set_nor_a_set_for_a_file() {
    let error =
        Place::with(WHOLE).resolve(&["-c", "etc/n.toml", "--set", "plugin.print.queue=no"]).unwrap_err();
    assert!(error.is::<UsageError>(), "{error:#}");
    let place = Place::with(&format!("{WATCH}[plugin.print]\nqueue = \"no\""));
    let error = place.resolve(&["-c", "etc/n.toml", "--set", "plugin.print.workers=2"]).unwrap_err();
    assert!(error.is::<ConfigError>(), "{error:#}");
    assert!(place.resolve(&["-c", "etc/n.toml", "--set", "plugin.print.queue=2"]).is_ok());
}

#[test]
fn a_command_is_run_by_exec() {
    let args = ["--set=exec.command=nothing", "--set=exec.mode=lines", "in", "--", "a", "", "{file}"];
    let settings = Place::new().resolve(&args).unwrap();
    assert_eq!(requested(&settings), ["exec = exec"]);
    assert!(!settings.plugins.drop_ins_run());
    let config = serde_json::Value::Object(instance(&settings, "exec").config.values.clone());
    assert_eq!(config, json!({"command": ["a", "", "{file}"], "mode": "lines"}));

    let both = Place::new().resolve(&["-p", "print", "in", "--", "true"]).unwrap();
    assert_eq!(requested(&both), ["print = print", "exec = exec"]);
    let once = Place::new().resolve(&["-p", "exec", "in", "--", "true"]).unwrap();
    assert_eq!(requested(&once), ["exec = exec"]);
    let file = Place::new().resolve(&["-p", "/x/libnotifyit_exec.so", "in", "--", "true"]).unwrap();
    assert_eq!(requested(&file), ["/x/libnotifyit_exec.so"]);
    assert!(both.plugins.check_sets(&["exec"]).is_ok(), "the command is no --set");
}

#[test]
fn a_command_that_is_not_utf8_is_refused() {
    let command = vec!["cat".into(), OsString::from_vec(b"a\xff\n".to_vec())];
    let args = WatchArgs { command, ..typed(&["in"]) };
    let error = resolve(&args, &Place::new().environment).unwrap_err();
    let expected = "failed to pass \"a\\xFF\\n\" on to exec: a command must be UTF-8, for a configuration can hold \
                    nothing else; put it into a script";
    assert_eq!(error.downcast::<UsageError>().unwrap().to_string(), expected);
}

#[test]
fn p_narrows_what_runs() {
    let place = Place::with(WHOLE);
    let settings = |args: &[&str]| place.resolve(&[&["-c", "etc/n.toml"], args].concat()).unwrap();
    let all = settings(&[]);
    assert!(all.plugins.drop_ins_run() && all.plugins.requested().len() == 3);
    let one = settings(&["-p", "thumbnails", "-p", "thumbnails", "-p", "other", "-p", "x/y"]);
    let file = place.path("x/y").display().to_string();
    assert_eq!(requested(&one), ["thumbnails = exec", "other = other", &file]);
    assert!(!one.plugins.drop_ins_run());
    assert!(one.plugins.drop_in("other", Path::new("/p/other.so")).is_none());
    assert_eq!(instance(&one, "thumbnails").workers, 2);
}

#[test]
fn settings_are_found_by_the_name_that_a_file_turns_out_to_have() {
    let settings = of_file(WHOLE, &["-p", "a.so", "--set", "new.k=1"]);
    let library = || Library::File(PathBuf::from("/x/a.so"));
    let thumbnails = settings.plugins.settings_for("thumbnails", library());
    assert_eq!((thumbnails.workers, thumbnails.library), (2, library()));
    assert_eq!(settings.plugins.settings_for("new", library()).config.values["k"], 1);
    let unknown = settings.plugins.settings_for("unknown", library());
    assert_eq!((&*unknown.name, unknown.workers), ("unknown", 1));
}

#[test]
fn a_drop_in_runs_unless_an_instance_stands_for_it() {
    let drop_in = |file: &str, name: &str| {
        let settings = of_file(&format!("{WATCH}{file}"), &["--set", "exec.k=1"]);
        settings.plugins.drop_in(name, Path::new("/p/libnotifyit_exec.so"))
    };
    assert_eq!(drop_in("", "exec").unwrap().config.values["k"], 1, "a --set alone asks for no instance");
    let library = drop_in("[plugin.print]", "exec").unwrap().library;
    assert_eq!(library, Library::File(PathBuf::from("/p/libnotifyit_exec.so")));
    assert!(drop_in("[plugin.exec]", "exec").is_none());
    assert!(drop_in("[plugin.exec]\nlibrary = \"other\"", "exec").is_none());
    assert!(drop_in("[plugin.thumbnails]\nlibrary = \"exec\"", "exec").is_none());
    assert!(drop_in("[plugin.thumbnails]\nlibrary = \"/p/libnotifyit_exec.so\"", "exec").is_none());
    assert!(drop_in("[plugin.thumbnails]\nlibrary = \"/q/libnotifyit_exec.so\"", "exec").is_some());

    let both = of_file(&format!("{WATCH}[plugin.thumbnails]\nlibrary = \"exec\"\n[plugin.exec]"), &[]);
    assert_eq!(requested(&both), ["thumbnails = exec", "exec = exec"]);
}

#[test]
fn a_set_for_a_plugin_that_does_not_run_is_an_error() {
    let settings =
        of_flags(&["--set", "host.grace=1s", "--set", "print.format=json", "--set", "plugin.exce.workers=1"]);
    assert_eq!(settings.plugins.check_sets(&["print", "exce"]), Ok(()));
    let error = |running: &[&str]| settings.plugins.check_sets(running).unwrap_err().to_string();
    assert_eq!(
        error(&["print", "exec"]),
        "--set plugin.exce.workers=1: no plugin named `exce` runs; running are `print`, `exec`"
    );
    assert_eq!(error(&[]), "--set print.format=json: no plugin named `print` runs; running are none");
}

#[test]
fn a_name_of_a_plugin_is_checked() {
    let why = "is no plugin's name: letters, digits, `-`, `_` and `.` make one";
    assert_eq!(wrong_flags(&["-p", "a b"]), format!("--plugin \"a b\": \"a b\" {why}"));
    assert_eq!(wrong_flags(&["-p", ""]), format!("--plugin \"\": \"\" {why}"));
    let odd = WatchArgs { plugin: vec![OsString::from_vec(b"\xff".to_vec())], ..typed(&["in"]) };
    let error = resolve(&odd, &Place::new().environment).unwrap_err();
    assert_eq!(error.to_string(), r#"--plugin "\xFF": "\xFF" is no plugin's name; a file needs a `/`"#);
    let file = OsString::from_vec(b"/\xff".to_vec());
    let odd = WatchArgs { plugin: vec![file.clone()], ..typed(&["in"]) };
    let settings = resolve(&odd, &Place::new().environment).unwrap();
    assert!(matches!(settings.plugins.requested(), [Request::File(path)] if *path == file));
}

#[test]
fn e_wins_over_the_file_and_a_set_over_e() {
    let settings = of_file(WHOLE, &["-e", "create", "--set=plugin.archive.events=['delete']"]);
    assert_eq!(instance(&settings, "print").events, Some(vec![Kind::Create]));
    assert_eq!(instance(&settings, "thumbnails").events, Some(vec![Kind::Create]));
    assert_eq!(instance(&settings, "archive").events, Some(vec![Kind::Delete]));
    let found = settings.plugins.settings_for("found", Library::Name("found".to_owned()));
    assert_eq!(found.events, Some(vec![Kind::Create]));
}

#[test]
fn isolation_wins_over_the_file_and_a_set_over_isolation() {
    let file = format!("{WATCH}[plugin.a]\nisolation = \"process\"\n[plugin.b]\n[plugin.c]");
    let isolation = |args: &[&str]| {
        let settings = of_file(&file, args);
        let found = settings.plugins.settings_for("found", Library::Name("found".to_owned()));
        ["a", "b", "c"].map(|name| instance(&settings, name).isolation).into_iter().chain([found.isolation])
    };
    use Isolation::{Inline, Process};
    assert!(isolation(&[]).eq([Process, Inline, Inline, Inline]));
    let set = "--set=plugin.c.isolation=process";
    assert!(isolation(&["--isolation", "inline", set]).eq([Inline, Inline, Process, Inline]));
    let set = "--set=plugin.c.isolation=inline";
    assert!(isolation(&["--isolation", "process", set]).eq([Process, Process, Inline, Process]));
    assert_eq!(
        wrong_flags(&["--isolation=inline", "--set=plugin.x.user=nobody"]),
        "--set plugin.x.user=nobody: plugin.x.user: only worker processes can be confined; add isolation = \
         \"process\", or type --isolation process"
    );
    assert!(Place::new().resolve(&["in", "--isolation=process", "--set=plugin.x.user=nobody"]).is_ok());
}

#[test]
fn a_confinement_arrives() {
    let place = Place::with(&format!("{WATCH}[plugin.x]\n{CONFINED}"));
    let settings = place.resolve(&["-c", "etc/n.toml", "--set=plugin.x.limits.memory=2GiB"]).unwrap();
    let expected = Confinement {
        user: Some("1000".to_owned()),
        umask: Some(0o27),
        limits: Limits {
            memory: Some(2 << 30),
            open_files: Some(256),
            processes: Some(64),
            file_size: Some(1000),
            cpu: Some(Duration::from_secs(600)),
        },
        sandbox: Some(Sandbox {
            read: vec![PathBuf::from("/opt/tool"), place.path("etc/colours")],
            write: vec![place.path("etc/../out")],
            network: true,
            require: false,
        }),
        written: WrittenAt {
            user: "etc/n.toml:6:8: plugin.x.user".to_owned(),
            sandbox: "etc/n.toml:9:11: plugin.x.sandbox".to_owned(),
        },
    };
    let confinement = &instance(&settings, "x").confinement;
    assert_eq!(*confinement, expected);
    let json = serde_json::to_string(confinement).unwrap();
    let arrived = serde_json::from_str::<Confinement>(&json).unwrap();
    assert_eq!(arrived, Confinement { written: WrittenAt::default(), ..expected });
}

const CONFINED: &str = r#"
isolation = "process"
user = 1000
umask = "027"
limits = { memory = "512MiB", open_files = 256, processes = 64, file_size = 1000, cpu = "10m" }
sandbox = { read = ["/opt/tool", "colours"], write = ["../out"], network = true }
"#;

#[test]
fn a_sandbox_is_a_table_or_short_for_one() {
    let sandbox = |text: &str| {
        let sandbox = format!("--set=plugin.x.sandbox={text}");
        let settings = of_flags(&["-p", "x", "--isolation=process", &sandbox]);
        instance(&settings, "x").confinement.sandbox.clone()
    };
    assert_eq!(sandbox("false"), None);
    assert_eq!(sandbox("true"), Some(Sandbox::default()));
    assert_eq!(sandbox("{}"), Some(Sandbox::default()));
    assert_eq!(sandbox("require"), Some(Sandbox { require: true, ..Sandbox::default() }));
    assert_eq!(of_flags(&["-p", "x", "--set=plugin.x.sandbox=false"]).watches.len(), 1, "inline has none");
}

#[test]
fn a_path_that_is_no_text_goes_to_the_worker_process_too() {
    let odd = vec![PathBuf::from(OsString::from_vec(b"/a\xff".to_vec()))];
    let sandbox = Some(Sandbox { read: odd.clone(), write: odd, ..Sandbox::default() });
    let confinement = Confinement { sandbox, ..Confinement::default() };
    let json = serde_json::to_string(&confinement).unwrap();
    assert_eq!(serde_json::from_str::<Confinement>(&json).unwrap(), confinement);
}

#[test]
fn typed_directories_get_the_typed_options() {
    let place = Place::with(WATCH);
    let args = [
        "-c",
        "etc/n.toml",
        "-r",
        "--wait",
        "--include=*.jpg",
        "--exclude=x/",
        "--ignore-case",
        "a/",
        "./a",
        ".",
    ];
    let settings = place.resolve(&args).unwrap();
    let here = place.dir.path().file_name().unwrap().to_str().unwrap();
    assert_eq!(names(&settings), ["incoming", "a", here]);
    let [incoming, a, dot] = &settings.watches[..] else { panic!("{:?}", settings.watches) };
    assert_eq!((a.path.clone(), dot.path.as_path()), (place.path("a"), place.dir.path()));
    assert!(a.recursive && dot.recursive && !incoming.recursive);
    assert!(a.patterns.accepts(Path::new("B.JPG"), Entry::File) && a.patterns.excludes_dir(Path::new("X")));
    assert!(incoming.patterns.is_empty());
    assert_eq!((incoming.missing, a.missing), (Missing::Wait, Missing::Wait), "--wait is for all");
    assert_eq!(of_flags(&[]).watches[0].missing, Missing::Error);
}

#[test]
fn an_interval_asks_for_polling_unless_the_file_says_when_to() {
    let watch = |keys: &str| {
        let settings = of_file(&format!("{WATCH}{keys}"), &[]);
        (settings.watches[0].backend, settings.watches[0].poll_every.as_secs())
    };
    assert_eq!(watch(""), (Backend::Auto, 10));
    assert_eq!(watch("poll = \"30s\""), (Backend::Poll, 30));
    assert_eq!(watch("poll = \"30s\"\nbackend = \"auto\""), (Backend::Auto, 30));
    assert_eq!(watch("backend = \"poll\""), (Backend::Poll, 10));
    assert_eq!(watch("backend = \"inotify\""), (Backend::Inotify, 10));
    let typed = of_file(WATCH, &["--poll=2s", "in"]);
    let [incoming, typed] = &typed.watches[..] else { panic!("{:?}", typed.watches) };
    assert_eq!(
        (incoming.backend, typed.backend, typed.poll_every.as_secs()),
        (Backend::Auto, Backend::Poll, 2)
    );
}

#[test]
fn names_of_watches_are_made_unique() {
    let file = "[[watch]]\npath = \"/a/in\"\n[[watch]]\npath = \"/b/in\"\n[[watch]]\nname = \"in-2\"\npath = \"/\"\n";
    assert_eq!(
        names(&of_file(file, &["/", "/c/in", "/c/.."])),
        ["in", "in-3", "in-2", "root", "in-4", "watch"]
    );
    let place = Place::new();
    let odd = WatchArgs { dirs: vec![OsString::from_vec(b"a\xff\nb".to_vec()).into()], ..typed(&[]) };
    assert_eq!(names(&resolve(&odd, &place.environment).unwrap()), ["a\u{fffd}?b"]);
}

#[test]
fn flags_that_would_do_nothing_are_refused() {
    let place = Place::with(WATCH);
    for flag in ["--recursive", "--include=a", "--exclude=a", "--ignore-case", "--poll"] {
        let error = place.resolve(&["-c", "etc/n.toml", flag]).unwrap_err();
        let name = flag.split('=').next().unwrap();
        let expected = format!("{name} is for directories on the command line, and there is none");
        assert_eq!(error.downcast::<UsageError>().unwrap().to_string(), expected);
    }
    assert_eq!(
        wrong_flags(&["--include", "{a"]),
        "bad pattern \"{a\": unclosed alternate group; missing '}' (maybe escape '{' with '[{]'?)"
    );
}

#[test]
fn flags_win_over_the_file() {
    let args = [
        "--trust=off",
        "--grace=3s",
        "--log-format=text",
        "-v",
        "--plugin-dir=/opt/plugins",
        "--plugin-dir=p",
    ];
    let place = Place::with(WHOLE);
    let settings = place.resolve(&[&["-c", "etc/n.toml"], &args[..]].concat()).unwrap();
    assert_eq!((settings.trust, settings.grace), (Trust::Off, Duration::from_secs(3)));
    assert_eq!(settings.log, LogSettings { format: LogFormat::Text, level: LevelFilter::INFO });
    let dirs = [PathBuf::from("/opt/plugins"), place.path("p"), place.path("etc/plugins")];
    assert_eq!(settings.plugin_dirs, dirs);
}

#[test]
fn v_and_q_move_the_level() {
    let level = |args: &[&str]| of_flags(args).log.level;
    assert_eq!(level(&["-v"]), LevelFilter::DEBUG);
    assert_eq!(level(&["-vv"]), LevelFilter::TRACE);
    assert_eq!(level(&["-vvvv"]), LevelFilter::TRACE);
    assert_eq!(level(&["-q"]), LevelFilter::WARN);
    assert_eq!(level(&["-qqqq"]), LevelFilter::OFF);
    assert_eq!(level(&["-vq"]), LevelFilter::INFO);
}

#[test]
fn names_are_looked_up_in_the_plugin_directories_first() {
    let mut place = Place::new();
    place.environment.home = Some("/home/u".into());
    place.environment.notifyit_plugin_path = Some("/np/a::rel:/p".into());
    let settings = place.resolve(&["--plugin-dir", "/p", "in"]).unwrap();
    let expected =
        ["/p", "/np/a", "REL", "/home/u/.local/lib/notifyit/plugins", "/usr/local/lib/notifyit/plugins"];
    let expected = expected.map(|path| if path == "REL" { place.path("rel") } else { path.into() });
    assert_eq!(settings.search_path[..5], expected);
    assert_eq!(settings.search_path[5..], [PathBuf::from("/usr/lib/notifyit/plugins")]);
    assert_eq!(settings.plugin_dirs, [PathBuf::from("/p")]);
}

#[test]
fn copies_may_lie_where_systemd_or_the_session_says() {
    let mut place = Place::new();
    place.environment.runtime_directory = Some("/run/a:/run/b".into());
    place.environment.xdg_runtime_dir = Some("/run/user/1".into());
    let dirs = ["/run/a", "/run/b", "/run/user/1", "/var/tmp", "/tmp"].map(PathBuf::from);
    assert_eq!(place.resolve(&["in"]).unwrap().staging_dirs, dirs);
    let dirs = ["/state/plugins", "/run/a"].map(PathBuf::from);
    assert_eq!(place.resolve(&["--state-dir", "/state", "in"]).unwrap().staging_dirs[..2], dirs);
}

#[test]
fn large_temporary_files_lie_where_the_environment_says_or_on_disk_rather_than_in_memory() {
    let mut place = Place::new();
    let dirs = ["/var/tmp", "/tmp"].map(PathBuf::from);
    assert_eq!(place.resolve(&["in"]).unwrap().temporary_dirs, dirs);
    place.environment.tmpdir = Some("/scratch".into());
    assert_eq!(place.resolve(&["in"]).unwrap().temporary_dirs[0], PathBuf::from("/scratch"));
}

#[test]
fn without_a_directory_the_first_usual_file_is_read() {
    let mut place = Place::new();
    let path_of = |place: &Place| place.resolve(&[]).unwrap().watches[0].path.display().to_string();
    let watch = |path: &str| format!("[[watch]]\npath = \"{path}\"");

    place.write("home/.config/notifyit/notifyit.toml", watch("/home"));
    place.environment.home = Some(place.path("home"));
    assert_eq!(path_of(&place), "/home");
    place.environment.xdg_config_home = Some("relative".into());
    assert_eq!(path_of(&place), "/home", "a relative XDG_CONFIG_HOME is ignored");
    place.write("xdg/notifyit/notifyit.toml", watch("/xdg"));
    place.environment.xdg_config_home = Some(place.path("xdg"));
    assert_eq!(path_of(&place), "/xdg");
    place.environment.notifyit_config = Some("none.toml".into());
    let error = format!("{:#}", place.resolve(&[]).unwrap_err());
    assert!(error.contains("none.toml"), "what somebody has named is not passed over: {error}");
    place.write("own.toml", watch("own"));
    place.environment.notifyit_config = Some("own.toml".into());
    assert_eq!(path_of(&place), place.path("own").display().to_string());

    let typed = place.resolve(&["in"]).unwrap();
    assert_eq!(names(&typed), ["in"], "with a directory no file is read");
}

#[test]
fn without_any_file_the_error_names_where_it_looked() {
    let mut place = Place::new();
    place.environment.home = Some("/none".into());
    let Err(error) = place.resolve(&[]) else {
        return; /* this machine has one in /etc */
    };
    assert_eq!(
        error.downcast::<UsageError>().unwrap().to_string(),
        "nothing to watch: there is no DIR, no -c FILE, and none of the files \
         \"/none/.config/notifyit/notifyit.toml\", \"/etc/notifyit/notifyit.toml\"; try `notifyit watch DIR`"
    );
}

#[test]
fn the_first_pause_may_be_longer_than_the_usual_longest() {
    let settings =
        of_flags(&["-p", "x", "--set", "plugin.x.retry.first=1h", "--set", "plugin.x.retry.for=0s"]);
    let retry = instance(&settings, "x").retry;
    assert_eq!((retry.max, retry.for_), (Duration::from_secs(3600), Duration::ZERO));
}
