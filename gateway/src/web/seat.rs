//! Where a page has its calls.

use std::sync::Arc;

use feldakte_core::ids::SessionId;

use crate::{gateway::Shared, session::SessionError, speaker::Speaker};

/// One page's place among those who take part in calls.
pub(super) struct Seat;

impl Seat {
    pub(super) fn take(_shared: &Arc<Shared>, _speaker: &Speaker, _id: SessionId) -> Self {
        Self
    }

    pub(super) async fn say(&self, _text: &str) -> Result<(), SessionError> {
        Ok(())
    }

    pub(super) async fn told(&mut self) -> Option<String> {
        std::future::pending().await
    }
}
