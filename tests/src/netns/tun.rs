//! A TUN device: a network interface whose packets this process reads and writes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Write},
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd},
        unix::fs::OpenOptionsExt,
    },
};

use super::{namespace::Namespace, packet::Packet};

/// One end of a link, as the emulator holds it. The interface goes when it is dropped.
#[derive(Debug)]
pub struct Tun {
    device: File,
}

impl Tun {
    /// A new interface of that name in the namespace. It is down and has no address.
    ///
    /// # Errors
    /// When this process may not make one, or the name is taken.
    pub fn open(namespace: &Namespace, name: &str) -> io::Result<Self> {
        namespace.enter(|| {
            let device =
                OpenOptions::new().read(true).write(true).custom_flags(libc::O_NONBLOCK).open("/dev/net/tun")?;
            attach(&device, name)?;
            Ok(Self { device })
        })
    }

    /// The next IPv4 packet that the kernel has sent through the interface; `None` when there is none at the moment.
    pub fn read(&self, buffer: &mut [u8; PACKET_LEN_MAX]) -> Option<Packet> {
        loop {
            let len = (&self.device).read(buffer).ok().filter(|len| *len > 0)?;
            // The kernel announces itself by IPv6 on every interface; that is nobody's traffic.
            if let Some(packet) = Packet::from_bytes(&buffer[..len]) {
                return Some(packet);
            }
        }
    }

    /// Lets the packet arrive at the interface.
    ///
    /// # Errors
    /// When the interface is down.
    pub fn write(&self, packet: &Packet) -> io::Result<()> {
        (&self.device).write(packet.bytes()).map(drop)
    }
}

impl AsFd for Tun {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

#[expect(unsafe_code, reason = "the standard library knows no TUN devices")]
fn attach(device: &File, name: &str) -> io::Result<()> {
    // SAFETY: an ifreq is numbers and arrays of them; all zero is a valid one.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    let room = request.ifr_name.len() - 1;
    for (to, from) in request.ifr_name[..room].iter_mut().zip(name.bytes()) {
        *to = from as libc::c_char;
    }
    request.ifr_ifru.ifru_flags = (libc::IFF_TUN | libc::IFF_NO_PI) as libc::c_short;
    // SAFETY: TUNSETIFF reads and writes one ifreq, which is exclusive and lives for the whole call.
    let result = unsafe { libc::ioctl(device.as_raw_fd(), libc::TUNSETIFF as _, &raw mut request) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The longest packet that an interface can carry.
pub const PACKET_LEN_MAX: usize = 65_535;
