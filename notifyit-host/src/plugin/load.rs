//! From a file to a library whose types are known to be ours: the steps of loading in order, and the only unsafe
//! code of the loader.
//!
//! A library is never unloaded: `abi_stable` keeps references into each one that it has checked.

#![expect(
    unsafe_code,
    reason = "dlopen and what is read through it; each block states the fact that it relies on"
)]

use std::ffi::OsStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{
    AbiInstabilityErrors, CheckingGlobals, check_layout_compatibility_with_globals,
};
use abi_stable::library::{
    AbiHeader, AbiHeaderRef, LibHeader, ROOT_MODULE_LOADER_NAME, ROOT_MODULE_LOADER_NAME_WITH_NUL, RootModule,
};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::{VersionNumber, VersionStrings};
use abi_stable::std_types::{RSlice, RStr, RString};
use abi_stable::type_layout::TypeLayout;
use libloading::os::unix::{Library, RTLD_LOCAL, RTLD_NOW};
use notifyit_plugin_api::Info;
use notifyit_plugin_api::abi::{
    CallResult, ControlResult, HandlerBox, HostApi, HostApi_Ref, PluginModule_Ref, RETRY,
};
use object::read::ReadCache;

use super::Trust;
use super::instance::{CreateError, handler};
use super::library::{Code, PluginLibrary};
use super::precheck;
use super::probe::{Prober, Tried};
use super::refused::{Reason, Refused, Step};
use super::services;
use super::stage::{self, Staged, Staging};
use super::tickets;
use super::trust::{self, Us};

/// Loads plugin files. Its staging directory goes when it and all that it loaded are dropped.
#[derive(Debug)]
pub struct Loader {
    trust: Trust,
    us: Us,
    staging: Arc<Staging>,
    prober: Prober,
}

/// What can be known of a plugin file without loading it into this process.
#[derive(Debug)]
pub struct Examined {
    /// Of the content, as in [`PluginLibrary`]; none if it came to no copy.
    pub hash: Option<u64>,
    /// What the library says of itself, or why this host would not load it.
    pub info: Result<Info, Refused>,
}

impl Loader {
    /// A loader that makes its private copies beneath the first of `staging_dirs` that will do: one that is there,
    /// that others cannot write to (unless trust is off), and that is not mounted noexec; else in memory.
    pub fn new(trust: Trust, staging_dirs: &[PathBuf], prober: Prober) -> Loader {
        let us = Us::now();
        let acceptable = |dir: &Path| match trust {
            Trust::Off => Ok(()),
            Trust::Strict | Trust::Owner => trust::directory(dir, &us).map_err(|reason| reason.why),
        };
        let staging = Arc::new(Staging::open(staging_dirs, acceptable));
        Loader { trust, us, staging, prober }
    }

    /// What a library that was loaded from this file now would have as its hash.
    ///
    /// # Errors
    ///
    /// It cannot be read.
    pub(super) fn fingerprint(&self, file: &Path) -> std::io::Result<u64> {
        stage::fingerprint(file)
    }

    /// Takes this file, as it is now: to take it again gives another library, which shares nothing with the first. It is
    /// loaded in a child process, the first time that its content is seen; in this one when an instance is made here, or
    /// at once if no child process can be had. `is_isolated` tells of a plugin of this name whether it never runs in this
    /// process.
    ///
    /// # Errors
    ///
    /// What is wrong with the file.
    pub fn load(&self, file: &Path, is_isolated: &dyn Fn(&str) -> bool) -> Result<PluginLibrary, Refused> {
        let at = |(step, reason): (Step, Reason)| reason.at(step, file);
        let staged = Arc::new(self.staged(file).map_err(at)?);
        let module = OnceLock::new();
        let info = match self.prober.probe(&staged).map_err(at)? {
            Tried::Sound(info) => info,
            Tried::Not(_) => {
                let (loaded, info) = opened(&staged).map_err(at)?;
                module.get_or_init(|| Ok(loaded));
                info
            }
        };
        if !is_isolated(&info.name) {
            unwinds(&info).map_err(|reason| at((Step::Info, reason)))?;
        }
        let hash = staged.hash();
        let code = Code { staged: Some(staged), module, _staging: self.staging.clone() };
        Ok(PluginLibrary { info: Arc::new(info), file: Arc::from(file), hash, code: Arc::new(code) })
    }

    /// Does all of [`Loader::load`] that happens outside this process.
    pub fn examine(&self, file: &Path) -> Examined {
        let staged = match self.staged(file) {
            Ok(staged) => staged,
            Err((step, reason)) => return Examined { hash: None, info: Err(reason.at(step, file)) },
        };
        let info = self.prober.probe(&staged).and_then(|tried| match tried {
            Tried::Sound(info) => unwinds(&info).map(|()| info).map_err(|reason| (Step::Info, reason)),
            Tried::Not(why) => {
                let why = format!("no child process could be started to try it in ({why})");
                Err((Step::Stage, Reason::new(why, "")))
            }
        });
        Examined { hash: Some(staged.hash()), info: info.map_err(|(step, reason)| reason.at(step, file)) }
    }

    /// Could a file in this directory be trusted?
    ///
    /// # Errors
    ///
    /// Why not, and what to do.
    pub fn trusts_directory(&self, directory: &Path) -> Result<(), String> {
        match self.trust {
            Trust::Strict => trust::directory(directory, &self.us).map_err(|reason| reason.to_string()),
            Trust::Owner | Trust::Off => Ok(()),
        }
    }

    /// A private copy of a file that is trusted and looks like a plugin.
    fn staged(&self, file: &Path) -> Result<Staged, (Step, Reason)> {
        let mut original = trust::open(file, self.trust, &self.us).map_err(|r| (Step::Trust, r))?;
        // The first look spares a copy of what is no plugin; the second is at what will be loaded.
        precheck::check(&ReadCache::new(&original), LOADER)?;
        std::io::Seek::rewind(&mut original).map_err(|e| (Step::Stage, unstaged(&e)))?;
        let staged = self.staging.copy(&mut original, file.file_name().unwrap_or(OsStr::new("plugin")));
        let staged = staged.map_err(|e| (Step::Stage, unstaged(&e)))?;
        precheck::check(&ReadCache::new(staged.file()), LOADER)?;
        Ok(staged)
    }
}

/// The version of `notifyit-plugin-api` that this host is built with: `1.2.0`.
pub fn api_version() -> String {
    <PluginModule_Ref as RootModule>::VERSION_STRINGS.to_string()
}

/// Loads a file that has passed all that comes before, in the child that is there for it.
pub(super) fn try_out(file: &Path) -> Result<Info, (Step, Reason)> {
    plugin(open(file)?).map(|(_, info)| info)
}

/// Loads a private copy in this process.
pub(super) fn opened(staged: &Arc<Staged>) -> Result<(PluginModule_Ref, Info), (Step, Reason)> {
    let library = open(staged.path())?;
    staged.keep();
    plugin(library)
}

/// Loads a file that has passed all that comes before, in the process that is there for an instance of it.
pub(super) fn create_here(file: &Path, context: u64, config_json: &str) -> Result<HandlerBox, CreateError> {
    let (module, _) = open(file).and_then(plugin).map_err(|(_, reason)| CreateError::refused(&reason))?;
    instance(module, context, config_json)
}

/// Has the plugin make an instance, on the calling thread.
pub(super) fn instance(
    module: PluginModule_Ref,
    context: u64,
    config_json: &str,
) -> Result<HandlerBox, CreateError> {
    handler(module.create()(host_api(), context, RStr::from_str(config_json)))
}

/// Can a panic in it be contained in the process that it runs in?
pub(super) fn unwinds(info: &Info) -> Result<(), Reason> {
    if info.panic == "unwind" {
        return Ok(());
    }
    let why = format!("it is built with panic = {:?}, so that a panic could not be contained", info.panic);
    let remedy =
        "build it with panic = \"unwind\" in its Cargo profile, or run it with isolation = \"process\"";
    Err(Reason::new(why, remedy))
}

/// What the precheck asks for, so that the header may be read.
pub(super) const LOADER: precheck::Loader = precheck::Loader {
    symbol: ROOT_MODULE_LOADER_NAME,
    size: size_of::<AbiHeader>(),
    align: align_of::<LibHeader>(),
};

fn unstaged(error: &std::io::Error) -> Reason {
    let why = format!("failed to make a private copy: {error}");
    Reason::new(why, "make room in the state directory or $XDG_RUNTIME_DIR, or raise the limit of open files")
}

/// Hands the staged copy to the dynamic linker.
fn open(staged: &Path) -> Result<&'static Library, (Step, Reason)> {
    // SAFETY: the file is a whole shared library (precheck), nobody but us can change it (stage), and its
    // initialisers are as trusted as the rest of its code, which we are about to call (trust).
    let library = unsafe { Library::open(Some(staged), RTLD_NOW | RTLD_LOCAL) };
    match library {
        Ok(library) => Ok(Box::leak(Box::new(library))),
        Err(error) => {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            let text = source.unwrap_or_else(|| error.to_string());
            let path = staged.display().to_string();
            let said = text.strip_prefix(&format!("{path}: ")).unwrap_or(&text).replace(&path, "the plugin");
            let remedy = dlopen_remedy(&said);
            Err((Step::Open, Reason::new(format!("the dynamic linker refused it: {said}"), remedy)))
        }
    }
}

fn dlopen_remedy(said: &str) -> &'static str {
    match said {
        s if s.contains("cannot open shared object file") => {
            "install that library where the dynamic linker looks (not beside the plugin: a private copy is loaded)"
        }
        s if s.contains("undefined symbol") => "link the library that defines it into the plugin",
        s if s.contains("version `") => "build the plugin on a system that is no newer than this one",
        _ => "",
    }
}

/// The plugin in a library, once it is known to be one that we can run.
fn plugin(library: &'static Library) -> Result<(PluginModule_Ref, Info), (Step, Reason)> {
    let header = header(library).map_err(|r| (Step::Version, r))?;
    let theirs = same_major(header.version_strings()).map_err(|r| (Step::Version, r))?;
    let module = module(header, theirs).map_err(|r| (Step::Layout, r))?;
    let info = info(module).map_err(|r| (Step::Info, r))?;
    Ok((module, info))
}

/// The header behind the loader symbol, once it is known to be one that we can read.
fn header(library: &'static Library) -> Result<&'static LibHeader, Reason> {
    // SAFETY: the symbol is an object of at least an `AbiHeader`'s size, aligned, in the library itself and not at
    // address 0 (precheck), so that its address is a valid reference; the library is never unloaded (`open` leaks
    // it). Every version of abi_stable begins the object with an `AbiHeader`, whose fields may hold any bits.
    let symbol = unsafe { library.get::<AbiHeaderRef>(ROOT_MODULE_LOADER_NAME_WITH_NUL) };
    let header: AbiHeaderRef = *symbol.map_err(|error| Reason::new(error.to_string(), ""))?;
    if !header.is_valid() {
        let ours = AbiHeader::VALUE;
        let why = if header.magic_string == ours.magic_string {
            let abi = |h: &AbiHeader| format!("{}.{}", h.abi_major, h.abi_minor);
            format!("it is built with abi_stable {}, this host with {}", abi(&header), abi(&ours))
        } else {
            "its loader symbol is not abi_stable's".to_owned()
        };
        return Err(Reason::new(why, rebuild()));
    }
    let upgraded = header.upgrade();
    upgraded.map_err(|e| {
        Reason::new("its compiler passes values otherwise than ours", rebuild()).with_detail(e.to_string())
    })
}

fn rebuild() -> String {
    format!("build it anew with notifyit-plugin-api {}", <PluginModule_Ref as RootModule>::VERSION_STRINGS)
}

/// The version of the API that the library was built with, if its major version is ours.
fn same_major(theirs: VersionStrings) -> Result<VersionNumber, Reason> {
    let ours = <PluginModule_Ref as RootModule>::VERSION_STRINGS;
    match (theirs.parsed(), ours.parsed()) {
        (Ok(theirs), Ok(ours)) if theirs.major == ours.major => Ok(theirs),
        _ => {
            let why = format!(
                "it is built with notifyit-plugin-api {theirs}, this host with {ours}: not the same major version"
            );
            Err(Reason::new(why, rebuild()))
        }
    }
}

/// The root module, once its layout is known to be the one that we read.
fn module(header: &'static LibHeader, theirs: VersionNumber) -> Result<PluginModule_Ref, Reason> {
    let layout = header.layout().ok_or_else(|| {
        Reason::new("it tells nothing of its layout, so that it cannot be checked", rebuild())
    })?;
    let ours = <PluginModule_Ref as RootModule>::VERSION_STRINGS.parsed();
    let ours = ours.map_err(|error| Reason::new(error.to_string(), ""))?;
    compatible((<PluginModule_Ref as StableAbi>::LAYOUT, ours), (layout, theirs))?;
    // SAFETY: the layout of what the constructor returns was just compared with that of `PluginModule_Ref`.
    let module = unsafe { header.unchecked_layout::<PluginModule_Ref>() };
    module.map_err(|error| {
        Reason::new(format!("it failed to start: {}", error.to_string().trim()), "ask its author")
    })
}

/// The check goes one way: what is expected may be the smaller. A newer plugin has more than we expect; of an older
/// one, we have more than it expects.
fn compatible(ours: Versioned, theirs: Versioned) -> Result<(), Reason> {
    let Err(errors) = check(ours.0, theirs.0) else { return Ok(()) };
    if theirs.1.minor < ours.1.minor && check(theirs.0, ours.0).is_ok() {
        return Ok(());
    }
    let cause = layout::first_cause(&errors);
    let why =
        format!("its types (notifyit-plugin-api {}) differ from this host's ({}): {cause}", theirs.1, ours.1);
    Err(Reason::new(why, rebuild()).with_detail(errors.to_string()))
}

/// Each check stands for itself: what is remembered of earlier ones would have each plugin fit all that were loaded
/// before, and an older one would keep a newer one out. Nothing goes from one plugin to another.
fn check(expected: &'static TypeLayout, found: &'static TypeLayout) -> Result<(), AbiInstabilityErrors> {
    check_layout_compatibility_with_globals(expected, found, &CheckingGlobals::new())
}

type Versioned = (&'static TypeLayout, VersionNumber);

/// What the library says of itself, if we can run it.
fn info(module: PluginModule_Ref) -> Result<Info, Reason> {
    runnable(module.info()().as_str())
}

fn runnable(json: &str) -> Result<Info, Reason> {
    let mut info: Info = serde_json::from_str(json).map_err(|error| {
        Reason::new(format!("what it says of itself cannot be read: {error}"), rebuild()).with_detail(json)
    })?;
    info.max_workers = info.max_workers.max(1);
    info.in_flight = info.in_flight.max(1);
    Ok(info)
}

/// What every plugin is lent: the wire's side of [`services`]. A panic must not get back into the plugin.
fn host_api() -> HostApi_Ref {
    extern "C" fn log_enabled(_: u64, level: u32, _: RStr<'_>) -> bool {
        catch_unwind(|| services::enabled(level)).unwrap_or(false)
    }
    extern "C" fn log(context: u64, level: u32, _: RStr<'_>, message: RStr<'_>, _: RStr<'_>, _: u32) {
        let _ = catch_unwind(|| services::log(context, level, message.as_str()));
    }
    extern "C" fn stop(context: u64, reason: RStr<'_>) {
        let _ = catch_unwind(AssertUnwindSafe(|| services::stop(context, reason.as_str())));
    }
    extern "C" fn instance(context: u64) -> RString {
        catch_unwind(|| services::instance(context)).unwrap_or_default().into()
    }
    extern "C" fn complete(context: u64, ticket: u64, result: CallResult) {
        let _ = catch_unwind(AssertUnwindSafe(|| tickets::complete(context, ticket, result)));
    }
    extern "C" fn ask(context: u64, operation: u32, payload: RSlice<'_, u8>) -> ControlResult {
        let answer = catch_unwind(AssertUnwindSafe(|| services::ask(context, operation, payload.as_slice())));
        let (status, payload) = answer.unwrap_or_else(|_| (RETRY, b"the host has panicked".to_vec()));
        ControlResult { status, payload: payload.into() }
    }
    static API: OnceLock<HostApi_Ref> = OnceLock::new();
    *API.get_or_init(|| HostApi { log_enabled, log, stop, instance, complete, ask }.leak_into_prefix())
}

mod layout;
#[cfg(test)]
mod in_process;

#[cfg(test)]
mod tests {
    #![expect(non_camel_case_types, dead_code, reason = "what abi_stable's derives expand to")]

    use super::*;
    use crate::plugin::Instance;
    use crate::plugin::tests::built;
    use abi_stable::library::{CheckTypeLayout, RootModuleResult};
    use std::collections::BTreeSet;

    fn shared<T: Send + Sync + Clone>() {}
    fn sent<T: Send>() {}

    #[test]
    fn what_crosses_threads_may() {
        shared::<PluginLibrary>();
        sent::<Instance>();
        sent::<Loader>();
    }

    #[test]
    fn two_loads_of_one_file_are_two_libraries() {
        let dir = tempfile::tempdir().unwrap();
        for staging in [vec![dir.path().to_owned()], vec![]] {
            let loader = Loader::new(Trust::Off, &staging, Prober::none());
            let libraries = [(); 3].map(|()| loader.load(&built("panics"), &|_| false).unwrap());
            let module = |l: &PluginLibrary| l.code.module.get().unwrap().clone().unwrap();
            let addresses = libraries.each_ref().map(|l| module(l).create() as *const () as usize);
            assert_eq!(BTreeSet::from(addresses).len(), 3);
            assert_eq!(BTreeSet::from(libraries.map(|l| l.hash)).len(), 1);
        }
    }

    /// A module as three versions of an API could have it, the third wrongly.
    mod v0 {
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        pub(super) struct Event {
            pub(super) id: u64,
        }
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = Module_Ref)), missing_field(panic))]
        pub(super) struct Module {
            #[sabi(last_prefix_field)]
            pub(super) on_event: extern "C" fn(event: &Event),
        }
        /// Does not grow itself.
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = Root_Ref)), missing_field(panic))]
        pub(super) struct Root {
            #[sabi(last_prefix_field)]
            pub(super) run: extern "C" fn(module: Module_Ref),
        }
    }
    mod v1 {
        pub(super) use super::v0::Event;
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = Module_Ref)), missing_field(panic))]
        pub(super) struct Module {
            #[sabi(last_prefix_field)]
            pub(super) on_event: extern "C" fn(event: &Event),
            pub(super) flush: extern "C" fn(),
        }
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = Root_Ref)), missing_field(panic))]
        pub(super) struct Root {
            #[sabi(last_prefix_field)]
            pub(super) run: extern "C" fn(module: Module_Ref),
        }
    }
    mod wrong {
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        pub(super) struct Event {
            pub(super) id: u64,
            pub(super) size: u64,
        }
        #[repr(C)]
        #[derive(abi_stable::StableAbi)]
        #[sabi(kind(Prefix(prefix_ref = Module_Ref)), missing_field(panic))]
        pub(super) struct Module {
            #[sabi(last_prefix_field)]
            pub(super) on_event: extern "C" fn(event: &Event),
        }
    }

    fn version(minor: u32) -> VersionNumber {
        VersionNumber { major: 1, minor, patch: 0 }
    }

    #[test]
    fn older_and_newer_plugins_load_and_others_do_not() {
        let old = (<v0::Module_Ref as StableAbi>::LAYOUT, version(0));
        let new = (<v1::Module_Ref as StableAbi>::LAYOUT, version(1));
        assert_eq!(compatible(old, old), Ok(()));
        assert_eq!(compatible(old, new), Ok(()));
        assert_eq!(compatible(new, old), Ok(()));
        let claims_to_be_new = (old.0, version(1));
        assert!(compatible(new, claims_to_be_new).is_err());
    }

    #[test]
    fn an_older_plugin_keeps_no_newer_one_out() {
        let old = (<v0::Root_Ref as StableAbi>::LAYOUT, version(0));
        let new = (<v1::Root_Ref as StableAbi>::LAYOUT, version(1));
        for theirs in [old, new, old, new] {
            assert_eq!(compatible(new, theirs), Ok(()));
            assert_eq!(compatible(old, theirs), Ok(()));
        }
    }

    #[test]
    fn a_wrong_layout_is_one_line_with_its_first_cause() {
        let ours = (<v0::Module_Ref as StableAbi>::LAYOUT, version(0));
        let reason = compatible(ours, (<wrong::Module_Ref as StableAbi>::LAYOUT, version(0))).unwrap_err();
        assert_eq!(
            reason.why,
            "its types (notifyit-plugin-api 1.0.0) differ from this host's (1.0.0): on_event.event (Event): expected number of fields 1, found 2"
        );
        assert!(reason.detail.lines().count() > 20);
        let other = compatible(ours, (<PluginModule_Ref as StableAbi>::LAYOUT, version(0))).unwrap_err();
        assert!(other.why.ends_with(": expected type Module, found PluginModule"), "{}", other.why);
    }

    extern "C" fn never() -> RootModuleResult {
        panic!("the checks come first")
    }

    #[test]
    fn a_library_without_layout_is_refused() {
        // SAFETY: `never` returns nothing at all.
        let header = unsafe { LibHeader::from_constructor::<PluginModule_Ref>(never, CheckTypeLayout::No) };
        let reason = module(Box::leak(Box::new(header)), version(0)).err().unwrap();
        assert_eq!(reason.why, "it tells nothing of its layout, so that it cannot be checked");
    }

    #[test]
    fn another_major_version_is_refused_with_both_sides() {
        for (theirs, taken) in
            [("2.0.0", false), ("0.9.1", false), ("1.9.0", true), ("1.0.7", true), ("x", false)]
        {
            let result = same_major(VersionStrings::new(theirs));
            assert_eq!(result.is_ok(), taken, "{theirs}");
            if let Err(reason) = result {
                let both = format!("it is built with notifyit-plugin-api {theirs}, this host with 1.");
                assert!(reason.why.starts_with(&both), "{}", reason.why);
            }
        }
    }

    #[test]
    fn what_cannot_be_run_is_refused_by_its_info() {
        let json = |panic: &str, workers: u32| {
            format!(
                r#"{{"name":"x","version":"1","api":"1.0.0","panic":"{panic}","events":[],"max_workers":{workers},"new":1}}"#
            )
        };
        assert_eq!(runnable(&json("unwind", 0)).unwrap().max_workers, 1);
        let reason = unwinds(&runnable(&json("abort", 1)).unwrap()).unwrap_err();
        assert_eq!(reason.why, "it is built with panic = \"abort\", so that a panic could not be contained");
        assert!(reason.remedy.contains("panic = \"unwind\"") && reason.remedy.contains("isolation"));
        let broken = ["", "[]", "{}", &json("unwind", 70_000)].map(|j| runnable(j).is_err());
        assert_eq!(broken, [true; 4]);
    }
}
