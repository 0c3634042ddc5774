//! Who has joined, and which desks take calls.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::super::{Centre, Duty, Party};
use crate::{
    ids::{DeviceId, SessionId},
    limits,
};

/// Devices that have their calls in some session, and desks on duty.
#[derive(Debug, Clone, Default)]
pub(super) struct Roster {
    joined: BTreeMap<DeviceId, Joined>,
    sessions: BTreeMap<SessionId, DeviceId>,
    desks: BTreeMap<DeviceId, Desk>,
}

/// A device in its session.
#[derive(Debug, Clone)]
pub(super) struct Joined {
    pub(super) session: SessionId,
    pub(super) who: Party,
    pub(super) is_crew: bool,
    pub(super) is_desk: bool,
    pub(super) is_silent: bool,
}

/// A desk on duty.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Desk {
    pub(super) party: Party,
    pub(super) capacity: u8,
    /// Since when it cannot be reached.
    #[serde(default)]
    gone_ms: Option<i64>,
}

impl Roster {
    /// The desk stays on duty for the same physician. Returns whether it was on duty for somebody else.
    pub(super) fn join(&mut self, joined: Joined) -> bool {
        let (device, session) = (joined.who.device, joined.session);
        let is_same = self.desks.get(&device).is_none_or(|desk| desk.party == joined.who && joined.is_desk);
        match self.desks.get_mut(&device) {
            Some(desk) if is_same => desk.gone_ms = None,
            Some(_) => drop(self.desks.remove(&device)),
            None => {}
        }
        if let Some(before) = self.joined.insert(device, joined) {
            self.sessions.remove(&before.session);
        }
        self.sessions.insert(session, device);
        !is_same
    }

    /// The device that had its calls in that session, if they are not in another one by now.
    pub(super) fn leave(&mut self, session: SessionId, now_ms: i64) -> Option<DeviceId> {
        let device = self.sessions.remove(&session)?;
        self.joined.remove(&device);
        self.desks.get_mut(&device).into_iter().for_each(|desk| desk.gone_ms = Some(now_ms));
        Some(device)
    }

    /// The device of a session of which nothing is heard, or something again; `None` when that is no news.
    pub(super) fn silence(&mut self, session: SessionId, is_silent: bool, now_ms: i64) -> Option<DeviceId> {
        let device = *self.sessions.get(&session)?;
        let joined = self.joined.get_mut(&device).filter(|joined| joined.is_silent != is_silent)?;
        joined.is_silent = is_silent;
        let gone_ms = is_silent.then_some(now_ms);
        self.desks.get_mut(&device).into_iter().for_each(|desk| desk.gone_ms = gone_ms);
        Some(device)
    }

    /// The device whose duty has changed with that.
    pub(super) fn duty(&mut self, session: SessionId, Duty { capacity }: Duty) -> Option<DeviceId> {
        let joined = self.by_session(session).filter(|joined| joined.is_desk)?;
        let (device, party) = (joined.who.device, joined.who.clone());
        match capacity.min(limits::DUTY_CAPACITY_MAX) {
            0 => self.desks.remove(&device).map(|_| device),
            capacity => {
                let before = self.desks.insert(device, Desk { party, capacity, gone_ms: None });
                before.is_none_or(|before| before.capacity != capacity).then_some(device)
            }
        }
    }

    pub(super) fn restore(&mut self, desk: Desk, now_ms: i64) {
        self.desks.insert(desk.party.device, Desk { gone_ms: Some(now_ms), ..desk });
    }

    pub(super) fn kept(&self, device: DeviceId) -> Option<Desk> {
        self.desks.get(&device).cloned()
    }

    pub(super) fn by_session(&self, session: SessionId) -> Option<&Joined> {
        self.joined.get(self.sessions.get(&session)?)
    }

    pub(super) fn joined(&self, device: DeviceId) -> Option<&Joined> {
        self.joined.get(&device)
    }

    /// Whether something said to it now would be heard.
    pub(super) fn is_present(&self, device: DeviceId) -> bool {
        self.joined(device).is_some_and(|joined| !joined.is_silent)
    }

    pub(super) fn desks(&self) -> impl Iterator<Item = &Desk> {
        self.desks.values()
    }

    /// Desks of a centre.
    pub(super) fn of<'s>(&'s self, centre: &'s Centre) -> impl Iterator<Item = &'s Desk> {
        self.desks.values().filter(move |desk| desk.party.unit == *centre)
    }

    pub(super) fn desk(&self, device: DeviceId) -> Option<&Desk> {
        self.desks.get(&device)
    }

    /// Desks that are gone for too long are on duty no more. Gives them.
    pub(super) fn forget_gone(&mut self, now_ms: i64) -> Vec<DeviceId> {
        let is_over = |desk: &Desk| desk.gone_ms.is_some_and(|gone_ms| now_ms >= gone_ms + GONE_FOR_MS);
        let gone: Vec<_> = self.desks.values().filter(|desk| is_over(desk)).map(|desk| desk.party.device).collect();
        gone.iter().for_each(|device| drop(self.desks.remove(device)));
        gone
    }

    /// When the next one is.
    pub(super) fn next_gone(&self) -> Option<i64> {
        self.desks.values().filter_map(|desk| Some(desk.gone_ms? + GONE_FOR_MS)).min()
    }
}

/// How long a desk that cannot be reached counts as on duty, in milliseconds: it is not rung, but a call waits for it where
/// there is nobody else. Longer than a gateway needs to restart and desks to come back.
const GONE_FOR_MS: i64 = 15_000;
