//! One TCP connection of a device, from its handshake to its end.
//!
//! It is for one thing: a session, the bulk of one, or errands (health, reflection). Whatever it is for ends it.

use std::{
    convert::Infallible,
    pin::pin,
    sync::{Arc, OnceLock},
    time::Duration,
};

use feldakte_certs::policy;
use feldakte_core::limits;
use feldakte_proto::{
    Close, CloseCode,
    grpc::{BULK_LEN_MAX, SyncServer},
};
use hyper::{rt::Executor, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::{Notify, watch};
use tokio_rustls::server::TlsStream;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::debug;

use super::{Door, service::Calls};
use crate::transport::grpc::{Counted, End, Line, Socket};

/// What calls know of the connection that they come on.
pub struct Caller {
    /// Who is at the other end.
    pub line: Line,
    purpose: OnceLock<Purpose>,
    decided: Notify,
}

/// What a connection is for.
#[derive(Debug, Clone)]
pub enum Purpose {
    /// Carries a session until that ends.
    Session(watch::Receiver<Option<End>>),
    /// Carries the bulk of a session until that ends, or another connection does.
    Bulk(watch::Receiver<Option<End>>),
    /// Answers what anybody may ask who has got in.
    Errands,
}

/// How a connection ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    /// The last words are let out.
    InPeace,
    /// What waits is taken back.
    AtOnce,
}

impl Caller {
    fn new(line: Line) -> Self {
        Self { line, purpose: OnceLock::new(), decided: Notify::new() }
    }

    /// Says what the connection is for; whether that is so.
    pub fn decide(&self, purpose: Purpose) -> bool {
        let decided = self.purpose.get_or_init(|| purpose.clone());
        self.decided.notify_one();
        match (decided, &purpose) {
            // A connection has one session in its life.
            (Purpose::Session(mine), Purpose::Session(other)) | (Purpose::Bulk(mine), Purpose::Bulk(other)) => {
                mine.same_channel(other)
            }
            (Purpose::Errands, Purpose::Errands) => true,
            _ => false,
        }
    }

    async fn decided(&self) -> Purpose {
        loop {
            if let Some(purpose) = self.purpose.get() {
                return purpose.clone();
            }
            self.decided.notified().await;
        }
    }

    async fn ending(&self, shutdown: &CancellationToken) -> Ending {
        let decided = tokio::select! {
            biased;
            () = shutdown.cancelled() => return Ending::InPeace,
            decided = tokio::time::timeout(limits::HELLO_WITHIN, self.decided()) => decided,
        };
        match decided {
            Ok(Purpose::Session(mut end)) => match end.wait_for(Option::is_some).await.ok().and_then(|end| *end) {
                // A reason would come behind what is to be taken back.
                Some(End::Closed(Close { code: CloseCode::Lapsed | CloseCode::Stalled, .. }))
                    if !self.line.gauge.is_empty() =>
                {
                    Ending::AtOnce
                }
                _ => Ending::InPeace,
            },
            Ok(Purpose::Bulk(mut end)) => {
                tokio::select! {
                    () = self.line.cut.cancelled() => {}
                    _ = end.wait_for(Option::is_some) => {}
                }
                Ending::AtOnce
            }
            Ok(Purpose::Errands) => {
                tokio::select! {
                    () = shutdown.cancelled() => {}
                    () = tokio::time::sleep(ERRANDS_WITHIN) => {}
                }
                Ending::InPeace
            }
            Err(_) => Ending::InPeace,
        }
    }
}

/// Serves a connection to its end.
pub async fn serve(door: Arc<Door>, stream: TlsStream<Socket>, shutdown: CancellationToken) {
    let (socket, tls) = stream.get_ref();
    // TLS leaves it to the server whether a client has to name a protocol.
    if tls.alpn_protocol() != Some(policy::GRPC_ALPN) {
        return debug!("no protocol in common");
    }
    let chain = tls.peer_certificates().unwrap_or_default().into();
    let gauge = socket.gauge();
    let caller = Arc::new(Caller::new(Line { chain, gauge: gauge.clone(), cut: CancellationToken::new() }));
    let tasks = door.sessions.clone();
    let calls = Calls { door, caller: caller.clone(), shutdown: shutdown.clone() };
    let server = SyncServer::new(calls.clone());
    let server = server.max_decoding_message_size(limits::FRAME_LEN_MAX).max_encoding_message_size(BULK_LEN_MAX);
    let answer = service_fn(move |request| {
        let (calls, server) = (calls.clone(), server.clone());
        async move { Ok::<_, Infallible>(calls.route(server, request).await) }
    });
    let connection = http2(tasks).serve_connection(TokioIo::new(Counted::new(stream, gauge.clone())), answer);
    let mut connection = pin!(connection);
    let ending = tokio::select! {
        served = connection.as_mut() => return debug!(error = served.err().map(tracing::field::display), "ended"),
        ending = caller.ending(&shutdown) => ending,
    };
    if ending == Ending::InPeace {
        connection.as_mut().graceful_shutdown();
        if tokio::time::timeout(LAST_WORDS_WITHIN, connection.as_mut()).await.is_ok() {
            return;
        }
    }
    gauge.take_back();
}

fn http2(tasks: TaskTracker) -> http2::Builder<Tracked> {
    let mut http2 = http2::Builder::new(Tracked(tasks));
    http2
        .timer(TokioTimer::new())
        .max_concurrent_streams(CALLS_MAX)
        .initial_stream_window_size(RECEIVE_WINDOW)
        .initial_connection_window_size(RECEIVE_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(HEADERS_LEN_MAX)
        .keep_alive_interval(limits::TCP_SILENCE_MAX)
        .keep_alive_timeout(limits::KEEP_ALIVE);
    http2
}

/// Every call of a connection is somebody's to wait for.
#[derive(Clone)]
struct Tracked(TaskTracker);

impl<F: Future<Output: Send + 'static> + Send + 'static> Executor<F> for Tracked {
    fn execute(&self, call: F) {
        self.0.spawn(call);
    }
}

/// How long health and reflection may be asked for: whoever wants more comes again.
const ERRANDS_WITHIN: Duration = Duration::from_secs(10);
/// A round trip over a bad link for the code with which a session ends; with it, what is denied is gone within a second.
const LAST_WORDS_WITHIN: Duration = Duration::from_millis(500);
/// Calls at once: the session and a probe, or a few fetches.
const CALLS_MAX: u32 = 8;
/// What a device may have under way that nobody has read: 10 Mbit/s at a round trip of 200 ms. A message is collected beside
/// it, at most [`limits::FRAME_LEN_MAX`].
const RECEIVE_WINDOW: u32 = 256 << 10;
/// What HTTP/2 takes of a call in advance; the last message comes on top. More would only wait here.
const SEND_BUFFER: usize = 64 << 10;
/// A path, a name of a codec and a proxy's remarks.
const HEADERS_LEN_MAX: u32 = 8 << 10;
