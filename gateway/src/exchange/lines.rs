//! Open lines, who in which call may speak to whom, and who has not been heard of late.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use feldakte_core::{
    call::{Input, SILENT_AFTER_MS, Signal, Told, Ways},
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
    is_silent: bool,
    /// In how many calls it has to say that it lives.
    watched: usize,
}

/// A leg of a call on a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Way {
    /// Which leg.
    pub leg: u8,
    /// Its epoch.
    pub epoch: u32,
    /// Its line.
    pub line: SessionId,
}

impl Lines {
    pub(super) fn open(&self, line: SessionId, session: SessionId, mail: Arc<CallMail>) {
        let opened = Line { session, mail, heard: Instant::now(), is_silent: false, watched: 0 };
        self.state().lines.insert(line, opened);
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

    /// The legs of a call that can be reached.
    pub fn legs(&self, call: CallId) -> Vec<Way> {
        let state = self.state();
        let legs = state.ways.get(&call).map(|ways| ways.legs.as_slice()).unwrap_or_default();
        legs.iter().map(|(leg, epoch, line)| Way { leg: *leg, epoch: *epoch, line: *line }).collect()
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
        let before = match ways == Ways::default() {
            true => state.ways.remove(&call),
            false => state.ways.insert(call, ways.clone()),
        };
        for line in before.into_iter().flat_map(|before| before.watched) {
            state.lines.get_mut(&line).into_iter().for_each(|line| line.watched = line.watched.saturating_sub(1));
        }
        for line in ways.watched {
            let Some(line) = state.lines.get_mut(&line) else { continue };
            if line.watched == 0 {
                // It did not have to say anything before.
                line.heard = Instant::now();
            }
            line.watched += 1;
        }
    }

    pub(super) fn are_any_watched(&self) -> bool {
        self.state().lines.values().any(|line| line.watched > 0 || line.is_silent)
    }

    /// Who has fallen silent since it was last asked, and who is heard again.
    pub(super) fn silent(&self) -> Vec<Input> {
        let now = Instant::now();
        let mut inputs = Vec::new();
        for (session, line) in &mut self.state().lines {
            let is_silent = line.watched > 0 && now.duration_since(line.heard) >= SILENT_AFTER;
            if is_silent != line.is_silent {
                line.is_silent = is_silent;
                let session = *session;
                inputs.push(if is_silent { Input::Silent { session } } else { Input::Heard { session } });
            }
        }
        inputs
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const SILENT_AFTER: Duration = Duration::from_millis(SILENT_AFTER_MS as u64);
