//! What the system is told of mapped files, and what it tells of them.
//!
//! In: bytes, mapped or not. Out: nothing; it is advice, and where it is not taken all is read as well. This is the only place that calls the system
//! for it: `memmap2` advises who holds a whole map, and a part here knows its bytes only.

use std::ffi::c_int;

/// A page, as nearly all systems have it; where pages are larger the system refuses advice for parts of them.
const PAGE: usize = 4096;

/// They are read a page here and a page there, each seldom: the system is not to read what lies around a page too, nor to keep these pages rather
/// than others.
pub fn read_here_and_there(bytes: &[u8]) {
    advise(bytes, libc::MADV_RANDOM);
}

/// They are about to be read, all of them.
pub fn will_be_read(bytes: &[u8]) {
    advise(bytes, libc::MADV_WILLNEED);
}

fn advise(bytes: &[u8], advice: c_int) {
    let address = bytes.as_ptr() as usize;
    let (start, end) = (address.next_multiple_of(PAGE), (address + bytes.len()) / PAGE * PAGE);
    if start < end {
        // SAFETY: these are pages of the bytes, and neither advice changes what they hold.
        let _ = unsafe { libc::madvise(start as *mut _, end - start, advice) };
    }
}

/// How many pages this thread has waited for so far: they were in a mapped file and not in memory. Zero where the system does not count them by
/// thread.
pub fn pages_waited_for() -> u64 {
    #[cfg(target_os = "linux")]
    {
        // SAFETY: plain numbers, for all of which zero is a value; the call fills them in.
        let usage = unsafe {
            let mut usage: libc::rusage = std::mem::zeroed();
            libc::getrusage(libc::RUSAGE_THREAD, &mut usage);
            usage
        };
        usage.ru_majflt.unsigned_abs()
    }
    #[cfg(not(target_os = "linux"))]
    0
}
