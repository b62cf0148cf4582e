//! A little memory that is shared with a file: what is stored in it is in the file at once, however the process ends.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::{self, NonNull};
use std::sync::atomic::AtomicU64;

use rustix::fs::{FallocateFlags, IFlags, fallocate, ioctl_setflags};

/// How many words a page has.
pub const WORDS: usize = 1024;
/// Its size in bytes.
pub const SIZE: usize = WORDS * size_of::<AtomicU64>();

pub(super) type Words = [AtomicU64; WORDS];

/// The first [`SIZE`] bytes of a file, as words. They are mapped for as long as this lives.
pub struct Page(NonNull<Words>);

impl Page {
    /// Those of this file, which is empty and open for reading and writing, or of a memfd. The room for them is had first: to
    /// store where a full disk has none would end the process.
    ///
    /// # Errors
    ///
    /// No room; a file system that cannot give any beforehand, or cannot map.
    pub fn of(file: impl AsFd) -> io::Result<Page> {
        let file = file.as_fd();
        // Btrfs would take other room whenever the page is written back. What knows of no such thing refuses it.
        let _ = ioctl_setflags(file, IFlags::NOCOW);
        fallocate(file, FallocateFlags::empty(), 0, SIZE as u64)?;
        #[expect(unsafe_code, reason = "nothing else maps memory")]
        // SAFETY: a new mapping at a place that the kernel chooses touches no memory that is in use.
        let at = unsafe { libc::mmap(ptr::null_mut(), SIZE, ACCESS, libc::MAP_SHARED, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        NonNull::new(at.cast()).map(Page).ok_or_else(|| io::Error::other("it was mapped at address 0"))
    }
}

/// To be called in a handler of signals, when the file cannot take what is stored in the page at that place: from now on
/// it is in memory alone. Returns whether it could be done.
///
/// # Safety
///
/// A [`Page`] lives there.
#[expect(unsafe_code, reason = "a handler finds but a place")]
pub(super) unsafe fn give_up_file(at: *const Words) -> bool {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED;
    // SAFETY: what is mapped there is the page's alone, which has its place and size as before. Who reads in it finds
    // zeroes, which are words.
    unsafe { libc::mmap(at.cast_mut().cast(), SIZE, ACCESS, flags, -1, 0) != libc::MAP_FAILED }
}

const ACCESS: i32 = libc::PROT_READ | libc::PROT_WRITE;

impl Deref for Page {
    type Target = Words;

    fn deref(&self) -> &Words {
        #[expect(unsafe_code, reason = "the compiler knows nothing of the mapping")]
        // SAFETY: so many bytes are mapped there, at the begin of a page of memory, until `drop`. Any bytes are words, and
        // whoever else changes them, another process too, does so as this one must: word by word.
        unsafe {
            self.0.as_ref()
        }
    }
}

#[expect(unsafe_code, reason = "the compiler knows nothing of the mapping")]
// SAFETY: the mapping belongs to no thread, and its words are atomic.
unsafe impl Send for Page {}

#[expect(unsafe_code, reason = "the compiler knows nothing of the mapping")]
// SAFETY: as above.
unsafe impl Sync for Page {}

impl Drop for Page {
    fn drop(&mut self) {
        #[expect(unsafe_code, reason = "nothing else unmaps memory")]
        // SAFETY: it was mapped in `of` with this size, and whoever borrowed it is through.
        let _ = unsafe { libc::munmap(self.0.as_ptr().cast(), SIZE) };
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Page")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, OpenOptions};
    use std::os::unix::fs::FileExt;
    use std::sync::atomic::Ordering;

    fn word(file: &File, place: u64) -> u64 {
        let mut bytes = [0; 8];
        file.read_exact_at(&mut bytes, place * 8).unwrap();
        u64::from_le_bytes(bytes)
    }

    #[test]
    fn what_is_stored_is_in_the_file_and_in_a_memfd() {
        let directory = tempfile::tempdir().unwrap();
        let mut options = OpenOptions::new();
        options.read(true).write(true).create_new(true);
        let file = options.open(directory.path().join("page")).unwrap();
        let memory = rustix::fs::memfd_create("page", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
        for file in [file, memory.into()] {
            let page = Page::of(&file).unwrap();
            assert_eq!(file.metadata().unwrap().len(), SIZE as u64);
            page[WORDS - 1].store(7_u64.to_le(), Ordering::Relaxed);
            assert_eq!((word(&file, 0), word(&file, 1023)), (0, 7));
            drop(page);
            assert_eq!(word(&file, 1023), 7);
        }
    }

    #[test]
    fn where_there_is_no_room_there_is_no_page() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join("file"), "").unwrap();
        // Nothing can be had for one that cannot be written to.
        let file = File::open(directory.path().join("file")).unwrap();
        assert!(Page::of(&file).is_err());
        assert!(Page::of(File::open("/dev/null").unwrap()).is_err());
    }
}
