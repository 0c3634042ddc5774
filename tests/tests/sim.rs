//! Seeded simulation of the whole path. A failure prints the one command that repeats it.
//!
//! `FELDAKTE_SIM_SEEDS` sets how many seeds are played, `FELDAKTE_SIM_FIRST` the first of them.

use feldakte_tests::sim::{
    campaign,
    driver::{self, Outcome, Run},
    regressions,
    trace::Keep,
    witness::Invariant,
    world::Sabotage,
};

#[test]
fn invariants_hold_for_every_seed() {
    let (first, count) = (number("FELDAKTE_SIM_FIRST", 1), number("FELDAKTE_SIM_SEEDS", SEEDS));
    demand_that_all_hold(&(first..first + count).collect::<Vec<_>>());
}

#[test]
#[ignore = "takes hours; run before a release, best with --release"]
fn invariants_hold_for_ten_thousand_seeds() {
    demand_that_all_hold(&(1..=10_000).collect::<Vec<_>>());
}

#[test]
fn seeds_that_once_failed_hold() {
    demand_that_all_hold(&regressions::ALL.iter().map(|regression| regression.seed).collect::<Vec<_>>());
}

#[test]
fn a_seed_writes_the_same_trace_every_time() {
    for seed in 1..=4 {
        let run = Run { seed, sabotage: Sabotage::None, keep: Keep::All };
        let (first, again) = (driver::run(run), driver::run(run));
        let differs = first.trace.iter().zip(&again.trace).find(|(first, again)| first != again);
        assert_eq!(differs, None, "seed {seed}");
        assert_eq!(first.fingerprint, again.fingerprint, "seed {seed}");
        let other = driver::run(Run { seed: seed + 1_000, ..run });
        assert_ne!(first.fingerprint.hash, other.fingerprint.hash, "seed {seed}");
    }
}

#[test]
fn a_gateway_store_that_acknowledges_before_it_syncs_is_noticed() {
    demand_that_somebody_notices(Sabotage::LyingGatewayStore, Invariant::Durable);
}

#[test]
fn a_tablet_store_that_acknowledges_before_it_syncs_is_noticed() {
    demand_that_somebody_notices(Sabotage::LyingTabletStore, Invariant::Durable);
}

#[test]
fn a_gateway_that_asks_for_no_permits_is_noticed() {
    demand_that_somebody_notices(Sabotage::IgnoredPermits, Invariant::Authority);
}

fn demand_that_all_hold(seeds: &[u64]) {
    let broken = campaign::play(seeds, Sabotage::None, THREADS, |_| {});
    for outcome in &broken {
        let Outcome { seed, trace, .. } = outcome;
        let tail = trace.iter().skip(trace.len().saturating_sub(40));
        eprintln!("{}\n{outcome}\nrepeat it: cargo sim --seed {seed}\n", tail.cloned().collect::<Vec<_>>().join("\n"));
    }
    let seeds_broken: Vec<u64> = broken.iter().map(|outcome| outcome.seed).collect();
    assert!(seeds_broken.is_empty(), "of {} seeds these do not hold: {seeds_broken:?}", seeds.len());
}

/// Something wrong on purpose must break the invariant that guards against it, and soon.
fn demand_that_somebody_notices(sabotage: Sabotage, guard: Invariant) {
    let notices = |seed: u64| {
        let outcome = driver::run(Run { seed, sabotage, keep: Keep::Tail });
        outcome.violation.is_some_and(|violation| violation.invariant == guard)
    };
    assert!((1..=NOTICED_WITHIN).any(notices), "{sabotage:?} is not noticed within {NOTICED_WITHIN} seeds");
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name} must be a number")),
        Err(_) => default,
    }
}

const SEEDS: u64 = 200;
const THREADS: usize = 2;
const NOTICED_WITHIN: u64 = 20;
