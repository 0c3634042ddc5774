//! Thousands of seeded lives of tablets and a gateway: *converge, durable, authority, bounds* hold in each.
//!
//! 200 seeds by default, `FELDAKTE_SIM_SEEDS=10000` for more. A seed that fails prints the command that repeats it.

use std::sync::{
    Mutex, PoisonError,
    atomic::{AtomicU64, Ordering},
};

use feldakte_tests::sim::{
    driver::{self, Outcome, Run},
    regressions,
    trace::Keep,
    witness::Invariant,
    world::Sabotage,
};

const SEEDS_BY_DEFAULT: u64 = 200;
const THREADS: usize = 2;
/// Within how many seeds a deliberate fault must be noticed.
const SEEDS_TO_NOTICE: u64 = 40;

fn play(seed: u64, sabotage: Sabotage) -> Outcome {
    driver::run(Run { seed, sabotage, keep: Keep::Tail })
}

fn repeat_with(seed: u64) -> String {
    format!("cargo run -p feldakte-tests --bin sim -- --seed {seed}")
}

/// Plays the seeds on two threads and tells which did not hold.
fn failures(seeds: u64) -> Vec<String> {
    let next = AtomicU64::new(1);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed > seeds {
                        return;
                    }
                    if let Some(violation) = play(seed, Sabotage::None).violation {
                        let report = format!("{violation:?}\n  repeat with: {}", repeat_with(seed));
                        failed.lock().unwrap_or_else(PoisonError::into_inner).push(report);
                    }
                }
            });
        }
    });
    failed.into_inner().unwrap_or_else(PoisonError::into_inner)
}

/// The first invariant that notices the fault, and the seed.
fn noticed(sabotage: Sabotage) -> Option<(u64, Invariant)> {
    (1..=SEEDS_TO_NOTICE).find_map(|seed| Some((seed, play(seed, sabotage).violation?.invariant)))
}

#[test]
fn every_seed_holds() {
    let seeds = std::env::var("FELDAKTE_SIM_SEEDS").ok().map(|seeds| seeds.parse().expect("a number of seeds"));
    let failed = failures(seeds.unwrap_or(SEEDS_BY_DEFAULT));
    assert!(failed.is_empty(), "{} seeds do not hold:\n{}", failed.len(), failed.join("\n"));
}

#[test]
fn seeds_that_once_failed_hold() {
    for regression in regressions::ALL {
        let violation = play(regression.seed, Sabotage::None).violation;
        assert!(violation.is_none(), "{}: {violation:?}\n{}", regression.found, repeat_with(regression.seed));
    }
}

#[test]
fn a_seed_played_twice_leaves_the_same_trace() {
    for seed in [3, 17] {
        let (first, second) = (play(seed, Sabotage::None), play(seed, Sabotage::None));
        assert!(first.fingerprint.lines > 100, "something happened");
        assert_eq!(first.fingerprint, second.fingerprint, "seed {seed}");
    }
    assert_ne!(play(3, Sabotage::None).fingerprint, play(4, Sabotage::None).fingerprint);
}

#[test]
fn a_gateway_store_that_acknowledges_before_it_syncs_is_noticed() {
    let (_, invariant) = noticed(Sabotage::LyingGatewayStore).expect("noticed");
    assert_eq!(invariant, Invariant::Durable);
}

#[test]
fn a_tablet_store_that_acknowledges_before_it_syncs_is_noticed() {
    let (_, invariant) = noticed(Sabotage::LyingTabletStore).expect("noticed");
    assert_eq!(invariant, Invariant::Durable);
}

#[test]
fn a_gateway_that_ignores_permits_is_noticed() {
    let (_, invariant) = noticed(Sabotage::IgnoredPermits).expect("noticed");
    assert_eq!(invariant, Invariant::Authority);
}
