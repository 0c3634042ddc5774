//! One authenticated connection: a device that appends to the log and reads it from its cursor.
//!
//! One task owns the session stream. It never waits for another session: what others produce arrives in the
//! mailbox, and when that overflows the session reads the store from where it is, as it did when it began.

use std::sync::Arc;

use feldakte_certs::identity;
use feldakte_core::{
    access::Principal,
    audit,
    ids::{CaseId, Cursor, Position, SessionId},
    lane::Lane,
    limits,
};
use feldakte_proto::{Answer, ClientMessage, Hello, Outcome, Receipts, ServerMessage, Welcome, WipeOrder, negotiate};
use rustls_pki_types::CertificateDer;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use crate::{
    audit::{Trail, trail},
    gateway::Shared,
    mailbox::{Mailbox, Post},
    outlet::Outlet,
    quotas::UsedUp,
    registry::Peer,
    renewals,
    requests::Asking,
    snapshots::Fetcher,
    speaker::Speaker,
    store::Reader,
    transport::{Connection, ReceiveError, Receiver, Sender},
    turnstile::{self, Pass},
};

pub(crate) mod calls;
mod error;
mod intake;
mod lanes;
mod live;
mod tail;

pub use error::SessionError;

use self::intake::{Intake, Room};

/// Serves a connection to its end.
pub async fn serve(shared: Arc<Shared>, connection: Connection, shutdown: CancellationToken) {
    let id = shared.environment.session_id();
    let error = match identify(&shared, &connection, id) {
        Ok(principal) => serve_device(&shared, &connection, principal, id, &shutdown).await,
        Err(error) => reject(&shared, error),
    };
    shared.registry.remove(id);
    match &error {
        SessionError::Store(_) | SessionError::Ledger(_) => warn!(session = %id, %error, "session ended"),
        _ => debug!(session = %id, %error, "session ended"),
    }
    connection.close(error.close());
}

async fn serve_device(
    shared: &Arc<Shared>,
    connection: &Connection,
    principal: Principal,
    id: SessionId,
    shutdown: &CancellationToken,
) -> SessionError {
    // On the heap, like all that is needed once: it may wait for its turn and for an issuer's keys.
    let trail = Box::new(Trail::new(shared.audit.clone(), &principal, &principal.tenant, id));
    let begun = tokio::select! {
        biased;
        () = shutdown.cancelled() => Err(SessionError::Draining),
        begun = Box::pin(begin(shared, connection, principal, id)) => begun,
        () = connection.closed() => Err(SessionError::Gone),
    };
    let Begun { out, messages, hello, mut pass, speaker } = match begun {
        Ok(begun) => begun,
        Err(error) => {
            error.audit_reason().into_iter().for_each(|reason| trail.end(reason));
            return reject(shared, error);
        }
    };
    drop(trail);
    let trail = Arc::new(Trail::new(shared.audit.clone(), &speaker.principal, &speaker.log, id));
    let reader = speaker.reader(shared);
    let (mailbox, outlet) = (Mailbox::new(id, reader.parts), Outlet::new(connection.clone()));
    let device = Device {
        shared: shared.clone(),
        in_use: hello.in_use.clone(),
        speaker,
        reader: reader.clone(),
        mailbox: mailbox.clone(),
        trail: trail.clone(),
    };
    let device = Arc::new(device);
    let (is_welcome, welcome) = oneshot::channel();
    // On the heap: most of its time it waits.
    let lanes = Box::pin(lanes::serve(device.clone(), outlet.clone(), welcome));
    // Like all that is needed once.
    let greeting = Box::pin(greet((device, is_welcome), hello, outlet.clone(), (out, messages)));
    let served = async {
        let greeted = pass.during(greeting).await;
        drop(pass);
        match greeted {
            Ok(session) => {
                let _open = OpenSession::count(shared);
                session.run(shutdown).await
            }
            Err(error) => reject(shared, error),
        }
    };
    // However it ends, and whatever it waits for: a lapsed permit and a lost connection end it too.
    let error = tokio::select! {
        biased;
        error = served => error,
        error = lanes => error,
        error = lapse(&mailbox, &outlet) => error,
        () = connection.closed() => SessionError::Gone,
    };
    shared.hub.unregister(&reader, &mailbox);
    error.audit_reason().into_iter().for_each(|reason| trail.end(reason));
    error
}

/// A device that has introduced itself and has been let in.
struct Begun {
    out: Sender,
    messages: Receiver,
    hello: Box<Hello>,
    pass: Pass,
    speaker: Arc<Speaker>,
}

async fn begin(
    shared: &Arc<Shared>,
    connection: &Connection,
    principal: Principal,
    id: SessionId,
) -> Result<Begun, SessionError> {
    let opened = tokio::time::timeout(limits::HELLO_WITHIN, read_hello(connection)).await;
    let (out, hello, messages) = opened.unwrap_or(Err(SessionError::HelloTimeout))?;
    let class = turnstile::class_of(principal.role, hello.on_mission);
    let mut pass = shared.turnstile.enter(class, principal.device).await?;
    let speaker = pass.during(Box::pin(sign_in(shared, principal, &hello, id))).await?;
    Ok(Begun { out, messages, hello, pass, speaker })
}

async fn sign_in(
    shared: &Shared,
    device: Principal,
    hello: &Hello,
    id: SessionId,
) -> Result<Arc<Speaker>, SessionError> {
    let speaker = Speaker::of(shared, device, hello).await;
    let sign_ins = speaker.sign_ins();
    // First watched, then looked up, as in `identify`.
    shared.registry.enter(id, &speaker.log, sign_ins.clone());
    match sign_ins.are_over(shared.environment.latest_ms(), &shared.deny) {
        true => Err(SessionError::SignInEnded),
        false => Ok(Arc::new(speaker)),
    }
}

fn reject(shared: &Shared, error: SessionError) -> SessionError {
    shared.metrics.rejected.get_or_create(&vec![("reason", error.name())]).inc();
    error
}

/// Ends when a grant has ended and what was handed over before has not left soon after: closing is the only way to
/// take back bytes that wait inside the transport.
async fn lapse(mailbox: &Mailbox, outlet: &Outlet) -> SessionError {
    loop {
        let position = mailbox.revoked().await;
        let under_way = outlet.under_way(position);
        tokio::time::sleep(limits::LAPSE_WITHIN).await;
        if !outlet.has_left(under_way) {
            return SessionError::Lapsed;
        }
    }
}

/// Counts the session as open for as long as it is.
pub(crate) struct OpenSession<'a>(&'a Shared);

impl<'a> OpenSession<'a> {
    /// From here on until it is dropped.
    pub(crate) fn count(shared: &'a Shared) -> Self {
        shared.metrics.sessions.inc();
        Self(shared)
    }
}

impl Drop for OpenSession<'_> {
    fn drop(&mut self) {
        self.0.metrics.sessions.dec();
    }
}

/// An identified device on a connection.
struct Device {
    shared: Arc<Shared>,
    /// What is looked at on it.
    in_use: Vec<CaseId>,
    speaker: Arc<Speaker>,
    reader: Reader,
    mailbox: Arc<Mailbox>,
    trail: Arc<Trail>,
}

impl Device {
    fn asking(&self) -> Asking<'_> {
        Asking { shared: &self.shared, speaker: &self.speaker, trail: &self.trail }
    }
}

struct Session {
    device: Arc<Device>,
    outlet: Arc<Outlet>,
    messages: Receiver,
    out: Sender,
    /// Of the protocol, as both have agreed.
    version: u32,
    fetcher: Fetcher,
    /// Everything this device may see up to here has been sent.
    sent: Position,
    intake: Intake,
    /// The audit log cannot be written: nothing is sent until it can. Pushes are taken: losing them would be worse.
    withheld: bool,
}

/// Answers the device's `Hello`. Not a byte leaves before the certificate has been judged.
async fn greet(
    (device, is_welcome): (Arc<Device>, oneshot::Sender<()>),
    hello: Box<Hello>,
    outlet: Arc<Outlet>,
    (out, messages): (Sender, Receiver),
) -> Result<Session, SessionError> {
    let version = negotiate(&hello.versions).ok_or(SessionError::Version)?;
    let shared = device.shared.clone();
    let restored_to = shared.open_tenant(&device.reader.tenant).await?;
    let sent = after_of(&device, hello.cursor);
    let intake = Intake::new(device.clone(), device.mailbox.clone(), Lane::Session, ROOM);
    let fetcher = Fetcher::new(outlet.clone(), device.reader.clone(), device.trail.clone());
    Box::pin(device.trail.begin(&device.speaker)).await;
    let mut session = Session { device, outlet, messages, out, version, fetcher, sent, intake, withheld: false };
    let planned = session.device.mailbox.last_revoked();
    let (head, catch_up) = session.join_tail().await?;
    let id = session.device.mailbox.session();
    let Speaker { principal, active, delivers, .. } = &*session.device.speaker;
    info!(session = %id, device = %principal.device, after = %sent, head = %head, "session");
    let welcome = Welcome {
        version,
        session: id,
        epoch: shared.epoch,
        head,
        caught_up: catch_up.is_none(),
        server_time_ms: shared.environment.now_ms(),
        restored_to,
        active: active.clone(),
        delivers: delivers.clone(),
    };
    session.send(ServerMessage::Welcome(welcome)).await?;
    // Nobody waits any more: the session ends anyway.
    let _ = is_welcome.send(());
    if let Some(order) = shared.wipes.of(session.device.speaker.principal.device) {
        session.send(ServerMessage::Wipe(WipeOrder { order: order.into_bytes() })).await?;
    }
    session.send_catch_up(catch_up, planned).await?;
    Ok(session)
}

/// Where the device is in this log. Positions of another epoch say nothing about it.
fn after_of(device: &Device, cursor: Option<Cursor>) -> Position {
    let Device { shared, speaker, reader, .. } = device;
    let after = cursor.filter(|cursor| cursor.epoch == shared.epoch).map_or(Position::START, |cursor| cursor.position);
    let head = shared.hub.published(&reader.tenant).unwrap_or(Position::START);
    if after <= head {
        return after;
    }
    // The store was put back by other means than `feldakte restore`, which begins a new epoch: what devices push from
    // here on would meet positions that others have seen otherwise.
    error!(device = %speaker.principal.device, %after, %head, "the log is shorter than a device remembers; it reads all again");
    shared.metrics.damaged.inc();
    Position::START
}

fn identify(shared: &Shared, connection: &Connection, id: SessionId) -> Result<Principal, SessionError> {
    let leaf = connection.leaf().ok_or(SessionError::NotPermitted)?;
    known_device(shared, leaf, Peer::Device(connection.clone()), id)
}

/// The device of a certificate that a peer has proved to hold, watched from here on.
///
/// # Errors
/// When it cannot be read, is not valid at the moment, or is denied.
pub(crate) fn known_device(
    shared: &Shared,
    leaf: &CertificateDer<'static>,
    peer: Peer,
    id: SessionId,
) -> Result<Principal, SessionError> {
    let Ok(principal) = identity::principal_of(leaf) else {
        trail::note_stranger(&shared.audit, audit::Reason::CertificateInvalid);
        return Err(SessionError::NotPermitted);
    };
    let refuse = |reason| {
        Trail::new(shared.audit.clone(), &principal, &principal.tenant, id).end(reason);
        Err(SessionError::NotPermitted)
    };
    let Ok(validity) = identity::validity_of(leaf) else { return refuse(audit::Reason::CertificateInvalid) };
    if !validity.covers(shared.environment.latest()) {
        return refuse(audit::Reason::CertificateExpired);
    }
    // First watched, then looked up: a device denied in between is found by one of the two.
    shared.registry.insert(id, peer, principal.device, Some(validity.not_after));
    if shared.deny.is_denied(leaf) {
        return refuse(audit::Reason::CertificateDenied);
    }
    shared.seen.note(principal.device, shared.environment.now_ms());
    Ok(principal)
}

async fn read_hello(connection: &Connection) -> Result<(Sender, Box<Hello>, Receiver), SessionError> {
    let (out, mut messages) = connection.accept_session().await?;
    let first = messages.next_message().await?.ok_or(SessionError::Unexpected("the stream ended before hello"))?;
    let ClientMessage::Hello(hello) = first else {
        return Err(SessionError::Unexpected("the first message was not hello"));
    };
    messages.set_len_max(limits::FRAME_LEN_MAX);
    Ok((out, Box::new(hello), messages))
}

/// As many as they count for: see [`limits::Shares::receipts`].
fn receipts_in(receipts: &Receipts) -> u64 {
    let Receipts { request: _, purged, wiped: _, reads, opened, logins } = receipts;
    (purged.len() + reads.len() + logins.len()) as u64 + opened.len() as u64 * limits::RECEIPTS_AN_EMERGENCY
}

enum Step {
    /// The audit log can be written again.
    Resume,
    Post(Post),
    Rested,
    Message(Result<Option<ClientMessage>, ReceiveError>),
}

impl Session {
    async fn run(mut self, shutdown: &CancellationToken) -> SessionError {
        // Turn about: a device behind a slow link always has mail, and what it writes has to be read all the same.
        let mut messages_first = false;
        loop {
            let step = tokio::select! {
                biased;
                () = shutdown.cancelled() => return SessionError::Draining,
                step = self.next_step(messages_first) => step,
            };
            messages_first = matches!(step, Step::Post(_));
            let result = match step {
                Step::Resume => Box::pin(self.resume()).await,
                // On the heap: every idle session would carry its room.
                Step::Post(post) => Box::pin(self.handle_post(post)).await,
                Step::Rested => Ok(()),
                Step::Message(Ok(Some(message))) => self.handle_message(message).await,
                Step::Message(Ok(None)) => Err(SessionError::Gone),
                Step::Message(Err(error)) => Err(error.into()),
            };
            if let Err(error) = result {
                return error;
            }
        }
    }

    async fn next_step(&mut self, messages_first: bool) -> Step {
        let has_room = self.intake.has_room();
        let (mailbox, messages, audit) = (&self.device.mailbox, &mut self.messages, &self.device.shared.audit);
        if messages_first && has_room {
            return tokio::select! {
                biased;
                message = messages.next_message() => Step::Message(message),
                () = audit.available(), if self.withheld => Step::Resume,
                post = mailbox.take(limits::CATCH_UP_BYTES) => Step::Post(post),
            };
        }
        tokio::select! {
            biased;
            () = audit.available(), if self.withheld => Step::Resume,
            post = mailbox.take(limits::CATCH_UP_BYTES) => Step::Post(post),
            message = messages.next_message(), if has_room => Step::Message(message),
            () = self.intake.rested() => Step::Rested,
        }
    }

    async fn handle_message(&mut self, message: ClientMessage) -> Result<(), SessionError> {
        match message {
            // On the heap: every idle session would carry the room of a push.
            ClientMessage::Push(push) => Box::pin(self.intake.push(push)).await,
            ClientMessage::Fetch(fetch) => {
                self.fetcher.fetch(&self.device.shared, fetch.documents).map_err(SessionError::Unexpected)
            }
            ClientMessage::Hello(_) => Err(SessionError::Unexpected("a second hello")),
            ClientMessage::Enter(_) | ClientMessage::Tail | ClientMessage::Say(_) => {
                Err(SessionError::Unexpected("the session's stream is no other lane"))
            }
            // These as well.
            ClientMessage::Renew(renew) => {
                let answer = Box::pin(renewals::answer(&self.device.shared, self.outlet.connection(), renew)).await;
                self.send(answer).await
            }
            ClientMessage::BreakGlass(emergency) => {
                let answer = Box::pin(self.device.asking().break_glass(emergency)).await;
                self.send(answer).await
            }
            ClientMessage::Share(share) => {
                let answer = Box::pin(self.device.asking().share(share)).await;
                self.send(answer).await
            }
            ClientMessage::Receipts(receipts) => {
                let answer = Box::pin(self.answer_receipts(receipts)).await;
                self.send(answer).await
            }
        }
    }

    /// Beyond their share receipts are answered unread: the device keeps them for later, and what else it has to say is heard.
    async fn answer_receipts(&mut self, receipts: Receipts) -> ServerMessage {
        let device = self.device.speaker.principal.device;
        match self.device.shared.quotas.try_take_receipts(device, receipts_in(&receipts)) {
            Ok(()) => self.device.asking().receipts(receipts).await,
            Err(UsedUp) => {
                self.intake.note_used_up("receipts");
                ServerMessage::Answer(Answer { request: receipts.request, outcome: Outcome::TooOften })
            }
        }
    }

    async fn send(&mut self, message: ServerMessage) -> Result<(), SessionError> {
        self.outlet.send_frame(&mut self.out, message.encode_for(self.version)).await?;
        self.outlet.passed(self.sent);
        Ok(())
    }
}

/// Pushes of the session's own lane that wait for their commit.
const ROOM: Room = Room { pushes: limits::PUSHES_IN_FLIGHT, bytes: limits::PUSH_BYTES_IN_FLIGHT };

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
