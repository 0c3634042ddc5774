//! What devices want, done or refused.

use super::{
    super::{Act, Category, End, Intent, Media, Out, Outcome, Party, Phone, Refusal, Times},
    Effect, Note, Switchboard,
    one::{Call, Side, Stage, Taken},
    refused,
};
use crate::{
    ids::{CallId, CaseId, DeviceId, SessionId, TenantId},
    limits,
};

/// Somebody wants a call.
struct Wanted {
    call: CallId,
    case: CaseId,
    log: TenantId,
    category: Category,
    phone: Option<Phone>,
}

impl Switchboard {
    pub(super) fn want(
        &mut self,
        now_ms: i64,
        session: SessionId,
        Intent { key, call, act }: Intent,
        log: TenantId,
        may_write: bool,
    ) -> Outcome {
        let Some(joined) = self.roster.by_session(session).cloned() else { return refused(Refusal::Superseded) };
        let device = joined.who.device;
        let done = self.calls.get(&call).and_then(|call| call.done.iter().find(|(known, _)| *known == key));
        let is_party =
            |call: &Call| call.side_of(device).is_some_and(|side| !side.has_noted) || call.rung().contains(&device);
        let was_party = self.calls.get(&call).is_some_and(is_party);
        match done {
            // It was done, and somebody else has it by now: no fact of it would ever follow.
            Some(_) if matches!(act, Act::Call { .. }) && !was_party => return refused(Refusal::Unknown),
            Some((_, outcome)) => return *outcome,
            None => {}
        }
        // Said again, it is wanted again.
        let is_lasting = act != Act::Relay;
        let outcome = match act {
            Act::Call { case, category, phone } => {
                let wanted = Wanted { call, case, log, category, phone };
                match (joined.is_crew, joined.is_desk) {
                    _ if !may_write => refused(Refusal::NotPermitted),
                    (true, _) => self.call(now_ms, wanted, joined.who),
                    (false, true) => self.recall(now_ms, wanted, joined.who),
                    (false, false) => refused(Refusal::NotPermitted),
                }
            }
            act => self.want_of(now_ms, call, device, session, act),
        };
        let is_lasting = is_lasting && !matches!(outcome, Outcome::Refused(Refusal::Unknown | Refusal::TooMany));
        if let Some(known) = self.calls.get_mut(&call).filter(|known| is_lasting && (was_party || is_party(known))) {
            known.remember(key, outcome);
            self.unstored.insert(call);
        }
        outcome
    }

    /// A crew wants a physician.
    fn call(&mut self, now_ms: i64, wanted: Wanted, who: Party) -> Outcome {
        if let Some(known) = self.calls.get(&wanted.call) {
            let is_his = known.case == wanted.case && known.sides[0].party.device == who.device;
            return if is_his { Outcome::Done } else { refused(Refusal::NotPermitted) };
        }
        if let Some(live) = self.live_about(wanted.case) {
            return self.merge_crew(live, now_ms, wanted, who);
        }
        if !self.has_room_for(who.device) {
            return refused(Refusal::TooMany);
        }
        self.forget_old(who.device);
        let id = wanted.call;
        let call = Call::new(wanted.call, wanted.case, wanted.log, wanted.category, wanted.phone, now_ms, who.clone());
        self.effects.push(Effect::Note { what: Note::Called, about: call.about(&who) });
        self.calls.insert(id, call);
        self.changed.insert(id);
        Outcome::Done
    }

    /// The crew of a case about which a call is under way: it is that one, as far as the crew is not in it with another device.
    fn merge_crew(&mut self, id: CallId, now_ms: i64, wanted: Wanted, who: Party) -> Outcome {
        let Some(call) = self.calls.get_mut(&id) else { return refused(Refusal::Unknown) };
        let is_recall = call.is_recall();
        let crew = &mut call.sides[0];
        let is_same = crew.party.device == who.device;
        let may_step_in = crew.party.unit == who.unit && crew.lost_ms.is_some();
        if !is_same && !may_step_in && !is_recall {
            return refused(Refusal::Taken);
        }
        if !is_same {
            *crew = Side { party: who, epoch: crew.epoch + 1, lost_ms: None, media: Media::New, ..crew.clone() };
        }
        call.phone = wanted.phone.or(call.phone.take());
        call.category = call.category.min(wanted.category);
        if is_recall {
            // Both want the same.
            call.sides[0].lost_ms = None;
            self.begin(id, 1, now_ms);
        }
        self.changed.insert(id);
        Outcome::Merged(id)
    }

    /// A physician wants the crew of a case back.
    fn recall(&mut self, now_ms: i64, wanted: Wanted, who: Party) -> Outcome {
        if let Some(known) = self.calls.get(&wanted.call) {
            let is_his = known.case == wanted.case && known.side_of(who.device).is_some();
            return if is_his { Outcome::Done } else { refused(Refusal::NotPermitted) };
        }
        if let Some(live) = self.live_about(wanted.case) {
            let Some(call) = self.calls.get(&live) else { return refused(Refusal::Unknown) };
            if call.side_of(who.device).is_some() {
                return Outcome::Merged(live);
            }
            if !call.is_waiting() {
                return refused(Refusal::Taken);
            }
            // The crew calls at the same time: this is the answer.
            return match self.take(live, now_ms, who) {
                Outcome::Done => Outcome::Merged(live),
                other => other,
            };
        }
        let of_case = self.calls.values().filter(|call| call.case == wanted.case);
        let Some(last) = of_case.max_by_key(|call| call.times.ended_ms) else { return refused(Refusal::NobodyThere) };
        if !self.has_room_for(who.device) {
            return refused(Refusal::TooMany);
        }
        let (crew, phone, id) = (last.sides[0].party.clone(), last.phone.clone(), wanted.call);
        self.forget_old(crew.device);
        let is_there = self.roster.is_present(crew.device);
        let mut call = Call::new(id, wanted.case, wanted.log, wanted.category, phone, now_ms, crew);
        call.sides[0].lost_ms = (!is_there).then_some(now_ms);
        call.stage = Stage::Recalling { until_ms: now_ms + self.plan.ring_for_ms };
        call.times.rang_ms = Some(now_ms);
        call.add_side(who.clone());
        let about = call.about(&who);
        self.effects.push(Effect::Note { what: Note::Called, about });
        self.effects.push(call.opening(&who));
        self.calls.insert(id, call);
        self.changed.insert(id);
        Outcome::Done
    }

    fn want_of(&mut self, now_ms: i64, id: CallId, device: DeviceId, session: SessionId, act: Act) -> Outcome {
        let Some(call) = self.calls.get(&id) else { return refused(Refusal::Unknown) };
        let who = self.roster.joined(device).map(|joined| &joined.who);
        let leg = who.and_then(|who| call.side_of(device).filter(|side| side.is_of(who))).map(|side| side.leg);
        let is_rung = call.rung().contains(&device);
        let is_physician = leg.is_some_and(|leg| leg > 0 && call.taken().is_some_and(|taken| taken.by == leg));
        match act {
            Act::Accept => self.accept(id, device, leg, is_rung, now_ms),
            Act::Decline => self.decline(id, device, leg, is_rung, now_ms),
            Act::HangUp => self.hang_up(id, device, leg, is_rung, now_ms),
            Act::Relay => match leg {
                Some(leg) if !call.is_over() => {
                    self.effects.push(Effect::Relay { session, call: id, leg });
                    Outcome::Done
                }
                Some(_) => refused(Refusal::NotNow),
                None => refused(Refusal::Unknown),
            },
            Act::Noted => {
                let Some(side) = leg.filter(|_| call.is_over()).and_then(|leg| self.calls.get_mut(&id)?.side_mut(leg))
                else {
                    return refused(if leg.is_some() { Refusal::NotNow } else { Refusal::Unknown });
                };
                // The call itself is kept for a while: for a physician who wants the crew back.
                side.has_noted = true;
                self.changed.insert(id);
                Outcome::Done
            }
            _ if leg.is_none() => refused(Refusal::Unknown),
            Act::Hold | Act::Unhold if !is_physician => refused(Refusal::NotNow),
            Act::Hold | Act::Unhold => {
                let is_held = act == Act::Hold;
                let Some(taken) = self.calls.get_mut(&id).and_then(|call| call.taken_mut()) else {
                    return refused(Refusal::NotNow);
                };
                taken.is_held = is_held;
                self.changed.insert(id);
                Outcome::Done
            }
            Act::Transfer(to) => self.transfer(id, device, to, now_ms),
            Act::CancelTransfer if is_physician => {
                self.give_up_transfer(id, Out::Withdrawn, now_ms);
                Outcome::Done
            }
            Act::Media { leg: other, state } => self.media(id, leg.unwrap_or(0), other, state, now_ms),
            Act::Phoned => self.phoned(id, leg.unwrap_or(0), now_ms),
            Act::CancelTransfer => refused(Refusal::NotPermitted),
            Act::Call { .. } => refused(Refusal::NotNow),
        }
    }

    fn accept(&mut self, id: CallId, device: DeviceId, leg: Option<u8>, is_rung: bool, now_ms: i64) -> Outcome {
        let Some(call) = self.calls.get(&id) else { return refused(Refusal::Unknown) };
        let who = self.roster.joined(device).map(|joined| joined.who.clone());
        match (&call.stage, leg, who) {
            (Stage::Recalling { .. }, Some(0), _) => {
                self.begin(id, 1, now_ms);
                Outcome::Done
            }
            // Said twice.
            (Stage::Taken(_), Some(leg), _) if leg > 0 => Outcome::Done,
            (Stage::Waiting(_), None, Some(who)) if is_rung => self.take(id, now_ms, who),
            (Stage::Taken(_), None, _) if is_rung => self.join_transfer(id, device, now_ms),
            (Stage::Taken(_), None, _) => refused(Refusal::Taken),
            _ => refused(Refusal::NotNow),
        }
    }

    /// The first one has it.
    fn take(&mut self, id: CallId, now_ms: i64, who: Party) -> Outcome {
        let capacity = self.roster.desk(who.device).map_or(1, |desk| usize::from(desk.capacity));
        if self.load(who.device) >= capacity {
            return refused(Refusal::TooMany);
        }
        let Some(call) = self.calls.get_mut(&id) else { return refused(Refusal::Unknown) };
        if let Stage::Waiting(Some(ring)) = &call.stage {
            call.times.rung_for_ms += now_ms - ring.since_ms;
        }
        let others = call.take_rung().into_iter().filter(|other| *other != who.device);
        self.outs.extend(others.map(|other| (id, other, Out::Taken)));
        let Some(leg) = call.add_side(who.clone()) else { return refused(Refusal::TooMany) };
        let opening = call.opening(&who);
        self.effects.push(opening);
        self.begin(id, leg, now_ms);
        Outcome::Done
    }

    /// Somebody has the call.
    fn begin(&mut self, id: CallId, by: u8, now_ms: i64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        call.stage = Stage::Taken(Taken {
            by,
            at_ms: now_ms,
            has_spoken: false,
            is_late: false,
            is_held: false,
            transfer: None,
        });
        call.times.accepted_ms = Some(now_ms);
        call.place = None;
        call.tried.clear();
        let about = call.physician().map(|side| call.about(&side.party));
        self.effects.extend(about.map(|about| Effect::Note { what: Note::Accepted, about }));
        for leg in [0, by] {
            let device = call.sides.get(usize::from(leg)).map(|side| side.party.device);
            let session = device.and_then(|device| self.roster.joined(device)).map(|joined| joined.session);
            self.effects.extend(session.map(|session| Effect::Relay { session, call: id, leg }));
        }
        self.changed.insert(id);
    }

    fn decline(&mut self, id: CallId, device: DeviceId, leg: Option<u8>, is_rung: bool, now_ms: i64) -> Outcome {
        let Some(call) = self.calls.get(&id) else { return refused(Refusal::Unknown) };
        if call.is_rung_crew(leg.unwrap_or(u8::MAX)) {
            self.end(id, now_ms, End::CrewDeclined);
            return Outcome::Done;
        }
        if !is_rung {
            return refused(Refusal::NotNow);
        }
        let who = self.roster.joined(device).map(|joined| call.about(&joined.who));
        self.effects.extend(who.map(|about| Effect::Note { what: Note::Declined, about }));
        match call.is_waiting() {
            true => self.pass_over(id, &[device], Out::Declined, now_ms),
            false => self.leave_transfer(id, device, Out::Declined, now_ms),
        }
        Outcome::Done
    }

    fn hang_up(&mut self, id: CallId, device: DeviceId, leg: Option<u8>, is_rung: bool, now_ms: i64) -> Outcome {
        let Some(call) = self.calls.get(&id) else { return refused(Refusal::Unknown) };
        let joining = call.taken().and_then(|taken| taken.transfer.as_ref()).and_then(|transfer| transfer.joining);
        match (&call.stage, leg) {
            (Stage::Over(_), Some(_)) => {}
            (_, None) if is_rung => return self.decline(id, device, leg, is_rung, now_ms),
            (_, None) => return refused(Refusal::Unknown),
            (Stage::Waiting(_), Some(_)) => self.end(id, now_ms, End::Withdrawn),
            (Stage::Recalling { .. }, Some(0)) => self.end(id, now_ms, End::CrewDeclined),
            (Stage::Recalling { .. }, Some(_)) => self.end(id, now_ms, End::PhysicianHungUp),
            (Stage::Taken(_), Some(0)) => self.end(id, now_ms, End::CrewHungUp),
            (Stage::Taken(_), Some(leg)) if joining == Some(leg) => self.give_up_transfer(id, Out::Declined, now_ms),
            // Whoever takes over is there: the call goes on.
            (Stage::Taken(_), Some(_)) if joining.is_some() => self.take_over(id, now_ms, Out::Transferred),
            (Stage::Taken(_), Some(_)) => self.end(id, now_ms, End::PhysicianHungUp),
        }
        Outcome::Done
    }

    fn media(&mut self, id: CallId, own: u8, other: u8, state: Media, now_ms: i64) -> Outcome {
        let Some(call) = self.calls.get_mut(&id).filter(|call| !call.is_over()) else {
            return refused(Refusal::NotNow);
        };
        // Between the crew and a desk: what either says is told of the desk's leg, and of the crew's where that desk has the call.
        let desk = own.max(other);
        let is_pair = own.min(other) == 0 && desk > 0;
        let is_there = call.sides.get(usize::from(desk)).is_some_and(|side| side.out.is_none());
        let Some(by) = call.taken().map(|taken| taken.by).filter(|_| is_pair && is_there) else {
            return refused(Refusal::NotNow);
        };
        let is_changed = call.side_mut(own).is_some_and(|side| std::mem::replace(&mut side.media, state) != state);
        if desk == by && state == Media::Connected {
            call.times.connected_ms.get_or_insert(now_ms);
            call.taken_mut().into_iter().for_each(|taken| taken.has_spoken = true);
        }
        if is_changed {
            self.changed.insert(id);
        }
        self.media_of(id, desk, state, now_ms);
        Outcome::Done
    }

    fn phoned(&mut self, id: CallId, leg: u8, now_ms: i64) -> Outcome {
        let Some(call) = self.calls.get_mut(&id) else { return refused(Refusal::Unknown) };
        if !call.phoned.contains(&leg) {
            call.phoned.push(leg);
            call.times.connected_ms.get_or_insert(now_ms);
            call.taken_mut().into_iter().for_each(|taken| taken.has_spoken = true);
            self.changed.insert(id);
        }
        Outcome::Done
    }

    fn live_about(&self, case: CaseId) -> Option<CallId> {
        self.calls.values().find(|call| call.case == case && !call.is_over()).map(|call| call.id)
    }

    /// For another call of that device.
    fn has_room_for(&self, device: DeviceId) -> bool {
        let his = self.calls.values().filter(|call| !call.is_over() && call.side_of(device).is_some());
        self.live() < limits::CALLS_MAX && his.count() < limits::CALLS_PER_DEVICE
    }

    /// Of what a device has had, so much is kept: one that calls and hangs up without end fills nothing.
    fn forget_old(&mut self, device: DeviceId) {
        let his = self.calls.values().filter(|call| call.sides[0].party.device == device);
        let mut over: Vec<_> = his.filter_map(|call| Some((call.times.ended_ms?, call.id))).collect();
        over.sort_unstable();
        let surplus = (over.len() + 1).saturating_sub(limits::CALLS_KEPT_PER_DEVICE);
        for (_, id) in over.into_iter().take(surplus) {
            self.calls.remove(&id);
            self.changed.insert(id);
        }
    }
}

impl Call {
    fn new(
        id: CallId,
        case: CaseId,
        log: TenantId,
        category: Category,
        phone: Option<Phone>,
        now_ms: i64,
        crew: Party,
    ) -> Self {
        Self {
            id,
            case,
            log,
            category,
            phone,
            seq: 0,
            stage: Stage::Waiting(None),
            sides: vec![Side::new(0, crew)],
            tried: Vec::new(),
            waits_since_ms: now_ms,
            place: None,
            phoned: Vec::new(),
            times: Times { called_ms: now_ms, ..Times::default() },
            done: Vec::new(),
        }
    }
}
