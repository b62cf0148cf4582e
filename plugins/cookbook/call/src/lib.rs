//! Runs a program for each file that lands; the program reads the file on its standard input.
//!
//! ```toml
//! [plugin.call.config]
//! command = ["sh", "-c", "gzip -c > /srv/archive/$(date +%s%N).gz"]
//! ```
//!
//! It shows the least that there is to it: whose fault it is when something goes wrong. The plugin `exec` comes with the
//! host and does all of this better (deadlines, output to the log, placeholders, a program that stays): begin here only
//! if you want something else.
#![forbid(unsafe_code)]

use std::process::{Command, Stdio};

use notifyit_plugin_api::{
    Context, Event, Host, Plugin, Reject, Result, Unavailable, bail, config, export_plugin,
};

#[config]
struct Config {
    /// The program and its arguments.
    command: Vec<String>,
}

struct Call {
    command: Vec<String>,
}

impl Plugin for Call {
    type Config = Config;

    fn new(config: Config, _host: Host) -> Result<Self> {
        if config.command.is_empty() {
            bail!(Reject::new("`command` names no program"));
        }
        Ok(Call { command: config.command })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        let mut command = Command::new(&self.command[0]);
        // The file itself, not its path, where somebody may have put another one. Standard output is the host's.
        command.args(&self.command[1..]).stdin(event.open()?).stdout(Stdio::null());
        command.env("NOTIFYIT_RELATIVE", event.relative());
        let missing = || Unavailable::new(format!("failed to start {:?}", self.command[0])); // No file would work.
        let status = command.status().with_context(missing)?;
        match status.code() {
            Some(0) => Ok(()),
            Some(65) => bail!(Reject::new("the program says that it can never work (65, EX_DATAERR)")),
            _ => bail!("the program ended with {status}"), // Tried again.
        }
    }
}

export_plugin!(Call);

#[cfg(test)]
mod tests {
    use super::*;
    use notifyit_plugin_api::json;
    use notifyit_plugin_api::testing::TestHost;

    fn started(script: &str) -> TestHost {
        TestHost::start::<Call>(json!({ "command": ["sh", "-c", script] })).unwrap()
    }

    #[test]
    fn the_program_reads_the_file() {
        let mut host = started("grep -q needle");
        host.write("a", "a needle").assert_done();
        host.write("b", "hay").assert_retry("exit status: 1");
    }

    #[test]
    fn its_exit_status_is_the_verdict() {
        started("exit 65").write("a", "x").assert_reject("EX_DATAERR");
        started("kill -9 $$").write("a", "x").assert_retry("signal: 9");
        started("[ $NOTIFYIT_RELATIVE = sub/a ]").write("sub/a", "x").assert_done();
    }

    #[test]
    fn a_missing_program_is_no_files_fault() {
        let mut host = TestHost::start::<Call>(json!({ "command": ["/no/such/program"] })).unwrap();
        host.write("a", "x").assert_unavailable("failed to start");
        assert!(TestHost::start::<Call>(json!({ "command": [] })).unwrap_err().is::<Reject>());
    }
}
