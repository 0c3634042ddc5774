//! Reads an automerge change chunk before automerge sees a byte of it.
//!
//! The walk costs O(bytes) whatever the bytes claim: run lengths are added up against a limit and never
//! unrolled, checksum and hash are recomputed here, compressed chunks and columns are refused unread.
//! Format: <https://automerge.org/automerge-binary-format-spec/> (change chunks, column types).

use bytes::Bytes;
use sha2::{Digest, Sha256};

use self::reader::Reader;
use crate::{
    ids::{ActorId, ChangeHash},
    limits,
};

mod columns;
#[cfg(any(test, feature = "craft"))]
pub mod craft;
mod reader;

/// One change whose header, checksum and operation count have been checked.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Change {
    /// Its name, recomputed from the bytes.
    pub hash: ChangeHash,
    /// Who it says wrote it. A claim until admission has compared it with the session.
    pub actor: ActorId,
    /// Its number among this actor's changes, from 1.
    pub seq: u64,
    /// Counter of its first operation.
    pub start_op: u64,
    /// How many operations it holds.
    pub ops: u32,
    /// The heads it was written on.
    pub deps: Vec<ChangeHash>,
    /// The other actors its operations refer to, ascending.
    pub others: Vec<ActorId>,
    /// The whole chunk as it came.
    pub bytes: Bytes,
}

crate::hide_content! { Change { hash, actor, seq } }

/// Why bytes are not a change we take. No variant carries content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// Larger than [`limits::CHANGE_LEN_MAX`].
    #[error("the change is larger than {} bytes", limits::CHANGE_LEN_MAX)]
    TooLarge,
    /// A compressed, document or bundle chunk.
    #[error("chunk type {0} is not an uncompressed change")]
    ChunkType(u8),
    /// The bytes do not hash to what the chunk says.
    #[error("the checksum is wrong")]
    Checksum,
    /// A column carries the deflate bit.
    #[error("a column is compressed")]
    CompressedColumn,
    /// More operations than [`limits::CHANGE_OPS_MAX`], or runs that unroll to too many bytes.
    #[error("the change claims more operations than allowed")]
    TooManyOperations,
    /// More dependencies or actors than allowed.
    #[error("more {0} than allowed")]
    TooMany(&'static str),
    /// An operation counter at or beyond [`limits::OP_COUNTER_MAX`].
    #[error("an operation counter is out of range")]
    CounterRange,
    /// Not what the format says, or not what an honest writer writes.
    #[error("malformed: {0}")]
    Malformed(&'static str),
}

/// The four bytes every automerge chunk begins with.
pub const MAGIC: [u8; 4] = [0x85, 0x6f, 0x4a, 0x83];

const CHUNK_TYPE_CHANGE: u8 = 1;
const ACTOR_LEN: usize = 16;

/// Times beyond this, in seconds or even milliseconds, are no device's clock, however wrong.
const TIME_MAX: i64 = 1 << 48;

impl Change {
    /// Checks `bytes` as one change chunk and nothing else.
    ///
    /// # Errors
    /// The first thing that is wrong, cheapest check first.
    pub fn parse(bytes: Bytes) -> Result<Change, ChangeError> {
        if bytes.len() > limits::CHANGE_LEN_MAX {
            return Err(ChangeError::TooLarge);
        }
        let body = check_chunk(&bytes)?;
        let hash = body.hash;
        let mut reader = Reader::new(&bytes[body.start..]);
        let deps = read_deps(&mut reader)?;
        let actor = read_actor(&mut reader)?;
        let seq = reader.unsigned()?;
        let start_op = reader.unsigned()?;
        check_time(reader.signed()?)?;
        read_message(&mut reader)?;
        let others = read_other_actors(&mut reader, &actor)?;
        let ops = columns::walk(&mut reader, 1 + others.len())?;
        if seq == 0 || start_op == 0 {
            return Err(ChangeError::Malformed("seq and start_op count from 1"));
        }
        if seq >= limits::OP_COUNTER_MAX || start_op.saturating_add(u64::from(ops)) >= limits::OP_COUNTER_MAX {
            return Err(ChangeError::CounterRange);
        }
        Ok(Change { hash, actor, seq, start_op, ops, deps, others, bytes })
    }

    /// Counter of the last operation; one before `start_op` when the change is empty.
    pub fn max_op(&self) -> u64 {
        self.start_op + u64::from(self.ops) - 1
    }
}

struct Body {
    start: usize,
    hash: ChangeHash,
}

fn check_chunk(bytes: &[u8]) -> Result<Body, ChangeError> {
    let mut reader = Reader::new(bytes);
    if reader.take(4)? != MAGIC {
        return Err(ChangeError::Malformed("not an automerge chunk"));
    }
    let checksum = reader.take(4)?;
    let hashed_from = reader.offset();
    let chunk_type = reader.byte()?;
    if chunk_type != CHUNK_TYPE_CHANGE {
        return Err(ChangeError::ChunkType(chunk_type));
    }
    let len = reader.unsigned()?;
    if len != reader.remaining() as u64 {
        return Err(ChangeError::Malformed("the chunk's length is not its own"));
    }
    let hash: [u8; 32] = Sha256::digest(&bytes[hashed_from..]).into();
    if hash[..4] != *checksum {
        return Err(ChangeError::Checksum);
    }
    Ok(Body { start: reader.offset(), hash: ChangeHash(hash) })
}

fn read_deps(reader: &mut Reader<'_>) -> Result<Vec<ChangeHash>, ChangeError> {
    let count = reader.length(32)?;
    if count > limits::CHANGE_DEPS_MAX {
        return Err(ChangeError::TooMany("dependencies"));
    }
    let mut deps = Vec::with_capacity(count);
    for _ in 0..count {
        let hash = ChangeHash(reader.take(32)?.try_into().expect("32 bytes were taken"));
        if deps.contains(&hash) {
            return Err(ChangeError::Malformed("a dependency stands twice"));
        }
        deps.push(hash);
    }
    Ok(deps)
}

fn read_actor(reader: &mut Reader<'_>) -> Result<ActorId, ChangeError> {
    let len = reader.length(1)?;
    if len != ACTOR_LEN {
        return Err(ChangeError::Malformed("an actor is 16 bytes"));
    }
    Ok(ActorId(reader.take(ACTOR_LEN)?.try_into().expect("16 bytes were taken")))
}

/// The time is never used for order, but the library computes differences of times and overflows at the extremes.
fn check_time(time: i64) -> Result<(), ChangeError> {
    match (-TIME_MAX..=TIME_MAX).contains(&time) {
        true => Ok(()),
        false => Err(ChangeError::Malformed("the time is out of range")),
    }
}

fn read_message(reader: &mut Reader<'_>) -> Result<(), ChangeError> {
    let len = reader.length(1)?;
    if len > limits::CHANGE_MESSAGE_MAX {
        return Err(ChangeError::TooMany("message bytes"));
    }
    std::str::from_utf8(reader.take(len)?).map_err(|_| ChangeError::Malformed("the message is not UTF-8"))?;
    Ok(())
}

/// The other actors the change refers to. They come in ascending order, none twice.
fn read_other_actors(reader: &mut Reader<'_>, own: &ActorId) -> Result<Vec<ActorId>, ChangeError> {
    let count = reader.length(1 + ACTOR_LEN)?;
    if count > limits::ACTORS_MAX {
        return Err(ChangeError::TooMany("actors"));
    }
    let mut actors: Vec<ActorId> = Vec::with_capacity(count);
    for _ in 0..count {
        let actor = read_actor(reader)?;
        if actor == *own || actors.last().is_some_and(|last| *last >= actor) {
            return Err(ChangeError::Malformed("other actors must ascend"));
        }
        actors.push(actor);
    }
    Ok(actors)
}

#[cfg(test)]
pub(crate) mod tests;
