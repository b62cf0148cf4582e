//! x
use crate::config::Confinement;
use std::path::PathBuf;
/// x
pub(super) fn confine(_: &Confinement, _: &[PathBuf], _: u32) -> Result<Vec<String>, String> {
    rustix::process::setsid().map_err(|e| e.to_string())?;
    rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))
        .map_err(|e| e.to_string())?;
    Ok(vec![])
}
