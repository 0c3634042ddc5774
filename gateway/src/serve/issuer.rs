//! The part of a gateway that issues certificates, if it has an authority.

use std::{net::SocketAddr, sync::Arc};

use feldakte_certs::{deny::DenyList, identity, pem};
use tokio::{net::TcpListener, sync::watch};
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::ServeError;
use crate::{
    audit::Audit,
    config::Config,
    enrolment::{Ca, Enrolment, http, listener},
    environment::Environment,
    store::registry::RegistryStore,
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
        tls: watch::Receiver<Arc<rustls::ServerConfig>>,
    ) -> Result<Option<Self>, ServeError> {
        let Some(ca) = Ca::load(&config.ca, &config.device_ca)? else {
            info!("no certificates are issued here: there is no ca.key");
            return Ok(None);
        };
        // Checked a moment ago; without a readable name invitations say `localhost`.
        let chain = std::fs::read(&config.certificate).ok().and_then(|pem| pem::certificates(&pem).ok());
        let leaf = chain.and_then(|chain| chain.into_iter().next());
        let name = leaf.and_then(|leaf| identity::gateway_names_of(&leaf).ok()?.into_iter().next());
        Ok(Some(Self {
            enrolment: Enrolment::new(ca, registry.clone(), deny.clone(), environment.clone()),
            tls,
            address: config.ca.address.clone(),
            name: name.unwrap_or_else(|| "localhost".to_owned()),
        }))
    }

    /// Where devices enrol, as invitations say.
    pub(super) fn address(&self, listening: SocketAddr) -> String {
        self.address.clone().unwrap_or_else(|| format!("{}:{}", self.name, listening.port()))
    }

    pub(super) async fn serve(self, listener: TcpListener, audit: Audit, quic_port: u16, shutdown: CancellationToken) {
        listener::serve(listener, self.tls, http::routes(self.enrolment, audit, quic_port), shutdown).await;
    }
}
