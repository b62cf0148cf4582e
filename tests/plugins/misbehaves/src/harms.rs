//! The harms by their names, and those that end a call or the process.

use std::ptr;
use std::sync::Mutex;
use std::time::Duration;

use notifyit_plugin_api::Result;

use crate::{descriptors, process, words};

/// What is done. If it comes back with `Ok`, the file counts as handled.
pub(crate) type Harm = fn() -> Result<()>;

/// The harm of this name.
pub(crate) fn named(name: &str) -> Option<Harm> {
    HARMS.iter().find(|(known, _)| *known == name).map(|(_, harm)| *harm)
}

const HARMS: &[(&str, Harm)] = &[
    ("panics", || panic!("misbehaves")),
    ("panics with a payload whose drop panics", || std::panic::panic_any(Bomb)),
    ("writes through a null pointer", write_to_null),
    ("reads a mapping behind the end of its file", read_behind_the_end),
    ("runs an illegal instruction", illegal),
    ("recurses without end", || done(overflow(1) != 0)),
    ("frees memory twice", free_twice),
    ("aborts", || std::process::abort()),
    ("asks for more memory than there is", ask_for_too_much),
    ("takes all memory", take_all),
    ("exits with 0", || std::process::exit(0)),
    ("exits with 3", || std::process::exit(3)),
    ("calls `_exit`", leave_at_once),
    ("kills itself", || done(process::signal_itself(libc::SIGKILL))),
    ("stops itself", || done(process::signal_itself(libc::SIGSTOP))),
    ("ends its thread", end_the_thread),
    ("loops for ever", || looping()),
    ("sleeps for ever", || sleeping()),
    ("locks a mutex twice", lock_twice),
    ("opens files until there is no descriptor left", descriptors::open_all),
    ("closes every descriptor", || descriptors::close(0..1024)),
    ("closes stdin, stdout and stderr", || descriptors::close(0..3)),
    ("makes stdin, stdout and stderr non-blocking", descriptors::no_blocking),
    ("writes garbage to every pipe and socket", descriptors::write_garbage),
    ("drips into every pipe and socket for ever", descriptors::drip),
    ("reads every pipe and socket empty", descriptors::read_away),
    ("locks a file and keeps it", descriptors::lock),
    ("lowers the limit of descriptors to 8", process::limit_descriptors),
    ("blocks all signals", process::block_signals),
    ("ignores SIGTERM, SIGINT and SIGCHLD", process::ignore_signals),
    ("sets an alarm for a second later", process::alarm),
    ("changes the working directory", process::change_directory),
    ("sets the umask to 0", process::change_umask),
    ("sets PATH and TZ", process::change_environment),
    ("lowers its priority", process::lower_priority),
    ("becomes another user", process::become_nobody),
    ("leaves a thread that loops", || spawn(|| while std::hint::black_box(true) {})),
    ("leaves a thread that panics", || spawn(|| panic!("misbehaves in a thread"))),
    ("leaves a thread that crashes a moment later", || {
        spawn(|| {
            std::thread::sleep(Duration::from_millis(100));
            let _ = write_to_null();
        })
    }),
    ("leaves a child that holds its descriptors", || process::fork(1)),
    ("leaves a child that holds its descriptors, and kills itself", || {
        process::fork_for_long();
        done(process::signal_itself(libc::SIGKILL))
    }),
    ("forks, and both go on", process::fork_and_go_on),
    ("leaves 64 children", || process::fork(64)),
    ("leaves a daemon", process::daemon),
    ("kills its parent process", process::kill_the_parent),
    ("writes garbage to stdout", words::to_stdout),
    ("writes a megabyte of garbage to stderr", words::to_stderr),
    ("logs 10,000 lines", words::many_lines),
    ("logs a line of 10 MB", words::long_line),
    ("fails with a message of 10 MB", words::long_error),
    ("asks to be tried again at the end of time", words::never_again),
];

/// For what ends in no error.
pub(crate) fn done<T>(_: T) -> Result<()> {
    Ok(())
}

/// Its drop throws, too.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("thrown by the payload's drop");
    }
}

fn write_to_null() -> Result<()> {
    // SAFETY: none. (For null itself a debug build has a check of its own.)
    unsafe { ptr::without_provenance_mut::<u8>(8).write_volatile(1) }
    Ok(())
}

fn read_behind_the_end() -> Result<()> {
    let file = std::fs::File::open("/proc/self/exe")?;
    let (length, at) = (1 << 30, (1 << 30) - 4096);
    // SAFETY: a new mapping touches no other. Reading behind the file's end is the harm.
    unsafe {
        let fd = std::os::fd::AsRawFd::as_raw_fd(&file);
        let start = libc::mmap(ptr::null_mut(), length, libc::PROT_READ, libc::MAP_PRIVATE, fd, 0);
        start.cast::<u8>().add(at).read_volatile();
    }
    Ok(())
}

fn illegal() -> Result<()> {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: none, but it is what it is.
    unsafe {
        std::arch::asm!("ud2")
    }
    #[cfg(not(target_arch = "x86_64"))]
    process::signal_itself(libc::SIGILL);
    Ok(())
}

#[expect(unconditional_recursion, reason = "it is the harm")]
fn overflow(depth: u64) -> u64 {
    let page = std::hint::black_box([depth; 512]);
    overflow(depth + 1) + page[3]
}

fn free_twice() -> Result<()> {
    // SAFETY: none at the second one. (The layout is that of both.)
    unsafe {
        let memory = libc::malloc(64);
        libc::free(memory);
        libc::free(std::hint::black_box(memory));
    }
    Ok(())
}

fn ask_for_too_much() -> Result<()> {
    done(std::hint::black_box(vec![1_u8; usize::MAX >> 2]))
}

/// Up to 2 GiB, for the machine has other work.
fn take_all() -> Result<()> {
    let mut all = Vec::new();
    for _ in 0..128 {
        all.push(std::hint::black_box(vec![1_u8; 16 << 20]));
    }
    std::process::abort()
}

fn leave_at_once() -> Result<()> {
    // SAFETY: it has no conditions; what else the process had to do is not done.
    unsafe { libc::_exit(0) }
}

fn end_the_thread() -> Result<()> {
    // SAFETY: none: what is on the stack belongs to others.
    unsafe { libc::pthread_exit(ptr::null_mut()) }
}

fn looping() -> ! {
    while std::hint::black_box(true) {}
    unreachable!("true is true")
}

fn sleeping() -> ! {
    loop {
        std::thread::sleep(Duration::from_secs(1000));
    }
}

fn lock_twice() -> Result<()> {
    static MUTEX: Mutex<()> = Mutex::new(());
    let first = MUTEX.lock();
    let second = MUTEX.lock();
    done((first.is_ok(), second.is_ok()))
}

fn spawn(run: impl FnOnce() + Send + 'static) -> Result<()> {
    std::thread::Builder::new().spawn(run)?;
    Ok(())
}
