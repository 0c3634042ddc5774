//! Who may not connect gets no byte of application data, however the handshake is tried.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::SystemTime,
};

use feldakte_certs::{
    identity::{Fingerprint, serial_of},
    policy,
};
use feldakte_client_sdk::view::LinkState;
use feldakte_core::{access::Role, ids::Position};
use feldakte_proto::ServerMessage;
use feldakte_tests::harness::{
    address::{Address, Transport},
    author::Author,
    crew, device,
    local::{LocalGateway, Site},
    new_document,
    pki::{DAY, Enrolled, GATEWAY_NAME, Pki, quic, transport},
    raw::{self, Dial, RawClient, hello},
    tablet::{Tablet, memory_store},
    until, within,
};
use quinn::{ConnectionError, crypto::rustls::QuicClientConfig};
use rustls::{
    ClientConfig, HandshakeKind, NamedGroup,
    client::{ClientSessionStore, Resumption, Tls12ClientSessionValue, Tls13ClientSessionValue},
    crypto::{CryptoProvider, aws_lc_rs::cipher_suite},
    version::TLS13,
};
use rustls_pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::bystander::Bystander;

/// Tries to have a session, and finds that TLS itself refuses it, with an alert: before any code of the session has run.
async fn assert_refused(who: &str, dial: impl Into<Dial>, gateway: Address) {
    match gateway.over {
        Transport::Quic => assert_refused_over_quic(who, dial.into().quic, gateway).await,
        Transport::Grpc => {
            let refused = over_tcp(&dial.into(), gateway).await;
            let error = refused.expect_err(who);
            let tls = error.get_ref().and_then(|cause| cause.downcast_ref::<rustls::Error>());
            assert!(tls.is_some(), "{who}: {error:?}");
        }
    }
}

/// A client that speaks as soon as it may and reads to the end; what it has read, or how it failed.
async fn over_tcp(dial: &Dial, gateway: Address) -> std::io::Result<Vec<u8>> {
    let mut stream = raw::tls(dial, &(gateway.socket, None)).await?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").await?;
    let mut read = Vec::new();
    let end = within("an end", stream.read_to_end(&mut read)).await;
    assert!(end.is_ok() || read.is_empty(), "application data before the refusal");
    end.map(|_| read)
}

async fn assert_refused_over_quic(who: &str, config: quinn::ClientConfig, gateway: Address) {
    let endpoint = raw::endpoint();
    let connecting = endpoint.connect_with(config, gateway.socket, GATEWAY_NAME).expect("a valid configuration");
    let error = match within("the handshake ends", connecting).await {
        Err(error) => error,
        // A client of TLS 1.3 believes that it is connected before its certificate has been judged.
        Ok(connection) => {
            let heard = async {
                let (mut out, mut input) = connection.open_bi().await.ok()?;
                out.write_all(&hello(None).encode()).await.ok()?;
                input.read_chunk(usize::MAX, true).await.ok().flatten()
            };
            assert!(within("an end", heard).await.is_none(), "{who}: application data");
            let error = within("an end", connection.closed()).await;
            let received = connection.stats().frame_rx;
            assert_eq!((received.stream, received.datagram), (0, 0), "{who}: application data");
            error
        }
    };
    match &error {
        ConnectionError::ConnectionClosed(close) => {
            assert!((0x100..0x200).contains(&u64::from(close.error_code)), "{who}: {error:?}")
        }
        ConnectionError::TransportError(error) => {
            assert!((0x100..0x200).contains(&u64::from(error.code)), "{who}: {error:?}");
        }
        other => panic!("{who}: {other:?}"),
    }
}

/// Waits until so many were rejected for that reason: an operator sees why.
async fn counted(gateway: &LocalGateway, reason: &'static str, count: u64) {
    let rejected = || gateway.metrics().rejected.get_or_create(&vec![("reason", reason)]).get();
    until(reason, || rejected() == count).await;
}

async fn who_has_no_valid_certificate_gets_no_byte_of_application_data(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let now = SystemTime::now();
    let principal = crew("rtw-1");

    let expired = site.pki.enrol_from(&principal, now - 3 * DAY, DAY);
    assert_refused("expired", expired.dial(), gateway.address).await;
    counted(&gateway, "certificate_expired", 1).await;
    let not_yet = site.pki.enrol_from(&principal, now + DAY, DAY);
    assert_refused("not yet valid", not_yet.dial(), gateway.address).await;
    counted(&gateway, "certificate_expired", 2).await;

    let elsewhere = tempfile::tempdir().unwrap();
    let other = Pki::create(&elsewhere.path().join("pki")).enrol(&principal);
    let with_our_roots =
        policy::client_config(site.pki.roots(), vec![other.certificate.clone()], other.private_key()).unwrap();
    assert_refused("another authority", Dial::new(with_our_roots), gateway.address).await;
    counted(&gateway, "certificate_issuer", 1).await;
    let (chain, key) = site.pki.gateway();
    let as_gateway = policy::client_config(site.pki.roots(), chain, key).unwrap();
    assert_refused("the gateway's own certificate", Dial::new(as_gateway), gateway.address).await;
    counted(&gateway, "certificate_invalid", 1).await;

    let builder = || ClientConfig::builder_with_provider(policy::provider()).with_protocol_versions(&[&TLS13]).unwrap();
    let mut nobody = builder().with_root_certificates(site.pki.roots()).with_no_client_auth();
    nobody.alpn_protocols = vec![policy::ALPN.to_vec()];
    assert_refused("no certificate", Dial::new(nobody), gateway.address).await;
    counted(&gateway, "certificate_missing", 1).await;
    assert_refused("who does not trust the gateway", other.dial(), gateway.address).await;
    counted(&gateway, "gateway_distrusted", 1).await;
    bystander.unharmed().await;
}

async fn a_denied_certificate_is_refused_by_device_fingerprint_and_serial(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let bystander = Bystander::start(&site, gateway.address).await;
    let denied = site.pki.enrol(&crew("rtw-1"));
    let entries = [
        format!("device {}", denied.principal.device),
        format!("sha256 {}", Fingerprint::of(&denied.certificate)),
        format!("serial {}", serial_of(&denied.certificate).unwrap()),
    ];
    let mut refused = 0;
    for entry in entries {
        gateway.deny.replace(entry.parse().unwrap());
        assert_refused(&entry, denied.dial(), gateway.address).await;
        refused += 1;
        counted(&gateway, "certificate_denied", refused).await;
        // The same device is welcome again as soon as it is no longer denied.
        gateway.deny.replace("".parse().unwrap());
        RawClient::session(&denied, gateway.address, None).await;
    }
    gateway.deny.replace(format!("device {}", denied.principal.device).parse().unwrap());
    let tablet = Tablet::open(denied.identity(), gateway.address, memory_store()).await;
    tablet.client.go_online();
    tablet.wait_link(LinkState::Refused).await;
    assert!(!tablet.links().contains(&LinkState::Connected), "never shown as connected: {:?}", tablet.links());
    bystander.unharmed().await;
}

async fn other_ciphers_and_protocols_than_the_policy_allows_are_refused(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let device = site.pki.enrol(&crew("rtw-1"));
    let chacha = CryptoProvider {
        cipher_suites: vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256],
        ..CryptoProvider::clone(&policy::provider())
    };
    let mut only_chacha = ClientConfig::builder_with_provider(Arc::new(chacha))
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(site.pki.roots())
        .with_client_auth_cert(vec![device.certificate.clone()], device.private_key())
        .unwrap();
    only_chacha.alpn_protocols = vec![policy::ALPN.to_vec()];
    // QUIC protects its first packets with AES-128, whatever the handshake agrees on.
    let first = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap().quic_suite().unwrap();
    let crypto = QuicClientConfig::with_initial(Arc::new(only_chacha.clone()), first).unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(crypto));
    config.transport_config(Arc::new(transport()));
    only_chacha.alpn_protocols = vec![policy::GRPC_ALPN.to_vec()];
    let dial = Dial { tls: Some(Arc::new(only_chacha)), ..config.into() };
    assert_refused("ChaCha20 only", dial, gateway.address).await;

    let protocols = |alpn: &[&[u8]]| {
        let mut tls = device.tls();
        tls.alpn_protocols = alpn.iter().map(|protocol| protocol.to_vec()).collect();
        Dial { tls: Some(Arc::new(tls.clone())), ..quic(tls).into() }
    };
    assert_refused("another protocol", protocols(&[b"h3"]), gateway.address).await;
    // TLS over TCP leaves it to the server whether a client has to name one.
    match over {
        Transport::Quic => assert_refused("no protocol", protocols(&[]), gateway.address).await,
        Transport::Grpc => {
            let read = over_tcp(&protocols(&[]), gateway.address).await;
            assert!(read.is_err() || read.is_ok_and(|read| read.is_empty()));
        }
    }
    // And it is the policy that refuses them, not the certificate.
    RawClient::session(&device, gateway.address, None).await;
}

/// Keeps nothing and counts what it is offered.
#[derive(Debug, Default)]
struct Tickets(AtomicUsize);

impl ClientSessionStore for Tickets {
    fn set_kx_hint(&self, _: ServerName<'static>, _: NamedGroup) {}
    fn kx_hint(&self, _: &ServerName<'_>) -> Option<NamedGroup> {
        None
    }
    fn set_tls12_session(&self, _: ServerName<'static>, _: Tls12ClientSessionValue) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn tls12_session(&self, _: &ServerName<'_>) -> Option<Tls12ClientSessionValue> {
        None
    }
    fn remove_tls12_session(&self, _: &ServerName<'static>) {}
    fn insert_tls13_ticket(&self, _: ServerName<'static>, _: Tls13ClientSessionValue) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
    fn take_tls13_ticket(&self, _: &ServerName<'static>) -> Option<Tls13ClientSessionValue> {
        None
    }
}

fn greedy(device: &Enrolled, resumption: Resumption) -> Dial {
    let mut tls = device.tls();
    tls.resumption = resumption;
    tls.enable_early_data = true;
    Dial::new(tls)
}

async fn nobody_is_given_a_ticket_and_nothing_can_be_sent_early(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let device = site.pki.enrol(&crew("rtw-1"));
    let tickets = Arc::<Tickets>::default();
    let config = greedy(&device, Resumption::store(tickets.clone()));
    for _ in 0..3 {
        // Welcomed, so whatever the gateway sends after a handshake has been sent.
        let (mut client, _) = RawClient::session_with(config.clone(), gateway.address, None).await;
        if over == Transport::Quic {
            client.quic().connection.close(0_u32.into(), b"");
            within("the goodbye is sent", client.quic().connection.closed()).await;
        }
    }
    assert_eq!(tickets.0.load(Ordering::SeqCst), 0, "a resumed session would ask nobody about its certificate");

    // A client that keeps all it is given has nothing to begin early with, and is judged again each time.
    let config = greedy(&device, Resumption::in_memory_sessions(16));
    RawClient::session_with(config.clone(), gateway.address, None).await;
    match over {
        Transport::Quic => {
            let endpoint = raw::endpoint();
            let connecting = endpoint.connect_with(config.quic.clone(), gateway.address.socket, GATEWAY_NAME).unwrap();
            assert!(connecting.into_0rtt().is_err(), "0-RTT data could be sent");
        }
        Transport::Grpc => {
            let stream = raw::tls(&config, &(gateway.address.socket, None)).await.unwrap();
            assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
            assert!(!stream.get_ref().1.is_early_data_accepted());
        }
    }
    gateway.deny.replace(format!("device {}", device.principal.device).parse().unwrap());
    assert_refused("denied after a session", config, gateway.address).await;
}

/// Its certificate is good, its unit has the same name: TLS lets it in, and that is all.
async fn a_certificate_of_another_tenant_sees_and_writes_nothing_of_this_one(over: Transport) {
    let site = Site::over(over);
    let gateway = site.start().await;
    let ours = site.pki.enrol(&crew("rtw-1"));
    let theirs = site.pki.enrol(&device("hamm", "rtw-1", Role::AmbulanceCrew));
    let (mut writer, _) = RawClient::session(&ours, gateway.address, None).await;
    let mut author = Author::new(&ours.principal, new_document());
    writer.push_and_wait(author.document, author.begin(3)).await;

    let (mut client, welcome) = RawClient::session(&theirs, gateway.address, None).await;
    assert!(welcome.caught_up && welcome.head == Position::START, "{welcome:?}");
    let fetched = client.fetch(&[author.document]).await;
    assert!(fetched.snapshots.is_empty() && fetched.unavailable == [author.document]);
    let mut intruder = Author::new(&theirs.principal, author.document);
    let answer = client.push_and_wait(author.document, intruder.begin(1)).await;
    assert!(!answer.refused.is_empty());

    // Nor does it hear what follows: the next thing it is told is the answer to its own.
    writer.push_and_wait(author.document, vec![author.set("gcs", "15").bytes]).await;
    let mut own = Author::new(&theirs.principal, new_document());
    let push = client.push(own.document, own.begin(1)).await;
    match client.next().await {
        Ok(ServerMessage::Durable(durable)) => assert_eq!((durable.push, durable.refused), (push, vec![])),
        other => panic!("{other:?}"),
    }
}

feldakte_tests::over_both!(
    who_has_no_valid_certificate_gets_no_byte_of_application_data,
    a_denied_certificate_is_refused_by_device_fingerprint_and_serial,
    other_ciphers_and_protocols_than_the_policy_allows_are_refused,
    nobody_is_given_a_ticket_and_nothing_can_be_sent_early,
    a_certificate_of_another_tenant_sees_and_writes_nothing_of_this_one,
);
