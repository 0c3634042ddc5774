//! Sleeping until something can be read or a moment has come, to within microseconds.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    ptr,
    time::{Duration, Instant},
};

/// Waits until one of the descriptors can be read or its other end is closed, at most until that moment. Says which.
#[expect(unsafe_code, reason = "the standard library cannot wait for several descriptors")]
pub fn readable<const N: usize>(descriptors: [BorrowedFd<'_>; N], until: Option<Instant>) -> [bool; N] {
    let mut polled =
        descriptors.map(|descriptor| libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 });
    let timeout = until.map(|until| timespec(until.saturating_duration_since(Instant::now())));
    let timeout = timeout.as_ref().map_or(ptr::null(), ptr::from_ref);
    // SAFETY: the array and the timespec are valid for the whole call, N is the array's length, no mask is given. An
    // interrupted wait reports nothing, and the caller waits again.
    let found = unsafe { libc::ppoll(polled.as_mut_ptr(), N as libc::nfds_t, timeout, ptr::null()) };
    polled.map(|polled| found > 0 && polled.revents != 0)
}

/// Lets this thread wake when it wants to: the kernel may otherwise lengthen each sleep by 50 µs, and lets it wait for
/// its turn behind whatever else keeps the processor busy. Without the right to the latter it stays as it is.
#[expect(unsafe_code, reason = "the standard library knows neither timer slack nor scheduling")]
pub fn wake_exactly() {
    let first_in_line = libc::sched_param { sched_priority: 1 };
    // SAFETY: prctl with this option takes a number, in nanoseconds, and touches no memory of ours; sched_setscheduler
    // reads a valid parameter and concerns this thread alone.
    unsafe {
        libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64);
        libc::sched_setscheduler(0, libc::SCHED_RR, &raw const first_in_line);
    }
}

fn timespec(span: Duration) -> libc::timespec {
    let seconds = libc::time_t::try_from(span.as_secs()).unwrap_or(libc::time_t::MAX);
    libc::timespec { tv_sec: seconds, tv_nsec: libc::c_long::from(span.subsec_nanos() as i32) }
}
