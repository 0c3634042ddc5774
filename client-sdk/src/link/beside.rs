//! Another session beside the one at hand, when that one is silent, the network has changed, or a better way is open again.
//!
//! Dialling again is faster than waiting for the old connection's probes (LESSONS: 0.06–0.35 s after the path is back
//! against up to 10 s). The old one stays until the gateway has answered on the new one: whichever speaks first goes on.

use std::{
    sync::{
        PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};
use tracing::debug;

use super::{Introduced, Link, race::Race};
use crate::transport::{Connected, Connection, LinkError, Place, Transport, Transports};

/// What is being done beside a session.
#[derive(Default)]
pub(super) struct Beside {
    is_under_way: AtomicBool,
    is_alone: AtomicBool,
}

impl Beside {
    /// Whether another session may come about at any moment.
    pub(super) fn is_under_way(&self) -> bool {
        self.is_under_way.load(Ordering::Relaxed)
    }

    /// The session at hand has ended.
    pub(super) fn alone(&self) {
        self.is_alone.store(true, Ordering::Relaxed);
    }

    fn is_alone(&self) -> bool {
        self.is_alone.load(Ordering::Relaxed)
    }
}

impl Link {
    /// Another session, as soon as the one at hand needs it and it comes about: because it is silent, or because it goes over
    /// TCP and UDP works again.
    ///
    /// # Errors
    /// When none came about and the one at hand has ended meanwhile, or the gateway does not want this device.
    pub(super) async fn beside(
        &self,
        (connection, over): (&Connection, Transport),
        beside: &Beside,
    ) -> Result<Introduced, LinkError> {
        let is_second_best = self.transports == Transports::Both && over == Transport::Grpc;
        let better_way = || async {
            match is_second_best {
                true => self.quic_again().await,
                false => std::future::pending().await,
            }
        };
        let better = better_way();
        tokio::pin!(better);
        loop {
            let another = tokio::select! {
                biased;
                () = self.until_silent(connection) => None,
                better = &mut better => Some(better),
            };
            beside.is_under_way.store(true, Ordering::Relaxed);
            let dialled = match another {
                None => {
                    *self.rtt.lock().unwrap_or_else(PoisonError::into_inner) = Some(connection.rtt());
                    debug!("the path is silent: dialling beside it");
                    self.dial_beside(connection, beside).await
                }
                Some((race, connected)) => {
                    debug!("UDP works: back to QUIC");
                    better.set(better_way());
                    self.introduce_beside(&race, connected).await.map(Some)
                }
            };
            beside.is_under_way.store(false, Ordering::Relaxed);
            match dialled {
                Ok(Some(another)) => return Ok(another),
                Ok(None) => debug!("the path has answered"),
                Err(error) if beside.is_alone() || !error.is_retryable() => return Err(error),
                Err(LinkError::Unreachable) => {}
                // The gateway is there and has no room for another session: it is not asked again at once.
                Err(_) => sleep(ANSWERED_AGAIN).await,
            }
        }
    }

    /// `None` when the session at hand has answered first.
    async fn dial_beside(&self, connection: &Connection, beside: &Beside) -> Result<Option<Introduced>, LinkError> {
        let before = connection.heard().received;
        let has_answered = async {
            while beside.is_alone() || connection.heard().received == before {
                sleep(LOOK_EVERY).await;
            }
        };
        let connect = async {
            let mut race = self.race().await?;
            let connected = race.connected().await?;
            Ok::<_, LinkError>((race, connected))
        };
        let (race, connected) = tokio::select! {
            biased;
            connected = connect => connected?,
            () = has_answered => return Ok(None),
        };
        self.introduce_beside(&race, connected).await.map(Some)
    }

    /// From the hello on there is no way back: the gateway ends the older session for the newer one.
    async fn introduce_beside(&self, race: &Race, connected: (Connected, Place)) -> Result<Introduced, LinkError> {
        let introduction = self.introduction().await?;
        self.begin(race, connected, introduction).await
    }

    /// A connection over UDP, where there was none when the session began. Tried ever more seldom.
    async fn quic_again(&self) -> (Race, (Connected, Place)) {
        let mut wait = PROBE_AFTER;
        loop {
            sleep(wait.mul_f64(0.75 + self.environment.draw() / 2.0)).await;
            wait = (2 * wait).min(PROBE_SELDOM);
            let connect = async {
                let mut race = self.race_over(&self.addresses().await?, &[Transport::Quic]).await?;
                let connected = race.connected().await?;
                Ok::<_, LinkError>((race, connected))
            };
            match connect.await {
                Ok(connected) => return connected,
                Err(error) => debug!(%error, "no way over UDP"),
            }
        }
    }

    /// Ends when something is unanswered, something has been sent since anything came back, and nothing has come for
    /// [`SILENCE_MAX`]. A gateway that confirms what it received but cannot commit is not a dead path. While nothing is
    /// unanswered nothing is looked at: a device that rests sleeps.
    async fn until_silent(&self, connection: &Connection) {
        let (mut unanswered, mut in_call) = (self.control.unanswered.subscribe(), self.control.in_call.subscribe());
        loop {
            let patience = tokio::select! {
                biased;
                () = self.control.hurry.notified() => {
                    self.dialler.network_changed(&self.environment);
                    Patience { silence: SILENCE_AFTER_CHANGE, is_asked: true }
                }
                // What is asked by a pulse is not counted.
                _ = in_call.wait_for(|in_call| *in_call) => Patience { silence: SILENCE_MAX, is_asked: false },
                // The sender lives in `self.control`, so waiting cannot fail.
                _ = unanswered.wait_for(|unanswered| *unanswered > 0) => Patience { silence: SILENCE_MAX, is_asked: false },
            };
            if self.is_silent(connection, patience).await {
                return;
            }
        }
    }

    /// A call at hand counts as one: pulses are sent and answered.
    fn unanswered(&self) -> usize {
        *self.control.unanswered.borrow() + usize::from(*self.control.in_call.borrow())
    }

    /// Whether the path stays silent for so long; `false` when it has answered, or nothing is asked of it any more.
    async fn is_silent(&self, connection: &Connection, Patience { silence, is_asked }: Patience) -> bool {
        let mut heard = connection.heard();
        let mut since = Instant::now();
        let mut asking = connection.must_ask().then(|| Asking::new(is_asked));
        while since.elapsed() < silence {
            tokio::select! {
                biased;
                () = self.control.hurry.notified(), if !is_asked => {
                    self.control.hurry.notify_one();
                    return false;
                }
                () = sleep(LOOK_EVERY) => {}
            }
            let now = connection.heard();
            if is_asked && now.received != heard.received {
                return false;
            }
            if self.unanswered() == 0 && !is_asked {
                return false;
            }
            let has_answered = now.received != heard.received;
            let is_waiting = match &mut asking {
                None => now.asked != heard.asked || is_asked,
                Some(asking) => asking.is_waiting(connection, has_answered, self.unanswered()),
            };
            if has_answered || !is_waiting {
                (heard, since) = (now, Instant::now());
            }
        }
        true
    }
}

/// Asks a transport that confirms nothing by itself: soon for what has just been sent, then ever more seldom. A gateway
/// that cannot commit for hours is not to be asked twice a second.
struct Asking {
    after: Duration,
    quiet_since: Instant,
    is_asked: bool,
    unanswered: usize,
}

impl Asking {
    fn new(at_once: bool) -> Self {
        let after = if at_once { Duration::ZERO } else { ASKED_AFTER };
        Self { after, quiet_since: Instant::now(), is_asked: false, unanswered: 0 }
    }

    /// Whether an answer is due.
    fn is_waiting(&mut self, connection: &Connection, has_answered: bool, unanswered: usize) -> bool {
        if has_answered {
            let seldom = if self.is_asked { 2 * self.after } else { self.after };
            *self = Self { after: seldom.min(ASKED_SELDOM), quiet_since: Instant::now(), is_asked: false, ..*self };
        }
        if unanswered > self.unanswered {
            self.after = self.after.min(ASKED_AFTER);
        }
        self.unanswered = unanswered;
        if !self.is_asked && self.quiet_since.elapsed() >= self.after {
            connection.probe();
            self.is_asked = true;
        }
        // What was sent a moment ago is about to be asked for.
        self.is_asked || self.after <= ASKED_AFTER
    }
}

/// How long nothing may come back.
struct Patience {
    silence: Duration,
    /// The path is asked for an answer whatever the session does.
    is_asked: bool,
}

/// How long nothing at all may come back while something is unanswered.
const SILENCE_MAX: Duration = Duration::from_secs(2);
/// When a transport that confirms nothing by itself is asked.
const ASKED_AFTER: Duration = Duration::from_millis(500);
/// How seldom at last.
const ASKED_SELDOM: Duration = Duration::from_secs(20);
/// After the network has changed: a path that carries over answers within a round trip.
const SILENCE_AFTER_CHANGE: Duration = Duration::from_millis(750);
/// How often the path is looked at while something is unanswered.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// When a session over TCP looks for UDP the first time; doubled each time.
const PROBE_AFTER: Duration = Duration::from_secs(20);
/// How often at last.
const PROBE_SELDOM: Duration = Duration::from_secs(600);
/// When another session is tried again after the gateway had no room for one.
const ANSWERED_AGAIN: Duration = Duration::from_secs(5);
