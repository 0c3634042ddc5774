//! Work that was refused for the sake of another change, done again on what the log holds.
//!
//! A refused change takes everything with it that was written on top of it. The user did nothing wrong there: the
//! same edits are made once more, under a new actor, before anything newer is written. What was itself refused stays
//! parked for a person.

use std::collections::BTreeSet;

use feldakte_core::{
    case::{Edit, Event},
    change::Change,
    ids::{ChangeHash, DocumentId},
};
use feldakte_proto::Reason;
use tracing::debug;

use super::{Engine, documents::Making, is_for_another};
use crate::{
    error::SdkError,
    intent::{self, Intent},
    store::{OwnChange, Parked},
    witness::ChangeFact,
};

impl Engine {
    /// Unsent changes of the document that stand on one of `lost`, directly or through others: no gateway takes them.
    pub(super) async fn doomed(
        &self,
        document: DocumentId,
        lost: impl IntoIterator<Item = ChangeHash>,
    ) -> Result<Vec<(ChangeHash, Reason)>, SdkError> {
        let mut lost: BTreeSet<ChangeHash> = lost.into_iter().collect();
        let mut doomed = Vec::new();
        // Rows ascend as they were written: what a change stands on comes before it.
        for unsent in self.store.unsent(0, usize::MAX).await? {
            let is_ours = unsent.document == document && !lost.contains(&unsent.hash);
            let Some(change) = is_ours.then(|| Change::parse(unsent.bytes).ok()).flatten() else { continue };
            if change.deps.iter().any(|dep| lost.contains(dep)) {
                lost.insert(change.hash);
                doomed.push((change.hash, Reason::DependencyRefused));
            }
        }
        Ok(doomed)
    }

    /// Does again what is parked of the document for the sake of another change. What cannot be done stays parked.
    pub(super) async fn redo(&mut self, document: DocumentId) -> Result<(), SdkError> {
        match self.store.document(document).await? {
            Some(state) if state.refused > 0 && !state.revoked => {}
            _ => return Ok(()),
        }
        let parked = self.store.parked(document).await?;
        let again: Vec<Again> = parked.into_iter().filter_map(Again::of).collect();
        if again.is_empty() {
            return Ok(());
        }
        match self.redo_together(document, &again).await {
            Err(SdkError::Edit(_)) => {}
            // Neither is a fault of the store, which would end the session: it waits for an update, or for a person.
            Err(SdkError::AppTooOld | SdkError::AccessEnded) => return Ok(()),
            done => return done,
        }
        // One of them does not fit any more: it holds up none of the others.
        for one in &again {
            match self.redo_together(document, std::slice::from_ref(one)).await {
                Err(SdkError::Edit(why)) => debug!(%document, change = %one.hash, why, "stays parked"),
                done => done?,
            }
        }
        Ok(())
    }

    async fn redo_together(&mut self, document: DocumentId, again: &[Again]) -> Result<(), SdkError> {
        let made = self.make_and_save_again(document, again).await;
        let made = made.inspect_err(|_| self.documents.forget(document))?;
        debug!(%document, changes = again.len(), "refused work done again");
        self.documents.stored(document);
        self.notifier.testify(document, made.iter().map(|change| &change.hash), ChangeFact::Saved);
        self.notify_both(document.case);
        Ok(())
    }

    async fn make_and_save_again(&mut self, document: DocumentId, again: &[Again]) -> Result<Vec<OwnChange>, SdkError> {
        let mut made = Vec::with_capacity(again.len());
        for Again { hash: _, intent: Intent { edits, again } } in again {
            let making = Making { stamp: self.stamp(), again: again + 1 };
            made.extend(self.documents.make_changes(document, edits, making).await?);
        }
        let replaced: Vec<ChangeHash> = again.iter().map(|again| again.hash).collect();
        self.store.save_redone(document, &replaced, &made).await?;
        Ok(made)
    }

    /// [`Engine::redo`] for everything on the device: a power cut may have come between refusal and repetition.
    pub(super) async fn redo_all(&mut self) -> Result<(), SdkError> {
        for state in self.store.documents().await? {
            if state.refused > 0 {
                self.redo(state.document).await?;
            }
        }
        Ok(())
    }
}

/// A parked change that is to be made once more.
struct Again {
    hash: ChangeHash,
    intent: Intent,
}

impl Again {
    fn of(Parked { hash, reason, intent }: Parked) -> Option<Again> {
        let intent = intent::decode(&intent);
        let may = is_for_another(reason) && !intent.edits.is_empty() && intent.again < AGAIN_MAX;
        (may && !intent.edits.iter().any(is_signature)).then_some(Again { hash, intent })
    }
}

/// A signature names the state that somebody saw, and that state is not in the log: only that person can sign again.
fn is_signature(edit: &Edit) -> bool {
    matches!(edit, Edit::Record { part: _, event: Event::Finalised { .. } })
}

/// Refused this often, the same work waits for a person.
const AGAIN_MAX: u32 = 3;
