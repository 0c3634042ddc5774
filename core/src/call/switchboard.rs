//! All calls of a gateway and all desks on duty: inputs in, effects out.
//!
//! Nothing it says may be said before what it has changed is durable: [`Switchboard::take_changed`] gives what to store, and the
//! effects of the same inputs are for afterwards. What was stored is all it needs to go on after a restart
//! ([`Switchboard::restore`]): every party is away then, and comes back or not, as after any other loss.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use self::{
    one::Call,
    roster::{Desk, Joined, Roster},
};
use super::{Centre, Duty, End, Fact, Intent, Out, Outcome, Party, Plan, Refusal, Reply, Standing, Told, message};
use crate::ids::{CallId, CaseId, DeviceId, SessionId, TenantId};

mod acts;
mod one;
mod queue;
mod roster;
mod timers;
mod transfer;

/// All of it.
#[derive(Debug, Clone)]
pub struct Switchboard {
    plan: Plan,
    calls: BTreeMap<CallId, Call>,
    roster: Roster,
    /// Parties have to hear of it.
    changed: BTreeSet<CallId>,
    /// To be stored.
    unstored: BTreeSet<CallId>,
    changed_desks: BTreeSet<DeviceId>,
    /// Desks that were rung and are no more: they are told once.
    outs: Vec<(CallId, DeviceId, Out)>,
    effects: Vec<Effect>,
}

/// Something has happened.
#[derive(Debug, Clone)]
pub enum Input {
    /// A device has its calls in this session from here on.
    Joined {
        /// Which session.
        session: SessionId,
        /// Who it is.
        who: Party,
        /// Whether it is a crew's: it calls.
        is_crew: bool,
        /// Whether it is a physician's: it takes calls.
        is_desk: bool,
    },
    /// A session is over.
    Left {
        /// Which.
        session: SessionId,
    },
    /// Nothing is heard of a session.
    Silent {
        /// Which.
        session: SessionId,
    },
    /// Something is heard of it again.
    Heard {
        /// Of which.
        session: SessionId,
    },
    /// A desk takes calls or takes no more.
    Duty {
        /// In which session that was said.
        session: SessionId,
        /// What.
        duty: Duty,
    },
    /// A device wants something.
    Intent {
        /// In which session that was said.
        session: SessionId,
        /// What.
        intent: Intent,
        /// In whose log the case is.
        log: TenantId,
        /// Whether it may write the case; asked of those who want a call.
        may_write: bool,
    },
    /// Time has passed.
    Tick,
}

/// What is to be done, once what has changed is durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Say it in that session.
    Tell {
        /// Where.
        session: SessionId,
        /// What.
        told: Told,
    },
    /// The desk has to see the case, for as long as it is in the call and the crew may write it. Said again after a restart.
    Open {
        /// The desk.
        desk: About,
        /// The crew that has called it.
        crew: Party,
    },
    /// It has left the call, then by the caller's clock (milliseconds): it sees the case for a while after that, and no longer.
    /// Said again after a restart.
    Shut(About, i64),
    /// The leg needs credentials for the relay.
    Relay {
        /// Where to send them.
        session: SessionId,
        /// For which call.
        call: CallId,
        /// For which leg.
        leg: u8,
    },
    /// Who may speak to whom has changed: see [`Switchboard::ways`].
    Ways(CallId),
    /// For the audit log.
    Note {
        /// What.
        what: Note,
        /// Of whom, in which call.
        about: About,
    },
}

/// A party of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct About {
    /// The call.
    pub call: CallId,
    /// Its case.
    pub case: CaseId,
    /// In whose log that is.
    pub log: TenantId,
    /// The party.
    pub who: Party,
}

/// What the audit log is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Note {
    /// A physician was asked for.
    Called,
    /// Somebody has taken it.
    Accepted,
    /// Somebody who was rung did not.
    Declined,
    /// Another physician has it.
    Transferred,
    /// It is over.
    Ended(End),
}

/// Who in a call may speak to whom at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ways {
    /// The call's legs that have a session: number, epoch, session.
    pub legs: Vec<(u8, u32, SessionId)>,
    /// Every party that has to say that it lives: legs, and desks that are rung.
    pub watched: Vec<SessionId>,
}

/// What is to be stored. `None` as content: to be forgotten.
#[derive(Debug, Clone, Default)]
pub struct Changed {
    /// Calls.
    pub calls: Vec<(CallId, Option<Kept>)>,
    /// Desks on duty.
    pub desks: Vec<(DeviceId, Option<Kept>)>,
}

/// A call or a desk as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Kept(Thing);

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Thing {
    Call(Box<Call>),
    Desk(Desk),
}

impl Switchboard {
    /// Without calls.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            calls: BTreeMap::new(),
            roster: Roster::default(),
            changed: BTreeSet::new(),
            unstored: BTreeSet::new(),
            changed_desks: BTreeSet::new(),
            outs: Vec::new(),
            effects: Vec::new(),
        }
    }

    /// As it was before a restart, with everybody away; what it wants done is given by the next input.
    pub fn restore(plan: Plan, kept: impl IntoIterator<Item = Kept>, now_ms: i64) -> Self {
        let mut switchboard = Self::new(plan);
        for Kept(thing) in kept {
            match thing {
                Thing::Call(mut call) => {
                    call.all_away(now_ms);
                    switchboard.effects.extend(call.desks_seen());
                    if !call.is_over() {
                        switchboard.changed.insert(call.id);
                    }
                    switchboard.calls.insert(call.id, *call);
                }
                Thing::Desk(desk) => switchboard.roster.restore(desk, now_ms),
            }
        }
        switchboard
    }

    /// Takes one input. What it has changed is to be stored before the effects are brought about.
    pub fn apply(&mut self, now_ms: i64, input: Input) -> Vec<Effect> {
        match input {
            Input::Joined { session, who, is_crew, is_desk } => self.join(now_ms, session, who, is_crew, is_desk),
            Input::Left { session } => {
                if let Some(device) = self.roster.leave(session, now_ms) {
                    self.changed_desks.insert(device);
                    self.lose(device, now_ms);
                }
            }
            Input::Silent { session } => {
                if let Some(device) = self.roster.silence(session, true, now_ms) {
                    self.lose(device, now_ms);
                }
            }
            Input::Heard { session } => {
                if let Some(device) = self.roster.silence(session, false, now_ms) {
                    self.find(device);
                }
            }
            Input::Duty { session, duty } => {
                if let Some(device) = self.roster.duty(session, duty) {
                    self.changed_desks.insert(device);
                }
            }
            Input::Intent { session, intent, log, may_write } => {
                let (key, outcome) = (intent.key, self.want(now_ms, session, intent, log, may_write));
                self.effects.push(Effect::Tell { session, told: Told::Reply(Reply { key, outcome }) });
            }
            Input::Tick => {}
        }
        self.settle(now_ms);
        self.tell();
        std::mem::take(&mut self.effects)
    }

    /// What has changed since it was last asked.
    pub fn take_changed(&mut self) -> Changed {
        let call = |id| (id, self.calls.get(&id).map(|call| Kept(Thing::Call(Box::new(call.clone())))));
        let desk = |id| (id, self.roster.kept(id).map(|desk| Kept(Thing::Desk(desk))));
        Changed {
            calls: std::mem::take(&mut self.unstored).into_iter().map(call).collect(),
            desks: std::mem::take(&mut self.changed_desks).into_iter().map(desk).collect(),
        }
    }

    /// When it has to be ticked at the latest, if nothing else happens.
    pub fn next_due(&self) -> Option<i64> {
        let of_calls = self.calls.values().flat_map(|call| call.timers(&self.plan)).map(|(_, at_ms)| at_ms);
        let is_waiting = self.calls.values().any(Call::is_waiting);
        let of_desks = self.roster.next_gone().filter(|_| is_waiting);
        of_calls.chain(of_desks).min()
    }

    /// Who in that call may speak to whom.
    pub fn ways(&self, call: CallId) -> Ways {
        let Some(call) = self.calls.get(&call).filter(|call| !call.is_over()) else { return Ways::default() };
        let session = |device| self.roster.joined(device).map(|joined| joined.session);
        let sides = || call.sides.iter().filter(|side| side.out.is_none());
        // Who is silent for a moment and has a session still may be reached by what is on its way.
        let legs = sides().filter(|side| !call.is_rung_crew(side.leg));
        let legs = legs.filter_map(|side| Some((side.leg, side.epoch, session(side.party.device)?))).collect();
        let devices = sides().map(|side| side.party.device).chain(call.rung().iter().copied());
        Ways { legs, watched: devices.filter_map(session).collect() }
    }

    /// How many calls are under way.
    pub fn live(&self) -> usize {
        self.calls.values().filter(|call| !call.is_over()).count()
    }

    /// Every call as its crew sees it, for operators and tests.
    pub fn overview(&self) -> Vec<Fact> {
        self.calls.values().map(|call| self.fact(call, Standing::Leg(0))).collect()
    }

    /// Whether the call is known, as long as it is kept.
    pub fn knows(&self, call: CallId) -> bool {
        self.calls.contains_key(&call)
    }

    /// Desks on duty.
    pub fn on_duty(&self) -> Vec<(Party, Duty)> {
        self.roster.desks().map(|desk| (desk.party.clone(), Duty { capacity: desk.capacity })).collect()
    }

    fn join(&mut self, now_ms: i64, session: SessionId, who: Party, is_crew: bool, is_desk: bool) {
        let device = who.device;
        self.leave_to_another(&who, now_ms);
        if self.roster.join(Joined { session, who: who.clone(), is_crew, is_desk, is_silent: false }) {
            self.changed_desks.insert(device);
        }
        let mut own = Vec::new();
        for call in self.calls.values_mut() {
            if call.rejoin(&who) || call.rung().contains(&device) {
                self.changed.insert(call.id);
                own.push(call.id);
            }
        }
        let route = self.plan.route(&who.unit.tenant);
        let dispatch = route.and_then(|route| route.dispatch.clone());
        self.effects.push(Effect::Tell { session, told: Told::Joined(message::Joined { calls: own, dispatch }) });
    }

    /// Somebody else sits at the desk: what the one before had there is not his.
    fn leave_to_another(&mut self, who: &Party, now_ms: i64) {
        let his = |call: &&Call| !call.is_over() && call.side_of(who.device).is_some_and(|side| !side.is_of(who));
        let calls: Vec<CallId> = self.calls.values().filter(his).map(|call| call.id).collect();
        for id in calls {
            let Some(call) = self.calls.get(&id) else { continue };
            let by = call.taken().map(|taken| taken.by);
            match call.side_of(who.device).map(|side| side.leg) {
                Some(leg) if call.is_recall() || by == Some(leg) => self.offer_again(id, now_ms),
                Some(_) => self.give_up_transfer(id, Out::Lost, now_ms),
                None => {}
            }
        }
    }

    /// What the device takes part in, it does no more.
    fn lose(&mut self, device: DeviceId, now_ms: i64) {
        for call in self.calls.values_mut().filter(|call| !call.is_over()) {
            if call.lose(device, now_ms) {
                self.changed.insert(call.id);
            }
        }
    }

    fn find(&mut self, device: DeviceId) {
        for call in self.calls.values_mut().filter(|call| !call.is_over()) {
            if call.find(device) {
                self.changed.insert(call.id);
            }
        }
    }

    /// Until nothing changes any more.
    fn settle(&mut self, now_ms: i64) {
        self.run_timers(now_ms);
        self.pass_over_absent(now_ms);
        self.assign(now_ms);
    }

    fn tell(&mut self) {
        let outs = std::mem::take(&mut self.outs);
        for id in std::mem::take(&mut self.changed) {
            self.unstored.insert(id);
            let Some(call) = self.calls.get_mut(&id) else { continue };
            call.seq += 1;
            let call = &self.calls[&id];
            let mut told: Vec<(DeviceId, Standing)> = call.audience();
            let left =
                outs.iter().filter(|(of, device, _)| *of == id && !told.iter().any(|(known, _)| known == device));
            let left: Vec<_> = left.map(|(_, device, out)| (*device, Standing::Out(*out))).collect();
            told.extend(left);
            for (device, standing) in told {
                let Some(joined) = self.roster.joined(device) else { continue };
                if let Standing::Leg(leg) = standing
                    && !call.sides.get(usize::from(leg)).is_some_and(|side| side.is_of(&joined.who))
                {
                    continue;
                }
                let fact = Box::new(self.fact(call, standing));
                self.effects.push(Effect::Tell { session: joined.session, told: Told::Fact(fact) });
            }
            self.effects.push(Effect::Ways(id));
        }
    }

    fn fact(&self, call: &Call, standing: Standing) -> Fact {
        let dispatch = self.plan.route(&call.log).and_then(|route| route.dispatch.as_ref());
        let centre_of = |centre: &Centre| self.plan.phone_of(centre);
        let desk = call
            .physician()
            .map(|side| &side.party.unit)
            .or(call.place.as_ref().and_then(|place| place.centre.as_ref()));
        let for_crew = match call.is_over() && call.physician().is_none() {
            true => dispatch,
            false => desk.and_then(centre_of).or(dispatch),
        };
        let is_crew = standing == Standing::Leg(0) || call.is_recall() && matches!(standing, Standing::Rung { .. });
        let phone = match standing {
            _ if is_crew => for_crew,
            Standing::Leg(_) => call.phone.as_ref(),
            // Whoever is no party does not ring anybody.
            Standing::Rung { .. } | Standing::Out(_) => None,
        };
        call.fact(standing, phone.cloned())
    }

    fn end(&mut self, id: CallId, now_ms: i64, end: End) {
        if self.calls.get(&id).is_none_or(Call::is_over) {
            return;
        }
        self.withdraw_all(id, Out::Ended);
        // Whoever was about to take over never had it.
        self.give_up_transfer(id, Out::Ended, now_ms);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let about = call.about(&call.sides[0].party);
        self.effects.push(Effect::Note { what: Note::Ended(end), about });
        let shut = call.finish(now_ms, end);
        self.effects.extend(shut);
        self.changed.insert(id);
    }

    /// Nobody is rung for it any more.
    fn withdraw_all(&mut self, id: CallId, out: Out) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let rung = call.take_rung();
        self.outs.extend(rung.into_iter().map(|device| (id, device, out)));
    }
}

fn refused(refusal: Refusal) -> Outcome {
    Outcome::Refused(refusal)
}
