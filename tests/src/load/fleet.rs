//! Devices with certificates of their own, made in process, and the ids of everything a run creates.
//!
//! Ids come from the run's seed, so the same seed writes the same bytes; keys are always fresh.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::Path,
    sync::Arc,
    time::{Duration, SystemTime},
};

use anyhow::{Context, Result};
use feldakte_certs::{development::DevelopmentPki, policy, request::DeviceKey};
use feldakte_core::{
    access::{Principal, Role},
    case,
    ids::{ActorId, CaseId, DeviceId, DocumentId, Epoch, Part, UnitId},
    limits,
};
use quinn::{ClientConfig, Endpoint, IdleTimeout, TransportConfig, crypto::rustls::QuicClientConfig};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use uuid::Uuid;

use crate::harness::raw::Dial;

/// Makes devices.
#[derive(Debug)]
pub struct Fleet {
    pki: DevelopmentPki,
    transport: Arc<TransportConfig>,
    sockets: Vec<Endpoint>,
    devices: usize,
    ids: Ids,
}

/// One device: its certificate, its socket and the store epoch its actors are made from.
#[derive(Debug, Clone)]
pub struct Device {
    /// Who it is.
    pub principal: Principal,
    /// Its socket.
    pub endpoint: Endpoint,
    /// Its credentials.
    pub config: ClientConfig,
    /// The same over TCP.
    pub dial: Dial,
    store: Epoch,
}

impl Device {
    /// The actor under which it writes a document.
    pub fn actor(&self, document: DocumentId) -> ActorId {
        case::actor(self.principal.device, document, self.store, 0)
    }
}

impl Fleet {
    /// Makes a PKI in a fresh directory; a gateway finds its files there.
    ///
    /// # Errors
    /// When the directory cannot be used.
    pub fn create(pki: &Path, seed: u64) -> Result<Self> {
        let names = [GATEWAY_NAME.to_owned()];
        let pki = DevelopmentPki::create(pki, &names, SystemTime::now()).context("no development PKI")?;
        let transport = Arc::new(transport());
        Ok(Self { pki, transport, sockets: Vec::new(), devices: 0, ids: Ids::new(seed) })
    }

    /// Where the PKI's files are.
    pub fn pki(&self) -> &DevelopmentPki {
        &self.pki
    }

    /// A new device of that unit, with a socket of its own as long as there are not too many.
    ///
    /// # Errors
    /// When it gets no certificate or no socket.
    pub fn device(&mut self, unit: &UnitId) -> Result<Device> {
        let principal = Principal {
            tenant: "load".parse().expect("a slug"),
            unit: unit.clone(),
            device: DeviceId(self.ids.random()),
            role: Role::AmbulanceCrew,
            user: None,
        };
        let key = DeviceKey::generate()?;
        let issued = self.pki.sign(&key.csr_pem()?, &principal, VALIDITY, SystemTime::now())?;
        let tls = policy::client_config(self.pki.roots(), vec![issued.der], key.private_key())?;
        let dial = Dial::new(tls.clone());
        let mut config = ClientConfig::new(Arc::new(QuicClientConfig::try_from(tls)?));
        config.transport_config(self.transport.clone());
        let store = Epoch(self.ids.random());
        Ok(Device { principal, endpoint: self.socket()?, config, dial, store })
    }

    /// A new clinical document.
    pub fn document(&mut self) -> DocumentId {
        DocumentId { case: self.ids.case(), part: Part::Clinical }
    }

    /// Randomness of the run's seed.
    pub fn rng(&mut self) -> StdRng {
        StdRng::from_rng(&mut self.ids.rng)
    }

    /// Packets of several devices on one socket reach the gateway bundled, which would flatter it: devices share
    /// sockets only beyond [`SOCKETS_MAX`]. Each socket has an address of its own: what one address may use is no bound here.
    fn socket(&mut self) -> Result<Endpoint> {
        self.devices += 1;
        if self.sockets.len() < SOCKETS_MAX {
            let [.., high, low] = u32::try_from(self.sockets.len() + 1)?.to_be_bytes();
            let any = SocketAddr::from((Ipv4Addr::new(127, 0, high, low), 0));
            self.sockets.push(Endpoint::client(any).context("no socket for another device")?);
        }
        Ok(self.sockets[(self.devices - 1) % self.sockets.len()].clone())
    }
}

#[derive(Debug)]
struct Ids {
    rng: StdRng,
    cases: u64,
}

impl Ids {
    fn new(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed), cases: 0 }
    }

    fn random(&mut self) -> Uuid {
        let mut bytes = [0; 16];
        self.rng.fill_bytes(&mut bytes);
        uuid::Builder::from_random_bytes(bytes).into_uuid()
    }

    /// UUIDv7 as devices make them, a second after the one before.
    fn case(&mut self) -> CaseId {
        let mut bytes = [0; 10];
        self.rng.fill_bytes(&mut bytes);
        self.cases += 1;
        CaseId(uuid::Builder::from_unix_timestamp_millis(EPOCH_MS + self.cases * 1000, &bytes).into_uuid())
    }
}

fn transport() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.keep_alive_interval(Some(limits::KEEP_ALIVE));
    let idle = IdleTimeout::try_from(limits::IDLE_TIMEOUT).expect("a minute fits");
    transport.max_idle_timeout(Some(idle));
    transport.max_concurrent_bidi_streams(0u32.into());
    transport.max_concurrent_uni_streams(SNAPSHOT_STREAMS.into());
    transport
}

/// The name on the gateway's certificate.
pub const GATEWAY_NAME: &str = "localhost";

/// Sockets of one run; a thousand idle ones cost this process little, ten thousand would not.
const SOCKETS_MAX: usize = 2_000;
/// Snapshot streams the gateway may have open to one device.
const SNAPSHOT_STREAMS: u32 = 16;
/// No run lasts longer.
const VALIDITY: Duration = Duration::from_secs(24 * 60 * 60);
/// 2026-01-01, in milliseconds.
const EPOCH_MS: u64 = 1_767_225_600_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_same_seed_names_the_same_things() {
        let dir = tempfile::tempdir().unwrap();
        let unit: UnitId = "rtw-1".parse().unwrap();
        let mut runs = ["a", "b"].map(|name| Fleet::create(&dir.path().join(name), 7).unwrap());
        let [a, b] = runs.each_mut().map(|fleet| {
            let (document, device) = (fleet.document(), fleet.device(&unit).unwrap());
            (document, device.principal.device, device.actor(document))
        });
        assert_eq!(a, b);
        assert_eq!(a.0.case.0.get_version_num(), 7);
        assert_ne!(runs[0].document(), a.0);
    }
}
