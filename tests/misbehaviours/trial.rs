//! One row, tried.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant};

use notifyit_tests::{DEADLINE, Host, Running, say, until};
use rustix::process::Signal;

use super::Way;
use super::rows::{Cells, ENDS, HELD, Row, UNSEEN, WAITING};

/// So long one is waited for that is to ignore the signal.
const DEAF: Duration = Duration::from_secs(2);

/// The beginnings of lines beneath `/proc`.
const TRAITS: [&str; 5] = ["Umask:", "Uid:", "SigIgn:", "Max open files", "flags:"];

/// What is written when the harm is done.
const BEHIND: [&str; 2] = ["behind-1", "behind-2"];

/// One row, tried in one way.
pub(super) struct Trial<'a> {
    row: &'a Row,
    expected: Cells,
    way: Way,
    host: Running,
}

impl<'a> Trial<'a> {
    pub(super) fn new(row: &'a Row, way: Way) -> Trial<'a> {
        let host = Host::new().plugin("print").plugin("misbehaves").args(["--grace", "300ms"]);
        let host = host.set(&format!("misbehaves.how='{}'", row.how));
        let host = host.set(&format!("misbehaves.at='{}'", row.place()));
        let host = host.set(&format!("misbehaves.always={}", row.is_done_each_time()));
        let host = host.set(r#"plugin.misbehaves.retry={first="10ms",attempts=3}"#);
        let host = match way {
            Way::Inline => host.set("plugin.misbehaves.timeout='300ms'"),
            Way::Isolated => {
                let timeout = if row.is_waited_for() { "2s" } else { "1m" };
                let host = host.set(&format!("plugin.misbehaves.timeout='{timeout}'"));
                host.set("plugin.misbehaves.isolation='process'")
            }
        };
        // What another process of the same user may do to the host is a sandbox's matter.
        let is_for_sandbox = way == Way::Isolated && row.how == "kills its parent process";
        let host = if is_for_sandbox { host.set("plugin.misbehaves.sandbox=true") } else { host };
        Trial { row, expected: row.expected(way), way, host: host.spawn() }
    }

    /// The three cells. Each wait is for what is expected: if it does not come, what is there instead is told.
    pub(super) fn run(self) -> [String; 3] {
        self.wait(|| self.is_started());
        self.write("good");
        self.wait(|| self.is_as_before());
        let before = self.traits();
        self.write("bad");
        self.wait(|| self.is_harmed());
        BEHIND.iter().for_each(|name| self.write(name));
        self.wait(|| self.others() == self.expected[1]);
        let is_late = self.row.is_holding() && !self.is_open();
        until(|| ([self.others(), self.own()] == self.expected[1..]).then_some(()));
        let is_silenced = self.is_silenced();
        let is_changed = self.traits() != before;
        let host = self.stop();
        let host = if is_changed { host.replacen("lives", "lives, changed", 1) } else { host };
        // The last words of a host that has ended may still be on their way.
        let has_begun = until(|| self.has_begun().then_some(()));
        assert!(has_begun.is_some(), "{}: no harm was done", self.row.name());
        let is_right = |process: &u32| (*process == self.process()) == (self.way == Way::Inline);
        let made = self.processes();
        assert!(made.iter().all(is_right), "made in {made:?}, the host is {}", self.process());
        let others = if is_late { "late".to_owned() } else { self.others() };
        let cells = [host, others, if is_silenced { UNSEEN.to_owned() } else { self.own() }];
        if cells != self.expected {
            say(&format!("--- {}\n{}", self.row.name(), self.log()));
        }
        cells
    }

    /// Waits for something that a host which has ended does not do.
    fn wait(&self, is_so: impl Fn() -> bool) {
        until(|| (self.has_ended() || is_so()).then_some(()));
    }

    fn is_started(&self) -> bool {
        self.log().contains("ready: ") || self.expected[1] == "none" && self.has_begun()
    }

    /// Has every plugin that is there handled the good file?
    fn is_as_before(&self) -> bool {
        let is_printed = self.host.printed("good") > 0 || self.expected[1] == "none";
        is_printed && (self.attempt("good").is_some() || self.row.place() == "new")
    }

    /// Has the bad file done what it does? Where that is to hold up its plugin: is it at it?
    fn is_harmed(&self) -> bool {
        match self.expected {
            _ if self.row.is_holding() => self.has_begun(),
            [host, ..] if host.starts_with(ENDS) => false,
            _ if self.row.is_for_later() => self.processes().pop().is_some_and(is_gone),
            ["is stopped", ..] => state(self.process()) == Some('T'),
            [.., own] => self.own().split(',').next() == own.split(',').next(),
        }
    }

    fn has_begun(&self) -> bool {
        self.log().contains(&format!("misbehaves: begins in {}", self.row.place()))
    }

    /// Is the bad file in hand?
    fn is_open(&self) -> bool {
        self.attempt("bad").is_none() && !self.log().contains("gave up on")
    }

    fn write(&self, name: &str) {
        if !self.has_ended() {
            self.host.write(name, "x");
        }
    }

    fn has_ended(&self) -> bool {
        self.host.exited().is_some()
    }

    /// Can it say nothing any more, alive as it is?
    fn is_silenced(&self) -> bool {
        self.host.is_silenced() && !self.has_ended()
    }

    fn log(&self) -> String {
        self.host.log()
    }

    /// The host's.
    fn process(&self) -> u32 {
        self.host.pid().as_raw_nonzero().get().unsigned_abs()
    }

    /// What the host has but once, as far as the kernel tells it: working directory, umask, user, what signals it
    /// ignores, limits, priority, stdin, stdout and stderr, and whether it holds many more descriptors than it needs.
    fn traits(&self) -> Vec<String> {
        let of = |name: &str| format!("/proc/{}/{name}", self.process());
        let read = |name: &str| fs::read_to_string(of(name)).unwrap_or_default();
        let lines =
            [read("status"), read("limits"), read("fdinfo/0"), read("fdinfo/1"), read("fdinfo/2")].concat();
        let is_one = |line: &&str| TRAITS.iter().any(|begin| line.starts_with(begin));
        let mut traits: Vec<String> = lines.lines().filter(is_one).map(str::to_owned).collect();
        traits.push(format!("{:?}", fs::read_link(of("cwd")).ok()));
        traits.extend(read("stat").split(' ').nth(18).map(str::to_owned));
        traits.push((fs::read_dir(of("fd")).map_or(0, Iterator::count) > 500).to_string());
        traits
    }

    /// The processes in which instances were made, in their order.
    fn processes(&self) -> Vec<u32> {
        let log = self.log();
        let made = log.lines().filter_map(|line| line.split_once("misbehaves: new in process "));
        made.filter_map(|(_, number)| number.parse().ok()).collect()
    }

    /// The last attempt in which the plugin says to have handled this file.
    fn attempt(&self, name: &str) -> Option<String> {
        let log = self.log();
        let words = format!("misbehaves: handled {name} in attempt ");
        log.lines().rev().find_map(|line| line.split_once(&words)).map(|(_, attempt)| attempt.to_owned())
    }

    /// What `print` has got.
    fn others(&self) -> String {
        let has = |name: &&str| self.host.printed(name) > 0;
        let cell = match () {
            () if ["good", "bad"].iter().chain(&BEHIND).all(has) => "all",
            () if has(&"good") => "none after it",
            () => "none",
        };
        cell.to_owned()
    }

    fn own(&self) -> String {
        let log = self.log();
        let says = |words: &str| log.lines().any(|line| line.contains(words));
        let bad = match self.attempt("bad") {
            None if self.is_silenced() => return UNSEEN.to_owned(),
            Some(attempt) => format!("done in attempt {attempt}"),
            None if says("gave up on") => "given up".to_owned(),
            None if says("it cannot be ended") => HELD[2].to_owned(),
            None if says("next try in") => WAITING.to_owned(),
            None if self.attempt("good").is_some() => return "none after it".to_owned(),
            None => return "none".to_owned(),
        };
        let are_handled = BEHIND.iter().all(|name| self.attempt(name).is_some());
        if are_handled || bad == HELD[2] { bad } else { format!("{bad}, none after it") }
    }

    /// Tells the host to stop; the first cell.
    fn stop(&self) -> String {
        if let Some(status) = self.host.exited() {
            return if self.expected[0] == ENDS {
                ENDS.to_owned()
            } else {
                format!("{ENDS} {}", how(status))
            };
        }
        if state(self.process()) == Some('T') {
            return "is stopped".to_owned();
        }
        self.host.signal(Signal::TERM);
        let patience = if self.expected[0].ends_with("does not stop") { DEAF } else { DEADLINE };
        let end = Instant::now() + patience;
        let status = until(|| self.host.exited().map(Some).or((Instant::now() > end).then_some(None)));
        match status.flatten() {
            None => "lives, and does not stop".to_owned(),
            Some(status) if status.success() => "lives".to_owned(),
            Some(status) => format!("lives, ends {} when it stops", how(status)),
        }
    }
}

fn how(status: ExitStatus) -> String {
    let Some(signal) = status.signal() else {
        return format!("with {}", status.code().unwrap_or_default());
    };
    let named = SIGNALS.iter().find(|(known, _)| known.as_raw() == signal);
    named.map_or_else(|| format!("by signal {signal}"), |(_, name)| format!("by {name}"))
}

const SIGNALS: [(Signal, &str); 6] = [
    (Signal::SEGV, "SIGSEGV"),
    (Signal::BUS, "SIGBUS"),
    (Signal::ILL, "SIGILL"),
    (Signal::ABORT, "SIGABRT"),
    (Signal::KILL, "SIGKILL"),
    (Signal::ALARM, "SIGALRM"),
];

/// `R`, `S`, `T`, `Z`, …; none if the process is no more.
fn state(process: u32) -> Option<char> {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
    stat.rsplit_once(") ")?.1.chars().next()
}

fn is_gone(process: u32) -> bool {
    state(process).is_none_or(|state| state == 'Z')
}
