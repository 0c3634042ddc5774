//! A push on its way into the log: its document's ledger, admission, and a place in the sequencer's queue.

use std::sync::Arc;

use feldakte_core::{
    admission::{self, Ledger, Opening},
    ids::{DocumentId, Part, TenantId},
    limits,
};
use feldakte_proto::{Push, Reason, Refused, encode_entry};
use tracing::{error, warn};

use crate::{
    audit::Trail,
    gateway::Shared,
    ledgers::{LedgerCell, LedgerError},
    mailbox::Mailbox,
    quotas::Cost,
    sequencer::{Author, Submission},
    session::SessionError,
    speaker::{self, Speaker},
    store::StoreError,
};

mod evidence;

/// A push that is under way; its answer arrives in the mailbox.
#[derive(Debug)]
pub struct Submitted {
    /// What it takes of the session's share.
    pub bytes: u32,
    /// What it takes of the device's shares.
    pub cost: Cost,
    /// Why parts of it are refused.
    pub reasons: Vec<Reason>,
}

/// Admits what may enter of the push and hands it to the sequencer, in the order of admission.
///
/// # Errors
/// When the store fails or the gateway is going down. A document that cannot be read refuses its own pushes only.
pub async fn submit(
    shared: &Arc<Shared>,
    speaker: &Speaker,
    (trail, mailbox): (&Arc<Trail>, &Arc<Mailbox>),
    push: Push,
) -> Result<Submitted, SessionError> {
    let Push { push, document, changes, user } = push;
    let by = &speaker.author(user).ok_or(SessionError::Unexpected("work of a user who has not signed in"))?;
    let mut cost = Cost {
        changes: changes.len() as u64,
        bytes: changes.iter().map(|change| change.len() as u64).sum(),
        stored: 0,
    };
    let bytes = cost.bytes + cost.changes * CHANGE_OVERHEAD;
    let bytes = u32::try_from(bytes.min(limits::SEQUENCER_BYTES as u64)).expect("the limit is far below 4 GiB");
    let room = shared.room.clone().acquire_many_owned(bytes).await.map_err(|_| SessionError::Draining)?;
    let ledger = open_or_refuse(shared, &speaker.log, document).await?;
    if let Ok(ledger) = &ledger
        && ledger.with(|ledger| speaker.is_late(shared, by, ledger))
    {
        let kept = evidence::keep(shared, (speaker, by), ledger, (document, changes)).await?;
        cost.stored = kept.bytes;
        let slot = shared.submissions.reserve().await.map_err(|_| SessionError::Draining)?;
        let (trail, mailbox) = (trail.clone(), mailbox.clone());
        let author = Author::Session { trail, user: by.principal.user, mailbox, push, refused: kept.refused };
        let (tenant, readers, room) = (speaker.log.clone(), Vec::new(), Some(room));
        slot.send(Submission { tenant, entry: None, readers, ledger: None, room, author });
        return Ok(Submitted { bytes, cost, reasons: kept.reasons });
    }
    let opening = match &ledger {
        Ok(ledger) if ledger.with(|ledger| ledger.is_free()) => opening(shared, (speaker, by), document).await?,
        _ => Opening::Free,
    };
    let slot = shared.submissions.reserve().await.map_err(|_| SessionError::Draining)?;
    let answer = |refused: Vec<Refused>| {
        let (trail, mailbox) = (trail.clone(), mailbox.clone());
        Author::Session { trail, user: by.principal.user, mailbox, push, refused }
    };
    let (tenant, room) = (speaker.log.clone(), Some(room));
    let ledger = match ledger {
        Ok(ledger) => ledger,
        Err(reason) => {
            let refused = (0..).take(changes.len()).map(|index| Refused { index, reason, expected: 0 }).collect();
            let readers = Vec::new();
            slot.send(Submission { tenant, entry: None, readers, ledger: None, room, author: answer(refused) });
            return Ok(Submitted { bytes, cost, reasons: vec![reason] });
        }
    };
    let parsed = admission::parse(changes);
    let held = Some(ledger.clone());
    // Submitted under the ledger's lock: the order of admission is the order of the log.
    let reasons = ledger.with(|ledger| {
        let actors_before = ledger.actors();
        let admitted = ledger.admit(speaker.rules(shared, by, ledger), &by.principal, opening, parsed);
        watch_actors(shared, ledger, actors_before);
        shared.metrics.changes_known.inc_by(admitted.duplicates as u64);
        let refused: Vec<Refused> =
            admitted.refused.iter().map(|(index, refusal)| Refused::new(*index, *refusal)).collect();
        let reasons: Vec<Reason> = refused.iter().map(|refused| refused.reason).collect();
        let entry = admitted.entry.map(|entry| {
            let encoded = encode_entry(&entry);
            cost.stored = encoded.len() as u64;
            (entry, encoded)
        });
        let readers = ledger.grants().iter().map(|grant| grant.subject.clone()).collect();
        slot.send(Submission { tenant, entry, readers, ledger: held, room, author: answer(refused) });
        reasons
    });
    for reason in &reasons {
        shared.metrics.changes_refused.get_or_create(&vec![("reason", format!("{reason:?}"))]).inc();
    }
    Ok(Submitted { bytes, cost, reasons })
}

/// The document's ledger; or why nothing of it can be taken, which is nobody else's trouble.
async fn open_or_refuse(
    shared: &Shared,
    log: &TenantId,
    document: DocumentId,
) -> Result<Result<Arc<LedgerCell>, Reason>, SessionError> {
    match shared.ledgers.open(&shared.store, &shared.metrics, log, document).await {
        Ok(ledger) => Ok(Ok(ledger)),
        Err(LedgerError::Store(StoreError::Shredded)) => Ok(Err(Reason::Shredded)),
        Err(LedgerError::Store(error)) if !matches!(error, StoreError::Damaged(_)) => Err(error.into()),
        Err(error) => {
            error!(%document, %error, "the document cannot be read; its pushes are refused");
            shared.metrics.damaged.inc();
            Ok(Err(Reason::DocumentDamaged))
        }
    }
}

/// Says it once, when the document comes to have that many: long before [`limits::ACTORS_MAX`] shuts out its next device.
fn watch_actors(shared: &Shared, ledger: &Ledger, before: usize) {
    let actors = ledger.actors();
    if before < limits::ACTORS_ALARM && actors >= limits::ACTORS_ALARM {
        warn!(document = %ledger.document(), actors, "the document has many actors");
        shared.metrics.documents_crowded.inc();
    }
}

/// Whoever knows a case's id could otherwise open a part that its own crew has not written yet, and shut it out.
async fn opening(
    shared: &Shared,
    (speaker, by): (&Speaker, &speaker::Author),
    document: DocumentId,
) -> Result<Opening, SessionError> {
    let mut opening = Opening::Free;
    for part in Part::ALL.into_iter().filter(|part| *part != document.part) {
        let sibling = DocumentId { case: document.case, part };
        let Ok(ledger) = open_or_refuse(shared, &speaker.log, sibling).await? else { continue };
        let permit_on = |ledger: &Ledger| ledger.permit(speaker.rules(shared, by, ledger), &by.principal);
        let (is_free, permit) = ledger.with(|ledger| (ledger.is_free(), permit_on(ledger)));
        if permit.is_some_and(|permit| permit.may_write()) {
            return Ok(Opening::Free);
        }
        if !is_free {
            opening = Opening::Taken;
        }
    }
    Ok(opening)
}

/// What a change takes in memory besides its bytes.
const CHANGE_OVERHEAD: u64 = 64;
