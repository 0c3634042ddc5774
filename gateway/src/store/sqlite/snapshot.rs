//! A snapshot as a row.

use bytes::Bytes;
use feldakte_core::{
    ids::{DocumentId, Position},
    log::Entry,
};
use sha2::{Digest, Sha256};

use crate::store::{StoreError, StoredSnapshot};

/// The columns of table `snapshot` after the document's.
#[cfg_attr(test, derive(Debug))]
pub(super) struct SnapshotRow {
    pub position: i64,
    pub digest: Vec<u8>,
    pub actors: Vec<u8>,
    pub chunks: Vec<u8>,
}

feldakte_core::hide_content! { SnapshotRow { position } }

impl SnapshotRow {
    /// The row of a document's snapshot.
    pub fn new(document: DocumentId, snapshot: &StoredSnapshot) -> Self {
        let StoredSnapshot { position, chunks, bindings, quarantined } = snapshot;
        let mut about = Entry::new(document);
        about.bindings = bindings.clone();
        about.quarantined = quarantined.clone();
        let actors = feldakte_proto::encode_entry(&about);
        let position = i64::try_from(position.0).expect("a position fits");
        let digest = digest(document, position, &actors, chunks);
        Self { position, digest, actors: actors.into(), chunks: chunks.to_vec() }
    }

    /// The snapshot, once it is certain that it is what was written.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub fn verify(self, document: DocumentId) -> Result<StoredSnapshot, StoreError> {
        let Self { position, digest: stored, actors, chunks } = self;
        if stored != digest(document, position, &actors, &chunks) {
            return Err(StoreError::Damaged(WHAT));
        }
        let about = feldakte_proto::decode_entry(actors.into()).map_err(|_| StoreError::Damaged(WHAT))?;
        let Entry { bindings, quarantined, .. } = about;
        let position = Position(u64::try_from(position).map_err(|_| StoreError::Damaged(WHAT))?);
        Ok(StoredSnapshot { position, chunks: Bytes::from(chunks), bindings, quarantined })
    }
}

/// Over all that a snapshot says, with lengths, so that no byte can move from one part to the other.
fn digest(document: DocumentId, position: i64, actors: &[u8], chunks: &[u8]) -> Vec<u8> {
    let hash = Sha256::new()
        .chain_update(document.to_bytes())
        .chain_update(position.to_be_bytes())
        .chain_update((actors.len() as u64).to_be_bytes())
        .chain_update(actors)
        .chain_update(chunks);
    hash.finalize().to_vec()
}

const WHAT: &str = "a snapshot";
