//! A client that may send anything: quinn and frames, nothing else. It counts every byte of its streams.

use std::net::{Ipv4Addr, SocketAddr};

use bytes::Bytes;
use feldakte_core::{
    ids::{ChangeHash, Cursor, DocumentId, TenantId, UserId},
    limits,
    log::Entry,
};
use feldakte_proto::{
    ChangesFrame, ClientMessage, CloseCode, Credential, Durable, Fetch, FrameDecoder, Hello, Outcome, Push,
    ServerMessage, Unbundled, VERSION, Welcome, decode_bundle, decode_entry,
};
use quinn::{Connection, ConnectionError, Endpoint, RecvStream, SendStream};

use super::{author::name_of, pki::Enrolled, pki::GATEWAY_NAME, within};

/// An open connection with a session stream.
pub struct RawClient {
    /// The connection.
    pub connection: Connection,
    /// Towards the gateway.
    pub out: SendStream,
    /// Bytes received on the session stream.
    pub received: u64,
    /// Frames received on the session stream.
    pub frames: u64,
    /// Bytes sent on the session stream.
    pub sent: u64,
    input: RecvStream,
    decoder: FrameDecoder,
    last_push: u64,
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

fn hello_of(active: Option<Credential>, delivers: Vec<Credential>) -> Hello {
    Hello { versions: vec![VERSION], build: "raw".into(), cursor: None, tenant: None, active, delivers }
}

impl RawClient {
    /// Connects and opens the session stream; says nothing.
    ///
    /// # Errors
    /// When the handshake fails on the client's side.
    pub async fn connect(
        endpoint: &Endpoint,
        config: quinn::ClientConfig,
        gateway: SocketAddr,
    ) -> Result<Self, ConnectionError> {
        let connecting = endpoint.connect_with(config, gateway, GATEWAY_NAME).expect("a valid configuration");
        let connection = within("the handshake ends", connecting).await?;
        let (out, input) = connection.open_bi().await?;
        let decoder = FrameDecoder::new(2 * limits::FRAME_LEN_MAX);
        Ok(Self { connection, out, received: 0, frames: 0, sent: 0, input, decoder, last_push: 0 })
    }

    /// Connects as the device and is welcomed.
    pub async fn session(enrolled: &Enrolled, gateway: SocketAddr, cursor: Option<Cursor>) -> (Self, Welcome) {
        Self::session_with(enrolled.quic(), gateway, cursor).await
    }

    /// The same with a configuration of the test's.
    pub async fn session_with(
        config: quinn::ClientConfig,
        gateway: SocketAddr,
        cursor: Option<Cursor>,
    ) -> (Self, Welcome) {
        Self::try_session(config, gateway, cursor).await.expect("the gateway welcomes the device")
    }

    /// The same with a gateway that may be gone.
    pub async fn try_session(
        config: quinn::ClientConfig,
        gateway: SocketAddr,
        cursor: Option<Cursor>,
    ) -> Option<(Self, Welcome)> {
        Self::greet(config, gateway, &hello(cursor)).await
    }

    /// Connects as the device, with a user and the work of others, and is welcomed.
    pub async fn signed_in(
        enrolled: &Enrolled,
        gateway: SocketAddr,
        active: Option<Credential>,
        delivers: Vec<Credential>,
    ) -> (Self, Welcome) {
        let hello = ClientMessage::Hello(hello_of(active, delivers));
        Self::greet(enrolled.quic(), gateway, &hello).await.expect("the gateway welcomes the device")
    }

    /// Connects as a guest in another tenant's log and is welcomed.
    pub async fn guest(enrolled: &Enrolled, gateway: SocketAddr, log: &TenantId) -> (Self, Welcome) {
        let hello = ClientMessage::Hello(Hello { tenant: Some(log.clone()), ..hello_of(None, Vec::new()) });
        Self::greet(enrolled.quic(), gateway, &hello).await.expect("the gateway welcomes the device")
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

    async fn greet(config: quinn::ClientConfig, gateway: SocketAddr, hello: &ClientMessage) -> Option<(Self, Welcome)> {
        let mut client = Self::connect(&endpoint(), config, gateway).await.ok()?;
        client.send(hello).await;
        match client.next().await {
            Ok(ServerMessage::Welcome(welcome)) => Some((client, welcome)),
            _ => None,
        }
    }

    /// Sends a message. That the gateway has closed meanwhile shows at the next read.
    pub async fn send(&mut self, message: &ClientMessage) {
        self.send_bytes(message.encode()).await;
    }

    /// Sends whatever it is.
    pub async fn send_bytes(&mut self, bytes: Bytes) {
        self.sent += bytes.len() as u64;
        let _ = self.out.write_chunk(bytes).await;
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

    /// The next message.
    ///
    /// # Errors
    /// How the connection ended.
    pub async fn next(&mut self) -> Result<ServerMessage, Option<CloseCode>> {
        loop {
            if let Some(frame) = self.decoder.next_frame().expect("the gateway's frames are well-formed") {
                self.frames += 1;
                return Ok(ServerMessage::decode(frame).expect("the gateway's messages are well-formed"));
            }
            match within("the gateway says something", self.input.read_chunk(usize::MAX, true)).await {
                Ok(Some(chunk)) => {
                    self.received += chunk.bytes.len() as u64;
                    self.decoder.extend(&chunk.bytes);
                }
                _ => return Err(self.closed().await),
            }
        }
    }

    /// Waits for the connection's end and says with which code the gateway closed it.
    pub async fn closed(&self) -> Option<CloseCode> {
        close_code(&within("the gateway closes", self.connection.closed()).await)
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
        let chunk = within("the gateway sends", self.input.read_chunk(usize::MAX, true)).await;
        let chunk = chunk.expect("the session lives").expect("the stream is open");
        self.received += chunk.bytes.len() as u64;
        self.decoder.extend(&chunk.bytes);
        while let Some(frame) = self.decoder.next_frame().expect("the gateway's frames are well-formed") {
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

    /// Reads one stream of snapshots to its end.
    pub async fn receive_snapshots(&mut self) -> Unbundled {
        let stream = within("a stream of snapshots opens", self.connection.accept_uni()).await;
        let mut stream = stream.expect("the session lives");
        let mut decoder = FrameDecoder::new(limits::BUNDLE_LEN_MAX);
        let mut all = Unbundled::default();
        while let Some(chunk) =
            within("the snapshots arrive", stream.read_chunk(usize::MAX, true)).await.expect("the session lives")
        {
            decoder.extend(&chunk.bytes);
            while let Some(frame) = decoder.next_frame().expect("the gateway's frames are well-formed") {
                let Unbundled { snapshots, unavailable } = decode_bundle(frame).expect("a well-formed bundle");
                all.snapshots.extend(snapshots);
                all.unavailable.extend(unavailable);
            }
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
