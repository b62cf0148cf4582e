//! Built with a later minor version of the plugin API. Works like its siblings `older`, `previous` and `today`, whose source it
//! shares.
#![forbid(unsafe_code)]

#[path = "../../today/src/plugin.rs"]
mod plugin;
#[expect(dead_code, reason = "that it compiles is the test")]
#[path = "../../today/src/surface.rs"]
mod surface;

notifyit_plugin_api::export_plugin!(plugin::Minor);

/// What can be known of the host by this version of the API.
fn knows(host: notifyit_plugin_api::Host) -> String {
    format!("{:?} {:?}", host.instance(), host.later())
}
