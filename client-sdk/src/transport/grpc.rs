//! A session over gRPC: a call on one TCP connection, its urgent lane beside it, and on another connection its background and
//! snapshots. That one is there only while it is needed.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use feldakte_certs::policy;
use feldakte_core::lane::Lane;
use feldakte_proto::{
    ClientMessage, Close, DecodeError, FrameError, ServerMessage,
    grpc::{Frame, SERVER_FRAME_LEN_MAX, SessionName, close_of},
};
use rustls::ClientConfig;
use tokio::{
    sync::{mpsc, watch},
    time::Instant,
};
use tonic::{Code, Request, Status, Streaming, codegen::tokio_stream::Stream};

use self::{
    bulk::Bulk,
    line::{Line, Windows},
};
use super::{Gone, Heard, LinkError, Place, ReceiveError};
use crate::{environment::Environment, error::SdkError, identity::Identity};

mod bulk;
mod line;
mod live;
mod stream;

pub(super) use self::{
    bulk::Snapshots,
    live::{LiveReceiver, LiveSender},
};

pub(super) struct Dialler {
    environment: Environment,
}

/// A connection on which no session has been called for.
pub(super) struct Connected {
    line: Line,
    environment: Environment,
    tls: Arc<ClientConfig>,
    place: Place,
}

pub(super) struct Connection {
    line: Arc<Line>,
    name: SessionName,
    /// How the gateway ended the session.
    closed: Arc<OnceLock<Close>>,
    bulk: Bulk,
    is_probing: Arc<AtomicBool>,
}

pub(super) struct Sender {
    frames: mpsc::Sender<Frame>,
    /// Fetches so far; none are sent on other lanes than the session's.
    fetches: Option<watch::Sender<u64>>,
}

pub(super) struct Receiver {
    stream: Streaming<Frame>,
    closed: Arc<OnceLock<Close>>,
    /// Of a lane: its connection is needed as long as it is.
    _line: Option<Arc<Line>>,
}

pub(super) fn client_config(identity: &Identity) -> Result<Arc<ClientConfig>, SdkError> {
    let Identity { roots, chain, key, .. } = identity;
    let tls = policy::grpc_client_config(roots.clone(), chain.clone(), key.clone_key());
    tls.map(Arc::new).map_err(|error| SdkError::Identity(error.to_string()))
}

impl Dialler {
    pub(super) fn new(environment: Environment) -> Self {
        Self { environment }
    }

    pub(super) async fn connect(&self, tls: &Arc<ClientConfig>, place: &Place) -> Result<Connected, LinkError> {
        let line = Line::connect(&self.environment, tls, place, SESSION_WINDOWS).await?;
        Ok(Connected { line, environment: self.environment.clone(), tls: tls.clone(), place: place.clone() })
    }
}

impl Connected {
    /// The session and the gateway's first message.
    pub(super) async fn begin(
        self,
        hello: &ClientMessage,
    ) -> Result<(Connection, Sender, Receiver, ServerMessage), LinkError> {
        let Self { line, environment, tls, place } = self;
        let (frames, queue) = mpsc::channel(1);
        // There is room, and the one who takes it out is here.
        let _ = frames.try_send(Frame::of(&hello.encode()));
        let mut client = line.client().max_decoding_message_size(SERVER_FRAME_LEN_MAX);
        let answer = match client.session(Messages(queue)).await {
            Ok(answer) => answer,
            Err(status) => return Err(end_of(&line, &status).await),
        };
        let name = SessionName::read(answer.metadata()).ok_or(LinkError::Unexpected)?;
        let closed = Arc::<OnceLock<Close>>::default();
        let mut receiver = Receiver { stream: answer.into_inner(), closed: closed.clone(), _line: None };
        let first = match receiver.next_frame().await {
            Ok(Some(frame)) => ServerMessage::decode(frame)?,
            Ok(None) => return Err(LinkError::Unreachable),
            Err(ReceiveError::Gone) => {
                return Err(closed.get().map_or(LinkError::Unreachable, |close| LinkError::from(*close)));
            }
            Err(ReceiveError::Decode(error)) => return Err(error.into()),
        };
        let fetches = watch::Sender::new(0);
        let bulk = Bulk::new(environment, tls, place, name.clone(), fetches.subscribe());
        let connection = Connection { line: Arc::new(line), name, closed, bulk, is_probing: Arc::default() };
        Ok((connection, Sender { frames, fetches: Some(fetches) }, receiver, first))
    }
}

/// What a call that was not answered means. An end without an answer says nothing about this device: the gateway may just
/// have died.
async fn end_of(line: &Line, status: &Status) -> LinkError {
    match close_of(status) {
        Some(close) => close.into(),
        None => line.close().await.unwrap_or(LinkError::Unreachable),
    }
}

impl Connection {
    pub(super) async fn accept_snapshots(&self) -> Snapshots {
        self.bulk.next_answer().await
    }

    /// Only the urgent one shares the session's connection.
    pub(super) async fn open_lane(&self, lane: Lane) -> Result<(Sender, Receiver), Gone> {
        let line = match lane {
            Lane::Urgent => self.line.clone(),
            _ => self.bulk.line().await.ok_or(Gone)?,
        };
        let (frames, queue) = mpsc::channel(1);
        // There is room, and the one who takes it out is here.
        let _ = frames.try_send(Frame::of(&ClientMessage::Enter(lane).encode()));
        let mut request = Request::new(Messages(queue));
        self.name.write(request.metadata_mut());
        let mut client = line.client().max_decoding_message_size(SERVER_FRAME_LEN_MAX);
        let stream = client.lane(request).await.map_err(|_| Gone)?.into_inner();
        // One that holds on to the session's own would keep it open.
        let line = Some(line).filter(|_| lane != Lane::Urgent);
        Ok((Sender { frames, fetches: None }, Receiver { stream, closed: self.closed.clone(), _line: line }))
    }

    /// On the session's own connection.
    pub(super) async fn open_live(&self) -> Result<(LiveSender, LiveReceiver), Gone> {
        live::open(&self.line, &self.name).await
    }

    pub(super) fn end(&self) -> Option<LinkError> {
        self.closed.get().map(|close| LinkError::from(*close)).or_else(|| self.line.end())
    }

    pub(super) fn heard(&self) -> Heard {
        self.line.heard()
    }

    pub(super) fn rtt(&self) -> Duration {
        self.line.rtt()
    }

    /// TCP does not tell what has arrived: only an answer does.
    pub(super) fn probe(&self) {
        if self.is_probing.swap(true, Ordering::Relaxed) {
            return;
        }
        // A connection that is dropped meanwhile must end, and with it the call.
        let (mut client, line, is_probing) = (self.line.client(), Arc::downgrade(&self.line), self.is_probing.clone());
        tokio::spawn(async move {
            let asked = Instant::now();
            let is_answered = client.probe(Request::new(Frame(Bytes::new()))).await.is_ok();
            if let (true, Some(line)) = (is_answered, line.upgrade()) {
                line.measured(asked.elapsed());
            }
            is_probing.store(false, Ordering::Relaxed);
        });
    }

    pub(super) fn close(&self) {
        self.line.cut();
    }
}

impl Sender {
    pub(super) async fn send(&mut self, frame: &Bytes) -> Result<(), Gone> {
        self.frames.send(Frame::of(frame)).await.map_err(|_| Gone)
    }

    /// Another answer is to be called for.
    pub(super) fn fetches(&mut self) {
        if let Some(fetches) = &self.fetches {
            fetches.send_modify(|fetches| *fetches += 1);
        }
    }
}

impl Receiver {
    pub(super) async fn next_frame(&mut self) -> Result<Option<Bytes>, ReceiveError> {
        match self.stream.message().await {
            Ok(frame) => content_of(frame),
            Err(status) => Err(judge(&status, &self.closed, SERVER_FRAME_LEN_MAX)),
        }
    }
}

fn content_of(frame: Option<Frame>) -> Result<Option<Bytes>, ReceiveError> {
    match frame {
        Some(Frame(content)) if content.is_empty() => Err(DecodeError::from(FrameError::Empty).into()),
        frame => Ok(frame.map(|Frame(content)| content)),
    }
}

/// What ended a stream of the gateway's; how the session ended goes into `closed`.
fn judge(status: &Status, closed: &OnceLock<Close>, max: usize) -> ReceiveError {
    if let Some(close) = close_of(status) {
        // The first one counts.
        let _ = closed.set(close);
        return ReceiveError::Gone;
    }
    match status.code() {
        Code::OutOfRange => DecodeError::from(FrameError::TooLarge { len: max + 1, max }).into(),
        _ => ReceiveError::Gone,
    }
}

/// Messages to the gateway as a call takes them.
struct Messages(mpsc::Receiver<Frame>);

impl Stream for Messages {
    type Item = Frame;

    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Frame>> {
        self.0.poll_recv(cx)
    }
}

/// What the gateway may have under way: 10 Mbit/s at a round trip of 200 ms. A message is collected beside it.
const SESSION_WINDOWS: Windows = Windows { stream: 256 << 10, connection: 256 << 10 };
/// 40 Mbit/s at a round trip of 200 ms.
const BULK_WINDOWS: Windows = Windows { stream: 1 << 20, connection: 1 << 20 };
