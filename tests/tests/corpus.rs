//! Replays the committed fuzzing corpus: what once was found stays fixed, on every run of the tests.
//!
//! New inputs come from `cargo +nightly fuzz run <target> corpus/<target>` inside `tests/`, seeds from
//! `cargo run --example seed -- ../corpus` inside `tests/fuzz/`.

use std::{collections::BTreeSet, fs, path::Path};

use feldakte_proto::Reason;

use targets::admission::Reached;

#[path = "../fuzz/src/lib.rs"]
mod targets;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(target);
    let files = fs::read_dir(directory).expect("the corpus is committed");
    let mut paths: Vec<_> = files.map(|file| file.expect("a file").path()).collect();
    paths.sort();
    paths.iter().map(|path| fs::read(path).expect("a readable file")).collect()
}

#[test]
fn frames() {
    let inputs = corpus("frames");
    assert!(inputs.len() > 5, "the corpus is not there");
    inputs.iter().for_each(|input| targets::frames::run(input));
}

#[test]
fn live() {
    let inputs = corpus("live");
    assert!(inputs.len() > 3, "the corpus is not there");
    inputs.iter().for_each(|input| targets::live::run(input));
}

#[test]
fn admission() {
    let reached: Vec<Reached> = corpus("admission").iter().map(|input| targets::admission::run(input)).collect();
    let refusals: BTreeSet<Reason> = reached.iter().flat_map(|reached| reached.refusals.iter().copied()).collect();
    let missing = |reason: &Reason| !refusals.contains(reason);
    let missing: Vec<Reason> = (1..).map_while(Reason::from_number).filter(missing).collect();
    // These take more than a small file: see core/src/change/tests.rs and core/src/admission/tests.rs.
    // The last three are not admission's to say.
    let others = [
        Reason::TooLarge,
        Reason::DependencyRefused,
        Reason::TooManyActors,
        Reason::DocumentFull,
        Reason::DocumentDamaged,
        Reason::Quarantined,
        Reason::Shredded,
    ];
    assert_eq!(missing, others);
    assert!(reached.iter().any(|reached| reached.admitted >= 5), "nothing is admitted");
    assert!(reached.iter().any(|reached| reached.duplicates > 0), "nothing is pushed twice");
    assert!(reached.iter().any(|reached| reached.quarantined > 0), "nothing is quarantined");
}
