//! A plugin that ends the host's process, again and again: the file is a dead letter after three times, and every other
//! file is handled.

mod counts;
mod pages;

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::ExitStatus;

use notifyit_tests::{Host, Running, until};
use rustix::process::Signal;
use serde_json::Value;

use crate::state::{Site, stopped};

/// Pauses that nobody waits for.
const SOON: &str = r#"first="10ms",max="10ms""#;

/// A place for hosts that die.
struct Scene(Site);

impl Scene {
    fn new() -> Scene {
        Scene(Site::new())
    }

    fn temp(&self, name: &str) -> PathBuf {
        self.0.0.path().join(name)
    }

    /// A host with `deadly`, that tries again at once.
    fn host(&self) -> Host {
        self.host_of("deadly").set(&format!("plugin.deadly.retry={{{SOON}}}"))
    }

    /// One with an instance of `deadly` under each of these names, for the files whose names begin so.
    fn hosts_of(&self, names: &[&str]) -> Host {
        let text = names.iter().map(|name| {
            format!(
                "[plugin.{name}]\nlibrary = \"deadly\"\ninclude = [\"{name}*\"]\nretry = {{{SOON}}}\n\
                 [plugin.{name}.config]\nout = {:?}\nhold = {:?}\n",
                self.temp("out"),
                self.temp("hold")
            )
        });
        let watch = format!("[[watch]]\npath = {:?}\n", self.0.root());
        let host = Host::new().plugin("deadly").config(&(watch + &text.collect::<String>()));
        host.arg("--state-dir").arg(self.temp("state"))
    }

    fn host_of(&self, plugin: &str) -> Host {
        let host = Host::new().plugin(plugin).watching([self.0.root()]);
        let host = match plugin {
            "deadly" => host
                .set(&format!("deadly.out={:?}", self.temp("out")))
                .set(&format!("deadly.hold={:?}", self.temp("hold"))),
            _ => host,
        };
        host.arg("--state-dir").arg(self.temp("state"))
    }

    /// The lines that the plugin has written: `began 1 a.txt`.
    fn lines(&self) -> Vec<String> {
        let text = fs::read_to_string(self.temp("out")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How often this file was begun.
    fn began(&self, file: &str) -> usize {
        self.lines().iter().filter(|line| line.starts_with("began") && line.ends_with(file)).count()
    }

    fn is_done(&self, file: &str) -> bool {
        self.lines().iter().any(|line| line.starts_with("done") && line.ends_with(file))
    }

    /// The dead letters.
    fn letters(&self) -> Vec<Value> {
        let told = self.0.told("dead", &["list", "--json"]);
        told.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect()
    }

    /// A host that has this file in hand, and does not let go of it.
    fn holding(&self, host: Host, file: &str) -> Running {
        fs::write(self.temp("hold"), "").expect("a file");
        let host = host.start();
        self.0.write(file, "x");
        host.logged(&["holding", file]);
        host
    }

    /// Waits until the worker of this plugin has nothing in hand.
    fn idle(&self, host: &Running, plugin: &str) {
        let page = self.temp("state/recorder").join(format!("{plugin}.0"));
        let is_idle = || fs::read(&page).is_ok_and(|page| page[40..48] == [0; 8]);
        host.wait_for("a worker to have nothing in hand", |_| is_idle().then_some(()));
    }

    fn pages(&self) -> Vec<PathBuf> {
        let pages = fs::read_dir(self.temp("state/recorder")).into_iter().flatten().flatten();
        pages.map(|page| page.path()).collect()
    }
}

/// Waits for the end of a host that dies. Returns how it did, and what it said.
fn died(host: Running) -> (ExitStatus, String) {
    let status = host.wait_for("its death", Running::exited);
    (status, host.wait().stderr().to_owned())
}

fn killed(host: Running) {
    host.signal(Signal::KILL);
    drop(host.wait());
}

/// Starts hosts as a supervisor does, until `is_over`, with the first of them given: what all of them have said, and how
/// the first has died.
fn supervised(
    first: Running,
    start: impl Fn() -> Running,
    is_over: impl Fn(&str) -> bool,
) -> (String, ExitStatus) {
    let (status, mut said) = died(first);
    for _ in 0..10 {
        let host = start();
        let over = until(|| {
            (host.exited().is_some() || is_over(&(said.clone() + &host.log())))
                .then(|| host.exited().is_none())
        });
        match over {
            Some(true) => {
                host.logged(&["ready"]);
                return (said + stopped(host).stderr(), status);
            }
            Some(false) => said += host.wait().stderr(),
            None => panic!("waited in vain; so far:\n{said}"),
        }
    }
    panic!("it dies again and again:\n{said}");
}

fn lines<'a>(said: &'a str, words: &[&str]) -> Vec<&'a str> {
    said.lines().filter(|line| words.iter().all(|word| line.contains(word))).collect()
}

/// One file among a thousand ends each host in this way.
fn among_a_thousand(way: &str, how: &str) -> (String, ExitStatus) {
    let scene = Scene::new();
    let first = scene.host().start();
    let poisoned = format!("poison.{way}.txt");
    for number in 0..1000 {
        if number == 300 {
            scene.0.write(&poisoned, "x");
        }
        scene.0.write(format!("{number}.txt"), "x");
    }
    let (said, status) = supervised(
        first,
        || scene.host().spawn(),
        |said| said.contains("gave up") && (0..1000).all(|number| scene.is_done(&format!(" {number}.txt"))),
    );
    for count in ["crash 1 of 3", "crash 2 of 3"] {
        assert_eq!(lines(&said, &["WARN", how, &poisoned, "`deadly`", count]).len(), 1, "{count}:\n{said}");
    }
    assert_eq!(lines(&said, &["crash"]).len(), 2, "nobody else is blamed:\n{said}");
    let given_up = ["ERROR", "gave up", &poisoned, "after 3 attempts", how, "in its hands, 3 times"];
    assert_eq!(lines(&said, &given_up).len(), 1, "{said}");
    assert_eq!(scene.began(&poisoned), 3);
    let letters = scene.letters();
    assert_eq!(letters.len(), 1, "{letters:?}");
    let letter = &letters[0];
    assert_eq!((&letter["crashes"], &letter["attempts"]), (&3.into(), &3.into()), "{letter}");
    assert_eq!((&letter["name"], &letter["why"]), (&poisoned.into(), &"exhausted".into()), "{letter}");
    let show = scene.0.told("dead", &["show", letter["id"].as_str().expect("an id")]);
    assert!(lines(&show, &["crashes", "3"]).len() == 1, "{show}");
    stopped(scene.host().start());
    assert_eq!(scene.letters().len(), 1, "it stays so");
    (said, status)
}

#[test]
fn a_file_that_ends_each_host_by_a_signal_is_a_dead_letter_after_three_and_all_else_is_handled() {
    let (_, status) = among_a_thousand("segv", "died of SIGSEGV");
    assert_eq!(status.signal(), Some(11), "it dies as if nobody had looked");
    let (_, status) = among_a_thousand("abort", "died of SIGABRT");
    assert_eq!(status.signal(), Some(6));
}

#[test]
fn so_is_one_that_overflows_the_stack_and_rust_still_says_so() {
    let (said, status) = among_a_thousand("overflow", "died of SIGSEGV");
    assert!(said.contains("has overflowed its stack"), "{said}");
    assert_eq!(status.signal(), Some(6));
}

#[test]
fn so_is_one_whose_plugin_leaves_by_exit() {
    let (said, status) = among_a_thousand("exit", "was ended by a call of `exit`");
    assert_eq!(status.code(), Some(70), "whatever it has left with, it is no success");
    assert_eq!(lines(&said, &["notifyit: thread `deadly/0` has called `exit`"]).len(), 3, "{said}");
}

#[test]
fn so_is_one_that_ends_each_host_in_a_way_that_nobody_can_tell() {
    for (way, signal) in [("quit", None), ("kill", Some(9)), ("thread", Some(11))] {
        let (_, status) = among_a_thousand(way, "died");
        assert_eq!(status.signal(), signal);
    }
}

#[test]
fn of_two_plugins_the_one_whose_thread_died_is_blamed_alone() {
    let scene = Scene::new();
    let start = || scene.hosts_of(&["one", "two"]);
    let host = scene.holding(start(), "one.wait.txt");
    scene.0.write("two.segv.ok.txt", "x");
    died(host);
    let host = start().start();
    host.logged(&["WARN", "died of SIGSEGV", "`two`", "two.segv.ok.txt", "crash 1 of 3"]);
    host.logged(&["holding", "one.wait.txt"]);
    host.wait_for("the other", |_| scene.is_done("two.segv.ok.txt").then_some(()));
    assert_eq!(host.count_logged(&["in hand"]), 1);
    assert!(scene.lines().iter().filter(|line| **line == "began 1 one.wait.txt").count() == 2, "no attempt");
    fs::remove_file(scene.temp("hold")).expect("a file");
    host.wait_for("the one", |_| scene.is_done("one.wait.txt").then_some(()));
    stopped(host);
    assert_eq!(scene.letters(), [] as [Value; 0]);
}

#[test]
fn if_nobody_knows_each_that_had_an_event_in_hand_is_blamed_and_no_one_else() {
    let scene = Scene::new();
    let start = || scene.hosts_of(&["one", "two", "three"]);
    let host = scene.holding(start(), "one.wait.txt");
    scene.0.write("three.txt", "x");
    host.wait_for("the third", |_| scene.is_done("three.txt").then_some(()));
    scene.idle(&host, "three");
    scene.0.write("two.kill.ok.txt", "x");
    died(host);
    let host = start().start();
    for (plugin, file) in [("one", "one.wait.txt"), ("two", "two.kill.ok.txt")] {
        host.logged(&["WARN", &format!("`{plugin}`"), file, "crash 1 of 3"]);
    }
    host.logged(&["holding", "one.wait.txt"]);
    host.wait_for("the other", |_| scene.is_done("two.kill.ok.txt").then_some(()));
    assert_eq!(host.count_logged(&["in hand"]), 2);
    assert!(scene.lines().contains(&"began 2 one.wait.txt".to_owned()), "it was an attempt");
}

#[test]
fn a_death_between_two_events_is_said_and_no_file_is_blamed() {
    let scene = Scene::new();
    let first = scene.hosts_of(&["one", "two"]);
    let host = scene.holding(first, "one.wait.txt");
    scene.0.write("two.flush.txt", "x");
    died(host);
    let host = scene.hosts_of(&["one", "two"]).spawn();
    host.logged(&["WARN", "died of SIGSEGV", "`two`", "no file is to blame"]);
    assert_eq!(host.count_logged(&["crash"]), 0);
    drop(host);
}

#[test]
fn a_forked_child_dies_on_its_own_account() {
    let scene = Scene::new();
    let start = || scene.hosts_of(&["one", "two"]);
    let host = scene.holding(start(), "one.wait.txt");
    scene.0.write("two.fork.txt", "x");
    host.wait_for("the parent", |_| scene.is_done("two.fork.txt").then_some(()));
    scene.idle(&host, "two");
    killed(host);
    let host = start().start();
    host.logged(&["WARN", "killed", "one.wait.txt", "crash 1 of 3"]);
    assert_eq!(host.count_logged(&["the host"]), 1, "{}", host.log());
    drop(host);
}
