//! A path between devices and a gateway on loopback that counts what a radio would carry, headers included; it may take
//! time and refuse large packets.
//!
//! All of it is sockets and timers of the test's runtime: with tokio's clock paused, hours pass in a second.

use std::{
    collections::btree_map::{BTreeMap, Entry},
    net::{Ipv4Addr, SocketAddr},
    ops::Sub,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream, UdpSocket,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::mpsc,
    time::{Instant, sleep_until},
};

use super::address::{Address, Transport};

/// The path.
pub struct Wire {
    /// Where devices find the gateway.
    pub address: Address,
    meter: Arc<Meter>,
}

/// What the path is like.
#[derive(Debug, Clone, Copy)]
pub struct Path {
    /// How long anything takes from one end to the other.
    pub one_way: Duration,
    /// The largest packet that passes, IP header included.
    pub mtu: usize,
}

/// What has been carried, both ways.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carried {
    /// IP packets.
    pub packets: u64,
    /// Their bytes.
    pub bytes: u64,
}

#[derive(Debug, Default)]
struct Meter {
    packets: AtomicU64,
    bytes: AtomicU64,
}

/// What is on its way, with the moment of its arrival.
type UnderWay = (Instant, Vec<u8>);

impl Wire {
    /// A path to that gateway.
    pub async fn to(gateway: Address, path: Path) -> Self {
        let meter = Arc::<Meter>::default();
        let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let socket = match gateway.over {
            Transport::Quic => {
                let socket = UdpSocket::bind(here).await.expect("a port");
                let address = socket.local_addr().expect("bound");
                tokio::spawn(datagrams(Arc::new(socket), gateway.socket, path, meter.clone()));
                address
            }
            Transport::Grpc => {
                let listener = TcpListener::bind(here).await.expect("a port");
                let address = listener.local_addr().expect("bound");
                tokio::spawn(connections(listener, gateway.socket, path, meter.clone()));
                address
            }
        };
        Self { address: Address::over(socket, gateway.over), meter }
    }

    /// What it has carried so far. Packets that were too large count: they were sent.
    pub fn carried(&self) -> Carried {
        let Meter { packets, bytes } = &*self.meter;
        Carried { packets: packets.load(Ordering::SeqCst), bytes: bytes.load(Ordering::SeqCst) }
    }
}

impl Sub for Carried {
    type Output = Self;
    fn sub(self, before: Self) -> Self {
        Self { packets: self.packets - before.packets, bytes: self.bytes - before.bytes }
    }
}

impl Meter {
    fn on_packets(&self, packets: usize, bytes: usize) {
        self.packets.fetch_add(packets as u64, Ordering::SeqCst);
        self.bytes.fetch_add(bytes as u64, Ordering::SeqCst);
    }

    fn on_datagram(&self, len: usize) {
        self.on_packets(1, len + IP_AND_UDP);
    }

    /// A piece of a TCP stream: as many packets as it needs, and one that confirms them.
    fn on_piece(&self, len: usize, mtu: usize) {
        let packets = len.div_ceil(mtu - IP_AND_TCP) + 1;
        self.on_packets(packets, len + packets * IP_AND_TCP);
    }
}

/// Each device has a port of its own towards the gateway.
async fn datagrams(socket: Arc<UdpSocket>, gateway: SocketAddr, path: Path, meter: Arc<Meter>) {
    let mut devices = BTreeMap::<SocketAddr, mpsc::UnboundedSender<UnderWay>>::new();
    let mut datagram = vec![0; DATAGRAM_LEN_MAX];
    while let Ok((len, device)) = socket.recv_from(&mut datagram).await {
        meter.on_datagram(len);
        let up = match devices.entry(device) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let outside = Arc::new(UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port"));
                outside.connect(gateway).await.expect("loopback");
                let (up, queue) = mpsc::unbounded_channel();
                tokio::spawn(let_out(queue, outside.clone(), None));
                tokio::spawn(answers(outside, (socket.clone(), device), path, meter.clone()));
                new.insert(up)
            }
        };
        if len + IP_AND_UDP <= path.mtu {
            let _ = up.send((Instant::now() + path.one_way, datagram[..len].to_vec()));
        }
    }
}

async fn answers(
    outside: Arc<UdpSocket>,
    (socket, device): (Arc<UdpSocket>, SocketAddr),
    path: Path,
    meter: Arc<Meter>,
) {
    let (down, queue) = mpsc::unbounded_channel();
    tokio::spawn(let_out(queue, socket, Some(device)));
    let mut datagram = vec![0; DATAGRAM_LEN_MAX];
    loop {
        // A gateway that is gone shows as an error; it may come back.
        let Ok(len) = outside.recv(&mut datagram).await else { continue };
        meter.on_datagram(len);
        let arrives = Instant::now() + path.one_way;
        if len + IP_AND_UDP <= path.mtu && down.send((arrives, datagram[..len].to_vec())).is_err() {
            return;
        }
    }
}

async fn let_out(mut queue: mpsc::UnboundedReceiver<UnderWay>, socket: Arc<UdpSocket>, to: Option<SocketAddr>) {
    while let Some((arrives, datagram)) = queue.recv().await {
        sleep_until(arrives).await;
        let _ = match to {
            Some(device) => socket.send_to(&datagram, device).await,
            None => socket.send(&datagram).await,
        };
    }
}

async fn connections(listener: TcpListener, gateway: SocketAddr, path: Path, meter: Arc<Meter>) {
    while let Ok((device, _)) = listener.accept().await {
        meter.on_packets(3, 3 * IP_AND_TCP);
        let gateway = TcpStream::connect(gateway).await.expect("the gateway listens");
        for stream in [&device, &gateway] {
            stream.set_nodelay(true).expect("a TCP socket");
        }
        let ((from_device, to_device), (from_gateway, to_gateway)) = (device.into_split(), gateway.into_split());
        // The kernel has shaken hands with the device at once: the round trip that it takes comes before what it says.
        let opens = Instant::now() + 2 * path.one_way;
        tokio::spawn(carry(from_device, to_gateway, (path, opens), meter.clone()));
        tokio::spawn(carry(from_gateway, to_device, (path, opens), meter.clone()));
    }
}

async fn carry(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, (path, opens): (Path, Instant), meter: Arc<Meter>) {
    let (sender, mut queue) = mpsc::unbounded_channel::<UnderWay>();
    tokio::spawn(async move {
        while let Some((arrives, piece)) = queue.recv().await {
            sleep_until(arrives).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    });
    let mut piece = vec![0; PIECE_LEN_MAX];
    loop {
        let Ok(len @ 1..) = from.read(&mut piece).await else { return };
        meter.on_piece(len, path.mtu);
        let arrives = Instant::now().max(opens) + path.one_way;
        if sender.send((arrives, piece[..len].to_vec())).is_err() {
            return;
        }
    }
}

/// Over IPv4.
const IP_AND_UDP: usize = 28;
/// With time stamps, over IPv4.
const IP_AND_TCP: usize = 52;
const DATAGRAM_LEN_MAX: usize = 64 << 10;
const PIECE_LEN_MAX: usize = 64 << 10;
