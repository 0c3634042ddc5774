//! Acts that wait to be put together: equal ones of a session become one record with a count and the positions they span.

use std::{collections::BTreeMap, time::Duration};

use feldakte_core::{
    audit::{About, Actor, Record, Span},
    ids::SessionId,
    limits,
};
use tokio::time::Instant;

/// What has been noted and not been written.
#[derive(Debug, Default)]
pub(super) struct Notes {
    /// By session; what stands outside of any has `None`.
    pending: BTreeMap<Option<SessionId>, Acts>,
    /// How many records that will be.
    len: usize,
    ended: Vec<SessionId>,
    /// When the oldest has to be written.
    due: Option<Instant>,
    /// Counts notes, so that they are written in the order in which they began.
    noted: u64,
}

/// Acts without time, count and positions, and how often they were noted.
type Acts = BTreeMap<Record, Tally>;

#[derive(Debug)]
struct Tally {
    began: u64,
    due: Instant,
    when_ms: i64,
    count: u64,
    positions: Option<Span>,
}

impl Notes {
    /// Adds an act.
    pub fn add(&mut self, record: Record) {
        self.noted += 1;
        let Record { when_ms, count, positions, .. } = record;
        let mut act = Record { when_ms: 0, count: 0, positions: None, ..record };
        let acts = self.pending.entry(act.about.session).or_default();
        if self.len >= limits::AUDIT_NOTES && act.about.session.is_some() && !acts.contains_key(&act) {
            // The positions still say which documents they were.
            act.about = About { case: None, document: None, ..act.about };
        }
        if let Some(tally) = acts.get_mut(&act) {
            tally.count = tally.count.saturating_add(count);
            tally.positions = match (tally.positions, positions) {
                (Some(one), Some(other)) => Some(one.with(other)),
                (one, other) => one.or(other),
            };
            return;
        }
        let due = Instant::now() + window_of(&act);
        self.due = Some(self.due.map_or(due, |other| other.min(due)));
        acts.insert(act, Tally { began: self.noted, due, when_ms, count, positions });
        self.len += 1;
    }

    /// What is noted of this session is due at once.
    pub fn end(&mut self, session: SessionId) {
        self.ended.push(session);
        self.due = Some(self.due.map_or_else(Instant::now, |due| due.min(Instant::now())));
    }

    /// When something has to be written; `None` when nothing waits.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Takes what is due, in the order in which it began: all acts of sessions, once the oldest is due.
    pub fn take_due(&mut self, now: Instant) -> Vec<Record> {
        if self.due.is_none_or(|due| due > now) {
            return Vec::new();
        }
        let mut taken = Vec::new();
        for session in std::mem::take(&mut self.ended) {
            taken.extend(self.pending.remove(&Some(session)).unwrap_or_default());
        }
        let mut outside = self.pending.remove(&None).unwrap_or_default();
        if self.pending.values().flat_map(BTreeMap::values).any(|tally| tally.due <= now) {
            taken.extend(std::mem::take(&mut self.pending).into_values().flatten());
        }
        taken.extend(outside.extract_if(.., |_, tally| tally.due <= now));
        if !outside.is_empty() {
            self.pending.insert(None, outside);
        }
        self.len -= taken.len();
        self.due = self.pending.values().flat_map(BTreeMap::values).map(|tally| tally.due).min();
        in_order(taken)
    }

    /// Takes everything.
    pub fn take_all(&mut self) -> Vec<Record> {
        let Self { pending, .. } = std::mem::take(self);
        in_order(pending.into_values().flatten().collect())
    }
}

fn in_order(mut taken: Vec<(Record, Tally)>) -> Vec<Record> {
    taken.sort_unstable_by_key(|(_, tally)| tally.began);
    let record =
        |(act, Tally { began: _, due: _, when_ms, count, positions })| Record { when_ms, count, positions, ..act };
    taken.into_iter().map(record).collect()
}

fn window_of(act: &Record) -> Duration {
    match act.who {
        Actor::Unknown => limits::AUDIT_KNOCKS_WITHIN,
        Actor::Gateway | Actor::Device { .. } | Actor::Operator(_) => limits::AUDIT_NOTE_WITHIN,
    }
}

#[cfg(test)]
mod tests {
    use feldakte_core::{
        audit::{Act, Chain, Reason},
        ids::{CaseId, DeviceId, DocumentId, Part, Position},
    };
    use uuid::Uuid;

    use super::*;

    fn session(number: u128) -> SessionId {
        SessionId(Uuid::from_u128(number))
    }

    fn act(session: Option<SessionId>, act: Act, case: u128, position: u64) -> Record {
        let who = Actor::Device { device: DeviceId(Uuid::from_u128(1)), user: None };
        let document = DocumentId { case: CaseId(Uuid::from_u128(case)), part: Part::Clinical };
        let about = About { session, ..About::document(document) };
        let record = Record::new(Chain::Tenant("dortmund".parse().expect("a slug")), who, act).about(about);
        record.at(Span::of(Position(position)))
    }

    #[tokio::test(start_paused = true)]
    async fn equal_acts_of_a_session_become_one_within_a_second() {
        let mut notes = Notes::default();
        for position in [5, 7, 6] {
            notes.add(act(Some(session(1)), Act::Read, 1, position));
        }
        notes.add(act(Some(session(1)), Act::Wrote, 1, 8));
        notes.add(act(Some(session(2)), Act::Read, 1, 8));
        notes.add(act(Some(session(1)), Act::Read, 2, 9));
        assert_eq!(notes.take_due(Instant::now()), []);
        tokio::time::advance(limits::AUDIT_NOTE_WITHIN).await;
        let taken = notes.take_due(Instant::now());
        let expected = Record { count: 3, ..act(Some(session(1)), Act::Read, 1, 5) };
        assert_eq!(taken[0], expected.at(Span { first: Position(5), last: Position(7) }));
        let kinds: Vec<_> = taken.iter().map(|record| (record.about.session, record.act, record.count)).collect();
        let [one, other] = [Some(session(1)), Some(session(2))];
        assert_eq!(kinds, [(one, Act::Read, 3), (one, Act::Wrote, 1), (other, Act::Read, 1), (one, Act::Read, 1)]);
        assert_eq!((notes.due(), notes.len), (None, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_a_session_takes_along_what_it_did() {
        let mut notes = Notes::default();
        notes.add(act(Some(session(1)), Act::Wrote, 1, 1));
        notes.add(act(Some(session(2)), Act::Wrote, 1, 2));
        notes.end(session(1));
        let taken = notes.take_due(Instant::now());
        assert_eq!(taken.iter().map(|record| record.about.session).collect::<Vec<_>>(), [Some(session(1))]);
        assert_eq!(notes.take_all().len(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_strangers_is_one_record_a_minute() {
        let mut notes = Notes::default();
        for _ in 0..100_000 {
            let knock = Record::new(Chain::Gateway, Actor::Unknown, Act::SessionRefused);
            notes.add(knock.because(Reason::CertificateIssuer));
        }
        notes.add(act(Some(session(1)), Act::Wrote, 1, 1));
        tokio::time::advance(limits::AUDIT_NOTE_WITHIN).await;
        assert_eq!(notes.take_due(Instant::now()).len(), 1);
        tokio::time::advance(limits::AUDIT_KNOCKS_WITHIN).await;
        let taken = notes.take_due(Instant::now());
        assert_eq!(taken.iter().map(|record| record.count).collect::<Vec<_>>(), [100_000]);
    }

    #[tokio::test(start_paused = true)]
    async fn an_audit_log_that_is_not_written_for_long_takes_bounded_memory_and_loses_no_count() {
        let mut notes = Notes::default();
        let total = limits::AUDIT_NOTES + 1000;
        for case in 0..total {
            notes.add(act(Some(session(1)), Act::Wrote, case as u128, case as u64 + 1));
        }
        assert_eq!(notes.len, limits::AUDIT_NOTES + 1);
        let taken = notes.take_all();
        assert_eq!(taken.iter().map(|record| record.count).sum::<u64>(), total as u64);
        let rest = taken.last().expect("the rest");
        assert_eq!((rest.count, rest.about.document), (1000, None));
        assert_eq!(rest.positions.map(|span| span.last), Some(Position(total as u64)));
    }
}
