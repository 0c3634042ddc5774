//! One authenticated connection: a device that appends to the log and reads it from its cursor.
//!
//! One task owns the session stream. It never waits for another session: what others produce arrives in the
//! mailbox, and when that overflows the session reads the store from where it is, as it did when it began.

use std::sync::Arc;

use feldakte_certs::identity;
use feldakte_core::{
    access::Principal,
    admission,
    ids::{Cursor, Position, SessionId},
    limits,
};
use feldakte_proto::{
    ChangesFrame, ClientMessage, CloseCode, DecodeError, Durable, Hello, Push, RawEntry, Refused, ServerMessage,
    Welcome, encode_entry, negotiate,
};
use quinn::{Connection, SendStream};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use crate::{
    catch_up::CatchUp,
    gateway::Shared,
    ledgers::LedgerError,
    mailbox::{Answer, Mail, Mailbox},
    registry::leaf_of,
    sequencer::{Author, Submission},
    snapshots::Fetcher,
    store::{Reader, StoreError},
    wire::{self, FrameReader, ReadFrameError, SendFrameError},
};

/// Why a session ended.
#[derive(Debug, thiserror::Error)]
pub enum SessionError {
    /// The device sent something we do not take.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// A message came where none of its kind may come.
    #[error("unexpected message: {0}")]
    Unexpected(&'static str),
    /// The certificate does not name a device, has expired or is denied.
    #[error("not permitted")]
    NotPermitted,
    /// No protocol version in common.
    #[error("no version in common")]
    Version,
    /// No complete `Hello` in time.
    #[error("no hello in time")]
    HelloTimeout,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The device takes no bytes.
    #[error("the device takes no bytes")]
    Stalled,
    /// The gateway is going down.
    #[error("draining")]
    Draining,
    /// The connection is gone.
    #[error("the connection is gone")]
    Gone,
}

impl SessionError {
    fn close_code(&self) -> CloseCode {
        match self {
            SessionError::Decode(error) => CloseCode::from(error),
            SessionError::Unexpected(_) => CloseCode::Protocol,
            SessionError::NotPermitted => CloseCode::NotPermitted,
            SessionError::Version => CloseCode::Version,
            SessionError::HelloTimeout => CloseCode::HelloTimeout,
            SessionError::Store(_) | SessionError::Ledger(_) => CloseCode::StoreUnavailable,
            SessionError::Stalled => CloseCode::Stalled,
            SessionError::Draining => CloseCode::Draining,
            SessionError::Gone => CloseCode::Done,
        }
    }

    /// For metrics: one word, from a closed set.
    fn name(&self) -> &'static str {
        match self {
            SessionError::Decode(_) | SessionError::Unexpected(_) => "protocol",
            SessionError::NotPermitted => "not_permitted",
            SessionError::Version => "version",
            SessionError::HelloTimeout => "hello_timeout",
            SessionError::Store(_) | SessionError::Ledger(_) => "store",
            SessionError::Stalled => "stalled",
            SessionError::Draining => "draining",
            SessionError::Gone => "gone",
        }
    }
}

impl From<ReadFrameError> for SessionError {
    fn from(error: ReadFrameError) -> Self {
        match error {
            ReadFrameError::Decode(error) => SessionError::Decode(error),
            ReadFrameError::Truncated => SessionError::Unexpected("the stream ended inside a frame"),
            ReadFrameError::Stream(_) => SessionError::Gone,
        }
    }
}

impl From<SendFrameError> for SessionError {
    fn from(error: SendFrameError) -> Self {
        match error {
            SendFrameError::Stalled => SessionError::Stalled,
            SendFrameError::Stream(_) => SessionError::Gone,
        }
    }
}

/// Serves a connection to its end.
pub async fn serve(shared: Arc<Shared>, connection: Connection, shutdown: CancellationToken) {
    let id = shared.environment.session_id();
    let result = greet(&shared, &connection, id, &shutdown).await;
    let error = match result {
        Ok(greeted) => {
            let reader = greeted.reader.clone();
            let mailbox = greeted.mailbox.clone();
            shared.metrics.sessions.inc();
            let error = Session { shared: shared.clone(), ..greeted }.run(&shutdown).await;
            shared.metrics.sessions.dec();
            shared.hub.unregister(&reader, &mailbox);
            error
        }
        Err(error) => {
            shared.metrics.rejected.get_or_create(&vec![("reason", error.name())]).inc();
            error
        }
    };
    shared.registry.remove(id);
    match &error {
        SessionError::Store(_) | SessionError::Ledger(_) => warn!(session = %id, %error, "session ended"),
        _ => debug!(session = %id, %error, "session ended"),
    }
    wire::close(&connection, error.close_code());
}

struct Session {
    shared: Arc<Shared>,
    principal: Principal,
    reader: Reader,
    mailbox: Arc<Mailbox>,
    frames: FrameReader,
    out: SendStream,
    fetcher: Fetcher,
    /// Everything this device may see up to here has been sent.
    sent: Position,
    in_flight: usize,
    last_push: u64,
}

/// Takes the device's `Hello` and answers it. Not a byte leaves before the certificate has been judged.
async fn greet(
    shared: &Arc<Shared>,
    connection: &Connection,
    id: SessionId,
    shutdown: &CancellationToken,
) -> Result<Session, SessionError> {
    let principal = identify(shared, connection, id)?;
    let (out, hello, frames) = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Err(SessionError::Draining),
        opened = tokio::time::timeout(limits::HELLO_WITHIN, read_hello(connection)) => {
            opened.map_err(|_| SessionError::HelloTimeout)??
        }
    };
    let version = negotiate(&hello.versions).ok_or(SessionError::Version)?;
    let reader = Reader { tenant: principal.tenant.clone(), subjects: principal.subjects().to_vec() };
    let restored_to = shared.open_tenant(&reader.tenant).await?;
    let mailbox = Mailbox::new(id);
    // Positions of another epoch say nothing about this log.
    let after = hello.cursor.filter(|cursor| cursor.epoch == shared.epoch);
    let after = after.map_or(Position::START, |Cursor { position, .. }| position);
    let mut session = Session {
        shared: shared.clone(),
        fetcher: Fetcher::new(connection.clone(), reader.clone()),
        principal,
        reader,
        mailbox,
        frames,
        out,
        sent: after,
        in_flight: 0,
        last_push: 0,
    };
    let (head, catch_up) = session.join_tail().await?;
    info!(session = %id, device = %session.principal.device, after = %after, head = %head, "session");
    let welcome = Welcome {
        version,
        session: id,
        epoch: shared.epoch,
        head,
        caught_up: catch_up.is_none(),
        server_time_ms: shared.environment.now_ms(),
        restored_to,
    };
    let greeted = async {
        session.send(ServerMessage::Welcome(welcome)).await?;
        session.send_catch_up(catch_up).await
    };
    match greeted.await {
        Ok(()) => Ok(session),
        Err(error) => {
            shared.hub.unregister(&session.reader, &session.mailbox);
            Err(error)
        }
    }
}

fn identify(shared: &Shared, connection: &Connection, id: SessionId) -> Result<Principal, SessionError> {
    let leaf = leaf_of(connection).ok_or(SessionError::NotPermitted)?;
    let principal = identity::principal_of(&leaf).map_err(|_| SessionError::NotPermitted)?;
    let validity = identity::validity_of(&leaf).map_err(|_| SessionError::NotPermitted)?;
    if !validity.covers(shared.environment.now()) {
        return Err(SessionError::NotPermitted);
    }
    // First watched, then looked up: a device denied in between is found by one of the two.
    shared.registry.insert(id, connection.clone(), principal.device, validity.not_after);
    if shared.deny.is_denied(&leaf) {
        return Err(SessionError::NotPermitted);
    }
    Ok(principal)
}

async fn read_hello(connection: &Connection) -> Result<(SendStream, Hello, FrameReader), SessionError> {
    let (out, stream) = connection.accept_bi().await.map_err(|_| SessionError::Gone)?;
    let mut frames = FrameReader::new(stream, limits::HELLO_LEN_MAX);
    let frame = frames.next_frame().await?.ok_or(SessionError::Unexpected("the stream ended before hello"))?;
    let ClientMessage::Hello(hello) = ClientMessage::decode(frame)? else {
        return Err(SessionError::Unexpected("the first message was not hello"));
    };
    frames.set_len_max(limits::FRAME_LEN_MAX);
    Ok((out, hello, frames))
}

impl Session {
    async fn run(mut self, shutdown: &CancellationToken) -> SessionError {
        loop {
            let result = tokio::select! {
                biased;
                () = shutdown.cancelled() => Err(SessionError::Draining),
                post = self.mailbox.take(limits::CATCH_UP_BYTES) => self.handle_post(post.mail, post.lagged).await,
                frame = self.frames.next_frame(), if self.in_flight < limits::PUSHES_IN_FLIGHT => match frame {
                    Ok(Some(frame)) => self.handle_frame(frame).await,
                    Ok(None) => Err(SessionError::Gone),
                    Err(error) => Err(error.into()),
                },
            };
            if let Err(error) = result {
                return error;
            }
        }
    }

    async fn handle_frame(&mut self, frame: bytes::Bytes) -> Result<(), SessionError> {
        match ClientMessage::decode(frame)? {
            ClientMessage::Push(push) => self.handle_push(push).await,
            ClientMessage::Fetch(fetch) => {
                self.fetcher.fetch(&self.shared, fetch.documents).map_err(SessionError::Unexpected)
            }
            ClientMessage::Hello(_) => Err(SessionError::Unexpected("a second hello")),
        }
    }

    async fn handle_push(&mut self, push: Push) -> Result<(), SessionError> {
        if push.push <= self.last_push {
            return Err(SessionError::Unexpected("push numbers must ascend"));
        }
        self.last_push = push.push;
        let shared = self.shared.clone();
        let ledger = shared.ledgers.open(&shared.store, &shared.metrics, &self.principal.tenant, push.document).await?;
        let parsed = admission::parse(push.changes);
        let slot = shared.submissions.reserve().await.map_err(|_| SessionError::Draining)?;
        let author = ledger.clone();
        // Submitted under the ledger's lock: the order of admission is the order of the log.
        ledger.with(|ledger| {
            let admitted = ledger.admit(&self.principal, parsed);
            shared.metrics.changes_known.inc_by(admitted.duplicates as u64);
            let refused: Vec<Refused> =
                admitted.refused.iter().map(|(index, refusal)| Refused::new(*index, *refusal)).collect();
            for refusal in &refused {
                let reason = vec![("reason", format!("{:?}", refusal.reason))];
                shared.metrics.changes_refused.get_or_create(&reason).inc();
            }
            let entry = admitted.entry.map(|entry| {
                let encoded = encode_entry(&entry);
                (entry, encoded)
            });
            slot.send(Submission {
                tenant: self.principal.tenant.clone(),
                entry,
                readers: ledger.grants().iter().map(|grant| grant.subject.clone()).collect(),
                ledger: author,
                author: Author::Session { mailbox: self.mailbox.clone(), push: push.push, refused },
            });
        });
        self.in_flight += 1;
        Ok(())
    }

    async fn handle_post(&mut self, mail: Vec<Mail>, lagged: bool) -> Result<(), SessionError> {
        let mut frame = ChangesFrame::default();
        for mail in mail {
            match mail {
                // What overlaps with a catch-up has been sent already.
                Mail::Entry(entry) if entry.position <= self.sent => {}
                Mail::Entry(entry) => {
                    self.sent = entry.position;
                    frame.to = (!lagged).then_some(entry.position);
                    frame.entries.push(RawEntry { position: entry.position, entry: entry.encoded.clone() });
                }
                Mail::Answer(answer) => {
                    self.flush(&mut frame).await?;
                    self.send_answer(answer, lagged).await?;
                }
            }
        }
        self.flush(&mut frame).await?;
        if lagged {
            let (_, catch_up) = self.join_tail().await?;
            self.send_catch_up(catch_up).await?;
        }
        Ok(())
    }

    async fn send_answer(&mut self, answer: Answer, lagged: bool) -> Result<(), SessionError> {
        let Answer { push, position, refused } = answer;
        self.in_flight -= 1;
        let cursor = if lagged {
            None
        } else {
            self.sent = self.sent.max(position);
            Some(self.sent)
        };
        self.send(ServerMessage::Durable(Durable { push, position, cursor, refused })).await
    }

    async fn flush(&mut self, frame: &mut ChangesFrame) -> Result<(), SessionError> {
        if frame.entries.is_empty() {
            return Ok(());
        }
        self.send(ServerMessage::Changes(std::mem::take(frame))).await
    }

    /// Registers for the live tail and finds out what lies before it.
    async fn join_tail(&mut self) -> Result<(Position, Option<CatchUp>), SessionError> {
        self.shared.hub.unregister(&self.reader, &self.mailbox);
        let head = self.shared.hub.register(&self.reader, &self.mailbox);
        let catch_up = CatchUp::plan(&self.shared.store, &self.reader, self.sent, head).await?;
        if catch_up.is_empty() {
            self.sent = self.sent.max(head);
            return Ok((head, None));
        }
        Ok((head, Some(catch_up)))
    }

    async fn send_catch_up(&mut self, catch_up: Option<CatchUp>) -> Result<(), SessionError> {
        let Some(mut catch_up) = catch_up else { return Ok(()) };
        while let Some(frame) = catch_up.next_frame(&self.shared.store).await? {
            self.sent = frame.to.map_or(self.sent, |to| self.sent.max(to));
            self.send(ServerMessage::Changes(frame)).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), SessionError> {
        Ok(wire::send_frame(&mut self.out, message.encode()).await?)
    }
}

#[cfg(test)]
mod tests {
    fn future_len<A, B, C, F>(_: impl Fn(A, B, C) -> F) -> usize {
        std::mem::size_of::<F>()
    }

    #[test]
    fn an_idle_session_adds_little_to_what_quinn_needs() {
        // 40 KiB per connection are quinn's; ten thousand devices wait in one of these each.
        let len = future_len(super::serve);
        assert!(len <= 4 << 10, "the future of a session has grown to {len} bytes");
    }
}
