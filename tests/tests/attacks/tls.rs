//! The TLS policy as outsiders meet it: every suite, group, signature and certificate outside of it is refused, over TCP
//! and over QUIC; every one inside of it alone is enough.

use std::{sync::Arc, time::SystemTime};

use feldakte_certs::policy;
use feldakte_tests::harness::{
    pki::{DAY, GATEWAY_NAME, transport},
    raw, within,
};
use quinn::{Endpoint, crypto::rustls::QuicClientConfig, crypto::rustls::QuicServerConfig};
use rcgen::KeyPair;
use rustls::{
    ClientConfig, HandshakeKind, ServerConfig, SignatureScheme,
    crypto::aws_lc_rs::{ALL_CIPHER_SUITES, ALL_KX_GROUPS, cipher_suite, default_provider},
};

use self::{
    tcp::{CANARY, client, serve_one},
    world::{Leaf, Use, World, rsa_authority},
};

mod others;
mod resumption;
mod tcp;
mod world;

/// A client and why it is refused.
struct Row {
    name: String,
    client: ClientConfig,
    /// Part of the server's error.
    why: &'static str,
}

fn row(name: impl Into<String>, client: ClientConfig, why: &'static str) -> Row {
    Row { name: name.into(), client, why }
}

/// What QUIC clients and servers of any configuration begin with.
fn quic_client(tls: Arc<ClientConfig>) -> quinn::ClientConfig {
    let first = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap().quic_suite().unwrap();
    let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::with_initial(tls, first).unwrap()));
    config.transport_config(Arc::new(transport()));
    config
}

fn quic_server(tls: Arc<ServerConfig>) -> Endpoint {
    let first = cipher_suite::TLS13_AES_128_GCM_SHA256.tls13().unwrap().quic_suite().unwrap();
    let config = quinn::ServerConfig::with_crypto(Arc::new(QuicServerConfig::with_initial(tls, first).unwrap()));
    Endpoint::server(config, ([127, 0, 0, 1], 0).into()).unwrap()
}

/// The server's judgement of a QUIC client.
async fn over_quic(server: &Endpoint, tls: Arc<ClientConfig>) -> Result<(), String> {
    let endpoint = raw::endpoint();
    let dialled = endpoint.connect_with(quic_client(tls), server.local_addr().unwrap(), GATEWAY_NAME).unwrap();
    let port = endpoint.local_addr().unwrap().port();
    let accepted = async {
        loop {
            let incoming = server.accept().await.unwrap();
            // The last words of a client before this one may look like another beginning.
            match incoming.remote_address().port() == port {
                true => return incoming.await,
                false => incoming.ignore(),
            }
        }
    };
    let (dialled, accepted) = within("both ends know", async { tokio::join!(dialled, accepted) }).await;
    drop(dialled);
    accepted.map(|connection| connection.close(0_u32.into(), b"")).map_err(|error| format!("{error:?}"))
}

/// Every cryptographic offer that the provider can make and the policy leaves out, alone.
fn forbidden_offers(world: &World) -> Vec<Row> {
    let (allowed, device) = (policy::provider(), world.device());
    let mut rows = Vec::new();
    for suite in ALL_CIPHER_SUITES.iter().filter(|suite| !allowed.cipher_suites.contains(suite)) {
        let mut provider = default_provider();
        provider.cipher_suites = vec![*suite];
        rows.push(row(format!("{:?}", suite.suite()), world.client(&device, provider), "NoCipherSuitesInCommon"));
    }
    let names: Vec<_> = allowed.kx_groups.iter().map(|group| group.name()).collect();
    for group in ALL_KX_GROUPS.iter().filter(|group| !names.contains(&group.name())) {
        let mut provider = default_provider();
        provider.kx_groups = vec![*group];
        rows.push(row(format!("{:?}", group.name()), world.client(&device, provider), "NoKxGroupsInCommon"));
    }
    let schemes = allowed.signature_verification_algorithms.supported_schemes();
    let offered = default_provider().signature_verification_algorithms;
    for one in offered.mapping.iter().filter(|(scheme, _)| !schemes.contains(scheme)) {
        let mut provider = default_provider();
        provider.signature_verification_algorithms.mapping = std::slice::from_ref(one);
        rows.push(row(format!("{:?}", one.0), world.client(&device, provider), "NoSignatureSchemesInCommon"));
    }
    rows
}

fn forbidden(world: &World) -> Vec<Row> {
    forbidden_offers(world).into_iter().chain(forbidden_certificates(world)).collect()
}

fn forbidden_certificates(world: &World) -> Vec<Row> {
    let now = SystemTime::now();
    let key = || KeyPair::generate().unwrap();
    let show = |leaf: &Leaf| world.client(leaf, default_provider());
    let of_kind = |kind| world.leaf(KeyPair::generate_for(kind).unwrap(), Use::Device);
    let (ed25519, p521) = (of_kind(&rcgen::PKCS_ED25519), of_kind(&rcgen::PKCS_ECDSA_P521_SHA512));
    let rsa = of_kind(&rcgen::PKCS_RSA_SHA256);
    let by_key = "NoCertificatesPresented";
    vec![
        row("no certificate", world.without_certificate(), "NoCertificatesPresented"),
        row("self-signed", show(&world.self_signed()), "UnknownIssuer"),
        row("expired", show(&world.leaf_from(key(), Use::Device, now - 3 * DAY, DAY)), "Expired"),
        row("not yet valid", show(&world.leaf_from(key(), Use::Device, now + DAY, DAY)), "NotValidYet"),
        row("another issuer of the same name", show(&World::new().device()), "BadSignature"),
        row("a gateway's", show(&world.leaf(key(), Use::Gateway)), "InvalidCertificate"),
        row("signed with RSA PKCS#1", show(&rsa_authority(world, Use::Device).1), "InvalidCertificate"),
        row("Ed25519", show(&ed25519), by_key),
        row("P-521", show(&p521), by_key),
        row("Ed25519, unasked", world.stubborn(&ed25519, SignatureScheme::ED25519), "PeerMisbehaved"),
        row("P-521, unasked", world.stubborn(&p521, SignatureScheme::ECDSA_NISTP521_SHA512), "PeerMisbehaved"),
        row("RSA PKCS#1, unasked", world.stubborn(&rsa, SignatureScheme::RSA_PKCS1_SHA256), "PeerMisbehaved"),
    ]
}

#[test]
fn everything_outside_of_the_policy_is_refused_over_tcp() {
    let world = World::new();
    refused_over_tcp(&world, &Arc::new(world.server()), policy::ALPN);
}

#[test]
fn everything_outside_of_the_policy_is_refused_over_grpc() {
    let world = World::new();
    refused_over_tcp(&world, &Arc::new(world.grpc_server()), policy::GRPC_ALPN);
}

fn refused_over_tcp(world: &World, server: &Arc<ServerConfig>, protocol: &[u8]) {
    let rows = forbidden(world);
    assert!(rows.len() >= 20, "{} rows", rows.len());
    for Row { name, client: mut config, why } in rows {
        config.alpn_protocols = vec![protocol.to_vec()];
        let (judged, read) = serve_one(server, client(&config.into()));
        let error = judged.expect_err(&name);
        assert!(error.contains(why), "{name}: {error}");
        assert_eq!(read, b"", "{name}");
    }
    let mut honest = world.client(&world.device(), default_provider());
    honest.alpn_protocols = vec![protocol.to_vec()];
    assert_eq!(serve_one(server, client(&honest.into())).1, CANARY, "it is not the server that is broken");
}

#[tokio::test(flavor = "multi_thread")]
async fn everything_outside_of_the_policy_is_refused_over_quic() {
    let world = World::new();
    let server = quic_server(Arc::new(world.server()));
    for Row { name, client, .. } in forbidden(&world) {
        let error = over_quic(&server, client.into()).await.expect_err(&name);
        assert!(error.contains("Code::crypto("), "{name}: {error}");
    }
    let honest = world.client(&world.device(), default_provider()).into();
    assert_eq!(over_quic(&server, honest).await, Ok(()));
}

/// A server with a certificate of that kind of key.
fn server_of(world: &World, kind: &'static rcgen::SignatureAlgorithm) -> ServerConfig {
    let leaf = world.leaf(KeyPair::generate_for(kind).unwrap(), Use::Gateway);
    world.server_with(vec![leaf.certificate.clone()], leaf.private_key())
}

#[tokio::test(flavor = "multi_thread")]
async fn each_suite_group_and_signature_of_the_policy_is_enough_alone() {
    let world = World::new();
    let (allowed, device) = (policy::provider(), world.device());
    let [p256, p384, rsa] = [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256]
        .map(|kind| Arc::new(server_of(&world, kind)));
    let mut rows = Vec::new();
    for suite in &allowed.cipher_suites {
        let mut provider = default_provider();
        provider.cipher_suites = vec![*suite];
        rows.push((format!("{:?}", suite.suite()), &p256, world.client(&device, provider)));
    }
    for group in &allowed.kx_groups {
        let mut provider = default_provider();
        provider.kx_groups = vec![*group];
        rows.push((format!("{:?}", group.name()), &p256, world.client(&device, provider)));
    }
    for one in allowed.signature_verification_algorithms.mapping {
        let mut provider = default_provider();
        provider.signature_verification_algorithms.mapping = std::slice::from_ref(one);
        let server = match one.0 {
            SignatureScheme::ECDSA_NISTP256_SHA256 => &p256,
            SignatureScheme::ECDSA_NISTP384_SHA384 => &p384,
            _ => &rsa,
        };
        rows.push((format!("{:?}", one.0), server, world.client(&device, provider)));
    }
    for kind in [&rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_RSA_SHA256] {
        let leaf = world.leaf(KeyPair::generate_for(kind).unwrap(), Use::Device);
        rows.push((format!("a device with {kind:?}"), &p256, world.client(&leaf, default_provider())));
    }
    assert_eq!(rows.len(), 2 + 4 + 5 + 2);
    for (name, server, config) in rows {
        let config = Arc::new(config);
        let (judged, read) = serve_one(server, client(&config));
        assert_eq!((judged, read.as_slice()), (Ok(HandshakeKind::Full), CANARY), "{name}");
        assert_eq!(over_quic(&quic_server(server.clone()), config).await, Ok(()), "{name}");
    }
}

#[test]
fn a_device_refuses_gateways_outside_of_the_policy() {
    let world = World::new();
    let device = world.device();
    let config =
        || policy::client_config(world.authority.roots(), vec![device.certificate.clone()], device.private_key());
    let (roots, rsa) = rsa_authority(&world, Use::Gateway);
    let believing = policy::client_config(roots, vec![device.certificate.clone()], device.private_key()).unwrap();
    let by_rsa = world.server_with(vec![rsa.certificate.clone()], rsa.private_key());
    let mut rows = vec![("a chain signed with RSA PKCS#1", by_rsa, believing)];
    for (name, kind) in [("Ed25519", &rcgen::PKCS_ED25519), ("P-521", &rcgen::PKCS_ECDSA_P521_SHA512)] {
        rows.push((name, server_of(&world, kind), config().unwrap()));
    }
    for (name, server, config) in rows {
        let (judged, read) = serve_one(&Arc::new(server), client(&config.into()));
        assert!(judged.is_err() && read.is_empty(), "{name}: {judged:?}");
    }
}
