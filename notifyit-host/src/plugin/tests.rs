//! The loader against real `.so` files.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use abi_stable::std_types::{RSlice, RStr};
use notifyit_plugin_api::Kind;
use notifyit_plugin_api::abi::EventRaw;

use super::load::LOADER;
use super::services::tests::logged;
use super::{CreateError, Instance, Loader, Lost, PluginLibrary, Prober, Reply, Services, Step, Trust};

/// The built library of this plugin of the workspace.
pub(super) fn built(name: &str) -> PathBuf {
    static TARGET: OnceLock<PathBuf> = OnceLock::new();
    TARGET.get_or_init(build).join(format!("libnotifyit_{name}.so"))
}

fn build() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--quiet", "-p", "notifyit-print", "-p", "notifyit-panics", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .status();
    assert!(built.unwrap().success(), "failed to build the plugins");
    target.join("debug")
}

/// Compiles C into a shared library.
pub(super) fn cc(dir: &Path, code: &str, arguments: &[&str]) -> PathBuf {
    let (source, library) = (dir.join("x.c"), dir.join("x.so"));
    std::fs::write(&source, code).unwrap();
    let cc = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .args(arguments)
        .status();
    assert!(cc.unwrap().success());
    library
}

impl Instance {
    fn reply_to(&mut self, event: &EventRaw<'_>) -> Reply {
        self.hand(event).unwrap().reply
    }
}

/// An event of the file `name`, which is not there.
fn event(name: &[u8], attempt: u32) -> EventRaw<'_> {
    EventRaw {
        id: 1,
        kind: Kind::CloseWrite.code(),
        origin: 1,
        attempt,
        flags: 0,
        watch: RStr::from_str("in"),
        root: RSlice::from_slice(b"/in"),
        path: RSlice::from_slice(name),
        relative_from: 4,
        renamed_from: RSlice::EMPTY,
        device: 0,
        inode: 0,
        size: 0,
        mode: 0,
        mtime_nanos: 0,
        mtime_seconds: 0,
        seen_nanos: 0,
        timeout_nanos: 0,
        spare: [0; 8],
        extra: RSlice::EMPTY,
    }
}

pub(super) fn services() -> Services {
    Services::new(|_, _| {})
}

/// The build directory's own modes are not what is tested here.
fn loader(dir: &Path) -> Loader {
    Loader::new(Trust::Off, &[dir.to_owned()], Prober::none())
}

fn panics_in(library: &PluginLibrary, places: &str) -> Result<Instance, CreateError> {
    library.create(services().grant("panics").context(), &format!(r#"{{"in":[{places}]}}"#))
}

fn panicked(reply: Reply) -> String {
    match reply {
        Reply::Lost(Lost::Panicked(message)) => message,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_plugin_is_loaded_called_and_says_what_it_is() {
    let dir = tempfile::tempdir().unwrap();
    for loader in [loader(dir.path()), Loader::new(Trust::Off, &[], Prober::none())] {
        let library = loader.load(&built("panics"), &|_| false).unwrap();
        assert_eq!((&*library.info.name, &*library.info.panic), ("panics", "unwind"));
        assert_eq!(&*library.file, built("panics"));
        let mut instance = panics_in(&library, "").unwrap();
        assert_eq!(instance.reply_to(&event(b"/in/a", 1)), Reply::Done);
        assert_eq!((instance.flush(&|| false), instance.shutdown(&|| false)), (Reply::Done, Reply::Done));
    }
}

#[test]
fn two_plugins_stay_two() {
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(dir.path());
    let names =
        ["print", "panics"].map(|name| loader.load(&built(name), &|_| false).unwrap().info.name.clone());
    assert_eq!(names, ["print", "panics"]);
}

#[test]
fn a_copy_over_a_loaded_file_harms_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.so");
    std::fs::copy(built("panics"), &file).unwrap();
    let library = loader(dir.path()).load(&file, &|_| false).unwrap();
    let mut instance = panics_in(&library, "").unwrap();
    std::fs::copy(built("panics"), &file).unwrap();
    assert_eq!(instance.reply_to(&event(b"/in/a", 1)), Reply::Done);
    std::fs::write(&file, "no code at all").unwrap();
    assert_eq!(instance.reply_to(&event(b"/in/b", 1)), Reply::Done);
    assert_eq!(panics_in(&library, "").map(drop), Ok(()));
}

#[test]
fn panics_are_replies_and_the_next_instance_works() {
    let dir = tempfile::tempdir().unwrap();
    let library = loader(dir.path()).load(&built("panics"), &|_| false).unwrap();
    let error = panics_in(&library, r#""new""#).unwrap_err().to_string();
    assert!(error.starts_with("the plugin panicked: panics in new, at "), "{error}");
    let mut instance = panics_in(&library, r#""on_event","flush","shutdown","drop""#).unwrap();
    let said = panicked(instance.reply_to(&event(b"/in/poison", 1)));
    assert!(said.starts_with("panics in on_event, at tests/plugins/panics/src/lib.rs:"), "{said}");
    drop(instance);
    let mut instance = panics_in(&library, r#""payload","drop""#).unwrap();
    panicked(instance.reply_to(&event(b"/in/poison", 1)));
    let mut instance = panics_in(&library, r#""flush","shutdown","drop""#).unwrap();
    assert_eq!(instance.reply_to(&event(b"/in/poison", 1)), Reply::Done);
    assert!(panicked(instance.flush(&|| false)).starts_with("panics in flush"));
}

#[test]
fn a_panic_that_the_plugin_caught_itself_is_not_taken_for_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let library = loader(dir.path()).load(&built("panics"), &|_| false).unwrap();
    let mut instance = panics_in(&library, r#""caught","on_event""#).unwrap();
    assert_eq!(instance.reply_to(&event(b"/in/a", 1)), Reply::Done);
    let said = panicked(instance.reply_to(&event(b"/in/poison", 1)));
    assert!(said.starts_with("panics in on_event, at "), "{said}");
}

#[test]
fn a_wrong_configuration_is_the_plugins_to_refuse() {
    let dir = tempfile::tempdir().unwrap();
    let library = loader(dir.path()).load(&built("panics"), &|_| false).unwrap();
    let error = library.create(services().grant("panics").context(), r#"{"on":3}"#).unwrap_err();
    assert!(
        matches!(&error, CreateError::Rejected(m) if m.contains("`on`") || m.contains("`in`")),
        "{error}"
    );
}

#[test]
fn what_the_dynamic_linker_says_is_one_line_about_the_users_file() {
    let dir = tempfile::tempdir().unwrap();
    let code =
        format!("long {}[20] = {{1}}; void missing(void); void f(void) {{ missing(); }}", LOADER.symbol);
    let file = cc(dir.path(), &code, &[]);
    let loader = loader(dir.path());
    let refused = loader.load(&file, &|_| false).unwrap_err();
    let expected = format!(
        "failed to load plugin {file:?}: the dynamic linker refused it: undefined symbol: missing; link the library that defines it into the plugin"
    );
    assert_eq!((refused.to_string(), refused.step()), (expected, Step::Open));
    assert_eq!(std::fs::read_dir(staged_in(dir.path())).unwrap().count(), 1, "only the lock is left");
}

fn staged_in(dir: &Path) -> PathBuf {
    let entries = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
    entries.into_iter().find(|p| p.is_dir()).unwrap()
}

#[test]
fn a_symbol_of_another_making_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let file = cc(dir.path(), &format!("long {}[20] = {{1}};", LOADER.symbol), &[]);
    let refused = loader(dir.path()).load(&file, &|_| false).unwrap_err();
    let expected =
        format!("failed to load plugin {file:?}: its loader symbol is not abi_stable's; build it anew with");
    assert!(refused.to_string().starts_with(&expected), "{refused}");
}

#[test]
fn a_library_that_is_no_plugin_is_told_from_a_bad_one() {
    let dir = tempfile::tempdir().unwrap();
    let file = cc(dir.path(), "int x;", &[]);
    let loader = loader(dir.path());
    assert!(loader.load(&file, &|_| false).unwrap_err().is_no_plugin());
    std::fs::write(&file, "text").unwrap();
    assert!(!loader.load(&file, &|_| false).unwrap_err().is_no_plugin());
}

#[test]
fn the_staging_directory_lives_as_long_as_what_was_loaded() {
    let dir = tempfile::tempdir().unwrap();
    let loader = loader(dir.path());
    let library = loader.load(&built("print"), &|_| false).unwrap();
    let staged = staged_in(dir.path());
    drop(loader);
    assert!(staged.exists());
    drop(library);
    assert!(!staged.exists());
}

#[test]
fn a_plugin_logs_under_its_instances_name() {
    let dir = tempfile::tempdir().unwrap();
    let library = loader(dir.path()).load(&built("panics"), &|_| false).unwrap();
    let said = logged(|| {
        let mut instance = library.create(services().grant("second").context(), r#"{"in":[]}"#).unwrap();
        assert_eq!(instance.reply_to(&event(b"/in/a\nb", 3)), Reply::Done);
    });
    assert_eq!(said, " INFO plugin: handled a\\nb in attempt 3 plugin=\"second\"\n");
}

#[test]
fn a_strict_loader_refuses_what_others_could_have_put_there() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.so");
    std::fs::copy(built("print"), &file).unwrap();
    let strict = Loader::new(Trust::Strict, &[], Prober::none());
    assert_eq!(strict.load(&file, &|_| false).map(|l| l.info.name.clone()).unwrap(), "print");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o757)).unwrap();
    let refused = strict.load(&file, &|_| false).unwrap_err();
    let real = file.canonicalize().unwrap();
    let expected = format!(
        "failed to load plugin {file:?}: the file is writable by everyone (mode 0757); run `chmod o-w {real:?}`, or set [host] trust = \"owner\""
    );
    assert_eq!((refused.to_string(), refused.step()), (expected, Step::Trust));
}
