//! Time, randomness and threads, passed in: a simulation replaces all three and repeats to the byte.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_core::ids::{Epoch, SessionId};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use tokio::time::Instant;
use uuid::Uuid;

/// Where the gateway gets time, randomness and threads from.
#[derive(Clone)]
pub struct Environment {
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
    /// The latest moment that [`Environment::latest`] has told, and when.
    latest: Arc<Mutex<(SystemTime, Instant)>>,
    rng: Arc<Mutex<StdRng>>,
    threads: Threads,
}

/// Where long computations run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Threads {
    /// On tokio's blocking pool.
    Pool,
    /// In place: for simulations, which have one thread.
    Inline,
}

impl Environment {
    /// The system's clock, entropy and thread pool.
    pub fn system() -> Self {
        Self::new(Arc::new(SystemTime::now), StdRng::from_os_rng(), Threads::Pool)
    }

    /// A clock of the caller's and randomness from a seed; computations run in place.
    pub fn simulated(clock: Arc<dyn Fn() -> SystemTime + Send + Sync>, seed: u64) -> Self {
        Self::new(clock, StdRng::seed_from_u64(seed), Threads::Inline)
    }

    fn new(clock: Arc<dyn Fn() -> SystemTime + Send + Sync>, rng: StdRng, threads: Threads) -> Self {
        let latest = Arc::new(Mutex::new((clock(), Instant::now())));
        Self { clock, latest, rng: Arc::new(Mutex::new(rng)), threads }
    }

    /// The wall clock. Never used for order.
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Milliseconds since 1970-01-01 UTC; 0 for a clock before that.
    pub fn now_ms(&self) -> i64 {
        unix_ms(self.now())
    }

    /// The clock by which authority ends. It goes on from the latest moment seen when somebody sets the wall clock back:
    /// what had an end must not live longer, and what has ended must not begin again.
    pub fn latest(&self) -> SystemTime {
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, at) = *latest;
        let (wall, instant) = (self.now(), Instant::now());
        let now = wall.max(seen + instant.saturating_duration_since(at));
        *latest = (now, instant);
        now
    }

    /// How far the wall clock is behind [`Environment::latest`]: somebody has set it back.
    pub fn behind(&self) -> Duration {
        self.latest().duration_since(self.now()).unwrap_or(Duration::ZERO)
    }

    /// The same as [`Environment::latest`], in milliseconds since 1970-01-01 UTC.
    pub fn latest_ms(&self) -> i64 {
        unix_ms(self.latest())
    }

    /// A new random session id.
    pub fn session_id(&self) -> SessionId {
        SessionId(self.random_uuid())
    }

    /// A new random log epoch.
    pub fn epoch(&self) -> Epoch {
        Epoch(self.random_uuid())
    }

    /// Random bytes, fit for secrets.
    pub fn random<const N: usize>(&self) -> [u8; N] {
        let mut bytes = [0; N];
        self.rng.lock().unwrap_or_else(PoisonError::into_inner).fill_bytes(&mut bytes);
        bytes
    }

    /// Runs a computation that takes milliseconds where it does not hold up sessions.
    pub async fn compute<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> T {
        match self.threads {
            Threads::Inline => work(),
            Threads::Pool => match tokio::task::spawn_blocking(work).await {
                Ok(result) => result,
                Err(error) => std::panic::resume_unwind(error.into_panic()),
            },
        }
    }

    pub(crate) fn random_uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random()).into_uuid()
    }
}

fn unix_ms(time: SystemTime) -> i64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("threads", &self.threads).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 3600);

    /// An environment whose wall clock shows what the test has set last.
    fn set_by_hand() -> (Environment, impl Fn(SystemTime)) {
        let shown = Arc::new(Mutex::new(UNIX_EPOCH + 100 * DAY));
        let hand = shown.clone();
        let clock = move || *shown.lock().expect("nothing panics while it is held");
        let set = move |time| *hand.lock().expect("nothing panics while it is held") = time;
        (Environment::simulated(Arc::new(clock), 1), set)
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_is_set_back_ends_nothing_later() {
        let (environment, set) = set_by_hand();
        let start = environment.now();
        set(start - DAY);
        assert_eq!(environment.latest(), start);
        tokio::time::advance(Duration::from_secs(60)).await;
        assert_eq!(environment.latest(), start + Duration::from_secs(60), "time goes on");
        assert_eq!(environment.now(), start - DAY);
        assert_eq!(environment.behind(), DAY + Duration::from_secs(60));
    }

    #[tokio::test(start_paused = true)]
    async fn a_clock_that_was_set_forward_and_back_stays_forward() {
        let (environment, set) = set_by_hand();
        let start = environment.now();
        set(start + DAY);
        assert_eq!(environment.latest(), start + DAY);
        set(start);
        assert_eq!(environment.latest(), start + DAY);
        set(start + 2 * DAY);
        assert_eq!(environment.latest(), start + 2 * DAY);
    }
}
