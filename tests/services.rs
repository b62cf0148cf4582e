//! What a plugin asks of its host: a store, the signal to end, figures of its own. The plugin is `asks`, whose files say what to
//! ask.
//!
//! | file | holds |
//! |---|---|
//! | `store` | what lies there after whatever happens |
//! | `signal` | who is told to end, and when |
//! | `figures` | what `notifyit status` shows |

mod figures;
mod signal;
mod store;

use notifyit_tests::{Host, Place, Running};

/// A host with `asks`.
fn asking() -> Host {
    Host::new().plugin("asks").set(r#"plugin.asks.retry={first="10ms",max="10ms"}"#)
}

/// The same with a state directory.
pub(crate) fn keeping() -> Host {
    asking().args(["--state-dir", "state"])
}

/// The next host in that place.
fn next(place: &Place) -> Host {
    let host = Host::at(place.clone()).set(r#"plugin.asks.retry={first="10ms",max="10ms"}"#);
    host.args(["--state-dir", "state"])
}

/// Has the plugin do this, and waits for its answer.
pub(crate) fn answers(host: &Running, file: &str, command: &str, answer: &str) {
    host.write(file, command);
    host.logged(&["asks", &format!("{command}: {answer}")]);
}
