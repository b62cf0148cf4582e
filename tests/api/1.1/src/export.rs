//! `export_plugin!`: makes a library of a plugin.

/// Exports a plugin from a `cdylib`: once per library, at its top level.
///
/// The plugin's name, version and description are those of the Cargo package (`notifyit-tally` → `tally`). The
/// package needs
///
/// ```toml
/// [lib]
/// crate-type = ["cdylib"]
/// ```
///
/// for which no macro can look: without it there is no `.so` to load.
#[macro_export]
macro_rules! export_plugin {
    ($plugin:ty) => {
        const _: () = {
            use $crate::__private as api;

            extern "C" fn info() -> api::RString {
                api::guard::info::<$plugin>(api::Package {
                    name: env!("CARGO_PKG_NAME"),
                    version: env!("CARGO_PKG_VERSION"),
                    description: env!("CARGO_PKG_DESCRIPTION"),
                    panic: if cfg!(panic = "unwind") { "unwind" } else { "abort" },
                })
            }

            extern "C" fn create(
                host: api::HostApi_Ref,
                context: u64,
                config: api::Text<'_>,
            ) -> api::CreateResult {
                api::guard::create::<$plugin>(host, context, config)
            }

            fn module() -> api::PluginModule_Ref {
                api::guard::module(info, create)
            }

            extern "C" fn load() -> api::RootModuleResult {
                api::guard::load(module)
            }

            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            pub static NOTIFYIT_PLUGIN: api::LibHeader = api::export(load);
        };
    };
}

#[cfg(test)]
mod tests {
    use abi_stable::library::ROOT_MODULE_LOADER_NAME;

    #[test]
    fn the_exported_symbol_is_the_one_that_hosts_look_for() {
        let source = include_str!("export.rs");
        assert!(
            source.contains(&format!("export_name = \"{ROOT_MODULE_LOADER_NAME}\"")),
            "{ROOT_MODULE_LOADER_NAME}"
        );
    }
}
