//! Brings a reader from its cursor to where the live tail begins.
//!
//! Few changes are sent as they stand in the log, in log order, so that the cursor moves while they flow; but those of cases
//! that somebody looks at on the device come before all others. Documents
//! that are new to the device or far behind are named as *bootstrap* first: the device stores that it wants them,
//! and fetches snapshots, which are about forty times smaller than their changes.

use feldakte_core::{
    audit::Span,
    ids::{CaseId, DocumentId, Position},
    limits,
};
use feldakte_proto::{ChangesFrame, RawEntry};
use tracing::error;

use crate::{
    gateway::Shared,
    store::{Changed, Reader, SharedStore, StoreError, Stored},
};

/// What lies between a cursor and the live tail.
#[derive(Debug)]
pub struct CatchUp {
    reader: Reader,
    after: Position,
    up_to: Position,
    bootstrap: Vec<DocumentId>,
    /// Documents that are sent change by change.
    tail: Vec<DocumentId>,
    /// What goes first. The cursor stays until all the rest has been sent as well, up to where it moves.
    first: std::vec::IntoIter<Position>,
    positions: std::vec::IntoIter<Position>,
    /// From when on, in milliseconds by the gateway's clock, something of it may not be sent any more.
    until_ms: Option<i64>,
    done: bool,
}

impl CatchUp {
    /// Finds out what the reader lacks, who looks at some cases. Reads no document.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn plan(
        store: &SharedStore,
        (reader, in_use): (&Reader, &[CaseId]),
        (after, up_to): (Position, Position),
        now_ms: i64,
    ) -> Result<CatchUp, StoreError> {
        let mut changed = if after < up_to { store.changed(reader, after, up_to, now_ms).await? } else { Vec::new() };
        changed.retain(|change| reader.parts.contains(change.document.part));
        let (mut bootstrap, mut tail, mut ends) = (Vec::new(), Vec::new(), Vec::new());
        for change in &changed {
            match way_of(change, after) {
                Way::Bootstrap => bootstrap.push(change.document),
                Way::Tail => tail.push(change.document),
                Way::End(position) => ends.push(position),
            }
        }
        bootstrap.sort_by_key(|document| !in_use.contains(&document.case));
        tail.sort_by_key(|document| !in_use.contains(&document.case));
        let (those_first, others) = tail.split_at(tail.partition_point(|document| in_use.contains(&document.case)));
        let first = positions_of(store, reader, those_first, (after, up_to)).await?;
        let mut positions = positions_of(store, reader, others, (after, up_to)).await?;
        positions.extend(ends);
        positions.sort_unstable();
        let (reader, first, positions) = (reader.clone(), first.into_iter(), positions.into_iter());
        let until_ms = changed.iter().filter_map(|change| change.until).min();
        Ok(CatchUp { reader, after, up_to, bootstrap, tail, first, positions, until_ms, done: false })
    }

    /// Whether a grant that it was planned under has ended since, written down or not.
    pub fn is_outdated(&self, now_ms: i64) -> bool {
        self.until_ms.is_some_and(|until_ms| until_ms <= now_ms)
    }

    /// Whether nothing has to be sent.
    pub fn is_empty(&self) -> bool {
        self.bootstrap.is_empty() && self.first.as_slice().is_empty() && self.positions.as_slice().is_empty()
    }

    /// The documents whose changes are in its frames, and the part of the log that they are from.
    pub fn content(&self) -> (&[DocumentId], Span) {
        (&self.tail, Span { first: self.after.next(), last: self.up_to })
    }

    /// The next frame; `None` after the one that says "caught up".
    ///
    /// # Errors
    /// When the store fails.
    pub async fn next_frame(&mut self, shared: &Shared) -> Result<Option<ChangesFrame>, StoreError> {
        if self.done {
            return Ok(None);
        }
        if !self.bootstrap.is_empty() {
            // The cursor may not move before the device has stored what it has to fetch.
            let rest = self.bootstrap.split_off(self.bootstrap.len().min(BOOTSTRAP_AT_ONCE));
            let bootstrap = std::mem::replace(&mut self.bootstrap, rest);
            return Ok(Some(ChangesFrame { to: cursor(self.after), bootstrap, ..ChangesFrame::default() }));
        }
        let comes_first = !self.first.as_slice().is_empty();
        let rest = if comes_first { &mut self.first } else { &mut self.positions };
        let page: Vec<Position> = rest.take(PAGE_POSITIONS).collect();
        let (mut entries, bootstrap) = match shared.store.read(&self.reader.tenant, &page).await {
            Err(StoreError::Damaged(_)) => self.read_around_damage(shared, &page).await?,
            entries => (entries?, Vec::new()),
        };
        keep_one_frame(&mut entries, page, if comes_first { &mut self.first } else { &mut self.positions });
        self.done = self.first.as_slice().is_empty() && self.positions.as_slice().is_empty();
        let to = match (self.done, entries.last()) {
            (true, _) => cursor(self.up_to),
            (false, _) if comes_first => None,
            (false, Some(last)) => cursor(last.position),
            (false, None) => None,
        };
        let raw = |stored: Stored| RawEntry { position: stored.position, entry: stored.encoded };
        let entries = entries.into_iter().map(raw).collect();
        Ok(Some(ChangesFrame { to, entries, bootstrap, caught_up: self.done }))
    }

    /// One damaged row must not keep a device from all others: it is left out, and its document is to be fetched, which
    /// helps when a snapshot covers the row.
    async fn read_around_damage(
        &self,
        shared: &Shared,
        page: &[Position],
    ) -> Result<(Vec<Stored>, Vec<DocumentId>), StoreError> {
        let (mut entries, mut bootstrap) = (Vec::new(), Vec::new());
        for position in page {
            match shared.store.read(&self.reader.tenant, &[*position]).await {
                Err(StoreError::Damaged(what)) => {
                    error!(tenant = %self.reader.tenant, %position, what, "left out");
                    shared.metrics.damaged.inc();
                    bootstrap.extend(self.document_at(shared, *position).await?);
                }
                read => entries.extend(read?),
            }
        }
        bootstrap.dedup();
        Ok((entries, bootstrap))
    }

    async fn document_at(&self, shared: &Shared, position: Position) -> Result<Option<DocumentId>, StoreError> {
        let before = Position(position.0 - 1);
        for document in &self.tail {
            let found = shared.store.positions(&self.reader.tenant, &[*document], before, position).await?;
            if !found.is_empty() {
                return Ok(Some(*document));
            }
        }
        Ok(None)
    }
}

async fn positions_of(
    store: &SharedStore,
    reader: &Reader,
    documents: &[DocumentId],
    (after, up_to): (Position, Position),
) -> Result<Vec<Position>, StoreError> {
    match documents.is_empty() {
        true => Ok(Vec::new()),
        false => store.positions(&reader.tenant, documents, after, up_to).await,
    }
}

/// Cuts the page where a frame is full; what does not fit is read again with the next one.
fn keep_one_frame(entries: &mut Vec<Stored>, page: Vec<Position>, positions: &mut std::vec::IntoIter<Position>) {
    let mut bytes = 0;
    let fits = entries.iter().take_while(|stored| {
        bytes += stored.encoded.len() + ENTRY_OVERHEAD;
        bytes <= limits::CATCH_UP_BYTES
    });
    let count = fits.count().max(1).min(entries.len());
    if count < entries.len() {
        let next = entries[count].position;
        entries.truncate(count);
        let rest: Vec<Position> =
            page.into_iter().filter(|position| *position >= next).chain(positions.by_ref()).collect();
        *positions = rest.into_iter();
    }
}

enum Way {
    Bootstrap,
    Tail,
    End(Position),
}

fn way_of(change: &Changed, after: Position) -> Way {
    if let Some(ended) = change.ended {
        // Nothing of the document but the end itself may be sent: there is no permit any more.
        return Way::End(ended);
    }
    let lacks_the_beginning = change.granted > after && change.created <= after;
    match lacks_the_beginning || change.changes > limits::TAIL_CHANGES_MAX as u64 {
        true => Way::Bootstrap,
        false => Way::Tail,
    }
}

fn cursor(position: Position) -> Option<Position> {
    (position > Position::START).then_some(position)
}

/// Documents named in one frame, 19 bytes each: a first session may have to fetch a whole district.
const BOOTSTRAP_AT_ONCE: usize = 4096;
/// Positions read at once; most pages are cut by bytes, not by this.
const PAGE_POSITIONS: usize = 512;
/// Tags and lengths around an entry in a frame.
const ENTRY_OVERHEAD: usize = 16;
