//! Proof that a reader may see a document, as the store knew it when it was asked: take it, use it, drop it.

use feldakte_core::ids::DocumentId;

use crate::store::{Reader, SharedStore, StoreError};

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
