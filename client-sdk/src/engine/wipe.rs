//! The order to destroy everything, and the dead man's timer.
//!
//! An order is written down before anything else happens. From then on nothing is read or written; what is unsent is
//! delivered while sessions last, then everything is destroyed, then the gateway is told.

use std::collections::BTreeSet;

use tracing::{info, warn};

use super::{Command, Engine, clock::Clock, users::Users};
use crate::{
    error::SdkError,
    store::{Reader, Wipe, WipeStage},
};

impl Engine {
    pub(super) async fn handle_wipe(&mut self, order: [u8; 16]) -> Result<(), SdkError> {
        if self.wipe.is_none() {
            warn!("everything on this device is to be destroyed");
            return self.order_wipe(order).await;
        }
        if self.wipe.is_some_and(|wipe| wipe.stage == WipeStage::Confirmed) {
            // The gateway does not know that it knows, or orders it once more: there is nothing left.
            self.report_wiped(order);
        }
        Ok(())
    }

    /// A session begins under an order that another one brought.
    pub(super) async fn resume_wipe(&mut self) -> Result<(), SdkError> {
        if let Some(Wipe { order, stage: WipeStage::Ordered, sessions }) = self.wipe {
            self.order_wipe(order).await?;
            if sessions >= DELIVERY_SESSIONS_MAX {
                self.destroy_all().await?;
            }
        }
        Ok(())
    }

    async fn order_wipe(&mut self, order: [u8; 16]) -> Result<(), SdkError> {
        self.store.order_wipe(order).await?;
        self.wipe = self.store.state().await?.wipe;
        Ok(())
    }

    /// Whether only receipts are exchanged: what the gateway sends is not stored any more.
    pub(super) fn is_wiped(&self) -> bool {
        self.wipe.is_some_and(|wipe| wipe.stage != WipeStage::Ordered)
    }

    /// Carries the order out once everything is delivered that the gateway takes.
    pub(super) async fn wipe_when_delivered(&mut self) -> Result<(), SdkError> {
        let is_ordered = self.wipe.is_some_and(|wipe| wipe.stage == WipeStage::Ordered);
        if !is_ordered || self.outbound.is_none() || self.outbox.pushes() > 0 {
            return Ok(());
        }
        // What the outbox has not looked at is still to be sent; what waits for somebody else's change is not.
        if !self.store.unsent(self.outbox.seen(), 1).await?.is_empty() {
            return Ok(());
        }
        self.destroy_all().await
    }

    async fn destroy_all(&mut self) -> Result<(), SdkError> {
        self.store.wipe().await?;
        warn!("everything on this device is destroyed");
        self.wipe = self.store.state().await?.wipe;
        self.users = Users::reading_as(Reader::Device);
        self.principal.user = None;
        self.documents.set_user(None);
        self.outbox.reset(None);
        self.fetching.clear();
        self.is_fetch_open = false;
        self.cursor = None;
        self.notifier.wiped();
        self.requests.receipts_are_due();
        Ok(())
    }

    /// The gateway is heard of.
    pub(super) async fn hear(&mut self, server_time_ms: i64) -> Result<(), SdkError> {
        let clock = Clock::told(server_time_ms, self.environment.now_ms(), self.environment.uptime());
        self.store.save_clock(clock.state()).await?;
        self.clock = Some(clock);
        Ok(())
    }

    /// Looks at the clock, and takes off the device what is safe elsewhere when it has been alone for too long.
    pub(super) async fn watch_clock(&mut self) -> Result<(), SdkError> {
        let (Some(limit), Some(clock)) = (self.purge_after, &mut self.clock) else { return Ok(()) };
        let before = clock.state();
        clock.advance(self.environment.now_ms(), self.environment.uptime());
        if self.outbound.is_some() {
            clock.contact();
        }
        let (state, silence) = (clock.state(), clock.silence());
        let kept_ms = *self.clock_kept_ms.get_or_insert(before.high_ms);
        if state.high_ms.saturating_sub(kept_ms) >= CLOCK_KEPT_EVERY_MS {
            self.store.save_clock(state).await?;
            self.clock_kept_ms = Some(state.high_ms);
        }
        match silence >= limit {
            true => self.evict_all().await,
            false => Ok(()),
        }
    }

    async fn evict_all(&mut self) -> Result<(), SdkError> {
        let shown: BTreeSet<_> = self.store.documents().await?.into_iter().map(|state| state.document.case).collect();
        let evicted = self.store.evict().await?;
        if evicted.is_empty() {
            return Ok(());
        }
        info!(documents = evicted.len(), "removed what is safe elsewhere: the gateway was not heard of for too long");
        for document in evicted {
            self.documents.forget(document);
            // Of what somebody else was sent nobody is told but him.
            if shown.contains(&document.case) {
                self.notify_both(document.case);
            }
        }
        self.look_for_pending = true;
        self.notifier.expired();
        Ok(())
    }
}

impl Command {
    /// Answers without doing it, unless it looks at no content.
    pub(super) fn refuse_when_wiped(self) -> Option<Command> {
        match self {
            Command::Create { reply, .. } => drop(reply.send(Err(SdkError::Wiped))),
            Command::Edit { reply, .. } | Command::Note { reply, .. } | Command::Sign { reply, .. } => {
                drop(reply.send(Err(SdkError::Wiped)))
            }
            Command::Read { reply, .. } => drop(reply.send(Err(SdkError::Wiped))),
            Command::List { reply } => drop(reply.send(Err(SdkError::Wiped))),
            Command::CaseSync { reply, .. } => drop(reply.send(Err(SdkError::Wiped))),
            Command::Parked { reply, .. } => drop(reply.send(Err(SdkError::Wiped))),
            Command::Outcome { reply, .. } => drop(reply.send(Err(SdkError::Wiped))),
            Command::Signed { reply, .. } => drop(reply.send(Err(SdkError::Wiped))),
            Command::Ask { reply, .. } | Command::OpenHidden { reply, .. } => drop(reply.send(Err(SdkError::Wiped))),
            Command::HiddenCases { reply } => drop(reply.send(Err(SdkError::Wiped))),
            Command::SignIn { reply, .. } | Command::SetPin { reply, .. } => drop(reply.send(Err(SdkError::Wiped))),
            Command::SignOut { reply } => drop(reply.send(Err(SdkError::Wiped))),
            Command::Users { reply } => drop(reply.send(Err(SdkError::Wiped))),
            allowed @ (Command::Status { .. } | Command::Shutdown { .. }) => return Some(allowed),
        }
        None
    }
}

/// Sessions in which unsent work is delivered under an order; whoever has stolen the device may break each of them.
const DELIVERY_SESSIONS_MAX: u32 = 8;
/// How much time a restart with a clock rolled back can hide.
const CLOCK_KEPT_EVERY_MS: i64 = 60_000;
