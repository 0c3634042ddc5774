//! Clients that keep a connection and give or take as little as they can.

use std::{sync::Arc, time::Duration};

use feldakte_core::{lane::Lane, limits};
use feldakte_proto::{ClientMessage, CloseCode};
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    crew,
    local::Site,
    new_document, noise,
    pki::transport,
    raw::{self, RawClient, Seen, hello},
    within,
};

use super::bystander::Bystander;

#[tokio::test(flavor = "multi_thread")]
async fn who_says_hello_too_slowly_or_not_at_all_is_closed() {
    let site = Site::new();
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let enrol = || site.pki.enrol(&crew("attacker")).quic();
    let endpoint = raw::endpoint();
    let mut silent = RawClient::connect(&endpoint, enrol(), gateway.address).await.unwrap();
    let mut slow = RawClient::connect(&endpoint, enrol(), gateway.address).await.unwrap();
    let begun = tokio::time::Instant::now();
    let drip = async {
        let hello = hello(None).encode();
        for n in 0..hello.len() {
            slow.send_bytes(hello.slice(n..n + 1)).await;
            let ended = tokio::time::timeout(Duration::from_secs(1), slow.quic().connection.closed()).await;
            if let Ok(error) = ended {
                return raw::close_code(&error);
            }
        }
        panic!("a hello that took {:?} was waited for", begun.elapsed());
    };
    let (dripped, kept_silent) = tokio::join!(drip, silent.closed());
    assert_eq!((dripped, kept_silent), (Some(CloseCode::HelloTimeout), Some(CloseCode::HelloTimeout)));
    assert!(begun.elapsed() >= limits::HELLO_WITHIN - Duration::from_secs(1));
    assert_eq!(slow.received, 0);
    bystander.unharmed().await;
}

async fn who_takes_no_bytes_is_closed_and_holds_nobody_up(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let [crew_device, attacker] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut stalled, _) = RawClient::session_with(attacker.dial().narrow(1_024), gateway.address, None).await;
    let (mut writer, _) = RawClient::session(&crew_device, gateway.address, None).await;
    let mut author = Author::new(&crew_device.principal, new_document());
    writer.push_and_wait(author.document, author.begin(60)).await;
    // Over TCP the reason would come behind what is not taken.
    let code = (over == Transport::Quic).then_some(CloseCode::Stalled);
    assert_eq!(stalled.closed().await, code);
    bystander.unharmed().await;
}

/// A slow link is not an attack: whoever takes something is served, if it takes minutes.
#[tokio::test(flavor = "multi_thread")]
async fn who_takes_bytes_slowly_is_served_to_the_end() {
    let site = Site::new();
    let gateway = site.start().await;
    let [crew_device, slow_device] = [(); 2].map(|()| site.pki.enrol(&crew("rtw-1")));
    let (mut writer, _) = RawClient::session(&crew_device, gateway.address, None).await;
    let mut author = Author::new(&crew_device.principal, new_document());
    let mut changes = author.begin(0);
    changes.extend((0..50).map(|n| author.set("gcs", &noise(n, 4_000)).bytes));
    let count = changes.len();
    writer.push_and_wait(author.document, changes).await;

    let mut narrow = transport();
    narrow.stream_receive_window(4_096_u32.into());
    let mut config = slow_device.quic();
    config.transport_config(Arc::new(narrow));
    // The catch-up is one frame of 200 KB; at this rate it takes longer than a peer may stall.
    let (mut slow, _) = RawClient::session_with(config, gateway.address, None).await;
    let begun = tokio::time::Instant::now();
    let mut seen = Seen::default();
    while !seen.caught_up {
        slow.read_once(&mut seen).await;
        tokio::time::sleep_until(begun + Duration::from_micros(slow.received * 1_000_000 / SLOW_RATE)).await;
    }
    assert!(begun.elapsed() > limits::WRITE_STALL_MAX, "{:?} proves nothing", begun.elapsed());
    assert_eq!(seen.changes().len(), count);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_opens_more_streams_than_allowed_and_a_stray_datagram_disturbs_nobody() {
    let site = Site::new();
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let attacker = site.pki.enrol(&crew("attacker"));
    let (mut client, _) = RawClient::session(&attacker, gateway.address, None).await;
    let mut opened = Vec::new();
    let opening: Vec<_> = (0..1_000)
        .map(|_| {
            let connection = client.quic().connection.clone();
            tokio::spawn(async move { connection.open_bi().await })
        })
        .collect();
    // The session goes on beside them: its answer comes after whatever the gateway did about the streams.
    let mut author = Author::new(&attacker.principal, new_document());
    client.push_and_wait(author.document, author.begin(1)).await;
    for open in opening {
        if open.is_finished() {
            let mut stream = open.await.unwrap().unwrap();
            stream.0.write_all(&ClientMessage::Enter(Lane::Background).encode()).await.unwrap();
            opened.push(stream);
        } else {
            open.abort();
        }
    }
    assert!(opened.len() < 4, "{} beside the session", opened.len());
    let uni = tokio::time::timeout(Duration::from_millis(100), client.quic().connection.open_uni()).await;
    assert!(uni.is_err(), "none may be opened");
    let sent = client.quic().connection.send_datagram(bytes::Bytes::from_static(b"x"));
    assert!(sent.is_ok(), "live vitals come that way: {sent:?}");
    let durable =
        within("the session goes on", client.push_and_wait(author.document, vec![author.set("gcs", "9").bytes])).await;
    assert_eq!(durable.refused, []);
    bystander.unharmed().await;
}

/// Bytes a second: the edge of a cell.
const SLOW_RATE: u64 = 8_000;

feldakte_tests::over_both!(who_takes_no_bytes_is_closed_and_holds_nobody_up,);
