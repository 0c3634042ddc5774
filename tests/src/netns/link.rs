//! A device's namespace and the emulated link from there to the gateway.

use std::{
    io,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
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
    number: u8,
    host: AtomicU8,
}

impl Link {
    pub(super) fn new(gateway: Arc<Namespace>, number: u8, conditions: Conditions, seed: u64) -> io::Result<Self> {
        let device = Namespace::new()?;
        let at_gateway = format!("link{number}");
        let ends = Ends { device: Tun::open(&device, RADIO)?, gateway: Tun::open(&gateway, &at_gateway)? };
        gateway.ip(&format!("link set {at_gateway} up"));
        gateway.ip(&format!("route add 10.9.{number}.0/24 dev {at_gateway}"));
        let emulator = Emulator::start(ends, conditions, seed);
        let link = Self { emulator, device, _gateway: gateway, number, host: AtomicU8::new(FIRST_HOST) };
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
        Ipv4Addr::new(10, 9, self.number, self.host.load(Ordering::Relaxed))
    }

    /// Changes what the link is like from the next packet on.
    pub fn change(&self, change: impl FnOnce(&mut Conditions)) {
        let before = self.emulator.conditions().mtu;
        self.emulator.change(change);
        if self.emulator.conditions().mtu != before {
            self.set_interface_mtu();
        }
    }

    /// Nothing passes until [`Link::raise`]; nobody is told.
    pub fn cut(&self) {
        self.change(|conditions| conditions.is_up = false);
    }

    /// Ends what [`Link::cut`] began.
    pub fn raise(&self) {
        self.change(|conditions| conditions.is_up = true);
    }

    /// Gives the device another address instead of the one it has, as a change of the radio cell does.
    pub fn change_address(&self) {
        let before = self.address();
        let host = self.host.load(Ordering::Relaxed);
        self.host.store(if host == LAST_HOST { FIRST_HOST } else { host + 1 }, Ordering::Relaxed);
        self.device.ip(&format!("addr add {}/32 dev {RADIO}", self.address()));
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

/// The device's interface.
const RADIO: &str = "radio";
const FIRST_HOST: u8 = 2;
const LAST_HOST: u8 = 254;
