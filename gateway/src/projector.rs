//! Behind the log, never in front of it: applies durable changes and writes snapshots for cold readers.
//!
//! A change that panics the document library, is refused by it or nests too deep is marked *quarantined* in the
//! log and left out of every snapshot. It stays durable and never stops another document.

use std::{sync::Arc, time::Duration};

use feldakte_core::{
    ids::{DocumentId, Position},
    limits,
    log::{Entry, Quarantine},
};
use feldakte_proto::decode_entry;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

pub use self::backlog::Backlog;
pub(crate) use self::projection::{Base, Projection, project};
use self::{backlog::Wanted, bench::Bench};
use crate::{
    gateway::{AuthorityError, Shared},
    store::{StoreError, StoredSnapshot},
};

mod backlog;
mod bench;
mod projection;

/// Runs until shutdown, then once more over all that is pending.
pub async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    if let Err(error) = find_backlog(&shared).await {
        warn!(%error, "snapshots that lag behind were not found; they follow with the next change");
    }
    let mut bench = Bench::new(shared.clone());
    loop {
        bench.take_up(Wanted::Due);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = bench.one_done() => {}
            () = shared.backlog.urgent() => {}
            () = tokio::time::sleep(LOOK_EVERY) => {}
        }
    }
    bench.clear().await;
    bench.take_up(Wanted::All);
    bench.clear().await;
}

async fn find_backlog(shared: &Shared) -> Result<(), StoreError> {
    for document in shared.store.unprojected(BACKLOG_AT_START).await? {
        shared.backlog.touch(document, 1);
    }
    Ok(())
}

async fn project_one(shared: &Arc<Shared>, document: DocumentId) {
    let started = Instant::now();
    match write_snapshot(shared, document).await {
        Ok(covered) => shared.backlog.done(document, started, covered),
        Err(error) => {
            // Readers get the changes instead of a snapshot: slower, nothing lost.
            warn!(%document, %error, "no snapshot could be written");
            shared.backlog.give_up(document, started);
        }
    }
}

/// Why a document has no new snapshot.
#[derive(Debug, thiserror::Error)]
enum ProjectError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a stored entry does not decode")]
    Decode(#[from] feldakte_proto::DecodeError),
    #[error("the snapshot does not load to what was saved")]
    Unverified,
    #[error("the quarantine marks could not be written")]
    Marks(#[from] AuthorityError),
}

/// Returns how many changes the snapshot covers.
async fn write_snapshot(shared: &Arc<Shared>, document: DocumentId) -> Result<usize, ProjectError> {
    let base = shared.store.snapshot(document).await?;
    let after = base.as_ref().map_or(Position::START, |snapshot| snapshot.position);
    let stored = shared.store.entries_after(document, after).await?;
    let Some(last) = stored.last().map(|stored| stored.position) else { return Ok(0) };
    let entries: Vec<Entry> = stored.into_iter().map(|s| decode_entry(s.encoded)).collect::<Result<_, _>>()?;
    let base = base.map_or_else(Base::default, Base::from);
    let projection = shared.environment.compute(move || project(base, &entries)).await;
    let Projection { chunks, bindings, quarantined, newly_quarantined, covered, loads } =
        projection.ok_or(ProjectError::Unverified)?;
    shared.metrics.document_loads.inc_by(loads as u64);
    // Marks before the snapshot: as long as one is missing in the log the document counts as not projected.
    quarantine(shared, document, &newly_quarantined).await?;
    let snapshot = StoredSnapshot { position: last, chunks, bindings, quarantined };
    shared.store.put_snapshot(document, &snapshot).await?;
    shared.metrics.snapshots_written.inc();
    debug!(%document, position = %last, covered, "snapshot written");
    Ok(covered)
}

/// Alarms, makes the marks durable and tells live readers of them.
async fn quarantine(shared: &Shared, document: DocumentId, marks: &[Quarantine]) -> Result<(), AuthorityError> {
    if marks.is_empty() {
        return Ok(());
    }
    error!(%document, changes = marks.len(), "changes quarantined");
    for marks in marks.chunks(limits::ENTRY_MARKS_MAX) {
        let mut entry = Entry::new(document);
        entry.quarantined = marks.to_vec();
        shared.append_entry(entry).await?;
        // Counted when readers can know of them.
        shared.metrics.changes_quarantined.inc_by(marks.len() as u64);
    }
    Ok(())
}

/// How often quiet documents are looked for.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// Documents taken up at start; the rest follows with their next change.
const BACKLOG_AT_START: usize = 10_000;
