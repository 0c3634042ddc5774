//! Seeds that once broke an invariant, and what was wrong. Every test run plays them again.

/// A seed and what it found.
#[derive(Debug, Clone, Copy)]
pub struct Regression {
    /// The seed.
    pub seed: u64,
    /// What was wrong.
    pub found: &'static str,
}

/// All of them. A seed's meaning changes with the plan that is drawn from it: the entry then tells what to look for.
pub const ALL: &[Regression] = &[
    Regression {
        seed: 79,
        found: "on a full disk, pushes of a device's older sessions wait beside those of its present one",
    },
    Regression { seed: 194, found: "the same, with two sessions that had ended" },
    Regression {
        seed: 99,
        found: "an answer to a fetch from before a new grant; own writing under an older actor without an author",
    },
];
