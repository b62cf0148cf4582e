//! Who else than its own `main` ends this process, by `exit`, has it end with a status that says so: a supervisor that
//! starts anew what has failed is not to take it for the end of its work.
//!
//! `_exit` cannot be caught.

use std::process;
use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

/// The status (`EX_SOFTWARE` of sysexits.h).
const UNASKED: i32 = 70;

/// The process that is at work; 0 for none. A child that it forks ends as it likes.
static AT_WORK: AtomicU32 = AtomicU32::new(0);

/// For as long as this lives, nobody is to end the process by `exit`.
#[derive(Debug)]
pub struct AtWork(());

/// From now on nobody is to end this process by `exit`. Call it before any thread starts that others' code runs on: what
/// those register to be called at the end comes first.
pub fn at_work() -> AtWork {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        #[expect(unsafe_code, reason = "the standard library does not have it")]
        // SAFETY: the function lives for as long as the process. If it cannot be registered, the status is as it was.
        let _ = unsafe { libc::atexit(has_exited) };
    });
    AT_WORK.store(process::id(), Ordering::Relaxed);
    AtWork(())
}

impl Drop for AtWork {
    fn drop(&mut self) {
        AT_WORK.store(0, Ordering::Relaxed);
    }
}

/// What `exit` calls, on the thread that has called it. It takes no lock: that thread, or one that is stuck, may have it.
extern "C" fn has_exited() {
    if AT_WORK.load(Ordering::Relaxed) != process::id() {
        return;
    }
    let name = rustix::thread::name().unwrap_or_default();
    let said = format!("notifyit: thread `{}` has called `exit`\n", name.to_string_lossy());
    let _ = rustix::io::write(rustix::stdio::stderr(), said.as_bytes());
    #[expect(unsafe_code, reason = "the standard library does not have it")]
    // SAFETY: it has no conditions. What was registered before this is not called: that belongs to the C library and ours.
    unsafe {
        libc::_exit(UNASKED)
    }
}
