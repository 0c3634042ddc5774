//! What a browser asks for over HTTP: the upgrade to a WebSocket, and the page for tests when there is one.

use std::sync::{Arc, Mutex, PoisonError};

use axum::{
    Extension, Router,
    body::Body,
    extract::{
        State,
        ws::{WebSocket, WebSocketUpgrade},
    },
    http::{
        HeaderMap, HeaderName, HeaderValue, StatusCode,
        header::{self, CACHE_CONTROL, CONTENT_TYPE, ORIGIN},
    },
    response::{IntoResponse, Response},
    routing::get,
};
use feldakte_core::limits;
use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{net::TcpStream, sync::oneshot};
use tokio_rustls::server::TlsStream;
use tower_service::Service;
use tracing::debug;

use super::Door;

/// Where the WebSocket goes when there is one.
#[derive(Clone)]
struct Upgraded(Arc<Mutex<Option<oneshot::Sender<WebSocket>>>>);

/// Answers what the browser asks for; the WebSocket, when it was one that is let in.
pub(super) async fn upgraded(door: &Arc<Door>, stream: TlsStream<TcpStream>) -> Option<WebSocket> {
    let (sender, socket) = oneshot::channel();
    let (routes, sender) = (routes(door.clone()), Upgraded(Arc::new(Mutex::new(Some(sender)))));
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(sender.clone());
        routes.clone().call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits::HELLO_WITHIN)
        .max_buf_size(HEAD_LEN_MAX)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    match tokio::time::timeout(limits::HELLO_WITHIN, served).await {
        // Without an upgrade the sender is gone with its service.
        Ok(Ok(())) => tokio::time::timeout(limits::HELLO_WITHIN, socket).await.ok()?.ok(),
        Ok(Err(error)) => {
            debug!(%error, "a browser's connection");
            None
        }
        Err(_) => {
            debug!("a browser's request took too long");
            None
        }
    }
}

fn routes(door: Arc<Door>) -> Router {
    let mut routes = Router::new().route(CALLS, get(calls));
    if door.config.test_page {
        routes = routes
            .route("/", get(async || page("text/html; charset=utf-8", include_str!("test_page/index.html"))))
            .route("/page.js", get(async || page("text/javascript; charset=utf-8", include_str!("test_page/page.js"))))
            .route(
                "/media.js",
                get(async || page("text/javascript; charset=utf-8", include_str!("test_page/media.js"))),
            )
            .route("/page.css", get(async || page("text/css; charset=utf-8", include_str!("test_page/page.css"))));
    }
    routes.with_state(door)
}

async fn calls(
    State(door): State<Arc<Door>>,
    Extension(Upgraded(sender)): Extension<Upgraded>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    // A browser says for which page it asks; whatever does not is none, and has ways of its own.
    let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
    if !origin.is_some_and(|origin| door.config.origins.iter().any(|known| known == origin)) {
        door.shared.metrics.rejected.get_or_create(&vec![("reason", "origin")]).inc();
        return StatusCode::FORBIDDEN.into_response();
    }
    let upgrade = upgrade
        .max_message_size(limits::WEB_MESSAGE_LEN_MAX)
        .max_frame_size(limits::WEB_MESSAGE_LEN_MAX)
        .write_buffer_size(0)
        .max_write_buffer_size(2 * limits::WEB_MESSAGE_LEN_MAX);
    upgrade.on_upgrade(async move |socket| {
        let sender = sender.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Nobody waits any more: it took too long.
        if let Some(sender) = sender {
            drop(sender.send(socket));
        }
    })
}

/// A page that can do nothing but talk to where it came from, and be nobody's frame.
fn page(content_type: &'static str, text: &'static str) -> Response {
    let headers: [(HeaderName, HeaderValue); 7] = [
        (CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY)),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static("max-age=31536000")),
        (HeaderName::from_static("permissions-policy"), HeaderValue::from_static("camera=(self), microphone=(self)")),
    ];
    (headers, text).into_response()
}

/// Where pages have their calls.
const CALLS: &str = "/v1/calls";
/// Scripts and styles from here alone, none of them inline; connections to here alone; no frames, forms or plug-ins.
const CONTENT_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                              base-uri 'none'; form-action 'none'; frame-ancestors 'none'";
/// A path and a browser's remarks about itself.
const HEAD_LEN_MAX: usize = 16 << 10;
