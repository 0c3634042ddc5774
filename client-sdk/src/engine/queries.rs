//! What an app asks: a case, all cases, how safe they are, what was refused.

use std::collections::BTreeMap;

use feldakte_core::ids::{CaseId, DocumentId, Part};

use super::Engine;
use crate::{
    error::SdkError,
    intent,
    store::DocumentState,
    view::{Author, CaseSummary, CaseSync, CaseView, ParkedEdit, Status},
};

impl Engine {
    pub(super) async fn read(&mut self, case: CaseId) -> Result<CaseView, SdkError> {
        let states = self.states_of(case).await?;
        if states.is_empty() {
            return Err(SdkError::UnknownCase);
        }
        self.outbox.used(case);
        let mut documents = Vec::with_capacity(states.len());
        let mut authors = Vec::new();
        for state in &states {
            let (view, bindings) = self.documents.view(state.document).await?;
            documents.push(view);
            authors.extend(bindings.into_iter().map(Author::from));
        }
        self.note_reads(states.iter().map(|state| state.document)).await;
        Ok(CaseView { case, documents, sync: self.sync_of(&states), authors })
    }

    pub(super) async fn list(&mut self) -> Result<Vec<CaseSummary>, SdkError> {
        let mut cases: BTreeMap<CaseId, Vec<DocumentState>> = BTreeMap::new();
        for state in self.store.documents().await? {
            cases.entry(state.document.case).or_default().push(state);
        }
        Ok(cases.into_iter().map(|(case, states)| CaseSummary { case, sync: self.sync_of(&states) }).collect())
    }

    pub(super) async fn case_sync(&mut self, case: CaseId) -> Result<CaseSync, SdkError> {
        let states = self.states_of(case).await?;
        if states.is_empty() {
            return Err(SdkError::UnknownCase);
        }
        Ok(self.sync_of(&states))
    }

    pub(super) async fn parked(&mut self, case: CaseId) -> Result<Vec<ParkedEdit>, SdkError> {
        let mut parked = Vec::new();
        for state in self.states_of(case).await? {
            for item in self.store.parked(state.document).await? {
                parked.push(ParkedEdit { reason: item.reason, edits: intent::decode(&item.intent).edits });
            }
        }
        Ok(parked)
    }

    pub(super) async fn status(&mut self) -> Result<Status, SdkError> {
        let summaries = self.list().await?;
        let mut sync = CaseSync::default();
        for CaseSync { local, sent, durable, refused, kept, incomplete, revoked: _ } in summaries.iter().map(|s| s.sync)
        {
            sync.local += local;
            sync.sent += sent;
            sync.durable += durable;
            sync.refused += refused;
            sync.kept += kept;
            sync.incomplete |= incomplete;
        }
        let others = self.store.unsafe_of_others().await?;
        let all_safe = sync.local == 0 && sync.sent == 0 && sync.refused == 0 && others == 0;
        let cases = summaries.len() as u64;
        Ok(Status {
            link: self.link,
            cases,
            sync,
            all_safe,
            user: self.principal.user,
            others,
            clock_offset_ms: self.clock_offset_ms,
            wipe: self.wipe.map(|wipe| wipe.stage),
        })
    }

    pub(super) async fn states_of(&self, case: CaseId) -> Result<Vec<DocumentState>, SdkError> {
        let mut states = Vec::new();
        for part in Part::ALL {
            states.extend(self.store.document(DocumentId { case, part }).await?);
        }
        Ok(states)
    }

    pub(super) fn sync_of(&self, states: &[DocumentState]) -> CaseSync {
        let mut sync = CaseSync::default();
        for state in states {
            let sent = self.outbox.in_flight(state.document, self.principal.user).min(state.local);
            sync.sent += sent;
            sync.local += state.local - sent;
            sync.durable += state.durable;
            sync.refused += state.refused;
            sync.kept += state.kept;
            // What has ended will not arrive any more.
            sync.incomplete |= state.bootstrap_pending && !state.revoked;
            sync.revoked |= state.revoked;
        }
        sync
    }
}
