//! The doors beside sessions: the control socket for operators, and the port where devices get their certificates.
//!
//! Both close before the gateway drains: nobody acts on a store that is about to close.

use std::{io, net::SocketAddr, sync::Arc};

use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::{ServeError, end_listener, issuer::Issuer};
use crate::{
    config::Config,
    control::{self, Control, socket::Socket},
    enrolment::Enrolment,
    environment::Environment,
    gateway::Gateway,
    store::{keyring::Keyring, registry::RegistryStore},
    trust::Trust,
};

/// Bound, and what is behind them.
pub(super) struct Doors {
    registry: Arc<RegistryStore>,
    keyring: Arc<Keyring>,
    socket: Socket,
    owner: u32,
    issuer: Option<(Issuer, TcpListener, SocketAddr)>,
}

/// Open.
pub(super) struct OpenDoors {
    registry: Arc<RegistryStore>,
    pub(super) control: Arc<Control>,
    serve_control: JoinHandle<io::Result<()>>,
    serve_enrolment: Option<JoinHandle<()>>,
    stop: CancellationToken,
}

impl Doors {
    /// Denies whom the registry has revoked, and binds.
    pub(super) async fn bind(
        config: &Config,
        (registry, keyring): (Arc<RegistryStore>, Arc<Keyring>),
        trust: &Trust,
        environment: &Environment,
    ) -> Result<Self, ServeError> {
        let failed = |source| ServeError::Store { path: config.control.registry.clone(), source };
        let deny = trust.deny();
        deny.revoke(registry.revoked_devices().await.map_err(failed)?);
        let issuer = match Issuer::load(config, &registry, &deny, environment, trust.enrolment())? {
            Some(issuer) => {
                let failed = |source| ServeError::Listen { address: config.enrol, source };
                let listener = TcpListener::bind(config.enrol).await.map_err(failed)?;
                let address = listener.local_addr().map_err(failed)?;
                Some((issuer, listener, address))
            }
            None => None,
        };
        let failed = |source| ServeError::Control { path: config.control.socket.clone(), source };
        let socket = Socket::bind(&config.control.socket, config.control.mode).await.map_err(failed)?;
        let owner = socket.owner().map_err(failed)?;
        Ok(Self { registry, keyring, socket, owner, issuer })
    }

    /// What issues certificates.
    pub(super) fn enrolment(&self) -> Option<Arc<Enrolment>> {
        self.issuer.as_ref().map(|(issuer, ..)| issuer.enrolment.clone())
    }

    /// Where devices get them.
    pub(super) fn enrol(&self) -> Option<SocketAddr> {
        self.issuer.as_ref().map(|(.., address)| *address)
    }

    /// Opens them on a running gateway.
    pub(super) fn open(self, gateway: &Gateway, quic_port: u16) -> OpenDoors {
        let Self { registry, keyring, socket, owner, issuer } = self;
        let stop = CancellationToken::new();
        let enrol_address = issuer.as_ref().map(|(issuer, _, address)| issuer.address(*address)).unwrap_or_default();
        let (shared, control_registry) = (gateway.shared(), registry.clone());
        let control = Arc::new(Control { shared, registry: control_registry, keyring, enrol_address, owner });
        let serve_control = tokio::spawn(control::serve(socket, control.clone(), stop.clone()));
        let serve_enrolment = issuer.map(|(issuer, listener, _)| {
            tokio::spawn(issuer.serve(listener, gateway.audit().clone(), quic_port, stop.clone()))
        });
        OpenDoors { registry, control, serve_control, serve_enrolment, stop }
    }
}

impl OpenDoors {
    /// Takes no more requests, and ends those that are under way.
    pub(super) async fn close(self) {
        let Self { registry, control, serve_control, serve_enrolment, stop } = self;
        stop.cancel();
        end_listener(serve_control).await;
        if let Some(serve_enrolment) = serve_enrolment
            && serve_enrolment.await.is_err()
        {
            warn!("the enrolment port failed");
        }
        if let Err(error) = control.write_seen().await {
            warn!(%error, "when devices were last seen is not written");
        }
        registry.close().await;
    }
}
