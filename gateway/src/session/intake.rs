//! What a device pushes on one of its lanes: admitted in its order, as much at once as the lane may, and no more than the
//! device's share.

use std::{collections::VecDeque, pin::Pin, sync::Arc};

use feldakte_core::{ids::DocumentId, lane::Lane};
use feldakte_proto::{Push, Reason};
use tokio::time::Sleep;
use tracing::warn;

use super::{Device, SessionError};
use crate::{
    mailbox::Mailbox,
    pushes::{self, Origin, Submitted},
    quotas::Rest,
};

/// The pushes of one lane.
pub(super) struct Intake {
    device: Arc<Device>,
    /// Where their answers go.
    mailbox: Arc<Mailbox>,
    lane: Lane,
    room: Room,
    /// Bytes of each push that waits for its answer.
    in_flight: VecDeque<u32>,
    last_push: u64,
    /// The device has used up a share: until then it is not read from.
    rest: Option<Pin<Box<Sleep>>>,
    rest_logged: bool,
    /// Reasons of refusals that have been logged, one bit each.
    reasons_logged: u32,
}

/// How much may wait for its answer.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) pushes: usize,
    pub(super) bytes: usize,
}

impl Intake {
    pub(super) fn new(device: Arc<Device>, mailbox: Arc<Mailbox>, lane: Lane, room: Room) -> Self {
        let (in_flight, last_push) = (VecDeque::new(), 0);
        let mut intake = Self {
            device,
            mailbox,
            lane,
            room,
            in_flight,
            last_push,
            rest: None,
            rest_logged: false,
            reasons_logged: 0,
        };
        // What was used up in an earlier session stays used up.
        intake.rest_if_used_up();
        intake
    }

    /// Whether another message may be read.
    pub(super) fn has_room(&self) -> bool {
        let bytes: usize = self.in_flight.iter().map(|bytes| *bytes as usize).sum();
        self.in_flight.len() < self.room.pushes && bytes < self.room.bytes && self.rest.is_none()
    }

    /// Whether a push waits for its answer.
    pub(super) fn is_idle(&self) -> bool {
        self.in_flight.is_empty()
    }

    /// Ends when the share that was used up has come back. Cancel-safe.
    pub(super) async fn rested(&mut self) {
        match &mut self.rest {
            Some(rest) => rest.await,
            None => std::future::pending().await,
        }
        self.rest_if_used_up();
    }

    /// Admits what may enter of a push.
    ///
    /// # Errors
    /// When the session has to end.
    pub(super) async fn push(&mut self, push: Push) -> Result<(), SessionError> {
        if push.push <= self.last_push {
            return Err(SessionError::Unexpected("push numbers must ascend"));
        }
        self.last_push = push.push;
        let Device { shared, speaker, trail, .. } = &*self.device;
        let (document, origin) = (push.document, Origin { trail, mailbox: &self.mailbox, lane: self.lane });
        let Submitted { bytes, cost, reasons } = pushes::submit(shared, speaker, origin, push).await?;
        shared.quotas.charge(speaker.principal.device, &speaker.log, cost);
        self.log_refusals(document, reasons);
        self.in_flight.push_back(bytes);
        self.rest_if_used_up();
        Ok(())
    }

    /// The push that has waited longest is answered.
    pub(super) fn answered(&mut self) {
        self.in_flight.pop_front();
    }

    /// The device wanted more than its share.
    pub(super) fn note_used_up(&mut self, share: &'static str) {
        let Device { shared, speaker, mailbox, .. } = &*self.device;
        shared.metrics.devices_slowed.get_or_create(&vec![("share", share)]).inc();
        // Once per lane, as refusals are.
        if !self.rest_logged {
            self.rest_logged = true;
            warn!(session = %mailbox.session(), device = %speaker.principal.device, share, "share used up; read slowly");
        }
    }

    fn rest_if_used_up(&mut self) {
        let Device { shared, speaker, .. } = &*self.device;
        let rest = shared.quotas.rest(speaker.principal.device, &speaker.log);
        self.rest = rest.map(|rest| Box::pin(tokio::time::sleep_until(rest.until)));
        if let Some(Rest { share, .. }) = rest {
            self.note_used_up(share);
        }
    }

    /// Once per reason and lane: enough to find the device, too little to fill a disk.
    fn log_refusals(&mut self, document: DocumentId, reasons: Vec<Reason>) {
        let Device { speaker, mailbox, trail, .. } = &*self.device;
        for reason in reasons {
            let bit = 1 << reason as u32;
            trail.note_refusal(document, reason);
            if self.reasons_logged & bit == 0 {
                self.reasons_logged |= bit;
                let (id, device) = (mailbox.session(), speaker.principal.device);
                warn!(session = %id, %device, ?reason, "refused");
            }
        }
    }
}
