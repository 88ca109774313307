//! What the system is told of mapped files and of threads, and what it tells of them.
//!
//! In: bytes, mapped or not. Out: nothing; it is advice, and where it is not taken all is read as well. This is the only place that calls the system
//! for it: `memmap2` advises who holds a whole map, and a part here knows its bytes only.

use std::ffi::c_int;
use std::panic::resume_unwind;
use std::thread;

/// How far below others a thread of the background stands: it has a tenth of a core that another thread wants too, and all that nobody wants.
const NICENESS: c_int = 10;

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

/// Does work that nobody waits for, on a thread that leaves the cores to others. It holds no lock that others want.
pub fn in_the_background<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    thread::scope(|threads| {
        let done = threads.spawn(|| {
            // SAFETY: of this thread alone, which ends with the work: it could not take its niceness back.
            #[cfg(target_os = "linux")]
            let _ = unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, NICENESS) };
            work()
        });
        done.join().unwrap_or_else(|panic| resume_unwind(panic))
    })
}

#[cfg(test)]
mod tests {
    use super::{in_the_background, pages_waited_for};

    #[test]
    fn work_in_the_background_is_nice_and_this_thread_is_not() {
        // SAFETY: it only reads a number.
        let niceness = || unsafe { libc::getpriority(libc::PRIO_PROCESS, 0) };
        let here = niceness();
        assert_eq!(in_the_background(niceness), (here + super::NICENESS).min(19));
        assert_eq!(niceness(), here);
        let panicked = std::panic::catch_unwind(|| in_the_background(|| panic!("as a merge might")));
        assert!(panicked.is_err(), "it is told to who waits");
        assert!(pages_waited_for() <= pages_waited_for());
    }
}
