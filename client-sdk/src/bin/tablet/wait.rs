//! Waiting for the gateway, as long as the user wants to and not longer.

use std::{sync::Arc, time::Duration};

use feldakte_client_sdk::{
    Client, SdkError,
    view::{CaseId, CaseSync, Event, LinkState, Observer},
};
use tokio::{sync::Notify, time::Instant};

/// Rings whenever something has changed.
#[derive(Debug, Default)]
struct Bell(Notify);

impl Observer for Bell {
    fn on_event(&self, _: Event) {
        self.0.notify_one();
    }
}

/// Waits with a deadline.
pub struct Patience {
    bell: Arc<Bell>,
    until: Instant,
}

impl Patience {
    /// Begins to wait.
    pub fn new(client: &Client, wait: Duration) -> Self {
        let bell = Arc::new(Bell::default());
        client.observe(bell.clone());
        Self { bell, until: Instant::now() + wait }
    }

    /// Until the gateway has answered for everything of the case, refuses this device, or patience ends.
    pub async fn case_settled(&self, client: &Client, case: CaseId) -> Result<CaseSync, SdkError> {
        loop {
            let sync = client.case_sync(case).await?;
            let settled = sync.local + sync.sent == 0;
            if settled || client.status().await?.link == LinkState::Refused || !self.another_event().await {
                return Ok(sync);
            }
        }
    }

    /// Until this device has what the gateway has. Gives the link's state for the message when it has not.
    pub async fn caught_up(&self, client: &Client) -> Result<Result<(), LinkState>, SdkError> {
        let refused = async {
            loop {
                match client.status().await {
                    Ok(status) if status.link == LinkState::Refused => return,
                    Ok(_) => self.bell.0.notified().await,
                    Err(_) => return,
                }
            }
        };
        tokio::select! {
            () = client.caught_up() => {}
            () = refused => {}
            () = tokio::time::sleep_until(self.until) => {}
        }
        loop {
            let status = client.status().await?;
            match (status.link, status.sync.incomplete) {
                (LinkState::Connected, false) => return Ok(Ok(())),
                (LinkState::Connected, true) if self.another_event().await => {}
                (link, _) => return Ok(Err(link)),
            }
        }
    }

    async fn another_event(&self) -> bool {
        tokio::time::timeout_at(self.until, self.bell.0.notified()).await.is_ok()
    }
}
