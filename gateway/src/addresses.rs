//! What remote addresses use: handshakes and open connections, each within its share.
//!
//! Only addresses that have shown that they hear us come in here, so that whoever forges addresses can neither fill the
//! table nor use up the share of somebody else.

use std::{
    collections::HashMap,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use feldakte_core::{
    limits::{self, Shares},
    rate::Taken,
};
use tokio::time::Instant;

/// All addresses that have used something lately.
#[derive(Debug)]
pub struct Addresses {
    shares: Shares,
    since: Instant,
    table: Mutex<HashMap<Network, Used>>,
}

/// One IPv4 address, or one IPv6 network of 64 bits, of which one host has as many addresses as it likes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Network(IpAddr);

#[derive(Debug, Default)]
struct Used {
    handshakes: Taken,
    under_way: u32,
    open: u32,
}

/// Why an address has to wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Crowded {
    /// Too many handshakes in too short a time, or at the same time.
    Handshakes,
    /// Too many connections.
    Connections,
}

impl Crowded {
    /// For metrics.
    pub fn name(self) -> &'static str {
        match self {
            Crowded::Handshakes => "address_handshakes",
            Crowded::Connections => "address_connections",
        }
    }
}

/// A handshake, then a connection, that counts until it is dropped.
#[derive(Debug)]
pub struct Place {
    addresses: Arc<Addresses>,
    network: Network,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    UnderWay,
    Open,
}

impl Addresses {
    /// Nobody has used anything.
    pub fn new(shares: Shares) -> Arc<Self> {
        Arc::new(Self { shares, since: Instant::now(), table: Mutex::default() })
    }

    /// A handshake begins whose address has shown that it hears us, as every TCP peer has.
    ///
    /// # Errors
    /// When the address has used up its share.
    pub fn admit(self: &Arc<Self>, address: IpAddr) -> Result<Place, Crowded> {
        let (network, now) = (Network::of(address), self.now());
        let mut table = self.table();
        let rate = self.shares.handshakes_per_address;
        let used = entry(&mut table, network, now);
        if used.open >= self.shares.connections_per_address {
            return Err(Crowded::Connections);
        }
        if used.under_way >= limits::HANDSHAKES_PER_ADDRESS_MAX || !used.handshakes.try_take(rate, 1, now) {
            return Err(Crowded::Handshakes);
        }
        used.under_way += 1;
        Ok(Place { addresses: self.clone(), network, stage: Stage::UnderWay })
    }

    /// Whether whoever has this address would be refused: a packet that claims to come from there is not worth a
    /// handshake before that has been shown.
    pub fn is_crowded(&self, address: IpAddr) -> bool {
        let now = self.now();
        self.table().get(&Network::of(address)).is_some_and(|used| {
            used.open >= self.shares.connections_per_address
                || !used.handshakes.wait(self.shares.handshakes_per_address, now).is_zero()
        })
    }

    /// A handshake has failed that nobody counted, of a peer that has shown that it hears us by the way it failed.
    pub fn count_failed(&self, address: IpAddr) {
        let now = self.now();
        let mut table = self.table();
        entry(&mut table, Network::of(address), now).handshakes.take(self.shares.handshakes_per_address, 1, now);
    }

    /// How many addresses are known.
    pub fn len(&self) -> usize {
        self.table().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn now(&self) -> Duration {
        self.since.elapsed()
    }

    fn table(&self) -> MutexGuard<'_, HashMap<Network, Used>> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The handshake is complete: from here on it counts as a connection.
    #[must_use]
    pub fn open(mut self) -> Self {
        if let Some(used) = self.addresses.table().get_mut(&self.network) {
            used.under_way = used.under_way.saturating_sub(1);
            used.open += 1;
        }
        self.stage = Stage::Open;
        self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut table = self.addresses.table();
        let Some(used) = table.get_mut(&self.network) else { return };
        match self.stage {
            Stage::UnderWay => used.under_way = used.under_way.saturating_sub(1),
            Stage::Open => used.open = used.open.saturating_sub(1),
        }
    }
}

impl Network {
    fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into())
            }
            address => Self(address),
        }
    }
}

impl Used {
    fn is_idle(&self, now: Duration) -> bool {
        self.under_way == 0 && self.open == 0 && self.handshakes.is_whole(now)
    }
}

/// The address's entry. In a full table it takes the place of those that are idle; when nobody is, of one without
/// connections: that one begins anew, and the limits over all addresses still hold.
fn entry(table: &mut HashMap<Network, Used>, network: Network, now: Duration) -> &mut Used {
    if table.len() >= limits::ADDRESSES_MAX && !table.contains_key(&network) {
        table.retain(|_, used| !used.is_idle(now));
        let unused = |(network, used): (&Network, &Used)| (used.under_way + used.open == 0).then_some(*network);
        if table.len() >= limits::ADDRESSES_MAX
            && let Some(victim) = table.iter().find_map(unused)
        {
            table.remove(&victim);
        }
    }
    table.entry(network).or_default()
}

#[cfg(test)]
mod tests {
    use feldakte_core::rate::Rate;

    use super::*;

    const FEW: Shares = Shares {
        connections_per_address: 3,
        handshakes_per_address: Rate { amount: 5, every: Duration::from_secs(5) },
        ..Shares::DEFAULT
    };

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_floods_and_others_are_served() {
        let addresses = Addresses::new(FEW);
        for _ in 0..5 {
            drop(addresses.admit(ip("192.0.2.1")).unwrap());
        }
        assert_eq!(addresses.admit(ip("192.0.2.1")).unwrap_err(), Crowded::Handshakes);
        assert!(addresses.is_crowded(ip("192.0.2.1")));
        assert!(addresses.admit(ip("192.0.2.2")).is_ok());
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(addresses.admit(ip("192.0.2.1")).is_ok());
        assert!(addresses.admit(ip("192.0.2.1")).is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn connections_count_until_they_end() {
        let addresses = Addresses::new(FEW);
        let mut places: Vec<Place> = (0..3).map(|_| addresses.admit(ip("192.0.2.1")).unwrap().open()).collect();
        assert_eq!(addresses.admit(ip("192.0.2.1")).unwrap_err(), Crowded::Connections);
        places.pop();
        assert!(addresses.admit(ip("192.0.2.1")).is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_cannot_hide_in_its_ipv6_network_or_behind_mapped_addresses() {
        let addresses = Addresses::new(FEW);
        for host in 0..5 {
            drop(addresses.admit(ip(&format!("2001:db8:1:2::{host}"))).unwrap());
            drop(addresses.admit(ip(["192.0.2.1", "::ffff:192.0.2.1"][host % 2])).unwrap());
        }
        assert!(addresses.is_crowded(ip("2001:db8:1:2:ffff::")) && addresses.is_crowded(ip("192.0.2.1")));
        assert!(!addresses.is_crowded(ip("2001:db8:1:3::")));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_tablets_of_a_station_come_back_at_once() {
        let addresses = Addresses::new(Shares::DEFAULT);
        let redial = |_| addresses.admit(ip("192.0.2.1"));
        // Each dials again twice a second while the old connection is still there.
        let old: Vec<Place> = (0..100).map(|tablet| redial(tablet).unwrap().open()).collect();
        for _ in 0..10 {
            let again: Vec<_> = (0..100).map(redial).collect();
            assert!(again.iter().all(Result::is_ok));
            tokio::time::advance(Duration::from_millis(500)).await;
        }
        drop(old);
    }

    #[tokio::test(start_paused = true)]
    async fn forged_addresses_leave_no_trace() {
        let addresses = Addresses::new(FEW);
        for number in 0..10_000_u32 {
            assert!(!addresses.is_crowded(std::net::Ipv4Addr::from(number).into()));
        }
        assert!(addresses.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_table_is_bounded_and_remembers_who_is_connected() {
        let addresses = Addresses::new(FEW);
        let connected = addresses.admit(ip("192.0.2.1")).unwrap().open();
        let numbered = |number: u32| IpAddr::from(std::net::Ipv4Addr::from(number));
        for number in 0..2 * u32::try_from(limits::ADDRESSES_MAX).unwrap() {
            drop(addresses.admit(numbered(number + (10 << 24))).unwrap());
        }
        assert_eq!(addresses.len(), limits::ADDRESSES_MAX);
        assert_eq!(addresses.table()[&Network::of(ip("192.0.2.1"))].open, 1);
        drop(connected);
        tokio::time::advance(Duration::from_secs(10)).await;
        drop(addresses.admit(ip("198.51.100.1")).unwrap());
        assert_eq!(addresses.len(), 1, "whoever is idle is forgotten");
    }
}
