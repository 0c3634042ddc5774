//! Emergencies without network: what the device holds for others is shown for an hour, after it has been written down.
//!
//! The hour is time that has passed, by whichever clock says more: a device's clock that is set back makes it no longer,
//! nor does a device that sleeps. It ends with the app at the latest, and when somebody else signs in. Who asks must have
//! been believed by the gateway, and the role that it took him for bounds what he sees. While there is a session the
//! gateway is asked instead.

use std::{collections::BTreeSet, time::Duration};

use feldakte_core::{
    access::{BreakGlassReason, Ceiling, Policy},
    ids::{CaseId, DocumentId, Part},
    limits,
};
use feldakte_proto::OpenedOffline;
use tracing::{info, warn};

use super::Engine;
use crate::error::SdkError;

/// Those of the last hour.
#[derive(Default)]
pub(super) struct Emergencies(Vec<Emergency>);

struct Emergency {
    case: CaseId,
    began: Duration,
    /// By the device's clock.
    began_ms: i64,
    /// Whoever asked for it still uses the device.
    is_open: bool,
}

impl Emergencies {
    pub(super) fn are_any_open(&self) -> bool {
        self.0.iter().any(|emergency| emergency.is_open)
    }

    /// Somebody else uses the device.
    pub(super) fn close_all(&mut self) {
        self.0.iter_mut().for_each(|emergency| emergency.is_open = false);
    }

    /// Cases that are shown though their hour is over.
    fn overdue(&self, uptime: Duration, now_ms: i64) -> BTreeSet<CaseId> {
        let open = || self.0.iter().filter(|emergency| emergency.is_open);
        let (over, going_on): (Vec<_>, Vec<_>) = open().partition(|emergency| emergency.is_over(uptime, now_ms));
        let is_over = |case: &CaseId| !going_on.iter().any(|emergency| emergency.case == *case);
        over.into_iter().map(|emergency| emergency.case).filter(is_over).collect()
    }

    /// What was overdue is not shown any more.
    fn forget_ended(&mut self, uptime: Duration, now_ms: i64) {
        self.0.iter_mut().for_each(|emergency| emergency.is_open &= !emergency.is_over(uptime, now_ms));
        // A clock that is put forward ends it and gives no other one.
        self.0.retain(|emergency| emergency.passed_ms(uptime) < limits::BREAK_GLASS_MS);
    }
}

impl Emergency {
    fn is_over(&self, uptime: Duration, now_ms: i64) -> bool {
        self.passed_ms(uptime).max(now_ms.saturating_sub(self.began_ms)) >= limits::BREAK_GLASS_MS
    }

    fn passed_ms(&self, uptime: Duration) -> i64 {
        uptime.saturating_sub(self.began).as_millis().try_into().unwrap_or(i64::MAX)
    }
}

impl Engine {
    pub(super) async fn hidden_cases(&self) -> Result<Vec<CaseId>, SdkError> {
        Ok(self.store.hidden_cases().await?)
    }

    pub(super) async fn open_hidden(
        &mut self,
        case: CaseId,
        reason: BreakGlassReason,
        text: String,
    ) -> Result<(), SdkError> {
        if text.trim().is_empty() {
            return Err(SdkError::NotPermitted);
        }
        check_length(&text)?;
        if self.epoch.is_some() {
            return Err(SdkError::InSession);
        }
        let untold = self.store.receipts().await?.opened;
        if self.emergencies.0.len() >= limits::BREAK_GLASS_PER_HOUR || untold.len() >= limits::OPENED_UNTOLD_MAX {
            return Err(SdkError::TooOften);
        }
        let (began, began_ms) = (self.environment.uptime(), self.environment.now_ms());
        // The gateway knows them apart by their moments.
        let is_free = |at_ms: &i64| !untold.iter().any(|other| other.at_ms == *at_ms);
        let at_ms = (began_ms..).find(is_free).unwrap_or(began_ms);
        let opened = OpenedOffline { case, user: self.principal.user, reason, text, at_ms };
        let documents = self.store.begin_emergency(&opened, &self.readable_parts().await?).await?;
        if documents.is_empty() {
            return self.is_hidden_at_all(case).await;
        }
        warn!(%case, reason = reason.name(), "opened in an emergency");
        self.emergencies.0.push(Emergency { case, began, began_ms, is_open: true });
        documents.iter().for_each(|document| self.documents.forget(*document));
        self.notify_both(case);
        self.requests.receipts_are_due();
        Ok(())
    }

    /// Why nothing of a case is opened.
    async fn is_hidden_at_all(&self, case: CaseId) -> Result<(), SdkError> {
        match self.store.hidden_cases().await?.contains(&case) {
            true => Err(SdkError::NotPermitted),
            false if self.states_of(case).await?.is_empty() => Err(SdkError::UnknownCase),
            // He sees all there is.
            false => Ok(()),
        }
    }

    /// What the role of whoever uses the device may ever read: the gateway's own policy is not known here. Nothing without
    /// a role that the gateway has taken him for; a device that knows no users has its own.
    async fn readable_parts(&self) -> Result<Vec<Part>, SdkError> {
        let users = self.store.users().await?;
        let role = match self.principal.user {
            Some(user) => users.into_iter().find(|known| known.user == user).and_then(|known| known.role),
            None => users.is_empty().then_some(self.principal.role),
        };
        let Some(role) = role else { return Ok(Vec::new()) };
        let policy = Policy::default();
        Ok(Part::ALL.into_iter().filter(|part| policy.ceiling(role, *part) >= Ceiling::Read).collect())
    }

    /// Hides again what was shown for an hour.
    pub(super) async fn end_emergencies(&mut self) -> Result<(), SdkError> {
        let (uptime, now_ms) = (self.environment.uptime(), self.environment.now_ms());
        for case in self.emergencies.overdue(uptime, now_ms) {
            self.store.end_emergency(case).await?;
            info!(%case, "the emergency is over");
            Part::ALL.into_iter().for_each(|part| self.documents.forget(DocumentId { case, part }));
            match self.states_of(case).await?.is_empty() {
                true => self.notifier.removed(case),
                false => self.notify_both(case),
            }
        }
        self.emergencies.forget_ended(uptime, now_ms);
        Ok(())
    }
}

/// A supervisor reads it; the gateway takes no more.
pub(super) fn check_length(text: &str) -> Result<(), SdkError> {
    match text.len() {
        0..=limits::BREAK_GLASS_TEXT_MAX => Ok(()),
        _ => Err(SdkError::TextTooLong),
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    const MINUTE_MS: i64 = 60_000;

    fn case(n: u128) -> CaseId {
        CaseId(Uuid::from_u128(n))
    }

    fn minutes(minutes: u64) -> Duration {
        Duration::from_secs(60 * minutes)
    }

    fn begun(cases: &[(u128, u64)]) -> Emergencies {
        let to_emergency = |(n, minute): &(u128, u64)| Emergency {
            case: case(*n),
            began: minutes(*minute),
            began_ms: *minute as i64 * MINUTE_MS,
            is_open: true,
        };
        Emergencies(cases.iter().map(to_emergency).collect())
    }

    #[test]
    fn an_emergency_ends_with_its_hour_by_whichever_clock_says_more() {
        let emergencies = begun(&[(1, 0)]);
        for (passed, device_minute, is_over) in [(59, 59, false), (60, 60, true), (60, -1_440, true), (0, 60, true)] {
            let overdue = emergencies.overdue(minutes(passed), device_minute * MINUTE_MS);
            assert_eq!(!overdue.is_empty(), is_over, "after {passed} min, shown {device_minute}");
        }
    }

    #[test]
    fn a_clock_put_forward_ends_an_emergency_and_gives_no_other_one() {
        let mut emergencies = begun(&[(1, 0)]);
        assert_eq!(emergencies.overdue(minutes(1), 60 * MINUTE_MS).len(), 1);
        emergencies.forget_ended(minutes(1), 60 * MINUTE_MS);
        assert_eq!((emergencies.0.len(), emergencies.are_any_open()), (1, false));
        emergencies.forget_ended(minutes(60), 0);
        assert_eq!(emergencies.0.len(), 0);
    }

    #[test]
    fn an_emergency_that_was_asked_for_again_goes_on() {
        let mut emergencies = begun(&[(1, 0), (1, 30), (2, 0)]);
        assert_eq!(emergencies.overdue(minutes(61), 61 * MINUTE_MS), BTreeSet::from([case(2)]));
        emergencies.forget_ended(minutes(61), 61 * MINUTE_MS);
        assert_eq!(emergencies.0.len(), 1);
        assert_eq!(emergencies.overdue(minutes(90), 90 * MINUTE_MS), BTreeSet::from([case(1)]));
    }

    #[test]
    fn what_somebody_had_opened_before_another_signed_in_counts_and_ends_nothing() {
        let mut emergencies = begun(&[(1, 0)]);
        emergencies.close_all();
        assert!(!emergencies.are_any_open());
        assert_eq!(emergencies.0.len(), 1, "within an hour it was asked for once");
        assert_eq!(emergencies.overdue(minutes(61), 61 * MINUTE_MS), BTreeSet::new());
    }
}
