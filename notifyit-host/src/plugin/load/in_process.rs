//! A plugin that is compiled into the tests, as if it had been loaded.

use abi_stable::std_types::{RStr, RString};
use notifyit_plugin_api::__private::Package;
use notifyit_plugin_api::Plugin;
use notifyit_plugin_api::abi::{CreateResult, HostApi_Ref, guard};

use super::{Arc, Code, OnceLock, Path, PluginLibrary, Staging};

impl PluginLibrary {
    pub(crate) fn in_process<P: Plugin>() -> PluginLibrary {
        let module = guard::module(info::<P>, create::<P>);
        let info = super::info(module).map_err(|_| "it tells nothing of itself").unwrap();
        let staging = Arc::new(Staging::open(&[], |_| Ok(())));
        let file = Arc::from(Path::new("compiled into the tests"));
        let module = OnceLock::from(Ok(module));
        let code = Code { staged: None, module, _staging: staging };
        PluginLibrary { info: Arc::new(info), file, hash: 0, code: Arc::new(code) }
    }
}

extern "C" fn info<P: Plugin>() -> RString {
    guard::info::<P>(Package { name: "notifyit-test", version: "0.0.0", description: "", panic: "unwind" })
}

extern "C" fn create<P: Plugin>(host: HostApi_Ref, context: u64, config: RStr<'_>) -> CreateResult {
    guard::create_unhooked::<P>(host, context, config)
}
