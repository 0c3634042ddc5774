//! A client that resumes and sends early data wherever it can, with a certificate that was revoked or has ended since:
//! there is nothing to resume, and it is judged anew each time.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_certs::{
    crl::Revocations,
    identity::{Fingerprint, serial_of},
};
use feldakte_tests::harness::{pki::DAY, pki::GATEWAY_NAME, raw, within};
use rustls::{
    ClientConfig, HandshakeKind, ServerConfig, client::Resumption, crypto::aws_lc_rs::default_provider,
    server::ServerSessionMemoryCache, time_provider::TimeProvider,
};
use rustls_pki_types::UnixTime;

use super::{
    over_quic, quic_client, quic_server,
    tcp::{CANARY, client, serve_one},
    world::{Leaf, World},
};

/// The server's clock, which a test moves forward.
#[derive(Debug, Default)]
struct Clock(AtomicU64);

impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let now = SystemTime::now() + Duration::from_secs(self.0.load(Ordering::SeqCst));
        now.duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// How a certificate ends.
#[derive(Debug, Clone, Copy)]
enum End {
    Denied,
    Revoked,
    Expired,
}

impl End {
    const ALL: [End; 3] = [End::Denied, End::Revoked, End::Expired];

    fn come(self, world: &World, device: &Leaf, clock: &Clock) -> &'static str {
        match self {
            End::Denied => {
                world.deny.replace(format!("sha256 {}", Fingerprint::of(&device.certificate)).parse().unwrap());
                "Revoked"
            }
            End::Revoked => {
                let terms = feldakte_certs::authority::CrlTerms { number: 1, validity: DAY, now: SystemTime::now() };
                let list = world.authority.issue_crl(&[serial_of(&device.certificate).unwrap()], terms).unwrap();
                let list = Revocations::from_pem(list.pem.as_bytes(), &[world.authority.certificate().clone()]);
                world.deny.replace_revocations(Some(list.unwrap()));
                "Revoked"
            }
            End::Expired => {
                clock.0.store(2 * DAY.as_secs(), Ordering::SeqCst);
                "Expired"
            }
        }
    }
}

struct Scene {
    world: World,
    device: Leaf,
    clock: Arc<Clock>,
    server: Arc<ServerConfig>,
    greedy: Arc<ClientConfig>,
}

impl Scene {
    fn new() -> Self {
        let world = World::new();
        let server = world.server();
        Self::of(world, server)
    }

    fn over_grpc() -> Self {
        let world = World::new();
        let server = world.grpc_server();
        Self::of(world, server)
    }

    fn of(world: World, mut server: ServerConfig) -> Self {
        let clock = Arc::<Clock>::default();
        let device = world.device();
        server.time_provider = clock.clone();
        let mut greedy = world.client(&device, default_provider());
        greedy.resumption = Resumption::in_memory_sessions(16);
        greedy.enable_early_data = true;
        greedy.alpn_protocols = server.alpn_protocols.clone();
        Self { world, device, clock, server: server.into(), greedy: greedy.into() }
    }

    /// A server of somebody careless: the same names, with tickets and early data.
    fn careless(&self) -> Arc<ServerConfig> {
        let mut server = self.world.server();
        server.send_tls13_tickets = 4;
        server.session_storage = ServerSessionMemoryCache::new(64);
        // QUIC knows all or nothing.
        server.max_early_data_size = u32::MAX;
        server.into()
    }
}

#[test]
fn resumption_over_tcp_with_a_revoked_or_expired_certificate() {
    resumed(Scene::new);
}

#[test]
fn resumption_over_grpc_with_a_revoked_or_expired_certificate() {
    resumed(Scene::over_grpc);
}

fn resumed(scene: impl Fn() -> Scene) {
    for end in End::ALL {
        let Scene { world, device, clock, server, greedy } = scene();
        for _ in 0..2 {
            let (judged, read) = serve_one(&server, client(&greedy));
            assert_eq!((judged, read.as_slice()), (Ok(HandshakeKind::Full), CANARY), "{end:?}: no ticket was given");
        }
        let why = end.come(&world, &device, &clock);
        let (judged, read) = serve_one(&server, client(&greedy));
        let error = judged.expect_err("refused");
        assert!(error.contains(why), "{end:?}: {error}");
        assert_eq!(read, b"");
    }
}

#[test]
fn a_ticket_from_elsewhere_and_early_data_over_tcp_with_a_revoked_or_expired_certificate() {
    for end in End::ALL {
        let scene = Scene::new();
        let careless = scene.careless();
        assert_eq!(serve_one(&careless, client(&scene.greedy)).0, Ok(HandshakeKind::Full));
        // The client does resume where it can: the attack is real.
        let mut willing = ServerConfig::clone(&careless);
        willing.max_early_data_size = 0;
        assert_eq!(serve_one(&willing.into(), client(&scene.greedy)).0, Ok(HandshakeKind::Resumed));
        let (judged, read) = serve_one(&scene.server, client(&scene.greedy));
        assert_eq!((judged, read.as_slice()), (Ok(HandshakeKind::Full), CANARY), "{end:?}: judged anew");
        let why = end.come(&scene.world, &scene.device, &scene.clock);
        let (judged, read) = serve_one(&scene.server, client(&scene.greedy));
        let error = judged.expect_err("refused");
        assert!(error.contains(why) && read.is_empty(), "{end:?}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn resumption_and_0_rtt_over_quic_with_a_revoked_or_expired_certificate() {
    for end in End::ALL {
        let Scene { world, device, clock, server, greedy } = Scene::new();
        let server = quic_server(server);
        for _ in 0..2 {
            assert_eq!(over_quic(&server, greedy.clone()).await, Ok(()), "{end:?}");
            assert!(!may_send_early(&server, &greedy).await, "{end:?}: a ticket was given");
        }
        let why = end.come(&world, &device, &clock);
        let error = over_quic(&server, greedy.clone()).await.expect_err("refused");
        assert!(
            error.contains(&format!("certificate {}", why.to_lowercase())) || error.contains(why),
            "{end:?}: {error}"
        );
        assert!(!may_send_early(&server, &greedy).await, "{end:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_from_elsewhere_and_0_rtt_over_quic_with_a_revoked_or_expired_certificate() {
    for end in End::ALL {
        let scene = Scene::new();
        let careless = quic_server(scene.careless());
        // Long enough to be given tickets.
        let endpoint = raw::endpoint();
        let address = careless.local_addr().unwrap();
        let dialled = endpoint.connect_with(quic_client(scene.greedy.clone()), address, GATEWAY_NAME).unwrap();
        let (dialled, accepted) =
            within("both ends know", async { tokio::join!(dialled, async { careless.accept().await.unwrap().await }) })
                .await;
        let (dialled, accepted) = (dialled.unwrap(), accepted.unwrap());
        let mut stream = accepted.open_uni().await.unwrap();
        stream.write_all(CANARY).await.unwrap();
        stream.finish().unwrap();
        let mut stream = within("tickets came before it", dialled.accept_uni()).await.unwrap();
        assert_eq!(stream.read_to_end(100).await.unwrap(), CANARY);

        scene_end_is_refused(&scene, end).await;
    }
}

/// The client has tickets: it may send early, and the server takes nothing of it.
async fn scene_end_is_refused(scene: &Scene, end: End) {
    let server = quic_server(scene.server.clone());
    end.come(&scene.world, &scene.device, &scene.clock);
    let endpoint = raw::endpoint();
    let address = server.local_addr().unwrap();
    let dialled = endpoint.connect_with(quic_client(scene.greedy.clone()), address, GATEWAY_NAME).unwrap();
    let Ok((early, taken)) = dialled.into_0rtt() else { panic!("{end:?}: the attack is real only with a ticket") };
    let mut stream = early.open_uni().await.unwrap();
    stream.write_all(CANARY).await.unwrap();
    let judged = within("judged", async { server.accept().await.unwrap().await }).await;
    assert!(judged.is_err(), "{end:?}: let in");
    assert!(!within("told", taken).await, "{end:?}: early data was taken");
}

async fn may_send_early(server: &quinn::Endpoint, tls: &Arc<ClientConfig>) -> bool {
    let endpoint = raw::endpoint();
    let dialled = endpoint.connect_with(quic_client(tls.clone()), server.local_addr().unwrap(), GATEWAY_NAME).unwrap();
    let may = dialled.into_0rtt().is_ok();
    // Whatever it began is no concern of the next one.
    endpoint.close(0_u32.into(), b"");
    if let Some(incoming) = within("the server hears of it", server.accept()).await {
        incoming.ignore();
    }
    may
}
