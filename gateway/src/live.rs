//! Live vitals between the devices of a call: from the one that sends to those that watch, unstored and unlogged.
//!
//! Nobody waits for anybody: a watcher that is slow loses what is old. What may be sent and watched is asked for each
//! datagram: the role's row of the policy, and who is in the call at the moment.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use feldakte_core::{
    access::policy::Vitals,
    ids::{CallId, SessionId},
    limits,
    live::{self, probe::Probe},
};
use tokio::time::Instant;

pub use self::{
    member::{Flood, Member},
    outbox::Outbox,
};
use crate::metrics::Metrics;

mod member;
mod outbox;

/// Who sends, and who watches.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<State>,
    metrics: Arc<Metrics>,
}

#[derive(Debug, Default)]
struct State {
    calls: HashMap<CallId, Open>,
    present: HashMap<SessionId, Present>,
}

/// A call, by the sessions that its devices have at the moment.
#[derive(Debug)]
struct Open {
    publisher: SessionId,
    watchers: Vec<SessionId>,
}

/// A session, and what its role has to do with live vitals.
#[derive(Debug)]
struct Present {
    may: Vitals,
    outbox: Arc<Outbox>,
}

/// Too many calls are open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many calls have live vitals")]
pub struct TooMany;

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// A probe, echoed.
    Answered,
    /// Put into the outboxes of those who watch, be there any or none.
    Relayed,
    /// It is of no call that this session sends in.
    NotPermitted,
    /// It is no packet.
    Unreadable,
    /// Beyond what a device may send.
    Excess,
}

impl Live {
    /// Nobody sends.
    pub fn new(metrics: Arc<Metrics>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::default(), metrics })
    }

    /// From here on those watch what that one sends, in place of whoever did before. Sessions need not have come yet, and may
    /// have gone.
    ///
    /// # Errors
    /// [`TooMany`] beyond [`limits::LIVE_CALLS_MAX`].
    pub fn open(&self, call: CallId, publisher: SessionId, watchers: &[SessionId]) -> Result<(), TooMany> {
        let mut state = self.state();
        if !state.calls.contains_key(&call) && state.calls.len() >= limits::LIVE_CALLS_MAX {
            return Err(TooMany);
        }
        let watchers: Vec<SessionId> = watchers.iter().copied().take(limits::LIVE_WATCHERS_MAX).collect();
        if let Some(before) = state.calls.insert(call, Open { publisher, watchers: watchers.clone() }) {
            state.take_back(call, before.watchers.into_iter().filter(|watcher| !watchers.contains(watcher)));
        }
        self.count(&state);
        Ok(())
    }

    /// Nobody watches it any more, and what waits is taken back.
    pub fn close(&self, call: CallId) {
        let mut state = self.state();
        if let Some(Open { publisher: _, watchers }) = state.calls.remove(&call) {
            state.take_back(call, watchers.into_iter());
        }
        self.count(&state);
    }

    /// A session that may send or watch, for as long as what it gets is kept.
    pub fn enter(self: &Arc<Self>, session: SessionId, may: Vitals) -> Member {
        let outbox = Arc::<Outbox>::default();
        self.state().present.insert(session, Present { may, outbox: outbox.clone() });
        Member::new(self.clone(), session, outbox)
    }

    fn leave(&self, session: SessionId) {
        self.state().present.remove(&session);
    }

    /// Passes on what came from a session.
    fn take(&self, from: SessionId, own: &Outbox, datagram: Bytes, came: Came<'_>) -> Fate {
        match Probe::decode(&datagram) {
            Ok(Some(probe)) => {
                if let Some(answer) = came.answer(probe) {
                    own.put(None, answer.encode());
                }
                return Fate::Answered;
            }
            Ok(None) => {}
            Err(_) => return Fate::Unreadable,
        }
        match live::call_of(&datagram) {
            Ok(call) => self.relay(from, call, &datagram),
            Err(_) => Fate::Unreadable,
        }
    }

    fn relay(&self, from: SessionId, call: CallId, datagram: &Bytes) -> Fate {
        let state = self.state();
        let Some(open) = state.calls.get(&call).filter(|open| open.publisher == from) else {
            return Fate::NotPermitted;
        };
        if state.present.get(&from).is_none_or(|publisher| publisher.may != Vitals::Send) {
            return Fate::NotPermitted;
        }
        let present = open.watchers.iter().filter_map(|watcher| state.present.get(watcher));
        present.filter(|watcher| watcher.may == Vitals::Watch).for_each(|watcher| {
            let replaced = watcher.outbox.put(Some(call), datagram.clone());
            self.metrics.live_replaced.inc_by(replaced);
        });
        Fate::Relayed
    }

    fn note(&self, fate: Fate) {
        let fate = match fate {
            Fate::Answered => "answered",
            Fate::Relayed => "relayed",
            Fate::NotPermitted => "not_permitted",
            Fate::Unreadable => "unreadable",
            Fate::Excess => "excess",
        };
        self.metrics.live_datagrams.get_or_create(&vec![("fate", fate)]).inc();
    }

    fn count(&self, state: &State) {
        self.metrics.live_calls.set(i64::try_from(state.calls.len()).unwrap_or(i64::MAX));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn take_back(&self, call: CallId, watchers: impl Iterator<Item = SessionId>) {
        watchers.filter_map(|watcher| self.present.get(&watcher)).for_each(|watcher| watcher.outbox.take_back(call));
    }
}

/// When a probe came, and the train it belongs to.
struct Came<'a> {
    at: Instant,
    train: &'a mut Option<(u32, Instant)>,
}

impl Came<'_> {
    /// `None` for what no device asks.
    fn answer(self, probe: Probe) -> Option<Probe> {
        if probe.since_us.is_some() {
            return None;
        }
        let first = match *self.train {
            Some((train, first)) if train == probe.train => first,
            _ => self.train.insert((probe.train, self.at)).1,
        };
        let since_us = u32::try_from((self.at - first).as_micros()).unwrap_or(u32::MAX);
        Some(Probe { since_us: Some(since_us), ..probe })
    }
}

#[cfg(test)]
mod tests;
