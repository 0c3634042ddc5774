//! Proof that somebody may see content, as it was known when it was asked for: take it, use it, drop it.

use feldakte_core::{
    audit::{About, Act, Actor, Record},
    ids::{DocumentId, OperatorName},
};

use crate::{
    audit::{Audit, AuditError},
    store::{
        Reader, SharedStore, StoreError,
        matters::{Matter, Review},
    },
};

/// Whoever holds one may show what waits for a supervisor to him: it is on the disk that he has read it. Neither `Clone` nor
/// made elsewhere.
#[derive(Debug)]
pub struct ReviewPermit {
    review: Review,
}

impl ReviewPermit {
    /// Records that the supervisor reads it. Whether he may is for the control plane, which knows him.
    ///
    /// # Errors
    /// When the audit log cannot be written: nobody sees it unrecorded.
    pub async fn record(audit: &Audit, supervisor: &OperatorName, review: Review) -> Result<Self, AuditError> {
        let about = match &review.matter {
            Matter::Evidence { document, .. } => About::document(*document),
            Matter::BreakGlass { case, .. } => About::case(*case),
        };
        let record = Record::new(review.log.clone().into(), Actor::Operator(supervisor.clone()), Act::Read);
        let about = About { device: Some(review.who.device), user: review.who.user, ..about };
        audit.record(record.about(about)).await?;
        Ok(Self { review })
    }

    /// What he may see.
    pub fn review(&self) -> &Review {
        &self.review
    }
}

/// Whoever holds one may send the document's bytes to the reader it was asked for. Neither `Clone` nor made elsewhere.
#[derive(Debug)]
pub struct ReadPermit {
    document: DocumentId,
}

impl ReadPermit {
    /// Asks the store; `None` when the reader holds no grant, or its role may not have such documents.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn ask(
        store: &SharedStore,
        reader: &Reader,
        document: DocumentId,
        now_ms: i64,
    ) -> Result<Option<ReadPermit>, StoreError> {
        let may = reader.parts.contains(document.part) && store.may_read(reader, document, now_ms).await?;
        Ok(may.then_some(ReadPermit { document }))
    }

    /// The document it is for.
    pub fn document(&self) -> DocumentId {
        self.document
    }
}
