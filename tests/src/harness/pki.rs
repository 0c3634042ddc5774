//! One development authority per test, and devices enrolled under it on demand.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use feldakte_certs::{
    authority::{Authority, CrlTerms},
    development::DevelopmentPki,
    identity::serial_of,
    pem, policy,
    request::DeviceKey,
};
use feldakte_client_sdk::Identity;
use feldakte_core::{access::Principal, limits};
use quinn::{IdleTimeout, TransportConfig, crypto::rustls::QuicClientConfig};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};

use super::raw::Dial;

/// The name in the gateway's certificate.
pub const GATEWAY_NAME: &str = "localhost";

/// How long a device's certificate lives unless a test says otherwise.
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// An authority, and the gateway's certificate under it.
#[derive(Debug)]
pub struct Pki {
    authority: DevelopmentPki,
}

/// A device with its key and certificate.
pub struct Enrolled {
    /// Who it is.
    pub principal: Principal,
    /// Its certificate.
    pub certificate: CertificateDer<'static>,
    certificate_pem: String,
    key: DeviceKey,
    roots: RootCertStore,
    root_pem: String,
}

impl Pki {
    /// A new authority in a directory that does not exist yet.
    pub fn create(dir: &Path) -> Self {
        let names = [GATEWAY_NAME.to_owned(), "127.0.0.1".to_owned()];
        Self { authority: DevelopmentPki::create(dir, &names, SystemTime::now()).expect("a development PKI") }
    }

    /// Enrols a device for a day.
    pub fn enrol(&self, principal: &Principal) -> Enrolled {
        self.enrol_from(principal, SystemTime::now(), DAY)
    }

    /// Enrols a device for that time.
    pub fn enrol_from(&self, principal: &Principal, from: SystemTime, validity: Duration) -> Enrolled {
        let key = DeviceKey::generate().expect("a key");
        let csr = key.csr_pem().expect("a request");
        let issued = self.authority.sign(&csr, principal, validity, from).expect("a certificate");
        Enrolled {
            principal: principal.clone(),
            certificate: issued.der,
            certificate_pem: issued.certificate_pem,
            key,
            roots: self.authority.roots(),
            root_pem: fs::read_to_string(self.authority.root_path()).expect("the root's certificate"),
        }
    }

    /// The authority behind it, to issue what only tests want.
    pub fn root(&self) -> Authority {
        let read = |path: PathBuf| fs::read_to_string(path).expect("a file of the PKI");
        let root = self.authority.root_path();
        Authority::load(&read(root.clone()), &read(root.with_extension("key"))).expect("the PKI's own root")
    }

    /// Writes another certificate for the gateway, with another key, where the gateway reads them.
    pub fn replace_gateway(&self, from: SystemTime, validity: Duration) -> CertificateDer<'static> {
        let names = [GATEWAY_NAME.to_owned(), "127.0.0.1".to_owned()];
        let issued = self.root().issue_gateway(&names, validity, from).expect("a certificate");
        let [_, certificate, key] = self.files();
        fs::write(key, issued.key_pem.as_bytes()).expect("the key is written");
        fs::write(certificate, &issued.certificate.certificate_pem).expect("the certificate is written");
        issued.certificate.der
    }

    /// A revocation list of the root's that names these devices, PEM.
    pub fn crl(&self, number: u64, revoked: &[&Enrolled], from: SystemTime) -> String {
        let serial = |device: &&Enrolled| serial_of(&device.certificate).expect("a certificate");
        let serials: Vec<String> = revoked.iter().map(serial).collect();
        let terms = CrlTerms { number, validity: DAY, now: from };
        self.root().issue_crl(&serials, terms).expect("a list").pem
    }

    /// Root certificate, gateway certificate and gateway key.
    pub fn files(&self) -> [PathBuf; 3] {
        [self.authority.root_path(), self.authority.gateway_path(), self.authority.gateway_key_path()]
    }

    /// The root.
    pub fn roots(&self) -> RootCertStore {
        self.authority.roots()
    }

    /// The gateway's chain and key.
    pub fn gateway(&self) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let read = |path: PathBuf| fs::read(path).expect("a file of the PKI");
        let chain = pem::certificates(&read(self.authority.gateway_path())).expect("certificates");
        (chain, pem::private_key(&read(self.authority.gateway_key_path())).expect("a key"))
    }
}

impl Enrolled {
    /// For the SDK.
    pub fn identity(&self) -> Identity {
        let key = self.key.to_pem();
        Identity::from_pem(self.root_pem.as_bytes(), self.certificate_pem.as_bytes(), key.as_bytes())
            .expect("an identity")
    }

    /// Writes what [`read_identity`] reads.
    pub fn write(&self, dir: &Path) {
        let write = |name: &str, text: &str| fs::write(dir.join(name), text).expect("a file can be written");
        write("root.pem", &self.root_pem);
        write("device.pem", &self.certificate_pem);
        write("device.key", &self.key.to_pem());
    }

    /// As the policy demands.
    pub fn tls(&self) -> ClientConfig {
        policy::client_config(self.roots.clone(), vec![self.certificate.clone()], self.key.private_key())
            .expect("a client configuration")
    }

    /// The same device towards a gateway under other roots.
    pub fn trusting(&self, roots: RootCertStore) -> Dial {
        let tls = policy::client_config(roots, vec![self.certificate.clone()], self.key.private_key());
        Dial::new(tls.expect("a client configuration"))
    }

    /// Its key.
    pub fn private_key(&self) -> PrivateKeyDer<'static> {
        self.key.private_key()
    }

    /// For raw clients, over any transport.
    pub fn dial(&self) -> Dial {
        Dial::new(self.tls())
    }

    /// For raw clients over QUIC.
    pub fn quic(&self) -> quinn::ClientConfig {
        quic(self.tls())
    }
}

/// An identity that [`Enrolled::write`] has written.
pub fn read_identity(dir: &Path) -> Identity {
    let read = |name: &str| fs::read(dir.join(name)).expect("a file of the identity");
    Identity::from_pem(&read("root.pem"), &read("device.pem"), &read("device.key")).expect("an identity")
}

/// Any TLS configuration over QUIC.
pub fn quic(tls: ClientConfig) -> quinn::ClientConfig {
    let quic = QuicClientConfig::try_from(tls).expect("the policy has QUIC's first suite");
    let mut config = quinn::ClientConfig::new(Arc::new(quic));
    config.transport_config(Arc::new(transport()));
    config
}

/// What the SDK would offer.
pub fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    let idle = IdleTimeout::try_from(limits::IDLE_TIMEOUT).expect("far below the largest QUIC integer");
    feldakte_proto::quic::configure(&mut transport);
    transport.max_concurrent_bidi_streams(0_u32.into()).max_concurrent_uni_streams(8_u32.into());
    transport.keep_alive_interval(Some(limits::KEEP_ALIVE)).max_idle_timeout(Some(idle));
    transport
}
