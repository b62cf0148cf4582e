//! Built with the plugin API 1.0. Works like its siblings `previous`, `today` and `newer`, whose source it shares.
#![forbid(unsafe_code)]

#[path = "../../today/src/plugin.rs"]
mod plugin;
#[expect(dead_code, reason = "that it compiles is the test")]
#[path = "../../today/src/surface.rs"]
mod surface;
#[expect(dead_code, reason = "that it compiles is the test")]
#[path = "../../today/src/surface_testing.rs"]
mod surface_testing;

notifyit_plugin_api::export_plugin!(plugin::Minor);

/// What can be known of the host by this version of the API.
fn knows(_: notifyit_plugin_api::Host) -> String {
    "nothing".to_owned()
}
