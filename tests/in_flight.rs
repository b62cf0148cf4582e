//! A plugin that has several events in hand: it takes batches, and says later what became of an event.

mod batches;
mod deferred;

use std::fs;
use std::path::PathBuf;

use notifyit_tests::{Host, Running};

use crate::state::Site;

/// A place where hosts run `flying`.
struct Scene(Site);

impl Scene {
    fn new() -> Scene {
        Scene(Site::new())
    }

    fn temp(&self, name: &str) -> PathBuf {
        self.0.0.path().join(name)
    }

    fn host(&self) -> Host {
        Host::new()
            .plugin("flying")
            .watching([self.0.root()])
            .set("plugin.flying.retry={first='10ms',max='10ms'}")
            .set(&format!("flying.out={:?}", self.temp("out")))
            .set(&format!("flying.hold={:?}", self.temp("hold")))
            .arg("--state-dir")
            .arg(self.temp("state"))
    }

    /// From now on whatever is begun waits.
    fn hold(&self) {
        fs::write(self.temp("hold"), "").expect("a file");
    }

    fn release(&self) {
        fs::remove_file(self.temp("hold")).expect("it was held");
    }

    fn write(&self, file: &str) {
        self.0.write(file, "x");
    }

    /// The lines that the plugin has written: `began 1 a.txt`.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.temp("out")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn count(&self, line: &str) -> usize {
        self.lines().iter().filter(|other| *other == line).count()
    }

    /// How many lines begin so.
    fn count_of(&self, begin: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with(begin)).count()
    }

    fn wait(&self, host: &Running, line: &str) {
        self.wait_until(host, line, || self.count(line) > 0);
    }

    fn wait_until(&self, host: &Running, what: &str, is_so: impl Fn() -> bool) {
        host.wait_for(&format!("{what}, in {:?}", self.lines()), |_| is_so().then_some(()));
    }
}
