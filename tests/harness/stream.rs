//! What a process prints, caught by a thread.

use std::fs::File;
use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What a process has printed so far.
#[derive(Debug)]
pub(crate) struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    /// Where more of it may lie; none where it is the thread's alone.
    from: Option<Arc<File>>,
    reader: JoinHandle<()>,
}

impl Stream {
    /// Reads on a thread until the end, or until as many lines have come as asked for; then the pipe is closed.
    pub(crate) fn catch(from: File, lines: Option<usize>) -> Stream {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        if let Some(lines) = lines {
            let reader = std::thread::spawn(move || copy_lines(from, &sink, lines));
            return Stream { bytes, from: None, reader };
        }
        let from = Arc::new(from);
        let shared = Arc::clone(&from);
        let reader = std::thread::spawn(move || follow(&shared, &sink));
        Stream { bytes, from: Some(from), reader }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.now().clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.now()).into_owned()
    }

    /// Has the other side closed it? A process that the host left behind may hold it open.
    pub(crate) fn ended(&self) -> bool {
        self.reader.is_finished()
    }

    /// With all that was printed before: on a busy machine the thread may not have come to it.
    fn now(&self) -> MutexGuard<'_, Vec<u8>> {
        let mut bytes = lock(&self.bytes);
        if let Some(from) = &self.from {
            take(from, &mut bytes);
        }
        bytes
    }
}

fn follow(from: &File, to: &Mutex<Vec<u8>>) {
    while is_readable(from, None) && take(from, &mut lock(to)) {}
}

/// Reads what is there. Returns whether more may come.
fn take(from: &File, to: &mut Vec<u8>) -> bool {
    let mut buffer = [0; 64 * 1024];
    while is_readable(from, Some(Timespec::default())) {
        // An error is the end too: a terminal says EIO when its other side is gone.
        let Ok(length @ 1..) = (&mut &*from).read(&mut buffer) else { return false };
        to.extend_from_slice(&buffer[..length]);
    }
    true
}

/// Waits until there is something, or the end, or for so long.
fn is_readable(from: &File, within: Option<Timespec>) -> bool {
    loop {
        match poll(&mut [PollFd::new(from, PollFlags::IN)], within.as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            found => return found.expect("a descriptor can be waited for") > 0,
        }
    }
}

fn copy_lines(mut from: File, to: &Mutex<Vec<u8>>, lines: usize) {
    let mut buffer = [0; 64 * 1024];
    let mut seen = 0;
    while seen < lines {
        let Ok(length @ 1..) = from.read(&mut buffer) else { return };
        seen += buffer[..length].iter().filter(|byte| **byte == b'\n').count();
        lock(to).extend_from_slice(&buffer[..length]);
    }
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}
