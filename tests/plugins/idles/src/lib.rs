//! As `idle`, but takes many events in one call.
#![forbid(unsafe_code)]

use notifyit_plugin_api::{Event, Host, Plugin, Result, export_plugin};

struct Idles;

impl Plugin for Idles {
    type Config = ();

    const IN_FLIGHT: u16 = 256;

    fn new(_: (), _: Host) -> Result<Self> {
        Ok(Idles)
    }

    fn on_event(&mut self, _: &Event<'_>) -> Result<()> {
        Ok(())
    }

    fn on_batch(&mut self, _: &[Event<'_>]) -> Result<()> {
        Ok(())
    }
}

export_plugin!(Idles);
