//! A push on its way into the log: its document's ledger, admission, and a place in the sequencer's queue.

use std::sync::Arc;

use feldakte_core::{
    admission::{self, Ledger, Opening},
    change::{Change, ChangeError},
    ids::{DocumentId, Part, TenantId},
    lane::Lane,
    limits,
};
use feldakte_proto::{Push, Reason, Refused, encode_entry};
use tokio::sync::{OwnedSemaphorePermit, mpsc};
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

/// Where a push comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin<'p> {
    /// The session's.
    pub trail: &'p Arc<Trail>,
    /// Where the answer goes.
    pub mailbox: &'p Arc<Mailbox>,
    /// What it came on: readers are sent what came on the urgent one before all else.
    pub lane: Lane,
}

/// Admits what may enter of the push and hands it to the sequencer, in the order of admission.
///
/// # Errors
/// When the store fails or the gateway is going down. A document that cannot be read refuses its own pushes only.
pub async fn submit(
    shared: &Arc<Shared>,
    speaker: &Speaker,
    origin: Origin<'_>,
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
    let under_way = UnderWay { shared, speaker, by, origin, push, room };
    let ledger = match open_or_refuse(shared, &speaker.log, document).await? {
        Ok(ledger) => ledger,
        Err(reason) => {
            let refused = (0..).take(changes.len()).map(|index| Refused { index, reason, expected: 0 }).collect();
            under_way.answer(refused).await?;
            return Ok(Submitted { bytes, cost, reasons: vec![reason] });
        }
    };
    let opening = match ledger.with(|ledger| ledger.is_free()) {
        true => opening(shared, (speaker, by), document).await?,
        false => Opening::Free,
    };
    let parsed = admission::parse(changes);
    let slot = shared.submissions.reserve().await.map_err(|_| SessionError::Draining)?;
    let reasons = match under_way.admit(slot, &ledger, opening, parsed, &mut cost) {
        Ok(reasons) => reasons,
        Err(Late { under_way, parsed }) => {
            let kept = evidence::keep(shared, (speaker, by), &ledger, (document, parsed)).await?;
            cost.stored = kept.bytes;
            under_way.answer(kept.refused).await?;
            return Ok(Submitted { bytes, cost, reasons: kept.reasons });
        }
    };
    for reason in &reasons {
        shared.metrics.changes_refused.get_or_create(&vec![("reason", format!("{reason:?}"))]).inc();
    }
    Ok(Submitted { bytes, cost, reasons })
}

/// A push that has no place in the queue yet.
struct UnderWay<'p> {
    shared: &'p Shared,
    speaker: &'p Speaker,
    by: &'p speaker::Author,
    origin: Origin<'p>,
    push: u64,
    /// Its share of the queue.
    room: OwnedSemaphorePermit,
}

/// Its author's access has ended: nothing of it enters the log.
struct Late<'p> {
    under_way: UnderWay<'p>,
    parsed: Parsed,
}

type Parsed = Vec<Result<Change, ChangeError>>;

impl<'p> UnderWay<'p> {
    /// Submits what may enter, under the ledger's lock: the order of admission is the order of the log, and nobody's access
    /// ends between the question and the act.
    fn admit(
        self,
        slot: mpsc::Permit<'_, Submission>,
        cell: &Arc<LedgerCell>,
        opening: Opening,
        parsed: Parsed,
        cost: &mut Cost,
    ) -> Result<Vec<Reason>, Late<'p>> {
        cell.with(|ledger| {
            let Self { shared, speaker, by, .. } = self;
            if speaker.is_late(shared, by, ledger) {
                return Err(Late { under_way: self, parsed });
            }
            let actors_before = ledger.actors();
            let admitted = ledger.admit(speaker.rules(shared, by, ledger), &by.principal, opening, parsed);
            watch_actors(shared, ledger, actors_before);
            shared.metrics.changes_known.inc_by(admitted.duplicates as u64);
            let refused: Vec<Refused> =
                admitted.refused.iter().map(|(index, refusal)| Refused::new(*index, *refusal)).collect();
            let reasons = refused.iter().map(|refused| refused.reason).collect();
            let entry = admitted.entry.map(|entry| {
                let encoded = encode_entry(&entry);
                cost.stored = encoded.len() as u64;
                (entry, encoded)
            });
            let readers = ledger.readers(shared.environment.latest_ms());
            slot.send(Submission { entry, readers, ledger: Some(cell.clone()), ..self.submission(refused) });
            Ok(reasons)
        })
    }

    /// Has it answered in its turn; nothing of it is new.
    async fn answer(self, refused: Vec<Refused>) -> Result<(), SessionError> {
        let slot = self.shared.submissions.reserve().await.map_err(|_| SessionError::Draining)?;
        slot.send(self.submission(refused));
        Ok(())
    }

    /// One without an entry.
    fn submission(self, refused: Vec<Refused>) -> Submission {
        let Self { shared: _, speaker, by, origin: Origin { trail, mailbox, lane }, push, room } = self;
        let (trail, mailbox, is_urgent) = (trail.clone(), mailbox.clone(), lane == Lane::Urgent);
        let author = Author::Session { trail, user: by.principal.user, mailbox, push, refused };
        let (tenant, readers, room) = (speaker.log.clone(), Vec::new(), Some(room));
        Submission { tenant, entry: None, is_urgent, readers, ledger: None, room, author }
    }
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
