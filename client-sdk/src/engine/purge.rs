//! The end of a grant: what is unsent is delivered, then the content is destroyed, then the gateway is told.

use std::collections::BTreeSet;

use feldakte_core::ids::{CaseId, DocumentId, Position};
use tracing::info;

use super::Engine;
use crate::{
    error::SdkError,
    store::{Received, ReceivedEntry, Revoked},
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
        let received =
            Received { cursor: None, entries: vec![ended(document, Revoked::Everybody)], bootstrap: Vec::new() };
        self.store.save_received(&received).await?;
        self.documents.forget(document);
        Ok(())
    }
}

/// There is no grant on the document any more, whenever that came about.
pub(super) fn ended(document: DocumentId, revoked: Revoked) -> ReceivedEntry {
    ReceivedEntry {
        position: Position::START,
        document,
        revoked: Some(revoked),
        bindings: Vec::new(),
        quarantined: Vec::new(),
        changes: Vec::new(),
    }
}
