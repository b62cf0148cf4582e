//! Prints.
#![forbid(unsafe_code)]
use notifyit_plugin_api::{Event, Host, Plugin, Result, export_plugin};
struct P;
impl Plugin for P {
    type Config = ();
    fn new(_: (), _: Host) -> Result<Self> {
        Ok(P)
    }
    fn on_event(&mut self, _e: &Event<'_>) -> Result<()> {
        Ok(())
    }
}
export_plugin!(P);
