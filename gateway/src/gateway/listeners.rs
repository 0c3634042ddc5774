//! Where devices come in: first packets over QUIC, connections over TCP.

use std::sync::Arc;

use quinn::Endpoint;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::Shared;
use crate::{
    audit::trail::note_stranger,
    grpc::{self, Door, Readiness},
    handshake::{Handshakes, Queue, QuicHandshake},
    session, web,
};

/// What listeners hand connections to.
pub(super) struct Listeners {
    pub(super) shared: Arc<Shared>,
    pub(super) sessions: TaskTracker,
    pub(super) stop: CancellationToken,
}

impl Listeners {
    /// Lets devices in until they are stopped. Whichever way they come, they count together.
    pub(super) fn open(
        self,
        endpoint: Endpoint,
        (grpc, browsers): (Option<grpc::Listener>, Option<web::Listener>),
        readiness: Readiness,
    ) {
        let Self { shared, sessions, stop } = self;
        let audit = shared.audit.clone();
        let knock = move |reason| note_stranger(&audit, reason);
        let handshakes = Handshakes::new(shared.metrics.clone(), shared.addresses.clone(), knock);
        if let Some(listener) = grpc {
            let door = Door::new(shared.clone(), sessions.clone(), readiness);
            sessions.spawn(grpc::serve(door, listener, handshakes.clone(), stop.clone()));
        }
        if let Some(listener) = browsers {
            sessions.spawn(web::serve(shared.clone(), listener, handshakes.clone(), stop.clone()));
        }
        sessions.spawn(accept(shared, (endpoint, handshakes), sessions.clone(), stop));
    }
}

async fn accept(
    shared: Arc<Shared>,
    (endpoint, handshakes): (Endpoint, Handshakes),
    sessions: TaskTracker,
    shutdown: CancellationToken,
) {
    let mut waiting = Queue::<QuicHandshake>::default();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            incoming = endpoint.accept() => {
                let Some(incoming) = incoming else { return };
                if let Some(handshake) = handshakes.admit_quic(incoming) {
                    waiting.push(handshake.class(), handshake);
                }
            }
            turn = handshakes.turn(), if !waiting.is_empty() => if let Some(handshake) = waiting.pop() {
                sessions.spawn(connect(shared.clone(), (handshake, turn), shutdown.clone()));
            },
        }
    }
}

async fn connect(
    shared: Arc<Shared>,
    (handshake, turn): (QuicHandshake, OwnedSemaphorePermit),
    shutdown: CancellationToken,
) {
    if let Some((connection, _place)) = handshake.complete(turn).await {
        session::serve(shared, connection, shutdown).await;
    }
}
