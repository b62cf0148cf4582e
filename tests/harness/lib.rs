//! Runs the built host with real libraries on real files.
//!
//! ```no_run
//! use notifyit_tests::Host;
//!
//! let host = Host::new().plugin("recorder").arg("-r").start();
//! host.write("a.txt", "content");
//! host.handled("recorder", "a.txt");
//! host.stop().success();
//! ```
//!
//! - `built` builds the host, its plugins and the fixtures, once per run of the tests.
//! - [`Place`] is a test's own directory: what is watched, the plugins, what the recorders wrote.
//! - [`Host`] says how to start, [`Running`] is the host at work, [`Exit`] what it left.
//! - [`Record`] is one line of the fixture plugin `recorder`.
//!
//! Nothing here sleeps for a time that it hopes will do: each wait has a condition and the one [`DEADLINE`]. When a
//! test fails, what the host printed is printed.

mod built;
mod isolation;
mod place;
mod record;
mod stream;
mod host;
mod running;
mod exit;

pub use built::{
    aborting_library, cargo_in, libraries_by, library, recorder, recorder_of_closes, renamed,
    target_directory,
};
pub use exit::Exit;
pub use host::Host;
pub use isolation::{inline_only, is_isolated};
pub use place::Place;
pub use record::{Record, bytes_of};
pub use running::Running;

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::{Child, Command};
use std::sync::{PoisonError, RwLock};
use std::time::{Duration, Instant};

use rustix::process::Pid;

/// How long any wait may take. Much longer than it does: on a machine that is busy the kernel alone may need ten seconds
/// to close the inotify descriptor of a host that ends, since it waits for all who are just telling of an event.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// Held by who has a file open that he writes, and alone by who starts a process: that has what is open at this moment
/// until its own exec, and puts off a close, behind whatever the test does next.
static NOBODY_STARTS: RwLock<()> = RwLock::new(());

/// Does something to a file that it closes again, while nobody starts a process.
pub(crate) fn undisturbed<T>(f: impl FnOnce() -> T) -> T {
    let _shared = NOBODY_STARTS.read().unwrap_or_else(PoisonError::into_inner);
    f()
}

/// Starts a process, while nobody is in the middle of [`write()`].
pub fn spawn(command: &mut Command) -> Child {
    let _alone = NOBODY_STARTS.write().unwrap_or_else(PoisonError::into_inner);
    command.spawn().unwrap_or_else(|e| panic!("failed to start {command:?}: {e}"))
}

/// Writes a file, which is closed then.
pub fn write(path: &Path, content: impl AsRef<[u8]>) {
    undisturbed(|| fs::write(path, content)).unwrap_or_else(|e| panic!("failed to write {path:?}: {e}"));
}

/// Waits until `check` has an answer; none when [`DEADLINE`] has passed.
pub fn until<T>(mut check: impl FnMut() -> Option<T>) -> Option<T> {
    let mut patience = Patience::new(DEADLINE);
    loop {
        let begin = Instant::now();
        match check() {
            Some(answer) => return Some(answer),
            None if patience.is_over() => return None,
            // A look that is dear comes more rarely.
            None => std::thread::sleep(Duration::from_millis(3).max(begin.elapsed() * 3)),
        }
    }
}

/// What is left of the time that something may take, for who looks again and again.
#[derive(Debug)]
pub struct Patience {
    left: Duration,
    looked: Instant,
}

impl Patience {
    /// It may take so long from now on.
    pub fn new(within: Duration) -> Patience {
        Patience { left: within, looked: Instant::now() }
    }

    /// Asked behind each look. Between two of them no more than a second counts: a virtual machine may stand still for
    /// half a minute.
    pub fn is_over(&mut self) -> bool {
        let took = self.looked.elapsed().min(Duration::from_secs(1));
        (self.left, self.looked) = (self.left.saturating_sub(took), Instant::now());
        self.left.is_zero()
    }
}

/// Waits until what is written bears a later time than all that has been. File times go by a clock that ticks: a file of
/// the tick in which a host starts is new to it.
pub fn wait_for_a_tick() {
    let file = tempfile::NamedTempFile::new().expect("a new file");
    let now = || {
        file.as_file().set_permissions(Permissions::from_mode(0o600)).expect("it is ours");
        let meta = file.as_file().metadata().expect("it is open");
        meta.ctime() * 1_000_000_000 + meta.ctime_nsec()
    };
    // Times that somebody has asked for may be ahead of the ticks, which come every 10 ms at least.
    let past = now() + 10_000_000;
    while now() <= past {}
}

/// Says on stderr why a test, or a part of it, is not run here.
pub fn skip(why: &str) {
    say(&format!("skipped: {why}"));
}

/// Says something on stderr.
#[expect(clippy::print_stderr, reason = "the test runner shows it when the test fails, or on request")]
pub fn say(text: &str) {
    eprintln!("{text}");
}

/// Processes whose parent this one is.
pub fn children(parent: Pid) -> Vec<Pid> {
    let processes = fs::read_dir("/proc").expect("/proc is there").flatten();
    let ids = processes.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    let parent_of = |id: &Pid| {
        let stat = fs::read_to_string(format!("/proc/{}/stat", id.as_raw_nonzero())).ok()?;
        Pid::from_raw(stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?)
    };
    ids.filter(|id| parent_of(id) == Some(parent)).collect()
}
