//! One TCP connection to the gateway: TLS, HTTP/2, and the task that drives it.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use feldakte_core::limits;
use feldakte_proto::grpc::SyncClient;
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
    rt::Executor,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ClientConfig;
use rustls_pki_types::ServerName;
use tokio::time::Instant;
use tokio_rustls::TlsConnector;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service},
};

use super::stream::{Counted, Counts, Judged, judge};
use crate::{
    environment::Environment,
    transport::{Heard, LinkError, Place},
};

/// A connection. Closed when it is dropped.
pub(super) struct Line {
    http2: Http2,
    origin: hyper::Uri,
    /// Of the last answer, smoothed, in microseconds.
    rtt: AtomicU64,
    counts: Arc<Counts>,
    ended: Arc<OnceLock<LinkError>>,
    driver: TaskTracker,
    cut: CancellationToken,
    _cut_on_drop: DropGuard,
}

/// How much each of two ends of HTTP/2 may send before it is read.
pub(super) struct Windows {
    pub(super) stream: u32,
    pub(super) connection: u32,
}

impl Line {
    /// Connects, and proves who we are. The gateway may have judged that by its first answer, not before.
    pub(super) async fn connect(
        environment: &Environment,
        tls: &Arc<ClientConfig>,
        Place { over: _, address, server_name }: &Place,
        windows: Windows,
    ) -> Result<Self, LinkError> {
        let name = ServerName::try_from(server_name.clone()).map_err(|_| LinkError::Unreachable)?;
        let origin = format!("https://{server_name}").parse().map_err(|_| LinkError::Unreachable)?;
        let began = Instant::now();
        let stream = environment.network().connect(*address).await.map_err(|_| LinkError::Unreachable)?;
        let rtt = AtomicU64::new(micros(began.elapsed()));
        let counts = Arc::<Counts>::default();
        let stream = Counted::new(stream, counts.clone());
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(|error| judge(&error))?;
        let ended = Arc::<OnceLock<LinkError>>::default();
        let stream = Judged::new(stream, ended.clone());
        let (cut, driver) = (CancellationToken::new(), TaskTracker::new());
        let handshake = http2(&driver, &cut, windows).handshake(TokioIo::new(stream)).await;
        let (http2, connection) = handshake.map_err(|_| LinkError::Unreachable)?;
        let (tell, stop) = (ended.clone(), cut.clone());
        driver.spawn(async move {
            tokio::select! {
                biased;
                _ = connection => {}
                () = stop.cancelled() => return,
            }
            // Unless the stream beneath has told it better.
            let _ = tell.set(LinkError::Unreachable);
        });
        driver.close();
        let _cut_on_drop = cut.clone().drop_guard();
        Ok(Self { http2: Http2(http2), origin, rtt, counts, ended, driver, cut, _cut_on_drop })
    }

    /// Makes calls.
    pub(super) fn client(&self) -> SyncClient<Http2> {
        SyncClient::with_origin(self.http2.clone(), self.origin.clone())
    }

    /// Whether calls can be made.
    pub(super) fn is_open(&self) -> bool {
        !self.cut.is_cancelled() && self.ended.get().is_none() && !self.http2.0.is_closed()
    }

    /// How it ended by itself.
    pub(super) fn end(&self) -> Option<LinkError> {
        self.ended.get().cloned()
    }

    /// Ends it; how it had ended before, if it had.
    pub(super) async fn close(&self) -> Option<LinkError> {
        self.cut.cancel();
        self.driver.wait().await;
        self.end()
    }

    /// Ends it, without waiting.
    pub(super) fn cut(&self) {
        self.cut.cancel();
    }

    /// Time there and back, smoothed as TCP does it (RFC 6298).
    pub(super) fn rtt(&self) -> Duration {
        Duration::from_micros(self.rtt.load(Ordering::Relaxed))
    }

    /// An answer took so long.
    pub(super) fn measured(&self, rtt: Duration) {
        let smooth = |before: u64| Some((7 * before + micros(rtt)) / 8);
        // Never refused.
        let _ = self.rtt.fetch_update(Ordering::Relaxed, Ordering::Relaxed, smooth);
    }

    /// What it has carried so far.
    pub(super) fn heard(&self) -> Heard {
        self.counts.heard()
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

fn http2(tasks: &TaskTracker, cut: &CancellationToken, windows: Windows) -> http2::Builder<Tracked> {
    let mut http2 = http2::Builder::new(Tracked { tasks: tasks.clone(), cut: cut.clone() });
    http2
        .timer(TokioTimer::new())
        .initial_stream_window_size(windows.stream)
        .initial_connection_window_size(windows.connection)
        .max_send_buf_size(SEND_BUFFER)
        .keep_alive_interval(limits::TCP_KEEP_ALIVE)
        .keep_alive_timeout(limits::KEEP_ALIVE)
        .keep_alive_while_idle(true);
    http2
}

/// Requests as tonic hands them over.
#[derive(Clone)]
pub(super) struct Http2(SendRequest<Body>);

impl Service<Request<Body>> for Http2 {
    type Response = Response<Incoming>;
    type Error = hyper::Error;
    type Future = BoxFuture<Self::Response, Self::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), hyper::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        Box::pin(self.0.send_request(request))
    }
}

/// What is sent and received for a connection ends with it.
#[derive(Clone)]
struct Tracked {
    tasks: TaskTracker,
    cut: CancellationToken,
}

impl<F: Future<Output: Send> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, task: F) {
        let cut = self.cut.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                biased;
                _ = task => {}
                () = cut.cancelled() => {}
            }
        });
    }
}

/// What HTTP/2 takes of a call in advance; the last message comes on top.
const SEND_BUFFER: usize = 64 << 10;
