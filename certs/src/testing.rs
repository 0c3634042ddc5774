//! What the tests of this crate share: an authority, devices and gateways at a fixed moment, and TLS handshakes in
//! memory.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_core::{
    access::{Principal, Role},
    ids::DeviceId,
};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, ExtendedKeyUsagePurpose, IsCa,
    Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, SanType, SerialNumber, date_time_ymd,
};
use rustls::{
    ClientConfig, ClientConnection, Connection, Error, ServerConfig, ServerConnection, time_provider::TimeProvider,
};
use rustls_pki_types::{CertificateDer, UnixTime};

use crate::{
    authority::{Authority, Issued},
    deny::DenyList,
    pem, policy,
    request::DeviceKey,
    verifier::DeviceVerifier,
};

pub(crate) const DAY: Duration = Duration::from_secs(24 * 60 * 60);
pub(crate) const GATEWAY: &str = "gateway.example";

/// The moment at which the tests play.
pub(crate) fn today() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// A crew's tablet.
pub(crate) fn crew() -> Principal {
    Principal {
        tenant: "dortmund".parse().unwrap(),
        unit: "rtw-1-83-1".parse().unwrap(),
        device: DeviceId::from_slice(&[7; 16]).unwrap(),
        role: Role::AmbulanceCrew,
        user: None,
    }
}

/// A device that is enrolled.
pub(crate) struct Device {
    pub(crate) key: DeviceKey,
    pub(crate) certificate: Issued,
}

/// One authority and what belongs to it.
pub(crate) struct World {
    pub(crate) authority: Authority,
}

impl World {
    pub(crate) const ROOT_VALIDITY: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    pub(crate) fn new() -> Self {
        Self::named("test root")
    }

    pub(crate) fn named(root: &str) -> Self {
        Self { authority: Authority::generate(root, Self::ROOT_VALIDITY, today()).unwrap() }
    }

    pub(crate) fn issue(&self, principal: &Principal) -> Issued {
        let csr = DeviceKey::generate().unwrap().csr_pem().unwrap();
        self.authority.sign_device(&csr, principal, DAY, today()).unwrap()
    }

    pub(crate) fn device(&self) -> Device {
        let key = DeviceKey::generate().unwrap();
        let certificate = self.authority.sign_device(&key.csr_pem().unwrap(), &crew(), DAY, today()).unwrap();
        Device { key, certificate }
    }

    /// A certificate the authority's key signed although its names are wrong.
    pub(crate) fn leaf_with_names(&self, names: Vec<SanType>) -> CertificateDer<'static> {
        self.leaf_for(&KeyPair::generate().unwrap(), names)
    }

    pub(crate) fn leaf_for(&self, key: &KeyPair, names: Vec<SanType>) -> CertificateDer<'static> {
        let root_key = KeyPair::from_pem(&self.authority.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_der(self.authority.certificate(), root_key).unwrap();
        let mut params = CertificateParams::default();
        params.subject_alt_names = names;
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        params.signed_by(key, &issuer).unwrap().der().clone()
    }

    /// An authority below this one.
    pub(crate) fn intermediate(&self, name: &str) -> Authority {
        let root_key = KeyPair::from_pem(&self.authority.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_der(self.authority.certificate(), root_key).unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.signed_by(&key, &issuer).unwrap();
        Authority::load(&certificate.pem(), &key.serialize_pem()).unwrap()
    }

    /// A revocation list the authority's key signed although `change` made it wrong.
    pub(crate) fn sign_crl(&self, change: impl FnOnce(&mut CertificateRevocationListParams)) -> String {
        let root_key = KeyPair::from_pem(&self.authority.key_pem()).unwrap();
        let issuer = Issuer::from_ca_cert_der(self.authority.certificate(), root_key).unwrap();
        let mut params = CertificateRevocationListParams {
            this_update: date_time_ymd(2027, 1, 1),
            next_update: date_time_ymd(2028, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: Vec::new(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        change(&mut params);
        params.signed_by(&issuer).unwrap().pem().unwrap()
    }

    /// A gateway's configuration whose clock stands at `now`.
    pub(crate) fn gateway(&self, deny: &DenyList, now: SystemTime) -> ServerConfig {
        let gateway = self.authority.issue_gateway(&[GATEWAY.to_owned()], DAY * 100, today()).unwrap();
        let devices = DeviceVerifier::new(self.authority.roots(), deny.clone()).unwrap();
        let key = pem::private_key(gateway.key_pem.as_bytes()).unwrap();
        let mut config = policy::server_config(vec![gateway.certificate.der], key, devices).unwrap();
        config.time_provider = Arc::new(Stopped(now));
        config
    }

    /// A device's configuration.
    pub(crate) fn tablet(&self, device: &Device) -> ClientConfig {
        let chain = vec![device.certificate.der.clone()];
        let mut config = policy::client_config(self.authority.roots(), chain, device.key.private_key()).unwrap();
        config.time_provider = Arc::new(Stopped(today()));
        config
    }
}

/// A clock that stands still.
#[derive(Debug)]
pub(crate) struct Stopped(pub(crate) SystemTime);

impl TimeProvider for Stopped {
    fn current_time(&self) -> Option<UnixTime> {
        self.0.duration_since(UNIX_EPOCH).ok().map(UnixTime::since_unix_epoch)
    }
}

/// Both ends after a handshake in memory.
#[derive(Debug)]
pub(crate) struct Connected {
    pub(crate) client: ClientConnection,
    pub(crate) server: ServerConnection,
}

/// What the two ends made of a handshake that failed.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) client: Option<Error>,
    pub(crate) server: Option<Error>,
}

/// Carries bytes between both ends until neither has any left.
pub(crate) fn handshake(client: &Arc<ClientConfig>, server: &Arc<ServerConfig>) -> Result<Connected, Box<Refused>> {
    let mut client = Connection::from(ClientConnection::new(client.clone(), GATEWAY.try_into().unwrap()).unwrap());
    let mut server = Connection::from(ServerConnection::new(server.clone()).unwrap());
    let mut refused = Refused { client: None, server: None };
    while client.wants_write() || server.wants_write() {
        refused.server = carry(&mut client, &mut server).or(refused.server);
        refused.client = carry(&mut server, &mut client).or(refused.client);
    }
    if refused.client.is_some() || refused.server.is_some() {
        return Err(Box::new(refused));
    }
    match (client, server) {
        (Connection::Client(client), Connection::Server(server)) => Ok(Connected { client, server }),
        _ => unreachable!("made as client and server above"),
    }
}

fn carry(from: &mut Connection, to: &mut Connection) -> Option<Error> {
    let mut bytes = Vec::new();
    while from.wants_write() {
        from.write_tls(&mut bytes).unwrap();
    }
    let mut rest = bytes.as_slice();
    let mut error = None;
    while !rest.is_empty() && error.is_none() {
        to.read_tls(&mut rest).unwrap();
        error = to.process_new_packets().err();
    }
    error
}
