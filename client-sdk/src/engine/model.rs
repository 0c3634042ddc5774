//! The case model's part of the engine: what the catalogue says to an edit, signatures, and what events come to.

use feldakte_core::{
    case::{
        DocumentView, Edit, Outcome, Path,
        schema::{self, CaseKind},
    },
    ids::{CaseId, ChangeHash, DocumentId, Part},
};

use super::{CASE_KIND, Engine};
use crate::{error::SdkError, store::DocumentState};

impl Engine {
    /// Appends an entry of the SDK's own, unless it is there. Nobody reads anything by that: no reading is recorded.
    pub(super) async fn note(&mut self, case: CaseId, entry: Edit) -> Result<(), SdkError> {
        let document = DocumentId { case, part: entry.part() };
        if let (Edit::AddEntry { id, .. }, Some(_)) = (&entry, self.store.document(document).await?) {
            let (view, _) = self.documents.view(document).await?;
            if view.entries.iter().any(|known| known.id == Some(*id)) {
                return Ok(());
            }
        }
        self.edit(case, vec![entry]).await
    }

    /// What the catalogue knows has the type it gives; what it does not know is a newer app's business.
    pub(super) async fn check(&mut self, case: CaseId, edits: &[Edit]) -> Result<(), SdkError> {
        let Some(kind) = self.kind_of(case, edits).await? else { return Ok(()) };
        for edit in edits {
            match edit {
                Edit::SetFact { part, name, value }
                | Edit::Resolve { part, path: Path::Fact(name), value, among: _ } => {
                    schema::check_fact(kind, *part, name, value)?;
                }
                Edit::AddEntry { part, kind: entry, fields, .. } | Edit::Correct { part, kind: entry, fields, .. } => {
                    schema::check_entry(kind, *part, entry, fields)?;
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The case's kind, when it has one and this device knows it.
    async fn kind_of(&mut self, case: CaseId, edits: &[Edit]) -> Result<Option<CaseKind>, SdkError> {
        let is_kind = |edit: &&Edit| matches!(edit, Edit::SetFact { part: Part::Operations, name, value: _ } if name == CASE_KIND);
        if let Some(Edit::SetFact { value, .. }) = edits.iter().find(is_kind) {
            return Ok(value.as_text().and_then(|kind| kind.parse().ok()));
        }
        let operations = DocumentId { case, part: Part::Operations };
        if self.store.document(operations).await?.is_none() {
            return Ok(None);
        }
        let kind = self.documents.text_fact(operations, CASE_KIND).await?;
        Ok(kind.and_then(|kind| kind.parse().ok()))
    }

    /// Signs every document of the case that this device has written, all of them in one save.
    pub(super) async fn sign(&mut self, case: CaseId) -> Result<(), SdkError> {
        let mut edits = Vec::new();
        let mut states = self.states_of(case).await?;
        // Where this device has only read it may not write either, and its signature would be refused.
        let has_written = |state: &DocumentState| state.local + state.durable > 0;
        if states.iter().any(has_written) {
            states.retain(has_written);
        }
        for state in states {
            let event = self.documents.sign(state.document).await?;
            edits.push(Edit::Record { part: state.document.part, event });
        }
        match edits.is_empty() {
            true => Err(SdkError::UnknownCase),
            false => self.write(case, edits).await,
        }
    }

    pub(super) async fn outcome(&mut self, case: CaseId) -> Result<Vec<(Part, Outcome)>, SdkError> {
        let (states, mut outcomes) = (self.states_of(case).await?, Vec::new());
        for state in &states {
            outcomes.push((state.document.part, self.documents.outcome(state.document).await?));
        }
        self.note_reads(states.iter().map(|state| state.document)).await;
        match outcomes.is_empty() {
            true => Err(SdkError::UnknownCase),
            false => Ok(outcomes),
        }
    }

    pub(super) async fn signed(
        &mut self,
        document: DocumentId,
        heads: &[ChangeHash],
    ) -> Result<DocumentView, SdkError> {
        if self.store.document(document).await?.is_none() {
            return Err(SdkError::UnknownCase);
        }
        let signed = self.documents.signed(document, heads).await?;
        self.note_reads([document]).await;
        Ok(signed)
    }
}
