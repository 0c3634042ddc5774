//! Work that comes too late: the device's access has ended. It is kept for a supervisor, and on the disk before the device
//! is told so: from then on the device may forget it.

use feldakte_core::{
    admission::Refusal,
    audit::{About, Act, Actor, Record},
    change::Change,
    ids::DocumentId,
    log::Entry,
};
use feldakte_proto::{Reason, Refused, encode_entry};
use tracing::warn;

use super::Parsed;
use crate::{
    gateway::Shared,
    ledgers::LedgerCell,
    requests::name_of,
    session::SessionError,
    speaker::{Author, Speaker},
    store::matters::{Matter, Review},
};

/// What became of a late push.
pub(super) struct Kept {
    /// What is told of each change that is not in the log.
    pub refused: Vec<Refused>,
    /// Every reason in it, for each change.
    pub reasons: Vec<Reason>,
    /// What it takes on the disk.
    pub bytes: u64,
}

/// Keeps what is a change and not in the log.
///
/// # Errors
/// When it could not be kept: nothing of it is answered.
pub(super) async fn keep(
    shared: &Shared,
    (speaker, by): (&Speaker, &Author),
    ledger: &LedgerCell,
    (document, parsed): (DocumentId, Parsed),
) -> Result<Kept, SessionError> {
    let (mut refused, mut late): (Vec<Refused>, Vec<Change>) = (Vec::new(), Vec::new());
    for (index, change) in parsed.into_iter().enumerate() {
        match change {
            Ok(change) if ledger.with(|ledger| ledger.knows(&change.hash)) => {}
            Ok(change) => {
                let refused_one = Refused::new(index, Refusal::NotPermitted);
                refused.push(Refused { reason: Reason::Quarantined, ..refused_one });
                late.push(change);
            }
            Err(error) => refused.push(Refused::new(index, error.into())),
        }
    }
    let reasons = refused.iter().map(|refused| refused.reason).collect();
    let bytes = match late.is_empty() {
        true => 0,
        false => keep_changes(shared, (speaker, by), document, &late).await?,
    };
    Ok(Kept { refused, reasons, bytes })
}

async fn keep_changes(
    shared: &Shared,
    (speaker, by): (&Speaker, &Author),
    document: DocumentId,
    late: &[Change],
) -> Result<u64, SessionError> {
    let count = u32::try_from(late.len()).expect("a push has at most limits::PUSH_CHANGES_MAX changes");
    let changes = late.iter().map(|change| change.bytes.clone()).collect();
    let content = encode_entry(&Entry { changes, ..Entry::new(document) });
    let device = by.principal.device;
    let named = [device.as_bytes().to_vec(), content.to_vec()].concat();
    let bytes = content.len() as u64;
    let review = Review {
        id: name_of(&named),
        log: speaker.log.clone(),
        who: by.principal.clone(),
        at_ms: shared.environment.now_ms(),
        matter: Matter::Evidence { document, changes: count },
        content: Some(content),
        decision: None,
    };
    shared.matters.keep(&review).await?;
    let record = Record::new(speaker.log.clone().into(), Actor::of(&by.principal), Act::EvidenceTaken);
    shared.audit.note(Record { count: count.into(), ..record.about(About::document(document)) });
    shared.metrics.evidence_kept.inc_by(count.into());
    warn!(%device, %document, changes = count, "late work is kept for a supervisor");
    Ok(bytes)
}
