//! Does harm while it is loaded. Which harm stands in a static that a test overwrites in a copy of the file: so one
//! build makes them all, and each copy has a content of its own.
#![expect(unsafe_code, reason = "what harms a process is unsafe")]

use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use notifyit_plugin_api::__private as api;
use notifyit_plugin_api::{Event, Host, Plugin, Result};

/// `SIN:` and the sin's name, padded with dots. Atomic, so that the compiler does not know what is in it.
static SIN: [AtomicU8; 16] = {
    const NAME: &[u8; 16] = b"SIN:none........";
    let mut sin = [const { AtomicU8::new(0) }; 16];
    let mut i = 0;
    while i < 16 {
        sin[i] = AtomicU8::new(NAME[i]);
        i += 1;
    }
    sin
};

fn sins(name: &str) -> bool {
    let bytes: Vec<u8> = SIN[4..].iter().map(|byte| byte.load(Ordering::Relaxed)).collect();
    bytes.split(|byte| *byte == b'.').next() == Some(name.as_bytes())
}

#[used]
#[unsafe(link_section = ".init_array")]
static AT_LOAD: extern "C" fn() = at_load;

/// What the dynamic linker runs.
extern "C" fn at_load() {
    if sins("crashes") {
        crash();
    }
    if sins("hangs") {
        wait();
    }
    if sins("exits") {
        say("I have had enough\u{1b}[31m\n");
        std::process::exit(3);
    }
    if sins("prints") {
        println();
    }
    if sins("babbles") {
        (0..100_000).for_each(|_| say("bla bla bla\n"));
    }
    if sins("meddles") {
        for file in 3..10 {
            // SAFETY: the buffer is as long as is said.
            let _ = unsafe { libc::write(file, c"nonsense".as_ptr().cast(), 8) };
        }
    }
    // SAFETY: nothing but what is safe after a fork runs in the new process: it waits.
    if sins("forks") && unsafe { libc::fork() } == 0 {
        wait();
    }
    if sins("forks") {
        // As a daemon does: the child goes on alone.
        std::process::exit(0);
    }
}

fn crash() {
    // SAFETY: none. (For null itself a debug build has a check of its own.)
    unsafe { std::ptr::without_provenance_mut::<u8>(8).write_volatile(1) }
}

fn wait() {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

#[expect(clippy::print_stdout, reason = "it is the sin")]
fn println() {
    std::println!("stdout is mine");
}

fn say(text: &str) {
    use std::io::Write;
    let _ = std::io::stderr().write_all(text.as_bytes());
}

struct Hostile;

impl Plugin for Hostile {
    type Config = ();

    fn new((): (), _: Host) -> Result<Self> {
        Ok(Hostile)
    }

    fn on_event(&mut self, _: &Event<'_>) -> Result<()> {
        Ok(())
    }
}

/// What `export_plugin!` writes, but for the sins.
extern "C" fn info() -> api::RString {
    if sins("info") {
        std::process::abort();
    }
    let package =
        api::Package { name: "notifyit-hostile", version: "0.1.0-hostile", description: "", panic: "unwind" };
    api::guard::info::<Hostile>(package)
}

extern "C" fn create(host: api::HostApi_Ref, context: u64, config: api::Text<'_>) -> api::CreateResult {
    api::guard::create::<Hostile>(host, context, config)
}

fn module() -> api::PluginModule_Ref {
    if sins("root") {
        crash();
    }
    api::guard::module(info, create)
}

extern "C" fn load() -> api::RootModuleResult {
    api::guard::load(module)
}

/// The symbol that hosts look for.
#[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
pub static NOTIFYIT_PLUGIN: api::LibHeader = api::export(load);
