//! Who has looked at what on this device: written down before it is shown, told to the gateway later.
//!
//! An app reads a case again at every change: within a minute that is one reading, and only how often is counted. A disk
//! that is full must not keep a case from whoever needs it now: then the reading is counted and written with the next.

use std::{collections::BTreeMap, time::Duration};

use feldakte_core::ids::{DocumentId, UserId};
use feldakte_proto::Seen;
use tokio::time::Instant;
use tracing::warn;

use super::Engine;

/// Readings of the last minute, of whoever used the device then.
#[derive(Default)]
pub(super) struct Reads(BTreeMap<(DocumentId, Option<UserId>), Recent>);

struct Recent {
    /// When it was last written down; `None` after it could not be.
    written_at: Option<Instant>,
    /// What was not written down.
    more: Option<Seen>,
}

impl Engine {
    /// These documents are about to be shown.
    pub(super) async fn note_reads(&mut self, documents: impl IntoIterator<Item = DocumentId>) {
        let (now, now_ms, user) = (Instant::now(), self.environment.now_ms(), self.principal.user);
        let seen = |document| Seen { document, user, first_ms: now_ms, last_ms: now_ms, count: 1 };
        let due: Vec<Seen> =
            documents.into_iter().filter_map(|document| self.reads.take(seen(document), now)).collect();
        if due.is_empty() {
            return;
        }
        match self.store.note_reads(&due).await {
            Ok(()) => self.requests.receipts_are_due_soon(),
            Err(error) => {
                warn!(%error, "who has read is not written down yet");
                due.into_iter().for_each(|seen| self.reads.give_back(seen));
            }
        }
    }
}

impl Reads {
    /// What is to be written now, if anything.
    fn take(&mut self, seen: Seen, now: Instant) -> Option<Seen> {
        self.0.retain(|_, recent| recent.more.is_some() || recent.is_one_reading(now));
        let reading = (seen.document, seen.user);
        let Some(recent) = self.0.get_mut(&reading) else {
            self.0.insert(reading, Recent { written_at: Some(now), more: None });
            return Some(seen);
        };
        let all = recent.more.take().map_or(seen.clone(), |before| together(before, seen));
        if recent.is_one_reading(now) {
            recent.more = Some(all);
            return None;
        }
        recent.written_at = Some(now);
        Some(all)
    }

    /// It could not be written.
    fn give_back(&mut self, seen: Seen) {
        if let Some(recent) = self.0.get_mut(&(seen.document, seen.user)) {
            // Tried again with the next reading.
            recent.written_at = None;
            recent.more = Some(seen);
        }
    }
}

impl Recent {
    /// Whether what is read now belongs to what was written down.
    fn is_one_reading(&self, now: Instant) -> bool {
        self.written_at.is_some_and(|at| now < at + ONE_READING)
    }
}

fn together(before: Seen, Seen { last_ms, count, .. }: Seen) -> Seen {
    Seen { last_ms: before.last_ms.max(last_ms), count: before.count.saturating_add(count), ..before }
}

/// Readings within this time are one.
const ONE_READING: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use feldakte_core::ids::{CaseId, Part};
    use uuid::Uuid;

    use super::*;

    fn seen(at_ms: i64) -> Seen {
        let document = DocumentId { case: CaseId(Uuid::from_u128(1)), part: Part::Clinical };
        Seen { document, user: None, first_ms: at_ms, last_ms: at_ms, count: 1 }
    }

    #[tokio::test(start_paused = true)]
    async fn readings_within_a_minute_are_one_and_counted() {
        let (mut reads, begin) = (Reads::default(), Instant::now());
        assert_eq!(reads.take(seen(1), begin), Some(seen(1)));
        for at_ms in [2, 3] {
            assert_eq!(reads.take(seen(at_ms), begin + ONE_READING / 2), None);
        }
        let written = reads.take(seen(9), begin + ONE_READING);
        assert_eq!(written, Some(Seen { first_ms: 2, count: 3, ..seen(9) }));
        assert_eq!(reads.take(seen(10), begin + 3 * ONE_READING), Some(seen(10)), "what is old is forgotten");
    }

    /// A change of users must not pass a reading off as the former one's.
    #[tokio::test(start_paused = true)]
    async fn a_reading_is_of_whoever_used_the_device() {
        let (mut reads, now) = (Reads::default(), Instant::now());
        let by = |n, at_ms| Seen { user: Some(UserId(Uuid::from_u128(n))), ..seen(at_ms) };
        for reading in [by(1, 1), by(2, 2), seen(3)] {
            assert_eq!(reads.take(reading.clone(), now), Some(reading));
        }
        assert_eq!(reads.take(by(1, 4), now), None);
        assert_eq!(reads.take(by(1, 5), now + ONE_READING), Some(Seen { first_ms: 4, count: 2, ..by(1, 5) }));
    }

    #[tokio::test(start_paused = true)]
    async fn what_could_not_be_written_is_written_with_the_next() {
        let (mut reads, begin) = (Reads::default(), Instant::now());
        let first = reads.take(seen(1), begin).expect("it is due");
        reads.give_back(first);
        assert_eq!(reads.take(seen(2), begin), Some(Seen { first_ms: 1, count: 2, ..seen(2) }));
    }
}
