//! TCP connections for enrolment: so many at once, of which one address has a part, each with little time for its handshake and
//! for its request.

use std::{net::SocketAddr, sync::Arc};

use axum::{Router, body::Body};
use feldakte_core::limits::{self, Shares};
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{Semaphore, watch},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tower_service::Service;
use tracing::debug;

use super::http::From;
use crate::{addresses::Addresses, tcp};

/// Serves until shutdown. Each connection is served with the newest TLS configuration.
pub async fn serve(
    listener: TcpListener,
    tls: watch::Receiver<Arc<ServerConfig>>,
    routes: Router,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits::ENROLMENT_CONNECTIONS_MAX));
    let addresses = Addresses::new(SHARES);
    let stop = shutdown.clone();
    let admit = |stream, peer: SocketAddr| {
        // Whoever says nothing takes a place like everybody else.
        let of_address = addresses.admit(peer.ip()).ok()?.open();
        let place = places.clone().try_acquire_owned().ok()?;
        let (acceptor, routes) = (TlsAcceptor::from(tls.borrow().clone()), routes.clone());
        let stop = stop.clone();
        Some(async move {
            tokio::select! {
                biased;
                () = stop.cancelled() => {}
                () = connection(stream, peer, acceptor, routes) => {}
            }
            drop((place, of_address));
        })
    };
    tcp::accept(listener, shutdown, admit).await;
}

async fn connection(stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor, routes: Router) {
    let handshake = tokio::time::timeout(limits::ENROLMENT_HANDSHAKE_WITHIN, acceptor.accept(stream)).await;
    let Ok(Ok(stream)) = handshake else {
        debug!("no TLS handshake");
        return;
    };
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(From(peer.ip()));
        routes.clone().call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::ENROLMENT_HANDSHAKE_WITHIN)
        .max_buf_size(limits::ENROLMENT_HEAD_MAX)
        .keep_alive(false)
        .serve_connection(TokioIo::new(stream), service);
    match tokio::time::timeout(limits::ENROLMENT_REQUEST_WITHIN, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%error, "enrolment connection"),
        Err(_) => debug!("enrolment request took too long"),
    }
}

/// What one address may use here, apart from what its sessions use.
const SHARES: Shares =
    Shares { connections_per_address: limits::ENROLMENT_CONNECTIONS_PER_ADDRESS_MAX, ..Shares::DEFAULT };
