//! Exports the right root module, but without a layout that could be checked.
#![expect(missing_docs, reason = "no one reads the docs of a broken plugin")]

use abi_stable::export_root_module;
use abi_stable::prefix_type::PrefixTypeTrait;
use abi_stable::std_types::{RNone, RStr, RString};
use notifyit_plugin_api::abi::{CreateResult, HostApi_Ref, PluginModule, PluginModule_Ref, RETRY};

extern "C" fn info() -> RString {
    RString::from("{}")
}

extern "C" fn create(_: HostApi_Ref, _: u64, _: RStr<'_>) -> CreateResult {
    CreateResult { status: RETRY, message: RString::from("never called"), handler: RNone }
}

#[export_root_module]
#[unsafe_no_layout_constant]
pub fn load() -> PluginModule_Ref {
    PluginModule { info, create }.leak_into_prefix()
}
