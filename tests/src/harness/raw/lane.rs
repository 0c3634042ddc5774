//! A lane beside a raw client's session.

use bytes::Bytes;
use feldakte_core::{ids::DocumentId, lane::Lane, limits};
use feldakte_proto::{
    ClientMessage, FrameDecoder, Push, ServerMessage,
    grpc::{Frame, SERVER_FRAME_LEN_MAX, SessionName},
};
use quinn::{Connection, RecvStream, SendStream};
use tokio::sync::mpsc;
use tonic::{Request, Status, Streaming, codegen::tokio_stream::wrappers::ReceiverStream};

use super::Line;
use crate::harness::within;

/// A stream of its own.
pub struct RawLane {
    pipe: Pipe,
    last_push: u64,
}

enum Pipe {
    Quic { out: SendStream, input: RecvStream, decoder: FrameDecoder },
    Grpc { out: mpsc::Sender<Frame>, input: Streaming<Frame> },
}

impl RawLane {
    pub(super) async fn over_quic(connection: &Connection) -> Self {
        let (out, input) = within("a stream may be opened", connection.open_bi()).await.expect("the session lives");
        Self { pipe: Pipe::Quic { out, input, decoder: FrameDecoder::new(2 * limits::FRAME_LEN_MAX) }, last_push: 0 }
    }

    /// # Errors
    /// How the gateway refuses it.
    pub async fn over_grpc(line: &Line, session: &SessionName) -> Result<Self, Status> {
        let (out, messages) = mpsc::channel(1);
        let mut request = Request::new(ReceiverStream::new(messages));
        session.write(request.metadata_mut());
        let mut client = line.client().max_decoding_message_size(SERVER_FRAME_LEN_MAX);
        let answer = within("the gateway answers the call", client.lane(request)).await?;
        Ok(Self { pipe: Pipe::Grpc { out, input: answer.into_inner() }, last_push: 0 })
    }

    /// Says which lane it is.
    pub async fn enter(mut self, lane: Lane) -> Self {
        self.send(&ClientMessage::Enter(lane)).await;
        self
    }

    /// Sends a message. That the gateway has closed meanwhile shows elsewhere.
    pub async fn send(&mut self, message: &ClientMessage) {
        let message = message.encode();
        match &mut self.pipe {
            Pipe::Quic { out, .. } => drop(out.write_chunk(message).await),
            Pipe::Grpc { out, .. } => drop(out.send(Frame::of(&message)).await),
        }
    }

    /// Pushes changes; returns the push's number.
    pub async fn push(&mut self, document: DocumentId, changes: Vec<Bytes>) -> u64 {
        self.last_push += 1;
        self.send(&ClientMessage::Push(Push { push: self.last_push, document, changes, user: None })).await;
        self.last_push
    }

    /// The next message that says something; `None` at the end.
    pub async fn next(&mut self) -> Option<ServerMessage> {
        loop {
            match self.next_of_all().await {
                Some(ServerMessage::Tail) => {}
                message => return message,
            }
        }
    }

    /// Tails among them.
    pub async fn next_of_all(&mut self) -> Option<ServerMessage> {
        let frame = match &mut self.pipe {
            Pipe::Quic { input, decoder, .. } => loop {
                if let Some(frame) = decoder.next_frame().expect("the gateway's frames are well-formed") {
                    break frame;
                }
                let chunk = within("the gateway says something", input.read_chunk(usize::MAX, true)).await.ok()??;
                decoder.extend(&chunk.bytes);
            },
            Pipe::Grpc { input, .. } => within("the gateway says something", input.message()).await.ok()??.0,
        };
        Some(ServerMessage::decode(frame).expect("the gateway's messages are well-formed"))
    }

    /// Says no more.
    pub fn finish(&mut self) {
        match &mut self.pipe {
            Pipe::Quic { out, .. } => drop(out.finish()),
            Pipe::Grpc { out, .. } => *out = mpsc::channel(1).0,
        }
    }
}
