//! Answers `Fetch`: documents as snapshots, on a stream of their own, below everything else.
//!
//! The permit is checked for each document when it is read, not when it was asked for.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::{Bytes, BytesMut};
use feldakte_core::{
    ids::{DocumentId, Position},
    log::Entry,
};
use feldakte_proto::{Bundler, DecodeError, Snapshot, decode_entry};
use quinn::Connection;
use tracing::debug;

use crate::{
    gateway::Shared,
    store::{Reader, StoreError, StoredSnapshot},
    wire::{self, SendFrameError},
};

/// Serves the fetches of one session.
#[derive(Debug)]
pub struct Fetcher {
    connection: Connection,
    reader: Reader,
    running: Arc<AtomicUsize>,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a stored entry does not decode")]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Send(#[from] SendFrameError),
    #[error(transparent)]
    Connection(#[from] quinn::ConnectionError),
}

impl Fetcher {
    /// For a session that reads as `reader`.
    pub fn new(connection: Connection, reader: Reader) -> Self {
        Self { connection, reader, running: Arc::default() }
    }

    /// Begins to send the documents.
    ///
    /// # Errors
    /// When the session has more fetches running than it may.
    pub fn fetch(&mut self, shared: &Arc<Shared>, documents: Vec<DocumentId>) -> Result<(), &'static str> {
        if self.running.fetch_add(1, Ordering::Relaxed) >= FETCHES_MAX {
            self.running.fetch_sub(1, Ordering::Relaxed);
            return Err("too many fetches at once");
        }
        let (shared, connection, reader) = (shared.clone(), self.connection.clone(), self.reader.clone());
        let running = self.running.clone();
        shared.clone().tasks.spawn(async move {
            // A fetch that fails is asked for again: the device keeps "bootstrap pending" until it has it.
            if let Err(error) = send_documents(&shared, &connection, &reader, &documents).await {
                debug!(%error, "fetch ended");
            }
            running.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }
}

async fn send_documents(
    shared: &Shared,
    connection: &Connection,
    reader: &Reader,
    documents: &[DocumentId],
) -> Result<(), FetchError> {
    let mut stream = connection.open_uni().await?;
    // Fails only when the connection is gone, which the next write tells.
    let _ = stream.set_priority(SNAPSHOT_PRIORITY);
    let mut bundler = Bundler::default();
    for document in documents {
        if !shared.store.may_read(reader, *document).await? {
            bundler.push_unavailable(*document);
            continue;
        }
        let snapshot = read_snapshot(shared, *document).await?;
        shared.metrics.snapshots_sent.inc();
        if let Some(frame) = bundler.push(&snapshot) {
            wire::send_frame(&mut stream, frame).await?;
        }
    }
    if let Some(frame) = bundler.finish() {
        wire::send_frame(&mut stream, frame).await?;
    }
    // Already closed means the peer is gone, which costs nothing here.
    let _ = stream.finish();
    Ok(())
}

/// The stored snapshot and the changes after it, as one piece. Opens no document.
async fn read_snapshot(shared: &Shared, document: DocumentId) -> Result<Snapshot, FetchError> {
    let base = shared.store.snapshot(document).await?;
    let base = base.unwrap_or(StoredSnapshot {
        position: Position::START,
        chunks: Bytes::new(),
        bindings: Vec::new(),
        quarantined: Vec::new(),
    });
    let StoredSnapshot { mut position, chunks, mut bindings, mut quarantined } = base;
    let stored = shared.store.entries_after(document, position).await?;
    if stored.is_empty() {
        return Ok(Snapshot { document, position, chunks, bindings, quarantined });
    }
    let mut all = BytesMut::from(chunks);
    for stored in stored {
        position = stored.position;
        let Entry { document: _, grants: _, revoked: _, bindings: new, quarantined: marks, changes } =
            decode_entry(stored.encoded)?;
        bindings.extend(new);
        // A snapshot may know of a change before the log's mark does.
        let new: Vec<_> = marks.into_iter().filter(|mark| !quarantined.contains(mark)).collect();
        quarantined.extend(new);
        changes.iter().for_each(|change| all.extend_from_slice(change));
    }
    Ok(Snapshot { document, position, chunks: all.freeze(), bindings, quarantined })
}

/// Below the session stream, whose priority is 0.
const SNAPSHOT_PRIORITY: i32 = -10;
/// A device asks again only after an answer; two leave room for an urgent one.
const FETCHES_MAX: usize = 4;
