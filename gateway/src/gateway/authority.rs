//! Acts of authority on documents: grants begin and end, cases are closed, supervisors decide.
//!
//! Each is an entry of the log, made under its document's lock from what the ledger knows at that moment: it is durable, and
//! in force for live sessions, when the call returns.

use std::sync::Arc;

use feldakte_core::{
    access::{
        Access, Grant, Role, Subject,
        policy::{AfterClose, Policy},
    },
    admission::{self, Ledger},
    audit::{About, Act, Actor, Chain, Reason, Record},
    ids::{CaseId, DocumentId, OperatorName, Part, Position, TenantId},
    log::Entry,
};
use feldakte_proto::{decode_entry, encode_entry};
use tokio::sync::oneshot;
use tracing::{debug, warn};
use uuid::Uuid;

use super::{Gateway, Shared};
use crate::{
    audit::AuditError,
    ledgers::{LedgerCell, LedgerError},
    sequencer::{Author, Submission},
    store::{
        StoreError,
        matters::{Decision, Matter, Review, Verdict},
    },
};

/// An act of authority that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Nobody has written the document.
    #[error("the document is not known")]
    UnknownDocument,
    /// There is no such review.
    #[error("the review is not known")]
    UnknownReview,
    /// Somebody was faster.
    #[error("the review has been decided")]
    Decided,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The audit log cannot be written: nothing begins unrecorded.
    #[error(transparent)]
    Audit(#[from] AuditError),
    /// The ledger could not be read.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The gateway is going down.
    #[error("the gateway is going down")]
    Draining,
    /// The log ended before it answered: the act is durable or not, which the next start knows.
    #[error("whether it was written is not known")]
    Interrupted,
}

/// What became of changes that a supervisor took into a case.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Merged {
    /// In the log now, or before.
    pub taken: usize,
    /// Cannot be taken: what they stand on is missing.
    pub refused: usize,
}

impl Gateway {
    /// Grants a document; durable, and heard by live sessions, when it returns.
    ///
    /// # Errors
    /// When the document is unknown, or the log or the audit log cannot be written.
    pub async fn grant(&self, document: DocumentId, grants: Vec<Grant>) -> Result<Position, AuthorityError> {
        self.shared.grant(Actor::Gateway, document, grants).await
    }

    /// Ends grants of a document; durable, and in force for live sessions, when it returns.
    ///
    /// # Errors
    /// When the document is unknown or the log cannot be written.
    pub async fn revoke(&self, document: DocumentId, subjects: Vec<Subject>) -> Result<Position, AuthorityError> {
        self.shared.append_entry(Entry { revoked: subjects, ..Entry::new(document) }).await
    }
}

impl Shared {
    /// Grants a document in somebody's name; recorded before it begins.
    ///
    /// # Errors
    /// When the document is unknown, or the log or the audit log cannot be written.
    pub async fn grant(
        &self,
        who: Actor,
        document: DocumentId,
        grants: Vec<Grant>,
    ) -> Result<Position, AuthorityError> {
        let subjects = grants.iter().map(|grant| &grant.subject);
        self.record_grants(&who, Act::GrantBegan, document, subjects).await?;
        self.append_entry(Entry { grants, ..Entry::new(document) }).await
    }

    /// Ends grants in somebody's name; recorded before they end.
    ///
    /// # Errors
    /// When the document is unknown, or the log or the audit log cannot be written.
    pub async fn revoke(
        &self,
        who: Actor,
        document: DocumentId,
        subjects: Vec<Subject>,
    ) -> Result<Position, AuthorityError> {
        self.record_grants(&who, Act::GrantEnded, document, &subjects).await?;
        self.append_entry(Entry { revoked: subjects, ..Entry::new(document) }).await
    }

    async fn record_grants<'s>(
        &self,
        who: &Actor,
        act: Act,
        document: DocumentId,
        subjects: impl IntoIterator<Item = &'s Subject>,
    ) -> Result<(), AuthorityError> {
        let chain = Chain::Tenant(self.tenant_of(document).await?);
        let record = |subject| Record::new(chain.clone(), who.clone(), act).about(About::grant(document, subject));
        Ok(self.audit.record_all(subjects.into_iter().map(record).collect()).await?)
    }

    /// Ends all grants on a case: nobody reads or writes it any more. Gives the number of its documents.
    ///
    /// # Errors
    /// When the log cannot be read or written; some of them may have ended.
    pub async fn end_case(&self, case: CaseId) -> Result<usize, AuthorityError> {
        let ending = |ledger: &mut Ledger| {
            let revoked = subjects_of(ledger);
            (!revoked.is_empty()).then(|| Entry { revoked, ..Entry::new(ledger.document()) })
        };
        self.amend_case(case, ending).await
    }

    /// Closes a case: nobody writes it any more, and who reads it, and for how long, is what the policy says of his role.
    /// What devices still hold unsent is kept for a supervisor. Gives the number of its documents.
    ///
    /// # Errors
    /// When the log cannot be read or written; some of them may be closed.
    pub async fn close_case(&self, case: CaseId) -> Result<usize, AuthorityError> {
        let now_ms = self.environment.latest_ms();
        self.amend_case(case, |ledger| Some(closing_entry(ledger, &self.policy, now_ms))).await
    }

    async fn amend_case(
        &self,
        case: CaseId,
        make: impl Fn(&mut Ledger) -> Option<Entry>,
    ) -> Result<usize, AuthorityError> {
        let mut documents = 0;
        for part in Part::ALL {
            match self.amend(DocumentId { case, part }, &make).await {
                Ok(_) => documents += 1,
                Err(AuthorityError::UnknownDocument) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(documents)
    }

    /// Writes the end of grants whose time is over into the log, so that devices hear of it: whether they may read is asked
    /// by the clock all along. What fails holds up no other, and is tried again.
    pub async fn end_lapsed_grants(&self) {
        let now_ms = self.environment.latest_ms();
        let mut after = None;
        loop {
            let lapsed = match self.store.lapsed(now_ms, after, LAPSES_AT_ONCE).await {
                Ok(lapsed) => lapsed,
                Err(error) => return warn!(%error, "grants whose time is over could not be found"),
            };
            let Some(last) = lapsed.last() else { return };
            after = Some(*last);
            for document in lapsed {
                if let Err(error) = self.end_lapsed(document, now_ms).await {
                    debug!(%document, %error, "a grant whose time is over could not be ended");
                }
            }
        }
    }

    async fn end_lapsed(&self, document: DocumentId, now_ms: i64) -> Result<(), AuthorityError> {
        let end = |ledger: &mut Ledger| {
            let over = ledger.grants().iter().filter(|grant| !grant.covers(now_ms));
            let revoked: Vec<Subject> = over.map(|grant| grant.subject.clone()).collect();
            (!revoked.is_empty()).then(|| Entry { revoked, ..Entry::new(document) })
        };
        self.amend(document, end).await.map(drop)
    }

    /// Decides what waits: takes evidence into the case, under the name of whoever wrote it, or leaves it out; finds
    /// emergency access justified, or not. Recorded before it is done.
    ///
    /// # Errors
    /// When it is not known or has been decided, or log or audit log cannot be written.
    pub async fn decide(&self, id: Uuid, verdict: Verdict, by: &OperatorName) -> Result<Merged, AuthorityError> {
        let review = self.matters.review(id).await?.ok_or(AuthorityError::UnknownReview)?;
        if review.decision.is_some() {
            return Err(AuthorityError::Decided);
        }
        let act = match (&review.matter, verdict) {
            (Matter::Evidence { .. }, Verdict::Accepted) => Act::EvidenceMerged,
            (Matter::Evidence { .. }, Verdict::Rejected) => Act::EvidenceRejected,
            (Matter::BreakGlass { .. }, _) => Act::BreakGlassReviewed,
        };
        let record = Record::new(review.log.clone().into(), Actor::Operator(by.clone()), act);
        let about = About { device: Some(review.who.device), user: review.who.user, ..about_of(&review.matter) };
        self.audit.record(Record { reason: reason_of(act, verdict), ..record.about(about) }).await?;
        // Merged first: a crash in between leaves it waiting, and merging twice is nothing new.
        let merged = match act {
            Act::EvidenceMerged => self.merge(&review).await?,
            _ => Merged::default(),
        };
        let decision = Decision { verdict, by: by.clone(), at_ms: self.environment.now_ms() };
        match merged.refused == 0 && !self.matters.decide(review.id, &decision).await? {
            true => Err(AuthorityError::Decided),
            false => Ok(merged),
        }
    }

    /// Takes evidence into its document.
    async fn merge(&self, review: &Review) -> Result<Merged, AuthorityError> {
        let content = review.content.clone().ok_or(AuthorityError::UnknownDocument)?;
        let Entry { document, changes, .. } = decode_entry(content).map_err(LedgerError::from)?;
        let mut merged = Merged::default();
        let admit = |ledger: &mut Ledger| {
            let admission = ledger.admit_evidence(&review.log, &review.who, admission::parse(changes.iter().cloned()));
            merged.refused = admission.refused.len();
            merged.taken = changes.len() - merged.refused;
            admission.entry
        };
        let ledger = self.ledgers.open(&self.store, &self.metrics, &review.log, document).await?;
        self.write_under(ledger, admit).await?;
        Ok(merged)
    }

    /// Writes an entry of the gateway's own: grants, revocations, quarantine marks.
    ///
    /// # Errors
    /// When the document is unknown or the log cannot be written.
    pub async fn append_entry(&self, entry: Entry) -> Result<Position, AuthorityError> {
        self.amend(entry.document, |_| Some(entry)).await?.ok_or(AuthorityError::UnknownDocument)
    }

    /// Writes an entry of the gateway's own about a known document, made under its lock; `None` when there is nothing to
    /// write.
    ///
    /// # Errors
    /// When the document is unknown or the log cannot be written.
    pub async fn amend(
        &self,
        document: DocumentId,
        make: impl FnOnce(&mut Ledger) -> Option<Entry>,
    ) -> Result<Option<Position>, AuthorityError> {
        let ledger = self.known(document).await?;
        self.write_under(ledger, make).await
    }

    async fn write_under(
        &self,
        ledger: Arc<LedgerCell>,
        make: impl FnOnce(&mut Ledger) -> Option<Entry>,
    ) -> Result<Option<Position>, AuthorityError> {
        let slot = self.submissions.reserve().await.map_err(|_| AuthorityError::Draining)?;
        let (waiter, done) = oneshot::channel();
        let held = ledger.clone();
        let is_due = ledger.with(|ledger| {
            let now_ms = self.environment.latest_ms();
            let mut readers = ledger.readers(now_ms);
            let Some(entry) = make(ledger) else { return false };
            ledger.apply_authority(&entry);
            readers.extend(ledger.readers(now_ms));
            // Who loses a grant hears of it, and of nothing after it.
            readers.extend(entry.revoked.iter().cloned());
            readers.sort_unstable();
            readers.dedup();
            let encoded = encode_entry(&entry);
            slot.send(Submission {
                is_urgent: false,
                tenant: ledger.tenant().clone(),
                entry: Some((entry, encoded)),
                readers,
                ledger: Some(held),
                room: None,
                author: Author::Gateway(waiter),
            });
            true
        });
        match is_due {
            true => done.await.map(Some).map_err(|_| AuthorityError::Interrupted),
            false => Ok(None),
        }
    }

    /// Whose document it is.
    async fn tenant_of(&self, document: DocumentId) -> Result<TenantId, AuthorityError> {
        Ok(self.known(document).await?.with(|ledger| ledger.tenant().clone()))
    }

    async fn known(&self, document: DocumentId) -> Result<Arc<LedgerCell>, AuthorityError> {
        let ledger = self.ledgers.open_known(&self.store, &self.metrics, document).await?;
        ledger.ok_or(AuthorityError::UnknownDocument)
    }
}

fn subjects_of(ledger: &Ledger) -> Vec<Subject> {
    ledger.grants().iter().map(|grant| grant.subject.clone()).collect()
}

fn about_of(matter: &Matter) -> About {
    match matter {
        Matter::Evidence { document, .. } => About::document(*document),
        Matter::BreakGlass { case, .. } => About::case(*case),
    }
}

fn reason_of(act: Act, verdict: Verdict) -> Option<Reason> {
    match (act, verdict) {
        (Act::BreakGlassReviewed, Verdict::Accepted) => Some(Reason::Justified),
        (Act::BreakGlassReviewed, Verdict::Rejected) => Some(Reason::NotJustified),
        _ => None,
    }
}

/// Lowers every grant to what the policy leaves of it.
fn closing_entry(ledger: &Ledger, policy: &Policy, now_ms: i64) -> Entry {
    let mut entry = Entry::new(ledger.document());
    for grant in ledger.grants().iter().filter(|grant| grant.covers(now_ms)) {
        // Of a subject that has only read nobody knows the role: it gets what a crew gets.
        let role = ledger.role_of(&grant.subject).unwrap_or(Role::AmbulanceCrew);
        let until = match policy.row(role).after_close {
            AfterClose::Nothing => {
                entry.revoked.push(grant.subject.clone());
                continue;
            }
            AfterClose::ReadFor(ms) => Some(grant.until.unwrap_or(i64::MAX).min(now_ms.saturating_add(ms))),
            AfterClose::Read => grant.until,
        };
        entry.grants.push(Grant { until, ..Grant::new(grant.subject.clone(), Access::Read) });
    }
    entry
}

/// Grants ended in one go.
const LAPSES_AT_ONCE: usize = 256;
