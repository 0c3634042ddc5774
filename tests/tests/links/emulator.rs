//! The emulator is what it says it is, for UDP and for TCP.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use feldakte_tests::netns::{
    conditions::{Conditions, Direction, Path},
    jitter::Jitter,
    link::Link,
    loss::Loss,
    network::Network,
};

use super::world::network;

const MS: Duration = Duration::from_millis(1);
/// How long something may take that is bound to come.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long one looks for something that must not come; much longer than it would take.
const SILENCE: Duration = Duration::from_millis(200);
/// 60 ms of round trip, and a queue of 105 ms.
const TEN_MBIT: Path =
    Path { delay: Duration::from_millis(30), rate: Some(10_000_000), queue: 128 * 1024, ..Path::PERFECT };

/// A socket at each end of a link.
struct Pair {
    link: Arc<Link>,
    device: UdpSocket,
    gateway: UdpSocket,
}

impl Pair {
    fn on(network: &Network, conditions: Conditions) -> Self {
        let link = Arc::new(network.link(conditions).unwrap());
        let device = link.device().enter(|| UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))).unwrap();
        let gateway = network.gateway().enter(|| UdpSocket::bind((network.address(), 0))).unwrap();
        Self { link, device, gateway }
    }

    /// From whatever address the device has.
    fn send(&self, bytes: &[u8]) -> io::Result<usize> {
        self.device.send_to(bytes, self.gateway.local_addr()?)
    }

    /// Sends up; who the gateway believes has sent it, if it arrives.
    fn up(&self) -> Option<SocketAddr> {
        self.send(b"up").unwrap();
        received(&self.gateway)
    }

    /// Whether an answer to that address arrives.
    fn down(&self, to: SocketAddr, len: usize) -> bool {
        self.gateway.send_to(&vec![0; len], to).unwrap();
        received(&self.device).is_some()
    }
}

fn received(socket: &UdpSocket) -> Option<SocketAddr> {
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    loop {
        match socket.recv_from(&mut [0; 2048]) {
            Ok((_, from)) => return Some(from),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => return None,
            Err(error) => panic!("{error}"),
        }
    }
}

/// Where the gateway accepts connections.
fn listen(network: &Network) -> (TcpListener, SocketAddr) {
    let listener = network.gateway().enter(|| TcpListener::bind((network.address(), 0))).unwrap();
    let address = listener.local_addr().unwrap();
    (listener, address)
}

fn dial(link: &Link, gateway: SocketAddr) -> TcpStream {
    link.device().enter(|| TcpStream::connect_timeout(&gateway, PATIENCE)).unwrap()
}

/// A connection from the device to the gateway, and the gateway's end of it, under a controller that fills its queue.
fn tcp(network: &Network, link: &Link) -> (TcpStream, TcpStream) {
    // The host's default may be another; this one every namespace has.
    for namespace in [network.gateway(), link.device()] {
        namespace.set("ipv4/tcp_congestion_control", "reno");
    }
    let (listener, address) = listen(network);
    let device = dial(link, address);
    let (gateway, _) = listener.accept().unwrap();
    for stream in [&device, &gateway] {
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
    }
    (device, gateway)
}

/// Sends so many bytes up while it can; calls when the first of them, and when all have arrived.
fn bulk(mut device: TcpStream, mut gateway: TcpStream, first: usize, rest: usize, mut at: impl FnMut()) {
    let sending = thread::spawn(move || {
        let _ = device.write_all(&vec![7; first + rest]);
        device
    });
    for len in [first, rest] {
        let mut received = vec![0; len];
        gateway.read_exact(&mut received).unwrap();
        assert!(received.iter().all(|byte| *byte == 7));
        at();
    }
    drop(sending.join().unwrap());
}

#[test]
fn a_packet_takes_the_delay_of_its_direction() {
    let Some(network) = network() else { return };
    let up = Path { delay: 20 * MS, ..Path::PERFECT };
    let down = Path { delay: 50 * MS, ..Path::PERFECT };
    let pair = Pair::on(&network, Conditions { up, down, ..Conditions::PERFECT });
    let (mut ups, mut downs) = (Vec::new(), Vec::new());
    for _ in 0..15 {
        let sent = Instant::now();
        let from = pair.up().expect("it arrives");
        ups.push(sent.elapsed());
        let sent = Instant::now();
        assert!(pair.down(from, 100));
        downs.push(sent.elapsed());
    }
    for (mut found, expected) in [(ups, up.delay), (downs, down.delay)] {
        found.sort_unstable();
        // The quickest is the one for which this thread did not have to wait for its turn.
        assert!((expected..expected + 5 * MS).contains(&found[0]), "{found:?}");
    }
}

#[test]
fn a_delay_that_varies_stays_within_its_span() {
    let Some(network) = network() else { return };
    let path = Path { delay: 10 * MS, jitter: Jitter::Wave(30 * MS), ..Path::PERFECT };
    let pair = Pair::on(&network, Conditions::symmetric(path));
    let delays: Vec<_> = (0..40)
        .map(|_| {
            let sent = Instant::now();
            pair.up().expect("it arrives");
            sent.elapsed()
        })
        .collect();
    let (min, max) = (delays.iter().min().unwrap(), delays.iter().max().unwrap());
    assert!(*min >= path.delay && *max > *min + 5 * MS, "{min:?} to {max:?}");
}

#[test]
fn a_stream_gets_the_rate_of_its_link() {
    let Some(network) = network() else { return };
    let link = network.link(Conditions::symmetric(TEN_MBIT)).unwrap();
    let (device, gateway) = tcp(&network, &link);
    let mut seen = Vec::new();
    let look = || seen.push((Instant::now(), link.emulator.counts(Direction::Up).delivered_bytes));
    bulk(device, gateway, 1_000_000, 2_500_000, look);
    let [(begun, before), (ended, after)] = seen[..] else { panic!("twice") };
    let rate = (after - before) as f64 * 8.0 / (ended - begun).as_secs_f64();
    println!("{:.3} Mbit/s, {:?}", rate / 1e6, link.emulator.lateness(Direction::Up));
    assert!((9.5e6..=10.1e6).contains(&rate), "{rate}");
}

#[test]
fn a_flood_of_datagrams_is_cut_to_the_links_rate_by_its_queue() {
    let Some(network) = network() else { return };
    let pair = Pair::on(&network, Conditions::symmetric(Path { queue: 16 * 1024, ..TEN_MBIT }));
    let begun = Instant::now();
    while begun.elapsed() < 1_500 * MS {
        for _ in 0..8 {
            pair.send(&[0; 1_172]).unwrap();
        }
        // Three times the link's rate, in steps that its queue could take.
        thread::sleep(2 * MS);
    }
    let counts = pair.link.emulator.counts(Direction::Up);
    let rate = counts.delivered_bytes as f64 * 8.0 / (begun.elapsed() - TEN_MBIT.delay).as_secs_f64();
    println!("{:.3} Mbit/s, {counts:?}", rate / 1e6);
    assert!((9.5e6..=10.5e6).contains(&rate), "{rate}");
    assert!(counts.dropped > counts.delivered && counts.lost == 0, "{counts:?}");
}

#[test]
fn a_stream_is_whole_although_packets_are_lost() {
    let Some(network) = network() else { return };
    // Short bursts: they are counted in packets, and a sender that has gone silent meets one with each of its lone
    // repetitions, twice as late every time.
    let lossy = Path { loss: Loss::Bursty { share: 0.03, burst: 1.5 }, delay: 5 * MS, ..TEN_MBIT };
    let link = network.link(Conditions::symmetric(lossy)).unwrap();
    let (device, gateway) = tcp(&network, &link);
    bulk(device, gateway, 1, 1_500_000, || {});
    let counts = link.emulator.counts(Direction::Up);
    let share = counts.lost as f64 / counts.offered as f64;
    println!("{share:.4} lost: {counts:?}");
    assert!((0.01..0.06).contains(&share), "{counts:?}");
}

#[test]
fn a_connection_takes_a_round_trip() {
    let Some(network) = network() else { return };
    let link = network.link(Conditions::symmetric(TEN_MBIT)).unwrap();
    let (_listener, address) = listen(&network);
    let begun = Instant::now();
    let _connection = dial(&link, address);
    let took = begun.elapsed();
    assert!((60 * MS..90 * MS).contains(&took), "{took:?}");
}

#[test]
fn a_link_that_is_cut_passes_nothing_until_it_is_raised() {
    let Some(network) = network() else { return };
    let pair = Pair::on(&network, Conditions::PERFECT);
    assert!(pair.up().is_some());
    let cut = pair.link.cut();
    assert_eq!(pair.up(), None);
    drop(cut);
    assert!(pair.up().is_some());
    assert_eq!(pair.link.emulator.counts(Direction::Up).cut, 1);
}

#[test]
fn a_network_without_udp_passes_tcp() {
    let Some(network) = network() else { return };
    let pair = Pair::on(&network, Conditions { passes_udp: false, ..Conditions::PERFECT });
    assert_eq!(pair.up(), None);
    let (device, gateway) = tcp(&network, &pair.link);
    bulk(device, gateway, 1, 10_000, || {});
    pair.link.change(|conditions| conditions.passes_udp = true);
    assert!(pair.up().is_some());
}

#[test]
fn what_is_larger_than_the_link_takes_is_lost_in_silence() {
    let Some(network) = network() else { return };
    let pair = Pair::on(&network, Conditions { mtu: 1_280, ..Conditions::PERFECT });
    let from = pair.up().unwrap();
    assert!(pair.down(from, 1_280 - 28));
    assert!(!pair.down(from, 1_280 - 27));
    // TCP learns it from the device's side.
    let (device, gateway) = tcp(&network, &pair.link);
    bulk(device, gateway, 1, 100_000, || {});
    let (device, gateway) = tcp(&network, &pair.link);
    bulk(gateway, device, 1, 100_000, || {});
}

#[test]
fn an_address_translation_that_is_bound_anew_shows_another_port() {
    let Some(network) = network() else { return };
    let pair = Pair::on(&network, Conditions::PERFECT);
    let before = pair.up().unwrap();
    pair.link.emulator.rebind_nat();
    assert!(!pair.down(before, 100), "nobody is known by the port before");
    let after = pair.up().unwrap();
    assert!(before.ip() == after.ip() && before.port() != after.port());
    assert!(pair.down(after, 100));
}

#[test]
fn a_device_that_gets_another_address_goes_on_from_there() {
    let Some(network) = network() else { return };
    let pair = Pair::on(&network, Conditions::PERFECT);
    let before = pair.up().unwrap();
    pair.link.change_address();
    let after = pair.up().unwrap();
    assert_eq!(after.ip(), pair.link.address());
    assert_ne!(before.ip(), after.ip());
    assert!(pair.down(after, 100));
}

#[test]
fn an_interface_that_is_down_is_told_to_sockets() {
    let Some(network) = network() else { return };
    let pair = Pair::on(&network, Conditions::PERFECT);
    pair.link.unplug();
    assert!(pair.send(b"up").is_err());
    pair.link.plug();
    assert!(pair.up().is_some());
}
