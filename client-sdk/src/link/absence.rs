//! Until when a gateway that has no room is left alone. It said so itself, and it says it to all: whoever came sooner would
//! only be sent away again.

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

/// What the gateway has said about coming back.
#[derive(Default)]
pub(crate) struct Absence(Mutex<Option<SentAway>>);

#[derive(Clone, Copy)]
struct SentAway {
    until: Instant,
    /// Whether the device had said that it is on a mission.
    was_on_mission: bool,
}

impl Absence {
    /// It said so to a device that was on a mission, or was not.
    pub(super) fn note(&self, retry_after: Duration, was_on_mission: bool) {
        *self.lock() = Some(SentAway { until: Instant::now() + retry_after, was_on_mission });
    }

    /// For how much longer; `None` when the gateway may be dialled. It has said nothing about a mission that has begun since.
    pub(super) fn left(&self, is_on_mission: bool) -> Option<Duration> {
        let SentAway { until, was_on_mission } = (*self.lock())?;
        let left = until.saturating_duration_since(Instant::now());
        let is_news = is_on_mission && !was_on_mission;
        (!left.is_zero() && !is_news).then_some(left)
    }

    fn lock(&self) -> MutexGuard<'_, Option<SentAway>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AFTER: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn it_lasts_as_long_as_the_gateway_said() {
        let absence = Absence::default();
        assert_eq!(absence.left(false), None);
        absence.note(AFTER, false);
        tokio::time::advance(AFTER / 5).await;
        assert_eq!(absence.left(false), Some(AFTER * 4 / 5));
        tokio::time::advance(AFTER * 4 / 5).await;
        assert_eq!(absence.left(false), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_mission_that_the_gateway_did_not_know_of_ends_it() {
        let absence = Absence::default();
        absence.note(AFTER, false);
        assert_eq!(absence.left(true), None);
        absence.note(AFTER, true);
        assert_eq!((absence.left(true), absence.left(false)), (Some(AFTER), Some(AFTER)));
    }
}
