//! Cases in flight: what their writer has sent, what their reader has seen, and how long it took.
//!
//! The writer has one case after the other and is the only one to write them, so changes arrive in the order they were written: the reader compares bytes with the
//! next one expected and never opens a document.

use std::{
    collections::VecDeque,
    ops::Range,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use anyhow::{Result, bail, ensure};
use bytes::Bytes;
use feldakte_core::ids::DocumentId;
use feldakte_proto::Durable;
use tokio::{sync::Notify, time::timeout_at};

use crate::load::{latency::Latencies, replay::CaseLog};

/// The cases and how far they are. Changes are counted through all of them.
#[derive(Debug)]
pub struct Track {
    changes: Vec<Bytes>,
    /// Where each case ends.
    ends: Vec<(usize, DocumentId)>,
    started: Instant,
    sent_at_ns: Vec<AtomicU64>,
    sent: AtomicUsize,
    seen: AtomicUsize,
    durable: AtomicUsize,
    pushes: Mutex<VecDeque<(u64, usize)>>,
    seen_more: Notify,
    latencies: Mutex<Arc<Latencies>>,
}

impl Track {
    /// Cases of which nothing has been sent.
    pub fn new(logs: &[Arc<CaseLog>], latencies: Arc<Latencies>) -> Self {
        let changes: Vec<Bytes> = logs.iter().flat_map(|log| log.changes.iter().cloned()).collect();
        let sent_at_ns = changes.iter().map(|_| AtomicU64::new(0)).collect();
        let mut end = 0;
        let end_of = |log: &Arc<CaseLog>| {
            end += log.len();
            (end, log.document)
        };
        Self {
            changes,
            ends: logs.iter().map(end_of).collect(),
            started: Instant::now(),
            sent_at_ns,
            sent: AtomicUsize::new(0),
            seen: AtomicUsize::new(0),
            durable: AtomicUsize::new(0),
            pushes: Mutex::default(),
            seen_more: Notify::new(),
            latencies: Mutex::new(latencies),
        }
    }

    /// From here on latencies go there: the opening of a case is not part of what is measured.
    pub fn measure_into(&self, latencies: Arc<Latencies>) {
        *self.latencies.lock().unwrap_or_else(PoisonError::into_inner) = latencies;
    }

    /// How many changes have been sent.
    pub fn sent(&self) -> usize {
        self.sent.load(Ordering::Acquire)
    }

    /// How many changes the reader has.
    pub fn seen(&self) -> usize {
        self.seen.load(Ordering::Acquire)
    }

    /// How many changes the writer was told are durable.
    pub fn durable(&self) -> usize {
        self.durable.load(Ordering::Acquire)
    }

    /// Whether there is nothing left to send.
    pub fn is_exhausted(&self) -> bool {
        self.sent() == self.changes.len()
    }

    /// How many more may be sent while at most `window` are outstanding.
    pub fn ready(&self, window: usize) -> usize {
        let sent = self.sent();
        (self.seen() + window).min(self.changes.len()).saturating_sub(sent)
    }

    /// Takes up to `count` of the next changes, all of one case, to be sent as this push; starts their clocks.
    /// `None` when there is nothing left.
    pub fn send(&self, push: u64, count: usize) -> Option<(DocumentId, &[Bytes])> {
        let from = self.sent();
        let (end, document) = self.case_at(from)?;
        let range = Range { start: from, end: (from + count).min(end) };
        let now = self.now_ns();
        self.sent_at_ns[range.clone()].iter().for_each(|at| at.store(now, Ordering::Release));
        self.pushes.lock().unwrap_or_else(PoisonError::into_inner).push_back((push, range.end));
        self.sent.store(range.end, Ordering::Release);
        Some((document, &self.changes[range]))
    }

    /// The reader has received these changes of a case.
    ///
    /// # Errors
    /// When they are not the next ones that were sent.
    pub fn on_changes(&self, document: DocumentId, changes: &[Bytes]) -> Result<()> {
        let from = self.seen();
        let Some(expected) = self.changes.get(from..from + changes.len()) else {
            bail!("the reader got {} changes, {} were written", from + changes.len(), self.changes.len());
        };
        let is_next = self.case_at(from).is_none_or(|(_, expected)| expected == document);
        ensure!(is_next, "the reader got a change of another case than was written");
        ensure!(expected == changes, "the reader got other bytes than were written, at change {from} or after it");
        let now = self.now_ns();
        let latencies = self.latencies.lock().unwrap_or_else(PoisonError::into_inner).clone();
        for at in &self.sent_at_ns[from..from + changes.len()] {
            latencies.record(Duration::from_nanos(now.saturating_sub(at.load(Ordering::Acquire))));
        }
        self.seen.store(from + changes.len(), Ordering::Release);
        self.seen_more.notify_one();
        Ok(())
    }

    /// The writer was told what became of a push.
    ///
    /// # Errors
    /// When anything was refused, or the answer is for another push than the oldest unanswered one.
    pub fn on_durable(&self, durable: &Durable) -> Result<()> {
        if let Some(refused) = durable.refused.first() {
            bail!("a change was refused: {:?}, expected {}", refused.reason, refused.expected);
        }
        let oldest = self.pushes.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
        let Some((_, end)) = oldest.filter(|(push, _)| *push == durable.push) else {
            bail!("push {} was answered out of order", durable.push);
        };
        self.durable.store(end, Ordering::Release);
        Ok(())
    }

    /// Waits until the reader has seen more than at the last call. For one waiter.
    pub async fn seen_more(&self) {
        self.seen_more.notified().await;
    }

    /// Waits until the reader has seen `count` changes. For one waiter.
    pub async fn seen_all(&self, count: usize) {
        while self.seen() < count {
            self.seen_more().await;
        }
    }

    fn case_at(&self, change: usize) -> Option<(usize, DocumentId)> {
        self.ends.get(self.ends.partition_point(|(end, _)| *end <= change)).copied()
    }

    fn now_ns(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Waits until all readers have what was sent, but not for ever; returns how many changes they lack.
pub async fn settle_all(tracks: &[Arc<Track>]) -> u64 {
    let end = Instant::now() + SETTLE_WITHIN;
    let mut missing = 0;
    for track in tracks {
        let sent = track.sent();
        // At the end of the wait the rest is only looked at.
        let _ = timeout_at(end.into(), track.seen_all(sent)).await;
        missing += sent.saturating_sub(track.seen()) as u64;
    }
    missing
}

/// A change that is not there after this long is lost.
const SETTLE_WITHIN: Duration = Duration::from_secs(20);

#[cfg(test)]
mod tests {
    use feldakte_core::ids::{ActorId, CaseId, Part, Position};
    use feldakte_proto::{Reason, Refused};
    use uuid::Uuid;

    use super::*;
    use crate::load::{replay::CaseSpec, workload::tests::script};

    fn document(case: u128) -> DocumentId {
        DocumentId { case: CaseId(Uuid::from_u128(case)), part: Part::Clinical }
    }

    /// Five changes a case.
    fn track(cases: u128) -> Track {
        let spec = |case| CaseSpec { document: document(case), actor: ActorId([1; 16]), script: script(), steps: 4 };
        let logs: Vec<_> = (1..=cases).map(|case| Arc::new(CaseLog::write(&spec(case)).unwrap())).collect();
        Track::new(&logs, Arc::default())
    }

    fn send(track: &Track, push: u64, count: usize) -> Vec<Bytes> {
        track.send(push, count).unwrap().1.to_vec()
    }

    fn durable(push: u64) -> Durable {
        Durable { push, position: Position(1), cursor: None, refused: Vec::new() }
    }

    #[tokio::test]
    async fn the_window_opens_as_the_reader_sees() {
        let (track, latencies) = (track(1), Arc::<Latencies>::default());
        track.measure_into(latencies.clone());
        assert_eq!(track.ready(2), 2);
        let sent = send(&track, 0, 2);
        assert_eq!(track.ready(2), 0);
        track.on_changes(document(1), &sent[..1]).unwrap();
        track.seen_more().await;
        assert_eq!((track.ready(2), track.seen(), latencies.count()), (1, 1, 1));
        send(&track, 1, 99);
        assert!(track.is_exhausted() && track.send(2, 1).is_none());
        assert_eq!((track.sent(), track.ready(99)), (5, 0));
    }

    #[test]
    fn other_bytes_and_repeated_changes_are_noticed() {
        let track = track(1);
        let sent = send(&track, 0, 5);
        let see = |changes: &[Bytes]| track.on_changes(document(1), changes);
        see(&sent[..2]).unwrap();
        assert!(see(&sent[..1]).is_err(), "a change came twice");
        assert!(see(&sent[3..4]).is_err(), "a change was left out");
        see(&sent[2..]).unwrap();
        assert!(see(&sent[..1]).is_err(), "more than there is");
    }

    #[test]
    fn one_push_is_of_one_case_and_the_next_case_follows() {
        let track = track(2);
        let lens = [99, 3, 99].map(|count| {
            let (document, changes) = track.send(0, count).unwrap();
            track.on_changes(document, changes).unwrap();
            (document, changes.len())
        });
        assert_eq!(lens, [(document(1), 5), (document(2), 3), (document(2), 2)]);
        assert!(track.is_exhausted());
    }

    #[test]
    fn a_change_of_another_case_is_noticed() {
        let track = track(2);
        let sent = send(&track, 0, 1);
        assert!(track.on_changes(document(2), &sent).is_err());
    }

    #[test]
    fn answers_move_durable_and_refusals_are_errors() {
        let track = track(1);
        send(&track, 7, 2);
        send(&track, 8, 2);
        track.on_durable(&durable(7)).unwrap();
        assert_eq!(track.durable(), 2);
        assert!(track.on_durable(&durable(9)).is_err());
        let refused = vec![Refused { index: 0, reason: Reason::SequenceGap, expected: 3 }];
        assert!(track.on_durable(&Durable { refused, ..durable(8) }).is_err());
    }
}
