//! Exports a root module of the next major version; its layout is the one of today.
#![expect(non_camel_case_types, reason = "what abi_stable's macros expand to")]
#![expect(missing_docs, missing_debug_implementations, reason = "no one reads the docs of a broken plugin")]

use abi_stable::export_root_module;
use abi_stable::library::RootModule;
use abi_stable::package_version_strings;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::sabi_types::VersionStrings;
use abi_stable::std_types::{RNone, RStr, RString};
use abi_stable::StableAbi;
use notifyit_plugin_api::abi::{CreateResult, HostApi_Ref, RETRY};

#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = PluginModule_Ref)))]
pub struct PluginModule {
    pub info: extern "C" fn() -> RString,
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(host: HostApi_Ref, context: u64, config: RStr<'_>) -> CreateResult,
}

impl RootModule for PluginModule_Ref {
    abi_stable::declare_root_module_statics! {PluginModule_Ref}
    const BASE_NAME: &'static str = "notifyit_plugin";
    const NAME: &'static str = "notifyit_plugin";
    const VERSION_STRINGS: VersionStrings = package_version_strings!();
}

extern "C" fn info() -> RString {
    RString::from("{}")
}

extern "C" fn create(_: HostApi_Ref, _: u64, _: RStr<'_>) -> CreateResult {
    CreateResult { status: RETRY, message: RString::from("never called"), handler: RNone }
}

#[export_root_module]
pub fn load() -> PluginModule_Ref {
    PluginModule { info, create }.leak_into_prefix()
}
