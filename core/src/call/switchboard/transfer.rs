//! Another physician takes over, and the first one stays until he has: make before break.

use super::{
    super::{Media, Out, Outcome, Refusal, Target},
    Effect, Note, Switchboard,
    one::{Stage, Transfer},
    refused,
};
use crate::ids::{CallId, DeviceId};

impl Switchboard {
    pub(super) fn transfer(&mut self, id: CallId, device: DeviceId, to: Target, now_ms: i64) -> Outcome {
        let until_ms = now_ms + self.plan.ring_for_ms;
        let Some(call) = self.calls.get(&id) else { return refused(Refusal::Unknown) };
        let is_physician = call.physician().is_some_and(|side| side.party.device == device);
        match call.taken() {
            Some(_) if !is_physician => return refused(Refusal::NotPermitted),
            Some(taken) if taken.transfer.is_none() => {}
            _ => return refused(Refusal::NotNow),
        }
        // Who did not take it before may well take it from a colleague.
        let call = super::Call { tried: vec![device], ..call.clone() };
        let rung: Vec<DeviceId> = match &to {
            Target::Centre(centre) => self.free_desks(centre, &call).map(|(device, _)| device).collect(),
            Target::Desk(desk) => {
                let unit = self.roster.desk(*desk).map(|desk| desk.party.unit.clone());
                let free = unit.iter().flat_map(|unit| self.free_desks(unit, &call));
                free.map(|(device, _)| device).filter(|device| device == desk).collect()
            }
        };
        // Only where calls of this tenant may go at all.
        let route = self.plan.route(&call.log);
        let may_go = |device: &DeviceId| {
            let unit = self.roster.desk(*device).map(|desk| &desk.party.unit);
            unit.is_some_and(|unit| {
                unit.tenant == call.log
                    || route.is_some_and(|route| route.groups.iter().any(|group| group.centre == *unit))
            })
        };
        let rung: Vec<_> = rung.into_iter().filter(may_go).collect();
        if rung.is_empty() {
            return refused(Refusal::NobodyThere);
        }
        let Some(taken) = self.calls.get_mut(&id).and_then(|call| call.taken_mut()) else {
            return refused(Refusal::NotNow);
        };
        taken.is_held = false;
        taken.transfer = Some(Transfer { to, rung, until_ms, joining: None });
        self.changed.insert(id);
        Outcome::Done
    }

    /// One who was rung for a transfer says yes.
    pub(super) fn join_transfer(&mut self, id: CallId, device: DeviceId, now_ms: i64) -> Outcome {
        let Some(party) = self.roster.joined(device).map(|joined| joined.who.clone()) else {
            return refused(Refusal::Unknown);
        };
        let others: Vec<DeviceId> = self.calls.get(&id).map(|call| call.rung().to_vec()).unwrap_or_default();
        let Some(call) = self.calls.get_mut(&id) else { return refused(Refusal::Unknown) };
        let Some(leg) = call.add_side(party.clone()) else { return refused(Refusal::TooMany) };
        let Some(transfer) = call.taken_mut().and_then(|taken| taken.transfer.as_mut()) else {
            return refused(Refusal::NotNow);
        };
        transfer.rung.clear();
        transfer.joining = Some(leg);
        transfer.until_ms = now_ms + JOIN_WITHIN_MS;
        let opening = call.opening(&party);
        let losers = others.into_iter().filter(|other| *other != device);
        self.outs.extend(losers.map(|other| (id, other, Out::Taken)));
        self.effects.push(opening);
        self.changed.insert(id);
        Outcome::Done
    }

    /// The media of a leg that takes over flows: it has the call from here on.
    pub(super) fn media_of(&mut self, id: CallId, leg: u8, state: Media, now_ms: i64) {
        let Some(taken) = self.calls.get(&id).and_then(|call| call.taken()) else { return };
        let joining = taken.transfer.as_ref().and_then(|transfer| transfer.joining);
        if state == Media::Connected && joining == Some(leg) {
            self.take_over(id, now_ms, Out::Transferred);
        }
    }

    /// The leg that has joined has the call, the one before has left it.
    pub(super) fn take_over(&mut self, id: CallId, now_ms: i64, out: Out) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(taken) = call.taken_mut() else { return };
        let Some(leg) = taken.transfer.take().and_then(|transfer| transfer.joining) else { return };
        let before = std::mem::replace(&mut taken.by, leg);
        taken.at_ms = now_ms;
        taken.is_held = false;
        taken.has_spoken = out == Out::Transferred;
        taken.is_late = false;
        call.times.accepted_ms = Some(now_ms);
        let Some((device, shut)) = call.leave(before, out, now_ms) else { return };
        self.outs.push((id, device, out));
        let new = call.physician().map(|side| call.about(&side.party.clone()));
        self.effects.push(shut);
        self.effects.extend(new.map(|about| Effect::Note { what: Note::Transferred, about }));
        self.changed.insert(id);
    }

    /// Nobody takes over after all.
    pub(super) fn give_up_transfer(&mut self, id: CallId, out: Out, now_ms: i64) {
        self.withdraw_all(id, out);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some(transfer) = call.taken_mut().and_then(|taken| taken.transfer.take()) else { return };
        self.changed.insert(id);
        let Some((device, shut)) = transfer.joining.and_then(|leg| call.leave(leg, out, now_ms)) else { return };
        self.outs.push((id, device, out));
        self.effects.push(shut);
    }

    /// One who was rung for it does not, or cannot be reached.
    pub(super) fn leave_transfer(&mut self, id: CallId, device: DeviceId, out: Out, now_ms: i64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Stage::Taken(taken) = &mut call.stage else { return };
        let Some(transfer) = &mut taken.transfer else { return };
        transfer.rung.retain(|rung| *rung != device);
        let is_over = transfer.rung.is_empty() && transfer.joining.is_none();
        self.outs.push((id, device, out));
        self.changed.insert(id);
        if is_over {
            self.give_up_transfer(id, Out::Withdrawn, now_ms);
        }
    }

    /// Of those who are rung for transfers, whoever cannot be reached or is on duty no more.
    pub(super) fn pass_over_absent(&mut self, now_ms: i64) {
        let mut absent = Vec::new();
        for call in self.calls.values().filter(|call| call.taken().is_some()) {
            let is_there = |device| self.roster.is_present(device) && self.roster.desk(device).is_some();
            absent.extend(call.rung().iter().filter(|device| !is_there(**device)).map(|device| (call.id, *device)));
        }
        absent.into_iter().for_each(|(id, device)| self.leave_transfer(id, device, Out::Withdrawn, now_ms));
    }
}

/// How long media to a physician who takes over may take, in milliseconds; after it the first one keeps the call.
const JOIN_WITHIN_MS: i64 = 20_000;
