//! A gateway that says what the test wants, to a tablet with the real SDK.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use feldakte_certs::{deny::DenyList, policy, verifier::DeviceVerifier};
use feldakte_core::{
    call::{Intent, Say, Told},
    ids::{DocumentId, Epoch, Position, SessionId},
    limits,
};
use feldakte_proto::{
    Answer, Bundler, ChangesFrame, ClientMessage, Close, Durable, FrameDecoder, Hello, Outcome, Push, Reason, Receipts,
    Refused, ServerMessage, VERSION, Welcome, WipeOrder,
};
use quinn::{Connection, Endpoint, RecvStream, SendStream, crypto::rustls::QuicServerConfig};
use tokio::{sync::mpsc, task::JoinSet};
use tokio_util::task::AbortOnDropHandle;
use uuid::Uuid;

use super::{local::Site, within};

/// Where tablets find it. Any device of the site gets in.
pub fn endpoint(site: &Site) -> Endpoint {
    let (chain, key) = site.pki.gateway();
    let verifier = DeviceVerifier::new(site.pki.roots(), DenyList::default()).expect("a verifier");
    let tls = policy::server_config(chain, key, verifier).expect("a server configuration");
    let config = QuicServerConfig::try_from(tls).expect("a server configuration");
    let config = quinn::ServerConfig::with_crypto(Arc::new(config));
    Endpoint::server(config, (std::net::Ipv4Addr::LOCALHOST, 0).into()).expect("a free port")
}

/// Takes the session; the device has nothing to catch up with beyond position 1.
pub fn welcome(epoch: Epoch) -> Welcome {
    Welcome {
        version: VERSION,
        session: SessionId(Uuid::nil()),
        epoch,
        head: Position(1),
        caught_up: false,
        server_time_ms: now_ms(),
        restored_to: None,
        active: None,
        delivers: Vec::new(),
    }
}

fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("a clock after 1970");
    i64::try_from(since.as_millis()).expect("a clock before the year 292 million")
}

/// The other side of one session.
pub struct Session {
    /// The connection beneath.
    pub connection: Connection,
    /// How the tablet introduced itself.
    pub hello: Hello,
    out: SendStream,
    /// What comes on all lanes.
    messages: mpsc::UnboundedReceiver<ClientMessage>,
    /// The ways back on lanes beside the session's, in the order in which they were opened.
    lanes: mpsc::UnboundedReceiver<SendStream>,
    _readers: AbortOnDropHandle<()>,
}

impl Session {
    /// The next session that a tablet begins.
    pub async fn accept(endpoint: &Endpoint, welcome: Welcome, bootstrap: &[DocumentId]) -> Self {
        Self::accept_with(endpoint, |_| welcome, bootstrap).await
    }

    /// The same with an answer to what the tablet says of itself.
    pub async fn accept_with(
        endpoint: &Endpoint,
        welcome: impl FnOnce(&Hello) -> Welcome,
        bootstrap: &[DocumentId],
    ) -> Self {
        let mut session = Self::introduced(endpoint).await;
        let welcome = welcome(&session.hello);
        session.send(ServerMessage::Welcome(welcome)).await;
        let bootstrap = bootstrap.to_vec();
        let frame = ChangesFrame { to: Some(Position(1)), bootstrap, caught_up: true, entries: Vec::new() };
        // A tablet that is not believed has gone already; whoever goes on with the session finds out.
        let _ = session.out.write_chunk(ServerMessage::Changes(frame).encode()).await;
        session
    }

    /// The next session in which a tablet has introduced itself; it is not answered.
    pub async fn introduced(endpoint: &Endpoint) -> Self {
        let (connection, out, input) = within("the tablet begins a session", first_session(endpoint)).await;
        let hello = Hello::default();
        let ((tell, messages), (opened, lanes)) = (mpsc::unbounded_channel(), mpsc::unbounded_channel());
        let readers = AbortOnDropHandle::new(tokio::spawn(read_lanes(connection.clone(), input, tell, opened)));
        let mut session = Self { connection, hello, out, messages, lanes, _readers: readers };
        session.hello = match session.next().await {
            ClientMessage::Hello(hello) => hello,
            _ => panic!("the tablet does not introduce itself"),
        };
        session
    }

    /// Ends it.
    pub fn close(self, close: impl Into<Close>) {
        let close = close.into();
        self.connection.close((close.code as u32).into(), close.reason().as_bytes());
    }

    /// Says something.
    pub async fn send(&mut self, message: ServerMessage) {
        self.out.write_chunk(message.encode()).await.expect("the tablet listens");
    }

    /// Sends bytes where the tablet expects snapshots.
    pub async fn send_stream(&mut self, bytes: Bytes) {
        let mut stream = self.connection.open_uni().await.expect("the tablet takes snapshots");
        // The tablet may refuse before it has read everything.
        let _ = stream.write_chunk(bytes).await;
        let _ = stream.finish();
    }

    /// What the tablet says next. Who has signed in on it, it tells whenever it likes: that is taken.
    pub async fn next(&mut self) -> ClientMessage {
        loop {
            match self.next_of_all().await {
                ClientMessage::Receipts(receipts) if is_of_logins_alone(&receipts) => {
                    self.answer(receipts.request, Outcome::Done).await;
                }
                message => return message,
            }
        }
    }

    async fn next_of_all(&mut self) -> ClientMessage {
        within("the tablet says something", async {
            loop {
                match self.messages.recv().await.expect("the session lives") {
                    // Nobody calls here.
                    ClientMessage::Enter(_) | ClientMessage::Tail | ClientMessage::Say(_) => {}
                    message => return message,
                }
            }
        })
        .await
    }

    /// The urgent lane, which a tablet opens first: where it is told of calls.
    pub async fn urgent_lane(&mut self) -> Line {
        Line(within("the tablet opens its urgent lane", self.lanes.recv()).await.expect("the session lives"))
    }

    /// What it wants of a call next.
    pub async fn next_intent(&mut self) -> Intent {
        within("the tablet wants something of a call", async {
            loop {
                let message = self.messages.recv().await.expect("the session lives");
                if let ClientMessage::Say(Say::Intent(intent)) = message {
                    return intent;
                }
            }
        })
        .await
    }

    /// The documents it wants next.
    pub async fn next_fetch(&mut self) -> Vec<DocumentId> {
        loop {
            match self.next().await {
                ClientMessage::Fetch(fetch) => return fetch.documents,
                // It tells what was read whenever it likes.
                ClientMessage::Receipts(_) => {}
                _ => panic!("the tablet fetches nothing"),
            }
        }
    }

    /// The changes it delivers next.
    pub async fn next_push(&mut self) -> Push {
        match self.next().await {
            ClientMessage::Push(push) => push,
            _ => panic!("the tablet delivers nothing"),
        }
    }

    /// What it reports next.
    pub async fn next_receipts(&mut self) -> Receipts {
        match self.next().await {
            ClientMessage::Receipts(receipts) => receipts,
            _ => panic!("the tablet reports nothing"),
        }
    }

    /// Takes a push into the log at that position.
    pub async fn take(&mut self, push: &Push, position: u64) {
        self.answer_push(push, position, None).await;
    }

    /// Refuses every change of a push.
    pub async fn refuse(&mut self, push: &Push, reason: Reason) {
        self.answer_push(push, 1, Some(reason)).await;
    }

    async fn answer_push(&mut self, push: &Push, position: u64, reason: Option<Reason>) {
        let refused = |reason| {
            (0..push.changes.len()).map(move |index| Refused { index: index as u32, reason, expected: 0 }).collect()
        };
        let refused = reason.map(refused).unwrap_or_default();
        let durable = Durable { push: push.push, position: Position(position), cursor: None, refused };
        self.send(ServerMessage::Durable(durable)).await;
    }

    /// Everything on the device is to be destroyed.
    pub async fn order_wipe(&mut self, order: [u8; 16]) {
        self.send(ServerMessage::Wipe(WipeOrder { order })).await;
    }

    /// Answers a request.
    pub async fn answer(&mut self, request: u64, outcome: Outcome) {
        self.send(ServerMessage::Answer(Answer { request, outcome })).await;
    }

    /// The device has no grant on these documents.
    pub async fn deny(&mut self, documents: &[DocumentId]) {
        let mut bundler = Bundler::default();
        documents.iter().for_each(|document| bundler.push_unavailable(*document));
        self.send_stream(bundler.finish().expect("answers")).await;
    }

    /// The device's grants on these documents end: it asks whether it has others, and is told that it has not.
    pub async fn end(&mut self, documents: &[DocumentId]) {
        let frame = ChangesFrame { bootstrap: documents.to_vec(), ..ChangesFrame::default() };
        self.send(ServerMessage::Changes(frame)).await;
        let fetched = self.next_fetch().await;
        self.deny(&fetched).await;
    }
}

/// Where a tablet is told of calls.
pub struct Line(SendStream);

impl Line {
    /// Tells it something.
    pub async fn tell(&mut self, told: Told) {
        self.0.write_chunk(ServerMessage::Told(told).encode()).await.expect("the tablet listens");
    }
}

fn is_of_logins_alone(receipts: &Receipts) -> bool {
    let Receipts { request: _, purged, wiped, reads, opened, logins } = receipts;
    !logins.is_empty() && purged.is_empty() && wiped.is_none() && reads.is_empty() && opened.is_empty()
}

/// Until the connection ends. Answers go on the session's own stream, whatever lane they are for.
async fn read_lanes(
    connection: Connection,
    session: RecvStream,
    tell: mpsc::UnboundedSender<ClientMessage>,
    opened: mpsc::UnboundedSender<SendStream>,
) {
    let mut lanes = JoinSet::new();
    lanes.spawn(read_lane(session, tell.clone()));
    while let Ok((out, input)) = connection.accept_bi().await {
        // The session keeps them open, whether or not anything is said there.
        let _ = opened.send(out);
        lanes.spawn(read_lane(input, tell.clone()));
    }
}

async fn read_lane(mut input: RecvStream, tell: mpsc::UnboundedSender<ClientMessage>) {
    let mut decoder = FrameDecoder::new(limits::FRAME_LEN_MAX);
    while let Ok(Some(chunk)) = input.read_chunk(usize::MAX, true).await {
        decoder.extend(&chunk.bytes);
        while let Some(frame) = decoder.next_frame().expect("a tablet's frame") {
            // The test may have seen enough.
            let _ = tell.send(ClientMessage::decode(frame).expect("a tablet's message"));
        }
    }
}

/// Of all attempts the one that goes on: a tablet that waits dials again, and drops what it does not need.
async fn first_session(endpoint: &Endpoint) -> (Connection, SendStream, RecvStream) {
    let mut attempts = JoinSet::new();
    loop {
        tokio::select! {
            incoming = endpoint.accept() => {
                let incoming = incoming.expect("the endpoint is open");
                attempts.spawn(async move {
                    let connection = incoming.await.ok()?;
                    let (out, input) = connection.accept_bi().await.ok()?;
                    Some((connection, out, input))
                });
            }
            Some(attempt) = attempts.join_next() => {
                if let Ok(Some(session)) = attempt {
                    return session;
                }
            }
        }
    }
}
