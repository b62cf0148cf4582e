//! Does nothing, as fast as it can: what an event costs then is the host's.
#![forbid(unsafe_code)]

use notifyit_plugin_api::{Event, Host, Plugin, Result, export_plugin};

struct Idle;

impl Plugin for Idle {
    type Config = ();

    fn new(_: (), _: Host) -> Result<Self> {
        Ok(Idle)
    }

    fn on_event(&mut self, _: &Event<'_>) -> Result<()> {
        Ok(())
    }
}

export_plugin!(Idle);
