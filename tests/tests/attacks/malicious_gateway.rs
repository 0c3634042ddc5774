//! A gateway that has been taken over, or a bundle that was damaged on its disk: the tablet refuses what it sends with
//! bounded memory, holds on to what is its own, and goes on with everything else.

use std::{fs, net::SocketAddr};

use bytes::Bytes;
use feldakte_core::{
    ids::{CaseId, DocumentId, Position},
    limits,
};
use feldakte_proto::{Bundler, Snapshot, encode_frame};
use feldakte_tests::harness::{
    again,
    author::Author,
    crew,
    local::Site,
    new_document, new_epoch,
    pki::read_identity,
    process::peak_rss_kib,
    scripted::{self, Session},
    tablet::{Tablet, memory_store, texts},
    within,
};

use super::frames::field;

/// One more than a tablet asks for at once: that it asks for the last one shows that it is done with the others.
const DOCUMENTS: usize = 129;
/// A bundle may unpack to 64 MiB; that and the tablet itself, with room for a buffer that grows by doubling.
const PEAK_KIB_MAX: u64 = 256 << 10;

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
    let endpoint = scripted::endpoint(&site);
    let device = site.pki.enrol(&crew("rtw-1"));
    device.write(site.dir());
    fs::write(site.dir().join("gateway"), endpoint.local_addr().unwrap().to_string()).unwrap();
    let documents: Vec<DocumentId> = (0..DOCUMENTS).map(|_| new_document()).collect();
    let wanted = documents[0];
    fs::write(site.dir().join("wanted"), wanted.case.to_string()).unwrap();
    let mut child = again::command("malicious_gateway::child_fetches_from_it", site.dir()).spawn().unwrap();
    let mut words = again::Words::of(&mut child);
    let welcome = scripted::welcome(new_epoch());
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
