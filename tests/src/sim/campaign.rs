//! Plays many seeds on several threads. Each seed has one thread; seeds know nothing of each other.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicUsize, Ordering},
};

use super::{
    driver::{self, Outcome, Run},
    trace::Keep,
    world::Sabotage,
};

/// Plays all seeds and tells `each` of every outcome. Returns those in which an invariant broke, by seed.
pub fn play(seeds: &[u64], sabotage: Sabotage, threads: usize, each: impl Fn(&Outcome) + Sync) -> Vec<Outcome> {
    let next = AtomicUsize::new(0);
    let broken = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.min(seeds.len()) {
            scope.spawn(|| {
                while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let outcome = driver::run(Run { seed: *seed, sabotage, keep: Keep::Tail });
                    each(&outcome);
                    if outcome.violation.is_some() {
                        broken.lock().unwrap_or_else(PoisonError::into_inner).push(outcome);
                    }
                }
            });
        }
    });
    let mut broken = broken.into_inner().unwrap_or_else(PoisonError::into_inner);
    broken.sort_by_key(|outcome| outcome.seed);
    broken
}
