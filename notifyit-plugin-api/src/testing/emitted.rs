//! What the plugin hands on to others.

use std::path::{Path, PathBuf};

use super::TestHost;
use super::heard::lock;
use crate::abi::Emission;
use crate::verdict::{Blame, Verdict};

impl TestHost {
    /// The files that the plugin has [handed on](crate::Event::emit) with events that are done, by all workers, in order;
    /// those of a burst when it is flushed.
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Upper;
    /// impl Plugin for Upper {
    ///     # type Config = ();
    ///     # fn new(_: (), _: Host) -> Result<Self> { Ok(Upper) }
    ///     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    ///         let upper = event.path().with_extension("upper");
    ///         std::fs::write(&upper, std::io::read_to_string(event.open()?)?.to_uppercase())?;
    ///         event.emit_file(&upper)
    ///     }
    /// }
    ///
    /// let mut host = TestHost::start::<Upper>(json!({})).unwrap();
    /// host.write("a.txt", "text").assert_done();
    /// assert_eq!(host.emitted(), [host.root().join("a.upper")]);
    ///
    /// // And how a plugin takes what another has handed on:
    /// host.event("b.txt").content("text").emitted_by("scan").deliver().assert_done();
    /// ```
    pub fn emitted(&self) -> Vec<PathBuf> {
        lock(&self.heard().emitted).clone()
    }

    /// The event of this file has this verdict: that, and the files that go on with it.
    pub(super) fn emits(
        &self,
        path: &Path,
        emission: &Emission,
        verdict: Verdict,
    ) -> (Verdict, Vec<PathBuf>) {
        if !verdict.is_done() {
            return (verdict, Vec::new());
        }
        let own = emission.own.then(|| path.to_owned());
        // What is no path comes of no plugin that is in its senses.
        let others = emission.files.iter().filter_map(|file| file.path());
        let files: Vec<PathBuf> = own.into_iter().chain(others).collect();
        if let Some(outside) = files.iter().find(|path| !path.starts_with(self.root())) {
            let message = format!("failed to emit {outside:?}: it lies beneath no watched directory");
            return (Verdict::Retry { message, after: None, blame: Blame::File }, Vec::new());
        }
        (verdict, files)
    }

    pub(super) fn hand_on(&self, files: Vec<PathBuf>) {
        lock(&self.heard().emitted).extend(files);
    }
}
