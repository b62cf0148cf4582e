//! What a process prints, caught by a thread.

use std::io::Read;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

/// What a process has printed so far.
#[derive(Debug)]
pub(crate) struct Stream {
    bytes: Arc<Mutex<Vec<u8>>>,
    reader: JoinHandle<()>,
}

impl Stream {
    /// Reads on a thread until the end, or until as many lines have come as asked for; then the pipe is closed.
    pub(crate) fn catch(from: impl Read + Send + 'static, lines: Option<usize>) -> Stream {
        let bytes = Arc::new(Mutex::new(Vec::new()));
        let sink = Arc::clone(&bytes);
        let reader = std::thread::spawn(move || copy(from, &sink, lines.unwrap_or(usize::MAX)));
        Stream { bytes, reader }
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        lock(&self.bytes).clone()
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&lock(&self.bytes)).into_owned()
    }

    /// Has the other side closed it? A process that the host left behind may hold it open.
    pub(crate) fn ended(&self) -> bool {
        self.reader.is_finished()
    }
}

fn copy(mut from: impl Read, to: &Mutex<Vec<u8>>, lines: usize) {
    let mut buffer = [0; 64 * 1024];
    let mut seen = 0;
    while seen < lines {
        // An error is the end too: a terminal says EIO when its other side is gone.
        let Ok(length @ 1..) = from.read(&mut buffer) else { return };
        seen += buffer[..length].iter().filter(|byte| **byte == b'\n').count();
        lock(to).extend_from_slice(&buffer[..length]);
    }
}

fn lock(bytes: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    bytes.lock().unwrap_or_else(PoisonError::into_inner)
}
