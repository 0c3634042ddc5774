//! The end of a grant: what is unsent is delivered, then the content is destroyed, then the gateway is told.

use std::collections::BTreeSet;

use feldakte_core::ids::{CaseId, DocumentId, Position};
use tracing::info;

use super::Engine;
use crate::{
    error::SdkError,
    store::{Received, ReceivedEntry},
};

impl Engine {
    /// Destroys what this device has no grant on any more and has delivered all of.
    pub(super) async fn purge_ended(&mut self) -> Result<(), SdkError> {
        if !std::mem::take(&mut self.look_for_ended) {
            return Ok(());
        }
        let purged = self.store.purge().await?;
        if purged.is_empty() {
            return Ok(());
        }
        info!(documents = purged.len(), "content destroyed, access has ended");
        purged.iter().for_each(|document| self.documents.forget(*document));
        let cases: BTreeSet<CaseId> = purged.iter().map(|document| document.case).collect();
        for case in cases {
            match self.states_of(case).await?.is_empty() {
                true => self.notifier.removed(case),
                false => self.notify_both(case),
            }
        }
        self.requests.receipts_are_due();
        Ok(())
    }

    /// The case was shredded: nothing of it is sent or taken any more.
    pub(super) async fn end(&mut self, document: DocumentId) -> Result<(), SdkError> {
        let received = Received { cursor: None, entries: vec![ended(document)], bootstrap: Vec::new() };
        Ok(self.store.save_received(&received).await?)
    }

    /// The gateway has taken a change of a document whose grant was taken for ended: it is asked before anything is
    /// destroyed.
    pub(super) async fn ask_whether_ended(&mut self, document: DocumentId) -> Result<(), SdkError> {
        if self.store.document(document).await?.is_some_and(|state| state.revoked) {
            let received = Received { cursor: None, entries: vec![ended(document)], bootstrap: vec![document] };
            self.store.save_received(&received).await?;
            self.look_for_pending = true;
        }
        Ok(())
    }
}

/// The device has no grant on the document, whenever that came about.
pub(super) fn ended(document: DocumentId) -> ReceivedEntry {
    ReceivedEntry {
        position: Position::START,
        document,
        revoked: true,
        bindings: Vec::new(),
        quarantined: Vec::new(),
        changes: Vec::new(),
    }
}
