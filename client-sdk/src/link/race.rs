//! Who connects first: several attempts to reach the gateway, begun one after the other, and one session.
//!
//! An attempt that meets a dead path is repeated by its transport ever more slowly, so that it answers long after the
//! path is back: new ones are begun beside it. One of them at a time says hello, because the gateway ends a device's
//! older session for its newer one.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use feldakte_proto::Hello;
use tokio::{
    task::{AbortHandle, JoinSet},
    time::{Instant, sleep_until, timeout_at},
};
use tracing::debug;

use crate::transport::{Connected, DialConfig, Dialler, LinkError, Place, Session};

/// Attempts that are begun until one of them gives a session.
pub(super) struct Race {
    dialler: Arc<Dialler>,
    config: DialConfig,
    /// Not begun yet, the most promising first; when all have been begun, they are begun again.
    waiting: VecDeque<Place>,
    all: Vec<Place>,
    rounds: u32,
    under_way: JoinSet<Result<(Connected, Place), (LinkError, Place)>>,
    /// What the last one said who did not want this device: it may not be the gateway that stands there.
    answer: Option<LinkError>,
    /// Oldest first.
    begun: VecDeque<AbortHandle>,
    next_at: Instant,
    pace: Duration,
    deadline: Instant,
}

impl Race {
    /// `pace` is between two attempts.
    pub(super) fn new(dialler: Arc<Dialler>, config: DialConfig, places: Vec<Place>, pace: Duration) -> Self {
        let now = Instant::now();
        Self {
            dialler,
            config,
            waiting: places.iter().cloned().collect(),
            all: places,
            rounds: 0,
            under_way: JoinSet::new(),
            answer: None,
            begun: VecDeque::new(),
            next_at: now,
            pace,
            deadline: now + DIAL_WITHIN,
        }
    }

    /// The first attempt that is connected. Cancel-safe: what is under way goes on.
    ///
    /// # Errors
    /// When the time is over, or the gateway does not want this device.
    pub(super) async fn connected(&mut self) -> Result<(Connected, Place), LinkError> {
        loop {
            tokio::select! {
                biased;
                Some(ended) = self.under_way.join_next() => match ended {
                    Ok(Ok(connected)) => return Ok(connected),
                    // Nobody has answered: somebody may answer the next one.
                    Ok(Err((LinkError::Unreachable, _))) => debug!("an attempt failed"),
                    Ok(Err((answer, place))) => self.take_off(&place, answer)?,
                    Err(ended) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
                    Err(_) => {}
                },
                () = sleep_until(self.deadline) => return Err(self.answer.take().unwrap_or(LinkError::Unreachable)),
                () = sleep_until(self.next_at) => self.begin_another(),
            }
        }
    }

    /// Whoever refuses at one place says nothing about the others: in between stand boxes that answer for the gateway.
    fn take_off(&mut self, place: &Place, answer: LinkError) -> Result<(), LinkError> {
        debug!(over = ?place.over, %answer, "refused");
        self.all.retain(|other| other != place);
        self.waiting.retain(|other| other != place);
        if self.all.is_empty() {
            return Err(answer);
        }
        self.answer = Some(answer);
        Ok(())
    }

    fn begin_another(&mut self) {
        if self.waiting.is_empty() {
            self.rounds += 1;
            self.waiting.extend(self.all.iter().cloned());
        }
        let Some(place) = self.waiting.pop_front() else { return };
        // Those that nobody has tried yet follow closely, whatever the pace: one of them may be the way.
        let is_first_round = self.rounds == 0 && !self.waiting.is_empty();
        self.next_at = Instant::now() + if is_first_round { HEAD_START } else { self.pace };
        if self.begun.len() >= UNDER_WAY_MAX
            && let Some(oldest) = self.begun.pop_front()
        {
            oldest.abort();
        }
        let (dialler, config) = (self.dialler.clone(), self.config.clone());
        self.begun.push_back(self.under_way.spawn(async move { attempt(&dialler, &config, place).await }));
    }

    /// Says hello on that connection.
    ///
    /// # Errors
    /// When there is no answer, or it is a refusal.
    pub(super) async fn begin(&self, connected: Connected, hello: Hello) -> Result<Session, LinkError> {
        let begun = timeout_at(self.deadline, connected.begin(hello)).await;
        begun.unwrap_or(Err(LinkError::Unreachable))
    }
}

async fn attempt(
    dialler: &Dialler,
    config: &DialConfig,
    place: Place,
) -> Result<(Connected, Place), (LinkError, Place)> {
    match dialler.connect(config, &place).await {
        Ok(connected) => Ok((connected, place)),
        Err(error) => Err((error, place)),
    }
}

/// From the first packet of the first attempt to the gateway's answer.
const DIAL_WITHIN: Duration = Duration::from_secs(5);
/// Attempts at once, the oldest gives way: each is a handshake for the gateway when the path comes back.
const UNDER_WAY_MAX: usize = 4;
/// How long one way is tried before the next one is beside it (RFC 8305 has 250 ms between addresses; a handshake over TCP
/// needs a round trip more than one over UDP).
const HEAD_START: Duration = Duration::from_millis(200);
