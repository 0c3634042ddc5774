//! Keys and certificates of the simulated world, made once per process.
//!
//! Every byte count on the wire must be the same in every run, or timing would differ: signatures of handshakes are
//! RSA (ECDSA's vary in length), and certificates have fixed numbers and signatures of the longest form.

use std::{
    collections::BTreeMap,
    sync::LazyLock,
    time::{Duration, SystemTime},
};

use feldakte_certs::{authority::Authority, deny::DenyList, identity};
use feldakte_client_sdk::Identity;
use feldakte_core::access::Principal;
use feldakte_gateway::tls::{self, Credentials};
use quinn::ServerConfig;
use rcgen::{
    CertificateParams, DistinguishedName, ExtendedKeyUsagePurpose, Issuer, KeyPair, PKCS_RSA_SHA256, RsaKeySize,
    SanType, SerialNumber,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::plan;

/// The gateway's name in its certificate.
pub const GATEWAY_NAME: &str = "gateway";

/// What everybody proves themselves with.
pub struct Pki {
    authority: Authority,
    /// One key for all: making RSA keys takes long, and nobody here steals one.
    key: KeyPair,
    gateway: CertificateDer<'static>,
    devices: BTreeMap<usize, String>,
}

/// The PKI of this process.
pub fn shared() -> &'static Pki {
    static PKI: LazyLock<Pki> = LazyLock::new(Pki::new);
    &PKI
}

impl Pki {
    fn new() -> Self {
        let authority = Authority::generate("Simulation root", LIFETIME, SystemTime::now()).expect("a root");
        let key = KeyPair::generate_rsa_for(&PKCS_RSA_SHA256, RsaKeySize::_2048).expect("an RSA key");
        let name = SanType::DnsName(GATEWAY_NAME.try_into().expect("a DNS name"));
        let gateway = issue(&authority, &key, name, ExtendedKeyUsagePurpose::ServerAuth).der().clone();
        let device = |principal: &Principal| {
            let uri = identity::device_uri(principal).try_into().expect("an ASCII URI");
            issue(&authority, &key, SanType::URI(uri), ExtendedKeyUsagePurpose::ClientAuth).pem()
        };
        let devices = plan::cast().iter().enumerate().map(|(tablet, principal)| (tablet, device(principal))).collect();
        Self { authority, key, gateway, devices }
    }

    /// What the tablet opens its client with.
    pub fn identity(&self, tablet: usize) -> Identity {
        let (root, key) = (self.authority.certificate_pem(), self.key.serialize_pem());
        Identity::from_pem(root.as_bytes(), self.devices[&tablet].as_bytes(), key.as_bytes()).expect("made here")
    }

    /// The gateway's configuration, as `serve` makes it.
    pub fn server_config(&self, deny: DenyList) -> ServerConfig {
        let credentials =
            Credentials { chain: vec![self.gateway.clone()], key: self.key(), device_roots: self.authority.roots() };
        tls::server_config(credentials, deny).expect("made here")
    }

    /// The secret behind the gateway's stateless resets.
    pub fn reset_secret(&self) -> [u8; 32] {
        tls::reset_secret(&self.key())
    }

    fn key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// A certificate over `key`. `Authority` takes only ECDSA keys for its own certificates; the TLS policy takes both.
fn issue(authority: &Authority, key: &KeyPair, name: SanType, usage: ExtendedKeyUsagePurpose) -> rcgen::Certificate {
    let root_key = KeyPair::from_pem(&authority.key_pem()).expect("the authority's own key");
    let issuer = Issuer::from_ca_cert_der(authority.certificate(), root_key).expect("the authority's certificate");
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.subject_alt_names = vec![name];
    params.extended_key_usages = vec![usage];
    params.serial_number = Some(SerialNumber::from_slice(&[0x40; 16]));
    let signed = (0..SIGNATURES).map(|_| params.signed_by(key, &issuer).expect("a complete certificate"));
    signed.max_by_key(|certificate| certificate.der().len()).expect("several were signed")
}

/// One signature in four has the longest form.
const SIGNATURES: usize = 64;
const LIFETIME: Duration = Duration::from_secs(20 * 365 * 24 * 60 * 60);
