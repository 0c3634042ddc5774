//! A network namespace: interfaces, addresses and sockets that only those see who have entered it.
//!
//! It has no name in the file system. The kernel removes it with its last handle, socket and interface, also when the
//! process is killed; there is nothing to clean up.

use std::{fs, fs::File, io, os::fd::AsRawFd, panic, process::Command, thread};

use tokio::runtime::Handle;

/// A network namespace of this process.
#[derive(Debug)]
pub struct Namespace {
    handle: File,
}

impl Namespace {
    /// A new one with nothing but a loopback interface.
    ///
    /// # Errors
    /// When this process may not make one.
    pub fn new() -> io::Result<Self> {
        let made = thread::scope(|scope| {
            let maker = scope.spawn(|| leave_for_a_new_one().and_then(|()| File::open(CURRENT)));
            maker.join().expect("it does not panic")
        });
        let namespace = Self { handle: made? };
        namespace.ip("link set lo up");
        Ok(namespace)
    }

    /// Runs `act` inside: what it opens stays there. Inside a tokio runtime, `act` is inside the same.
    ///
    /// It runs on a thread of its own, which ends with it: no thread of a pool stays behind in the namespace.
    pub fn enter<T: Send>(&self, act: impl FnOnce() -> T + Send) -> T {
        let runtime = Handle::try_current().ok();
        let inside = move || {
            join(&self.handle).expect("a namespace that was made can be entered");
            let _runtime = runtime.as_ref().map(Handle::enter);
            act()
        };
        match thread::scope(|scope| scope.spawn(inside).join()) {
            Ok(result) => result,
            Err(payload) => panic::resume_unwind(payload),
        }
    }

    /// Runs `ip` inside, with arguments that are separated by blanks.
    ///
    /// # Panics
    /// When it fails, with what it says.
    pub fn ip(&self, arguments: &str) {
        let output = self.enter(|| Command::new("ip").args(arguments.split(' ')).output());
        let output = output.expect("`ip` can be started");
        assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Changes a setting below `/proc/sys/net`.
    ///
    /// # Panics
    /// When the kernel does not have it.
    pub fn set(&self, setting: &str, value: &str) {
        let written = self.enter(|| fs::write(format!("/proc/sys/net/{setting}"), value));
        written.unwrap_or_else(|error| panic!("net/{setting} = {value}: {error}"));
    }
}

/// Moves this thread into a new namespace.
#[expect(unsafe_code, reason = "the standard library knows no namespaces")]
fn leave_for_a_new_one() -> io::Result<()> {
    // SAFETY: unshare takes a number and touches no memory of ours; with this flag it concerns this thread alone.
    if unsafe { libc::unshare(libc::CLONE_NEWNET) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Moves this thread into that namespace.
#[expect(unsafe_code, reason = "the standard library knows no namespaces")]
fn join(namespace: &File) -> io::Result<()> {
    // SAFETY: setns takes a descriptor that is open for the whole call, and a number.
    let result = unsafe { libc::setns(namespace.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The namespace of the thread that opens it.
const CURRENT: &str = "/proc/thread-self/ns/net";

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;
    use crate::{netns::unavailable, skipped};

    #[test]
    fn a_socket_stays_in_the_namespace_where_it_was_opened() {
        if let Some(why) = unavailable() {
            return skipped(&why);
        }
        let (one, other) = (Namespace::new().unwrap(), Namespace::new().unwrap());
        let listener = one.enter(|| TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        assert!(one.enter(|| TcpStream::connect(address)).is_ok());
        assert!(other.enter(|| TcpStream::connect(address)).is_err());
        assert!(TcpStream::connect(address).is_err(), "nor does it listen outside");
    }
}
