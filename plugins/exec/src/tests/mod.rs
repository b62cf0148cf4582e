//! The plugin as a host sees it, with real programs.

mod each;
mod lines;

use std::time::{Duration, Instant};

use notifyit_plugin_api::serde_json::Value;
use notifyit_plugin_api::testing::TestHost;
use notifyit_plugin_api::{Blame, Verdict, json};

use crate::Exec;

fn start(config: Value) -> TestHost {
    TestHost::start::<Exec>(config).unwrap()
}

/// A host whose plugin runs this script.
fn sh(script: &str) -> TestHost {
    start(json!({"command": ["sh", "-c", script]}))
}

fn refused(config: Value) -> String {
    TestHost::start::<Exec>(config).unwrap_err().to_string()
}

fn retry(message: &str) -> Verdict {
    Verdict::Retry { message: message.to_owned(), after: None, blame: Blame::File }
}

fn reject(message: &str) -> Verdict {
    Verdict::Reject { message: message.to_owned() }
}

/// Nothing here takes so long, however busy the machine is.
const LONG: Duration = Duration::from_secs(60);

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Neither running nor a zombie of ours. What a program left behind is init's to wait for.
fn is_gone(pid: &str) -> bool {
    match std::fs::read_to_string(format!("/proc/{pid}/stat")) {
        Err(_) => true,
        Ok(stat) => {
            let mut fields = stat.rsplit(')').next().unwrap().split_whitespace();
            let (state, parent) = (fields.next().unwrap(), fields.next().unwrap());
            state == "Z" && parent != std::process::id().to_string()
        }
    }
}

/// The rest of the one log line that has this in it.
fn logged(host: &TestHost, mark: &str) -> String {
    let logs = host.logs();
    let line =
        logs.iter().find_map(|line| line.split_once(mark)).unwrap_or_else(|| panic!("no {mark} in {logs:?}"));
    line.1.to_owned()
}
