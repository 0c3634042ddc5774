//! What late work does to its case, for the supervisor who decides on it: it is admitted and applied as it would be if he took
//! it in, and nothing of that is kept.

use bytes::Bytes;
use feldakte_core::{
    admission::{self, Refusal},
    case::{self, Authors, Deeds},
    crdt::Document,
    ids::{ActorId, ChangeHash, DocumentId, Part},
    limits,
    log::Entry,
};
use feldakte_proto::decode_entry;

use super::{AuthorityError, Shared};
use crate::{
    ledgers::LedgerError,
    permit::ReviewPermit,
    projector::{Base, Projection, project},
    snapshots::base_of,
    store::matters::{Matter, Review},
};

/// What late work would do, or has done.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Preview {
    /// Change by change, as many as are shown at once.
    pub shown: Vec<Deeds>,
    /// Changes that can be taken and are not shown: there are too many, or they say too much.
    pub omitted: usize,
    /// Changes that can be taken, and that no app could apply.
    pub unreadable: usize,
    /// Changes that cannot be taken, and why.
    pub refused: Vec<(ChangeHash, Refusal)>,
    /// Changes of the case that their author had not seen.
    pub unseen: usize,
}

impl Shared {
    /// What the late work does; `None` when there is none: it is another matter, or the case was shredded.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(crate) async fn preview(&self, permit: &ReviewPermit) -> Result<Option<Preview>, AuthorityError> {
        let Review { matter: Matter::Evidence { document, .. }, content: Some(content), .. } = permit.review() else {
            return Ok(None);
        };
        let (part, document) = (document.part, *document);
        let Entry { changes, .. } = decode_entry(content.clone()).map_err(LedgerError::from)?;
        let Admitted { entry, taken, refused } = self.admit_in_thought(permit.review(), document, changes).await?;
        let base = base_of(self, document).await?;
        let stored = self.store.entries_after(document, base.position).await?;
        let entries = stored.into_iter().map(|stored| decode_entry(stored.encoded)).chain(entry.map(Ok));
        let entries: Vec<Entry> = entries.collect::<Result<_, _>>().map_err(LedgerError::from)?;
        let base = if base.chunks.is_empty() { Base::default() } else { base.into() };
        let preview = self.environment.compute(move || look(part, project(base, &entries), &taken)).await;
        Ok(Some(Preview { refused, ..preview }))
    }

    /// Asks a copy of the ledger: the ledger itself hears of nothing.
    async fn admit_in_thought(
        &self,
        review: &Review,
        document: DocumentId,
        changes: Vec<Bytes>,
    ) -> Result<Admitted, AuthorityError> {
        let ledger = self.ledgers.open(&self.store, &self.metrics, &review.log, document).await?;
        let mut ledger = ledger.with(|ledger| ledger.clone());
        // Of another tenant's case its supervisor sees nothing, not even what stands beside the work.
        if !ledger.is_free() && *ledger.tenant() != review.log {
            return Err(AuthorityError::UnknownDocument);
        }
        let parsed = admission::parse(changes);
        let mut names: Vec<Option<ChangeHash>> =
            parsed.iter().map(|change| change.as_ref().ok().map(|change| change.hash)).collect();
        let admission = ledger.admit_evidence(&review.log, &review.who, parsed);
        let refused = admission.refused.into_iter();
        let refused = refused.filter_map(|(index, refusal)| Some((names[index].take()?, refusal))).collect();
        Ok(Admitted { entry: admission.entry, taken: names.into_iter().flatten().collect(), refused })
    }
}

/// What a copy of the ledger says.
struct Admitted {
    /// What would be written.
    entry: Option<Entry>,
    /// That, and what is in the log already.
    taken: Vec<ChangeHash>,
    refused: Vec<(ChangeHash, Refusal)>,
}

/// Pure computation, in the worst case some seconds of it.
fn look(part: Part, projection: Option<Projection>, taken: &[ChangeHash]) -> Preview {
    let unreadable = Preview { unreadable: taken.len(), ..Preview::default() };
    let Some(Projection { chunks, bindings, .. }) = projection else { return unreadable };
    let Ok(mut document) = Document::load(&chunks, READER) else { return unreadable };
    let sound: Vec<ChangeHash> = taken.iter().filter(|change| document.contains(**change)).copied().collect();
    let authors = Authors::of(&bindings);
    match case::deeds(part, &mut document, &authors, &sound, limits::EVIDENCE_SHOWN) {
        Ok(shown) => Preview {
            omitted: sound.len() - shown.len(),
            unreadable: taken.len() - sound.len(),
            refused: Vec::new(),
            unseen: case::unseen(&mut document, &sound),
            shown,
        },
        Err(_) => unreadable,
    }
}

/// Nobody writes under it.
const READER: ActorId = ActorId([0xff; 16]);
