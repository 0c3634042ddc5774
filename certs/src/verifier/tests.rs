use std::{
    io::{Read, Write},
    time::{Duration, SystemTime},
};

use rcgen::{KeyPair, PKCS_ED25519, SanType};
use rustls::{AlertDescription, ClientConfig};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::*;
use crate::{
    authority::CrlTerms,
    crl::Revocations,
    deny::Denials,
    identity::{Fingerprint, IdentityError, device_uri, serial_of},
    testing::{DAY, Refused, Stopped, World, crew, handshake, today},
};

/// What a gateway of `world` says to this client at `now`.
fn judge(world: &World, client: ClientConfig, now: SystemTime) -> Result<(), Box<Refused>> {
    let server = world.gateway(&DenyList::default(), now);
    handshake(&client.into(), &server.into()).map(|_| ())
}

/// A client that shows a certificate of the authority's with these names.
fn named(world: &World, names: Vec<SanType>) -> ClientConfig {
    let key = KeyPair::generate().unwrap();
    showing(world, world.leaf_for(&key, names), &key)
}

fn showing(world: &World, leaf: CertificateDer<'static>, key: &KeyPair) -> ClientConfig {
    let key: PrivateKeyDer<'static> = PrivatePkcs8KeyDer::from(key.serialize_der()).into();
    let mut config = policy::client_config(world.authority.roots(), vec![leaf], key).unwrap();
    config.time_provider = Arc::new(Stopped(today()));
    config
}

fn uri(text: &str) -> SanType {
    SanType::URI(text.try_into().unwrap())
}

fn identity_error(refused: &Refused) -> Option<&IdentityError> {
    match &refused.server {
        Some(Error::InvalidCertificate(CertificateError::Other(other))) => other.0.downcast_ref(),
        _ => None,
    }
}

#[test]
fn an_enrolled_device_is_let_in_and_bytes_flow() {
    let world = World::new();
    let server = world.gateway(&DenyList::default(), today());
    let mut connected = handshake(&world.tablet(&world.device()).into(), &server.into()).unwrap();
    connected.client.writer().write_all(b"hello").unwrap();
    let mut wire = Vec::new();
    connected.client.write_tls(&mut wire).unwrap();
    connected.server.read_tls(&mut wire.as_slice()).unwrap();
    connected.server.process_new_packets().unwrap();
    let mut text = [0; 5];
    connected.server.reader().read_exact(&mut text).unwrap();
    assert_eq!(&text, b"hello");
}

#[test]
fn a_client_without_a_certificate_is_refused() {
    let world = World::new();
    let mut client = ClientConfig::builder_with_provider(policy::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_root_certificates(world.authority.roots())
        .with_no_client_auth();
    client.alpn_protocols = vec![policy::ALPN.to_vec()];
    client.time_provider = Arc::new(Stopped(today()));
    let refused = judge(&world, client, today()).unwrap_err();
    assert_eq!(refused.server, Some(Error::NoCertificatesPresented));
    assert_eq!(refused.client, Some(Error::AlertReceived(AlertDescription::CertificateRequired)));
}

#[test]
fn a_certificate_of_another_root_is_refused() {
    let world = World::new();
    for (root, error) in
        [("another root", CertificateError::UnknownIssuer), ("test root", CertificateError::BadSignature)]
    {
        let stranger = World::named(root).device();
        let (chain, key) = (vec![stranger.certificate.der], stranger.key.private_key());
        let mut client = policy::client_config(world.authority.roots(), chain, key).unwrap();
        client.time_provider = Arc::new(Stopped(today()));
        client.client_auth_cert_resolver = Arc::new(Insistent(client.client_auth_cert_resolver));
        let refused = judge(&world, client, today()).unwrap_err();
        assert_eq!(refused.server, Some(error.into()), "{root}");
    }
}

/// Shows its certificate although the gateway hints at other roots.
#[derive(Debug)]
struct Insistent(Arc<dyn rustls::client::ResolvesClientCert>);

impl rustls::client::ResolvesClientCert for Insistent {
    fn resolve(&self, _: &[&[u8]], schemes: &[SignatureScheme]) -> Option<Arc<rustls::sign::CertifiedKey>> {
        self.0.resolve(&[], schemes)
    }

    fn has_certs(&self) -> bool {
        true
    }
}

#[test]
fn a_certificate_is_good_until_its_last_second_and_no_longer() {
    let world = World::new();
    let client = world.tablet(&world.device());
    assert!(judge(&world, client.clone(), today() + DAY).is_ok());
    let refused = judge(&world, client.clone(), today() + DAY + Duration::from_secs(1)).unwrap_err();
    assert!(
        matches!(refused.server, Some(Error::InvalidCertificate(CertificateError::ExpiredContext { .. }))),
        "{refused:?}"
    );
    assert_eq!(refused.client, Some(Error::AlertReceived(AlertDescription::CertificateExpired)));
    let refused = judge(&world, client, today() - DAY).unwrap_err();
    assert!(
        matches!(refused.server, Some(Error::InvalidCertificate(CertificateError::NotValidYetContext { .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_denied_device_is_refused_from_the_next_handshake_on() {
    let world = World::new();
    let device = world.device();
    let leaf = &device.certificate.der;
    let deny = DenyList::default();
    let (client, server) = (Arc::new(world.tablet(&device)), Arc::new(world.gateway(&deny, today())));
    for entry in [
        format!("device {}", crew().device),
        format!("sha256 {}", Fingerprint::of(leaf)),
        format!("serial {}", serial_of(leaf).unwrap()),
    ] {
        assert!(handshake(&client, &server).is_ok());
        deny.replace(entry.parse().unwrap());
        let refused = handshake(&client, &server).unwrap_err();
        assert_eq!(refused.server, Some(CertificateError::Revoked.into()), "{entry}");
        assert_eq!(refused.client, Some(Error::AlertReceived(AlertDescription::CertificateRevoked)), "{entry}");
        deny.replace(Denials::default());
    }
}

#[test]
fn a_certificate_that_names_nobody_or_several_is_refused() {
    let world = World::new();
    let good = device_uri(&crew());
    assert!(judge(&world, named(&world, vec![uri(&good)]), today()).is_ok());
    let dns = SanType::DnsName("tablet.example".try_into().unwrap());
    for (names, expected) in [
        (vec![], IdentityError::Missing),
        (vec![dns], IdentityError::Missing),
        (vec![uri(&good), uri(&good)], IdentityError::Several),
        (vec![uri(&format!("{good}&x"))], "x".parse::<feldakte_core::access::Role>().unwrap_err().into()),
        (vec![uri(&good.to_uppercase())], IdentityError::Form),
    ] {
        let refused = judge(&world, named(&world, names), today()).unwrap_err();
        assert_eq!(identity_error(&refused), Some(&expected), "{refused:?}");
    }
}

#[test]
fn a_gateway_cannot_pose_as_a_device() {
    let world = World::new();
    let gateway = world.authority.issue_gateway(&["gateway.example".to_owned()], DAY, today()).unwrap();
    let key = KeyPair::from_pem(&gateway.key_pem).unwrap();
    let refused = judge(&world, showing(&world, gateway.certificate.der, &key), today()).unwrap_err();
    assert!(
        matches!(refused.server, Some(Error::InvalidCertificate(CertificateError::InvalidPurposeContext { .. }))),
        "{refused:?}"
    );
}

#[test]
fn a_device_with_an_ed25519_key_has_nothing_to_show() {
    let world = World::new();
    let key = KeyPair::generate_for(&PKCS_ED25519).unwrap();
    let leaf = world.leaf_for(&key, vec![uri(&device_uri(&crew()))]);
    let refused = judge(&world, showing(&world, leaf, &key), today()).unwrap_err();
    assert_eq!(refused.server, Some(Error::NoCertificatesPresented));
}

#[test]
fn a_certificate_its_authority_took_back_is_refused() {
    let world = World::new();
    let (device, other) = (world.device(), World::named("another root"));
    let lists = |serials: &[String]| {
        let terms = CrlTerms { number: 1, validity: DAY, now: today() };
        let pem = world.authority.issue_crl(serials, terms).unwrap().pem;
        Revocations::from_pem(pem.as_bytes(), &[world.authority.certificate().clone()]).unwrap()
    };
    let deny = DenyList::default();
    let server = Arc::new(world.gateway(&deny, today()));
    let client = Arc::new(world.tablet(&device));
    deny.replace_revocations(Some(lists(&[])));
    assert!(handshake(&client, &server).is_ok());
    deny.replace_revocations(Some(lists(&[serial_of(&device.certificate.der).unwrap()])));
    let refused = handshake(&client, &server).unwrap_err();
    assert_eq!(refused.server, Some(CertificateError::Revoked.into()));
    assert_eq!(refused.client, Some(Error::AlertReceived(AlertDescription::CertificateRevoked)));
    assert!(!deny.is_revoked(&other.device().certificate.der) && deny.is_denied(&other.device().certificate.der));
    deny.replace_revocations(None);
    assert!(handshake(&client, &server).is_ok());
}
