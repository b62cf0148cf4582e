//! Which thread this process dies on: a thread may have that noted in a [`Page`] of its own.
//!
//! A signal that ends the process by its fault is noted before it is dealt with as if nobody had looked: Rust's own
//! handler still says that a stack has overflowed, and the process still dies of that signal. So is the end by `exit`. What
//! ends the process from outside (SIGKILL, no memory left) or without a word (`_exit`) is not.
//!
//! That the page itself cannot be written to (its file was cut, a snapshot was made of it and the disk is full) is nothing
//! to die of: the thread goes on without it.

use std::cell::Cell;
use std::ffi::{c_int, c_void};
use std::io;
use std::marker::PhantomData;
use std::mem::MaybeUninit;
use std::process;
use std::ptr;
use std::sync::atomic::Ordering;
use std::sync::{Arc, OnceLock};

use super::page::{Page, SIZE, Words, give_up_file};

/// What is noted when the process ends by `exit`; a signal is noted by its number.
pub const EXIT: u64 = 256;

/// The signals that a process dies of by its own fault.
const SIGNALS: [c_int; 7] =
    [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGABRT, libc::SIGSYS, libc::SIGTRAP];

/// What was to be done with each of them before.
static BEFORE: OnceLock<[libc::sigaction; SIGNALS.len()]> = OnceLock::new();
/// The process that looks. A child that it forks has the same memory, and dies on its own account.
static PROCESS: OnceLock<u32> = OnceLock::new();

thread_local! {
    /// Where it is noted if the process dies on this thread. Without a destructor: a handler may read it at any time.
    static PLACE: Cell<Option<Place>> = const { Cell::new(None) };
}

/// A word of a page that lives for as long as a thread has this.
#[derive(Clone, Copy)]
struct Place {
    page: *const Words,
    word: usize,
}

/// For as long as this lives, it is noted if the process dies on the thread that made it.
#[derive(Debug)]
pub struct Watched {
    /// Not one of the words may go while a handler can find it.
    _page: Arc<Page>,
    /// It belongs to its thread.
    _here: PhantomData<*const ()>,
}

/// From now on: if the process dies on this thread, this word of the page says of what. What it says already, stays.
pub fn watch(page: &Arc<Page>, word: usize) -> Watched {
    PLACE.set(Some(Place { page: &raw const ***page, word }));
    #[expect(unsafe_code, reason = "the standard library does not have it")]
    // SAFETY: the function lives for as long as the process. What was registered last is called first: before what a
    // plugin has to clean up, which may pull the ground from under other threads. Without it, that is not noted.
    let _ = unsafe { libc::atexit(has_exited) };
    Watched { _page: Arc::clone(page), _here: PhantomData }
}

impl Drop for Watched {
    fn drop(&mut self) {
        PLACE.set(None);
    }
}

/// The name of what was noted: `SIGSEGV`.
pub fn name_of(signal: u64) -> Option<&'static str> {
    let known = c_int::try_from(signal).ok()?;
    signal_hook::low_level::signal_name(known)
}

/// Begins to look, once in a process, before any thread is [`watch`]ed.
///
/// # Errors
///
/// A handler cannot be set.
pub fn look() -> io::Result<()> {
    if PROCESS.set(process::id()).is_err() {
        return Ok(());
    }
    let mut before = [MaybeUninit::<libc::sigaction>::zeroed(); SIGNALS.len()];
    for (signal, before) in SIGNALS.iter().zip(&mut before) {
        #[expect(unsafe_code, reason = "signal-hook takes none of these signals")]
        // SAFETY: it but writes what there is to the place that it is given.
        check(unsafe { libc::sigaction(*signal, ptr::null(), before.as_mut_ptr()) })?;
    }
    #[expect(unsafe_code, reason = "the compiler does not know what sigaction has written")]
    // SAFETY: each has been written to by now; and a `sigaction` that is all zeroes is one, too.
    let _ = BEFORE.set(before.map(|before| unsafe { before.assume_init() }));
    for (signal, before) in SIGNALS.iter().zip(BEFORE.get().into_iter().flatten()) {
        // What whoever started us wants to be ignored, is.
        if before.sa_sigaction != libc::SIG_IGN {
            handle(*signal)?;
        }
    }
    Ok(())
}

fn check(result: c_int) -> io::Result<()> {
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

fn handle(signal: c_int) -> io::Result<()> {
    let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) = has_died;
    #[expect(unsafe_code, reason = "signal-hook takes none of these signals")]
    // SAFETY: all zeroes is a `sigaction`; the handler has the signature that SA_SIGINFO asks for, and does nothing but
    // what is allowed in one.
    check(unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        action.sa_sigaction = handler as usize;
        // On the stack for signals: the thread's own may be at its end.
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigaction(signal, &raw const action, ptr::null_mut())
    })
}

/// Async-signal-safe: reads its thread's own variable and the process's number, stores a word, and goes on to what was
/// there before.
extern "C" fn has_died(signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    if signal == libc::SIGBUS && is_without_page(info) {
        return;
    }
    if !is_from_another_process(info) {
        note(u64::from(signal.unsigned_abs()));
    }
    let place = SIGNALS.iter().position(|known| *known == signal);
    let before = place.and_then(|place| BEFORE.get().map(|before| &before[place]));
    match before {
        Some(before) if before.sa_sigaction != libc::SIG_DFL => go_on(before, signal, info, context),
        _ => die_of(signal),
    }
}

/// Was it the page of this thread that could not be written to, and is there another one now?
fn is_without_page(info: *const libc::siginfo_t) -> bool {
    let Some(Place { page, .. }) = PLACE.get() else { return false };
    #[expect(unsafe_code, reason = "what a handler is given is a pointer")]
    // SAFETY: with SA_SIGINFO the kernel gives a handler a whole `siginfo_t`, and for this signal, unless it was sent, the
    // place of the fault. The page is this thread's, and lives.
    unsafe {
        let at = if (*info).si_code > 0 { (*info).si_addr().addr() } else { return false };
        (page.addr()..page.addr() + SIZE).contains(&at) && give_up_file(page)
    }
}

/// Was it sent, and not by this process? Then whichever thread took it is not at fault.
fn is_from_another_process(info: *const libc::siginfo_t) -> bool {
    #[expect(unsafe_code, reason = "what a handler is given is a pointer")]
    // SAFETY: with SA_SIGINFO the kernel gives a handler a whole `siginfo_t`, and one that was sent says by whom.
    unsafe {
        (*info).si_code <= 0 && (*info).si_pid().unsigned_abs() != process::id()
    }
}

/// Calls the handler that was there before.
fn go_on(before: &libc::sigaction, signal: c_int, info: *mut libc::siginfo_t, context: *mut c_void) {
    #[expect(unsafe_code, reason = "the kernel keeps handlers as numbers")]
    // SAFETY: the kernel said that this handler was set, and the flag which of the two kinds it is of.
    unsafe {
        if before.sa_flags & libc::SA_SIGINFO != 0 {
            let handler: extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void) =
                std::mem::transmute(before.sa_sigaction);
            handler(signal, info, context);
        } else {
            let handler: extern "C" fn(c_int) = std::mem::transmute(before.sa_sigaction);
            handler(signal);
        }
    }
}

/// As if there were no handler: the process dies when this one is through.
fn die_of(signal: c_int) {
    #[expect(unsafe_code, reason = "the standard library does not have it")]
    // SAFETY: both may be called in a handler; all zeroes is a `sigaction`, and the one that the kernel has by default.
    unsafe {
        let action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, &raw const action, ptr::null_mut());
        libc::raise(signal);
    }
}

/// What `exit` calls, on the thread that has called it.
extern "C" fn has_exited() {
    note(EXIT);
}

fn note(what: u64) {
    let Some(Place { page, word }) = PLACE.get().filter(|_| PROCESS.get() == Some(&process::id())) else {
        return;
    };
    #[expect(unsafe_code, reason = "a handler finds a pointer, for nothing can be lent to it")]
    // SAFETY: it is of this thread, whose `Watched` keeps the page mapped and takes the pointer back before it goes.
    let page = unsafe { &*page };
    let _ = page[word].compare_exchange(0, what, Ordering::Relaxed, Ordering::Relaxed);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_noted_has_a_name() {
        assert_eq!([11, 6, EXIT, 0].map(name_of), [Some("SIGSEGV"), Some("SIGABRT"), None, None]);
    }
}
