//! As `surface`, of the harness.

use std::path::{Path, PathBuf};
use std::time::Duration;

use notifyit_plugin_api::testing::TestHost;
use notifyit_plugin_api::{Kind, Plugin, Result, Verdict, json, serde_json};

fn harness<P: Plugin>(path: &Path) -> Result<()> {
    fn is_free<T: std::fmt::Debug>() {}
    is_free::<TestHost>();
    let _: fn(serde_json::Value) -> Result<TestHost> = TestHost::start::<P>;
    let _: fn(&TestHost) -> &Path = TestHost::root;
    let _: fn(&mut TestHost, Option<Duration>) = TestHost::set_timeout;
    let _: fn(&TestHost) -> bool = TestHost::rewrote;
    let _: fn(&mut TestHost) -> Verdict = TestHost::flush;
    let _: fn(&mut TestHost) -> Verdict = TestHost::shutdown;
    let _: fn(&TestHost) -> Vec<String> = TestHost::logs;
    let _: fn(&TestHost) -> Option<String> = TestHost::stopped;
    let mut host = TestHost::start::<P>(json!({}))?;
    let _: [Verdict; 3] =
        [host.write("a", "text"), host.write(PathBuf::new(), b"bytes"), host.write(path, Vec::new())];
    let _: [Verdict; 2] = [host.land("a"), host.land(path)];
    let _: [Verdict; 2] = [host.deliver(Kind::Landed, "a", 1), host.deliver(Kind::Delete, path, 2)];
    Ok(())
}
