//! Who takes more than a share: an address with connections and handshakes, a device with changes. Others are served, and
//! what waits is not lost.

use std::{
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use feldakte_certs::policy;
use feldakte_client_sdk::view::LinkState;
use feldakte_core::{access::BreakGlassReason, limits::Shares, rate::Rate};
use feldakte_proto::{ClientMessage, CloseCode, OpenedOffline, Outcome, Receipts, Seen, ServerMessage};
use feldakte_tests::harness::{
    address::Address,
    author::Author,
    crew,
    local::{LocalGateway, Site},
    new_document,
    pki::{GATEWAY_NAME, quic},
    raw::{self, RawClient, hello},
    tablet::{Tablet, memory_store},
    until, within,
};
use quinn::{ConnectionError, Endpoint};
use rustls::{ClientConfig, version::TLS13};

const SECOND: Duration = Duration::from_secs(1);

fn site(shares: Shares) -> Site {
    let mut site = Site::new();
    site.shares = shares;
    site
}

/// Loopback has more addresses than one.
fn elsewhere() -> Endpoint {
    Endpoint::client((Ipv4Addr::new(127, 0, 0, 2), 0).into()).unwrap()
}

fn rejected(gateway: &LocalGateway, reason: &'static str) -> u64 {
    gateway.metrics().rejected.get_or_create(&vec![("reason", reason)]).get()
}

async fn dial(endpoint: &Endpoint, config: quinn::ClientConfig, gateway: Address) -> Result<(), ConnectionError> {
    let connecting = endpoint.connect_with(config, gateway.socket, GATEWAY_NAME).unwrap();
    let connection = within("the handshake ends", connecting).await?;
    Err(within("the gateway closes", connection.closed()).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_opens_connections_without_end_and_another_is_served() {
    let site = site(Shares { connections_per_address: 10, ..Shares::DEFAULT });
    let gateway = site.start().await;
    let endpoint = elsewhere();
    let (mut held, mut refused) = (Vec::new(), 0);
    for number in 0..30 {
        let config = site.pki.enrol(&crew(&format!("attacker-{number}"))).quic();
        match RawClient::connect(&endpoint, config, gateway.address).await {
            // A connection that says nothing is closed after a while, and its place is free again.
            Ok(mut client) => {
                client.send(&hello(None)).await;
                assert!(matches!(client.next().await, Ok(ServerMessage::Welcome(_))));
                held.push(client);
            }
            Err(ConnectionError::ConnectionClosed(_)) => refused += 1,
            Err(other) => panic!("{other:?}"),
        }
    }
    assert_eq!(gateway.gateway.connections(), 10);
    assert_eq!(rejected(&gateway, "address_connections"), 20);
    assert_eq!(refused, 20, "refused before a handshake, after a proof of its address");
    let honest = site.pki.enrol(&crew("rtw-1"));
    let (mut client, _) = RawClient::session(&honest, gateway.address, None).await;
    let mut author = Author::new(&honest.principal, new_document());
    assert_eq!(client.push_and_wait(author.document, author.begin(1)).await.refused, []);
    // And the address itself, as soon as it lets go of one.
    assert_eq!(gateway.gateway.connections(), 11, "its ten and the honest one");
    held.pop().unwrap().quic().connection.close(0_u32.into(), b"");
    let again = site.pki.enrol(&crew("rtw-2")).quic();
    until("it is gone", || gateway.gateway.connections() == 10).await;
    assert!(RawClient::connect(&endpoint, again, gateway.address).await.is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_address_shakes_hands_without_end_and_another_is_served() {
    let rate = Rate { amount: 20, every: Duration::from_secs(3600) };
    let site = site(Shares { handshakes_per_address: rate, ..Shares::DEFAULT });
    let gateway = site.start().await;
    let builder = ClientConfig::builder_with_provider(policy::provider()).with_protocol_versions(&[&TLS13]).unwrap();
    let mut nobody = builder.with_root_certificates(site.pki.roots()).with_no_client_auth();
    nobody.alpn_protocols = vec![policy::ALPN.to_vec()];
    let (nobody, endpoint) = (quic(nobody), elsewhere());
    let judged = || rejected(&gateway, "certificate_missing") + rejected(&gateway, "address_handshakes");
    for number in 1..=60 {
        assert!(dial(&endpoint, nobody.clone(), gateway.address).await.is_err());
        // The client hears of it before the gateway has put it down.
        until("it is put down", || judged() == number).await;
    }
    // Without a certificate it has shown that it hears us, and pays for it.
    assert_eq!(rejected(&gateway, "certificate_missing"), 20);
    assert_eq!(rejected(&gateway, "address_handshakes"), 40);
    let of_that_address = site.pki.enrol(&crew("attacker")).quic();
    assert!(matches!(
        dial(&endpoint, of_that_address, gateway.address).await,
        Err(ConnectionError::ConnectionClosed(_))
    ));
    RawClient::session(&site.pki.enrol(&crew("rtw-1")), gateway.address, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_device_beyond_its_push_share_is_slowed_and_loses_nothing() {
    let shares = Shares { pushed_changes: Rate { amount: 100, every: SECOND }, ..Shares::DEFAULT };
    let site = site(shares);
    let gateway = site.start().await;
    let [flooder, crew] = [crew("flooder"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let (mut client, _) = RawClient::session(&flooder, gateway.address, None).await;
    let (mut bystander, _) = RawClient::session(&crew, gateway.address, None).await;
    let mut author = Author::new(&flooder.principal, new_document());
    client.push_and_wait(author.document, author.begin(0)).await;
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for number in 0..300 {
        let change = author.set("gcs", &number.to_string());
        waiting.push(client.push(author.document, vec![change.bytes]).await);
    }
    until("it is slowed", || slowed(&gateway, "pushed_changes") > 0).await;
    let mut other = Author::new(&crew.principal, new_document());
    let asked = Instant::now();
    bystander.push_and_wait(other.document, other.begin(1)).await;
    assert!(asked.elapsed() < SECOND, "nobody else waits: {:?}", asked.elapsed());
    for push in waiting {
        let answer = loop {
            match client.next().await.expect("the session lives") {
                ServerMessage::Durable(durable) => break durable,
                _ => continue,
            }
        };
        assert_eq!((answer.push, answer.refused), (push, vec![]));
    }
    // 301 changes and the first push, of which 100 were there at once.
    assert!(begun.elapsed() >= 2 * SECOND, "{:?}", begun.elapsed());
    let mut seen = raw::Seen::default();
    let (mut reader, _) = RawClient::session(&flooder, gateway.address, None).await;
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    let held: usize = seen.changes().len();
    assert!(held == 301 || !seen.bootstrap.is_empty(), "{held} of 301");
}

#[tokio::test(flavor = "multi_thread")]
async fn reconnecting_does_not_give_back_a_share_that_is_used_up() {
    let rate = Rate { amount: 10, every: Duration::from_secs(3600) };
    let site = site(Shares { pushed_changes: rate, ..Shares::DEFAULT });
    let gateway = site.start().await;
    let device = site.pki.enrol(&crew("flooder"));
    let mut author = Author::new(&device.principal, new_document());
    let (mut client, _) = RawClient::session(&device, gateway.address, None).await;
    client.push_and_wait(author.document, author.begin(20)).await;
    let durable = gateway.metrics().changes_durable.get();
    let (mut again, _) = RawClient::session(&device, gateway.address, None).await;
    again.push(author.document, vec![author.set("gcs", "3").bytes]).await;
    until("it is slowed again", || slowed(&gateway, "pushed_changes") >= 2).await;
    assert_eq!(gateway.metrics().changes_durable.get(), durable);
    assert_ne!(client.closed().await, Some(CloseCode::Crowded), "it was superseded, not shut out");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tablet_beyond_its_share_stays_connected_and_delivers_everything() {
    let shares = Shares { stored_bytes: Rate { amount: 4_000, every: SECOND }, ..Shares::DEFAULT };
    let site = site(shares);
    let gateway = site.start().await;
    let tablet = Tablet::open(site.pki.enrol(&crew("rtw-1")).identity(), gateway.address, memory_store()).await;
    let mut cases = Vec::new();
    for number in 0..20 {
        cases.push(tablet.create(&format!("Einsatz {number}")).await);
    }
    tablet.go_online().await;
    tablet.wait_all_safe().await;
    assert!(slowed(&gateway, "stored_bytes") > 0);
    let connected = tablet.links().iter().filter(|link| **link == LinkState::Connected).count();
    assert_eq!(connected, 1, "being slow is not being gone: {:?}", tablet.links());
    for case in cases {
        assert_eq!(tablet.sync(case).await.refused, 0);
    }
}

/// The audit log and the supervisors' list are not a device's to fill.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_invents_readings_and_emergencies_is_slowed_and_nobody_else() {
    let site = site(Shares { receipts: Rate { amount: 1_000, every: Duration::from_secs(3_600) }, ..Shares::DEFAULT });
    let gateway = site.start().await;
    let [flooder, crew] = [crew("flooder"), crew("rtw-1")].map(|principal| site.pki.enrol(&principal));
    let (mut client, _) = RawClient::session(&flooder, gateway.address, None).await;
    let (mut bystander, _) = RawClient::session(&crew, gateway.address, None).await;
    let opened = |at_ms| OpenedOffline {
        case: new_document().case,
        user: None,
        reason: BreakGlassReason::LifeInDanger,
        text: "erfunden".into(),
        at_ms,
    };
    let mut outcomes = Vec::new();
    for at_ms in 0..20 {
        let read = Seen { document: new_document(), user: None, first_ms: 1, last_ms: 2, count: 1 };
        let (reads, opened) = (vec![read; 10], vec![opened(at_ms), opened(-1 - at_ms)]);
        outcomes.push(client.ask(receipts(reads, opened)).await);
    }
    assert_eq!(outcomes[..3], [Outcome::Done; 3]);
    assert_eq!(outcomes[3..], [Outcome::TooOften; 17], "put off, and not looked at");
    assert_eq!(slowed(&gateway, "receipts"), 17);
    let mut other = Author::new(&crew.principal, new_document());
    assert_eq!(bystander.push_and_wait(other.document, other.begin(1)).await.refused, []);
    let waiting = gateway.gateway.shared().matters.waiting(None, 100).await.unwrap().len();
    assert_eq!(waiting, 6, "three frames of two, and no further one");
}

/// Somebody else's work is on the tablet, too.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_whose_share_of_receipts_is_used_up_still_delivers_and_reads() {
    let site = site(Shares { receipts: Rate { amount: 1, every: Duration::from_secs(3_600) }, ..Shares::DEFAULT });
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let (mut client, _) = RawClient::session(&enrolled, gateway.address, None).await;
    let read = || vec![Seen { document: new_document(), user: None, first_ms: 1, last_ms: 2, count: 1 }];
    client.ask(receipts(read(), vec![])).await;
    let mut author = Author::new(&enrolled.principal, new_document());
    // In this session and in the next one.
    for session in 0..2 {
        assert_eq!(client.ask(receipts(read(), vec![])).await, Outcome::TooOften);
        let changes = if session == 0 { author.begin(1) } else { vec![author.set("gcs", "3").bytes] };
        assert_eq!(client.push_and_wait(author.document, changes).await.refused, []);
        assert_eq!(client.fetch(&[author.document]).await.snapshots.len(), 1);
        client = RawClient::session(&enrolled, gateway.address, None).await.0;
    }
}

fn receipts(reads: Vec<Seen>, opened: Vec<OpenedOffline>) -> ClientMessage {
    ClientMessage::Receipts(Receipts { request: 1, reads, opened, ..Receipts::default() })
}

fn slowed(gateway: &LocalGateway, share: &'static str) -> u64 {
    gateway.metrics().devices_slowed.get_or_create(&vec![("share", share)]).get()
}
