//! A client that may send anything: a transport and frames, nothing else. It counts every byte of its streams.

use std::{net::Ipv4Addr, sync::Arc};

use bytes::Bytes;
use feldakte_client_sdk::environment::Network;
use feldakte_core::{
    access::Principal,
    ids::{ChangeHash, Cursor, DocumentId, TenantId, UserId},
    lane::Lane,
    log::Entry,
};
use feldakte_proto::{
    ChangesFrame, ClientMessage, CloseCode, Credential, Durable, Fetch, Hello, Outcome, Push, ServerMessage, Unbundled,
    VERSION, Welcome, decode_bundle, decode_entry,
};
use quinn::{ConnectionError, Endpoint};

pub use self::{
    dial::Dial,
    grpc::{GrpcPipe, Line, tls},
    lane::RawLane,
    quic::QuicPipe,
};
use super::{
    address::{Address, Transport},
    author::{Author, name_of},
    new_document,
    pki::Enrolled,
    region::Way,
    within,
};

mod dial;
mod grpc;
mod lane;
mod quic;

/// An open connection with a session stream.
pub struct RawClient {
    /// Bytes received on the session stream.
    pub received: u64,
    /// Frames received on the session stream.
    pub frames: u64,
    /// Bytes sent on the session stream.
    pub sent: u64,
    /// Its link, unless it reaches its gateway by loopback.
    pub way: Option<Arc<Way>>,
    pipe: Pipe,
    last_push: u64,
}

enum Pipe {
    Quic(QuicPipe),
    Grpc(Box<GrpcPipe>),
}

/// Everything a reader has been sent, as far as it was asked to look.
#[derive(Debug, Default)]
pub struct Seen {
    /// Entries in the order in which they came.
    pub entries: Vec<(u64, Entry)>,
    /// Documents to be fetched.
    pub bootstrap: Vec<DocumentId>,
    /// Where the cursor would be.
    pub cursor: u64,
    /// Whether what follows is live.
    pub caught_up: bool,
}

/// A client socket on loopback.
pub fn endpoint() -> Endpoint {
    Endpoint::client((Ipv4Addr::LOCALHOST, 0).into()).expect("a socket")
}

/// A first message as the SDK sends it.
pub fn hello(cursor: Option<Cursor>) -> ClientMessage {
    ClientMessage::Hello(Hello { cursor, ..hello_of(None, Vec::new()) })
}

/// The same of a device that says that it is on a mission.
pub fn hello_on_mission() -> ClientMessage {
    ClientMessage::Hello(Hello { on_mission: true, ..hello_of(None, Vec::new()) })
}

fn hello_of(active: Option<Credential>, delivers: Vec<Credential>) -> Hello {
    Hello { versions: vec![VERSION], build: "raw".into(), active, delivers, ..Hello::default() }
}

impl RawClient {
    /// Connects over QUIC and opens the session stream; says nothing.
    ///
    /// # Errors
    /// When the handshake fails on the client's side.
    pub async fn connect(
        endpoint: &Endpoint,
        config: quinn::ClientConfig,
        gateway: impl Into<Address>,
    ) -> Result<Self, ConnectionError> {
        let pipe = QuicPipe::connect(endpoint, config, gateway.into().socket).await?;
        Ok(Self::new(Pipe::Quic(pipe), None))
    }

    /// The same over any transport, and over a link of its own where the gateway is in a region.
    ///
    /// # Errors
    /// When there is no connection. Why, is the transport's secret.
    pub async fn open(dial: impl Into<Dial>, gateway: impl Into<Address>) -> Result<Self, ()> {
        let Address { socket, over, .. } = gateway.into();
        let (dial, way) = (dial.into(), Way::to(socket.ip()).map(Arc::new));
        let pipe = match over {
            Transport::Quic => {
                let endpoint = way.as_ref().map_or_else(endpoint, |way| way.endpoint().expect("a socket"));
                QuicPipe::connect(&endpoint, dial.quic, socket).await.ok().map(Pipe::Quic)
            }
            Transport::Grpc => GrpcPipe::connect(dial, (socket, way.clone())).await.map(Box::new).map(Pipe::Grpc),
        };
        pipe.map(|pipe| Self::new(pipe, way)).ok_or(())
    }

    fn new(pipe: Pipe, way: Option<Arc<Way>>) -> Self {
        Self { received: 0, frames: 0, sent: 0, way, pipe, last_push: 0 }
    }

    /// What is beneath it, in tests of QUIC.
    ///
    /// # Panics
    /// When it is something else.
    pub fn quic(&mut self) -> &mut QuicPipe {
        match &mut self.pipe {
            Pipe::Quic(pipe) => pipe,
            Pipe::Grpc(_) => panic!("this test is about QUIC"),
        }
    }

    /// What is beneath it, in tests of gRPC.
    ///
    /// # Panics
    /// When it is something else.
    pub fn grpc(&mut self) -> &mut GrpcPipe {
        match &mut self.pipe {
            Pipe::Grpc(pipe) => pipe,
            Pipe::Quic(_) => panic!("this test is about gRPC"),
        }
    }

    /// Connects as the device and is welcomed.
    pub async fn session(enrolled: &Enrolled, gateway: impl Into<Address>, cursor: Option<Cursor>) -> (Self, Welcome) {
        Self::session_with(enrolled.dial(), gateway, cursor).await
    }

    /// The same with a configuration of the test's.
    pub async fn session_with(
        dial: impl Into<Dial>,
        gateway: impl Into<Address>,
        cursor: Option<Cursor>,
    ) -> (Self, Welcome) {
        Self::try_session(dial, gateway, cursor).await.expect("the gateway welcomes the device")
    }

    /// The same with a gateway that may be gone.
    pub async fn try_session(
        dial: impl Into<Dial>,
        gateway: impl Into<Address>,
        cursor: Option<Cursor>,
    ) -> Option<(Self, Welcome)> {
        Self::greet(dial, gateway, &hello(cursor)).await
    }

    /// Connects as the device, with a user and the work of others, and is welcomed.
    pub async fn signed_in(
        enrolled: &Enrolled,
        gateway: impl Into<Address>,
        active: Option<Credential>,
        delivers: Vec<Credential>,
    ) -> (Self, Welcome) {
        let hello = ClientMessage::Hello(hello_of(active, delivers));
        Self::greet(enrolled.dial(), gateway, &hello).await.expect("the gateway welcomes the device")
    }

    /// Connects as a device that speaks these versions, best first, and is welcomed.
    pub async fn speaking(enrolled: &Enrolled, gateway: impl Into<Address>, versions: Vec<u32>) -> (Self, Welcome) {
        let hello = ClientMessage::Hello(Hello { versions, ..hello_of(None, Vec::new()) });
        Self::greet(enrolled.dial(), gateway, &hello).await.expect("the gateway welcomes the device")
    }

    /// Connects as a guest in another tenant's log and is welcomed.
    pub async fn guest(enrolled: &Enrolled, gateway: impl Into<Address>, log: &TenantId) -> (Self, Welcome) {
        let hello = ClientMessage::Hello(Hello { tenant: Some(log.clone()), ..hello_of(None, Vec::new()) });
        Self::greet(enrolled.dial(), gateway, &hello).await.expect("the gateway welcomes the device")
    }

    /// Asks for something; waits for what became of it and lets everything else pass.
    pub async fn ask(&mut self, message: ClientMessage) -> Outcome {
        self.send(&message).await;
        within("the request is answered", async {
            loop {
                if let ServerMessage::Answer(answer) = self.next().await.expect("the session lives") {
                    return answer.outcome;
                }
            }
        })
        .await
    }

    async fn greet(
        dial: impl Into<Dial>,
        gateway: impl Into<Address>,
        hello: &ClientMessage,
    ) -> Option<(Self, Welcome)> {
        let mut client = Self::open(dial, gateway).await.ok()?;
        client.send(hello).await;
        match client.next().await {
            Ok(ServerMessage::Welcome(welcome)) => Some((client, welcome)),
            _ => None,
        }
    }

    /// Opens a stream beside the session's; over TCP the background has a connection of its own.
    pub async fn open_lane(&mut self, lane: Lane) -> RawLane {
        match &mut self.pipe {
            Pipe::Quic(pipe) => RawLane::over_quic(&pipe.connection).await,
            Pipe::Grpc(pipe) => {
                let name = pipe.name();
                let line = if lane == Lane::Urgent { &pipe.line } else { pipe.bulk().await };
                RawLane::over_grpc(line, &name).await.expect("the gateway takes it")
            }
        }
    }

    /// The same, having said which lane it is.
    pub async fn enter(&mut self, lane: Lane) -> RawLane {
        self.open_lane(lane).await.enter(lane).await
    }

    /// Sends a message. That the gateway has closed meanwhile shows at the next read.
    pub async fn send(&mut self, message: &ClientMessage) {
        self.send_bytes(message.encode()).await;
    }

    /// Sends whatever it is.
    pub async fn send_bytes(&mut self, bytes: Bytes) {
        self.sent += bytes.len() as u64;
        match &mut self.pipe {
            Pipe::Quic(pipe) => pipe.send(bytes).await,
            Pipe::Grpc(pipe) => pipe.send(bytes).await,
        }
    }

    /// Ends its side of the session.
    pub fn finish(&mut self) {
        match &mut self.pipe {
            Pipe::Quic(pipe) => pipe.out.finish().expect("an open stream"),
            Pipe::Grpc(pipe) => pipe.finish(),
        }
    }

    /// Takes its side of the session back.
    pub async fn reset(&mut self) {
        match &mut self.pipe {
            Pipe::Quic(pipe) => pipe.out.reset(1_u32.into()).expect("an open stream"),
            Pipe::Grpc(pipe) => pipe.reset().await,
        }
    }

    /// Pushes changes; returns the push's number.
    pub async fn push(&mut self, document: DocumentId, changes: Vec<Bytes>) -> u64 {
        self.push_of(None, document, changes).await
    }

    /// Pushes a user's changes; returns the push's number.
    pub async fn push_of(&mut self, user: Option<UserId>, document: DocumentId, changes: Vec<Bytes>) -> u64 {
        self.last_push += 1;
        self.send(&ClientMessage::Push(Push { push: self.last_push, document, changes, user })).await;
        self.last_push
    }

    /// Pushes and waits for the answer, letting entries of others pass.
    pub async fn push_and_wait(&mut self, document: DocumentId, changes: Vec<Bytes>) -> Durable {
        self.push_of_and_wait(None, document, changes).await
    }

    /// The same with a user's changes.
    pub async fn push_of_and_wait(
        &mut self,
        user: Option<UserId>,
        document: DocumentId,
        changes: Vec<Bytes>,
    ) -> Durable {
        let push = self.push_of(user, document, changes).await;
        within("the push is answered", async {
            loop {
                match self.next().await.expect("the session lives") {
                    ServerMessage::Durable(durable) if durable.push == push => return durable,
                    _ => {}
                }
            }
        })
        .await
    }

    /// Pushes so many new documents of the device's; returns each with its first change.
    pub async fn push_documents(&mut self, device: &Principal, count: usize) -> Vec<(DocumentId, Bytes)> {
        let mut documents = Vec::new();
        for _ in 0..count {
            let mut author = Author::new(device, new_document());
            let changes = author.begin(1);
            documents.push((author.document, changes[0].clone()));
            self.push(author.document, changes).await;
            // Answers are taken as they come, so that the gateway never waits for this client.
            if documents.len().is_multiple_of(UNANSWERED) {
                self.drain_answers(UNANSWERED).await;
            }
        }
        self.drain_answers(count % UNANSWERED).await;
        documents
    }

    async fn drain_answers(&mut self, count: usize) {
        for _ in 0..count {
            match self.next().await {
                Ok(ServerMessage::Durable(durable)) => assert_eq!(durable.refused, []),
                other => panic!("{other:?}"),
            }
        }
    }

    /// The next message.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn next(&mut self) -> Result<ServerMessage, Option<CloseCode>> {
        let frame = match &mut self.pipe {
            Pipe::Quic(pipe) => pipe.next_frame(&mut self.received).await,
            Pipe::Grpc(pipe) => pipe.next_frame(&mut self.received).await,
        };
        let Some(frame) = frame else { return Err(self.closed().await) };
        self.frames += 1;
        Ok(ServerMessage::decode(frame).expect("the gateway's messages are well-formed"))
    }

    /// Waits for the connection's end and says with which code the gateway closed it.
    pub async fn closed(&mut self) -> Option<CloseCode> {
        match &mut self.pipe {
            Pipe::Quic(pipe) => pipe.closed().await,
            Pipe::Grpc(pipe) => pipe.closed().await,
        }
    }

    /// Reads entries until `enough` says so.
    pub async fn read_until(&mut self, seen: &mut Seen, enough: impl Fn(&Seen) -> bool) {
        while !enough(seen) {
            match self.next().await.expect("the session lives") {
                ServerMessage::Changes(frame) => seen.take(frame),
                ServerMessage::Durable(durable) => seen.cursor = durable.cursor.map_or(seen.cursor, |to| to.0),
                other => panic!("not to be expected here: {other:?}"),
            }
        }
    }

    /// Takes what has arrived on the session stream, at least one byte of it, and reads what is whole.
    pub async fn read_once(&mut self, seen: &mut Seen) {
        let frames = match &mut self.pipe {
            Pipe::Quic(pipe) => pipe.read_once(&mut self.received).await,
            Pipe::Grpc(pipe) => pipe.next_frame(&mut self.received).await.into_iter().collect(),
        };
        for frame in frames {
            self.frames += 1;
            if let ServerMessage::Changes(frame) = ServerMessage::decode(frame).expect("a well-formed message") {
                seen.take(frame);
            }
        }
    }

    /// Fetches documents as snapshots.
    pub async fn fetch(&mut self, documents: &[DocumentId]) -> Unbundled {
        self.send(&ClientMessage::Fetch(Fetch { documents: documents.to_vec() })).await;
        self.receive_snapshots().await
    }

    /// Reads one answer of snapshots to its end.
    pub async fn receive_snapshots(&mut self) -> Unbundled {
        let bundles = match &mut self.pipe {
            Pipe::Quic(pipe) => pipe.receive_snapshots().await,
            Pipe::Grpc(pipe) => pipe.receive_snapshots().await,
        };
        let mut all = Unbundled::default();
        for bundle in bundles {
            let Unbundled { snapshots, unavailable } = decode_bundle(bundle).expect("a well-formed bundle");
            all.snapshots.extend(snapshots);
            all.unavailable.extend(unavailable);
        }
        all
    }
}

impl Seen {
    fn take(&mut self, frame: ChangesFrame) {
        let ChangesFrame { to, entries, bootstrap, caught_up } = frame;
        self.cursor = to.map_or(self.cursor, |to| to.0);
        self.bootstrap.extend(bootstrap);
        self.caught_up |= caught_up;
        let decode = |raw: feldakte_proto::RawEntry| {
            (raw.position.0, decode_entry(raw.entry).expect("the gateway's entries are well-formed"))
        };
        self.entries.extend(entries.into_iter().map(decode));
    }

    /// Names of all changes in the entries, in the order in which they came.
    pub fn changes(&self) -> Vec<ChangeHash> {
        self.entries.iter().flat_map(|(_, entry)| entry.changes.iter().map(name_of)).collect()
    }
}

/// The code with which the gateway closed; `None` for any other end, such as a refused handshake.
pub fn close_code(error: &ConnectionError) -> Option<CloseCode> {
    match error {
        ConnectionError::ApplicationClosed(close) => CloseCode::from_number(close.error_code.into_inner()),
        _ => None,
    }
}

/// Pushes that may wait for their answers.
const UNANSWERED: usize = 32;
