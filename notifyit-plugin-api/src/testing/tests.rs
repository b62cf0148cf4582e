//! The harness holds what its docs say.

use std::fs;

use super::TestHost;
use super::place::new_directory;
use crate::{Plugin, Result, bail};

/// Rejects what it has seen, by the version's number.
struct Once(Vec<u64>);

impl Plugin for Once {
    type Config = ();

    fn new(_: (), host: crate::Host) -> Result<Self> {
        assert_eq!(host.instance().as_deref(), Some("test"));
        Ok(Once(Vec::new()))
    }

    fn on_event(&mut self, event: &crate::Event<'_>) -> Result<()> {
        if self.0.contains(&event.id()) {
            bail!(crate::Reject::new("seen"));
        }
        self.0.push(event.id());
        Ok(())
    }
}

#[test]
fn each_version_of_a_file_has_its_number_and_keeps_it() {
    let mut host = TestHost::start::<Once>(crate::json!({})).unwrap();
    assert!(host.write("a", "1").is_done());
    assert!(host.land("a").is_reject());
    assert!(host.write("a", "22").is_done());
    assert!(host.write("b", "22").is_done());
}

/// Makes text loud. Says so when it is done, too early, or not at all, by the file's name.
struct Loud;

impl Plugin for Loud {
    type Config = ();

    fn new(_: (), _: crate::Host) -> Result<Self> {
        Ok(Loud)
    }

    fn on_event(&mut self, event: &crate::Event<'_>) -> Result<()> {
        let text = std::io::read_to_string(event.open()?)?;
        if event.name() == "early" {
            event.rewrote();
        }
        let mut file = fs::File::create(event.path())?;
        std::io::Write::write_all(&mut file, format!("{text}!").as_bytes())?;
        if event.name() == "open" {
            event.rewrote_as(&file);
        }
        drop(file);
        if event.name() == "said" {
            event.rewrote();
        }
        Ok(())
    }
}

#[test]
fn a_plugin_says_what_is_its_work() {
    let mut host = TestHost::start::<Loud>(crate::json!({})).unwrap();
    assert!(!host.rewrote(), "no event yet");
    for (name, says) in [("said", true), ("open", true), ("early", false), ("unsaid", false)] {
        assert!(host.write(name, "1").is_done());
        assert_eq!(host.rewrote(), says, "{name}");
    }
    assert!(host.write("said", "1").is_done());
    fs::write(host.root().join("said"), "of another").unwrap();
    assert!(!host.rewrote(), "another has written since");
}

#[test]
fn a_directory_that_another_run_left_is_not_taken() {
    let directories = [new_directory().unwrap(), new_directory().unwrap()];
    assert_ne!(directories[0], directories[1]);
    for directory in directories {
        fs::remove_dir(directory).unwrap();
    }
}
