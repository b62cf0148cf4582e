//! Panics of the plugin: none is swallowed, and one may be expected.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use super::TestHost;
use super::heard::lock;

/// What an expected panic of the plugin said: it travels up to [`TestHost::expect_panic`].
struct Expected(String);

/// Panics.
impl TestHost {
    /// Runs `f`, in which the plugin must panic, and returns what it said, with the place: as a host logs it. What is left of
    /// `f` is not run. Then a new instance is made, as a host does, and the same `TestHost` goes on with it; what the old
    /// one has done since its last flush, and the event in hand, a host delivers again. (After a panic in `shutdown`
    /// nothing comes.)
    ///
    /// ```
    /// # use notifyit_plugin_api::{json, testing::TestHost, Event, Host, Plugin, Result};
    /// # struct Naive;
    /// # impl Plugin for Naive {
    /// #     type Config = ();
    /// #     fn new(_: (), _: Host) -> Result<Self> { Ok(Naive) }
    /// #     fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
    /// #         let text = std::io::read_to_string(event.open()?)?;
    /// #         text.lines().next().expect("a first line");
    /// #         Ok(())
    /// #     }
    /// # }
    /// let mut host = TestHost::start::<Naive>(json!({})).unwrap();
    /// let said = host.expect_panic(|host| host.write("empty", ""));
    /// assert!(said.starts_with("a first line, at "), "{said}");
    /// host.write("good", "line").assert_done();
    /// ```
    ///
    /// # Panics
    ///
    /// If the plugin does not panic in `f`, or panics as the new instance is made, or something else panics in `f`.
    #[track_caller]
    pub fn expect_panic<T>(&mut self, f: impl FnOnce(&mut TestHost) -> T) -> String {
        let before = std::mem::replace(&mut self.expects_panic, true);
        let result = catch_unwind(AssertUnwindSafe(|| f(self)));
        self.expects_panic = before;
        let Err(payload) = result else {
            panic!("expected the plugin to panic, but it did not\n{}", self.heard().shown());
        };
        let Expected(said) = *payload.downcast().unwrap_or_else(|other| resume_unwind(other));
        let is_there = lock(&self.instance).handler.is_some();
        if is_there {
            let new = self.place.instance();
            let new = new.unwrap_or_else(|e| panic!("failed to make a new instance after `{said}`: {e:#}"));
            lock(&self.instance).handler = Some(new);
        }
        said
    }

    /// Drops the instance, if there still is one.
    #[track_caller]
    pub(super) fn end(&self) {
        let before = self.heard().count();
        let ended = lock(&self.instance).handler.take();
        drop(ended);
        if let Some(said) = self.heard().panicked_in_drop(before)
            && !std::thread::panicking()
        {
            self.has_panicked(&format!("{said} (while it was dropped)"));
        }
    }

    #[track_caller]
    pub(super) fn has_panicked(&self, said: &str) -> ! {
        if self.expects_panic {
            resume_unwind(Box::new(Expected(said.to_owned())));
        }
        panic!("the plugin panicked: {said}");
    }
}

impl Drop for TestHost {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.place.test_has_failed();
        }
        self.end();
    }
}
