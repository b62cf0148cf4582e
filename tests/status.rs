//! `notifyit status`: what a running host says of itself.
//!
//! | file | holds |
//! |---|---|
//! | `states` | each state of a plugin, seen through the command |
//! | `hung` | while a plugin hangs |
//! | `socket` | whose socket it is, and where |
//! | `clients` | those that mean no good |

mod clients;
mod hung;
mod socket;
mod states;

use std::path::PathBuf;

use notifyit_tests::{Exit, Host, Place, Running};
use serde_json::Value;

const SOCKET: &str = "control.sock";

/// A host that listens in the test's own directory.
fn host() -> Host {
    Host::new().args(["--socket", SOCKET])
}

/// Runs `notifyit status` with these arguments.
fn ask(place: &Place, arguments: &[&str]) -> Exit {
    Host::at(place.clone()).verb("status").watching(Vec::<PathBuf>::new()).args(arguments).run()
}

/// What the host says, for people.
fn text(place: &Place) -> String {
    let exit = ask(place, &["--socket", SOCKET]);
    exit.success();
    String::from_utf8_lossy(exit.stdout()).into_owned()
}

/// The same for programs.
fn status(place: &Place) -> Value {
    let exit = ask(place, &["--socket", SOCKET, "--json"]);
    exit.success();
    assert_eq!(exit.stdout().iter().filter(|byte| **byte == b'\n').count(), 1, "one line");
    serde_json::from_slice(exit.stdout()).expect("it is JSON")
}

/// What it says of this plugin.
fn plugin(place: &Place, name: &str) -> Option<Value> {
    let status = status(place);
    status["plugins"].as_array()?.iter().find(|plugin| plugin["name"] == name).cloned()
}

/// Waits until this plugin is in this state, and the reason has all these words.
fn in_state(host: &Running, name: &str, state: &str, words: &[&str]) -> Value {
    host.wait_for(&format!("{name} to be {state}, with {words:?}"), |host| {
        let plugin = plugin(host, name)?;
        let reason = plugin["reason"].as_str()?;
        (plugin["state"] == state && words.iter().all(|word| reason.contains(word))).then_some(plugin)
    })
}
