//! One TCP connection to the gateway: TLS, HTTP/2, and the task that drives it.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, ready},
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
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_rustls::TlsConnector;
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
use tonic::{
    body::Body,
    codegen::{BoxFuture, Service},
};

use crate::{
    environment::{Environment, Stream},
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

#[derive(Debug, Default)]
struct Counts {
    received: AtomicU64,
    sent: AtomicU64,
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
        let stream = Counted { stream, counts: counts.clone() };
        let stream = TlsConnector::from(tls.clone()).connect(name, stream).await.map_err(|error| judge(&error))?;
        let (cut, driver) = (CancellationToken::new(), TaskTracker::new());
        let handshake = http2(&driver, &cut, windows).handshake(TokioIo::new(stream)).await;
        let (http2, connection) = handshake.map_err(|error| judge(&error))?;
        let ended = Arc::<OnceLock<LinkError>>::default();
        let (tell, stop) = (ended.clone(), cut.clone());
        driver.spawn(async move {
            let result = tokio::select! {
                biased;
                result = connection => result,
                () = stop.cancelled() => return,
            };
            let end = result.err().map_or(LinkError::Unreachable, |error| judge(&error));
            // Nobody else sets it.
            let _ = tell.set(end);
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
        let Counts { received, sent } = &*self.counts;
        Heard { received: received.load(Ordering::Relaxed), asked: sent.load(Ordering::Relaxed) }
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

/// What a broken connection means: whoever is refused in TLS is told by an alert.
fn judge(error: &(dyn std::error::Error + 'static)) -> LinkError {
    let mut cause = Some(error);
    while let Some(error) = cause {
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        if inner.is_some_and(|inner| inner.is::<rustls::Error>()) || error.is::<rustls::Error>() {
            return LinkError::Refused;
        }
        cause = error.source();
    }
    LinkError::Unreachable
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

/// Counts what passes.
struct Counted {
    stream: Box<dyn Stream>,
    counts: Arc<Counts>,
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.counts.received.fetch_add((buffer.filled().len() - before) as u64, Ordering::Relaxed);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, bytes))?;
        self.counts.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, parts))?;
        self.counts.sent.fetch_add(written as u64, Ordering::Relaxed);
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// What HTTP/2 takes of a call in advance; the last message comes on top.
const SEND_BUFFER: usize = 64 << 10;
