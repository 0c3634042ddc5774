//! Acts of authority on documents: grants begin and end, by the gateway's own hand or an operator's.
//!
//! Each is an entry of the log, made under its document's lock from what the ledger knows at that moment: it is durable, and
//! in force for live sessions, when the call returns.

use std::sync::Arc;

use feldakte_core::{
    access::{Grant, Subject},
    admission::Ledger,
    audit::{About, Act, Actor, Chain, Record},
    ids::{CaseId, DocumentId, Part, Position, TenantId},
    log::Entry,
};
use feldakte_proto::encode_entry;
use tokio::sync::oneshot;

use super::{Gateway, Shared};
use crate::{
    audit::AuditError,
    ledgers::{LedgerCell, LedgerError},
    sequencer::{Author, Submission},
};

/// An act of authority that did not come about.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// Nobody has written the document.
    #[error("the document is not known")]
    UnknownDocument,
    /// A grant names its end, and nothing ends it for readers yet: it would go on beside its time.
    #[error("grants that end by themselves are not served yet")]
    EndsByItself,
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

impl Gateway {
    /// Grants a document; durable, and heard by live sessions, when it returns.
    ///
    /// # Errors
    /// When the document is unknown, a grant names an end, or the log or the audit log cannot be written.
    pub async fn grant(&self, document: DocumentId, grants: Vec<Grant>) -> Result<Position, AuthorityError> {
        self.shared.grant(Actor::Gateway, document, grants).await
    }

    /// Ends grants of a document; durable, and in force for live sessions, when it returns.
    ///
    /// # Errors
    /// When the document is unknown or the log cannot be written.
    pub async fn revoke(&self, document: DocumentId, subjects: Vec<Subject>) -> Result<Position, AuthorityError> {
        let mut entry = Entry::new(document);
        entry.revoked = subjects;
        self.shared.append_entry(entry).await
    }
}

impl Shared {
    /// Grants a document in somebody's name; recorded before it begins.
    ///
    /// # Errors
    /// When the document is unknown, a grant names an end, or the log or the audit log cannot be written.
    pub async fn grant(
        &self,
        who: Actor,
        document: DocumentId,
        grants: Vec<Grant>,
    ) -> Result<Position, AuthorityError> {
        if grants.iter().any(|grant| grant.until.is_some()) {
            return Err(AuthorityError::EndsByItself);
        }
        let chain = Chain::Tenant(self.tenant_of(document).await?);
        let began = |grant: &Grant| {
            let about = About::grant(document, &grant.subject);
            Record::new(chain.clone(), who.clone(), Act::GrantBegan).about(about)
        };
        self.audit.record_all(grants.iter().map(began).collect()).await?;
        let mut entry = Entry::new(document);
        entry.grants = grants;
        self.append_entry(entry).await
    }

    /// Ends all grants on a case: nobody reads or writes it any more. Gives the number of its documents.
    ///
    /// # Errors
    /// When the log cannot be read or written; some of them may have ended.
    pub async fn end_case(&self, case: CaseId) -> Result<usize, AuthorityError> {
        let mut documents = 0;
        for part in Part::ALL {
            let document = DocumentId { case, part };
            let ending = |ledger: &mut Ledger| {
                let revoked = subjects_of(ledger);
                (!revoked.is_empty()).then(|| Entry { revoked, ..Entry::new(document) })
            };
            match self.amend(document, ending).await {
                Ok(_) => documents += 1,
                Err(AuthorityError::UnknownDocument) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(documents)
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
        let slot = self.submissions.reserve().await.map_err(|_| AuthorityError::Draining)?;
        let (waiter, done) = oneshot::channel();
        let held = ledger.clone();
        let is_due = ledger.with(|ledger| {
            // Who loses a grant hears of it, and of nothing after it.
            let mut readers = subjects_of(ledger);
            let Some(entry) = make(ledger) else { return false };
            ledger.apply_authority(&entry);
            readers.extend(subjects_of(ledger));
            readers.sort_unstable();
            readers.dedup();
            let encoded = encode_entry(&entry);
            slot.send(Submission {
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
