//! Who may call about a case.

use feldakte_core::{
    access::Permit,
    ids::{CaseId, DocumentId, Part},
};

use crate::{gateway::Shared, ledgers::LedgerError, speaker::Speaker};

/// Whether the session may write a document of the case: what it calls about is its own. A case of which the gateway knows
/// nothing yet is on its way from the device that has made it, whose role makes cases.
///
/// # Errors
/// When the ledgers cannot be read.
pub async fn may_call(shared: &Shared, speaker: &Speaker, case: CaseId) -> Result<bool, LedgerError> {
    if speaker.is_wiped {
        return Ok(false);
    }
    let Some(author) = speaker.author(speaker.principal.user) else { return Ok(false) };
    let mut is_known = false;
    for part in Part::ALL {
        let document = DocumentId { case, part };
        let Some(ledger) = shared.ledgers.open_known(&shared.store, &shared.metrics, document).await? else { continue };
        is_known = true;
        let may_write = ledger.with(|ledger| {
            let rules = speaker.rules(shared, &author, ledger);
            let is_here = *ledger.tenant() == speaker.log;
            is_here && ledger.permit(rules, &author.principal).is_some_and(|permit: Permit| permit.may_write())
        });
        if may_write {
            return Ok(true);
        }
    }
    let is_at_home = speaker.principal.tenant == speaker.log;
    Ok(!is_known && is_at_home && super::calls(speaker.principal.role))
}
