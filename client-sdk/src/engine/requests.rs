//! Requests that the gateway answers one by one, and the receipts that are repeated until it has taken them.

use std::{collections::BTreeMap, time::Duration};

use feldakte_proto::{Answer, ClientMessage, Outcome, Receipts};
use tokio::time::Instant;
use tracing::debug;

use super::Engine;
use crate::error::SdkError;

/// What is under way in this session, and when the next receipts are.
#[derive(Default)]
pub(super) struct Requests {
    last: u64,
    open: BTreeMap<u64, Request>,
    receipts: Due,
    /// Receipts the gateway could not take in a row.
    refusals: u32,
}

/// A request without an answer.
enum Request {
    Receipts(Receipts),
}

/// When receipts are sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// There may be some.
    #[default]
    Now,
    /// There are none, or some are under way.
    Later,
    /// The gateway could not take them.
    At(Instant),
}

impl Requests {
    /// Requests without an answer.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// The session is gone: receipts are sent again in the next one.
    pub(super) fn reset(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
    }

    pub(super) fn receipts_are_due(&mut self) {
        let is_under_way = self.open.values().any(|request| matches!(request, Request::Receipts(_)));
        if !is_under_way && self.receipts == Due::Later {
            self.receipts = Due::Now;
        }
    }

    fn are_receipts_due(&self) -> bool {
        match self.receipts {
            Due::Now => true,
            Due::Later => false,
            Due::At(moment) => moment <= Instant::now(),
        }
    }

    fn open_new(&mut self, request: Request) -> u64 {
        self.last += 1;
        self.open.insert(self.last, request);
        self.last
    }

    /// Asks again ever more seldom: an idle device costs next to nothing.
    fn put_off_receipts(&mut self) {
        self.receipts = Due::At(Instant::now() + RECEIPTS_AGAIN * 2_u32.pow(self.refusals));
        self.refusals = (self.refusals + 1).min(DOUBLED_MAX);
    }
}

impl Engine {
    /// Sends what the gateway has to be told, one frame at a time.
    pub(super) async fn send_receipts(&mut self) -> Result<(), SdkError> {
        let Some(outbound) = self.outbound.clone() else { return Ok(()) };
        if !self.requests.are_receipts_due() {
            return Ok(());
        }
        self.requests.receipts = Due::Later;
        let receipts = self.store.receipts().await?;
        if receipts == Receipts::default() {
            return Ok(());
        }
        let request = self.requests.open_new(Request::Receipts(receipts.clone()));
        if outbound.try_send(ClientMessage::Receipts(Receipts { request, ..receipts })).is_err() {
            self.requests.open.remove(&request);
            self.requests.receipts = Due::Now;
        }
        Ok(())
    }

    /// Everything is destroyed, as ordered.
    pub(super) fn report_wiped(&mut self, order: [u8; 16]) {
        let Some(outbound) = &self.outbound else { return };
        let receipts = Receipts { wiped: Some(order), ..Receipts::default() };
        let request = self.requests.open_new(Request::Receipts(receipts.clone()));
        // Not sent is asked for again in the next session.
        let _ = outbound.try_send(ClientMessage::Receipts(Receipts { request, ..receipts }));
    }

    pub(super) async fn handle_answer(&mut self, answer: Answer) -> Result<(), SdkError> {
        let Answer { request, outcome } = answer;
        match (self.requests.open.remove(&request), outcome) {
            (Some(Request::Receipts(receipts)), Outcome::Done) => {
                self.store.confirm(&receipts).await?;
                if receipts.wiped.is_some() {
                    self.wipe = self.store.state().await?.wipe;
                    self.notifier.wiped();
                }
                self.requests.refusals = 0;
                self.requests.receipts = Due::Now;
            }
            (Some(Request::Receipts(_)), outcome) => {
                debug!(?outcome, "the gateway takes no receipts");
                self.requests.put_off_receipts();
            }
            (None, _) => {}
        }
        Ok(())
    }
}

/// When receipts that the gateway could not take are sent again; doubled each time.
const RECEIPTS_AGAIN: Duration = Duration::from_secs(60);
/// Up to an hour.
const DOUBLED_MAX: u32 = 6;
