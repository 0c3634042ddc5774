//! The calls of a session: its urgent lane is the line on which they are made.

use std::sync::Arc;

use feldakte_core::{
    call::{ASKED, Act, Centre, Outcome, Party, Refusal, Reply, Say, Told},
    ids::SessionId,
    limits,
    rate::Taken,
};
use tokio::time::Instant;
use tracing::warn;

use super::SessionError;
use crate::{
    exchange::{self, CallMail},
    gateway::Shared,
    speaker::Speaker,
};

/// A line, for as long as its lane is open.
pub(crate) struct Line {
    shared: Arc<Shared>,
    id: SessionId,
    session: SessionId,
    mail: Arc<CallMail>,
    has_joined: bool,
    since: Instant,
    intents: Taken,
    signals: Taken,
}

impl Line {
    /// Nobody has joined on it.
    pub(crate) fn new(shared: &Arc<Shared>, session: SessionId) -> Self {
        Self {
            shared: shared.clone(),
            id: shared.environment.session_id(),
            session,
            mail: Arc::default(),
            has_joined: false,
            since: Instant::now(),
            intents: Taken::default(),
            signals: Taken::default(),
        }
    }

    /// What is to be said on it next. Cancel-safe.
    pub(crate) async fn next(&self) -> Told {
        self.mail.take().await
    }

    /// Hears what the device says; gives what is to be answered at once.
    ///
    /// # Errors
    /// When the device speaks before it has joined.
    pub(crate) async fn hear(&mut self, speaker: &Speaker, say: Say) -> Result<Option<Told>, SessionError> {
        if !self.has_joined && say != Say::Join {
            return Err(SessionError::Unexpected("calls without joining"));
        }
        let (exchange, now) = (&self.shared.exchange, self.since.elapsed());
        exchange.lines().heard(self.id);
        match say {
            Say::Join => {
                if !self.intents.try_take(limits::INTENTS, 1, now) {
                    return Err(SessionError::Unexpected("a line that is joined without end"));
                }
                let principal = &speaker.principal;
                let unit = Centre { tenant: principal.tenant.clone(), unit: principal.unit.clone() };
                let who = Party { unit, device: principal.device, user: principal.user };
                self.has_joined = true;
                exchange.join((self.id, self.session), who, principal.role, &self.mail).await;
            }
            Say::Duty(duty) => {
                if self.intents.try_take(limits::INTENTS, 1, now) {
                    exchange.duty(self.id, duty).await;
                }
            }
            Say::Intent(intent) => {
                if !self.intents.try_take(limits::INTENTS, 1, now) {
                    let outcome = Outcome::Refused(Refusal::TooMany);
                    return Ok(Some(Told::Reply(Reply { key: intent.key, outcome })));
                }
                let mut may_write = false;
                if let Act::Call { case, .. } = &intent.act {
                    may_write = match exchange::may_call(&self.shared, speaker, *case).await {
                        Ok(may_write) => may_write,
                        Err(error) => {
                            warn!(%error, "whether a device may call could not be looked up");
                            let outcome = Outcome::Refused(Refusal::Unavailable);
                            return Ok(Some(Told::Reply(Reply { key: intent.key, outcome })));
                        }
                    };
                }
                exchange.intent(self.id, intent, speaker.log.clone(), may_write).await;
            }
            // What is lost is agreed on anew.
            Say::Signal(signal) => {
                if self.signals.try_take(limits::SIGNALS, 1, now) {
                    exchange.lines().signal(self.id, signal);
                }
            }
            // The answer to what it was asked.
            Say::Pulse(ASKED) => {}
            Say::Pulse(number) => return Ok(Some(Told::Pulse(number))),
        }
        Ok(None)
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        if self.has_joined {
            self.shared.exchange.leave(self.id);
        }
    }
}
