//! What only sessions over TCP invite: a second connection that somebody else could take, calls where none belong, and
//! sockets that are opened and left.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use feldakte_core::{
    ids::DocumentId,
    limits::{self, Shares},
};
use feldakte_proto::{
    CloseCode, ServerMessage,
    grpc::{BulkRequest, Frame, SessionName, close_code_of},
};
use feldakte_tests::harness::{
    address::{Address, Transport},
    author::Author,
    crew,
    local::{LocalGateway, Site},
    new_document,
    pki::Enrolled,
    raw::{self, Line, RawClient, hello},
    until, within,
};
use quinn::Endpoint;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::JoinSet,
};
use tonic::{Code, Status};

use super::bystander::Bystander;

/// A site whose gateway is reached over gRPC, and a crew with a document and a session.
struct World {
    site: Site,
    gateway: LocalGateway,
    crew: Enrolled,
    client: RawClient,
    document: DocumentId,
}

impl World {
    async fn new() -> Self {
        let site = Site::over(Transport::Grpc);
        let gateway = site.start().await;
        let crew = site.pki.enrol(&crew("rtw-1"));
        let (mut client, _) = RawClient::session(&crew, gateway.address, None).await;
        let mut author = Author::new(&crew.principal, new_document());
        assert_eq!(client.push_and_wait(author.document, author.begin(3)).await.refused, []);
        let document = author.document;
        Self { site, gateway, crew, client, document }
    }

    async fn line(&self, device: &Enrolled) -> Line {
        Line::connect(&device.dial(), &(self.gateway.address.socket, None), WINDOW).await.expect("a device gets in")
    }

    fn rejected(&self, reason: &'static str) -> u64 {
        self.gateway.metrics().rejected.get_or_create(&vec![("reason", reason)]).get()
    }
}

/// The status of a call for bulk that must bring nothing.
async fn refused(line: &Line, session: SessionName, fetch: u64) -> Status {
    let request = BulkRequest { session, fetch };
    let answer = within("the call is answered", line.client().bulk(request.encode())).await;
    answer.map(|_| ()).expect_err("it brought something")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stolen_session_name_opens_nothing_to_another_certificate() {
    let mut world = World::new().await;
    let name = world.client.grpc().name();
    // Of the same unit, with the same rights; and the same device with a younger certificate.
    let colleague = world.site.pki.enrol(&crew("rtw-1"));
    let renewed = world.site.pki.enrol(&world.crew.principal);
    for thief in [&colleague, &renewed] {
        let line = world.line(thief).await;
        let status = refused(&line, name.clone(), 1).await;
        assert_eq!(close_code_of(&status), Some(CloseCode::NotPermitted), "{status:?}");
    }
    assert_eq!(world.rejected("bulk_not_permitted"), 2);
    // It has taken nothing of the owner's either: his fetch is the first one still.
    let fetched = world.client.fetch(&[world.document]).await;
    assert_eq!(fetched.snapshots.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guessed_session_name_looks_like_somebody_elses() {
    let mut world = World::new().await;
    let SessionName(mut near) = world.client.grpc().name();
    near[31] ^= 1;
    let line = world.line(&world.crew).await;
    for guess in [near, [0; 32]] {
        let status = refused(&line, SessionName(guess), 1).await;
        assert_eq!(close_code_of(&status), Some(CloseCode::NotPermitted), "{status:?}");
    }
    let malformed = line.client().bulk(Frame(bytes::Bytes::from_static(b"\x0a\x05short"))).await.unwrap_err();
    assert_eq!(close_code_of(&malformed), Some(CloseCode::Protocol));
    assert_eq!(world.client.fetch(&[world.document]).await.snapshots.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sessions_name_is_worth_nothing_when_it_has_ended() {
    let mut world = World::new().await;
    let name = world.client.grpc().name();
    let device = world.crew.principal.device;
    world.gateway.gateway.shared().registry.close_device(device, CloseCode::Superseded);
    assert_eq!(world.client.closed().await, Some(CloseCode::Superseded));
    let line = world.line(&world.crew).await;
    until("the name is forgotten", || world.gateway.gateway.connections() == 0).await;
    assert_eq!(close_code_of(&refused(&line, name, 1).await), Some(CloseCode::NotPermitted));
}

#[tokio::test(flavor = "multi_thread")]
async fn bulk_of_a_revoked_device_is_cut_with_its_session() {
    let mut world = World::new().await;
    let name = world.client.grpc().name();
    // A call for a fetch that was never asked for waits for ever.
    let line = world.line(&world.crew).await;
    let waiting = tokio::spawn(async move {
        let request = BulkRequest { session: name, fetch: 1 };
        line.client().bulk(request.encode()).await.map(|_| ())
    });
    let denied = format!("device {}", world.crew.principal.device);
    let since = Instant::now();
    world.gateway.deny.replace(denied.parse().unwrap());
    assert_eq!(world.gateway.gateway.close_lapsed(), 1);
    assert_eq!(world.client.closed().await, Some(CloseCode::NotPermitted));
    assert!(within("the call ends", waiting).await.unwrap().is_err());
    assert!(since.elapsed() < Duration::from_secs(1), "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_for_one_thing_is_for_nothing_else() {
    let mut world = World::new().await;
    let name = world.client.grpc().name();
    // On the session's connection: its own bulk, another session, and what everybody may ask.
    let status = refused(&world.client.grpc().line, name.clone(), 1).await;
    assert_eq!(close_code_of(&status), Some(CloseCode::Protocol));
    let second = world.client.grpc().line.client().session(tonic::codegen::tokio_stream::pending()).await;
    assert_eq!(close_code_of(&second.map(|_| ()).unwrap_err()), Some(CloseCode::Protocol));
    // On the connection for bulk: a session.
    assert_eq!(world.client.fetch(&[world.document]).await.snapshots.len(), 1);
    let bulk = world.client.grpc().bulk.as_ref().expect("it has fetched").client();
    let session = bulk.clone().session(tonic::codegen::tokio_stream::pending()).await;
    assert_eq!(close_code_of(&session.map(|_| ()).unwrap_err()), Some(CloseCode::Protocol));
    // A fetch is answered once, and the session lives on.
    let again = refused(world.client.grpc().bulk.as_ref().unwrap(), name, 1).await;
    assert_eq!(again.code(), Code::NotFound);
    assert_eq!(world.client.fetch(&[world.document]).await.snapshots.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn more_calls_for_bulk_than_fetches_are_refused() {
    let mut world = World::new().await;
    let name = world.client.grpc().name();
    let line = world.line(&world.crew).await;
    let mut calls = JoinSet::new();
    for fetch in 1..=7 {
        let (mut client, request) = (line.client(), BulkRequest { session: name.clone(), fetch });
        calls.spawn(async move { client.bulk(request.encode()).await.map(|_| ()) });
    }
    // Those beyond the fourth; and those that came after a later one.
    for _ in 0..3 {
        let ended = within("calls are refused", calls.join_next()).await.unwrap().unwrap();
        assert!(matches!(ended.unwrap_err().code(), Code::ResourceExhausted | Code::NotFound));
    }
    let mut author = Author::new(&world.crew.principal, new_document());
    assert_eq!(world.client.push_and_wait(author.document, author.begin(1)).await.refused, []);
}

/// Over UDP and TCP together, and another address is served.
#[tokio::test(flavor = "multi_thread")]
async fn one_address_opens_connections_without_end_over_both_transports() {
    let shares = Shares { connections_per_address: 10, ..Shares::DEFAULT };
    let mut site = Site::over(Transport::Grpc);
    site.shares = shares;
    let gateway = site.start().await;
    let rejected = || gateway.metrics().rejected.get_or_create(&vec![("reason", "address_connections")]).get();
    let over_quic = Address::over(gateway.address.socket, Transport::Quic);
    let mut held = Vec::new();
    for (number, address) in [over_quic, gateway.address].into_iter().cycle().take(20).enumerate() {
        let attacker = site.pki.enrol(&crew(&format!("attacker-{number}")));
        held.extend(RawClient::try_session(attacker.dial(), address, None).await);
    }
    assert_eq!((held.len(), gateway.gateway.connections()), (10, 10));
    assert_eq!(rejected(), 10);
    // Loopback has more addresses than one.
    let elsewhere = Endpoint::client((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap();
    let honest = site.pki.enrol(&crew("rtw-1"));
    let mut client = RawClient::connect(&elsewhere, honest.quic(), gateway.address).await.unwrap();
    client.send(&hello(None)).await;
    assert!(matches!(client.next().await, Ok(ServerMessage::Welcome(_))));
    // And the address itself, as soon as it lets go of one.
    held.clear();
    until("they are gone", || gateway.gateway.connections() == 1).await;
    assert!(RawClient::try_session(honest.dial(), gateway.address, None).await.is_some());
}

/// Sockets that say nothing, handshakes that go on without a call, and a hello in drops.
#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_over_tcp_is_closed_in_time_and_holds_nobody_up() {
    let world = World::new().await;
    let address = world.gateway.address.socket;
    let bystander = Bystander::start(&world.site, world.gateway.address).await;
    let begun = Instant::now();
    let mut ends = JoinSet::new();
    for _ in 0..SILENT {
        ends.spawn(async move {
            let mut socket = TcpStream::connect(address).await.unwrap();
            // However it ends: by an end, or by a reset.
            let _ = socket.read_to_end(&mut Vec::new()).await;
        });
    }
    let attacker = world.site.pki.enrol(&crew("attacker"));
    let mut without_call = world.line(&attacker).await;
    ends.spawn(async move { without_call.ended().await });
    let mut half = raw::tls(&attacker.dial(), &(address, None)).await.unwrap();
    ends.spawn(async move {
        let _ = half.write_all(b"PRI * HTTP/2.0").await;
        let _ = half.read_to_end(&mut Vec::new()).await;
    });
    let mut silent = RawClient::open(attacker.dial(), world.gateway.address).await.unwrap();
    assert_eq!(silent.closed().await, Some(CloseCode::HelloTimeout));
    while within("they are closed", ends.join_next()).await.is_some() {}
    let took = begun.elapsed();
    assert!(took >= limits::HELLO_WITHIN && took < 3 * limits::HELLO_WITHIN, "{took:?}");
    bystander.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hello_in_drops_is_not_waited_for() {
    let world = World::new().await;
    let attacker = world.site.pki.enrol(&crew("attacker"));
    let mut slow = RawClient::open(attacker.dial(), world.gateway.address).await.unwrap();
    let hello = hello(None).encode();
    let begun = Instant::now();
    slow.grpc().send_raw(bytes::Bytes::from_static(&[0])).await;
    for n in 0..hello.len() {
        if begun.elapsed() > 2 * limits::HELLO_WITHIN {
            break;
        }
        slow.grpc().send_raw(hello.slice(n..n + 1)).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!((slow.closed().await, slow.received), (Some(CloseCode::HelloTimeout), 0));
}

const WINDOW: u32 = 1 << 20;
/// More than half of the handshakes that one address may have under way.
const SILENT: usize = 200;
