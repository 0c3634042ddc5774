//! Peers that begin handshakes and never end them, with forged addresses and with their own.

use std::{net::SocketAddr, sync::Arc};

use feldakte_client_sdk::view::LinkState;
use feldakte_core::limits;
use feldakte_tests::harness::{
    crew,
    local::Site,
    pki::GATEWAY_NAME,
    process::peak_rss_kib,
    raw::{self, RawClient},
    tablet::{Tablet, memory_store},
};
use quinn::{Connecting, Endpoint};
use tokio::{net::UdpSocket, task::JoinSet};

use super::bystander::Bystander;

/// What attackers take in of the gateway's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Hearing {
    /// Nothing, like the owner of a forged address.
    Nothing,
    /// A Retry, so that they prove their address; then they fall silent.
    RetryOnly,
}

/// Handshakes that are under way as far as the gateway knows. They end when this is dropped.
struct HalfOpen {
    /// Beside the handshakes, because an endpoint ends with its last handle.
    _endpoint: Endpoint,
    _handshakes: Vec<Connecting>,
    _path: JoinSet<()>,
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_that_never_end_cost_little_and_keep_nobody_out() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let bystander = Bystander::start(&site, gateway.quic).await;
    let honest = site.pki.enrol(&crew("rtw-1"));
    let before = gateway.rss_kib();
    assert_eq!(gateway.metric(RETRIED).await, 0, "a quiet gateway spares its devices the round trip");

    let forged = HalfOpen::begin(&site, gateway.quic, Hearing::Nothing).await;
    gateway.until_metric(RETRIED, ATTACKERS / 2).await;
    // At the first try: it proves its address, and there is room for those who do.
    RawClient::session(&honest, gateway.quic, None).await;
    drop(forged);

    let proven = HalfOpen::begin(&site, gateway.quic, Hearing::RetryOnly).await;
    gateway.until_metric(REJECTED, ATTACKERS / 2).await;
    let tablet = Tablet::open(honest.identity(), gateway.quic, memory_store()).await;
    tablet.client.go_online();
    tablet.wait_link(LinkState::Connected).await;
    drop(proven);

    let most = peak_rss_kib(gateway.pid());
    println!("half open: {before} KiB before, {most} KiB at most");
    assert!(most.saturating_sub(before) <= GROWTH_KIB_MAX, "{before} KiB before, {most} KiB at most");
    bystander.unharmed().await;
}

impl HalfOpen {
    async fn begin(site: &Site, gateway: SocketAddr, hearing: Hearing) -> Self {
        let endpoint = raw::endpoint();
        let attacker = endpoint.local_addr().unwrap();
        let (entry, path) = path(attacker, gateway, hearing).await;
        let config = site.pki.enrol(&crew("attacker")).quic();
        let mut handshakes = Vec::new();
        for _ in 0..ATTACKERS {
            handshakes.push(endpoint.connect_with(config.clone(), entry, GATEWAY_NAME).unwrap());
            // Lets the bystander work, as it would on a machine of its own.
            tokio::task::yield_now().await;
        }
        Self { _endpoint: endpoint, _handshakes: handshakes, _path: path }
    }
}

/// A path to the gateway on which most answers get lost; returns where it begins.
async fn path(attacker: SocketAddr, gateway: SocketAddr, hearing: Hearing) -> (SocketAddr, JoinSet<()>) {
    let near = Arc::new(UdpSocket::bind((attacker.ip(), 0)).await.unwrap());
    let far = Arc::new(UdpSocket::bind((attacker.ip(), 0)).await.unwrap());
    far.connect(gateway).await.unwrap();
    let entry = near.local_addr().unwrap();
    let (from, to) = (near.clone(), far.clone());
    let mut tasks = JoinSet::new();
    tasks.spawn(async move {
        let mut datagram = [0; DATAGRAM_MAX];
        while let Ok(len) = from.recv(&mut datagram).await {
            let _ = to.send(&datagram[..len]).await;
        }
    });
    tasks.spawn(async move {
        let mut datagram = [0; DATAGRAM_MAX];
        while let Ok(len) = far.recv(&mut datagram).await {
            if hearing == Hearing::RetryOnly && is_retry(&datagram[..len]) {
                let _ = near.send_to(&datagram[..len], attacker).await;
            }
        }
    });
    (entry, tasks)
}

/// A long header of type 3 (RFC 9000, 17.2.5).
fn is_retry(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|first| first & 0xf0 == 0xf0)
}

/// At once; more than the gateway lets be under way.
const ATTACKERS: u64 = (limits::HANDSHAKES_MAX + 2 * limits::HANDSHAKES_UNPROVEN_MAX) as u64;
const GROWTH_KIB_MAX: u64 = 64 << 10;
const DATAGRAM_MAX: usize = 2_048;
const RETRIED: &str = "feldakte_handshakes_retried";
const REJECTED: &str = "feldakte_connections_rejected";
