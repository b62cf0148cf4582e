//! The least host that runs a plugin, once for each version of the API that it can be built with. It loads by the
//! rule of `notifyit-host/src/plugin/load.rs`.

#![expect(unsafe_code, reason = "a root module is read, of which the layout was checked just before")]

use std::path::Path;

use abi_stable::StableAbi;
use abi_stable::abi_stability::abi_checking::{CheckingGlobals, check_layout_compatibility_with_globals};
use abi_stable::library::{RootModule, lib_header_from_path};
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::RString;
use abi_stable::type_layout::TypeLayout;

/// A version of the API, and the host that is built with it.
pub(super) struct HostOf {
    /// The API's version.
    pub(super) version: VersionStrings,
    /// The layout of the root module, from which all that crosses can be reached.
    pub(super) layout: &'static TypeLayout,
    /// What the numbers on the wire mean.
    pub(super) codes: fn() -> Vec<(String, u32)>,
    /// Lets the plugin, with this configuration, handle the file once for each text, each time as the first attempt.
    pub(super) run: fn(library: &Path, config: &str, file: &Path, texts: &[&str]) -> Result<Told, String>,
}

/// What a host and a plugin told each other.
pub(super) struct Told {
    /// For each text the answers of `create`, `on_event`, `flush` and `shutdown`.
    pub(super) answers: Vec<String>,
    /// Context, level and text.
    pub(super) logs: Vec<String>,
    /// What only a later version has: of the library, and of the handler.
    pub(super) later: Option<(Option<u64>, u64)>,
}

/// The check goes one way: the older side must have no more than the newer.
pub(super) fn fits(
    one: (&'static TypeLayout, VersionStrings),
    other: (&'static TypeLayout, VersionStrings),
) -> Result<(), String> {
    let [one_version, other_version] =
        [one.1, other.1].map(|v| v.parsed().expect("Cargo's versions are numbers"));
    let (older, newer) = if one_version.minor <= other_version.minor { (one, other) } else { (other, one) };
    check_layout_compatibility_with_globals(older.0, newer.0, &CheckingGlobals::new())
        .map_err(|errors| format!("{} and {}: {errors}", older.1, newer.1))
}

extern "C" fn instance(context: u64) -> RString {
    RString::from(if context == 6 { "alpha" } else { "another" })
}

extern "C" fn later(context: u64) -> u64 {
    context + 1
}

/// No event has a ticket, so that nothing is said under one.
extern "C" fn nothing<R>(_: u64, _: u64, _: R) {}

/// Of what can be asked for it has the store, and what it answers to the stop signal. (Since 1.2.)
macro_rules! ask {
    ($name:ident, $api:ident) => {
        mod $name {
            use $api::abi::asks::{STOPPING, STORE_OPEN};
            use $api::abi::{Bytes, ControlResult, DONE, UNKNOWN_OPERATION};

            pub(super) extern "C" fn ask(context: u64, operation: u32, _: Bytes<'_>) -> ControlResult {
                let (status, payload) = match operation {
                    STORE_OPEN => (DONE, vec![]),
                    STOPPING => (DONE, vec![u8::from(context == 6)]),
                    _ => (UNKNOWN_OPERATION, vec![]),
                };
                ControlResult { status, payload: payload.into() }
            }
        }
    };
}

ask!(today_asked, notifyit_plugin_api);
ask!(next_asked, notifyit_plugin_api_next);

/// `$has` are the functions that the host lends beside those of 1.0, `$later` is what it asks of a later plugin.
macro_rules! host {
    ($name:ident, $api:ident, lends { $($has:ident $(: $is:expr)?),* }, |$module:ident, $handler:ident| $later:expr) => {
        pub(super) mod $name {
            use std::os::unix::ffi::OsStrExt;
            use std::os::unix::fs::MetadataExt;
            use std::sync::{Mutex, PoisonError};

            use super::*;
            use $api::abi::*;
            use $api::{Info, Kind, Origin};

            pub(crate) const HOST: HostOf = HostOf {
                version: PluginModule_Ref::VERSION_STRINGS,
                layout: <PluginModule_Ref as StableAbi>::LAYOUT,
                codes,
                run,
            };

            static LOGS: Mutex<Vec<String>> = Mutex::new(Vec::new());
            /// One after the other, or the logs are those of another test, too.
            static RUNS: Mutex<()> = Mutex::new(());

            extern "C" fn log_enabled(_: u64, level: u32, _: Text<'_>) -> bool {
                level <= 4
            }
            extern "C" fn log(context: u64, level: u32, _: Text<'_>, text: Text<'_>, _: Text<'_>, _: u32) {
                LOGS.lock().unwrap().push(format!("{context} {level} {text}"));
            }
            extern "C" fn stop(_: u64, _: Text<'_>) {}

            fn create(module: PluginModule_Ref, config: &str) -> CreateResult {
                let api = lend(HostApi { log_enabled, log, stop, $($has $(: $is)?),* });
                module.create()(api, 6, Text::from_str(config))
            }

            fn told(result: &CallResult) -> String {
                let rewrote = if guard::notes(result).rewrote.is_some() { "rewritten" } else { "" };
                let CallResult { status, flags, number, message, .. } = result;
                // A panic tells its place too.
                let message = message.split(", at ").next().unwrap_or_default();
                format!("{status} {flags} {number} {message}{rewrote}").trim().to_owned()
            }

            fn run(library: &Path, config: &str, file: &Path, texts: &[&str]) -> Result<Told, String> {
                let _runs = RUNS.lock().unwrap_or_else(PoisonError::into_inner);
                LOGS.lock().unwrap().clear();
                let header = lib_header_from_path(library).map_err(|e| e.to_string())?;
                let layout = header.layout().ok_or("no layout")?;
                fits((HOST.layout, HOST.version), (layout, header.version_strings()))?;
                // SAFETY: the layout of the module was just compared with ours.
                let module = unsafe { header.unchecked_layout::<PluginModule_Ref>() };
                let $module = module.map_err(|e| e.to_string())?;
                let info: Info = serde_json::from_str(&$module.info()()).map_err(|e| e.to_string())?;
                assert_eq!((info.api.as_str(), info.events.len()), (header.version_strings().version.as_str(), 1));
                let mut told = Told { answers: Vec::new(), logs: Vec::new(), later: None };
                for text in texts {
                    std::fs::write(file, text).map_err(|e| e.to_string())?;
                    let made = create($module, config);
                    let mut $handler = made.handler.into_option().ok_or(made.message)?;
                    let result = on_event(&mut $handler, file);
                    let mut answers = vec![made.status.to_string(), self::told(&result)];
                    if result.status != PANICKED {
                        answers.push(self::told(&$handler.flush()));
                        assert_eq!($handler.control(u32::MAX, Bytes::EMPTY).status, UNKNOWN_OPERATION);
                        told.later = $later;
                        answers.push(self::told(&$handler.shutdown()));
                    }
                    told.answers.push(answers.join(", "));
                }
                told.logs = std::mem::take(&mut LOGS.lock().unwrap());
                Ok(told)
            }

            fn on_event(handler: &mut HandlerBox, file: &Path) -> CallResult {
                let (root, stat) = (file.parent().unwrap(), file.metadata().unwrap());
                let path = file.as_os_str().as_bytes();
                handler.on_event(&EventRaw {
                    id: 0x0123_4567_89ab_cdef,
                    kind: Kind::MovedTo.code(),
                    origin: Origin::Rescan.code(),
                    attempt: 1,
                    flags: 0,
                    watch: Text::from_str("incoming"),
                    root: Bytes::from_slice(root.as_os_str().as_bytes()),
                    path: Bytes::from_slice(path),
                    relative_from: root.as_os_str().len() as u64 + 1,
                    renamed_from: Bytes::from_slice(b"before"),
                    device: stat.dev(),
                    inode: stat.ino(),
                    size: 1234,
                    mode: stat.mode(),
                    mtime_nanos: 5678,
                    mtime_seconds: 1_000_000_000,
                    seen_nanos: 1_500_000_000_000_000_000,
                    timeout_nanos: 30_000_000_000,
                    spare: [0; 8],
                    extra: Bytes::EMPTY,
                })
            }

            fn codes() -> Vec<(String, u32)> {
                let statuses = [
                    ("done", DONE),
                    ("retry", RETRY),
                    ("reject", REJECT),
                    ("panicked", PANICKED),
                    ("unknown operation", UNKNOWN_OPERATION),
                    ("created", CREATED),
                    ("directory", FLAG_DIRECTORY),
                    ("retry after", FLAG_RETRY_AFTER),
                    ("unavailable", FLAG_UNAVAILABLE),
                ];
                let statuses = statuses.map(|(name, code)| (name.to_owned(), code));
                let kinds = Kind::all().map(|kind| (format!("kind {kind}"), kind.code()));
                let origins = (0..100).map(|code| (format!("origin {}", Origin::from_code(code)), code));
                statuses.into_iter().chain(kinds).chain(origins).collect()
            }
        }
    };
}

host!(v1_0, notifyit_plugin_api_1_0, lends {}, |_module, _handler| None);
host!(v1_1, notifyit_plugin_api_1_1, lends { instance }, |_module, _handler| None);
host!(
    today,
    notifyit_plugin_api,
    lends { instance, complete: nothing, ask: today_asked::ask },
    |_module, _handler| None
);
host! {
    next, notifyit_plugin_api_next, lends { instance, complete: nothing, ask: next_asked::ask, later },
    |module, handler| Some((module.later().map(|later| later()), handler.later(8)))
}
