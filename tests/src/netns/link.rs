//! A device's namespace and the emulated link from there to the gateway.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{
    conditions::Conditions,
    emulator::{Emulator, Ends},
    namespace::Namespace,
    tun::Tun,
};

/// A device's only way to the gateway.
#[derive(Debug)]
pub struct Link {
    /// What is between both ends, and what has become of the packets.
    pub emulator: Emulator,
    device: Namespace,
    /// Kept as long as an interface of ours is in it.
    _gateway: Arc<Namespace>,
    number: u16,
    host: Mutex<u8>,
    cuts: Mutex<usize>,
}

/// A link that is gone for as long as one of these lives.
#[derive(Debug)]
#[must_use = "the link is raised when it is dropped"]
pub struct Cut {
    link: Arc<Link>,
}

impl Link {
    pub(super) fn new(gateway: Arc<Namespace>, number: u16, conditions: Conditions, seed: u64) -> io::Result<Self> {
        let device = Namespace::new()?;
        let at_gateway = format!("link{number}");
        let ends = Ends { device: Tun::open(&device, RADIO)?, gateway: Tun::open(&gateway, &at_gateway)? };
        gateway.ip(&format!("link set {at_gateway} up"));
        let [a, b, c] = subnet(number);
        gateway.ip(&format!("route add {a}.{b}.{c}.0/24 dev {at_gateway}"));
        let emulator = Emulator::start(ends, conditions, seed);
        let link =
            Self { emulator, device, _gateway: gateway, number, host: Mutex::new(FIRST_HOST), cuts: Mutex::new(0) };
        link.device.ip(&format!("addr add {}/32 dev {RADIO}", link.address()));
        link.plug();
        Ok(link)
    }

    /// The device's namespace.
    pub fn device(&self) -> &Namespace {
        &self.device
    }

    /// The device's address.
    pub fn address(&self) -> Ipv4Addr {
        self.address_of(*lock(&self.host))
    }

    fn address_of(&self, host: u8) -> Ipv4Addr {
        let [a, b, c] = subnet(self.number);
        Ipv4Addr::new(a, b, c, host)
    }

    /// Changes what the link is like from the next packet on.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        let before = self.emulator.conditions().mtu;
        self.emulator.change(change);
        if self.emulator.conditions().mtu != before {
            self.set_interface_mtu();
        }
    }

    /// Nothing passes until that is dropped; nobody is told.
    pub fn cut(self: &Arc<Self>) -> Cut {
        self.count_cuts(|cuts| *cuts += 1);
        Cut { link: self.clone() }
    }

    fn count_cuts(&self, count: impl FnOnce(&mut usize)) {
        let mut cuts = lock(&self.cuts);
        count(&mut cuts);
        self.emulator.change(|conditions| conditions.is_up = *cuts == 0);
    }

    /// Gives the device another address instead of the one it has, as a change of the radio cell does.
    pub fn change_address(&self) {
        let mut host = lock(&self.host);
        let before = self.address_of(*host);
        *host = if *host == LAST_HOST { FIRST_HOST } else { *host + 1 };
        self.device.ip(&format!("addr add {}/32 dev {RADIO}", self.address_of(*host)));
        self.device.ip(&format!("addr del {before}/32 dev {RADIO}"));
    }

    /// Takes the device's interface down: sockets on it are told that there is no network.
    pub fn unplug(&self) {
        self.device.ip(&format!("link set {RADIO} down"));
    }

    /// Ends what [`Link::unplug`] began.
    pub fn plug(&self) {
        self.set_interface_mtu();
        self.device.ip(&format!("link set {RADIO} up"));
        self.device.ip(&format!("route add default dev {RADIO}"));
    }

    /// The device knows how much its interface takes; the gateway has to find out.
    fn set_interface_mtu(&self) {
        self.device.ip(&format!("link set {RADIO} mtu {}", self.emulator.conditions().mtu));
    }
}

impl Drop for Cut {
    fn drop(&mut self) {
        self.link.count_cuts(|cuts| *cuts -= 1);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The network of a link's device: a /24 of its own.
fn subnet(number: u16) -> [u8; 3] {
    let [high, low] = number.to_be_bytes();
    [10, FIRST_SUBNET + high, low]
}

/// The device's interface.
const RADIO: &str = "radio";
/// Above the gateways' own.
const FIRST_SUBNET: u8 = 64;
/// How many links a network has at the most.
pub(super) const LINKS_MAX: u16 = (u8::MAX - FIRST_SUBNET) as u16 * 256;
const FIRST_HOST: u8 = 2;
const LAST_HOST: u8 = 254;
