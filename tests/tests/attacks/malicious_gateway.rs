//! A gateway that has been taken over, or a bundle that was damaged on its disk: the tablet refuses what it sends with
//! bounded memory, holds on to what is its own, and goes on with everything else.

use std::{fs, net::SocketAddr, sync::Arc};

use bytes::Bytes;
use feldakte_certs::{deny::DenyList, policy, verifier::DeviceVerifier};
use feldakte_core::{
    ids::{CaseId, DocumentId, Position, SessionId},
    limits,
};
use feldakte_proto::{
    Bundler, ChangesFrame, ClientMessage, FrameDecoder, ServerMessage, Snapshot, VERSION, Welcome, encode_frame,
};
use feldakte_tests::harness::{
    again,
    author::Author,
    crew,
    local::Site,
    new_document, new_epoch,
    pki::read_identity,
    process::peak_rss_kib,
    tablet::{Tablet, memory_store, texts},
    within,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicServerConfig};
use uuid::Uuid;

use super::frames::field;

/// One more than a tablet asks for at once: that it asks for the last one shows that it is done with the others.
const DOCUMENTS: usize = 129;
/// A bundle may unpack to 64 MiB; that and the tablet itself, with room for a buffer that grows by doubling.
const PEAK_KIB_MAX: u64 = 256 << 10;

/// The other side of one session.
struct Session {
    connection: Connection,
    out: SendStream,
    input: RecvStream,
    decoder: FrameDecoder,
}

impl Session {
    async fn accept(endpoint: &Endpoint, welcome: Welcome, bootstrap: &[DocumentId]) -> Self {
        let incoming = within("the tablet dials", endpoint.accept()).await.expect("the endpoint is open");
        let connection =
            within("the handshake ends", incoming.into_future()).await.expect("the tablet trusts this gateway");
        let (out, input) = within("a session stream", connection.accept_bi()).await.expect("a session");
        let decoder = FrameDecoder::new(limits::FRAME_LEN_MAX);
        let mut session = Self { connection, out, input, decoder };
        assert!(matches!(session.next().await, ClientMessage::Hello(_)));
        session.send(ServerMessage::Welcome(welcome)).await;
        let bootstrap = bootstrap.to_vec();
        let frame = ChangesFrame { to: Some(Position(1)), bootstrap, caught_up: true, entries: Vec::new() };
        session.send(ServerMessage::Changes(frame)).await;
        session
    }

    async fn send(&mut self, message: ServerMessage) {
        self.out.write_chunk(message.encode()).await.expect("the tablet listens");
    }

    async fn send_stream(&mut self, bytes: Bytes) {
        let mut stream = self.connection.open_uni().await.expect("the tablet takes snapshots");
        // The tablet may refuse before it has read everything.
        let _ = stream.write_chunk(bytes).await;
        let _ = stream.finish();
    }

    async fn next(&mut self) -> ClientMessage {
        within("the tablet says something", async {
            loop {
                if let Some(frame) = self.decoder.next_frame().expect("a tablet's frame") {
                    return ClientMessage::decode(frame).expect("a tablet's message");
                }
                let chunk = self.input.read_chunk(usize::MAX, true).await.expect("the session lives");
                self.decoder.extend(&chunk.expect("the stream is open").bytes);
            }
        })
        .await
    }

    async fn next_fetch(&mut self) -> Vec<DocumentId> {
        match self.next().await {
            ClientMessage::Fetch(fetch) => fetch.documents,
            other => panic!("{other:?}"),
        }
    }
}

/// Bundles that must not be opened, or not to the end.
fn bombs() -> Vec<(&'static str, Bytes)> {
    let packed = |raw: &[u8]| zstd::bulk::compress(raw, 3).expect("memory compresses");
    let zeros = |mib: usize| packed(&vec![0; mib << 20]);
    // A frame of its own for each window of zeros, so that a few kilobytes unpack to gigabytes.
    let gigabytes = zeros(32).repeat(128);
    let wide = {
        let mut encoder = zstd::stream::Encoder::new(Vec::new(), 3).expect("an encoder");
        encoder.window_log(27).expect("zstd knows it");
        std::io::Write::write_all(&mut encoder, &vec![0; 200 << 20]).expect("memory compresses");
        encoder.finish().expect("memory compresses")
    };
    // Two bytes each, and a hundred in memory if they were all decoded.
    let fields = packed(&field(2, &[]).repeat((limits::BUNDLE_RAW_MAX - 64) / 2));
    let honest_len = limits::BUNDLE_RAW_MAX as u64;
    vec![
        ("claims two gigabytes", bundle(2 << 30, &zeros(1))),
        ("claims a megabyte and unpacks to gigabytes", bundle(1 << 20, &gigabytes)),
        ("unpacks to what it claims, which is nothing", bundle(honest_len, &zeros(limits::BUNDLE_RAW_MAX >> 20))),
        ("holds millions of items", bundle(honest_len - 64, &fields)),
        ("wants a window of 128 MiB", bundle(honest_len, &wide)),
        ("is no zstd", bundle(100, &[7; 100])),
        ("is no bundle", encode_frame(&[0; 100])),
        ("announces four gigabytes", Bytes::from_static(&[0xff; 4])),
        ("ends inside a frame", bundle(1 << 20, &zeros(1)).slice(..20)),
    ]
}

fn bundle(raw_len: u64, packed: &[u8]) -> Bytes {
    let len = [vec![1 << 3], feldakte_core::change::craft::unsigned(raw_len)].concat();
    encode_frame(&[len, field(2, packed)].concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn bundles_that_are_bombs_are_refused_with_bounded_memory_and_block_nothing() {
    let site = Site::new();
    let endpoint = malicious_endpoint(&site);
    let device = site.pki.enrol(&crew("rtw-1"));
    device.write(site.dir());
    fs::write(site.dir().join("gateway"), endpoint.local_addr().unwrap().to_string()).unwrap();
    let documents: Vec<DocumentId> = (0..DOCUMENTS).map(|_| new_document()).collect();
    let wanted = documents[0];
    fs::write(site.dir().join("wanted"), wanted.case.to_string()).unwrap();
    let mut child = again::command("malicious_gateway::child_fetches_from_it", site.dir()).spawn().unwrap();
    let mut words = again::Words::of(&mut child);
    let welcome = Welcome {
        version: VERSION,
        session: SessionId(Uuid::nil()),
        epoch: new_epoch(),
        head: Position(1),
        caught_up: false,
        server_time_ms: 0,
        restored_to: None,
        active: None,
        delivers: Vec::new(),
    };
    for (what, bomb) in bombs() {
        let mut session = Session::accept(&endpoint, welcome.clone(), &documents).await;
        assert_eq!(session.next_fetch().await.len(), DOCUMENTS - 1, "{what}");
        session.send_stream(bomb).await;
        let next = session.next_fetch().await.len();
        assert!((1..DOCUMENTS - 1).contains(&next), "{what}: the tablet goes on at once, with fewer: {next}");
        session.connection.close(0_u32.into(), b"");
    }

    // From a gateway that is honest again it gets what it wants.
    let mut session = Session::accept(&endpoint, welcome, &documents).await;
    let mut author = Author::new(&device.principal, wanted);
    let chunks = author.begin(3).concat().into();
    let snapshot = Snapshot { document: wanted, position: Position(1), chunks, bindings: vec![], quarantined: vec![] };
    for _ in 0..2 {
        let mut bundler = Bundler::default();
        for document in session.next_fetch().await {
            match document == wanted {
                true => assert!(bundler.push(&snapshot).is_none()),
                false => bundler.push_unavailable(document),
            }
        }
        session.send_stream(bundler.finish().expect("answers")).await;
    }
    assert_eq!(within("the tablet shows it", words.next()).await.as_deref(), Some("shown"));
    let peak = peak_rss_kib(child.id().unwrap());
    println!("the tablet's memory was at most {peak} KiB");
    assert!(peak <= PEAK_KIB_MAX, "{peak} KiB");
}

fn malicious_endpoint(site: &Site) -> Endpoint {
    let (chain, key) = site.pki.gateway();
    let verifier = DeviceVerifier::new(site.pki.roots(), DenyList::default()).unwrap();
    let tls = policy::server_config(chain, key, verifier).unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::try_from(tls).unwrap()));
    Endpoint::server(config, (std::net::Ipv4Addr::LOCALHOST, 0).into()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "runs as a child of bundles_that_are_bombs_are_refused_with_bounded_memory_and_block_nothing"]
async fn child_fetches_from_it() {
    let Some(directory) = again::directory() else { return };
    let read = |name: &str| fs::read_to_string(directory.join(name)).unwrap();
    let gateway: SocketAddr = read("gateway").parse().unwrap();
    let wanted: CaseId = read("wanted").parse().unwrap();
    let tablet = Tablet::open(read_identity(&directory), gateway, memory_store()).await;
    tablet.client.go_online();
    tablet.wait_case(wanted, "the case", |view| texts(view, "gcs") == ["2".to_owned()].into()).await;
    again::say("shown");
    // Lives until its memory has been looked at.
    std::future::pending::<()>().await;
}
