//! Content under a case's key: `version | document | nonce | AES-256-GCM(content) | tag`.
//!
//! Version and document stand in the open, so that a row says whose key it needs. They, the row's kind and its position
//! are additional data: a row that is moved, or put in the place of another, does not open. The version is a byte that
//! begins no protobuf message, so that rows in the open and sealed ones can stand in one table.

use std::fmt;

use aws_lc_rs::aead::{AES_256_GCM, Aad, NONCE_LEN, Nonce, RandomizedNonceKey};
use bytes::Bytes;
use feldakte_core::ids::{DocumentId, Position};

use crate::{
    keys::{CaseKey, KeyError},
    store::StoreError,
};

/// Seals and opens the content of one case.
pub struct CaseCipher(RandomizedNonceKey);

/// What a row is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Kind {
    /// An entry of the log.
    Entry = 1,
    /// A snapshot.
    Snapshot = 2,
    /// What waits for a supervisor.
    Review = 3,
}

/// Where content stands: what it is bound to.
#[derive(Debug, Clone, Copy)]
pub(in crate::store) struct Place {
    pub kind: Kind,
    pub document: DocumentId,
    pub position: Position,
}

impl CaseCipher {
    /// Under that key. Nonces are random: one key seals far fewer rows than the 2^32 that random nonces of 96 bits allow
    /// (NIST SP 800-38D, 8.3).
    ///
    /// # Errors
    /// [`KeyError::Damaged`] never in practice: keys have the cipher's length.
    pub fn new(key: &CaseKey) -> Result<Self, KeyError> {
        RandomizedNonceKey::new(&AES_256_GCM, key.as_bytes()).map(Self).map_err(|_| KeyError::Damaged)
    }

    /// Seals content for its place.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub(in crate::store) fn seal(&self, place: Place, content: &[u8]) -> Result<Bytes, StoreError> {
        let mut row = Vec::with_capacity(HEAD_LEN + content.len() + TAG_LEN);
        row.push(VERSION);
        row.extend_from_slice(&place.document.to_bytes());
        row.extend_from_slice(&[0; NONCE_LEN]);
        row.extend_from_slice(content);
        let (head, body) = row.split_at_mut(HEAD_LEN);
        let sealed = self.0.seal_in_place_separate_tag(place.context(), body);
        let (nonce, tag) = sealed.map_err(|_| StoreError::Unavailable("the system has no randomness".into()))?;
        head[HEAD_LEN - NONCE_LEN..].copy_from_slice(nonce.as_ref());
        row.extend_from_slice(tag.as_ref());
        Ok(row.into())
    }

    /// The content, once it is certain that it was sealed for this place.
    ///
    /// # Errors
    /// [`StoreError::Damaged`].
    pub(in crate::store) fn open(&self, place: Place, row: &[u8]) -> Result<Bytes, StoreError> {
        let damaged = || StoreError::Damaged("sealed content");
        let (head, sealed) = row.split_at_checked(HEAD_LEN).ok_or_else(damaged)?;
        let nonce = Nonce::try_assume_unique_for_key(&head[HEAD_LEN - NONCE_LEN..]).map_err(|_| damaged())?;
        let mut content = sealed.to_vec();
        let len = self.0.open_in_place(nonce, place.context(), &mut content).map_err(|_| damaged())?.len();
        content.truncate(len);
        Ok(content.into())
    }
}

impl fmt::Debug for CaseCipher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CaseCipher(redacted)")
    }
}

impl Place {
    fn context(self) -> Aad<[u8; CONTEXT_LEN]> {
        let mut context = [0; CONTEXT_LEN];
        context[0] = VERSION;
        context[1] = self.kind as u8;
        context[2..10].copy_from_slice(&self.position.0.to_be_bytes());
        context[10..].copy_from_slice(&self.document.to_bytes());
        Aad::from(context)
    }
}

/// The document of a sealed row; `None` for a row in the open.
///
/// # Errors
/// [`StoreError::Damaged`].
pub(in crate::store) fn document_of(row: &[u8]) -> Result<Option<DocumentId>, StoreError> {
    let Some((&VERSION, rest)) = row.split_first() else { return Ok(None) };
    let document = rest.get(..DocumentId::LEN).and_then(|bytes| DocumentId::from_slice(bytes).ok());
    document.map(Some).ok_or(StoreError::Damaged("sealed content"))
}

/// Field 0 of wire type 1: no protobuf message begins like that.
const VERSION: u8 = 0x01;
const HEAD_LEN: usize = 1 + DocumentId::LEN + NONCE_LEN;
const TAG_LEN: usize = 16;
const CONTEXT_LEN: usize = 1 + 1 + 8 + DocumentId::LEN;

#[cfg(test)]
mod tests {
    use feldakte_core::ids::{CaseId, Part};
    use uuid::Uuid;

    use super::*;

    fn place(kind: Kind, part: Part, position: u64) -> Place {
        let case = CaseId(Uuid::from_u128(7));
        Place { kind, document: DocumentId { case, part }, position: Position(position) }
    }

    #[test]
    fn content_opens_in_its_own_place_alone() {
        let cipher = CaseCipher::new(&CaseKey::generate().expect("randomness")).expect("a cipher");
        let own = place(Kind::Entry, Part::Clinical, 9);
        let row = cipher.seal(own, b"Muessigbrodt").expect("sealed");
        assert_eq!(cipher.open(own, &row).expect("opened"), "Muessigbrodt");
        assert_eq!(document_of(&row).expect("a row"), Some(own.document));
        assert!(!row.windows(6).any(|window| window == b"Muessi"));
        let others = [
            place(Kind::Snapshot, Part::Clinical, 9),
            place(Kind::Entry, Part::Identity, 9),
            place(Kind::Entry, Part::Clinical, 8),
        ];
        for other in others {
            assert!(cipher.open(other, &row).is_err(), "{other:?}");
        }
        let other = CaseCipher::new(&CaseKey::generate().expect("randomness")).expect("a cipher");
        assert!(other.open(own, &row).is_err());
    }

    #[test]
    fn no_byte_can_be_changed_or_cut_off() {
        let cipher = CaseCipher::new(&CaseKey::generate().expect("randomness")).expect("a cipher");
        let own = place(Kind::Entry, Part::Clinical, 9);
        let row = cipher.seal(own, b"content").expect("sealed");
        for at in HEAD_LEN - NONCE_LEN..row.len() {
            let mut changed = row.to_vec();
            changed[at] ^= 1;
            assert!(cipher.open(own, &changed).is_err(), "byte {at}");
        }
        for len in 0..row.len() {
            assert!(cipher.open(own, &row[..len]).is_err(), "{len} bytes");
        }
    }

    #[test]
    fn rows_in_the_open_are_known_as_such() {
        let document = place(Kind::Entry, Part::Clinical, 1).document;
        let open = feldakte_proto::encode_entry(&feldakte_core::log::Entry::new(document));
        assert_eq!(document_of(&open).expect("in the open"), None);
        assert_eq!(document_of(b"").expect("nothing"), None);
        assert!(document_of(&[VERSION, 1, 2]).is_err());
    }
}
