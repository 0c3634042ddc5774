//! What happened in a run, line by line: the same seed must write the same bytes.
//!
//! Nothing that real randomness can touch stands here: no packet sizes, no ciphertext, no wall clock.

use std::{
    collections::VecDeque,
    fmt::Write,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use sha2::{Digest, Sha256};

/// A run's trace. All clones are the same trace.
#[derive(Clone)]
pub struct Trace(Arc<Mutex<State>>);

struct State {
    /// Simulated time between the hosts' turns, when no host's own clock can be asked.
    now: Duration,
    keep: Keep,
    lines: VecDeque<String>,
    hash: Sha256,
    count: u64,
}

/// How much of the trace is kept in memory; its hash always covers all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Every line.
    All,
    /// The last lines, enough to see what led to a failure.
    Tail,
}

/// The whole trace in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Number of lines.
    pub lines: u64,
    /// SHA-256 over all of them.
    pub hash: [u8; 32],
}

impl std::fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Fingerprint { lines, hash } = self;
        write!(f, "{lines} lines ")?;
        hash[..4].iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl Trace {
    /// An empty trace.
    pub fn new(keep: Keep) -> Self {
        let state = State { now: Duration::ZERO, keep, lines: VecDeque::new(), hash: Sha256::new(), count: 0 };
        Self(Arc::new(Mutex::new(state)))
    }

    /// The driver's time, for lines written between the hosts' turns.
    pub fn set_now(&self, now: Duration) {
        self.lock().now = now;
    }

    /// Simulated time.
    pub fn now(&self) -> Duration {
        turmoil::sim_elapsed().unwrap_or_else(|| self.lock().now)
    }

    /// Adds a line.
    pub fn note(&self, what: std::fmt::Arguments<'_>) {
        let now = self.now();
        let mut line = String::with_capacity(96);
        write!(line, "{:>9.3} {what}", now.as_secs_f64()).expect("writing to a string cannot fail");
        let mut state = self.lock();
        state.hash.update(&line);
        state.hash.update(b"\n");
        state.count += 1;
        if state.keep == Keep::Tail && state.lines.len() == TAIL {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
    }

    /// The lines that were kept.
    pub fn lines(&self) -> Vec<String> {
        self.lock().lines.iter().cloned().collect()
    }

    /// The whole trace in one word.
    pub fn fingerprint(&self) -> Fingerprint {
        let state = self.lock();
        Fingerprint { lines: state.count, hash: state.hash.clone().finalize().into() }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Lines kept of a run that is not traced.
const TAIL: usize = 400;
