//! The proof that a chain is whole, row by row in constant memory, and what is wrong where it is not.

use std::iter::Peekable;

use super::{Chain, Checkpoint, Head, Row, chain::hash_of};

/// What was found whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Whole {
    /// Where the chain ends. Compare it with one written down elsewhere: rows after the last checkpoint can be cut off,
    /// and the checkpoints with them.
    pub head: Head,
    /// The last row under a signature; 0 when there is none.
    pub signed_up_to: u64,
}

/// The first thing that is wrong with a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The row is not what was written.
    #[error("row {seq} was changed")]
    Changed {
        /// Which.
        seq: u64,
    },
    /// The row is not there, though later ones are.
    #[error("row {seq} was removed")]
    Removed {
        /// Which.
        seq: u64,
    },
    /// The row was put in, and those after it moved on.
    #[error("row {seq} was inserted")]
    Inserted {
        /// Which.
        seq: u64,
    },
    /// A second row claims the same place.
    #[error("row {seq} is there more than once")]
    Duplicate {
        /// Which.
        seq: u64,
    },
    /// The row was written later in the chain: rows before it were removed, or it was moved.
    #[error("row {seq} holds what was written as row {written_as}: rows were removed or reordered")]
    Moved {
        /// Where it stands.
        seq: u64,
        /// Where it was written.
        written_as: u64,
    },
    /// The chain holds together and is not the one that was signed: rows up to here were made anew.
    #[error("rows {} to {seq} are not those that were signed", .after + 1)]
    Rewritten {
        /// The last row that a checkpoint proves.
        after: u64,
        /// The row under the checkpoint that does not match.
        seq: u64,
    },
    /// A checkpoint's signature is not by this key, or the checkpoint was changed.
    #[error("the signature of the checkpoint at row {seq} is wrong")]
    Signature {
        /// Its row.
        seq: u64,
    },
    /// The chain ends below a checkpoint.
    #[error(
        "row {first_missing} and those after it were cut off; the checkpoint at row {signed} proves that they were there"
    )]
    CutOff {
        /// The first row that is not there.
        first_missing: u64,
        /// The row under the checkpoint.
        signed: u64,
    },
}

impl Fault {
    /// The first row that is bad.
    pub fn first_bad_row(&self) -> u64 {
        match *self {
            Fault::Changed { seq }
            | Fault::Removed { seq }
            | Fault::Inserted { seq }
            | Fault::Duplicate { seq }
            | Fault::Moved { seq, .. }
            | Fault::Signature { seq } => seq,
            Fault::Rewritten { after, .. } => after + 1,
            Fault::CutOff { first_missing, .. } => first_missing,
        }
    }
}

/// Checks the rows of one chain as they come, by ascending place.
pub struct Verifier<'k, C: Iterator<Item = Checkpoint>> {
    chain: Chain,
    checkpoints: Peekable<C>,
    is_signed: &'k SignatureCheck<'k>,
    whole: Whole,
}

/// Whether a signature (second) over a message (first) is by the audit key.
pub type SignatureCheck<'k> = dyn Fn(&[u8], &[u8]) -> bool + Send + Sync + 'k;

/// Checks a whole chain: rows by ascending place, its checkpoints by ascending row.
///
/// # Errors
/// The first fault.
pub fn verify(
    chain: Chain,
    rows: impl IntoIterator<Item = Row>,
    checkpoints: impl IntoIterator<Item = Checkpoint>,
    is_signed: &SignatureCheck<'_>,
) -> Result<Whole, Fault> {
    let mut verifier = Verifier::new(chain, checkpoints, is_signed);
    rows.into_iter().try_for_each(|row| verifier.handle_row(&row))?;
    verifier.finish()
}

impl<'k, C: Iterator<Item = Checkpoint>> Verifier<'k, C> {
    /// Nothing seen yet.
    pub fn new(chain: Chain, checkpoints: impl IntoIterator<IntoIter = C>, is_signed: &'k SignatureCheck<'k>) -> Self {
        let checkpoints = checkpoints.into_iter().peekable();
        Self { chain, checkpoints, is_signed, whole: Whole { head: Head::START, signed_up_to: 0 } }
    }

    /// Takes the next row.
    ///
    /// # Errors
    /// When it is not the one that was written next.
    pub fn handle_row(&mut self, row: &Row) -> Result<(), Fault> {
        let Head { seq: last, hash } = self.whole.head;
        let seq = last + 1;
        if row.seq > seq {
            return Err(Fault::Removed { seq });
        }
        if row.seq < seq {
            return Err(Fault::Duplicate { seq: row.seq });
        }
        if self.hash_as(row, seq) != row.hash {
            return Err(self.fault_of(row));
        }
        if row.previous != hash {
            // It stands on another row than the one before it, which was exchanged together with its hash.
            return Err(Fault::Changed { seq: last.max(1) });
        }
        self.whole.head = Head { seq, hash: row.hash };
        while let Some(checkpoint) = self.checkpoints.next_if(|checkpoint| checkpoint.head.seq <= seq) {
            self.handle_checkpoint(&checkpoint)?;
        }
        Ok(())
    }

    /// No row follows.
    ///
    /// # Errors
    /// When a checkpoint says that there were more.
    pub fn finish(mut self) -> Result<Whole, Fault> {
        let Some(checkpoint) = self.checkpoints.next() else { return Ok(self.whole) };
        self.check_signature(&checkpoint)?;
        Err(Fault::CutOff { first_missing: self.whole.head.seq + 1, signed: checkpoint.head.seq })
    }

    /// How far the chain has been found whole.
    pub fn whole(&self) -> Whole {
        self.whole
    }

    fn handle_checkpoint(&mut self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        self.check_signature(checkpoint)?;
        if checkpoint.head != self.whole.head {
            return Err(Fault::Rewritten { after: self.whole.signed_up_to, seq: checkpoint.head.seq });
        }
        self.whole.signed_up_to = checkpoint.head.seq;
        Ok(())
    }

    fn check_signature(&self, checkpoint: &Checkpoint) -> Result<(), Fault> {
        let is_ours = checkpoint.chain == self.chain;
        if is_ours && (self.is_signed)(&checkpoint.signed_message(), &checkpoint.signature) {
            return Ok(());
        }
        Err(Fault::Signature { seq: checkpoint.head.seq })
    }

    /// What became of a row that is not what its hash says: a row that fits elsewhere was moved, not changed.
    fn fault_of(&self, row: &Row) -> Fault {
        let seq = row.seq;
        let nearby = seq.saturating_sub(MOVED_MAX).max(1)..=seq.saturating_add(MOVED_MAX);
        match nearby.into_iter().find(|place| self.hash_as(row, *place) == row.hash) {
            Some(written_as) if written_as < seq => Fault::Inserted { seq: written_as },
            Some(written_as) => Fault::Moved { seq, written_as },
            None => Fault::Changed { seq },
        }
    }

    fn hash_as(&self, row: &Row, seq: u64) -> [u8; 32] {
        hash_of(&self.chain, seq, &row.previous, &row.record)
    }
}

/// How far from its place a row is looked for. Beyond it the row counts as changed, which names the same row.
const MOVED_MAX: u64 = 64;
