//! Small conversions that several messages share, and refusals.

use bytes::Bytes;
use feldakte_core::{
    admission::Refusal,
    change::ChangeError,
    ids::{Cursor, DocumentId, Epoch, Position, UserId},
};

use crate::{error::DecodeError, pb};

/// One change of a push that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refused {
    /// Index in the push.
    pub index: u32,
    /// Why.
    pub reason: Reason,
    /// The sequence number or counter the gateway expected; 0 where that makes no sense.
    pub expected: u64,
}

/// Why a change was not taken, as it stands on the wire and in a device's store. Numbers are format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "each variant is documented at feldakte_core::admission::Refusal")]
pub enum Reason {
    Malformed = 1,
    TooLarge = 2,
    Checksum = 3,
    Compressed = 4,
    TooManyOperations = 5,
    CounterRange = 6,
    NotPermitted = 7,
    ForeignActor = 8,
    SequenceGap = 9,
    SequenceReused = 10,
    UnknownDependency = 11,
    DependencyRefused = 12,
    StartOp = 13,
    NotGenesis = 14,
    TooManyActors = 15,
    DocumentFull = 16,
    /// The gateway cannot read what it holds of the document. Not for good: push again later.
    DocumentDamaged = 17,
    /// Kept for a supervisor to decide, not taken into the log: the device's access has ended, and it may forget it.
    Quarantined = 18,
    /// The case's key was destroyed: it is gone for good, and the device may forget it.
    Shredded = 19,
}

impl Reason {
    const ALL: [Reason; 19] = [
        Reason::Malformed,
        Reason::TooLarge,
        Reason::Checksum,
        Reason::Compressed,
        Reason::TooManyOperations,
        Reason::CounterRange,
        Reason::NotPermitted,
        Reason::ForeignActor,
        Reason::SequenceGap,
        Reason::SequenceReused,
        Reason::UnknownDependency,
        Reason::DependencyRefused,
        Reason::StartOp,
        Reason::NotGenesis,
        Reason::TooManyActors,
        Reason::DocumentFull,
        Reason::DocumentDamaged,
        Reason::Quarantined,
        Reason::Shredded,
    ];

    /// Whether the device owes nothing of such a change any more: somebody has it, or nobody may.
    pub fn lets_forget(self) -> bool {
        matches!(self, Reason::Quarantined | Reason::Shredded)
    }

    /// The reason of that number.
    pub fn from_number(number: u32) -> Option<Reason> {
        Reason::ALL.into_iter().find(|reason| *reason as u32 == number)
    }
}

impl Refused {
    /// A refusal of the change at `index` of a push.
    pub fn new(index: usize, refusal: Refusal) -> Self {
        let (reason, expected) = match refusal {
            Refusal::Change(error) => (change_reason(error), 0),
            Refusal::NotPermitted => (Reason::NotPermitted, 0),
            Refusal::ForeignActor => (Reason::ForeignActor, 0),
            Refusal::SequenceGap { expected } => (Reason::SequenceGap, expected),
            Refusal::SequenceReused { expected } => (Reason::SequenceReused, expected),
            Refusal::UnknownDependency => (Reason::UnknownDependency, 0),
            Refusal::DependencyRefused => (Reason::DependencyRefused, 0),
            Refusal::StartOp { expected } => (Reason::StartOp, expected),
            Refusal::NotGenesis => (Reason::NotGenesis, 0),
            Refusal::TooManyActors => (Reason::TooManyActors, 0),
            Refusal::DocumentFull => (Reason::DocumentFull, 0),
        };
        let index = u32::try_from(index).expect("a push has at most limits::PUSH_CHANGES_MAX changes");
        Self { index, reason, expected }
    }
}

fn change_reason(error: ChangeError) -> Reason {
    match error {
        ChangeError::TooLarge => Reason::TooLarge,
        ChangeError::ChunkType(_) | ChangeError::CompressedColumn => Reason::Compressed,
        ChangeError::Checksum => Reason::Checksum,
        ChangeError::TooManyOperations => Reason::TooManyOperations,
        ChangeError::CounterRange => Reason::CounterRange,
        ChangeError::TooMany(_) | ChangeError::Malformed(_) => Reason::Malformed,
    }
}

impl From<&Refused> for pb::Refused {
    fn from(Refused { index, reason, expected }: &Refused) -> Self {
        Self { index: *index, reason: *reason as i32, expected: *expected }
    }
}

impl TryFrom<pb::Refused> for Refused {
    type Error = DecodeError;
    fn try_from(pb::Refused { index, reason, expected }: pb::Refused) -> Result<Self, DecodeError> {
        let reason = u32::try_from(reason).ok().and_then(Reason::from_number);
        Ok(Self { index, reason: reason.ok_or(DecodeError::UnknownValue("reason"))?, expected })
    }
}

pub(crate) fn at_most(what: &'static str, count: usize, max: usize) -> Result<(), DecodeError> {
    if count > max {
        return Err(DecodeError::TooMany { what, count, max });
    }
    Ok(())
}

pub(crate) fn cursor_to_pb(Cursor { epoch, position }: Cursor) -> pb::Cursor {
    pb::Cursor { epoch: Bytes::copy_from_slice(epoch.as_bytes()), position: position.0 }
}

pub(crate) fn cursor_from_pb(pb::Cursor { epoch, position }: pb::Cursor) -> Result<Cursor, DecodeError> {
    Ok(Cursor { epoch: Epoch::from_slice(&epoch)?, position: Position(position) })
}

pub(crate) fn document_to_pb(document: DocumentId) -> Bytes {
    Bytes::copy_from_slice(&document.to_bytes())
}

/// Empty stands for nobody.
pub(crate) fn user_from_pb(user: &[u8]) -> Result<Option<UserId>, DecodeError> {
    Ok((!user.is_empty()).then(|| UserId::from_slice(user)).transpose()?)
}

/// [`user_from_pb`] the other way.
pub(crate) fn user_to_pb(user: Option<UserId>) -> Bytes {
    user.map_or(Bytes::new(), |user| Bytes::copy_from_slice(user.as_bytes()))
}

pub(crate) fn documents_from_pb(documents: Vec<Bytes>) -> Result<Vec<DocumentId>, DecodeError> {
    documents.iter().map(|bytes| DocumentId::from_slice(bytes).map_err(DecodeError::from)).collect()
}

#[cfg(test)]
mod tests {
    use feldakte_core::{change::ChangeError as C, limits};

    use super::*;

    // Golden: on the wire and in the stores of devices; a number is never used again.
    const NUMBERS: [(u32, Reason, &str); 19] = [
        (1, Reason::Malformed, "REASON_MALFORMED"),
        (2, Reason::TooLarge, "REASON_TOO_LARGE"),
        (3, Reason::Checksum, "REASON_CHECKSUM"),
        (4, Reason::Compressed, "REASON_COMPRESSED"),
        (5, Reason::TooManyOperations, "REASON_TOO_MANY_OPERATIONS"),
        (6, Reason::CounterRange, "REASON_COUNTER_RANGE"),
        (7, Reason::NotPermitted, "REASON_NOT_PERMITTED"),
        (8, Reason::ForeignActor, "REASON_FOREIGN_ACTOR"),
        (9, Reason::SequenceGap, "REASON_SEQUENCE_GAP"),
        (10, Reason::SequenceReused, "REASON_SEQUENCE_REUSED"),
        (11, Reason::UnknownDependency, "REASON_UNKNOWN_DEPENDENCY"),
        (12, Reason::DependencyRefused, "REASON_DEPENDENCY_REFUSED"),
        (13, Reason::StartOp, "REASON_START_OP"),
        (14, Reason::NotGenesis, "REASON_NOT_GENESIS"),
        (15, Reason::TooManyActors, "REASON_TOO_MANY_ACTORS"),
        (16, Reason::DocumentFull, "REASON_DOCUMENT_FULL"),
        (17, Reason::DocumentDamaged, "REASON_DOCUMENT_DAMAGED"),
        (18, Reason::Quarantined, "REASON_QUARANTINED"),
        (19, Reason::Shredded, "REASON_SHREDDED"),
    ];

    #[test]
    fn numbers_of_reasons_are_for_ever_and_the_schemas() {
        for number in 0..300 {
            let golden = NUMBERS.iter().find(|(pinned, ..)| *pinned == number);
            assert_eq!(Reason::from_number(number), golden.map(|(_, reason, _)| *reason), "{number}");
            let schema = pb::Reason::try_from(number as i32).ok().filter(|_| number != 0);
            assert_eq!(schema.map(|reason| reason.as_str_name()), golden.map(|(.., name)| *name), "{number}");
        }
        NUMBERS.iter().for_each(|(number, reason, _)| assert_eq!(*reason as u32, *number));
    }

    #[test]
    fn every_refusal_has_its_reason() {
        let cases = [
            (Refusal::Change(C::TooLarge), Reason::TooLarge, 0),
            (Refusal::Change(C::ChunkType(2)), Reason::Compressed, 0),
            (Refusal::Change(C::CompressedColumn), Reason::Compressed, 0),
            (Refusal::Change(C::Checksum), Reason::Checksum, 0),
            (Refusal::Change(C::TooManyOperations), Reason::TooManyOperations, 0),
            (Refusal::Change(C::CounterRange), Reason::CounterRange, 0),
            (Refusal::Change(C::TooMany("dependencies")), Reason::Malformed, 0),
            (Refusal::Change(C::Malformed("cut short")), Reason::Malformed, 0),
            (Refusal::NotPermitted, Reason::NotPermitted, 0),
            (Refusal::ForeignActor, Reason::ForeignActor, 0),
            (Refusal::SequenceGap { expected: 4 }, Reason::SequenceGap, 4),
            (Refusal::SequenceReused { expected: 5 }, Reason::SequenceReused, 5),
            (Refusal::UnknownDependency, Reason::UnknownDependency, 0),
            (Refusal::DependencyRefused, Reason::DependencyRefused, 0),
            (Refusal::StartOp { expected: 6 }, Reason::StartOp, 6),
            (Refusal::NotGenesis, Reason::NotGenesis, 0),
            (Refusal::TooManyActors, Reason::TooManyActors, 0),
            (Refusal::DocumentFull, Reason::DocumentFull, 0),
        ];
        for (refusal, reason, expected) in cases {
            let refused = Refused::new(limits::PUSH_CHANGES_MAX - 1, refusal);
            assert_eq!(refused, Refused { index: 511, reason, expected }, "{refusal:?}");
            assert_eq!(Refused::try_from(pb::Refused::from(&refused)), Ok(refused));
        }
        // Not admission's to say but the gateway's: its store is damaged, it keeps what is not permitted, the case is gone.
        let of_gateway = [Reason::DocumentDamaged, Reason::Quarantined, Reason::Shredded];
        let reached = |reason| of_gateway.contains(&reason) || cases.iter().any(|(_, reached, _)| *reached == reason);
        assert!(Reason::ALL.into_iter().all(reached), "a reason that nothing leads to");
    }

    #[test]
    fn a_reason_we_do_not_know_is_refused() {
        for reason in [0, 20, -1, i32::MAX, i32::MIN] {
            let refused = pb::Refused { index: 0, reason, expected: 0 };
            assert_eq!(Refused::try_from(refused), Err(DecodeError::UnknownValue("reason")), "{reason}");
        }
    }
}
