//! The documents this device has open: loaded from the store on demand, dropped after any failure.

use std::collections::{BTreeMap, BTreeSet};

use bytes::{Bytes, BytesMut};
use feldakte_core::{
    access::Principal,
    case::{self, Authors, DocumentView, Edit, Event, Outcome, Path},
    change::Change,
    crdt::{CrdtError, Document, Edits, NewChange, Packing, Stamp},
    ids::{ActorId, CaseId, ChangeHash, DocumentId, Epoch, Part, TenantId, UserId},
    limits,
    log::Binding,
};
use tracing::warn;

use crate::{
    error::SdkError,
    intent,
    store::{DocumentEdit, DocumentState, LocalDocument, LocalStoreError, OwnChange, SharedLocalStore},
};

/// Open documents.
pub(super) struct Documents {
    principal: Principal,
    log: TenantId,
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
    /// Every actor under which this store has written it, the present one last. Their bindings never come: a device is
    /// answered where others are sent the entry.
    own: Vec<ActorId>,
    used: u64,
}

/// How changes are made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Making {
    /// The device's clock and how wrong it is known to be.
    pub(super) stamp: Stamp,
    /// How often the same was made before.
    pub(super) again: u32,
}

impl Open {
    fn make_change(&mut self, edits: &[Edit], stamp: Stamp) -> Result<Option<NewChange>, SdkError> {
        let apply = |target: &mut Edits<'_>| edits.iter().try_for_each(|edit| edit.apply(target));
        let change = self.document.edit(stamp, apply).map_err(|error| match error {
            CrdtError::NoContainer => SdkError::Edit("the document has another schema"),
            CrdtError::NotANumber => SdkError::Edit("a decimal is not a finite number"),
            CrdtError::NestedRecord => SdkError::Edit("a record holds a record"),
            _ => SdkError::Edit("the document library refused"),
        })?;
        if let Some(NewChange { hash: _, bytes }) = &change {
            // The gateway's own check: what it would refuse is refused here, while the user can still do something.
            Change::parse(bytes.clone()).map_err(|_| SdkError::Edit("a single value is too large"))?;
        }
        Ok(change)
    }
}

impl Documents {
    pub(super) fn new(principal: Principal, log: TenantId, store_id: Epoch, store: SharedLocalStore) -> Self {
        Self { principal, log, store_id, store, open: BTreeMap::new(), clock: 0 }
    }

    /// Makes one change per document and stores them, all or nothing; gives back what was stored. On any failure the
    /// documents in memory are dropped, so that they never hold what the store does not.
    pub(super) async fn edit(
        &mut self,
        case: CaseId,
        edits: &BTreeMap<Part, Vec<Edit>>,
        stamp: Stamp,
    ) -> Result<Vec<DocumentEdit>, SdkError> {
        let saved = self.make_and_save(case, edits, stamp).await;
        for part in edits.keys() {
            let id = DocumentId { case, part: *part };
            match &saved {
                Err(_) => drop(self.open.remove(&id)),
                Ok(saved) if saved.iter().any(|edit| edit.document == id) => {
                    self.stored(id);
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
        stamp: Stamp,
    ) -> Result<Vec<DocumentEdit>, SdkError> {
        let mut made = Vec::with_capacity(edits.len());
        for (part, edits) in edits {
            let document = DocumentId { case, part: *part };
            let changes = self.make_changes(document, edits, Making { stamp, again: 0 }).await?;
            if !changes.is_empty() {
                made.push(DocumentEdit { document, changes });
            }
        }
        if !made.is_empty() {
            self.store.save_edits(&made).await?;
        }
        Ok(made)
    }

    /// Makes what the edits come to: one change, or several when it would be too large for one. Whoever stores them
    /// says so with [`Documents::stored`]; whoever does not must [`Documents::forget`] the document.
    pub(super) async fn make_changes(
        &mut self,
        id: DocumentId,
        edits: &[Edit],
        making: Making,
    ) -> Result<Vec<OwnChange>, SdkError> {
        // Whoever wrote on what he does not see would write under an actor whose history he does not know.
        if self.store.document(id).await?.is_some_and(|state| state.revoked) || self.store.is_hidden(id).await? {
            return Err(SdkError::AccessEnded);
        }
        let open = self.open(id).await?;
        if !case::may_write(case::min_schema(&mut open.document)) {
            return Err(SdkError::AppTooOld);
        }
        let mut own = Vec::with_capacity(2);
        let mut portions = case::Portions::of(edits);
        while let Some(edits) = portions.next(&open.document) {
            let Some(change) = open.make_change(&edits, making.stamp)? else { continue };
            if open.is_new && own.is_empty() {
                let genesis = case::genesis(id.part);
                own.push(OwnChange { hash: genesis.hash, bytes: genesis.bytes.clone(), intent: Bytes::new() });
            }
            let intent = intent::encode(&edits, making.again);
            own.push(OwnChange { hash: change.hash, bytes: change.bytes, intent });
        }
        Ok(own)
    }

    /// What was made of the document is in the store.
    pub(super) fn stored(&mut self, id: DocumentId) {
        self.open.entry(id).and_modify(|open| open.is_new = false);
    }

    /// The document as it is, and its certified authors.
    pub(super) async fn view(&mut self, id: DocumentId) -> Result<(DocumentView, Vec<Binding>), SdkError> {
        let (open, authors) = self.open_with_authors(id).await?;
        Ok((DocumentView::of(id.part, &mut open.document, &authors), open.bindings.clone()))
    }

    /// Whether the document is here, and all that these changes stand on.
    pub(super) async fn may_apply(&mut self, id: DocumentId, changes: &[Bytes]) -> Result<bool, SdkError> {
        let is_absent = |state: DocumentState| state.revoked || state.bootstrap_pending;
        if self.store.document(id).await?.is_none_or(is_absent) || self.store.is_hidden(id).await? {
            return Ok(false);
        }
        let document = &mut self.open(id).await?.document;
        let mut coming = BTreeSet::new();
        for change in changes {
            let Ok(change) = Change::parse(change.clone()) else { return Ok(false) };
            if !change.deps.iter().all(|dep| coming.contains(dep) || document.contains(*dep)) {
                return Ok(false);
            }
            coming.insert(change.hash);
        }
        Ok(true)
    }

    /// What the document's events come to.
    pub(super) async fn outcome(&mut self, id: DocumentId) -> Result<Outcome, SdkError> {
        let (open, authors) = self.open_with_authors(id).await?;
        let view = DocumentView::of(id.part, &mut open.document, &authors);
        Ok(view.outcome(&mut open.document, &authors))
    }

    /// The document as a signature names it.
    pub(super) async fn signed(&mut self, id: DocumentId, heads: &[ChangeHash]) -> Result<DocumentView, SdkError> {
        let (open, authors) = self.open_with_authors(id).await?;
        Ok(DocumentView::signed(id.part, &mut open.document, &authors, heads))
    }

    /// The event that signs the document as it is.
    pub(super) async fn sign(&mut self, id: DocumentId) -> Result<Event, SdkError> {
        Ok(case::sign(&mut self.open(id).await?.document, id.part))
    }

    /// The one value of a text fact; `None` when it is not there, or people disagree.
    pub(super) async fn text_fact(&mut self, id: DocumentId, name: &str) -> Result<Option<String>, SdkError> {
        Ok(case::fact::text_fact(&mut self.open(id).await?.document, name))
    }

    /// Takes in stored changes, when the document is open. Gives the paths that have changed; `None` when the document
    /// has to be read again.
    pub(super) fn apply(
        &mut self,
        id: DocumentId,
        changes: &[(ChangeHash, Bytes)],
        bindings: &[Binding],
    ) -> Option<Vec<Path>> {
        let open = self.open.get_mut(&id)?;
        open.bindings.extend_from_slice(bindings);
        match case::apply_observed(&mut open.document, changes.iter().map(|(_, bytes)| bytes)) {
            Ok(paths) => Some(paths),
            Err(error) => {
                // It is loaded again from the store when somebody looks.
                warn!(document = %id, %error, "document dropped from memory");
                self.open.remove(&id);
                None
            }
        }
    }

    async fn open_with_authors(&mut self, id: DocumentId) -> Result<(&mut Open, Authors), SdkError> {
        let (principal, log) = (self.principal.clone(), self.log.clone());
        let open = self.open(id).await?;
        let mut authors = Authors::of(&open.bindings);
        open.own.iter().for_each(|actor| authors.add_own(*actor, &principal, &log));
        Ok((open, authors))
    }

    /// The store holds something else than memory: load again when somebody looks.
    pub(super) fn forget(&mut self, id: DocumentId) {
        self.open.remove(&id);
    }

    /// Nothing in memory is what its reader may see any more.
    pub(super) fn forget_all(&mut self) {
        self.open.clear();
    }

    /// Somebody else reads and writes.
    pub(super) fn set_user(&mut self, user: Option<UserId>) {
        self.principal.user = user;
        self.forget_all();
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
        let generation = match &stored {
            Some(stored) => stored.state.generation,
            None => self.store.first_generation(id).await?,
        };
        let own: Vec<ActorId> = (0..=generation)
            .map(|generation| {
                case::user_actor(self.principal.device, self.principal.user, id, self.store_id, generation)
            })
            .collect();
        let actor = own[own.len() - 1];
        let (chunks, bindings, is_settled) = match stored {
            Some(LocalDocument { state, chunks, bindings }) => (chunks, bindings, state.local == 0),
            None => (Vec::new(), Vec::new(), false),
        };
        if chunks.is_empty() {
            return Ok(Open { document: genesis(id, actor)?, is_new: true, bindings, own, used: 0 });
        }
        let mut document = load_chunks(id, &chunks, actor)?;
        if is_settled && chunks.len() >= COMPACT_AT {
            self.compact(id, &mut document).await;
        }
        Ok(Open { document, is_new: false, bindings, own, used: 0 })
    }

    /// Puts one snapshot in the place of many changes, so that the next opening is quick. Not done is no harm.
    async fn compact(&self, id: DocumentId, document: &mut Document) {
        let Some((saved, covered)) = save_verified(document) else {
            warn!(document = %id, "not compacted: what was saved is not what was loaded");
            return;
        };
        if let Err(error) = self.store.compact(id, &saved, &covered).await {
            warn!(document = %id, %error, "not compacted");
        }
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

/// The document as one chunk with the names of its changes; `None` when it would not load again as it is.
fn save_verified(document: &mut Document) -> Option<(Vec<u8>, Vec<ChangeHash>)> {
    let saved = document.save(Packing::Deflated);
    let mut loaded = Document::load(&saved, case::GENESIS_ACTOR).ok()?;
    let is_same = loaded.heads() == document.heads() && loaded.save(Packing::Deflated) == saved;
    is_same.then(|| (saved, loaded.change_hashes()))
}

fn concatenated(chunks: &[Bytes]) -> BytesMut {
    let mut all = BytesMut::with_capacity(chunks.iter().map(Bytes::len).sum());
    chunks.iter().for_each(|chunk| all.extend_from_slice(chunk));
    all
}

fn damaged() -> SdkError {
    SdkError::Store(LocalStoreError::Damaged("a document"))
}

/// Stored chunks of a document from which on opening it writes a snapshot: as in the gateway's projector.
const COMPACT_AT: usize = limits::SNAPSHOT_EVERY;
/// Documents kept in memory: a form, its neighbours, and the list a crew flips through (35–240 KB each).
const OPEN_MAX: usize = 48;
