use rcgen::{PKCS_ECDSA_P384_SHA384, PKCS_ED25519, PKCS_RSA_SHA256, SignatureAlgorithm, SigningKey};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName};

use super::*;
use crate::{
    identity::{principal_of, serial_of, validity_of},
    request::DeviceKey,
    testing::{DAY, World, crew, today},
};

fn csr_of(key: &KeyPair) -> String {
    CertificateParams::default().serialize_request(key).unwrap().pem().unwrap()
}

fn sign(world: &World, csr_pem: &str) -> Result<Issued, AuthorityError> {
    world.authority.sign_device(csr_pem, &crew(), DAY, today())
}

fn parsed(certificate: &Issued) -> X509Certificate<'_> {
    identity::read(&certificate.der).unwrap()
}

#[test]
fn a_device_certificate_carries_the_requests_key_and_our_decisions() {
    let world = World::new();
    let key = DeviceKey::generate().unwrap();
    let issued = sign(&world, &key.csr_pem().unwrap()).unwrap();
    assert_eq!(pem::certificates(issued.certificate_pem.as_bytes()), Ok(vec![issued.der.clone()]));
    assert_eq!(principal_of(&issued.der), Ok(crew()));
    let validity = validity_of(&issued.der).unwrap();
    assert_eq!((validity.not_before, validity.not_after), (today() - BACKDATE, today() + DAY));
    let pair = SecretKey::from_pem(&key.to_pem()).unwrap();
    let certificate = parsed(&issued);
    assert_eq!(certificate.public_key().raw, pair.pair().subject_public_key_info());
    assert!(!certificate.is_ca());
    assert_eq!(certificate.key_usage().unwrap().unwrap().value.flags, 1, "digital signature alone");
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
}

#[test]
fn wishes_in_a_request_are_not_granted() {
    let world = World::new();
    let mut greedy = CertificateParams::default();
    greedy.distinguished_name.push(DnType::CommonName, "gateway");
    greedy.subject_alt_names = vec![
        SanType::DnsName("gateway.example".try_into().unwrap()),
        SanType::URI(identity::device_uri(&crew()).replace("ambulance_crew", "supervisor").try_into().unwrap()),
    ];
    greedy.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    greedy.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    greedy.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::Any];
    let key = KeyPair::generate().unwrap();
    let issued = sign(&world, &greedy.serialize_request(&key).unwrap().pem().unwrap()).unwrap();
    assert_eq!(principal_of(&issued.der), Ok(crew()));
    let certificate = parsed(&issued);
    assert!(!certificate.is_ca());
    assert!(!certificate.key_usage().unwrap().unwrap().value.key_cert_sign());
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.client_auth && !usage.server_auth && !usage.any);
    let names = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(matches!(names.as_slice(), [GeneralName::URI(_)]));
    assert!(!certificate.subject().to_string().contains("gateway"));
}

/// Claims one key and signs with another.
struct Impostor {
    claims: KeyPair,
    holds: KeyPair,
}

impl PublicKeyData for Impostor {
    fn der_bytes(&self) -> &[u8] {
        self.claims.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.claims.algorithm()
    }
}

impl SigningKey for Impostor {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.holds.sign(message)
    }
}

#[test]
fn a_request_for_somebody_elses_key_is_refused() {
    let impostor = Impostor { claims: KeyPair::generate().unwrap(), holds: KeyPair::generate().unwrap() };
    let csr = CertificateParams::default().serialize_request(&impostor).unwrap().pem().unwrap();
    let error = sign(&World::new(), &csr).unwrap_err();
    assert!(matches!(error, AuthorityError::RequestSignature), "{error}");
}

#[test]
fn keys_outside_the_policy_are_refused() {
    let world = World::new();
    assert!(sign(&world, &csr_of(&KeyPair::generate_for(&PKCS_ECDSA_P384_SHA384).unwrap())).is_ok());
    for algorithm in [&PKCS_ED25519, &PKCS_RSA_SHA256] {
        let error = sign(&world, &csr_of(&KeyPair::generate_for(algorithm).unwrap())).unwrap_err();
        assert!(matches!(error, AuthorityError::RequestKey), "{error}");
    }
}

#[test]
fn requests_that_are_none_are_refused_and_long_ones_unread() {
    let world = World::new();
    let csr = DeviceKey::generate().unwrap().csr_pem().unwrap();
    for bad in ["", "hello", &csr[..csr.len() / 2], world.authority.certificate_pem()] {
        assert!(matches!(sign(&world, bad), Err(AuthorityError::RequestUnreadable)), "{bad:?}");
    }
    let long = csr + &" ".repeat(CSR_LEN_MAX);
    assert!(matches!(sign(&world, &long), Err(AuthorityError::RequestTooLarge { max: CSR_LEN_MAX, .. })));
}

#[test]
fn a_renewed_certificate_has_a_new_serial_number() {
    let world = World::new();
    let csr = DeviceKey::generate().unwrap().csr_pem().unwrap();
    let [first, second] = [(); 2].map(|()| serial_of(&sign(&world, &csr).unwrap().der).unwrap());
    assert_ne!(first, second);
    assert_eq!(first.len(), 32);
}

#[test]
fn no_certificate_outlives_its_root_or_is_valid_for_no_time() {
    let world = World::new();
    let csr = DeviceKey::generate().unwrap().csr_pem().unwrap();
    let sign = |validity, now| world.authority.sign_device(&csr, &crew(), validity, now);
    assert!(sign(World::ROOT_VALIDITY, today()).is_ok());
    let second = Duration::from_secs(1);
    assert!(matches!(sign(World::ROOT_VALIDITY + second, today()), Err(AuthorityError::OutlivesRoot)));
    assert!(matches!(sign(World::ROOT_VALIDITY, today() + second), Err(AuthorityError::OutlivesRoot)));
    for bad in [Duration::ZERO, Duration::from_secs(YEAR_9999_END), Duration::MAX] {
        assert!(matches!(sign(bad, today()), Err(AuthorityError::BadValidity)), "{bad:?}");
    }
    assert!(matches!(sign(DAY, UNIX_EPOCH - second), Err(AuthorityError::BadValidity)));
}

#[test]
fn gateways_are_named_by_dns_name_and_address() {
    let world = World::new();
    let names = ["gateway.example", "127.0.0.1", "::1"].map(str::to_owned);
    let issued = world.authority.issue_gateway(&names, DAY, today()).unwrap();
    let certificate = parsed(&issued.certificate);
    let found = &certificate.subject_alternative_name().unwrap().unwrap().value.general_names;
    assert!(
        matches!(
            found.as_slice(),
            [
                GeneralName::DNSName("gateway.example"),
                GeneralName::IPAddress([127, 0, 0, 1]),
                GeneralName::IPAddress([0, .., 1])
            ]
        ),
        "{found:?}"
    );
    let usage = certificate.extended_key_usage().unwrap().unwrap().value;
    assert!(usage.server_auth && !usage.client_auth);
    assert_eq!(
        certificate.public_key().raw,
        SecretKey::from_pem(&issued.key_pem).unwrap().pair().subject_public_key_info()
    );
    assert!(matches!(world.authority.issue_gateway(&[], DAY, today()), Err(AuthorityError::NoName)));
    for bad in ["", "a b", "gäteway", "https://gateway"] {
        let error = world.authority.issue_gateway(&[bad.to_owned()], DAY, today()).unwrap_err();
        assert!(matches!(&error, AuthorityError::BadName { name } if name == bad), "{bad}: {error}");
    }
}

#[test]
fn an_authority_can_be_written_down_and_loaded() {
    let world = World::new();
    let loaded = Authority::load(world.authority.certificate_pem(), &world.authority.key_pem()).unwrap();
    assert_eq!(loaded.certificate(), world.authority.certificate());
    let csr = DeviceKey::generate().unwrap().csr_pem().unwrap();
    let issued = loaded.sign_device(&csr, &crew(), DAY, today()).unwrap();
    let root = identity::read(world.authority.certificate()).unwrap();
    assert!(parsed(&issued).verify_signature(Some(root.public_key())).is_ok());
}

#[test]
fn what_is_no_authority_is_not_loaded() {
    let (world, other) = (World::new(), World::new());
    let (root, key) = (world.authority.certificate_pem(), world.authority.key_pem());
    let load = |certificate: &str, key: &str| Authority::load(certificate, key).unwrap_err();
    assert!(matches!(load(root, &other.authority.key_pem()), AuthorityError::KeyMismatch));
    assert!(matches!(load(&root.repeat(2), &key), AuthorityError::NotAnAuthority));
    assert!(matches!(load("", &key), AuthorityError::Pem(PemError::NoCertificate)));
    assert!(matches!(load(root, ""), AuthorityError::Key(KeyError::Unreadable)));
    let device = world.device();
    let error = load(&device.certificate.certificate_pem, &device.key.to_pem());
    assert!(matches!(error, AuthorityError::NotAnAuthority), "{error}");
}

#[test]
fn an_authority_never_prints_its_key() {
    let world = World::new();
    assert!(format!("{:?}", world.authority).contains("redacted"));
}
