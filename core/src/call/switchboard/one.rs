//! One call, as it is stored.

use serde::{Deserialize, Serialize};

use super::{
    super::{Category, End, Fact, Leg, Media, Out, Outcome, Party, Phase, Phone, Place, Plan, Standing, Target, Times},
    About, Effect,
};
use crate::{
    ids::{CallId, CaseId, DeviceId, IntentKey, TenantId},
    limits,
};

/// All that is known of a call.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) case: CaseId,
    pub(super) log: TenantId,
    pub(super) category: Category,
    /// Of the crew.
    pub(super) phone: Option<Phone>,
    pub(super) seq: u64,
    pub(super) stage: Stage,
    /// Legs, by number; the crew's is first.
    pub(super) sides: Vec<Side>,
    /// Desks that are not rung again.
    pub(super) tried: Vec<DeviceId>,
    /// Since when it waits this time.
    pub(super) waits_since_ms: i64,
    pub(super) place: Option<Place>,
    pub(super) phoned: Vec<u8>,
    pub(super) times: Times,
    /// Intents and what became of them, oldest first.
    pub(super) done: Vec<(IntentKey, Outcome)>,
}

/// How far it is.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Stage {
    /// For a physician.
    Waiting(Option<Ring>),
    /// The desk wants its crew back; the crew's device is rung.
    Recalling {
        until_ms: i64,
    },
    Taken(Taken),
    Over(End),
}

/// Desks that are rung at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Ring {
    /// Which group of the route.
    pub(super) group: usize,
    pub(super) desks: Vec<DeviceId>,
    pub(super) since_ms: i64,
    pub(super) until_ms: i64,
}

/// Somebody has it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Taken {
    /// The physician's leg.
    pub(super) by: u8,
    pub(super) at_ms: i64,
    /// The parties have spoken, one way or another.
    pub(super) has_spoken: bool,
    /// They were told to take the telephone: media took too long.
    pub(super) is_late: bool,
    pub(super) is_held: bool,
    pub(super) transfer: Option<Transfer>,
}

/// Somebody is to take over.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Transfer {
    pub(super) to: Target,
    pub(super) rung: Vec<DeviceId>,
    pub(super) until_ms: i64,
    /// Who has said yes; media is made.
    pub(super) joining: Option<u8>,
}

/// One leg.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Side {
    pub(super) leg: u8,
    pub(super) party: Party,
    pub(super) epoch: u32,
    /// Since when it cannot be reached.
    pub(super) lost_ms: Option<i64>,
    pub(super) media: Media,
    /// It has no part in the call any more.
    pub(super) out: Option<Out>,
    /// Since when.
    pub(super) left_ms: Option<i64>,
    /// Its device has written down how the call ended.
    pub(super) has_noted: bool,
}

/// What a call waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Timer {
    /// Somebody takes it.
    Ring,
    /// Somebody takes it at all.
    Wait,
    /// The parties can speak.
    Connect,
    /// The crew comes back.
    CrewGrace,
    /// The physician comes back.
    PhysicianGrace,
    /// Somebody takes over.
    Transfer,
    /// It ends some time.
    Length,
    /// It is forgotten.
    Keep,
}

impl Call {
    pub(super) fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over(_))
    }

    pub(super) fn is_waiting(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_))
    }

    pub(super) fn is_recall(&self) -> bool {
        matches!(self.stage, Stage::Recalling { .. })
    }

    /// Whether that leg is a crew's that is rung: it has no say yet.
    pub(super) fn is_rung_crew(&self, leg: u8) -> bool {
        self.is_recall() && leg == 0
    }

    pub(super) fn taken(&self) -> Option<&Taken> {
        match &self.stage {
            Stage::Taken(taken) => Some(taken),
            _ => None,
        }
    }

    pub(super) fn taken_mut(&mut self) -> Option<&mut Taken> {
        match &mut self.stage {
            Stage::Taken(taken) => Some(taken),
            _ => None,
        }
    }

    /// Who has it, or had it at its end.
    pub(super) fn physician(&self) -> Option<&Side> {
        match &self.stage {
            Stage::Waiting(_) => None,
            Stage::Taken(taken) => self.sides.get(usize::from(taken.by)),
            Stage::Recalling { .. } => self.sides.get(1),
            Stage::Over(_) => self.sides.iter().skip(1).rfind(|side| side.out.is_none()),
        }
    }

    /// The device's leg, as long as it has one.
    pub(super) fn side_of(&self, device: DeviceId) -> Option<&Side> {
        self.sides.iter().rfind(|side| side.party.device == device && side.out.is_none())
    }

    pub(super) fn side_mut(&mut self, leg: u8) -> Option<&mut Side> {
        self.sides.get_mut(usize::from(leg))
    }

    /// Devices that are rung.
    pub(super) fn rung(&self) -> &[DeviceId] {
        match &self.stage {
            Stage::Waiting(Some(ring)) => &ring.desks,
            Stage::Taken(Taken { transfer: Some(transfer), .. }) => &transfer.rung,
            _ => &[],
        }
    }

    /// Nobody is rung any more; gives those who were. How long that was counts.
    pub(super) fn take_rung(&mut self) -> Vec<DeviceId> {
        match &mut self.stage {
            Stage::Waiting(ring) => ring.take().map(|ring| ring.desks).unwrap_or_default(),
            Stage::Taken(Taken { transfer: Some(transfer), .. }) => std::mem::take(&mut transfer.rung),
            _ => Vec::new(),
        }
    }

    /// Another leg; `None` when there were too many.
    pub(super) fn add_side(&mut self, party: Party) -> Option<u8> {
        let leg = u8::try_from(self.sides.len()).ok().filter(|leg| usize::from(*leg) < limits::CALL_LEGS_MAX)?;
        self.sides.push(Side::new(leg, party));
        Some(leg)
    }

    /// The device has joined in a new session. True when it has a part in the call, or has not noted its end.
    pub(super) fn rejoin(&mut self, who: &Party) -> bool {
        let is_over = self.is_over();
        let Some(side) = self.sides.iter_mut().rfind(|side| side.out.is_none() && side.is_of(who)) else {
            return false;
        };
        if is_over {
            return !side.has_noted;
        }
        side.epoch += 1;
        side.lost_ms = None;
        side.media = Media::New;
        true
    }

    /// The device cannot be reached. True when it has a part in the call.
    pub(super) fn lose(&mut self, device: DeviceId, now_ms: i64) -> bool {
        let mut has_part = self.rung().contains(&device);
        for side in self.sides.iter_mut().filter(|side| side.party.device == device && side.out.is_none()) {
            side.lost_ms.get_or_insert(now_ms);
            has_part = true;
        }
        has_part
    }

    pub(super) fn find(&mut self, device: DeviceId) -> bool {
        let lost = |side: &&mut Side| side.party.device == device && side.out.is_none() && side.lost_ms.is_some();
        self.sides.iter_mut().filter(lost).map(|side| side.lost_ms = None).count() > 0
    }

    /// The gateway was down: nobody is there.
    pub(super) fn all_away(&mut self, now_ms: i64) {
        if self.is_over() {
            return;
        }
        self.sides.iter_mut().filter(|side| side.out.is_none()).for_each(|side| side.lost_ms = Some(now_ms));
        if let Stage::Waiting(ring) = &mut self.stage {
            // Whoever was rung is rung again, and as long.
            *ring = None;
        }
    }

    /// It is over; gives what its desks lose with that.
    pub(super) fn finish(&mut self, now_ms: i64, end: End) -> Vec<Effect> {
        self.stage = Stage::Over(end);
        self.times.ended_ms = Some(now_ms);
        self.place = None;
        let here = self.sides.iter().skip(1).filter(|side| side.out.is_none());
        here.map(|side| Effect::Shut(self.about(&side.party), now_ms)).collect()
    }

    /// Which desks see the case because of the call, and which do no more.
    pub(super) fn desks_seen(&self) -> Vec<Effect> {
        let effect = |side: &Side| match side.left_ms.or(self.times.ended_ms) {
            Some(left_ms) => Effect::Shut(self.about(&side.party), left_ms),
            None => self.opening(&side.party),
        };
        self.sides.iter().skip(1).map(effect).collect()
    }

    /// The desk has to see the case.
    pub(super) fn opening(&self, desk: &Party) -> Effect {
        Effect::Open { desk: self.about(desk), crew: self.sides[0].party.clone() }
    }

    /// The leg has no part in the call any more; gives what its desk loses with that.
    pub(super) fn leave(&mut self, leg: u8, out: Out, now_ms: i64) -> Option<(DeviceId, Effect)> {
        let side = self.side_mut(leg)?;
        (side.out, side.left_ms) = (Some(out), Some(now_ms));
        let party = side.party.clone();
        Some((party.device, Effect::Shut(self.about(&party), now_ms)))
    }

    pub(super) fn about(&self, who: &Party) -> About {
        About { call: self.id, case: self.case, log: self.log.clone(), who: who.clone() }
    }

    /// Who hears of it, and as what.
    pub(super) fn audience(&self) -> Vec<(DeviceId, Standing)> {
        let sides = self.sides.iter().filter(|side| side.out.is_none() && !side.has_noted);
        let standing = |side: &Side| match self.stage {
            Stage::Recalling { until_ms } if side.leg == 0 => Standing::Rung { until_ms },
            _ => Standing::Leg(side.leg),
        };
        let until_ms = match &self.stage {
            Stage::Waiting(Some(ring)) => ring.until_ms,
            Stage::Taken(Taken { transfer: Some(transfer), .. }) => transfer.until_ms,
            _ => 0,
        };
        let rung = self.rung().iter().map(|device| (*device, Standing::Rung { until_ms }));
        sides.map(|side| (side.party.device, standing(side))).chain(rung).collect()
    }

    pub(super) fn phase(&self) -> Phase {
        let is_lost = |leg: u8| self.sides.get(usize::from(leg)).is_some_and(|side| side.lost_ms.is_some());
        match &self.stage {
            Stage::Waiting(None) => Phase::Queued,
            Stage::Waiting(Some(_)) | Stage::Recalling { .. } => Phase::Offered,
            Stage::Taken(taken) if is_lost(0) || is_lost(taken.by) => Phase::Reconnecting,
            Stage::Taken(Taken { transfer: Some(_), .. }) => Phase::Transferring,
            Stage::Taken(Taken { is_held: true, .. }) => Phase::Held,
            Stage::Taken(Taken { has_spoken: false, .. }) => Phase::Connecting,
            Stage::Taken(_) => Phase::Active,
            Stage::Over(_) => Phase::Ended,
        }
    }

    pub(super) fn fact(&self, standing: Standing, phone: Option<Phone>) -> Fact {
        let leg = |side: &Side| Leg {
            leg: side.leg,
            unit: side.party.unit.clone(),
            device: side.party.device,
            user: side.party.user,
            epoch: side.epoch,
            is_present: side.lost_ms.is_none(),
            media: side.media,
        };
        let end = match self.stage {
            Stage::Over(end) => Some(end),
            _ => None,
        };
        let physician = self.physician().filter(|side| self.may_know(standing, side)).map(|side| side.leg);
        Fact {
            call: self.id,
            seq: self.seq,
            case: self.case,
            log: self.log.clone(),
            category: self.category,
            phase: self.phase(),
            standing,
            place: self.place.clone(),
            legs: self.sides.iter().filter(|side| self.may_know(standing, side)).map(leg).collect(),
            physician,
            use_phone: self.wants_phone(standing),
            phone,
            phoned: self.phoned.clone(),
            times: self.times,
            end,
        }
    }

    /// Parties know each other; who is rung knows who calls; who has left knows himself.
    fn may_know(&self, standing: Standing, side: &Side) -> bool {
        match standing {
            Standing::Leg(_) => side.out.is_none(),
            Standing::Rung { .. } => side.out.is_none() && (side.leg == 0 || self.is_recall()),
            Standing::Out(out) => side.leg == 0 || side.out == Some(out) && side.left_ms == self.last_left_ms(),
        }
    }

    fn last_left_ms(&self) -> Option<i64> {
        self.sides.iter().filter_map(|side| side.left_ms).max()
    }

    /// Whether the one who is told cannot reach somebody here whom he should speak to.
    fn wants_phone(&self, standing: Standing) -> bool {
        let Standing::Leg(_) = standing else { return false };
        let has_lost =
            |side: &Side| side.out.is_none() && side.lost_ms.is_some() && Standing::Leg(side.leg) != standing;
        match &self.stage {
            Stage::Taken(taken) => {
                let others = [0, taken.by].into_iter().filter_map(|leg| self.sides.get(usize::from(leg)));
                taken.is_late && !taken.has_spoken || others.into_iter().any(has_lost)
            }
            Stage::Over(end) => !matches!(end, End::CrewHungUp | End::PhysicianHungUp | End::Withdrawn),
            Stage::Waiting(_) | Stage::Recalling { .. } => false,
        }
    }

    /// Of calls that are over, of which there are many, only whose time to be forgotten has come.
    pub(super) fn may_be_due(&self, now_ms: i64) -> bool {
        self.times.ended_ms.is_none_or(|ended_ms| now_ms >= ended_ms + KEEP_MS)
    }

    /// What it waits for, and until when.
    pub(super) fn timers(&self, plan: &Plan) -> Vec<(Timer, i64)> {
        if let Some(ended_ms) = self.times.ended_ms {
            return vec![(Timer::Keep, ended_ms + KEEP_MS)];
        }
        let grace =
            |leg: usize| self.sides.get(leg).and_then(|side| side.lost_ms).map(|lost_ms| lost_ms + plan.grace_ms);
        let mut timers = vec![(Timer::Length, self.times.called_ms + LENGTH_MAX_MS)];
        timers.extend(grace(0).filter(|_| !self.is_recall()).map(|at_ms| (Timer::CrewGrace, at_ms)));
        match &self.stage {
            Stage::Waiting(ring) => {
                timers.push((Timer::Wait, self.waits_since_ms + plan.wait_for_ms));
                timers.extend(ring.as_ref().map(|ring| (Timer::Ring, ring.until_ms)));
            }
            Stage::Recalling { until_ms } => {
                timers.push((Timer::Ring, *until_ms));
                timers.extend(grace(1).map(|at_ms| (Timer::PhysicianGrace, at_ms)));
            }
            Stage::Taken(taken) => {
                timers.extend(grace(usize::from(taken.by)).map(|at_ms| (Timer::PhysicianGrace, at_ms)));
                timers.extend(taken.transfer.as_ref().map(|transfer| (Timer::Transfer, transfer.until_ms)));
                let is_due = !taken.has_spoken && !taken.is_late;
                timers.extend(is_due.then_some((Timer::Connect, taken.at_ms + CONNECT_WITHIN_MS)));
            }
            Stage::Over(_) => {}
        }
        timers
    }

    /// Remembers what became of an intent.
    pub(super) fn remember(&mut self, key: IntentKey, outcome: Outcome) {
        if self.done.len() >= limits::INTENTS_REMEMBERED {
            self.done.remove(0);
        }
        self.done.push((key, outcome));
    }
}

impl Side {
    /// Whether whoever has joined has that leg: a crew's tablet is the vehicle's, a desk's leg is a physician's and not that of
    /// whoever sits there next.
    pub(super) fn is_of(&self, who: &Party) -> bool {
        self.party.device == who.device && (self.leg == 0 || self.party.user == who.user)
    }

    pub(super) fn new(leg: u8, party: Party) -> Self {
        Self { leg, party, epoch: 1, lost_ms: None, media: Media::New, out: None, left_ms: None, has_noted: false }
    }
}

/// How long media may take before the parties are told to use the telephone, in milliseconds. Browsers connected within
/// 0.6 s; with a relay over TCP and a slow radio it is a few seconds.
const CONNECT_WITHIN_MS: i64 = 15_000;

/// How long a call may last, in milliseconds: longer than a shift is a device that was left behind.
const LENGTH_MAX_MS: i64 = 12 * 60 * 60 * 1000;

/// How long it is kept after its end for parties that have not noted that, in milliseconds.
const KEEP_MS: i64 = 24 * 60 * 60 * 1000;
