//! Built with today's plugin API. Works like its siblings `older`, `previous` and `newer`, which share its source.
#![forbid(unsafe_code)]

mod plugin;
#[expect(dead_code, reason = "that it compiles is the test")]
mod surface;
#[expect(dead_code, reason = "that it compiles is the test")]
mod surface_testing;

notifyit_plugin_api::export_plugin!(plugin::Minor);

/// What can be known of the host by this version of the API.
fn knows(host: notifyit_plugin_api::Host) -> String {
    let store = host.store().map_or_else(|error| error.to_string(), |_| "a store".to_owned());
    host.count("made", 1);
    format!("{:?}, {store}, stopping {}", host.instance(), host.stopping())
}
