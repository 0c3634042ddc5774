//! Time, randomness and threads, passed in: a simulation replaces all three and repeats to the byte.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use feldakte_core::ids::{Epoch, SessionId};
use rand::{RngCore, SeedableRng, rngs::StdRng};
use uuid::Uuid;

/// Where the gateway gets time, randomness and threads from.
#[derive(Clone)]
pub struct Environment {
    clock: Arc<dyn Fn() -> SystemTime + Send + Sync>,
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
        Self {
            clock: Arc::new(SystemTime::now),
            rng: Arc::new(Mutex::new(StdRng::from_os_rng())),
            threads: Threads::Pool,
        }
    }

    /// A clock of the caller's and randomness from a seed; computations run in place.
    pub fn simulated(clock: Arc<dyn Fn() -> SystemTime + Send + Sync>, seed: u64) -> Self {
        Self { clock, rng: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))), threads: Threads::Inline }
    }

    /// The wall clock. Never used for order.
    pub fn now(&self) -> SystemTime {
        (self.clock)()
    }

    /// Milliseconds since 1970-01-01 UTC; 0 for a clock before that.
    pub fn now_ms(&self) -> i64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
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

    fn random_uuid(&self) -> Uuid {
        uuid::Builder::from_random_bytes(self.random()).into_uuid()
    }
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment").field("threads", &self.threads).finish_non_exhaustive()
    }
}
