//! Links that fail, made in this process: network namespaces, TUN devices between them, and an emulator in userspace
//! that delays, loses, queues and cuts what passes.
//!
//! A [`network::Network`] is a gateway's namespace and a [`link::Link`] of its own to each device's namespace. Sockets
//! belong to the namespace in which they were opened ([`namespace::Namespace::enter`]), whoever uses them later:
//! gateway and devices share one process and one runtime. Real time, real kernel, any protocol over IPv4.

use std::{io, process::Command};

pub mod channel;
pub mod conditions;
pub mod emulator;
mod flight;
pub mod jitter;
pub mod link;
pub mod loss;
pub mod namespace;
mod nat;
pub mod network;
mod packet;
pub mod profile;
pub mod tally;
pub mod timetable;
mod tun;
mod wait;
pub mod weather;

use namespace::Namespace;
use tun::Tun;

/// Why there are no emulated links here, if so: it takes the right to make network namespaces and TUN devices.
pub fn unavailable() -> Option<String> {
    if Command::new("ip").arg("-V").output().is_err() {
        return Some("`ip` (iproute2) is not installed".to_owned());
    }
    let tried: io::Result<()> = Namespace::new().and_then(|namespace| Tun::open(&namespace, "probe").map(drop));
    tried.err().map(|error| format!("network namespaces and TUN devices cannot be made here: {error}"))
}
