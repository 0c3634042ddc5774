//! A signature over where a chain stood: without the key nobody can make the rows before it anew.

use super::{Chain, Head};

/// Says that a chain had this head at this time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// Which chain.
    pub chain: Chain,
    /// Its last row then.
    pub head: Head,
    /// When, milliseconds since 1970.
    pub when_ms: i64,
    /// ECDSA on P-256 with SHA-256 over [`Checkpoint::message`], in ASN.1 form.
    pub signature: Vec<u8>,
}

impl Checkpoint {
    /// What is signed: domain, chain name with its length, row, hash, time.
    pub fn message(chain: &Chain, head: Head, when_ms: i64) -> Vec<u8> {
        let name = chain.name().as_bytes();
        let mut message = DOMAIN.to_vec();
        message.push(u8::try_from(name.len()).expect("slugs have at most 63 bytes"));
        message.extend(name);
        message.extend(head.seq.to_be_bytes());
        message.extend(head.hash);
        message.extend(when_ms.to_be_bytes());
        message
    }

    /// What this one's signature has to be over.
    pub fn signed_message(&self) -> Vec<u8> {
        Self::message(&self.chain, self.head, self.when_ms)
    }
}

/// Tells these signatures from any others.
const DOMAIN: &[u8] = b"feldakte audit checkpoint 1\0";
