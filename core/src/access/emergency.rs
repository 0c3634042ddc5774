//! Break-glass: access to one case for a short time, for a reason that a supervisor reviews.

/// Why somebody opens a case that was not granted to him. Numbers are wire and disk format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BreakGlassReason {
    /// A life is in danger.
    LifeInDanger = 1,
    /// Taken over from a crew or colleague who could not share the case.
    TakenOver = 2,
    /// Dispatched to the case, which was assigned to somebody else by mistake.
    WronglyAssigned = 3,
    /// The text says why.
    Other = 4,
}

impl BreakGlassReason {
    /// All of them, with their names on command lines and in the audit.
    pub const ALL: [(BreakGlassReason, &'static str); 4] = [
        (BreakGlassReason::LifeInDanger, "life_in_danger"),
        (BreakGlassReason::TakenOver, "taken_over"),
        (BreakGlassReason::WronglyAssigned, "wrongly_assigned"),
        (BreakGlassReason::Other, "other"),
    ];

    /// The reason of that number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().map(|(reason, _)| reason).find(|reason| *reason as u32 == number)
    }

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::ALL.into_iter().find(|(reason, _)| *reason == self).map_or("other", |(_, name)| name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Golden: on the wire and in audits; a number is never used again.
    #[test]
    fn numbers_of_reasons_are_for_ever() {
        let golden = [
            (1, BreakGlassReason::LifeInDanger),
            (2, BreakGlassReason::TakenOver),
            (3, BreakGlassReason::WronglyAssigned),
            (4, BreakGlassReason::Other),
        ];
        for number in 0..300 {
            let expected = golden.iter().find(|(pinned, _)| *pinned == number).map(|(_, reason)| *reason);
            assert_eq!(BreakGlassReason::from_number(number), expected, "{number}");
        }
    }
}
