//! What has gone out on one TCP connection, from the frames that were handed over down to what the kernel still holds.

use std::{
    os::fd::{AsRawFd, BorrowedFd},
    sync::{
        Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use socket2::SockRef;
use tokio::{net::TcpStream, sync::Notify, time::error::Elapsed};

/// Counts of one connection.
#[derive(Debug, Default)]
pub struct Gauge {
    socket: Weak<TcpStream>,
    handed_over: AtomicU64,
    carried: AtomicU64,
    carries: Notify,
    /// How often all of it had been.
    emptied: AtomicU64,
    /// Calls of which one may overtake another: that so much has been given does not tell of which.
    is_shared: AtomicBool,
    is_blocked: AtomicBool,
}

/// What was under way at some moment.
#[derive(Debug, Clone, Copy, Default)]
pub struct GaugeMark {
    handed_over: u64,
    emptied: u64,
}

impl Gauge {
    /// Of that socket. Does not keep it open.
    pub fn new(socket: Weak<TcpStream>) -> Self {
        Self { socket, ..Self::default() }
    }

    /// So many bytes of messages are on their way; returns how many there have been.
    pub fn hand_over(&self, bytes: u64) -> u64 {
        self.handed_over.fetch_add(bytes, Ordering::Relaxed) + bytes
    }

    /// What is under way at this moment.
    pub fn mark(&self) -> GaugeMark {
        let emptied = self.emptied.load(Ordering::Relaxed);
        let handed_over = self.handed_over.load(Ordering::Relaxed);
        // What is empty has been emptied since.
        let is_carried = self.carried.load(Ordering::Relaxed) >= handed_over;
        GaugeMark { handed_over, emptied: emptied.wrapping_sub(u64::from(is_carried)) }
    }

    /// Several calls go on it from here on.
    pub fn share(&self) {
        self.is_shared.store(true, Ordering::Relaxed);
    }

    /// HTTP/2 has given so many of them to TLS.
    pub fn carry(&self, bytes: u64) {
        if bytes > 0 {
            let carried = self.carried.fetch_add(bytes, Ordering::Relaxed) + bytes;
            if carried >= self.handed_over.load(Ordering::Relaxed) {
                self.emptied.fetch_add(1, Ordering::Relaxed);
            }
            self.carries.notify_waiters();
        }
    }

    /// Waits until it has given as many as had been handed over then. What HTTP/2 says of itself does not count: a device
    /// could ask for that without end.
    ///
    /// # Errors
    /// When nothing at all of them is given for `stall_max`.
    pub async fn until_carried(&self, handed_over: u64, stall_max: Duration) -> Result<(), Elapsed> {
        loop {
            let carries = self.carries.notified();
            if self.carried.load(Ordering::Relaxed) >= handed_over {
                return Ok(());
            }
            tokio::time::timeout(stall_max, carries).await?;
        }
    }

    /// Whether the kernel takes nothing for now.
    pub fn block(&self, is_blocked: bool) {
        self.is_blocked.store(is_blocked, Ordering::Relaxed);
    }

    /// Whether everything has gone out on the network that was under way then.
    pub fn has_left(&self, GaugeMark { handed_over, emptied }: GaugeMark) -> bool {
        if self.is_shared.load(Ordering::Relaxed) && self.emptied.load(Ordering::Relaxed) == emptied {
            return false;
        }
        let Some(since) = self.carried.load(Ordering::Relaxed).checked_sub(handed_over) else { return false };
        let in_tls = if self.is_blocked.load(Ordering::Relaxed) { TLS_BUFFER } else { 0 };
        // What waits was given last: when it is no more than what came since, none of it is older.
        in_tls + self.unsent() <= since
    }

    /// Whether nothing is under way.
    pub fn is_empty(&self) -> bool {
        self.has_left(self.mark())
    }

    /// When the socket is dropped, what the kernel holds is thrown away.
    pub fn take_back(&self) {
        let Some(socket) = self.socket.upgrade() else { return };
        // Fails only for a socket that has nothing left to throw away.
        let _ = SockRef::from(&*socket).set_linger(Some(Duration::ZERO));
    }

    /// Bytes that wait in the kernel and have not been sent once.
    fn unsent(&self) -> u64 {
        let Some(socket) = self.socket.upgrade() else { return 0 };
        unsent(std::os::fd::AsFd::as_fd(&*socket))
    }
}

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "asks for a number that no safe wrapper among our dependencies knows")]
fn unsent(socket: BorrowedFd<'_>) -> u64 {
    let mut bytes: libc::c_int = 0;
    // SAFETY: the socket is open for as long as it is borrowed, and the kernel writes one int.
    let result = unsafe { libc::ioctl(socket.as_raw_fd(), SIOCOUTQNSD, &raw mut bytes) };
    if result == 0 { u64::try_from(bytes).unwrap_or_default() } else { 0 }
}

#[cfg(not(target_os = "linux"))]
fn unsent(_: BorrowedFd<'_>) -> u64 {
    0
}

/// `linux/sockios.h`: not sent data in a socket's queue.
#[cfg(target_os = "linux")]
const SIOCOUTQNSD: libc::c_ulong = 0x894b;

/// What TLS may hold while the kernel takes nothing: rustls' default.
const TLS_BUFFER: u64 = 64 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_tls_may_still_hold_has_not_left() {
        let gauge = Gauge::default();
        gauge.hand_over(100);
        let mark = gauge.mark();
        assert!(!gauge.has_left(mark), "HTTP/2 holds it");
        gauge.carry(100);
        gauge.block(true);
        assert!(!gauge.has_left(mark), "TLS may hold it");
        gauge.hand_over(TLS_BUFFER);
        gauge.carry(TLS_BUFFER);
        assert!(gauge.has_left(mark), "whatever TLS holds is younger");
        gauge.block(false);
        assert!(gauge.is_empty());
    }

    #[test]
    fn what_overtakes_on_a_shared_connection_does_not_hide_what_stays() {
        let gauge = Gauge::default();
        gauge.share();
        assert!(gauge.has_left(gauge.mark()), "nothing is under way");
        gauge.hand_over(100);
        let mark = gauge.mark();
        for _ in 0..10 {
            gauge.hand_over(50);
            gauge.carry(50);
        }
        assert!(!gauge.has_left(mark), "only what came later has gone");
        gauge.carry(100);
        assert!(gauge.has_left(mark));
    }
}
