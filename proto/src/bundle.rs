//! Snapshots travel in bundles: many small documents share one compression dictionary.
//!
//! Unpacking is bounded before it begins: a bundle names its length, and a bundle that holds more is damaged.

use bytes::Bytes;
use feldakte_core::{
    ids::{DocumentId, Position},
    limits,
    log::{Binding, Quarantine},
};
use prost::Message;

use crate::{convert, error::DecodeError, frame::frame_of, packed::unpack, pb, shape};

/// A document as of a position.
#[cfg_attr(test, derive(Debug))]
#[derive(Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Which document.
    pub document: DocumentId,
    /// Every entry up to here is contained.
    pub position: Position,
    /// Automerge chunks: a document chunk, then changes after it.
    pub chunks: Bytes,
    /// All actors of the document so far.
    pub bindings: Vec<Binding>,
    /// Changes that are durable but not to be applied.
    pub quarantined: Vec<Quarantine>,
}

feldakte_core::hide_content! { Snapshot { document, position } }

/// What a bundle held.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Unbundled {
    /// Documents.
    pub snapshots: Vec<Snapshot>,
    /// Asked for, but not readable for this device.
    pub unavailable: Vec<DocumentId>,
}

/// A bundle that cannot be opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnapshotError {
    /// Claims to unpack to more than allowed.
    #[error("a bundle of {len} bytes unpacked, limit {max}")]
    TooLarge {
        /// What it claims.
        len: usize,
        /// What is allowed.
        max: usize,
    },
    /// The compressed bytes are damaged, or unpack to another length than claimed.
    #[error("a bundle does not unpack to what it says")]
    Damaged,
    /// The content is not what it should be.
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

/// Collects snapshots into bundle frames.
#[derive(Debug, Default)]
pub struct Bundler {
    pending: pb::Snapshots,
    pending_len: usize,
}

impl Bundler {
    /// Adds a snapshot; returns a frame (header included) when the bundle before it is full.
    pub fn push(&mut self, snapshot: &Snapshot) -> Option<Bytes> {
        let Snapshot { document, position, chunks, bindings, quarantined } = snapshot;
        let full = self.pending_len + chunks.len() > limits::BUNDLE_TARGET;
        let frame = if full { self.finish() } else { None };
        self.pending_len += chunks.len();
        self.pending.snapshots.push(pb::Snapshot {
            document: convert::document_to_pb(*document),
            position: position.0,
            chunks: chunks.clone(),
            bindings: bindings.iter().map(pb::Binding::from).collect(),
            quarantined: quarantined.iter().map(pb::Quarantine::from).collect(),
        });
        frame
    }

    /// Adds a document that was asked for and may not be read.
    pub fn push_unavailable(&mut self, document: DocumentId) {
        self.pending.unavailable.push(convert::document_to_pb(document));
    }

    /// The last frame; `None` when nothing is pending.
    pub fn finish(&mut self) -> Option<Bytes> {
        let pending = std::mem::take(&mut self.pending);
        self.pending_len = 0;
        if pending.snapshots.is_empty() && pending.unavailable.is_empty() {
            return None;
        }
        let raw = pending.encode_to_vec();
        let raw_len = u32::try_from(raw.len()).expect("limits keep bundles far below 4 GiB");
        let packed = zstd::bulk::compress(&raw, ZSTD_LEVEL).expect("compressing memory into memory cannot fail");
        Some(frame_of(&pb::Bundle { raw_len, packed: packed.into() }))
    }
}

/// Opens the content of one frame of a snapshot stream.
///
/// # Errors
/// When it claims too much, is damaged or malformed.
pub fn decode_bundle(frame: Bytes) -> Result<Unbundled, SnapshotError> {
    let pb::Bundle { raw_len, packed } = shape::decode(frame, "bundle", &shape::BUNDLE)?;
    let (len, max) = (raw_len as usize, limits::BUNDLE_RAW_MAX);
    if len > max {
        return Err(SnapshotError::TooLarge { len, max });
    }
    let raw = unpack(&packed, len, ZSTD_WINDOW_LOG_MAX).map_err(|_| SnapshotError::Damaged)?;
    if raw.len() != len {
        return Err(SnapshotError::Damaged);
    }
    let pb::Snapshots { snapshots, unavailable } = shape::decode(raw.into(), "snapshots", &shape::SNAPSHOTS)?;
    Ok(Unbundled {
        snapshots: snapshots.into_iter().map(Snapshot::try_from).collect::<Result<_, _>>()?,
        unavailable: convert::documents_from_pb(unavailable)?,
    })
}

impl TryFrom<pb::Snapshot> for Snapshot {
    type Error = DecodeError;
    fn try_from(
        pb::Snapshot { document, position, chunks, bindings, quarantined }: pb::Snapshot,
    ) -> Result<Self, DecodeError> {
        Ok(Self {
            document: DocumentId::from_slice(&document)?,
            position: Position(position),
            chunks,
            bindings: bindings.into_iter().map(Binding::try_from).collect::<Result<_, _>>()?,
            quarantined: quarantined.into_iter().map(Quarantine::try_from).collect::<Result<_, _>>()?,
        })
    }
}

/// Level 3 packs 1,000 small cases to less than a third at about 5 ms per MiB; higher levels gain 3 %.
const ZSTD_LEVEL: i32 = 3;

/// The unpacker's window: 8 MiB, the least the format asks every reader for. Level 3 writes at most 2 MiB.
const ZSTD_WINDOW_LOG_MAX: u32 = 23;

#[cfg(test)]
mod tests;
