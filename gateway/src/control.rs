//! The control plane: what operators do to a running gateway, as JSON over HTTP on a Unix socket.
//!
//! The command line is a client of it ([`client`]) and never opens the databases of a gateway. Whoever asks shows an
//! operator's token; only to make the first operator it is enough to be the user the gateway runs as, or root. One file
//! per noun holds its routes; a handler takes an [`operator::Authorised`] and asks it for a role before anything else.

use std::{io, sync::Arc, time::Duration};

use axum::{
    Router,
    http::header::CONTENT_TYPE,
    middleware::map_response,
    response::{IntoResponse, Response},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use self::socket::{Peer, Socket};
use crate::{
    environment::Environment,
    gateway::Shared,
    store::{StoreError, keyring::Keyring, registry::RegistryStore},
};

pub mod audit;
pub mod cases;
pub mod client;
pub mod devices;
mod error;
pub mod evidence;
pub mod grants;
pub mod keys;
pub mod operator;
pub mod operators;
pub mod reviews;
pub mod socket;
mod text;
pub mod wipes;

pub use self::error::{ControlError, Refused};

/// What handlers reach.
pub struct Control {
    /// The running gateway.
    pub shared: Arc<Shared>,
    /// Operators, devices, invitations, approvals.
    pub registry: Arc<RegistryStore>,
    /// The keys of cases.
    pub keyring: Arc<Keyring>,
    /// Where devices enrol, `host:port`, as invitations say.
    pub enrol_address: String,
    /// The user who may name operators: the gateway's own.
    pub owner: u32,
}

impl Control {
    /// Time and randomness.
    pub fn environment(&self) -> &Environment {
        &self.shared.environment
    }

    /// Writes down which devices were in a session.
    ///
    /// # Errors
    /// When the registry cannot be written.
    pub async fn write_seen(&self) -> Result<(), StoreError> {
        let mut seen = self.shared.seen.take();
        let now_ms = self.environment().now_ms();
        seen.extend(self.shared.registry.devices().into_iter().map(|device| (device, now_ms)));
        match seen.is_empty() {
            true => Ok(()),
            false => self.registry.seen(&seen).await,
        }
    }

    /// Does so every now and then, for ever.
    pub async fn keep_seen(&self) {
        loop {
            tokio::time::sleep(SEEN_EVERY).await;
            if let Err(error) = self.write_seen().await {
                warn!(%error, "when devices were last seen is not written");
            }
        }
    }
}

/// Serves until shutdown.
///
/// # Errors
/// When the socket fails.
pub async fn serve(socket: Socket, control: Arc<Control>, shutdown: CancellationToken) -> io::Result<()> {
    let app = routes().with_state(control).into_make_service_with_connect_info::<Peer>();
    let serve = axum::serve(socket.listener, app).with_graceful_shutdown(async move { shutdown.cancelled().await });
    let ended = serve.await;
    drop(socket.file);
    ended
}

/// One line per noun.
fn routes() -> Router<Arc<Control>> {
    Router::new()
        .merge(audit::routes())
        .merge(operators::routes())
        .merge(devices::routes())
        .merge(cases::routes())
        .merge(grants::routes())
        .merge(keys::routes())
        .merge(reviews::routes())
        .merge(wipes::routes())
        .layer(map_response(unquoted))
}

/// What axum refuses by itself (a body that does not parse, a word that is none) quotes what was sent: only what came of it
/// goes back.
async fn unquoted(answer: Response) -> Response {
    let is_ours = answer.headers().get(CONTENT_TYPE).is_some_and(|kind| kind == "application/json");
    match answer.status().is_client_error() && !is_ours {
        true => ControlError::Unreadable(answer.status()).into_response(),
        false => answer,
    }
}

/// Goes on when whoever asked goes away: half an act is worse than one that nobody hears of.
async fn to_the_end<T: Send + 'static>(
    act: impl Future<Output = Result<T, ControlError>> + Send + 'static,
) -> Result<T, ControlError> {
    let broken = |_| ControlError::Unavailable("the act ended before its end; the gateway's log says why".into());
    tokio::spawn(act).await.map_err(broken)?
}

/// A list of devices that is a minute old is good enough after a crash.
const SEEN_EVERY: Duration = Duration::from_secs(60);
