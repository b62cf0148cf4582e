//! The host at work.

use std::collections::BTreeSet;
use std::fs;
use std::ops::Deref;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::exit::Exit;
use crate::place::Place;
use crate::record::Record;
use crate::stream::Stream;
use crate::{DEADLINE, Patience, say, until};

/// The host at work. It is ended when this is dropped.
#[derive(Debug)]
pub struct Running {
    /// None when it has been taken by [`Running::wait`].
    parts: Option<Parts>,
}

#[derive(Debug)]
struct Parts {
    place: Place,
    child: Mutex<Child>,
    stdout: Stream,
    stderr: Stream,
}

impl Deref for Running {
    type Target = Place;

    fn deref(&self) -> &Place {
        &self.parts().place
    }
}

impl Running {
    pub(crate) fn new(place: Place, child: Child, stdout: Stream, stderr: Stream) -> Running {
        Running { parts: Some(Parts { place, child: Mutex::new(child), stdout, stderr }) }
    }

    pub(crate) fn ready(self) -> Running {
        self.wait_for("the line that says `ready`", |host| {
            host.log().lines().any(|line| line.contains("ready")).then_some(())
        });
        self
    }

    /// The process's id.
    pub fn pid(&self) -> Pid {
        let id = self.child(|child| child.id());
        i32::try_from(id).ok().and_then(Pid::from_raw).expect("the id of a process is positive")
    }

    /// How many directories it watches for files that land, as the kernel tells it: the directory of plugins is not one.
    pub fn watches(&self) -> usize {
        let infos =
            fs::read_dir(format!("/proc/{}/fdinfo", self.pid().as_raw_nonzero())).expect("/proc is there");
        let plugins = fs::metadata(self.plugins()).map_or(0, |plugins| plugins.ino());
        let of_plugins = format!("ino:{plugins:x}");
        let texts = infos.flatten().map(|info| fs::read_to_string(info.path()).unwrap_or_default());
        let is_one =
            |line: &&str| line.starts_with("inotify wd:") && !line.split(' ').any(|word| word == of_plugins);
        texts.map(|text| text.lines().filter(is_one).count()).sum()
    }

    /// How long it has had a processor, in its own code and the kernel's: in hundredths of a second.
    pub fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.pid().as_raw_nonzero()));
        let stat = stat.expect("/proc is there");
        let (_, fields) = stat.rsplit_once(')').expect("the name is in brackets");
        let ticks = fields.split_whitespace().skip(11).take(2).map(|n| n.parse::<u64>().expect("a number"));
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// What it has printed on stderr so far.
    pub fn log(&self) -> String {
        self.parts().stderr.text()
    }

    /// Has nobody its stderr any more, so that it can say nothing?
    pub fn is_silenced(&self) -> bool {
        self.parts().stderr.ended()
    }

    /// What it has printed on stdout so far.
    pub fn stdout(&self) -> Vec<u8> {
        self.parts().stdout.bytes()
    }

    /// The whole lines on stdout so far.
    pub fn stdout_lines(&self) -> Vec<String> {
        let text = self.parts().stdout.text();
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        whole.lines().map(str::to_owned).collect()
    }

    /// Waits until `check` has an answer.
    pub fn wait_for<T>(&self, what: &str, mut check: impl FnMut(&Running) -> Option<T>) -> T {
        let answer = until(|| {
            // In this order: what it left is there when it has ended.
            let ended = self.exited().is_some() && self.parts().stdout.ended() && self.parts().stderr.ended();
            let answer = check(self);
            assert!(answer.is_some() || !ended, "the host has ended; waited in vain for {what}");
            answer
        });
        answer.unwrap_or_else(|| panic!("waited in vain for {what}"))
    }

    /// Waits until `plugin` has handled this file: `print` when it has printed the path, a recorder when it has
    /// answered `done`.
    pub fn handled(&self, plugin: &str, relative: impl AsRef<Path>) {
        let relative = relative.as_ref();
        self.wait_for(&format!("{plugin} to handle {relative:?}"), |host| {
            let handled = match plugin {
                "print" => host.printed(relative) > 0,
                recorder => host.times_done(recorder, relative) > 0,
            };
            handled.then_some(())
        });
    }

    /// Waits until `plugin` has handled all of these.
    pub fn all_handled<P: AsRef<Path>>(&self, plugin: &str, files: impl IntoIterator<Item = P>) {
        self.all_handled_within(plugin, files, DEADLINE);
    }

    /// The same for so many that it may take longer.
    pub fn all_handled_within<P: AsRef<Path>>(
        &self,
        plugin: &str,
        files: impl IntoIterator<Item = P>,
        within: Duration,
    ) {
        let mut missing: BTreeSet<PathBuf> = files.into_iter().map(|file| file.as_ref().to_owned()).collect();
        let mut patience = Patience::new(within);
        loop {
            for handled in self.handled_by(plugin) {
                missing.remove(&handled);
            }
            let left = missing.len();
            if left == 0 {
                return;
            }
            assert!(self.exited().is_none(), "the host has ended; {left} files are not handled");
            assert!(!patience.is_over(), "waited in vain for {plugin} to handle {left} files");
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn handled_by(&self, plugin: &str) -> Vec<PathBuf> {
        if plugin == "print" {
            let root = self.root();
            let paths = self.stdout_lines().into_iter().map(PathBuf::from);
            return paths.filter_map(|path| path.strip_prefix(&root).ok().map(Path::to_owned)).collect();
        }
        self.records(plugin).into_iter().filter(|r| r.say == "done").filter_map(|r| r.relative).collect()
    }

    /// How many times `print` has printed this path, on a line of its own.
    pub fn printed(&self, relative: impl AsRef<Path>) -> usize {
        let path = self.path(relative);
        self.stdout_lines().iter().filter(|line| Path::new(line) == path).count()
    }

    /// Waits until a recorder has given so many answers for this file.
    pub fn answered(&self, recorder: &str, relative: impl AsRef<Path>, times: usize) -> Vec<Record> {
        let relative = relative.as_ref();
        self.wait_for(&format!("{recorder} to answer {times} times for {relative:?}"), |host| {
            let attempts = host.attempts(recorder, relative);
            (attempts.len() >= times).then_some(attempts)
        })
    }

    /// Waits until one line of the log has all these words, and returns it.
    pub fn logged(&self, words: &[&str]) -> String {
        self.wait_for(&format!("a line of the log with {words:?}"), |host| {
            host.log().lines().find(|line| words.iter().all(|word| line.contains(word))).map(str::to_owned)
        })
    }

    /// How many lines of the log have all these words.
    pub fn count_logged(&self, words: &[&str]) -> usize {
        self.log().lines().filter(|line| words.iter().all(|word| line.contains(word))).count()
    }

    /// Sends a file through the lane of `plugin`, so that what came before it is through too (with one worker).
    pub fn drained(&self, plugin: &str) {
        let marker =
            format!("marker-{}", self.log().len() + self.records(plugin).len() + self.stdout().len());
        self.write(&marker, "x");
        self.handled(plugin, &marker);
    }

    /// Is it alive, and does `plugin` handle a file that is written now?
    pub fn alive(&self, plugin: &str) {
        assert!(self.exited().is_none(), "the host has ended");
        self.drained(plugin);
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Option<ExitStatus> {
        self.child(|child| child.try_wait().expect("a child can be waited for"))
    }

    /// Sends it a signal.
    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).expect("the host is there to be signalled");
    }

    /// SIGTERM, and waits for the end.
    pub fn stop(self) -> Exit {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Waits for the end.
    pub fn wait(mut self) -> Exit {
        let status = self.wait_for("the end of the host", Running::exited);
        let parts = self.parts.take().expect("taken here alone");
        let quiet = until(|| (parts.stdout.ended() && parts.stderr.ended()).then_some(()));
        let exit = Exit::new(parts.place, status, parts.stdout.bytes(), parts.stderr.text());
        assert!(
            quiet.is_some(),
            "the host has ended, but something that it started still holds its output open"
        );
        exit
    }

    fn parts(&self) -> &Parts {
        self.parts.as_ref().expect("there until `wait`")
    }

    fn child<T>(&self, f: impl FnOnce(&mut Child) -> T) -> T {
        f(&mut self.parts().child.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.parts.is_none() {
            return;
        }
        let before = self.exited().map_or("running".to_owned(), |status| status.to_string());
        self.child(|child| {
            let _ = child.kill();
            let _ = child.wait();
        });
        if std::thread::panicking() {
            let records = crate::exit::records_in(self);
            let (stdout, stderr) = (self.parts().stdout.text(), self.log());
            say(&format!("--- {before}\n--- stdout\n{stdout}\n--- stderr\n{stderr}\n{records}"));
        }
    }
}
