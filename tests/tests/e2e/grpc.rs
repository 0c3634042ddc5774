//! What only sessions over TCP have: health and reflection, and a transport that does not tell what has arrived.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use feldakte_client_sdk::view::LinkState;
use feldakte_core::{ids::Epoch, lane::Lane};
use feldakte_gateway::store::StoreError;
use feldakte_tests::{
    harness::{
        address::{Address, Transport},
        crew,
        faulty_store::{Act, Call, FaultyStore},
        local::Site,
        new_epoch,
        raw::{Line, RawClient},
        tablet::Tablet,
        until, within,
    },
    memory_store::MemoryStore,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};
use tokio_util::sync::CancellationToken;
use tonic::codegen::tokio_stream;
use tonic_health::pb::{HealthCheckRequest, health_check_response::ServingStatus, health_client::HealthClient};
use tonic_reflection::pb::v1::{
    ServerReflectionRequest, server_reflection_client::ServerReflectionClient,
    server_reflection_request::MessageRequest, server_reflection_response::MessageResponse,
};

/// A gateway on a store whose disk may be full.
async fn on_a_disk(site: &Site, is_full: &Arc<AtomicBool>) -> (feldakte_gateway::gateway::Gateway, Address) {
    let full = is_full.clone();
    let epoch: Epoch = new_epoch();
    let store = FaultyStore::new(MemoryStore::new(epoch, || Duration::ZERO), move |call| match call {
        Call::Append(_) if full.load(Ordering::SeqCst) => Act::Fail(StoreError::Full),
        _ => Act::Pass,
    });
    site.start_on(store).await
}

#[tokio::test(flavor = "multi_thread")]
async fn health_says_whether_commits_succeed() {
    let site = Site::over(Transport::Grpc);
    let is_full = Arc::new(AtomicBool::new(false));
    let (gateway, address) = on_a_disk(&site, &is_full).await;
    let prober = site.pki.enrol(&crew("rtw-1"));
    let ask = async |service: &str| {
        let line = Line::connect(&prober.dial(), &(address.socket, None), WINDOW).await.expect("a device gets in");
        let request = HealthCheckRequest { service: service.into() };
        let mut client = HealthClient::with_origin(line.http2(), "https://localhost".parse().unwrap());
        within("health is told", client.check(request)).await.map(|answer| answer.into_inner().status())
    };
    assert_eq!(ask("").await.unwrap(), ServingStatus::Serving);
    assert_eq!(ask("feldakte.v1.Sync").await.unwrap(), ServingStatus::Serving);
    assert_eq!(ask("somebody.elses").await.unwrap_err().code(), tonic::Code::NotFound);

    is_full.store(true, Ordering::SeqCst);
    let tablet = Tablet::online(&prober, address).await;
    tablet.create("Sturz").await;
    until("the gateway has noticed", || gateway.metrics().store_ready.get() == 0).await;
    assert_eq!(ask("").await.unwrap(), ServingStatus::NotServing);
}

#[tokio::test(flavor = "multi_thread")]
async fn reflection_shows_the_service() {
    let site = Site::over(Transport::Grpc);
    let gateway = site.start().await;
    let developer = site.pki.enrol(&crew("rtw-1"));
    let line =
        Line::connect(&developer.dial(), &(gateway.address.socket, None), WINDOW).await.expect("a device gets in");
    let mut client = ServerReflectionClient::with_origin(line.http2(), "https://localhost".parse().unwrap());
    let mut ask = async |request| {
        let request = ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let answer = client.server_reflection_info(tokio_stream::once(request)).await.unwrap();
        within("reflection answers", answer.into_inner().message()).await.unwrap().unwrap().message_response.unwrap()
    };
    let MessageResponse::ListServicesResponse(listed) = ask(MessageRequest::ListServices(String::new())).await else {
        panic!("no list")
    };
    let services: Vec<_> = listed.service.into_iter().map(|service| service.name).collect();
    assert!(services.iter().any(|service| service == "feldakte.v1.Sync"), "{services:?}");
    assert!(services.iter().any(|service| service == "grpc.health.v1.Health"), "{services:?}");
    let symbol = MessageRequest::FileContainingSymbol("feldakte.v1.ClientFrame".into());
    assert!(matches!(ask(symbol).await, MessageResponse::FileDescriptorResponse(_)));
}

/// Passes TCP on, until its connections are to carry nothing more.
struct Relay {
    address: Address,
    dead: CancellationToken,
    connections: Arc<AtomicUsize>,
    /// Pieces that have come from the gateway.
    heard: Arc<AtomicUsize>,
}

impl Relay {
    async fn before(gateway: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = Address::over(listener.local_addr().unwrap(), Transport::Grpc);
        let (dead, connections) = (CancellationToken::new(), Arc::<AtomicUsize>::default());
        let heard = Arc::<AtomicUsize>::default();
        let relay = Self { address, dead: dead.clone(), connections: connections.clone(), heard: heard.clone() };
        tokio::spawn(async move {
            while let Ok((device, _)) = listener.accept().await {
                // Those that come after the others have died live.
                let dies = if dead.is_cancelled() { CancellationToken::new() } else { dead.clone() };
                connections.fetch_add(1, Ordering::SeqCst);
                let gateway = TcpStream::connect(gateway).await.unwrap();
                let ((from_device, to_device), (from_gateway, to_gateway)) =
                    (device.into_split(), gateway.into_split());
                tokio::spawn(pass(from_device, to_gateway, dies.clone(), Arc::default()));
                tokio::spawn(pass(from_gateway, to_device, dies, heard.clone()));
            }
        });
        relay
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

async fn pass(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    dies: CancellationToken,
    heard: Arc<AtomicUsize>,
) {
    let mut piece = vec![0; 64 << 10];
    loop {
        let len = tokio::select! {
            biased;
            // Open, and nothing passes.
            () = dies.cancelled() => std::future::pending().await,
            read = from.read(&mut piece) => read,
        };
        let Ok(len @ 1..) = len else { return };
        if to.write_all(&piece[..len]).await.is_err() {
            return;
        }
        heard.fetch_add(1, Ordering::SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_path_that_carries_nothing_more_is_dialled_beside() {
    let site = Site::over(Transport::Grpc);
    let gateway = site.start().await;
    let relay = Relay::before(gateway.address.socket).await;
    let tablet = Tablet::online(&site.pki.enrol(&crew("rtw-1")), relay.address).await;
    let case = tablet.create("Sturz").await;
    tablet.wait_durable(case).await;
    relay.dead.cancel();
    let since = Instant::now();
    tablet.set(case, "gcs", "9").await;
    tablet.wait_durable(case).await;
    assert!(since.elapsed() < Duration::from_secs(5), "{:?}", since.elapsed());
    assert_eq!(tablet.client.status().await.unwrap().link, LinkState::Connected);
}

/// TCP says nothing of what has arrived, and the gateway nothing of what it cannot commit.
#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_cannot_commit_is_not_a_dead_path() {
    let site = Site::over(Transport::Grpc);
    let is_full = Arc::new(AtomicBool::new(false));
    let (_gateway, address) = on_a_disk(&site, &is_full).await;
    let relay = Relay::before(address.socket).await;
    let tablet = Tablet::online(&site.pki.enrol(&crew("rtw-1")), relay.address).await;
    let case = tablet.create("Sturz").await;
    tablet.wait_durable(case).await;
    let (before, connections) = (relay.heard.load(Ordering::SeqCst), relay.connections());
    is_full.store(true, Ordering::SeqCst);
    tablet.set(case, "gcs", "9").await;
    until("the gateway has been asked often", || relay.heard.load(Ordering::SeqCst) >= before + PROBES).await;
    assert_eq!(relay.connections(), connections, "nobody dials a gateway that answers");
    is_full.store(false, Ordering::SeqCst);
    tablet.wait_durable(case).await;
}

const WINDOW: u32 = 1 << 20;
/// After half a second, one, two: for longer than a path may be silent.
const PROBES: usize = 3;

async fn what_an_idle_session_costs(over: Transport) {
    let site = Site::over(over);
    let gateway = site.spawn().await;
    let mut held = Vec::new();
    let mut open = async |count: usize| {
        for _ in 0..count {
            let (mut session, _) = RawClient::session(&site.pki.enrol(&crew("rtw-1")), gateway.address, None).await;
            // As devices have it from the beginning.
            let urgent = session.enter(Lane::Urgent).await;
            held.push((session, urgent));
        }
    };
    open(100).await;
    let before = gateway.rss_kib();
    open(400).await;
    let each = (gateway.rss_kib() - before) as f64 / 400.0;
    println!("{over:?}: {each:.1} KiB for an idle session");
    assert!(each < 100.0, "{each} KiB");
}

feldakte_tests::over_both!(what_an_idle_session_costs);
