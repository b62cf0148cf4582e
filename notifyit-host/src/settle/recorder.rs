//! The flight recorder: which event each worker has in hand, so that the next host knows what this one died of.
//!
//! One page of memory for each worker, `recorder/NAME.NUMBER` in the state directory. Before a call the worker writes into
//! it what it begins, behind the call one store takes that back. A store in a page that is shared with a file is in the
//! file at once, as far as other processes go: nothing is written by a call, and the death of this process loses nothing.
//! (That of the machine may: then no plugin is to blame.)
//!
//! | file | holds |
//! |---|---|
//! | `sheet` | what stands where on a page |
//! | `deaths` | what the pages say of the host that wrote them: who is to blame |

mod sheet;
mod deaths;

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tracing::warn;

pub use self::deaths::{Death, Way};
pub use self::sheet::InHand;
use self::sheet::{DEATH, End};
use super::ledger::Version;
use crate::sys;
use crate::sys::death::{self, Watched};
use crate::sys::page::Page;

/// So many pages one plugin may have at once: a lane's workers, and those of lanes that are on their way out.
const MOST: u32 = 1 << 20;

/// The recorders of a host's workers. Without a state directory there are none. A clone is the same.
#[derive(Debug, Clone, Default)]
pub struct Recorders(Option<Arc<Inner>>);

#[derive(Debug)]
struct Inner {
    directory: PathBuf,
    boot: u128,
    pages: Mutex<Pages>,
    /// That there is no page for some worker has been said.
    is_said: AtomicBool,
}

#[derive(Debug)]
struct Pages {
    end: End,
    /// Of all workers, those that have left too until the next one comes.
    open: Vec<Weak<Page>>,
}

/// One worker's recorder, which may be a blank one.
#[derive(Debug, Default)]
pub struct Recorder {
    page: Option<Arc<Page>>,
    /// Its file, which goes with it.
    file: PathBuf,
}

/// A look at what a recorder holds, from any thread.
#[derive(Debug, Clone, Default)]
pub struct Glance(Weak<Page>);

/// What a worker begins.
#[derive(Debug)]
pub struct Begun<'a> {
    /// The version, if the event is about one.
    pub version: Option<&'a Version>,
    /// May the file have another version with that stamp?
    pub is_racy: bool,
    /// Attempts that failed and count.
    pub failed: u32,
    /// Those of them in which the process died.
    pub crashes: u32,
    /// When: nanoseconds since 1970.
    pub began_nanos: u64,
    /// The absolute path, which ends in the file's name.
    pub path: &'a [u8],
}

impl Recorders {
    /// Those of the host that has this state directory. From now on it is noted which thread this process dies on.
    ///
    /// # Errors
    ///
    /// A signal handler cannot be set.
    pub fn in_directory(state: &Path) -> io::Result<Recorders> {
        death::look()?;
        let pages = Mutex::new(Pages { end: End::None, open: Vec::new() });
        let (directory, is_said) = (state.join("recorder"), AtomicBool::new(false));
        Ok(Recorders(Some(Arc::new(Inner { directory, boot: sys::boot(), pages, is_said }))))
    }

    /// One for a worker of this plugin: a blank one where there is no room for a page.
    pub fn open(&self, plugin: &str) -> Recorder {
        let Some(inner) = &self.0 else { return Recorder::default() };
        match inner.open(plugin) {
            Ok(recorder) => recorder,
            Err(error) => {
                inner.say(&error);
                Recorder::default()
            }
        }
    }

    /// The host begins to stop. Whoever ends it from outside from now on has lost patience; what a plugin does is its own.
    pub fn host_stops(&self) {
        self.end(End::Stops);
    }

    /// The host has stopped, and leaves whoever does not come back: nobody is to blame for anything any more.
    pub fn host_has_stopped(&self) {
        self.end(End::Stopped);
    }

    fn end(&self, end: End) {
        let Some(inner) = &self.0 else { return };
        let mut pages = inner.lock();
        pages.end = end;
        pages.open.iter().filter_map(Weak::upgrade).for_each(|page| sheet::end(&page, end));
    }

    /// What the host before this one died of, by the pages that it has left. Pages that cannot be read are said.
    pub fn deaths(&self) -> Vec<Death> {
        self.0.as_ref().map_or_else(Vec::new, |inner| deaths::read(&inner.directory, inner.boot))
    }

    /// Removes the pages of the host before this one, before any of this one's.
    pub fn clear(&self) {
        if let Some(inner) = &self.0 {
            deaths::pages_in(&inner.directory).for_each(|(file, _)| drop(fs::remove_file(file)));
        }
    }
}

impl Inner {
    fn open(&self, plugin: &str) -> io::Result<Recorder> {
        DirBuilder::new().recursive(true).mode(0o700).create(&self.directory)?;
        let (path, file) = self.create(plugin)?;
        // Whatever happens from here on, the file goes.
        let mut recorder = Recorder { page: None, file: path };
        let page = Arc::new(Page::of(file)?);
        let mut pages = self.lock();
        sheet::begin(&page, self.boot);
        sheet::end(&page, pages.end);
        pages.open.retain(|page| page.strong_count() > 0);
        pages.open.push(Arc::downgrade(&page));
        recorder.page = Some(page);
        Ok(recorder)
    }

    /// Under the first number that is free: what was there before may still have a call in hand.
    fn create(&self, plugin: &str) -> io::Result<(PathBuf, File)> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true).mode(0o600);
        for number in 0..MOST {
            let path = self.directory.join(format!("{plugin}.{number}"));
            match options.open(&path) {
                Ok(file) => return Ok((path, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
        Err(io::Error::other("too many workers"))
    }

    fn say(&self, error: &io::Error) {
        if !self.is_said.swap(true, Ordering::Relaxed) {
            warn!(
                "failed to make a flight recorder in {:?}: {error}; should a plugin end the host, the next one will not \
                 know at which file",
                self.directory
            );
        }
    }

    fn lock(&self) -> MutexGuard<'_, Pages> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Recorder {
    /// For who wants to know what is in hand.
    pub fn glance(&self) -> Glance {
        Glance(self.page.as_ref().map(Arc::downgrade).unwrap_or_default())
    }

    /// For as long as this is kept, it is noted if the process dies on this thread.
    pub fn watch_this_thread(&self) -> Option<Watched> {
        self.page.as_ref().map(|page| death::watch(page, DEATH))
    }

    /// A call begins. Neither allocates nor enters the kernel: it is on the way of each event.
    pub fn begin(&self, begun: &Begun<'_>) {
        if let Some(page) = &self.page {
            sheet::write(page, begun);
        }
    }

    /// The call has come back.
    pub fn end(&self) {
        if let Some(page) = &self.page {
            sheet::clear(page);
        }
    }
}

impl Glance {
    /// What is in hand. While that changes, nothing: the page's checksum tells.
    pub fn in_hand(&self) -> Option<InHand> {
        let page = self.0.upgrade()?;
        let bytes: Vec<u8> =
            page.iter().flat_map(|word| word.load(Ordering::Acquire).to_ne_bytes()).collect();
        sheet::read(&bytes).ok()?.in_hand
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        if !self.file.as_os_str().is_empty() {
            let _ = fs::remove_file(&self.file);
        }
    }
}

#[cfg(test)]
mod tests;
