//! Requests that the gateway answers one by one, and the receipts that are repeated until it has taken them.

use std::{collections::BTreeMap, time::Duration};

use feldakte_core::{
    access::{Access, BreakGlassReason, Subject},
    ids::{CaseId, Part},
};
use feldakte_proto::{Answer, BreakGlass, ClientMessage, Outcome, Receipts, Renew, Renewed, Share};
use tokio::{sync::oneshot, time::Instant};
use tracing::debug;

use super::{Engine, Reply, emergency::check_length};
use crate::{
    error::SdkError,
    renewal::{Granted, Renewing},
};

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
    Asked(Reply<()>),
    Renewal(oneshot::Sender<Granted>),
}

/// What an app asks the gateway for.
pub(crate) enum Asked {
    BreakGlass { case: CaseId, reason: BreakGlassReason, text: String },
    Share { case: CaseId, parts: Vec<Part>, subject: Subject, access: Option<Access>, until_ms: Option<i64> },
}

/// When receipts are sent.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Due {
    /// There may be some.
    #[default]
    Now,
    /// There are none, or some are under way.
    Later,
    /// There are some that wait for others.
    Soon(Instant),
    /// The gateway could not take them.
    At(Instant),
}

impl Requests {
    /// Requests without an answer.
    pub(super) fn open(&self) -> usize {
        self.open.len()
    }

    /// The session is gone: receipts are sent again in the next one, everything else is for who asked to decide. Who waits
    /// for a certificate hears of it by the end of the channel.
    pub(super) fn reset(&mut self) {
        for request in std::mem::take(&mut self.open).into_values() {
            if let Request::Asked(reply) = request {
                let _ = reply.send(Err(SdkError::NotConnected));
            }
        }
        *self = Self { last: self.last, ..Self::default() };
    }

    pub(super) fn receipts_are_due(&mut self) {
        if !self.are_receipts_under_way() && matches!(self.receipts, Due::Later | Due::Soon(_)) {
            self.receipts = Due::Now;
        }
    }

    fn are_receipts_under_way(&self) -> bool {
        self.open.values().any(|request| matches!(request, Request::Receipts(_)))
    }

    /// Readings are told together.
    pub(super) fn receipts_are_due_soon(&mut self) {
        if self.receipts == Due::Later {
            self.receipts = Due::Soon(Instant::now() + READINGS_TOLD_AFTER);
        }
    }

    /// Whether receipts will be due by themselves.
    pub(super) fn are_receipts_waiting(&self) -> bool {
        self.receipts != Due::Later
    }

    fn are_receipts_due(&self) -> bool {
        match self.receipts {
            Due::Now => true,
            Due::Later => false,
            Due::Soon(moment) | Due::At(moment) => moment <= Instant::now(),
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
        // The answer to those that are under way says which are left.
        if self.requests.are_receipts_under_way() || !self.requests.are_receipts_due() {
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

    /// Asks at once or not at all: what was asked for in an emergency must not happen hours later.
    pub(super) fn ask_gateway(&mut self, asked: Asked, reply: Reply<()>) {
        if let Asked::BreakGlass { text, .. } = &asked
            && let Err(error) = check_length(text)
        {
            return drop(reply.send(Err(error)));
        }
        let Some(outbound) = self.outbound.clone() else { return drop(reply.send(Err(SdkError::NotConnected))) };
        let request = self.requests.open_new(Request::Asked(reply));
        let message = match asked {
            Asked::BreakGlass { case, reason, text } => {
                ClientMessage::BreakGlass(BreakGlass { request, case, reason, text })
            }
            Asked::Share { case, parts, subject, access, until_ms } => {
                ClientMessage::Share(Share { request, case, parts, subject, access, until_ms })
            }
        };
        if outbound.try_send(message).is_err()
            && let Some(Request::Asked(reply)) = self.requests.open.remove(&request)
        {
            let _ = reply.send(Err(SdkError::NotConnected));
        }
    }

    /// Not sent is not granted: the end of the channel says so.
    pub(super) fn ask_renewal(&mut self, Renewing { csr, answer }: Renewing) {
        let Some(outbound) = self.outbound.clone() else { return };
        let request = self.requests.open_new(Request::Renewal(answer));
        if outbound.try_send(ClientMessage::Renew(Renew { request, csr })).is_err() {
            self.requests.open.remove(&request);
        }
    }

    pub(super) fn handle_renewed(&mut self, renewed: Renewed) {
        // An answer that nobody waits for any more, or to another question, is none.
        if let Some(Request::Renewal(_)) = self.requests.open.get(&renewed.request)
            && let Some(Request::Renewal(answer)) = self.requests.open.remove(&renewed.request)
        {
            let _ = answer.send(Ok(renewed));
        }
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
            (Some(Request::Asked(reply)), outcome) => {
                // Who has gone away finds out by what he may read.
                let _ = reply.send(result_of(outcome));
            }
            (Some(Request::Renewal(answer)), outcome) => {
                let _ = answer.send(Err(outcome));
            }
            (None, _) => {}
        }
        Ok(())
    }
}

fn result_of(outcome: Outcome) -> Result<(), SdkError> {
    match outcome {
        Outcome::Done => Ok(()),
        Outcome::NotPermitted => Err(SdkError::NotPermitted),
        Outcome::Unknown => Err(SdkError::UnknownCase),
        Outcome::Unavailable => Err(SdkError::Unavailable),
        Outcome::TooOften => Err(SdkError::TooOften),
    }
}

/// How long readings wait for others.
const READINGS_TOLD_AFTER: Duration = Duration::from_secs(60);
/// When receipts that the gateway could not take are sent again; doubled each time.
const RECEIPTS_AGAIN: Duration = Duration::from_secs(60);
/// Up to an hour.
const DOUBLED_MAX: u32 = 6;
