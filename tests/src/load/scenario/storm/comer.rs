//! One device that comes back, as the SDK does it: it dials, stays away as it is told, and dials again.

use std::{net::SocketAddr, time::Duration};

use anyhow::{Result, bail};
use feldakte_core::{backoff::Backoff, ids::Cursor};
use feldakte_proto::{Close, ServerMessage};
use quinn::{ConnectionError, TransportErrorCode};
use rand::{Rng, rngs::StdRng};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::load::{
    fleet::Device,
    session::{Session, connection_error},
};

/// A device and its moment.
pub struct Comer {
    /// When it dials for the first time.
    pub at: Instant,
    /// Its jitter.
    pub rng: StdRng,
    /// Who it is.
    pub device: Device,
    /// Whether it says that it is on a mission.
    pub on_mission: bool,
    /// How far it is.
    pub cursor: Cursor,
    /// Where it dials.
    pub gateway: SocketAddr,
}

/// A device that is back.
pub struct Back {
    /// Its session, caught up.
    pub session: Session,
    /// Whether it was on a mission.
    pub on_mission: bool,
    /// From its first packet until it was caught up.
    pub within: Duration,
    /// What it met on the way.
    pub met: Met,
}

/// What a device met before it was back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Met {
    /// How often it was told when to come back.
    pub sent_away: u32,
    /// How often its handshake was refused.
    pub refused: u32,
    /// How often nobody answered.
    pub unanswered: u32,
}

/// How a dial failed.
enum Failure {
    SentAway(Duration),
    Refused,
    Unanswered,
}

impl Comer {
    /// Dials at its moment, and again until it is back.
    ///
    /// # Errors
    /// When it is not back after a long time.
    pub async fn come_back(mut self) -> Result<Back> {
        sleep_until(self.at).await;
        let (began, mut met) = (Instant::now(), Met::default());
        let (mut busy, mut lost) = (Backoff::new(BUSY_BASE, BUSY_CAP), Backoff::new(LOST_BASE, LOST_CAP));
        loop {
            let error = match timeout(DIAL_WITHIN, self.catch_up()).await {
                Ok(Ok(session)) => {
                    return Ok(Back { session, on_mission: self.on_mission, within: began.elapsed(), met });
                }
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            if began.elapsed() > BACK_WITHIN {
                bail!("a device did not come back: {error:?}");
            }
            let draw = self.rng.random();
            let rest = match error.map_or(Failure::Unanswered, |error| judge(&error)) {
                Failure::SentAway(retry_after) => {
                    met.sent_away += 1;
                    retry_after + busy.next_delay(draw)
                }
                Failure::Refused => {
                    met.refused += 1;
                    let rest = busy.next_delay(draw);
                    if self.on_mission { rest / MISSIONS_SOONER } else { rest }
                }
                Failure::Unanswered => {
                    met.unanswered += 1;
                    lost.next_delay(draw)
                }
            };
            sleep(rest).await;
        }
    }

    async fn catch_up(&self) -> Result<Session> {
        let mut session = Session::dial_as(&self.device, self.gateway, Some(self.cursor), self.on_mission).await?;
        let mut caught_up = session.welcome.caught_up;
        while !caught_up {
            match session.receiver.next().await? {
                ServerMessage::Changes(frame) => caught_up = frame.caught_up,
                _ => bail!("a frame that nobody asked for"),
            }
        }
        Ok(session)
    }
}

fn judge(error: &anyhow::Error) -> Failure {
    match connection_error(error) {
        Some(ConnectionError::ApplicationClosed(close)) => {
            let close = Close::read(close.error_code.into_inner(), &close.reason);
            close.retry_after.map_or(Failure::Refused, Failure::SentAway)
        }
        Some(ConnectionError::ConnectionClosed(close))
            if close.error_code == TransportErrorCode::CONNECTION_REFUSED =>
        {
            Failure::Refused
        }
        _ => Failure::Unanswered,
    }
}

/// The SDK's own figures: see `client-sdk/src/link`.
const DIAL_WITHIN: Duration = Duration::from_secs(5);
const BUSY_BASE: Duration = Duration::from_millis(500);
const BUSY_CAP: Duration = Duration::from_secs(4);
const MISSIONS_SOONER: u32 = 8;
const LOST_BASE: Duration = Duration::from_millis(250);
const LOST_CAP: Duration = Duration::from_secs(20);
/// Who is not back by then is lost.
const BACK_WITHIN: Duration = Duration::from_secs(120);
