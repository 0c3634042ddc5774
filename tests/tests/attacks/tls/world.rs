//! Authorities, certificates and clients that no honest installation has.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_certs::{
    authority::Authority, deny::DenyList, identity::device_uri, pem, policy, verifier::DeviceVerifier,
};
use feldakte_core::access::Principal;
use feldakte_tests::harness::{crew, pki::DAY, pki::GATEWAY_NAME};
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, SanType,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, ServerConfig, SignatureAlgorithm, SignatureScheme,
    client::ResolvesClientCert,
    crypto::{CryptoProvider, aws_lc_rs::default_provider},
    sign::{CertifiedKey, Signer, SigningKey},
    version::TLS13,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

/// A certificate and its key.
pub struct Leaf {
    pub certificate: CertificateDer<'static>,
    pub key: KeyPair,
}

/// What a certificate is for.
#[derive(Debug, Clone, Copy)]
pub enum Use {
    Device,
    Gateway,
}

/// A server of ours under one authority, whose clients may be anything.
pub struct World {
    pub authority: Authority,
    pub principal: Principal,
    pub deny: DenyList,
}

impl World {
    pub fn new() -> Self {
        let authority = Authority::generate("root", 30 * DAY, SystemTime::now()).unwrap();
        Self { authority, principal: crew("rtw-1"), deny: DenyList::default() }
    }

    /// As the gateway's policy makes it.
    pub fn server(&self) -> ServerConfig {
        let issued = self.authority.issue_gateway(&[GATEWAY_NAME.into()], DAY, SystemTime::now()).unwrap();
        let key = pem::private_key(issued.key_pem.as_bytes()).unwrap();
        self.server_with(vec![issued.certificate.der], key)
    }

    /// The same for sessions over gRPC.
    pub fn grpc_server(&self) -> ServerConfig {
        let issued = self.authority.issue_gateway(&[GATEWAY_NAME.into()], DAY, SystemTime::now()).unwrap();
        let key = pem::private_key(issued.key_pem.as_bytes()).unwrap();
        let devices = DeviceVerifier::new(self.authority.roots(), self.deny.clone()).unwrap();
        policy::grpc_server_config(vec![issued.certificate.der], key, devices).unwrap()
    }

    pub fn server_with(&self, chain: Vec<CertificateDer<'static>>, key: PrivateKeyDer<'static>) -> ServerConfig {
        let devices = DeviceVerifier::new(self.authority.roots(), self.deny.clone()).unwrap();
        policy::server_config(chain, key, devices).unwrap()
    }

    /// An honest certificate for a key of any kind.
    pub fn leaf(&self, key: KeyPair, is_for: Use) -> Leaf {
        self.leaf_from(key, is_for, SystemTime::now(), DAY)
    }

    pub fn leaf_from(&self, key: KeyPair, is_for: Use, from: SystemTime, validity: Duration) -> Leaf {
        let root_key = KeyPair::from_pem(&self.authority.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_der(self.authority.certificate(), root_key).unwrap();
        let certificate = params(&self.principal, is_for, from, validity).signed_by(&key, &issuer).unwrap();
        Leaf { certificate: certificate.der().clone(), key }
    }

    /// Says that it is a device, on its own word.
    pub fn self_signed(&self) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params(&self.principal, Use::Device, SystemTime::now(), DAY).self_signed(&key).unwrap();
        Leaf { certificate: certificate.der().clone(), key }
    }

    pub fn device(&self) -> Leaf {
        self.leaf(KeyPair::generate().unwrap(), Use::Device)
    }

    /// A client that shows this and offers what it likes.
    pub fn client(&self, leaf: &Leaf, provider: CryptoProvider) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(provider.into()).with_protocol_versions(&[&TLS13]).unwrap();
        let builder = builder.with_root_certificates(self.authority.roots());
        with_alpn(builder.with_client_auth_cert(vec![leaf.certificate.clone()], leaf.private_key()).unwrap())
    }

    /// A client that shows this whatever it is asked for, and signs with what the server has not offered.
    pub fn stubborn(&self, leaf: &Leaf, scheme: SignatureScheme) -> ClientConfig {
        let key = default_provider().key_provider.load_private_key(leaf.private_key()).unwrap();
        let certified = CertifiedKey::new(vec![leaf.certificate.clone()], Arc::new(Stubborn { key, scheme }));
        let builder = ClientConfig::builder_with_provider(default_provider().into());
        let builder = builder.with_protocol_versions(&[&TLS13]).unwrap();
        let builder = builder.with_root_certificates(self.authority.roots());
        with_alpn(builder.with_client_cert_resolver(Arc::new(Always(certified.into()))))
    }

    pub fn without_certificate(&self) -> ClientConfig {
        let builder =
            ClientConfig::builder_with_provider(policy::provider()).with_protocol_versions(&[&TLS13]).unwrap();
        with_alpn(builder.with_root_certificates(self.authority.roots()).with_no_client_auth())
    }
}

impl Leaf {
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        PrivatePkcs8KeyDer::from(self.key.serialize_der()).into()
    }
}

/// A server under an authority that signs with RSA PKCS#1, of which the client believes the root.
pub fn rsa_authority(world: &World, is_for: Use) -> (RootCertStore, Leaf) {
    let root_key = KeyPair::generate_for(&rcgen::PKCS_RSA_SHA256).unwrap();
    let mut root = params(&world.principal, is_for, SystemTime::now(), DAY);
    root.subject_alt_names.clear();
    root.extended_key_usages.clear();
    root.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    root.key_usages = vec![KeyUsagePurpose::KeyCertSign];
    let root = root.self_signed(&root_key).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(root.der().clone()).unwrap();
    let issuer = Issuer::from_ca_cert_der(root.der(), root_key).unwrap();
    let key = KeyPair::generate().unwrap();
    let leaf = params(&world.principal, is_for, SystemTime::now(), DAY).signed_by(&key, &issuer).unwrap();
    (roots, Leaf { certificate: leaf.der().clone(), key })
}

fn with_alpn(mut config: ClientConfig) -> ClientConfig {
    config.alpn_protocols = vec![policy::ALPN.to_vec()];
    config
}

fn params(principal: &Principal, is_for: Use, from: SystemTime, validity: Duration) -> CertificateParams {
    let from = date_time_ymd(1970, 1, 1) + from.duration_since(UNIX_EPOCH).unwrap();
    let (name, usage) = match is_for {
        Use::Device => (SanType::URI(device_uri(principal).try_into().unwrap()), ExtendedKeyUsagePurpose::ClientAuth),
        Use::Gateway => (SanType::DnsName(GATEWAY_NAME.try_into().unwrap()), ExtendedKeyUsagePurpose::ServerAuth),
    };
    let mut params = CertificateParams::default();
    params.subject_alt_names = vec![name];
    params.extended_key_usages = vec![usage];
    (params.not_before, params.not_after) = (from, from + validity);
    params
}

struct Stubborn {
    key: Arc<dyn SigningKey>,
    scheme: SignatureScheme,
}

impl SigningKey for Stubborn {
    fn choose_scheme(&self, _: &[SignatureScheme]) -> Option<Box<dyn Signer>> {
        self.key.choose_scheme(&[self.scheme])
    }
    fn algorithm(&self) -> SignatureAlgorithm {
        self.key.algorithm()
    }
}

impl fmt::Debug for Stubborn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stubborn").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

#[derive(Debug)]
struct Always(Arc<CertifiedKey>);

impl ResolvesClientCert for Always {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        Some(self.0.clone())
    }
    fn has_certs(&self) -> bool {
        true
    }
}
