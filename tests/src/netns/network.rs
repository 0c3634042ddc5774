//! A gateway's namespace, and a link of its own from there to each device's namespace.
//!
//! What is lost and how delays vary follows from the seed; when packets are sent does not, it is real time. A test that
//! fails says its seed, and `FELDAKTE_LINK_SEED` sets it.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    thread,
};

use super::{conditions::Conditions, link::Link, namespace::Namespace};

/// A star of links.
#[derive(Debug)]
pub struct Network {
    gateway: Arc<Namespace>,
    seed: u64,
    links: AtomicU8,
}

impl Network {
    /// Where a gateway listens, in its namespace.
    pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 1);

    /// One without links, with a seed of the environment's or a random one.
    ///
    /// # Errors
    /// When this process may not make network namespaces.
    pub fn new() -> io::Result<Self> {
        let wanted = std::env::var(SEED).ok().map(|seed| seed.parse().expect("FELDAKTE_LINK_SEED is a number"));
        Self::with_seed(wanted.unwrap_or_else(rand::random))
    }

    /// One without links, with that seed.
    ///
    /// # Errors
    /// When this process may not make network namespaces.
    pub fn with_seed(seed: u64) -> io::Result<Self> {
        let gateway = Arc::new(Namespace::new()?);
        gateway.ip(&format!("addr add {}/32 dev lo", Self::GATEWAY));
        Ok(Self { gateway, seed, links: AtomicU8::new(0) })
    }

    /// The gateway's namespace.
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// A link to another device.
    ///
    /// # Errors
    /// When there is no TUN device to be had.
    ///
    /// # Panics
    /// After the 255th.
    pub fn link(&self, conditions: Conditions) -> io::Result<Link> {
        let before = self.links.fetch_add(1, Ordering::Relaxed);
        let number = before.checked_add(1).expect("a network has at most 255 links");
        Link::new(self.gateway.clone(), number, conditions, self.seed.wrapping_add(u64::from(number)))
    }
}

impl Drop for Network {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("{SEED}={} makes the same links again", self.seed);
        }
    }
}

const SEED: &str = "FELDAKTE_LINK_SEED";
