//! A gateway's namespace, and a link of its own from there to each device's namespace.
//!
//! What is lost and how delays vary follows from the seed; when packets are sent does not, it is real time. A test that
//! fails says its seed, and `FELDAKTE_LINK_SEED` sets it.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
    thread,
};

use super::{
    conditions::Conditions,
    link::{LINKS_MAX, Link},
    namespace::Namespace,
};

/// A star of links.
#[derive(Debug)]
pub struct Network {
    gateway: Arc<Namespace>,
    address: Ipv4Addr,
    seed: u64,
    links: AtomicU16,
}

impl Network {
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
        let [high, low] = NETWORKS.fetch_add(1, Ordering::Relaxed).to_be_bytes();
        let address = Ipv4Addr::new(10, 9, high, low);
        gateway.ip(&format!("addr add {address}/32 dev lo"));
        Ok(Self { gateway, address, seed, links: AtomicU16::new(0) })
    }

    /// The gateway's namespace.
    pub fn gateway(&self) -> &Namespace {
        &self.gateway
    }

    /// Where a gateway listens, in its namespace. No other network of this process has that address.
    pub fn address(&self) -> Ipv4Addr {
        self.address
    }

    /// Decides what is lost, and how delays vary.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// A link to another device.
    ///
    /// # Errors
    /// When there is no TUN device to be had.
    ///
    /// # Panics
    /// When there are too many.
    pub fn link(&self, conditions: Conditions) -> io::Result<Link> {
        let number = self.links.fetch_add(1, Ordering::Relaxed);
        assert!(number < LINKS_MAX, "a network has at most {LINKS_MAX} links");
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
/// How many this process has made.
static NETWORKS: AtomicU16 = AtomicU16::new(1);
