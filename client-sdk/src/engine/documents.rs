//! The documents this device has open: loaded from the store on demand, dropped after any failure.

use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use feldakte_core::{
    case::{self, DocumentView, Edit},
    change::Change,
    crdt::{CrdtError, Document},
    ids::{ActorId, CaseId, ChangeHash, DeviceId, DocumentId, Epoch, Part},
    log::Binding,
};
use tracing::warn;

use crate::{
    error::SdkError,
    intent,
    store::{DocumentEdit, LocalDocument, LocalStoreError, OwnChange, SharedLocalStore},
};

/// Open documents.
pub(super) struct Documents {
    device: DeviceId,
    store_id: Epoch,
    store: SharedLocalStore,
    open: BTreeMap<DocumentId, Open>,
    clock: u64,
}

struct Open {
    document: Document,
    /// The genesis is not stored yet: the next edit brings it.
    is_new: bool,
    bindings: Vec<Binding>,
    used: u64,
}

impl Documents {
    pub(super) fn new(device: DeviceId, store_id: Epoch, store: SharedLocalStore) -> Self {
        Self { device, store_id, store, open: BTreeMap::new(), clock: 0 }
    }

    /// Makes one change per document and stores them, all or nothing; gives back what was stored. On any failure the
    /// documents in memory are dropped, so that they never hold what the store does not.
    pub(super) async fn edit(
        &mut self,
        case: CaseId,
        edits: &BTreeMap<Part, Vec<Edit>>,
        now_ms: i64,
    ) -> Result<Vec<DocumentEdit>, SdkError> {
        let saved = self.make_and_save(case, edits, now_ms).await;
        for part in edits.keys() {
            let id = DocumentId { case, part: *part };
            match &saved {
                Err(_) => drop(self.open.remove(&id)),
                Ok(saved) if saved.iter().any(|edit| edit.document == id) => {
                    self.open.entry(id).and_modify(|open| open.is_new = false);
                }
                Ok(_) => {}
            }
        }
        saved
    }

    async fn make_and_save(
        &mut self,
        case: CaseId,
        edits: &BTreeMap<Part, Vec<Edit>>,
        now_ms: i64,
    ) -> Result<Vec<DocumentEdit>, SdkError> {
        let mut made = Vec::with_capacity(edits.len());
        for (part, edits) in edits {
            let document = DocumentId { case, part: *part };
            let changes = self.make_changes(document, edits, now_ms).await?;
            if !changes.is_empty() {
                made.push(DocumentEdit { document, changes });
            }
        }
        if !made.is_empty() {
            self.store.save_edits(&made).await?;
        }
        Ok(made)
    }

    async fn make_changes(&mut self, id: DocumentId, edits: &[Edit], now_ms: i64) -> Result<Vec<OwnChange>, SdkError> {
        if self.store.document(id).await?.is_some_and(|state| state.revoked) {
            return Err(SdkError::AccessEnded);
        }
        let open = self.open(id).await?;
        let change =
            open.document.edit(now_ms.div_euclid(1000), |target| edits.iter().try_for_each(|edit| edit.apply(target)));
        let change = change.map_err(|error| match error {
            CrdtError::NoContainer(_) => SdkError::Edit("the document has another schema"),
            _ => SdkError::Edit("the document library refused"),
        })?;
        let Some(change) = change else { return Ok(Vec::new()) };
        // The gateway's own check: what it would refuse is refused here, while the user can still do something.
        Change::parse(change.bytes.clone()).map_err(|_| SdkError::Edit("too large to be saved at once"))?;
        let mut own = Vec::with_capacity(2);
        if open.is_new {
            let genesis = case::genesis(id.part);
            own.push(OwnChange { hash: genesis.hash, bytes: genesis.bytes.clone(), intent: Bytes::new() });
        }
        own.push(OwnChange { hash: change.hash, bytes: change.bytes, intent: intent::encode(edits) });
        Ok(own)
    }

    pub(super) async fn view(&mut self, id: DocumentId) -> Result<(DocumentView, Vec<Binding>), SdkError> {
        let open = self.open(id).await?;
        Ok((DocumentView::of(id.part, &open.document), open.bindings.clone()))
    }

    /// Takes in stored changes, when the document is open.
    pub(super) fn apply(&mut self, id: DocumentId, changes: &[(ChangeHash, Bytes)], bindings: &[Binding]) {
        let Some(open) = self.open.get_mut(&id) else { return };
        open.bindings.extend_from_slice(bindings);
        if let Err(error) = open.document.apply(changes.iter().map(|(_, bytes)| bytes)) {
            // It is loaded again from the store when somebody looks.
            warn!(document = %id, %error, "document dropped from memory");
            self.open.remove(&id);
        }
    }

    /// The store holds something else than memory: load again when somebody looks.
    pub(super) fn forget(&mut self, id: DocumentId) {
        self.open.remove(&id);
    }

    async fn open(&mut self, id: DocumentId) -> Result<&mut Open, SdkError> {
        self.clock += 1;
        let used = self.clock;
        if !self.open.contains_key(&id) {
            let opened = self.load(id).await?;
            self.make_room();
            self.open.insert(id, opened);
        }
        let open = self.open.get_mut(&id).expect("inserted above");
        open.used = used;
        Ok(open)
    }

    async fn load(&self, id: DocumentId) -> Result<Open, SdkError> {
        let stored = self.store.load(id).await?;
        let generation = stored.as_ref().map_or(0, |stored| stored.state.generation);
        let actor = case::actor(self.device, id, self.store_id, generation);
        let (chunks, bindings) = match stored {
            Some(LocalDocument { state: _, chunks, bindings }) => (chunks, bindings),
            None => (Vec::new(), Vec::new()),
        };
        if chunks.is_empty() {
            return Ok(Open { document: genesis(id, actor)?, is_new: true, bindings, used: 0 });
        }
        let document = load_chunks(id, &chunks, actor)?;
        Ok(Open { document, is_new: false, bindings, used: 0 })
    }

    fn make_room(&mut self) {
        if self.open.len() < OPEN_MAX {
            return;
        }
        let oldest = self.open.iter().min_by_key(|(_, open)| open.used).map(|(id, _)| *id);
        if let Some(oldest) = oldest {
            self.open.remove(&oldest);
        }
    }
}

fn genesis(id: DocumentId, actor: ActorId) -> Result<Document, SdkError> {
    Document::load(&case::genesis(id.part).bytes, actor).map_err(|_| damaged())
}

/// Everything the store holds, as one document. Loading all at once is many times faster than one by one.
fn load_chunks(id: DocumentId, chunks: &[Bytes], actor: ActorId) -> Result<Document, SdkError> {
    if let Ok(document) = Document::load(&concatenated(chunks), actor) {
        return Ok(document);
    }
    // Changes may have arrived before the snapshot they stand on: they wait inside the document for it.
    let (mut document, rest) = base_of(id, chunks, actor)?;
    if document.apply(rest).is_ok() {
        return Ok(document);
    }
    load_what_applies(id, chunks, actor)
}

/// A change that breaks the document library must not take the case away from the user: it is left out until the
/// gateway has marked it as quarantined.
fn load_what_applies(id: DocumentId, chunks: &[Bytes], actor: ActorId) -> Result<Document, SdkError> {
    let (mut document, rest) = base_of(id, chunks, actor)?;
    let mut taken: Vec<Bytes> = Vec::with_capacity(rest.len());
    for change in rest {
        if document.apply([change]).is_ok() {
            taken.push(change.clone());
            continue;
        }
        warn!(document = %id, "a change was left out: it cannot be applied");
        document = base_of(id, chunks, actor)?.0;
        document.apply(&taken).map_err(|_| damaged())?;
    }
    Ok(document)
}

/// The snapshot, when the first chunk is one, otherwise the genesis; and the changes after it.
fn base_of(id: DocumentId, chunks: &[Bytes], actor: ActorId) -> Result<(Document, &[Bytes]), SdkError> {
    if let Some((first, rest)) = chunks.split_first()
        && let Ok(document) = Document::load(first, actor)
    {
        return Ok((document, rest));
    }
    Ok((genesis(id, actor)?, chunks))
}

fn concatenated(chunks: &[Bytes]) -> BytesMut {
    let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
    all
}

fn damaged() -> SdkError {
    SdkError::Store(LocalStoreError::Damaged("a document"))
}

/// Documents kept in memory: a form, its neighbours, and the list a crew flips through (35–240 KB each).
const OPEN_MAX: usize = 48;
