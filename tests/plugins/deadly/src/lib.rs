//! Ends the process of its host. A file is `NAME.WORD.WORD.txt`: each attempt takes the next word, and the last one again
//! and again.
//!
//! | word | what it does |
//! |---|---|
//! | `ok`, or none | all is well |
//! | `fail` | an error |
//! | `wait` | says so, and comes back when the file `hold` is gone |
//! | `late` | as `wait`, and then as `segv` |
//! | `bad` | as `segv` if the file begins with `bad`, else as `ok` |
//! | `segv`, `abort`, `overflow`, `exit`, `quit` (`_exit`), `kill` | the process ends so |
//! | `thread` | it ends by SIGSEGV on another thread, which is waited for |
//! | `end` | as `segv`, but not before the process ends by `exit` |
//! | `fork` | all is well, but for two children that end by `exit` and by SIGABRT |
//! | `flush` | all is well, and the flush behind it is as `segv` |
#![expect(unsafe_code, reason = "what harms a process is unsafe")]

use std::fs::{File, OpenOptions, read};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use notifyit_plugin_api::{Event, Host, Plugin, Result, bail, config, export_plugin, log};

#[config]
struct Config {
    /// Each attempt is a line here, `began ATTEMPT FILE`, and each that came to a good end one more: `done …`.
    out: PathBuf,
    hold: Option<PathBuf>,
}

struct Deadly {
    config: Config,
    out: File,
    dies_in_flush: bool,
}

impl Plugin for Deadly {
    type Config = Config;

    fn new(config: Config, _: Host) -> Result<Self> {
        let out = OpenOptions::new().create(true).append(true).open(&config.out)?;
        Ok(Deadly { config, out, dies_in_flush: false })
    }

    fn on_event(&mut self, event: &Event<'_>) -> Result<()> {
        self.write("began", event)?;
        let name = event.name().to_string_lossy().into_owned();
        let words: Vec<&str> = name.split('.').skip(1).filter(|word| *word != "txt").collect();
        let turn = usize::try_from(event.attempt())?.saturating_sub(1);
        match words.get(turn).or(words.last()).copied().unwrap_or("ok") {
            "fail" => bail!("told to fail"),
            "wait" => self.wait(&name),
            "late" => {
                self.wait(&name);
                crash();
            }
            "bad" if !read(event.path())?.starts_with(b"bad") => {}
            "bad" | "segv" => crash(),
            "abort" => std::process::abort(),
            "overflow" => drop(overflow(1)),
            "exit" => std::process::exit(7),
            // SAFETY: it does not come back.
            "quit" => unsafe { libc::_exit(8) },
            "kill" => kill(),
            "thread" => drop(thread::spawn(crash).join()),
            "end" => crash_at_the_end(&name),
            "fork" => fork(),
            "flush" => self.dies_in_flush = true,
            _ => {}
        }
        self.write("done", event)
    }

    fn flush(&mut self) -> Result<()> {
        if self.dies_in_flush {
            crash();
        }
        Ok(())
    }
}

impl Deadly {
    fn write(&self, what: &str, event: &Event<'_>) -> Result<()> {
        let line = format!("{what} {} {}\n", event.attempt(), event.relative().display());
        Ok((&self.out).write_all(line.as_bytes())?)
    }

    fn wait(&self, name: &str) {
        log::info!("holding {name}");
        while self.config.hold.as_deref().is_some_and(Path::exists) {
            thread::sleep(Duration::from_millis(2));
        }
    }
}

fn crash() {
    // SAFETY: none. (For null itself a debug build has a check of its own.)
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) }
}

#[expect(unconditional_recursion, reason = "it is the sin")]
fn overflow(deep: u64) -> u64 {
    let much = std::hint::black_box([deep; 512]);
    overflow(much[7] + 1) + much[9]
}

fn crash_at_the_end(name: &str) {
    static IS_OVER: AtomicBool = AtomicBool::new(false);
    extern "C" fn is_over() {
        IS_OVER.store(true, Ordering::Relaxed);
        thread::sleep(Duration::from_secs(10));
    }
    // SAFETY: a plugin's code is never unloaded.
    unsafe { libc::atexit(is_over) };
    log::info!("holding {name}");
    while !IS_OVER.load(Ordering::Relaxed) {
        thread::sleep(Duration::from_millis(2));
    }
    crash();
}

fn fork() {
    for end in [exit, abort] {
        // SAFETY: the new process does nothing but end, and the old one waits for it.
        unsafe {
            match libc::fork() {
                0 => end(),
                child => drop(libc::waitpid(child, std::ptr::null_mut(), 0)),
            }
        }
    }
}

fn exit() {
    // SAFETY: it does not come back.
    unsafe { libc::exit(0) }
}

fn abort() {
    std::process::abort()
}

fn kill() {
    // SAFETY: it does not come back.
    unsafe { libc::kill(libc::getpid(), libc::SIGKILL) };
    loop {
        thread::sleep(Duration::from_secs(1));
    }
}

export_plugin!(Deadly);
