//! The adapter that is compiled into the plugin: turns the author's [`Plugin`] into the wire's objects and lets no
//! panic out.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, PanicHookInfo, catch_unwind};
use std::sync::Once;
use std::time::Duration;

use abi_stable::erased_types::TD_Opaque;
use abi_stable::library::{__call_root_module_loader, RootModuleError, RootModuleResult};
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{RNone, RResult, RSlice, RSome, RStr, RString, RVec};

use super::module::{HostApi_Ref, PluginModule, PluginModule_Ref};
use super::notes::{Emission, Notes, Said, Word};
use super::object::{Handler, Handler_TO};
use super::types::{
    CREATED, CallResult, ControlResult, CreateResult, DEFERRED, DONE, EventRaw, FLAG_RETRY_AFTER,
    FLAG_UNAVAILABLE, PANICKED, REJECT, RETRY, UNKNOWN_OPERATION,
};
use crate::config::Config;
use crate::error;
use crate::event::Event;
use crate::info::{Info, Package};
use crate::plugin::Plugin;
use crate::services::{Host, install_logger, speak_for_threads};
use crate::verdict::{Blame, Verdict};

/// The library's root module, for `export_plugin!`.
pub fn module(
    info: extern "C" fn() -> RString,
    create: extern "C" fn(HostApi_Ref, u64, RStr<'_>) -> CreateResult,
) -> PluginModule_Ref {
    PluginModule { info, create }.leak_into_prefix()
}

/// The body of the exported constructor, for `export_plugin!`.
pub fn load(module: fn() -> PluginModule_Ref) -> RootModuleResult {
    match contain(|| __call_root_module_loader(module)) {
        Ok(result) => result,
        Err(_) => RResult::RErr(RootModuleError::Unwound),
    }
}

/// The body of the exported `info`.
pub fn info<P: Plugin>(package: Package) -> RString {
    contain(|| serde_json::to_string(&Info::of::<P>(package)).unwrap_or_default()).unwrap_or_default().into()
}

/// The body of the exported `create`.
pub fn create<P: Plugin>(host: HostApi_Ref, context: u64, config: RStr<'_>) -> CreateResult {
    static HOOK: Once = Once::new();
    speak_for_threads(Host::new(host, context));
    HOOK.call_once(install_panic_hook);
    create_unhooked::<P>(host, context, config)
}

/// `create` without the panic hook: what the test harness uses, where the process and its hook are not ours (it has
/// [`note_panics_too`]).
pub fn create_unhooked<P: Plugin>(host: HostApi_Ref, context: u64, config: RStr<'_>) -> CreateResult {
    let host = Host::new(host, context);
    let made = contain(|| {
        install_logger();
        host.during(|| {
            let config = P::Config::from_json(config.as_str())
                .map_err(|e| (REJECT, format!("configuration: {e:#}")))?;
            P::new(config, host).map_err(|e| match error::verdict(Err(e)) {
                Verdict::Reject { message } => (REJECT, message),
                Verdict::Retry { message, .. } => (RETRY, message),
                Verdict::Done => (RETRY, String::new()),
            })
        })
    });
    let (status, message) = match made {
        Ok(Ok(plugin)) => {
            let guarded = Guarded { plugin: Some(plugin), host };
            let handler = Handler_TO::from_value(guarded, TD_Opaque);
            return CreateResult { status: CREATED, message: RString::new(), handler: RSome(handler) };
        }
        Ok(Err(refused)) => refused,
        Err(panic) => (PANICKED, panic),
    };
    CreateResult { status, message: message.into(), handler: RNone }
}

/// How the record of a panic in the plugin's `Drop` begins: nobody waits for an answer there.
pub const DROPPED: &str = "panicked while it was dropped";

/// An author's plugin behind the wire's object. Empty after a panic: what a half-done call left behind is dropped at
/// once and never called again.
struct Guarded<P: Plugin> {
    plugin: Option<P>,
    host: Host,
}

impl<P: Plugin> Guarded<P> {
    fn call(&mut self, f: impl FnOnce(&mut P) -> crate::Result<()>) -> CallResult {
        match self.verdict(f) {
            Ok(verdict) => to_wire(verdict),
            Err(panic) => CallResult::new(PANICKED, panic),
        }
    }

    /// What a call's return value says, or what its panic said.
    fn verdict(&mut self, f: impl FnOnce(&mut P) -> crate::Result<()>) -> Result<Verdict, String> {
        let host = self.host;
        let Some(plugin) = self.plugin.as_mut() else { return Err("called again after a panic".to_owned()) };
        let verdict = contain(|| host.during(|| error::verdict(f(plugin))));
        if verdict.is_err() {
            self.drop_plugin();
        }
        verdict
    }

    fn drop_plugin(&mut self) {
        let (plugin, host) = (self.plugin.take(), self.host);
        host.ends();
        if let Err(panic) = contain(|| host.during(|| drop(plugin))) {
            let _ = contain(|| host.during(|| log::error!("{DROPPED}: {panic}")));
        }
    }
}

impl<P: Plugin> Handler for Guarded<P> {
    fn on_event(&mut self, event: &EventRaw<'_>) -> CallResult {
        let said = Said::new(self.host, P::IN_FLIGHT);
        let returned = self.verdict(|plugin| plugin.on_event(&Event::from_raw(event, &said)));
        result_of(said, returned.as_ref(), Returned::OfOne)
    }

    fn flush(&mut self) -> CallResult {
        self.call(P::flush)
    }

    fn shutdown(&mut self) -> CallResult {
        self.call(P::shutdown)
    }

    fn control(&mut self, _operation: u32, _payload: RSlice<'_, u8>) -> ControlResult {
        ControlResult { status: UNKNOWN_OPERATION, payload: RVec::new() }
    }

    fn on_batch(&mut self, raws: RSlice<'_, EventRaw<'_>>) -> RVec<CallResult> {
        let said: Vec<Said> = raws.iter().map(|_| Said::new(self.host, P::IN_FLIGHT)).collect();
        let events: Vec<Event<'_>> =
            raws.iter().zip(&said).map(|(raw, said)| Event::from_raw(raw, said)).collect();
        let returned = self.verdict(|plugin| plugin.on_batch(&events));
        drop(events);
        said.into_iter().map(|said| result_of(said, returned.as_ref(), Returned::OfMany)).collect()
    }
}

impl<P: Plugin> Drop for Guarded<P> {
    fn drop(&mut self) {
        self.drop_plugin();
    }
}

/// What the return value of a call is about.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Returned {
    OfOne,
    OfMany,
}

/// The result of one event's call, by what was said of that event and what the call returned.
fn result_of(said: Said, returned: Result<&Verdict, &String>, of: Returned) -> CallResult {
    let (notes, word) = said.into_words();
    let mut result = match (returned, word) {
        (Err(panic), _) => return CallResult::new(PANICKED, panic.as_str()),
        (Ok(_), Some(Word::Settled(verdict))) => to_wire(verdict),
        // A call that fails has nobody left who would complete it.
        (Ok(verdict), Some(Word::Deferred)) if verdict.is_done() || of == Returned::OfMany => {
            CallResult::new(DEFERRED, RString::new())
        }
        (Ok(verdict), _) => to_wire(verdict.clone()),
    };
    result.notes = notes.into();
    result
}

pub(crate) fn to_wire(verdict: Verdict) -> CallResult {
    match verdict {
        Verdict::Done => CallResult::new(DONE, RString::new()),
        Verdict::Reject { message } => CallResult::new(REJECT, message),
        Verdict::Retry { message, after, blame } => {
            let mut result = CallResult::new(RETRY, message);
            if let Some(after) = after {
                result.flags |= FLAG_RETRY_AFTER;
                result.number = u64::try_from(after.as_nanos()).unwrap_or(u64::MAX);
            }
            if blame == Blame::Plugin {
                result.flags |= FLAG_UNAVAILABLE;
            }
            result
        }
    }
}

/// The verdict behind a call's result, or what a panic said: for the host and the test harness. A status that is not
/// known is a retry.
///
/// # Errors
///
/// The plugin panicked.
pub fn from_wire(result: CallResult) -> Result<Verdict, String> {
    let message = result.message.into_string();
    Ok(match result.status {
        DONE => Verdict::Done,
        REJECT => Verdict::Reject { message },
        PANICKED => return Err(message),
        _ => {
            let asked = result.flags & FLAG_RETRY_AFTER != 0;
            let blame = if result.flags & FLAG_UNAVAILABLE == 0 { Blame::File } else { Blame::Plugin };
            Verdict::Retry { message, after: asked.then(|| Duration::from_nanos(result.number)), blame }
        }
    })
}

/// What a call's result says beside its verdict: for the host and the test harness.
pub fn notes(result: &CallResult) -> Notes {
    Notes::from_json(&result.notes)
}

/// What a call hands on to other plugins: for the host and the test harness.
pub fn emission(result: &CallResult) -> Emission {
    Emission::from_json(&result.notes)
}

thread_local! {
    /// How many guarded calls this thread is in, and what the hook noted of the last panics in them.
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static NOTED: RefCell<Vec<Noted>> = const { RefCell::new(Vec::new()) };
}

/// A panic, as the hook saw it. The plugin may have caught it itself, so that it is not the one that comes out.
struct Noted {
    text: String,
    message: String,
}

/// More than these are forgotten: a plugin may catch a panic for each file.
const MOST_NOTED: usize = 8;

/// Runs `f`; a panic comes back as its message. Nothing of it is left: also the drop of the payload may panic, and
/// what that throws is forgotten rather than dropped.
fn contain<T>(f: impl FnOnce() -> T) -> Result<T, String> {
    DEPTH.set(DEPTH.get() + 1);
    let result = catch_unwind(AssertUnwindSafe(f)).map_err(|payload| {
        let text = text_of(&*payload);
        let mut noted = NOTED.try_with(RefCell::take).unwrap_or_default().into_iter().rev();
        let message = noted.find(|n| n.text == text).map_or_else(|| text.to_owned(), |n| n.message);
        if let Err(second) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
            std::mem::forget(second);
        }
        message
    });
    DEPTH.set(DEPTH.get() - 1);
    result
}

fn text_of(payload: &(dyn Any + Send)) -> &str {
    let literal = payload.downcast_ref::<&'static str>().copied();
    literal.or_else(|| payload.downcast_ref::<String>().map(String::as_str)).unwrap_or("(no message)")
}

/// The plugin's own copy of the standard library gets a hook that notes where a contained panic happened, instead of
/// printing it: the host logs it under the plugin's name. A panic on a thread of the plugin's own is logged at once.
fn install_panic_hook() {
    std::panic::set_hook(Box::new(|panic| {
        let backtrace = std::backtrace::Backtrace::capture();
        let captured = backtrace.status() == std::backtrace::BacktraceStatus::Captured;
        note(panic, &if captured { format!("\n{backtrace}") } else { String::new() });
    }));
}

/// The same beside the hook that is there already, which goes on to print: for the test harness, in whose process the
/// hook is not ours.
pub fn note_panics_too() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            before(panic);
            note(panic, "");
        }));
    });
}

/// Notes a contained panic's message with its place; logs it if there is no call that it could come out of.
fn note(panic: &PanicHookInfo<'_>, backtrace: &str) {
    let at = panic.location().map(|l| format!(", at {}:{}", l.file(), l.line())).unwrap_or_default();
    let text = text_of(panic.payload()).to_owned();
    let message = format!("{text}{at}{backtrace}");
    if DEPTH.get() == 0 {
        return log::error!("a thread of its own panicked: {message}");
    }
    let _ = NOTED.try_with(|noted| {
        let mut noted = noted.borrow_mut();
        if noted.len() == MOST_NOTED {
            noted.remove(0);
        }
        noted.push(Noted { text, message });
    });
}
