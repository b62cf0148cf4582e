//! What a plugin hands on, and how it takes what others do.

use std::fs;
use std::thread;

use crate::testing::TestHost;
use crate::{Event, Host, Kind, Plugin, Result, bail, json};

/// The name of a file says what is emitted.
struct Emits {
    failing_flushes: u32,
}

impl Plugin for Emits {
    type Config = ();

    const IN_FLIGHT: u16 = 2;

    fn new(_: (), _: Host) -> Result<Self> {
        Ok(Emits { failing_flushes: 0 })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        match event.name().to_str().unwrap_or_default() {
            "own" => event.emit(),
            "copy" => {
                let copy = event.path().with_extension("copy");
                fs::copy(event.path(), &copy)?;
                event.emit()?;
                event.emit_file(&copy)
            }
            "gone" => event.emit_file(event.root().join("no such file")),
            "outside" => event.emit_file("/etc/passwd"),
            "fails" => {
                event.emit()?;
                bail!("after all")
            }
            "unflushed" => {
                self.failing_flushes = 1;
                event.emit()
            }
            "deferred" => {
                event.emit()?;
                let mut deferred = event.defer()?;
                deferred.emit_file(event.path().with_file_name("copy"))?;
                thread::spawn(move || deferred.complete(Ok(())));
                Ok(())
            }
            "by" => bail!("{:?} by {:?}", event.kind(), event.emitted_by()),
            name => bail!("{name}"),
        }
    }

    fn flush(&mut self) -> Result<()> {
        if std::mem::take(&mut self.failing_flushes) > 0 {
            bail!("no flush");
        }
        Ok(())
    }
}

#[test]
fn what_is_emitted_goes_on_with_its_events_verdict() {
    let mut host = TestHost::start::<Emits>(json!({})).unwrap();
    let path = |name: &str| host.root().join(name);
    let (own, copy, made, deferred) = (path("own"), path("copy"), path("copy.copy"), path("deferred"));
    host.write("own", "x").assert_done();
    host.write("copy", "x").assert_done();
    assert_eq!(host.emitted(), [own, copy.clone(), made]);
    host.write("gone", "x").assert_retry("failed to emit");
    host.write("outside", "x").assert_retry("it lies beneath no watched directory");
    host.write("fails", "x").assert_retry("after all");
    host.write("unflushed", "x").assert_retry("no flush");
    assert_eq!(host.emitted().len(), 3, "none of these");
    host.write("deferred", "x").assert_done();
    assert_eq!(host.emitted()[3..], [deferred, copy]);
}

#[test]
fn who_has_emitted_a_file_is_told_with_it() {
    let host = TestHost::start::<Emits>(json!({})).unwrap();
    host.event("by").emitted_by("scan").deliver().assert_retry(r#"Emitted by Some("scan")"#);
    host.event("by").kind(Kind::Emitted).deliver().assert_retry("Emitted by None");
    host.event("by").deliver().assert_retry("Landed by None");
}
