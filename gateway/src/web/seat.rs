//! Where a page has its calls.

use std::sync::Arc;

use feldakte_core::{
    call::{Say, Told},
    ids::SessionId,
};

use crate::{gateway::Shared, session::SessionError, speaker::Speaker};

/// One page's place among those who take part in calls.
pub(super) struct Seat;

impl Seat {
    /// Takes it.
    pub(super) fn take(_shared: &Arc<Shared>, _speaker: &Speaker, _id: SessionId) -> Self {
        Self
    }

    /// The page has said something.
    pub(super) async fn say(&self, text: &str) -> Result<(), SessionError> {
        let _say: Say = serde_json::from_str(text).map_err(|_| SessionError::Unexpected("not about calls"))?;
        Ok(())
    }

    /// What the page is told next; `None` when it has fallen too far behind. Cancel-safe.
    pub(super) async fn told(&mut self) -> Option<String> {
        let told: Told = std::future::pending().await;
        serde_json::to_string(&told).ok()
    }
}
