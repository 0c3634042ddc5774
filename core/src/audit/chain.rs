//! The chain: each row's hash covers its place, its record and the hash of the row before.

use sha2::{Digest, Sha256};

use super::{Chain, Record};

/// A record in its place, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Row {
    /// Gap-free from 1 in each chain.
    pub seq: u64,
    /// The hash of the row before; zeros before the first. It could be worked out, and is kept so that a check can tell
    /// the row that was changed from the one after it.
    pub previous: [u8; 32],
    /// What [`Record::encode`] gave.
    pub record: Vec<u8>,
    /// `SHA-256(domain ‖ chain ‖ seq ‖ previous ‖ record)`, names and records with their length before them.
    pub hash: [u8; 32],
}

/// Where a chain ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// The last row, 0 for an empty chain.
    pub seq: u64,
    /// Its hash, zeros for an empty chain.
    pub hash: [u8; 32],
}

impl Head {
    /// Before the first row.
    pub const START: Head = Head { seq: 0, hash: [0; 32] };

    /// The row that holds `record` next, and the head after it.
    pub fn append(self, record: &Record) -> (Row, Head) {
        let (seq, encoded) = (self.seq + 1, record.encode());
        let hash = hash_of(&record.chain, seq, &self.hash, &encoded);
        (Row { seq, previous: self.hash, record: encoded, hash }, Head { seq, hash })
    }
}

/// The hash that a record has at this place.
pub(super) fn hash_of(chain: &Chain, seq: u64, previous: &[u8; 32], record: &[u8]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(DOMAIN);
    hash.update(len_of(chain.name().as_bytes()));
    hash.update(chain.name());
    hash.update(seq.to_be_bytes());
    hash.update(previous);
    hash.update(len_of(record));
    hash.update(record);
    hash.finalize().into()
}

fn len_of(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes()
}

/// Tells these hashes from any others.
const DOMAIN: &[u8] = b"feldakte audit row 1\0";
