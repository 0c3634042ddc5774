//! Keeps a session with the gateway while the app wants one: dials, resumes, dials again.
//!
//! Every failure has the same answer: another session, resumed from the cursor. A path that is silent while something is
//! unanswered is dialled beside the session at hand ([`beside`]); without a session the link dials with full jitter. The link
//! moves messages and knows nothing of what they mean.

use std::{
    net::{IpAddr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
    time::Duration,
};

use feldakte_core::{
    ids::{CaseId, Cursor, TenantId},
    lane::Lane,
};
use feldakte_proto::{CloseCode, Credential, Hello, ServerMessage, Unbundled, VERSIONS, Welcome};
use tokio::sync::{Notify, mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use self::{
    absence::Absence,
    facts::Facts,
    lanes::{NotTaken, Outbound},
    ways::Ways,
};
use self::{facts::Path, race::Race, rests::Rests};
use crate::{
    calls::CallInput,
    environment::Environment,
    renewal::{Credentials, Renewing},
    transport::{Connected, Dialler, LinkError, Place, Session, Transport, Transports},
};

mod absence;
mod beside;
mod facts;
mod lanes;
mod race;
mod rests;
mod session;
mod ways;

/// What the link tells the engine.
pub(crate) enum LinkInput {
    /// About to dial: the engine says how the device introduces itself.
    Dialling(oneshot::Sender<Introduction>),
    /// In session, as introduced by that number. Messages for the gateway go into `outbound`.
    Up { welcome: Welcome, introduction: u64, outbound: Outbound },
    /// A message of the session stream.
    Message(ServerMessage),
    /// One of another lane.
    Aside(ServerMessage),
    /// A lane was lost, and what it carried with it; the session goes on.
    LaneLost(Lane),
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
    pub(crate) in_use: Vec<CaseId>,
}

/// The link's data; [`Link::run`] is its task.
pub(crate) struct Link {
    pub(crate) environment: Environment,
    pub(crate) dialler: Arc<Dialler>,
    pub(crate) transports: Transports,
    pub(crate) credentials: Credentials,
    /// `host:port`.
    pub(crate) gateway: String,
    pub(crate) server_name: String,
    /// Whose log; its own tenant's when `None`.
    pub(crate) log: Option<TenantId>,
    pub(crate) engine: mpsc::Sender<LinkInput>,
    /// Those who make calls on this link; `None` where nobody does.
    pub(crate) calls: Option<mpsc::Sender<CallInput>>,
    pub(crate) lanes: AtomicU64,
    pub(crate) control: Arc<LinkControl>,
    /// Time there and back of the last path that answered.
    pub(crate) rtt: Mutex<Option<Duration>>,
    pub(crate) ways: Ways,
    pub(crate) absence: Absence,
}

/// Shared with the engine and the client handle.
pub(crate) struct LinkControl {
    /// Whether the app wants a session.
    pub(crate) wanted: watch::Sender<bool>,
    /// Whether the session at hand has delivered what the log held when it began.
    pub(crate) caught_up: watch::Sender<bool>,
    /// Pushes and fetches the gateway has not answered.
    pub(crate) unanswered: watch::Sender<usize>,
    /// The network has changed: do not wait for the back-off.
    pub(crate) hurry: Notify,
    /// What is known of the path.
    pub(crate) facts: Facts,
    /// Whether the crew is on a mission: the next session is begun as one that is.
    pub(crate) on_mission: watch::Sender<bool>,
    /// Whether a call is at hand: the path is watched.
    pub(crate) in_call: watch::Sender<bool>,
    /// Counts who uses the device: a session is somebody's, and somebody else's is another one.
    pub(crate) introduction: watch::Sender<u64>,
}

impl LinkControl {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            wanted: watch::Sender::new(false),
            caught_up: watch::Sender::new(false),
            unanswered: watch::Sender::new(0),
            hurry: Notify::new(),
            on_mission: watch::Sender::new(false),
            in_call: watch::Sender::new(false),
            introduction: watch::Sender::new(0),
            facts: Facts::default(),
        })
    }

    fn is_on_mission(&self) -> bool {
        *self.on_mission.borrow()
    }
}

impl Link {
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut wanted = self.control.wanted.subscribe();
        let mut rests = Rests::new();
        loop {
            let is_wanted = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                changed = wanted.wait_for(|wanted| *wanted) => changed.is_ok(),
            };
            if !is_wanted {
                return;
            }
            let error = self.sessions(&mut rests, &mut wanted, &shutdown).await;
            debug!(%error, "link down");
            let retryable = error.is_retryable() || self.credentials.were_refused();
            let is_done = matches!(error, LinkError::Closed(CloseCode::Done));
            let is_sent_away = matches!(error, LinkError::SentAway { .. });
            let delay = match retryable {
                true => rests.after(&error, self.control.is_on_mission(), self.environment.draw()),
                // Somebody has to act first, and may have by then.
                false => REFUSED_AGAIN.mul_f64(0.5 + self.environment.draw()),
            };
            if self.engine.send(LinkInput::Down(error)).await.is_err() || shutdown.is_cancelled() {
                return;
            }
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                // A gateway that has no room has none over another network either.
                () = self.control.hurry.notified(), if !is_sent_away => {}
                () = self.mission_begins(), if is_sent_away => {}
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

    /// Dials, and serves sessions until there is none any more.
    async fn sessions(
        &self,
        rests: &mut Rests,
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
                () = self.control.hurry.notified() => self.dialler.network_changed(&self.environment),
                _ = introduction.changed() => {}
                session = self.dial() => break session,
            }
        };
        let mut session = match session {
            Ok(session) => session,
            Err(error) => return error,
        };
        loop {
            rests.reset();
            self.credentials.were_taken();
            match self.serve(session, wanted, shutdown).await {
                Ok(another) => session = another,
                Err(error) => return error,
            }
        }
    }

    /// Ends when the gateway did not know of the mission that the crew is on.
    async fn mission_begins(&self) {
        let mut on_mission = self.control.on_mission.subscribe();
        // The sender lives in `self.control`, so waiting cannot fail.
        let _ = on_mission.wait_for(|is_on_mission| *is_on_mission && self.absence.left(true).is_none()).await;
    }

    async fn dial(&self) -> Result<Introduced, LinkError> {
        let introduction = self.introduction().await?;
        let mut race = self.race().await?;
        let connected = race.connected().await?;
        self.begin(&race, connected, introduction).await
    }

    async fn race(&self) -> Result<Race, LinkError> {
        let addresses = self.addresses().await?;
        let preferred = self.ways.preferred(self.network(&addresses));
        let ways = match self.transports {
            Transports::Quic => vec![Transport::Quic],
            Transports::Grpc => vec![Transport::Grpc],
            Transports::Both if preferred == Transport::Grpc => vec![Transport::Grpc, Transport::Quic],
            Transports::Both => vec![Transport::Quic, Transport::Grpc],
        };
        self.race_over(&addresses, &ways).await
    }

    /// Over each of the ways in turn, to each of the addresses.
    async fn race_over(&self, addresses: &[SocketAddr], ways: &[Transport]) -> Result<Race, LinkError> {
        if let Some(retry_after) = self.absence.left(self.control.is_on_mission()) {
            return Err(LinkError::SentAway { retry_after });
        }
        let server_name = || self.server_name.clone();
        let to_place = |over, address: &SocketAddr| Place { over, address: *address, server_name: server_name() };
        let places = ways.iter().flat_map(|over| addresses.iter().map(|address| to_place(*over, address))).collect();
        let config = self.credentials.for_dialling().await?.with_mission(self.control.is_on_mission());
        let rtt = *self.rtt.lock().unwrap_or_else(PoisonError::into_inner);
        let pace = rtt.map_or(PACE_UNKNOWN, |rtt| (4 * rtt).clamp(PACE_MIN, PACE_MAX));
        Ok(Race::new(self.dialler.clone(), config, places, pace))
    }

    /// The gateway's, best first.
    async fn addresses(&self) -> Result<Vec<SocketAddr>, LinkError> {
        let resolved = self.environment.network().resolve(&self.gateway).await;
        let mut addresses = resolved.map_err(|_| LinkError::Unreachable)?;
        addresses.truncate(ADDRESSES_MAX);
        Ok(addresses)
    }

    /// What tells the network at hand apart from others.
    fn network(&self, addresses: &[SocketAddr]) -> Option<IpAddr> {
        addresses.first().and_then(|address| self.environment.network().local_address(*address))
    }

    /// How the device introduces itself at this moment.
    async fn introduction(&self) -> Result<Introduction, LinkError> {
        let (answer, introduction) = oneshot::channel();
        self.engine.send(LinkInput::Dialling(answer)).await.map_err(|_| LinkError::Unreachable)?;
        introduction.await.map_err(|_| LinkError::Unreachable)
    }

    async fn begin(
        &self,
        race: &Race,
        (connected, place): (Connected, Place),
        introduction: Introduction,
    ) -> Result<Introduced, LinkError> {
        let Introduction { number, cursor, active, delivers, in_use } = introduction;
        let (versions, build, tenant) = (VERSIONS.to_vec(), BUILD.into(), self.log.clone());
        let on_mission = self.control.is_on_mission();
        let hello = Hello { versions, build, cursor, tenant, active, delivers, in_use, on_mission };
        let session = race.begin(connected, hello).await.inspect_err(|error| {
            if let LinkError::SentAway { retry_after } = error {
                self.absence.note(*retry_after, on_mission);
            }
        })?;
        *self.rtt.lock().unwrap_or_else(PoisonError::into_inner) = Some(session.connection.rtt());
        let local = self.environment.network().local_address(place.address);
        self.ways.won(local, place.over);
        Ok(Introduced { session, number, path: Path { over: place.over, gateway: place.address, local } })
    }
}

/// A session, and as whom the device has introduced itself in it.
struct Introduced {
    session: Session,
    number: u64,
    path: Path,
}

/// The build that introduces itself.
const BUILD: &str = concat!("feldakte-client-sdk ", env!("CARGO_PKG_VERSION"));
/// About how often a device that is refused asks again.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// Of the gateway's addresses, how many are tried: one of each family.
const ADDRESSES_MAX: usize = 2;
/// Between two attempts to connect on a path of which nothing is known.
const PACE_UNKNOWN: Duration = Duration::from_secs(1);
/// On a quick one (LESSONS: answered 0.06–0.35 s after the path was back).
const PACE_MIN: Duration = Duration::from_millis(500);
/// On a slow one, where attempts are in each other's way.
const PACE_MAX: Duration = Duration::from_secs(3);
