//! Who is rung for which call, as things stand.
//!
//! Worked out anew after every input, in the order of the queue: a call rings at all free desks of the first group of its route
//! that has room for it besides the calls before it. So two calls ring at five desks both, and at one desk one after the other.

use std::collections::BTreeMap;

use super::{
    super::{Centre, End, Out, Place, Route},
    Switchboard,
    one::{Call, Ring, Stage},
};
use crate::ids::{CallId, DeviceId};

impl Switchboard {
    pub(super) fn assign(&mut self, now_ms: i64) {
        let gone = self.roster.forget_gone(now_ms);
        self.changed_desks.extend(gone);
        self.end_hopeless(now_ms);
        let mut ahead: BTreeMap<Centre, usize> = BTreeMap::new();
        let mut positions: BTreeMap<String, u32> = BTreeMap::new();
        for id in self.queue() {
            let Some(call) = self.calls.get(&id) else { continue };
            let Some(route) = self.plan.route(&call.log).cloned() else { continue };
            let position = positions.entry(call.log.to_string()).or_default();
            *position += 1;
            let position = *position;
            let chosen = self.choose(call, &route, &ahead);
            let centre = match &chosen {
                Some((group, _)) => {
                    let centre = route.groups[*group].centre.clone();
                    *ahead.entry(centre.clone()).or_default() += 1;
                    Some(centre)
                }
                None => self.expected(call, &route),
            };
            self.ring(id, now_ms, chosen);
            let Some(call) = self.calls.get_mut(&id) else { continue };
            let place = Some(Place { position, centre });
            if call.place != place {
                call.place = place;
                self.changed.insert(id);
            }
        }
    }

    /// Calls that wait, the next one first.
    fn queue(&self) -> Vec<CallId> {
        let mut waiting: Vec<_> = self.calls.values().filter(|call| call.is_waiting()).collect();
        waiting.sort_by_key(|call| (call.category, call.times.called_ms, call.id));
        waiting.into_iter().map(|call| call.id).collect()
    }

    /// The group where it rings, with all its desks that are to ring.
    fn choose(&self, call: &Call, route: &Route, ahead: &BTreeMap<Centre, usize>) -> Option<(usize, Vec<DeviceId>)> {
        let at = match &call.stage {
            Stage::Waiting(Some(ring)) => Some(ring.group),
            _ => None,
        };
        // Where it rings already, it goes on to: a desk before that is free now is not torn from its next call.
        let groups = at.into_iter().chain(0..route.groups.len());
        for index in groups {
            let Some(group) = route.groups.get(index) else { continue };
            let free: Vec<(DeviceId, usize)> = self.free_desks(&group.centre, call).collect();
            let room: usize = free.iter().map(|(_, room)| room).sum();
            if room > ahead.get(&group.centre).copied().unwrap_or(0) {
                return Some((index, free.into_iter().map(|(device, _)| device).collect()));
            }
        }
        None
    }

    /// Desks of a centre that would hear the call ring and could take it, and how many calls each could take.
    pub(super) fn free_desks<'s>(
        &'s self,
        centre: &'s Centre,
        call: &'s Call,
    ) -> impl Iterator<Item = (DeviceId, usize)> + 's {
        self.roster.of(centre).filter_map(move |desk| {
            let device = desk.party.device;
            let room = usize::from(desk.capacity).saturating_sub(self.load(device));
            let may = self.roster.is_present(device) && room > 0 && !call.tried.contains(&device);
            may.then_some((device, room))
        })
    }

    /// How many calls the desk has.
    pub(super) fn load(&self, device: DeviceId) -> usize {
        let has = |call: &&Call| !call.is_over() && call.side_of(device).is_some_and(|side| side.leg > 0);
        self.calls.values().filter(has).count()
    }

    /// Where somebody may yet take it.
    fn expected(&self, call: &Call, route: &Route) -> Option<Centre> {
        let has_hope = |centre: &&Centre| self.roster.of(centre).any(|desk| !call.tried.contains(&desk.party.device));
        route.groups.iter().map(|group| &group.centre).find(has_hope).cloned()
    }

    /// Nobody is on duty who could still take it.
    fn end_hopeless(&mut self, now_ms: i64) {
        for id in self.queue() {
            let Some(call) = self.calls.get(&id) else { continue };
            let route = self.plan.route(&call.log);
            if route.is_some_and(|route| self.expected(call, route).is_some()) {
                continue;
            }
            let end = match (call.tried.is_empty(), call.sides.len()) {
                (true, 1) => End::NobodyOnDuty,
                (true, _) => End::PhysicianLost,
                (false, _) => End::Unanswered,
            };
            self.end(id, now_ms, end);
        }
    }

    fn ring(&mut self, id: CallId, now_ms: i64, chosen: Option<(usize, Vec<DeviceId>)>) {
        let ring_for_ms = self.plan.ring_for_ms;
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Stage::Waiting(ring) = &mut call.stage else { return };
        let before = ring.take();
        *ring = chosen.map(|(group, desks)| match &before {
            Some(Ring { group: same, since_ms, until_ms, .. }) if *same == group => {
                Ring { group, desks, since_ms: *since_ms, until_ms: *until_ms }
            }
            _ => Ring { group, desks, since_ms: now_ms, until_ms: now_ms + ring_for_ms },
        });
        let now_rung = ring.as_ref().map(|ring| ring.desks.as_slice()).unwrap_or_default();
        let was_rung = before.as_ref().map(|ring| ring.desks.as_slice()).unwrap_or_default();
        if now_rung == was_rung {
            return;
        }
        let silenced = was_rung.iter().filter(|device| !now_rung.contains(device));
        self.outs.extend(silenced.map(|device| (id, *device, Out::Withdrawn)));
        if !now_rung.is_empty() {
            call.times.rang_ms.get_or_insert(now_ms);
        }
        let is_elsewhere = ring.as_ref().map(|ring| ring.group) != before.as_ref().map(|ring| ring.group);
        if let Some(before) = before.filter(|_| is_elsewhere) {
            call.times.rung_for_ms += now_ms - before.since_ms;
        }
        self.changed.insert(id);
    }

    /// These have had their turn.
    pub(super) fn pass_over(&mut self, id: CallId, devices: &[DeviceId], out: Out, now_ms: i64) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Stage::Waiting(ring) = &mut call.stage else { return };
        if let Some(known) = ring {
            known.desks.retain(|device| !devices.contains(device));
            if known.desks.is_empty() {
                call.times.rung_for_ms += now_ms - known.since_ms;
                *ring = None;
            }
        }
        call.tried.extend(devices);
        self.outs.extend(devices.iter().map(|device| (id, *device, out)));
        self.changed.insert(id);
    }
}
