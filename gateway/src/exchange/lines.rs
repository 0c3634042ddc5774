//! Open lines, who in which call may speak to whom, and who has not been heard of late.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use feldakte_core::{
    call::{ASKED, Input, SILENT_AFTER_MS, Signal, Told, Ways},
    ids::{CallId, SessionId},
};
use tokio::time::Instant;

use super::CallMail;

/// All lines.
#[derive(Debug, Default)]
pub struct Lines(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    lines: HashMap<SessionId, Line>,
    ways: HashMap<CallId, Ways>,
}

#[derive(Debug)]
struct Line {
    session: SessionId,
    mail: Arc<CallMail>,
    heard: Instant,
    /// Since when nothing was heard, once that has been noticed.
    silent_since: Option<Instant>,
    /// When it was asked last whether it lives, while it is silent.
    asked: Instant,
    /// In how many calls it has to say that it lives, and since when in any.
    watched: usize,
    watched_since: Instant,
}

impl Lines {
    pub(super) fn open(&self, line: SessionId, session: SessionId, mail: Arc<CallMail>) {
        let now = Instant::now();
        let opened = Line {
            session,
            mail: mail.clone(),
            heard: now,
            silent_since: None,
            asked: now,
            watched: 0,
            watched_since: now,
        };
        // Joined once more it is watched as before.
        self.state().lines.entry(line).or_insert(opened).mail = mail;
    }

    /// Whether it was open.
    pub(super) fn close(&self, line: SessionId) -> bool {
        self.state().lines.remove(&line).is_some()
    }

    pub(super) fn tell(&self, line: SessionId, told: Told) {
        let mail = self.state().lines.get(&line).map(|line| line.mail.clone());
        // Gone meanwhile: it is told when it comes back.
        if let Some(mail) = mail {
            mail.put(told);
        }
    }

    /// The line lives.
    pub fn heard(&self, line: SessionId) {
        if let Some(line) = self.state().lines.get_mut(&line) {
            line.heard = Instant::now();
        }
    }

    /// Passes a signal on. False when it cannot be: it is of an older epoch, to nobody, or from somebody without a part in the
    /// call.
    pub fn signal(&self, line: SessionId, signal: Signal) -> bool {
        let mail = {
            let state = self.state();
            let Some(ways) = state.ways.get(&signal.call) else { return false };
            let is_his =
                |(leg, epoch, of): &(u8, u32, SessionId)| (*leg, *epoch, *of) == (signal.from, signal.epoch, line);
            if !ways.legs.iter().any(is_his) {
                return false;
            }
            // Desks of one call have nothing to tell each other: media is between them and the crew.
            let to = ways.legs.iter().find(|(leg, ..)| *leg == signal.to && (signal.from == 0) != (*leg == 0));
            to.and_then(|(_, _, line)| state.lines.get(line)).map(|line| line.mail.clone())
        };
        mail.is_some_and(|mail| mail.put(Told::Signal(signal)))
    }

    /// The sessions of the crew and of the desks in a call.
    pub(super) fn sides(&self, call: CallId) -> (Option<SessionId>, Vec<SessionId>) {
        let state = self.state();
        let legs = state.ways.get(&call).map(|ways| ways.legs.as_slice()).unwrap_or_default();
        let session = |line: &SessionId| state.lines.get(line).map(|line| line.session);
        let crew = legs.iter().find(|(leg, ..)| *leg == 0).and_then(|(_, _, line)| session(line));
        let desks = legs.iter().filter(|(leg, ..)| *leg > 0).filter_map(|(_, _, line)| session(line)).collect();
        (crew, desks)
    }

    pub(super) fn set_ways(&self, call: CallId, ways: Ways) {
        let mut state = self.state();
        let now = Instant::now();
        // First those who come: who stays does not begin anew.
        for line in &ways.watched {
            let Some(line) = state.lines.get_mut(line) else { continue };
            if line.watched == 0 {
                // It did not have to say anything before.
                line.watched_since = now;
            }
            line.watched += 1;
        }
        let before = match ways == Ways::default() {
            true => state.ways.remove(&call),
            false => state.ways.insert(call, ways),
        };
        for line in before.into_iter().flat_map(|before| before.watched) {
            state.lines.get_mut(&line).into_iter().for_each(|line| line.watched = line.watched.saturating_sub(1));
        }
    }

    pub(super) fn are_any_watched(&self) -> bool {
        self.state().lines.values().any(|line| line.watched > 0 || line.silent_since.is_some())
    }

    /// Who has fallen silent since it was last asked, and who was heard again. Whoever is silent is asked whether he lives: a
    /// desk that has no call says nothing by itself.
    pub(super) fn silent(&self) -> Vec<Input> {
        let now = Instant::now();
        let mut inputs = Vec::new();
        for (session, line) in &mut self.state().lines {
            let session = *session;
            match line.silent_since {
                None if line.watched > 0 && now - line.heard.max(line.watched_since) >= SILENT_AFTER => {
                    line.silent_since = Some(now);
                    line.ask(now);
                    inputs.push(Input::Silent { session });
                }
                Some(since) if line.heard > since => {
                    line.silent_since = None;
                    inputs.push(Input::Heard { session });
                }
                Some(_) if now - line.asked >= ASK_AGAIN => line.ask(now),
                _ => {}
            }
        }
        inputs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Line {
    fn ask(&mut self, now: Instant) {
        self.asked = now;
        self.mail.put(Told::Pulse(ASKED));
    }
}

/// Between two questions to somebody silent.
const ASK_AGAIN: Duration = Duration::from_secs(2);
const SILENT_AFTER: Duration = Duration::from_millis(SILENT_AFTER_MS as u64);

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn session(number: u128) -> SessionId {
        SessionId(Uuid::from_u128(number))
    }

    fn watching(sessions: &[SessionId]) -> Ways {
        Ways { legs: Vec::new(), watched: sessions.to_vec() }
    }

    #[tokio::test(start_paused = true)]
    async fn who_falls_silent_stays_so_until_he_is_heard_whatever_becomes_of_his_call() {
        let (lines, line, other) = (Lines::default(), session(1), session(2));
        for line in [line, other] {
            lines.open(line, line, Arc::default());
        }
        let call = CallId(Uuid::from_u128(9));
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(lines.silent().is_empty(), "nobody has to say anything");
        lines.set_ways(call, watching(&[line, other]));
        for _ in 0..4 {
            tokio::time::advance(Duration::from_millis(400)).await;
            lines.heard(other);
            // The call changes all the time.
            lines.set_ways(call, watching(&[line, other]));
        }
        assert!(matches!(lines.silent()[..], [Input::Silent { session }] if session == line));
        lines.set_ways(call, Ways::default());
        tokio::time::advance(Duration::from_secs(5)).await;
        assert!(lines.silent().is_empty(), "he was not heard, and the other one has to say nothing any more");
        lines.heard(line);
        assert!(matches!(lines.silent()[..], [Input::Heard { session }] if session == line));
    }
}
