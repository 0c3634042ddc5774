//! What is compressed on the session stream: the changes of a push, and entries of one document that are sent together.
//!
//! Nothing is unpacked that does not say how long it is, or says that it is longer than allowed. And each document is packed
//! for itself: the length of what is compressed tells what is repeated in it, so that nobody who writes one document may
//! find another one in the same compression (CRIME, CVE-2012-4929). Who may write a document may read it.

use std::{
    collections::BTreeMap,
    io::{self, Read},
};

use bytes::Bytes;
use feldakte_core::limits;
use prost::Message;

use crate::{error::DecodeError, grpc::SERVER_FRAME_LEN_MAX, pb, shape};

/// The push with its changes packed, where that makes it smaller.
pub(crate) fn push(push: pb::Push) -> pb::Push {
    let chunks = pb::Chunks { changes: push.changes };
    match pack(&chunks) {
        Some(packed) => pb::Push { changes: Vec::new(), packed: Some(packed), ..push },
        None => pb::Push { changes: chunks.changes, ..push },
    }
}

/// The changes of a push, however they came.
///
/// # Errors
/// When they came both ways, or do not unpack to what they say.
pub(crate) fn unpacked_changes(plain: Vec<Bytes>, packed: Option<pb::Packed>) -> Result<Vec<Bytes>, DecodeError> {
    let Some(packed) = packed else { return Ok(plain) };
    if !plain.is_empty() {
        return Err(DecodeError::Packing("changes"));
    }
    let raw = unpacked(packed, "changes", limits::FRAME_LEN_MAX)?;
    let pb::Chunks { changes } = shape::decode(raw, "changes", &shape::CHUNKS)?;
    Ok(changes)
}

/// The frame with the entries of each document packed, where that makes it smaller.
pub(crate) fn changes(changes: pb::Changes) -> pb::Changes {
    let mut runs = BTreeMap::<_, pb::Run>::new();
    for entry in changes.entries {
        runs.entry(document_of(&entry.entry)).or_default().entries.push(entry);
    }
    let (mut entries, mut packed) = (Vec::new(), Vec::new());
    for (document, run) in runs {
        match document.and_then(|_| pack(&run)) {
            Some(run) => packed.push(run),
            None => entries.extend(run.entries),
        }
    }
    entries.sort_by_key(|entry| entry.position);
    pb::Changes { entries, packed, ..changes }
}

/// All entries of a frame, however they came, by position.
///
/// # Errors
/// When there are too many, or they do not unpack to what they say.
pub(crate) fn unpacked_entries(
    mut entries: Vec<pb::Positioned>,
    packed: Vec<pb::Packed>,
) -> Result<Vec<pb::Positioned>, DecodeError> {
    if packed.is_empty() {
        return Ok(entries);
    }
    let mut room = SERVER_FRAME_LEN_MAX;
    for run in packed {
        let raw = unpacked(run, "entries", room)?;
        room -= raw.len();
        let pb::Run { entries: run } = shape::decode(raw, "entries", &shape::RUN)?;
        entries.extend(run);
        let (count, max) = (entries.len(), shape::FIELDS_MAX);
        if count > max {
            return Err(DecodeError::TooMany { what: "entries", count, max });
        }
    }
    entries.sort_by_key(|entry| entry.position);
    Ok(entries)
}

/// Packed, if that pays: lone changes are as long as before, and cost a hundred microseconds.
fn pack(message: &impl Message) -> Option<pb::Packed> {
    let len = message.encoded_len();
    if len < PACKED_LEN_MIN {
        return None;
    }
    let raw_len = u32::try_from(len).ok()?;
    let packed = zstd::bulk::compress(&message.encode_to_vec(), ZSTD_LEVEL).expect("memory into memory cannot fail");
    (packed.len() < len).then(|| pb::Packed { raw_len, packed: packed.into() })
}

fn unpacked(pb::Packed { raw_len, packed }: pb::Packed, what: &'static str, max: usize) -> Result<Bytes, DecodeError> {
    let len = raw_len as usize;
    if len > max {
        return Err(DecodeError::TooLarge { what, len, max });
    }
    match unpack(&packed, len, ZSTD_WINDOW_LOG_MAX) {
        Ok(raw) if raw.len() == len => Ok(raw.into()),
        _ => Err(DecodeError::Packing(what)),
    }
}

/// Unpacks until the end, or one byte more than claimed. Memory follows what is really there, not the claim.
pub(crate) fn unpack(packed: &[u8], len: usize, window_log_max: u32) -> io::Result<Vec<u8>> {
    let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
    decoder.window_log_max(window_log_max)?;
    let mut raw = Vec::new();
    decoder.take(len as u64 + 1).read_to_end(&mut raw)?;
    Ok(raw)
}

/// The document of an encoded entry: its first field, as long as there are entries.
fn document_of(entry: &[u8]) -> Option<[u8; DOCUMENT_LEN]> {
    let [key, len, rest @ ..] = entry else { return None };
    let is_document = (*key, usize::from(*len)) == (DOCUMENT_KEY, DOCUMENT_LEN);
    is_document.then(|| rest.first_chunk().copied()).flatten()
}

/// Shorter ones gain nothing: of single changes, which repeat nothing, 5 to 13 % (tests/README.md).
const PACKED_LEN_MIN: usize = 1 << 10;
/// As small as by level 3, and quicker.
const ZSTD_LEVEL: i32 = 1;
/// The unpacker's window: 2 MiB, as long as the longest frame.
const ZSTD_WINDOW_LOG_MAX: u32 = 21;
/// Field 1, with a length.
const DOCUMENT_KEY: u8 = 1 << 3 | 2;
/// A case's id and a part.
const DOCUMENT_LEN: usize = 17;

#[cfg(test)]
mod tests;
