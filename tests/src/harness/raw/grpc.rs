//! A raw client over gRPC: TLS over TCP, hyper's HTTP/2, and calls. Nothing of the SDK's.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    sync::Arc,
    task::{Context, Poll},
};

use bytes::{BufMut, Bytes, BytesMut};
use feldakte_core::limits;
use feldakte_proto::{
    CloseCode, HEADER_LEN,
    grpc::{
        BulkRequest, Frame, FrameCodec, SERVER_FRAME_LEN_MAX, SERVICE_NAME, SessionName, SyncClient, close_code_of,
    },
};
use http_body_util::StreamBody;
use hyper::{
    Request, Response,
    body::{Frame as BodyFrame, Incoming},
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{sync::mpsc, task::JoinHandle};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tonic::{
    Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service, tokio_stream::wrappers::ReceiverStream},
    metadata::MetadataMap,
};

use feldakte_client_sdk::environment::Stream;

use super::Dial;
use crate::harness::{
    pki::GATEWAY_NAME,
    region::{self, Way},
    within,
};

/// A connection on which a session has been called for.
pub struct GrpcPipe {
    /// The session's connection.
    pub line: Line,
    dial: Dial,
    gateway: Place,
    /// The body of the call; `None` when it has ended.
    out: Option<mpsc::Sender<Result<BodyFrame<Bytes>, io::Error>>>,
    answer: Answer,
    /// The second connection, once there was a fetch.
    pub bulk: Option<Line>,
    fetches: u64,
    closed: Option<CloseCode>,
    /// Came before the end, and nobody has looked at it.
    rest: VecDeque<Bytes>,
}

/// Where the gateway is, and the link that leads there.
pub type Place = (SocketAddr, Option<Arc<Way>>);

/// The gateway's answer to the call for a session, which comes with its first message.
enum Answer {
    Called(JoinHandle<hyper::Result<Response<Incoming>>>),
    Begun(SessionName, Box<Streaming<Frame>>),
    Over,
}

/// TLS over TCP, as a client sees it.
///
/// # Errors
/// When there is no connection, or the handshake fails on the client's side.
pub async fn tls(dial: &Dial, (gateway, way): &Place) -> io::Result<TlsStream<Box<dyn Stream>>> {
    let tls = dial.tls.clone().expect("this test dials over TCP");
    let stream = region::connect(way.as_deref(), *gateway).await?;
    let name = GATEWAY_NAME.try_into().expect("a valid name");
    within("the handshake ends", TlsConnector::from(tls).connect(name, stream)).await
}

/// One TCP connection; closed when dropped.
pub struct Line {
    http2: Http2,
    driver: JoinHandle<()>,
}

impl Line {
    /// Connects; `None` when that fails on the client's side.
    pub async fn connect(dial: &Dial, gateway: &Place, window: u32) -> Option<Self> {
        let stream = tls(dial, gateway).await.ok()?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(window.max(65_535));
        let (http2, connection) = builder.handshake(TokioIo::new(stream)).await.ok()?;
        let driver = tokio::spawn(async move { drop(connection.await) });
        Some(Self { http2: Http2(http2), driver })
    }

    /// Makes other calls on it.
    pub fn http2(&self) -> Http2 {
        self.http2.clone()
    }

    /// Waits for its end.
    pub async fn ended(&mut self) {
        // A driver that was polled to its end is not polled again.
        if !self.driver.is_finished() {
            let _ = (&mut self.driver).await;
        }
    }

    /// Makes calls on it.
    pub fn client(&self) -> SyncClient<Http2> {
        let origin = format!("https://{GATEWAY_NAME}").parse().expect("an address");
        SyncClient::with_origin(self.http2.clone(), origin).max_decoding_message_size(limits::BUNDLE_LEN_MAX)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.driver.abort();
    }
}

impl GrpcPipe {
    pub(super) async fn connect(dial: Dial, gateway: Place) -> Option<Self> {
        let line = Line::connect(&dial, &gateway, dial.window).await?;
        let (out, body) = mpsc::channel(1);
        let request = Request::post(format!("https://{GATEWAY_NAME}/{SERVICE_NAME}/Session"));
        let request = request.header("content-type", "application/grpc").header("te", "trailers");
        let request = request.body(Body::new(StreamBody::new(ReceiverStream::new(body)))).expect("a request");
        let mut http2 = line.http2.clone();
        let answer = Answer::Called(tokio::spawn(async move { http2.0.send_request(request).await }));
        let (closed, rest) = (None, VecDeque::new());
        Some(Self { line, dial, gateway, out: Some(out), answer, bulk: None, fetches: 0, closed, rest })
    }

    /// Sends frames as gRPC has them, each behind a byte of its own; what is no frame goes as it is.
    pub(super) async fn send(&mut self, bytes: Bytes) {
        self.send_raw(prefixed(bytes)).await;
    }

    /// Sends what stands in the body of the call.
    pub async fn send_raw(&mut self, bytes: Bytes) {
        let Some(out) = &self.out else { return };
        let _ = out.send(Ok(BodyFrame::data(bytes))).await;
    }

    /// Ends the call's body.
    pub(super) fn finish(&mut self) {
        self.out = None;
    }

    /// Takes the call back.
    pub(super) async fn reset(&mut self) {
        let Some(out) = self.out.take() else { return };
        let _ = out.send(Err(io::Error::other("taken back"))).await;
    }

    pub(super) async fn next_frame(&mut self, received: &mut u64) -> Option<Bytes> {
        let frame = match self.rest.pop_front() {
            Some(frame) => frame,
            None => self.read_frame().await?,
        };
        *received += frame.len() as u64 + PREFIX_LEN;
        Some(frame)
    }

    async fn read_frame(&mut self) -> Option<Bytes> {
        if let Answer::Called(call) = &mut self.answer {
            let answer = within("the gateway answers the call", call).await.expect("a call does not panic");
            self.answer = Answer::Over;
            let (head, body) = answer.ok()?.into_parts();
            if let Some(status) = Status::from_header_map(&head.headers) {
                self.closed = close_code_of(&status);
                return None;
            }
            let name = SessionName::read(&MetadataMap::from_headers(head.headers)).expect("the session has a name");
            let max = Some(SERVER_FRAME_LEN_MAX);
            let stream = Streaming::new_response(FrameCodec, body, head.status, None, max);
            self.answer = Answer::Begun(name, Box::new(stream));
        }
        let Answer::Begun(_, stream) = &mut self.answer else { return None };
        match within("the gateway says something", stream.message()).await {
            Ok(Some(Frame(content))) => return Some(content),
            Ok(None) => self.answer = Answer::Over,
            Err(status) => self.over(&status),
        }
        None
    }

    fn over(&mut self, status: &Status) {
        self.closed = close_code_of(status);
        self.answer = Answer::Over;
    }

    pub(super) async fn receive_snapshots(&mut self) -> Vec<Bytes> {
        self.fetches += 1;
        let request = BulkRequest { session: self.name(), fetch: self.fetches };
        let mut client = self.bulk().await.client();
        let answer = within("the fetch is answered", client.bulk(request.encode())).await.expect("the session lives");
        let (mut stream, mut all) = (answer.into_inner(), Vec::new());
        while let Some(Frame(content)) =
            within("the snapshots arrive", stream.message()).await.expect("the session lives")
        {
            all.push(content);
        }
        all
    }

    /// The second connection, made when there is none.
    pub(super) async fn bulk(&mut self) -> &Line {
        if self.bulk.is_none() {
            self.bulk = Line::connect(&self.dial, &self.gateway, BULK_WINDOW).await;
        }
        self.bulk.as_ref().expect("a second connection")
    }

    /// The session's name.
    ///
    /// # Panics
    /// Before the gateway has answered.
    pub fn name(&self) -> SessionName {
        match &self.answer {
            Answer::Begun(name, _) => name.clone(),
            _ => panic!("the session has not begun"),
        }
    }

    /// Reads nothing before the connection has ended.
    pub(super) async fn closed(&mut self) -> Option<CloseCode> {
        within("the gateway closes", self.line.ended()).await;
        let mut rest = std::mem::take(&mut self.rest);
        while let Some(frame) = self.read_frame().await {
            rest.push_back(frame);
        }
        self.rest = rest;
        self.closed
    }
}

fn prefixed(bytes: Bytes) -> Bytes {
    let mut rest = bytes;
    let mut out = BytesMut::new();
    while !rest.is_empty() {
        let len = rest.first_chunk().map_or(u32::MAX, |len| u32::from_be_bytes(*len)) as usize;
        let frame = rest.split_to(rest.len().min(len.saturating_add(HEADER_LEN)));
        out.put_u8(0);
        out.put_slice(&frame);
    }
    out.freeze()
}

/// Requests as tonic hands them over.
#[derive(Clone)]
pub struct Http2(SendRequest<Body>);

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

/// Before each message: whether it is compressed, and its length.
const PREFIX_LEN: u64 = 5;
const BULK_WINDOW: u32 = 1 << 20;
