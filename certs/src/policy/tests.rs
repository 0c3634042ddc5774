use std::slice;

use rustls::{
    AlertDescription, CertificateError, CipherSuite, Error, HandshakeKind, NamedGroup, PeerIncompatible,
    ProtocolVersion, ServerConnection, client::ClientSessionMemoryCache, server::ServerSessionMemoryCache,
};

use super::*;
use crate::{
    deny::DenyList,
    pem,
    testing::{DAY, GATEWAY, Refused, Stopped, World, handshake, today},
};

fn pair(world: &World) -> (ClientConfig, ServerConfig) {
    (world.tablet(&world.device()), world.gateway(&DenyList::default(), today()))
}

/// The tablet's configuration over another provider: what a client outside the policy would offer.
fn outsider(world: &World, change: impl FnOnce(&mut CryptoProvider)) -> ClientConfig {
    let device = world.device();
    let mut provider = default_provider();
    change(&mut provider);
    let mut config = ClientConfig::builder_with_provider(provider.into())
        .with_protocol_versions(&[&TLS13])
        .unwrap()
        .with_root_certificates(world.authority.roots())
        .with_client_auth_cert(vec![device.certificate.der], device.key.private_key())
        .unwrap();
    config.alpn_protocols = vec![ALPN.to_vec()];
    config.time_provider = Arc::new(Stopped(today()));
    config
}

fn refusal(client: ClientConfig, server: ServerConfig) -> Box<Refused> {
    handshake(&client.into(), &server.into()).unwrap_err()
}

#[test]
fn both_ends_agree_on_the_first_of_everything() {
    let (client, server) = pair(&World::new());
    let connected = handshake(&client.into(), &server.into()).unwrap();
    let (client, server) = (connected.client, connected.server);
    assert_eq!(client.protocol_version(), Some(ProtocolVersion::TLSv1_3));
    assert_eq!(client.negotiated_cipher_suite().unwrap().suite(), CipherSuite::TLS13_AES_256_GCM_SHA384);
    assert_eq!(server.negotiated_key_exchange_group().unwrap().name(), NamedGroup::secp256r1MLKEM768);
    assert_eq!((client.alpn_protocol(), server.alpn_protocol()), (Some(ALPN), Some(ALPN)));
    assert_eq!(server.peer_certificates().map(<[_]>::len), Some(1));
    assert_eq!(client.handshake_kind(), Some(HandshakeKind::Full), "no second round trip for a key share");
}

#[test]
fn the_policy_lists_what_is_allowed() {
    let provider = provider();
    let suites: Vec<_> = provider.cipher_suites.iter().map(|suite| suite.suite()).collect();
    assert_eq!(suites, [CipherSuite::TLS13_AES_256_GCM_SHA384, CipherSuite::TLS13_AES_128_GCM_SHA256]);
    let groups: Vec<_> = provider.kx_groups.iter().map(|group| group.name()).collect();
    let allowed =
        [NamedGroup::secp256r1MLKEM768, NamedGroup::X25519MLKEM768, NamedGroup::secp384r1, NamedGroup::secp256r1];
    assert_eq!(groups, allowed);
    let schemes = provider.signature_verification_algorithms.supported_schemes();
    let allowed = [
        SignatureScheme::ECDSA_NISTP384_SHA384,
        SignatureScheme::ECDSA_NISTP256_SHA256,
        SignatureScheme::RSA_PSS_SHA512,
        SignatureScheme::RSA_PSS_SHA384,
        SignatureScheme::RSA_PSS_SHA256,
    ];
    assert_eq!(schemes, allowed);
}

#[test]
fn every_allowed_suite_and_group_works_alone() {
    let world = World::new();
    let allowed = provider();
    for suite in &allowed.cipher_suites {
        let client = outsider(&world, |offer| offer.cipher_suites = vec![*suite]);
        let server = world.gateway(&DenyList::default(), today());
        assert!(handshake(&client.into(), &server.into()).is_ok(), "{suite:?}");
    }
    for group in &allowed.kx_groups {
        let client = outsider(&world, |offer| offer.kx_groups = vec![*group]);
        let server = world.gateway(&DenyList::default(), today());
        assert!(handshake(&client.into(), &server.into()).is_ok(), "{group:?}");
    }
}

#[test]
fn a_client_with_only_chacha20_is_refused() {
    let world = World::new();
    let client = outsider(&world, |offer| offer.cipher_suites = vec![cipher_suite::TLS13_CHACHA20_POLY1305_SHA256]);
    let refused = refusal(client, world.gateway(&DenyList::default(), today()));
    let reason = PeerIncompatible::NoCipherSuitesInCommon;
    assert_eq!(refused.server, Some(Error::PeerIncompatible(reason)));
}

#[test]
fn a_client_with_only_plain_x25519_is_refused() {
    let world = World::new();
    let client = outsider(&world, |offer| offer.kx_groups = vec![kx_group::X25519]);
    let refused = refusal(client, world.gateway(&DenyList::default(), today()));
    let reason = PeerIncompatible::NoKxGroupsInCommon;
    assert_eq!(refused.server, Some(Error::PeerIncompatible(reason)));
}

#[test]
fn a_client_hello_of_tls_1_2_is_refused() {
    let world = World::new();
    let mut server = ServerConnection::new(world.gateway(&DenyList::default(), today()).into()).unwrap();
    server.read_tls(&mut tls12_client_hello().as_slice()).unwrap();
    let reason = PeerIncompatible::SupportedVersionsExtensionRequired;
    assert_eq!(server.process_new_packets().unwrap_err(), Error::PeerIncompatible(reason));
}

/// TLS 1.2 as an older client opens it: ECDHE on P-256 with ECDSA and AES-128-GCM, no `supported_versions`.
fn tls12_client_hello() -> Vec<u8> {
    let version_and_random = [[3, 3].as_slice(), &[7; 32]].concat();
    let session_suites_compression = [0, 0, 2, 0xc0, 0x2b, 1, 0].as_slice();
    let groups = [0, 10, 0, 4, 0, 2, 0, 23].as_slice();
    let points = [0, 11, 0, 2, 1, 0].as_slice();
    let signatures = [0, 13, 0, 8, 0, 6, 4, 3, 8, 4, 4, 1].as_slice();
    let extensions = with_len(&[0], &[groups, points, signatures].concat());
    let hello = [&version_and_random, session_suites_compression, &extensions].concat();
    with_len(&[22, 3, 1, 0], &with_len(&[1, 0, 0], &hello))
}

fn with_len(head: &[u8], body: &[u8]) -> Vec<u8> {
    [head, &[u8::try_from(body.len()).unwrap()], body].concat()
}

#[test]
fn no_ticket_is_sent_even_to_a_client_that_would_resume() {
    let world = World::new();
    let (mut client, server) = pair(&world);
    client.resumption = Resumption::store(Arc::new(ClientSessionMemoryCache::new(8)));
    let (client, server) = (Arc::new(client), Arc::new(server));
    for _ in 0..2 {
        let connected = handshake(&client, &server).unwrap();
        assert_eq!(connected.client.tls13_tickets_received(), 0);
        assert_eq!(connected.server.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn a_tablet_does_not_resume_even_with_a_gateway_that_sends_tickets() {
    let world = World::new();
    let (client, mut server) = pair(&world);
    server.send_tls13_tickets = 2;
    server.session_storage = ServerSessionMemoryCache::new(8);
    let (client, server) = (Arc::new(client), Arc::new(server));
    for _ in 0..2 {
        let connected = handshake(&client, &server).unwrap();
        assert_eq!(connected.client.tls13_tickets_received(), 2, "the gateway would resume");
        assert_eq!(connected.server.handshake_kind(), Some(HandshakeKind::Full));
    }
}

#[test]
fn early_data_is_neither_offered_nor_taken() {
    let (client, server) = pair(&World::new());
    assert_eq!((server.max_early_data_size, client.enable_early_data), (0, false));
    let mut connected = handshake(&client.into(), &server.into()).unwrap();
    assert!(connected.client.early_data().is_none() && connected.server.early_data().is_none());
}

#[test]
fn another_protocol_is_refused() {
    let world = World::new();
    let (mut client, server) = pair(&world);
    client.alpn_protocols = vec![b"h2".to_vec()];
    let refused = refusal(client, server);
    assert_eq!(refused.server, Some(Error::NoApplicationProtocol));
}

#[test]
fn a_tablet_refuses_gateways_it_has_no_reason_to_trust() {
    let (world, other) = (World::new(), World::named("another root"));
    let client = || world.tablet(&world.device());
    let unknown = refusal(client(), other.gateway(&DenyList::default(), today()));
    assert_eq!(unknown.client, Some(CertificateError::UnknownIssuer.into()));
    assert_eq!(unknown.server, Some(Error::AlertReceived(AlertDescription::UnknownCA)));

    let mut late = client();
    late.time_provider = Arc::new(Stopped(today() + DAY * 101));
    let expired = refusal(late, world.gateway(&DenyList::default(), today()));
    assert!(matches!(expired.client, Some(Error::InvalidCertificate(CertificateError::ExpiredContext { .. }))));
}

#[test]
fn a_device_cannot_pose_as_a_gateway() {
    let world = World::new();
    let thief = world.device();
    let devices = DeviceVerifier::new(world.authority.roots(), DenyList::default()).unwrap();
    let server = server_config(vec![thief.certificate.der], thief.key.private_key(), devices).unwrap();
    let refused = refusal(world.tablet(&world.device()), server);
    assert!(matches!(refused.client, Some(Error::InvalidCertificate(_))), "{refused:?}");
}

#[test]
fn useless_credentials_are_named_before_any_connection() {
    let world = World::new();
    let (device, other) = (world.device(), world.device());
    let chain = slice::from_ref(&device.certificate.der);
    let client = |roots, chain: &[CertificateDer<'static>], key| client_config(roots, chain.to_vec(), key);
    let roots = world.authority.roots();
    assert!(client(roots.clone(), chain, device.key.private_key()).is_ok());
    let mismatched = client(roots.clone(), chain, other.key.private_key());
    assert!(matches!(mismatched, Err(PolicyError::Credentials(_))));
    assert!(matches!(client(roots, &[], device.key.private_key()), Err(PolicyError::Credentials(_))));
    let nobody = client(RootCertStore::empty(), chain, device.key.private_key());
    assert!(matches!(nobody, Err(PolicyError::NoRoots)));
    assert!(matches!(DeviceVerifier::new(RootCertStore::empty(), DenyList::default()), Err(PolicyError::NoRoots)));
}

/// Both configurations for enrolment, with their clocks at `today`.
fn enrolment(world: &World) -> (ClientConfig, ServerConfig) {
    let gateway = world.authority.issue_gateway(&[GATEWAY.to_owned()], DAY, today()).unwrap();
    let key = pem::private_key(gateway.key_pem.as_bytes()).unwrap();
    let mut server = enrolment_server_config(vec![gateway.certificate.der], key).unwrap();
    let mut client = enrolment_client_config(world.authority.roots()).unwrap();
    (server.time_provider, client.time_provider) = (Arc::new(Stopped(today())), Arc::new(Stopped(today())));
    (client, server)
}

#[test]
fn a_device_without_a_certificate_reaches_enrolment_and_nothing_else() {
    let world = World::new();
    let (client, server) = enrolment(&world);
    let (client, server) = (Arc::new(client), Arc::new(server));
    for _ in 0..2 {
        let connected = handshake(&client, &server).unwrap();
        assert_eq!(connected.server.alpn_protocol(), Some(ENROLMENT_ALPN));
        assert_eq!(connected.server.peer_certificates(), None);
        assert_eq!(connected.server.handshake_kind(), Some(HandshakeKind::Full));
    }
    let sessions = world.gateway(&DenyList::default(), today());
    assert!(handshake(&client, &sessions.into()).is_err());
}

#[test]
fn a_device_that_enrols_trusts_only_its_roots() {
    let (world, other) = (World::new(), World::named("another root"));
    let refused = refusal(enrolment(&world).0, enrolment(&other).1);
    assert_eq!(refused.client, Some(CertificateError::UnknownIssuer.into()));
    assert!(matches!(enrolment_client_config(RootCertStore::empty()), Err(PolicyError::NoRoots)));
}
