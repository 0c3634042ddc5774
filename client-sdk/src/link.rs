//! Keeps a session with the gateway while the app wants one: dials, resumes, dials again.
//!
//! Every failure has the same answer: close, reconnect with full jitter, resume from the cursor. The link moves
//! messages and knows nothing of what they mean.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use feldakte_core::{
    backoff::Backoff,
    ids::{Cursor, TenantId},
};
use feldakte_proto::{
    ClientMessage, CloseCode, Credential, Hello, ServerMessage, Unbundled, VERSION, Welcome, decode_bundle,
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::{
    environment::Environment,
    renewal::{Credentials, Renewing},
    transport::{Connection, Dialler, LinkError, Place, ReceiveError, Receiver, Sender, Session},
};

/// What the link tells the engine.
pub(crate) enum LinkInput {
    /// About to dial: the engine says how the device introduces itself.
    Dialling(oneshot::Sender<Introduction>),
    /// In session, as introduced by that number. Messages for the gateway go into `outbound`.
    Up { welcome: Welcome, introduction: u64, outbound: mpsc::Sender<ClientMessage> },
    /// A message of the session stream.
    Message(ServerMessage),
    /// A bundle of snapshots.
    Snapshots(Unbundled),
    /// The gateway has sent all it could of what was fetched.
    FetchEnded,
    /// Fetched snapshots did not arrive as they should; those still pending are asked for again.
    FetchFailed,
    /// The certificate is due: to be asked for in the session.
    Renew(Renewing),
    /// No session any more, or none came about.
    Down(LinkError),
}

/// How the device introduces itself.
pub(crate) struct Introduction {
    /// Of [`LinkControl::introduction`].
    pub(crate) number: u64,
    pub(crate) cursor: Option<Cursor>,
    pub(crate) active: Option<Credential>,
    pub(crate) delivers: Vec<Credential>,
}

/// The link's data; [`Link::run`] is its task.
pub(crate) struct Link {
    pub(crate) environment: Environment,
    pub(crate) dialler: Dialler,
    pub(crate) credentials: Credentials,
    /// `host:port`.
    pub(crate) gateway: String,
    pub(crate) server_name: String,
    /// Whose log; its own tenant's when `None`.
    pub(crate) log: Option<TenantId>,
    pub(crate) engine: mpsc::Sender<LinkInput>,
    pub(crate) control: Arc<LinkControl>,
}

/// Shared with the engine and the client handle.
pub(crate) struct LinkControl {
    /// Whether the app wants a session.
    pub(crate) wanted: watch::Sender<bool>,
    /// Whether the session at hand has delivered what the log held when it began.
    pub(crate) caught_up: watch::Sender<bool>,
    /// Pushes and fetches the gateway has not answered.
    pub(crate) unanswered: AtomicUsize,
    /// The network has changed: do not wait for the back-off.
    pub(crate) hurry: Notify,
    /// Counts who uses the device: a session is somebody's, and somebody else's is another one.
    pub(crate) introduction: watch::Sender<u64>,
}

impl LinkControl {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            wanted: watch::Sender::new(false),
            caught_up: watch::Sender::new(false),
            unanswered: AtomicUsize::new(0),
            hurry: Notify::new(),
            introduction: watch::Sender::new(0),
        })
    }
}

impl Link {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut wanted = self.control.wanted.subscribe();
        let mut backoff = Backoff::new(BACKOFF_BASE, BACKOFF_CAP);
        loop {
            let is_wanted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = wanted.wait_for(|wanted| *wanted) => changed.is_ok(),
            };
            if !is_wanted {
                return;
            }
            let error = self.one_session(&mut backoff, &mut wanted, &shutdown).await;
            debug!(%error, "link down");
            let retryable = error.is_retryable() || self.credentials.were_refused();
            let is_done = matches!(error, LinkError::Closed(CloseCode::Done));
            if self.engine.send(LinkInput::Down(error)).await.is_err() || shutdown.is_cancelled() {
                return;
            }
            let delay = match retryable {
                true => backoff.next_delay(self.environment.draw()),
                // Somebody has to act first, and may have by then.
                false => REFUSED_AGAIN.mul_f64(0.5 + self.environment.draw()),
            };
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = self.control.hurry.notified() => {}
                _ = wanted.wait_for(|wanted| !*wanted) => {}
                () = tokio::time::sleep(delay) => {}
            }
            // Whoever goes offline while nothing is open hears of it as well.
            let is_over = !is_done && !*wanted.borrow();
            if is_over && self.engine.send(LinkInput::Down(LinkError::Closed(CloseCode::Done))).await.is_err() {
                return;
            }
        }
    }

    /// Dials and serves one session to its end.
    async fn one_session(
        &self,
        backoff: &mut Backoff,
        wanted: &mut watch::Receiver<bool>,
        shutdown: &CancellationToken,
    ) -> LinkError {
        let mut introduction = self.control.introduction.subscribe();
        let session = loop {
            introduction.mark_unchanged();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return LinkError::Closed(CloseCode::Done),
                _ = wanted.wait_for(|wanted| !*wanted) => return LinkError::Closed(CloseCode::Done),
                // Packets sent into a dead network are repeated ever more slowly: begin anew.
                () = self.control.hurry.notified() => {}
                _ = introduction.changed() => {}
                session = self.dial() => break session,
            }
        };
        let (Session { connection, sender, receiver, welcome }, introduced) = match session {
            Ok(session) => session,
            Err(error) => return error,
        };
        backoff.reset();
        self.credentials.were_taken();
        let (outbound, queue) = mpsc::channel(OUTBOUND);
        if self.engine.send(LinkInput::Up { welcome, introduction: introduced, outbound }).await.is_err() {
            return LinkError::Closed(CloseCode::Done);
        }
        let error = tokio::select! {
            biased;
            () = shutdown.cancelled() => LinkError::Closed(CloseCode::Done),
            _ = wanted.wait_for(|wanted| !*wanted) => LinkError::Closed(CloseCode::Done),
            _ = introduction.changed() => LinkError::Introduced,
            error = self.receive(receiver) => error,
            () = send(sender, queue) => LinkError::Unreachable,
            error = self.receive_snapshots(&connection) => error,
            () = self.silence(&connection) => LinkError::Silent,
            () = self.credentials.keep_fresh(&self.engine) => LinkError::Unreachable,
        };
        // However it ended: somebody else has signed in, and waits for a session of his own.
        let is_somebody_elses =
            matches!(error, LinkError::Introduced) || *self.control.introduction.borrow() != introduced;
        let error = match connection.end() {
            _ if is_somebody_elses && *wanted.borrow() => {
                self.control.hurry.notify_one();
                LinkError::Introduced
            }
            Some(end) => end,
            None => error,
        };
        connection.close();
        error
    }

    async fn dial(&self) -> Result<(Session, u64), LinkError> {
        let (answer, introduction) = oneshot::channel();
        self.engine.send(LinkInput::Dialling(answer)).await.map_err(|_| LinkError::Unreachable)?;
        let introduction = introduction.await.map_err(|_| LinkError::Unreachable)?;
        let Introduction { number, cursor, active, delivers } = introduction;
        let addresses = self.environment.network().resolve(&self.gateway).await.map_err(|_| LinkError::Unreachable)?;
        let config = self.credentials.for_dialling().await?;
        let mut error = LinkError::Unreachable;
        for address in addresses {
            let hello = Hello {
                versions: vec![VERSION],
                build: BUILD.into(),
                cursor,
                tenant: self.log.clone(),
                active: active.clone(),
                delivers: delivers.clone(),
            };
            let place = Place { address, server_name: &self.server_name };
            match self.dialler.dial(&config, place, hello).await {
                Ok(session) => return Ok((session, number)),
                Err(failed) => error = failed,
            }
        }
        Err(error)
    }

    async fn receive(&self, mut receiver: Receiver) -> LinkError {
        loop {
            match receiver.next_message().await {
                Ok(Some(message)) => {
                    if self.engine.send(LinkInput::Message(message)).await.is_err() {
                        return LinkError::Closed(CloseCode::Done);
                    }
                }
                Ok(None) | Err(ReceiveError::Gone) => return LinkError::Unreachable,
                Err(ReceiveError::Decode(error)) => return error.into(),
            }
        }
    }

    async fn receive_snapshots(&self, connection: &Connection) -> LinkError {
        loop {
            let mut snapshots = match connection.accept_snapshots().await {
                Ok(snapshots) => snapshots,
                Err(error) => return error,
            };
            loop {
                let input = match snapshots.next_bundle().await {
                    Ok(Some(bundle)) => match self.environment.compute(|| decode_bundle(bundle)).await {
                        Ok(unbundled) => LinkInput::Snapshots(unbundled),
                        Err(error) => {
                            debug!(%error, "bundle");
                            LinkInput::FetchFailed
                        }
                    },
                    Ok(None) => LinkInput::FetchEnded,
                    Err(_) => LinkInput::FetchFailed,
                };
                let is_over = matches!(input, LinkInput::FetchFailed | LinkInput::FetchEnded);
                if self.engine.send(input).await.is_err() {
                    return LinkError::Closed(CloseCode::Done);
                }
                if is_over {
                    break;
                }
            }
        }
    }

    /// Ends when something is unanswered, something has been sent since anything came back, and nothing has come for
    /// [`SILENCE_MAX`]. A gateway that confirms what it received but cannot commit is not a dead path. Dialling again is
    /// faster than waiting for the old connection's probes (LESSONS: 0.06–0.35 s against up to 10 s).
    async fn silence(&self, connection: &Connection) {
        let mut heard = connection.heard();
        let mut since = Instant::now();
        loop {
            tokio::time::sleep(SILENCE_MAX / 6).await;
            let now = connection.heard();
            let waiting = self.control.unanswered.load(Ordering::Relaxed) > 0;
            if now.received != heard.received || now.asked == heard.asked || !waiting {
                (heard, since) = (now, Instant::now());
            }
            if since.elapsed() >= SILENCE_MAX {
                return;
            }
        }
    }
}

async fn send(mut sender: Sender, mut queue: mpsc::Receiver<ClientMessage>) {
    while let Some(message) = queue.recv().await {
        if sender.send(&message).await.is_err() {
            return;
        }
    }
}

/// The build that introduces itself.
const BUILD: &str = concat!("feldakte-client-sdk ", env!("CARGO_PKG_VERSION"));
/// Messages that wait for the stream; the engine sends no more until there is room.
pub(crate) const OUTBOUND: usize = 64;
/// First ceiling of the back-off: a gateway that restarts is back within a second.
const BACKOFF_BASE: Duration = Duration::from_millis(250);
/// Last ceiling: bounds how long a device sleeps through a gateway that is back.
const BACKOFF_CAP: Duration = Duration::from_secs(20);
/// About how often a device that is refused asks again.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// How long nothing at all may come back while something is unanswered.
const SILENCE_MAX: Duration = Duration::from_secs(3);
