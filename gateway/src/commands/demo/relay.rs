//! The network between tablets and gateway: a UDP relay on loopback that counts bytes and can be cut.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use anyhow::Context;
use tokio::{
    net::UdpSocket,
    task::{JoinHandle, JoinSet},
};

/// A relay; ends when it is dropped.
pub struct Relay {
    address: SocketAddr,
    wire: Arc<Wire>,
    task: JoinHandle<()>,
}

/// What passes, and whether anything does.
#[derive(Debug, Default)]
pub struct Wire {
    cut: AtomicBool,
    up: AtomicU64,
    down: AtomicU64,
}

impl Relay {
    /// Relays between a new local port and `gateway`.
    pub async fn start(gateway: SocketAddr) -> anyhow::Result<Relay> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.context("no UDP port on loopback can be opened")?;
        let (address, wire) = (socket.local_addr()?, Arc::new(Wire::default()));
        let task = tokio::spawn(relay(Arc::new(socket), gateway, wire.clone()));
        Ok(Relay { address, wire, task })
    }

    /// Where tablets connect.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The switch and the counters.
    pub fn wire(&self) -> Arc<Wire> {
        self.wire.clone()
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// From here on every packet is dropped, in both directions, without a word.
    pub fn cut(&self) {
        self.cut.store(true, Ordering::Relaxed);
    }

    /// Packets pass again.
    pub fn mend(&self) {
        self.cut.store(false, Ordering::Relaxed);
    }

    /// Whether packets are dropped.
    pub fn is_cut(&self) -> bool {
        self.cut.load(Ordering::Relaxed)
    }

    /// Bytes of UDP payload so far, towards the gateway and from it.
    pub fn bytes(&self) -> (u64, u64) {
        (self.up.load(Ordering::Relaxed), self.down.load(Ordering::Relaxed))
    }

    fn passes(&self, counter: &AtomicU64, len: usize) -> bool {
        if self.is_cut() {
            return false;
        }
        counter.fetch_add(len as u64, Ordering::Relaxed);
        true
    }
}

async fn relay(socket: Arc<UdpSocket>, gateway: SocketAddr, wire: Arc<Wire>) {
    let mut peers: BTreeMap<SocketAddr, Arc<UdpSocket>> = BTreeMap::new();
    // Aborts its tasks when the relay is aborted.
    let mut returning = JoinSet::new();
    let mut packet = [0; PACKET_LEN_MAX];
    loop {
        // Errors are ICMP messages about earlier packets: a network does not stop for them.
        let Ok((len, peer)) = socket.recv_from(&mut packet).await else { continue };
        if !wire.passes(&wire.up, len) {
            continue;
        }
        if !peers.contains_key(&peer) && peers.len() < PEERS_MAX {
            let Ok(upstream) = connect(gateway).await else { continue };
            let upstream = Arc::new(upstream);
            returning.spawn(back(upstream.clone(), socket.clone(), peer, wire.clone()));
            peers.insert(peer, upstream);
        }
        if let Some(upstream) = peers.get(&peer) {
            // A packet that cannot be sent is a lost packet.
            let _ = upstream.send(&packet[..len]).await;
        }
    }
}

async fn connect(gateway: SocketAddr) -> io::Result<UdpSocket> {
    let upstream = UdpSocket::bind("127.0.0.1:0").await?;
    upstream.connect(gateway).await?;
    Ok(upstream)
}

async fn back(upstream: Arc<UdpSocket>, socket: Arc<UdpSocket>, peer: SocketAddr, wire: Arc<Wire>) {
    let mut packet = [0; PACKET_LEN_MAX];
    loop {
        let Ok(len) = upstream.recv(&mut packet).await else { continue };
        if wire.passes(&wire.down, len) {
            let _ = socket.send_to(&packet[..len], peer).await;
        }
    }
}

/// The largest UDP payload there is.
const PACKET_LEN_MAX: usize = 65_535;
/// Two tablets, and room for sockets they open anew.
const PEERS_MAX: usize = 16;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn packets_pass_both_ways_are_counted_and_vanish_while_cut() {
        let gateway = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        let relay = Relay::start(gateway.local_addr().expect("bound")).await.expect("starts");
        let tablet = UdpSocket::bind("127.0.0.1:0").await.expect("a port");
        tablet.connect(relay.address()).await.expect("connects");
        let within = Duration::from_secs(5);
        let mut buffer = [0; 16];

        relay.wire().cut();
        tablet.send(b"lost").await.expect("sent");
        relay.wire().mend();
        tablet.send(b"up").await.expect("sent");
        let (len, from) =
            tokio::time::timeout(within, gateway.recv_from(&mut buffer)).await.expect("in time").expect("ok");
        // The relay may see the first packet only after it was mended: then it arrives first.
        let len = match &buffer[..len] == b"lost" {
            true => tokio::time::timeout(within, gateway.recv_from(&mut buffer)).await.expect("in time").expect("ok").0,
            false => len,
        };
        assert_eq!(&buffer[..len], b"up");
        gateway.send_to(b"down!", from).await.expect("sent");
        let len = tokio::time::timeout(within, tablet.recv(&mut buffer)).await.expect("in time").expect("ok");
        assert_eq!(&buffer[..len], b"down!");
        assert_eq!(relay.wire().bytes().1, 5);
    }

    #[test]
    fn a_cut_wire_passes_and_counts_nothing() {
        let wire = Wire::default();
        assert!(wire.passes(&wire.up, 10));
        wire.cut();
        assert!(wire.is_cut() && !wire.passes(&wire.up, 10) && !wire.passes(&wire.down, 10));
        wire.mend();
        assert!(wire.passes(&wire.down, 3));
        assert_eq!(wire.bytes(), (10, 3));
    }
}
