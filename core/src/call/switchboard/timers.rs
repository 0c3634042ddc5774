//! What happens because nothing has happened.

use super::{
    super::{End, Out},
    Switchboard,
    one::{Stage, Timer},
};
use crate::ids::CallId;

impl Switchboard {
    pub(super) fn run_timers(&mut self, now_ms: i64) {
        let ids: Vec<CallId> = self.calls.values().filter(|call| call.may_be_due(now_ms)).map(|call| call.id).collect();
        for id in ids {
            // One may bring about another that is due as well.
            for _ in 0..TIMERS_AT_ONCE {
                let Some(call) = self.calls.get(&id) else { break };
                let due = call.timers(&self.plan).into_iter().filter(|(_, at_ms)| *at_ms <= now_ms);
                let Some((timer, _)) = due.min_by_key(|(_, at_ms)| *at_ms) else { break };
                self.run(id, timer, now_ms);
            }
        }
    }

    fn run(&mut self, id: CallId, timer: Timer, now_ms: i64) {
        match timer {
            Timer::Ring => self.stop_ringing(id, now_ms),
            Timer::Wait => self.end(id, now_ms, End::Unanswered),
            Timer::Connect => {
                let Some(call) = self.calls.get_mut(&id) else { return };
                call.taken_mut().into_iter().for_each(|taken| taken.is_late = true);
                self.changed.insert(id);
            }
            Timer::CrewGrace => self.end(id, now_ms, End::CrewLost),
            Timer::PhysicianGrace => self.offer_again(id, now_ms),
            Timer::Transfer => self.give_up_transfer(id, Out::TimedOut, now_ms),
            Timer::Length => self.end(id, now_ms, End::TooLong),
            Timer::Keep => {
                self.calls.remove(&id);
                self.changed.insert(id);
            }
        }
    }

    fn stop_ringing(&mut self, id: CallId, now_ms: i64) {
        let Some(call) = self.calls.get(&id) else { return };
        match &call.stage {
            Stage::Waiting(Some(ring)) => {
                let desks = ring.desks.clone();
                self.pass_over(id, &desks, Out::TimedOut, now_ms);
            }
            Stage::Recalling { .. } => self.end(id, now_ms, End::Unanswered),
            _ => {}
        }
    }

    /// The physician is lost: another one is found, or the one who takes over already has it. The crew keeps the call.
    pub(super) fn offer_again(&mut self, id: CallId, now_ms: i64) {
        let Some(call) = self.calls.get(&id) else { return };
        if call.is_recall() {
            return self.end(id, now_ms, End::PhysicianLost);
        }
        let Some(taken) = call.taken() else { return };
        if taken.transfer.as_ref().is_some_and(|transfer| transfer.joining.is_some()) {
            return self.take_over(id, now_ms, Out::Lost);
        }
        let by = taken.by;
        self.withdraw_all(id, Out::Withdrawn);
        let Some(call) = self.calls.get_mut(&id) else { return };
        let Some((device, shut)) = call.leave(by, Out::Lost, now_ms) else { return };
        self.outs.push((id, device, Out::Lost));
        self.effects.push(shut);
        call.stage = Stage::Waiting(None);
        call.waits_since_ms = now_ms;
        call.tried.clear();
        self.changed.insert(id);
    }
}

/// More than there are kinds of them.
const TIMERS_AT_ONCE: usize = 16;
