//! A raw client over gRPC: TLS over TCP, hyper's HTTP/2, and calls. Nothing of the SDK's.

use std::{
    net::SocketAddr,
    task::{Context, Poll},
};

use bytes::Bytes;
use feldakte_core::limits;
use feldakte_proto::{
    CloseCode,
    grpc::{BulkRequest, Frame, SERVER_FRAME_LEN_MAX, SessionName, SyncClient, close_code_of},
};
use hyper::{
    Request, Response,
    body::Incoming,
    client::conn::http2::{self, SendRequest},
};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::{net::TcpStream, sync::mpsc, task::JoinHandle};
use tokio_rustls::TlsConnector;
use tonic::{
    Status, Streaming,
    body::Body,
    codegen::{BoxFuture, Service, tokio_stream::wrappers::ReceiverStream},
};

use super::Dial;
use crate::harness::{pki::GATEWAY_NAME, within};

/// A connection on which a session has been called for.
pub struct GrpcPipe {
    /// Calls on the session's connection.
    pub client: SyncClient<Http2>,
    dial: Dial,
    gateway: SocketAddr,
    out: mpsc::Sender<Frame>,
    answer: Answer,
    bulk: Option<Line>,
    fetches: u64,
    closed: Option<CloseCode>,
    _line: Line,
}

/// The gateway's answer to the call for a session, which comes with its first message.
enum Answer {
    Called(JoinHandle<Result<Begun, Status>>),
    Begun(SessionName, Streaming<Frame>),
    Over,
}

type Begun = tonic::Response<Streaming<Frame>>;

/// One TCP connection; closed when dropped.
pub struct Line {
    http2: Http2,
    driver: JoinHandle<()>,
}

impl Line {
    /// Connects; `None` when that fails on the client's side.
    pub async fn connect(dial: &Dial, gateway: SocketAddr, window: u32) -> Option<Self> {
        let tls = dial.tls.clone().expect("this test dials over TCP");
        let stream = TcpStream::connect(gateway).await.ok()?;
        let name = GATEWAY_NAME.try_into().expect("a valid name");
        let stream = within("the handshake ends", TlsConnector::from(tls).connect(name, stream)).await.ok()?;
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(window).initial_connection_window_size(window.max(65_535));
        let (http2, connection) = builder.handshake(TokioIo::new(stream)).await.ok()?;
        let driver = tokio::spawn(async move { drop(connection.await) });
        Some(Self { http2: Http2(http2), driver })
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
    pub(super) async fn connect(dial: Dial, gateway: SocketAddr) -> Option<Self> {
        let line = Line::connect(&dial, gateway, dial.window).await?;
        let (out, queue) = mpsc::channel(1);
        let mut caller = line.client().max_decoding_message_size(SERVER_FRAME_LEN_MAX);
        let call = tokio::spawn(async move { caller.session(ReceiverStream::new(queue)).await });
        let client = line.client();
        let answer = Answer::Called(call);
        Some(Self { client, dial, gateway, out, answer, bulk: None, fetches: 0, closed: None, _line: line })
    }

    /// Sends a frame whose header is cut off: gRPC has its own.
    pub(super) async fn send(&mut self, frame: Bytes) {
        let _ = self.out.send(Frame::of(&frame)).await;
    }

    pub(super) async fn next_frame(&mut self, received: &mut u64) -> Option<Bytes> {
        if let Answer::Called(call) = &mut self.answer {
            match within("the gateway answers the call", call).await.expect("a call does not panic") {
                Ok(answer) => {
                    let name = SessionName::read(answer.metadata()).expect("the session has a name");
                    self.answer = Answer::Begun(name, answer.into_inner());
                }
                Err(status) => self.over(&status),
            }
        }
        let Answer::Begun(_, stream) = &mut self.answer else { return None };
        match within("the gateway says something", stream.message()).await {
            Ok(Some(Frame(content))) => {
                *received += content.len() as u64 + PREFIX_LEN;
                return Some(content);
            }
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
        if self.bulk.is_none() {
            self.bulk = Line::connect(&self.dial, self.gateway, BULK_WINDOW).await;
        }
        let mut client = self.bulk.as_ref().expect("a second connection").client();
        let answer = within("the fetch is answered", client.bulk(request.encode())).await.expect("the session lives");
        let (mut stream, mut all) = (answer.into_inner(), Vec::new());
        while let Some(Frame(content)) =
            within("the snapshots arrive", stream.message()).await.expect("the session lives")
        {
            all.push(content);
        }
        all
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

    /// Lets what comes pass until the end.
    pub(super) async fn closed(&mut self) -> Option<CloseCode> {
        while self.next_frame(&mut 0).await.is_some() {}
        self.closed
    }
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
