//! `notifyit check`: would it start?

use std::ffi::OsStr;
use std::path::Path;

use anyhow::{Context, Result};
use inotify::WatchMask;
use tracing::info;

use super::beneath::refuse_plugins_beneath;
use super::{loader, roots, running, watching};
use crate::config::Settings;
use crate::event::{Happened, WatchId};
use crate::plugin::set::Set;
use crate::settle::ledger::Ledger;
use crate::source::Sink;
use crate::source::fence::SourceHandle;
use crate::source::inotify::Source;
use crate::{control, roster, sys};

/// Does all that [`watch`](super::watch) does up to the first event, but makes no plugin and takes no event.
///
/// # Errors
///
/// What would keep [`watch`](super::watch) from starting.
pub fn check(settings: &Settings) -> Result<()> {
    sys::take_back_children()?;
    let loader = loader(settings);
    let members = roster::first_look(&mut Set::new(loader), settings)?.members;
    refuse_plugins_beneath(settings)?;
    let names = roster::check(settings, &members)?;
    check_places(settings)?;
    let handle = SourceHandle::new().context("failed to start")?;
    let (tree, renames, rescans) = Default::default();
    let source = Source::start(roots(settings), tree, renames, handle, rescans, Nobody)?;
    info!("all is well: {}, {}", watching(&source), running(&names));
    Ok(())
}

/// Where a host keeps what is finished, and where it listens. A running one may have both now. What it makes itself when
/// it starts need not be there.
fn check_places(settings: &Settings) -> Result<()> {
    let state = settings.state_dir.as_deref();
    state.map_or(Ok(()), Ledger::check)?;
    let is_made = |path: &Path| state.is_some_and(|state| path.starts_with(state) && !state.exists());
    let socket = settings.socket.iter().find(|socket| socket.is_named && !is_made(&socket.path));
    socket.map_or(Ok(()), |socket| control::check(&socket.path))
}

/// Wants nothing: for a check.
struct Nobody;

impl Sink for Nobody {
    fn lineup_changed(&mut self) {}

    fn interest(&self, _: WatchId) -> WatchMask {
        WatchMask::CLOSE_WRITE
    }

    fn event(&mut self, _: &Happened<'_>) {}

    fn end_of_burst(&mut self) {}

    fn renamed(&mut self, _: (u64, &OsStr), _: (u64, &OsStr)) {}

    fn lost(&mut self) {}

    fn is_idle(&self) -> bool {
        true
    }
}
