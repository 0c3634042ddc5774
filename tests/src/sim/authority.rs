//! Who held a grant on a document, from where to where in the log and from when to when: judged from the log alone,
//! without any of the gateway's own code.

use std::time::Duration;

use feldakte_core::{
    access::{Grant, Subject},
    ids::Position,
    log::Entry,
};

/// A moment in a document's life: a place in the log and when it became durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Moment {
    /// The entry's place.
    pub position: Position,
    /// When its commit returned.
    pub at: Duration,
}

/// A span during which somebody held a grant; both ends belong to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The entry that granted.
    pub from: Moment,
    /// The entry that ended the last grant; `None` while there is one.
    pub to: Option<Moment>,
}

/// A document's grants and revocations in log order.
#[derive(Debug, Clone, Default)]
pub struct GrantHistory(Vec<(Moment, Vec<Grant>, Vec<Subject>)>);

impl GrantHistory {
    /// Takes in an entry that became durable.
    pub fn record(&mut self, moment: Moment, entry: &Entry) {
        if !entry.grants.is_empty() || !entry.revoked.is_empty() {
            self.0.push((moment, entry.grants.clone(), entry.revoked.clone()));
        }
    }

    /// When the holder of `subjects` had a grant, in log order.
    pub fn spans(&self, subjects: &[Subject]) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        let mut held: Vec<&Subject> = Vec::new();
        for (moment, grants, revoked) in &self.0 {
            let held_before = !held.is_empty();
            held.retain(|subject| !revoked.contains(subject));
            held.extend(grants.iter().map(|grant| &grant.subject).filter(|subject| subjects.contains(subject)));
            match (held_before, held.is_empty()) {
                (false, false) => spans.push(Span { from: *moment, to: None }),
                (true, true) => spans.last_mut().expect("a span was opened").to = Some(*moment),
                _ => {}
            }
        }
        spans
    }

    /// Whether exactly these grants and revocations stand at `position`.
    pub fn has(&self, position: Position, grants: &[Grant], revoked: &[Subject]) -> bool {
        self.0.iter().any(|(moment, g, r)| moment.position == position && g == grants && r == revoked)
    }

    /// Whether the holder of `subjects` has a grant at the log's end.
    pub fn holds(&self, subjects: &[Subject]) -> bool {
        self.spans(subjects).last().is_some_and(|span| span.to.is_none())
    }
}

impl Span {
    /// Whether the grant was in force at any time since `since`.
    pub fn is_in_force_since(&self, since: Duration) -> bool {
        self.to.is_none_or(|to| to.at >= since)
    }

    /// Whether the grant lets its holder see the entry at `position`: it was in force there, or began later. A
    /// document comes with its past.
    pub fn shows(&self, position: Position) -> bool {
        self.to.is_none_or(|to| position <= to.position)
    }
}

#[cfg(test)]
mod tests {
    use feldakte_core::{
        access::Access,
        ids::{CaseId, DeviceId, DocumentId, Part},
    };
    use uuid::Uuid;

    use super::*;

    fn device(n: u128) -> Subject {
        Subject::Device(DeviceId(Uuid::from_u128(n)))
    }

    fn history(steps: &[(u64, &[Subject], &[Subject])]) -> GrantHistory {
        let mut history = GrantHistory::default();
        for (position, granted, revoked) in steps {
            let document = DocumentId { case: CaseId(Uuid::nil()), part: Part::Clinical };
            let mut entry = Entry::new(document);
            let grant = |subject: &Subject| Grant::new(subject.clone(), Access::Read);
            entry.grants = granted.iter().map(grant).collect();
            entry.revoked = revoked.to_vec();
            let moment = Moment { position: Position(*position), at: Duration::from_secs(*position) };
            history.record(moment, &entry);
        }
        history
    }

    #[test]
    fn a_grant_that_ends_shows_nothing_after_its_end() {
        let history = history(&[(2, &[device(1)], &[]), (5, &[], &[device(1)])]);
        let spans = history.spans(&[device(1)]);
        let [span] = spans.as_slice() else { panic!("{spans:?}") };
        assert!(span.shows(Position(1)) && span.shows(Position(5)) && !span.shows(Position(6)));
        assert!(span.is_in_force_since(Duration::from_secs(5)) && !span.is_in_force_since(Duration::from_secs(6)));
        assert!(!history.holds(&[device(1)]) && history.spans(&[device(2)]).is_empty());
    }

    #[test]
    fn the_last_of_several_grants_counts() {
        let both = [device(1), device(2)];
        let history = history(&[(1, &both, &[]), (2, &[], &[device(1)]), (3, &[], &[device(2)]), (4, &both[..1], &[])]);
        let ends: Vec<_> = history.spans(&both).iter().map(|span| span.to.map(|to| to.position.0)).collect();
        assert_eq!(ends, [Some(3), None]);
        assert!(history.holds(&both));
    }
}
