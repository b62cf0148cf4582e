//! Where a plugin is tried out: what all workers of a test host share.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use super::heard::{Heard, api};
use crate::abi::{CREATED, CreateResult, HandlerBox, HostApi_Ref, PANICKED, REJECT, Text, guard};
use crate::plugin::Plugin;
use crate::{Reject, Result, bail};

/// If this is set, the directory of a test that fails stays.
const KEEP: &str = "NOTIFYIT_TEST_KEEP";

/// A directory, a plugin with its configuration, and what is heard of it; gone with the last worker.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) root: PathBuf,
    pub(super) heard: Arc<Heard>,
    config: String,
    /// How many events it may have in hand.
    pub(super) in_flight: u16,
    create: fn(HostApi_Ref, u64, Text<'_>) -> CreateResult,
    has_failed: AtomicBool,
}

impl Place {
    pub(super) fn new<P: Plugin>(name: &str, config: &serde_json::Value) -> Result<Place> {
        guard::note_panics_too();
        let root = new_directory()?;
        Ok(Place {
            root,
            heard: Heard::open(name),
            config: config.to_string(),
            in_flight: P::IN_FLIGHT.max(1),
            create: guard::create_unhooked::<P>,
            has_failed: AtomicBool::new(false),
        })
    }

    /// One more instance.
    #[track_caller]
    pub(super) fn instance(&self) -> Result<HandlerBox> {
        super::verdict::was_called(&self.heard);
        let made = (self.create)(api(), self.heard.context(), Text::from_str(&self.config));
        match (made.status, made.handler.into_option()) {
            (CREATED, Some(handler)) => Ok(handler),
            (PANICKED, _) => panic!("the plugin panicked in `new`: {}", made.message),
            (REJECT, _) => bail!(Reject::new(made.message)),
            _ => bail!("{}", made.message),
        }
    }

    pub(super) fn test_has_failed(&self) {
        self.has_failed.store(true, Ordering::Relaxed);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.heard.close();
        if self.has_failed.load(Ordering::Relaxed) && std::env::var_os(KEEP).is_some() {
            return tell(&self.root);
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

#[expect(clippy::print_stderr, reason = "a test's own words, which are shown when it fails")]
fn tell(root: &Path) {
    eprintln!("the test's directory is kept: {}", root.display());
}

/// A directory that was not there before: a run that was killed leaves its own, and numbers of processes come again.
pub(super) fn new_directory() -> std::io::Result<PathBuf> {
    static NEXT: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(1);
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let name = format!("notifyit-test-{process}-{number}-{:x}", now.as_nanos());
    let root = std::env::temp_dir().join(name);
    fs::create_dir(&root)?;
    root.canonicalize()
}
