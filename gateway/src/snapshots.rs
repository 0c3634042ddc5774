//! Answers `Fetch`: documents as snapshots, on a way of their own, below everything else.
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
use feldakte_proto::{Bundler, CloseCode, DecodeError, Reason, Snapshot, decode_entry};
use tracing::{debug, error};

use crate::{
    audit::{AuditError, Trail},
    gateway::Shared,
    outlet::Outlet,
    permit::ReadPermit,
    store::{Reader, StoreError, StoredSnapshot},
    transport::{Reserved, SendError, Sender},
};

/// Serves the fetches of one session.
#[derive(Debug)]
pub struct Fetcher {
    outlet: Arc<Outlet>,
    reader: Reader,
    trail: Arc<Trail>,
    running: Arc<AtomicUsize>,
}

#[derive(Debug, thiserror::Error)]
enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("a stored entry does not decode")]
    Decode(#[from] DecodeError),
    #[error(transparent)]
    Audit(#[from] AuditError),
    #[error(transparent)]
    Send(#[from] SendError),
}

impl Fetcher {
    /// For a session that reads as `reader` and leaves this trail.
    pub fn new(outlet: Arc<Outlet>, reader: Reader, trail: Arc<Trail>) -> Self {
        Self { outlet, reader, trail, running: Arc::default() }
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
        let reserved = self.outlet.connection().reserve_snapshots();
        let (shared, outlet, reader) = (shared.clone(), self.outlet.clone(), self.reader.clone());
        let trail = self.trail.clone();
        let running = self.running.clone();
        shared.clone().tasks.spawn(async move {
            // A fetch that fails is asked for again: the device keeps "bootstrap pending" until it has it.
            if let Err(error) = send_documents(&shared, (&outlet, reserved), (&reader, &trail), &documents).await {
                debug!(%error, "fetch ended");
            }
            running.fetch_sub(1, Ordering::Relaxed);
        });
        Ok(())
    }
}

async fn send_documents(
    shared: &Shared,
    (outlet, reserved): (&Outlet, Reserved),
    who: (&Reader, &Trail),
    documents: &[DocumentId],
) -> Result<(), FetchError> {
    let mut sender = reserved.open().await?;
    let sent = send_bundles(shared, outlet, &mut sender, who, documents).await;
    match sent {
        Ok(()) => sender.finish(),
        Err(_) => sender.reset(CloseCode::StoreUnavailable),
    }
    sent
}

/// A document that cannot be read is left out, so that it holds up none of the others: the device finds it missing.
async fn send_bundles(
    shared: &Shared,
    outlet: &Outlet,
    sender: &mut Sender,
    (reader, trail): (&Reader, &Trail),
    documents: &[DocumentId],
) -> Result<(), FetchError> {
    let (mut bundler, mut bundled) = (Bundler::default(), Vec::new());
    for document in documents {
        let now_ms = shared.environment.latest_ms();
        let Some(permit) = ReadPermit::ask(&shared.store, reader, *document, now_ms).await? else {
            bundler.push_unavailable(*document);
            trail.note_refusal(*document, Reason::NotPermitted);
            continue;
        };
        let snapshot = match read_snapshot(shared, &permit).await {
            Ok(snapshot) => snapshot,
            Err(FetchError::Store(StoreError::Damaged(_)) | FetchError::Decode(_)) => {
                error!(%document, "the document cannot be read; it is sent to nobody");
                shared.metrics.damaged.inc();
                continue;
            }
            Err(error) => return Err(error),
        };
        shared.metrics.snapshots_sent.inc();
        bundled.push(*document);
        if let Some(frame) = bundler.push(&snapshot) {
            record_reads(outlet, trail, &mut bundled).await?;
            outlet.send_frame(sender, frame).await?;
        }
    }
    if let Some(frame) = bundler.finish() {
        record_reads(outlet, trail, &mut bundled).await?;
        outlet.send_frame(sender, frame).await?;
    }
    Ok(())
}

/// One commit for a bundle of documents. Waits while the audit log cannot be written, as long as the device is there.
async fn record_reads(outlet: &Outlet, trail: &Trail, bundled: &mut Vec<DocumentId>) -> Result<(), FetchError> {
    let documents = std::mem::take(bundled);
    loop {
        match trail.record_reads(&documents, None).await {
            Err(AuditError::Unavailable) => {}
            recorded => return Ok(recorded?),
        }
        tokio::select! {
            () = trail.audit().available() => {}
            () = outlet.connection().closed() => return Err(SendError::Gone.into()),
        }
    }
}

/// The stored snapshot, or nothing: what is damaged can be made from the log again.
pub(crate) async fn base_of(shared: &Shared, document: DocumentId) -> Result<StoredSnapshot, StoreError> {
    let base = match shared.store.snapshot(document).await {
        Err(StoreError::Damaged(what)) => {
            error!(%document, what, "the snapshot is damaged; its changes are read instead");
            shared.metrics.damaged.inc();
            None
        }
        read => read?,
    };
    let (chunks, bindings, quarantined) = (Bytes::new(), Vec::new(), Vec::new());
    Ok(base.unwrap_or(StoredSnapshot { position: Position::START, chunks, bindings, quarantined }))
}

/// The stored snapshot and the changes after it, as one piece. Opens no document.
async fn read_snapshot(shared: &Shared, permit: &ReadPermit) -> Result<Snapshot, FetchError> {
    let document = permit.document();
    let base = base_of(shared, document).await?;
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

/// A device asks again only after an answer; the rest is room for urgent ones.
const FETCHES_MAX: usize = 4;
