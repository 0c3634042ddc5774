//! The part of a gateway that issues certificates, if it has an authority.

use std::{net::SocketAddr, path::Path, sync::Arc};

use feldakte_certs::{
    deny::DenyList,
    identity, pem,
    policy::{self, PolicyError},
};
use rustls_pki_types::CertificateDer;
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::ServeError;
use crate::{
    config::Config,
    enrolment::{Ca, Enrolment, http, listener},
    environment::Environment,
    store::registry::RegistryStore,
    tls::TlsError,
};

/// Issues certificates, and the TLS configuration with which it is asked to.
pub(super) struct Issuer {
    pub(super) enrolment: Arc<Enrolment>,
    tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    address: Option<String>,
    name: String,
}

impl Issuer {
    /// Reads the authority; `None` when there is none.
    pub(super) fn load(
        config: &Config,
        registry: &Arc<RegistryStore>,
        deny: &DenyList,
        environment: &Environment,
    ) -> Result<Option<Self>, ServeError> {
        let Some(ca) = Ca::load(&config.ca, &config.device_ca)? else {
            info!("no certificates are issued here: there is no ca.key");
            return Ok(None);
        };
        let chain = shown_chain(config, ca.pins())?;
        let name = chain.first().and_then(|leaf| identity::gateway_names_of(leaf).ok()?.into_iter().next());
        let key = pem::private_key(&super::read(&config.key)?).map_err(bad(&config.key))?;
        let tls = policy::enrolment_server_config(chain, key).map_err(|error: PolicyError| TlsError::from(error))?;
        Ok(Some(Self {
            enrolment: Enrolment::new(ca, registry.clone(), deny.clone(), environment.clone()),
            tls: watch::channel(Arc::new(tls)).1,
            address: config.ca.address.clone(),
            name: name.unwrap_or_else(|| "localhost".to_owned()),
        }))
    }

    /// Where devices enrol, as invitations say.
    pub(super) fn address(&self, listening: SocketAddr) -> String {
        self.address.clone().unwrap_or_else(|| format!("{}:{}", self.name, listening.port()))
    }

    pub(super) async fn serve(self, listener: TcpListener, quic_port: u16, shutdown: CancellationToken) {
        listener::serve(listener, self.tls, http::routes(self.enrolment, quic_port), shutdown).await;
    }
}

/// The gateway's chain up to the root: a device that knows only the root's fingerprint has to see it.
fn shown_chain(config: &Config, pins: &[CertificateDer<'static>]) -> Result<Vec<CertificateDer<'static>>, ServeError> {
    let mut chain = pem::certificates(&super::read(&config.certificate)?).map_err(bad(&config.certificate))?;
    let missing: Vec<_> = pins.iter().filter(|pin| !chain.contains(pin)).cloned().collect();
    chain.extend(missing);
    Ok(chain)
}

fn bad(path: &Path) -> impl FnOnce(pem::PemError) -> ServeError {
    let path = path.to_owned();
    move |source| ServeError::Credentials { path, source: TlsError::Pem(source) }
}
