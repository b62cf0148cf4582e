//! What a library exports, and what the host lends it.

use abi_stable::StableAbi;
use abi_stable::library::{CheckTypeLayout, LibHeader, RootModule, RootModuleResult};
use abi_stable::package_version_strings;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RSlice, RStr, RString};

use super::types::{CallResult, ControlResult, CreateResult};

/// What a plugin library exports. Grows only at the end: see the growth rules in [`super`].
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModule_Ref)))]
#[sabi(missing_field(option))]
pub struct PluginModule {
    /// What this library is, as a JSON object: see [`Info`](crate::Info). `[any thread, any time after the load]`
    pub info: extern "C" fn() -> RString,

    /// Makes an instance from its configuration, a JSON object. `context` is the host's own number for the
    /// instance, to be handed back in every call of `host`. `[worker thread, or any other that hands the object on to
    /// one; several at once for several instances]`
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(host: HostApi_Ref, context: u64, config: RStr<'_>) -> CreateResult,
}

impl RootModule for PluginModule_Ref {
    abi_stable::declare_root_module_statics! {PluginModule_Ref}
    const BASE_NAME: &'static str = "notifyit_plugin";
    const NAME: &'static str = "notifyit_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

/// What the host lends its plugins. Grows only at the end: see the growth rules in [`super`].
///
/// Every function may be called from any thread of the plugin, from the call of `create` until the process ends.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = HostApi_Ref)))]
#[sabi(missing_field(option))]
pub struct HostApi {
    /// Would a record of this level (1 error … 5 trace) and target be written? Asked before it is formatted.
    pub log_enabled: extern "C" fn(context: u64, level: u32, target: RStr<'_>) -> bool,

    /// Writes a record to the host's log under the instance's name. `line` is 0 if not known.
    pub log: extern "C" fn(
        context: u64,
        level: u32,
        target: RStr<'_>,
        message: RStr<'_>,
        file: RStr<'_>,
        line: u32,
    ),

    /// Asks the host to stop, in an orderly way and with exit status 0. Returns at once.
    #[sabi(last_prefix_field)]
    pub stop: extern "C" fn(context: u64, reason: RStr<'_>),

    /// The name under which the instance runs; empty if the context is unknown. Since 1.1.
    pub instance: extern "C" fn(context: u64) -> RString,

    /// What becomes of an event whose call answered [`DEFERRED`](super::DEFERRED), by its ticket. Returns at once. A ticket
    /// that is not known, or was used before, changes nothing. Since 1.2.
    pub complete: extern "C" fn(context: u64, ticket: u64, result: CallResult),

    /// Asks for one of the services that [`asks`](super::asks) lists, by number. What waits says so there. Since 1.2.
    pub ask: extern "C" fn(context: u64, operation: u32, payload: RSlice<'_, u8>) -> ControlResult,
}

/// Makes what the host lends, once per process: it is never freed.
pub fn lend(api: HostApi) -> HostApi_Ref {
    api.leak_into_prefix()
}

/// The header of a library: what the exported symbol is.
pub const fn export(constructor: extern "C" fn() -> RootModuleResult) -> LibHeader {
    // SAFETY: `export_plugin!`, the only caller, hands over a function that returns `guard::module`'s value, and
    // that is a `PluginModule_Ref`.
    unsafe { LibHeader::from_constructor::<PluginModule_Ref>(constructor, CheckTypeLayout::Yes) }
}
