//! Makes change chunks byte by byte, honest or hostile, always with a valid checksum. For tests and fuzz targets.
//!
//! Nothing here is checked: what an attacker can write, this can write.

use bytes::Bytes;
use sha2::{Digest, Sha256};

use super::MAGIC;
use crate::ids::{ActorId, ChangeHash};

pub use super::columns::{
    ACTION, EXPAND, INSERT, KEY_ACTOR, KEY_COUNTER, KEY_STRING, MARK_NAME, OBJECT_ACTOR, OBJECT_COUNTER,
    PREDECESSOR_ACTOR, PREDECESSOR_COUNTER, PREDECESSOR_GROUP, VALUE, VALUE_META,
};

/// Chunk type of a whole document.
pub const CHUNK_DOCUMENT: u8 = 0;
/// Chunk type of an uncompressed change.
pub const CHUNK_CHANGE: u8 = 1;
/// Chunk type of a deflated change.
pub const CHUNK_COMPRESSED: u8 = 2;
/// Chunk type of a bundle of changes.
pub const CHUNK_BUNDLE: u8 = 3;

/// The parts of a change, each free to be wrong.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The changes it was written on.
    pub deps: Vec<ChangeHash>,
    /// Who wrote it; 16 bytes when honest.
    pub actor: Vec<u8>,
    /// Its number among the actor's changes.
    pub seq: u64,
    /// Counter of its first operation.
    pub start_op: u64,
    /// Seconds since 1970-01-01 UTC.
    pub time: i64,
    /// Message bytes; UTF-8 when honest.
    pub message: Vec<u8>,
    /// Actors that operations refer to by index, from 1.
    pub others: Vec<Vec<u8>>,
    /// Column specification and raw data.
    pub columns: Vec<(u32, Vec<u8>)>,
    /// What follows the columns.
    pub extra: Vec<u8>,
}

impl Draft {
    /// The first change of `actor` in an empty document; without operations.
    pub fn new(actor: ActorId) -> Self {
        Self {
            deps: Vec::new(),
            actor: actor.0.to_vec(),
            seq: 1,
            start_op: 1,
            time: 0,
            message: Vec::new(),
            others: Vec::new(),
            columns: Vec::new(),
            extra: Vec::new(),
        }
    }

    /// The same change, written on `deps` as the actor's `seq`-th with operations from `start_op`.
    pub fn at(mut self, deps: impl Into<Vec<ChangeHash>>, seq: u64, start_op: u64) -> Self {
        (self.deps, self.seq, self.start_op) = (deps.into(), seq, start_op);
        self
    }

    /// The same change with `count` operations that each set root key `key` to null.
    pub fn with_puts(mut self, key: &str, count: u64) -> Self {
        self.columns = match count {
            0 => Vec::new(),
            _ => vec![
                (KEY_STRING, run(count, string(key))),
                (INSERT, unsigned(count)),
                (ACTION, run(count, unsigned(ACTION_SET))),
                (VALUE_META, run(count, unsigned(0))),
                (PREDECESSOR_GROUP, run(count, unsigned(0))),
            ],
        };
        self
    }

    /// The same change with one operation that sets root key `key` to a text.
    pub fn with_text(mut self, key: &str, text: &str) -> Self {
        const TEXT: u64 = 6;
        self = self.with_puts(key, 1);
        let meta = run(1, unsigned((text.len() as u64) << 4 | TEXT));
        self.with_column(VALUE_META, meta).with_column(VALUE, text.as_bytes().to_vec())
    }

    /// The same change with `depth` maps, each inside the one before it, the first at root key `key`.
    pub fn with_nested_maps(mut self, key: &str, depth: u64) -> Self {
        assert!(depth >= 2, "one map is not nested");
        let mut parents = nulls(1);
        parents.extend(literals((self.start_op..).take(depth as usize - 1).map(unsigned)));
        self.columns = vec![
            (OBJECT_ACTOR, [nulls(1), run(depth - 1, unsigned(0))].concat()),
            (OBJECT_COUNTER, parents),
            (KEY_STRING, run(depth, string(key))),
            (INSERT, unsigned(depth)),
            (ACTION, run(depth, unsigned(ACTION_MAKE_MAP))),
            (VALUE_META, run(depth, unsigned(0))),
            (PREDECESSOR_GROUP, run(depth, unsigned(0))),
        ];
        self
    }

    /// The same change with that column replaced or added in its place.
    pub fn with_column(mut self, spec: u32, data: Vec<u8>) -> Self {
        self.columns.retain(|(present, _)| *present != spec);
        self.columns.push((spec, data));
        self.columns.sort_by_key(|(spec, _)| *spec);
        self
    }

    /// The same change without that column.
    pub fn without_column(mut self, spec: u32) -> Self {
        self.columns.retain(|(present, _)| *present != spec);
        self
    }

    /// The body of the chunk: everything after type and length.
    pub fn body(&self) -> Vec<u8> {
        let mut body = unsigned(self.deps.len() as u64);
        self.deps.iter().for_each(|dep| body.extend(dep.0));
        body.extend(prefixed(&self.actor));
        body.extend(unsigned(self.seq));
        body.extend(unsigned(self.start_op));
        body.extend(signed(self.time));
        body.extend(prefixed(&self.message));
        body.extend(unsigned(self.others.len() as u64));
        self.others.iter().for_each(|actor| body.extend(prefixed(actor)));
        body.extend(unsigned(self.columns.len() as u64));
        for (spec, data) in &self.columns {
            body.extend(unsigned(u64::from(*spec)));
            body.extend(unsigned(data.len() as u64));
        }
        self.columns.iter().for_each(|(_, data)| body.extend(data));
        body.extend(&self.extra);
        body
    }

    /// The whole chunk with a valid checksum.
    pub fn chunk(&self) -> Bytes {
        chunk(CHUNK_CHANGE, &self.body())
    }
}

/// Action number of an operation that makes a map.
pub const ACTION_MAKE_MAP: u64 = 0;
/// Action number of an operation that sets a value.
pub const ACTION_SET: u64 = 1;

/// A chunk of that type around `body`, with a valid checksum.
pub fn chunk(chunk_type: u8, body: &[u8]) -> Bytes {
    let mut hashed = vec![chunk_type];
    hashed.extend(unsigned(body.len() as u64));
    hashed.extend(body);
    seal(&hashed)
}

/// A chunk whose checksum is made to fit, whatever stands in `hashed` (type, length and body).
pub fn seal(hashed: &[u8]) -> Bytes {
    let digest = Sha256::digest(hashed);
    [&MAGIC, &digest[..4], hashed].concat().into()
}

/// The chunk with its checksum recomputed: what an attacker does after editing `bytes`.
pub fn reseal(bytes: &[u8]) -> Bytes {
    seal(bytes.get(HEADER_LEN..).unwrap_or_default())
}

/// Magic and checksum: what stands before the hashed bytes.
pub const HEADER_LEN: usize = 8;

/// Unsigned LEB128.
pub fn unsigned(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if value == 0 {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Signed LEB128.
pub fn signed(mut value: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        let low = (value & 0x7f) as u8;
        value >>= 7;
        if (value == 0 && low & 0x40 == 0) || (value == -1 && low & 0x40 != 0) {
            bytes.push(low);
            return bytes;
        }
        bytes.push(low | 0x80);
    }
}

/// Text as a key column holds it.
pub fn string(text: &str) -> Vec<u8> {
    prefixed(text.as_bytes())
}

/// `count` rows of one encoded value. Wraps as the format does: a count beyond `i64::MAX` reads as literals.
pub fn run(count: u64, value: Vec<u8>) -> Vec<u8> {
    [signed(count as i64), value].concat()
}

/// One row for each encoded value.
pub fn literals(values: impl IntoIterator<Item = Vec<u8>>) -> Vec<u8> {
    let values: Vec<_> = values.into_iter().collect();
    [signed(-(values.len() as i64)), values.concat()].concat()
}

/// `count` rows without a value.
pub fn nulls(count: u64) -> Vec<u8> {
    [signed(0), unsigned(count)].concat()
}

fn prefixed(bytes: &[u8]) -> Vec<u8> {
    [unsigned(bytes.len() as u64).as_slice(), bytes].concat()
}
