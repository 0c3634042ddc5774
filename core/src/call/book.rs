//! A device's side of its calls: what it was told, what it has said and was not answered, and whether the path lives.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    Act, End, Fact, Intent, Joined, Out, Outcome, PULSE_EVERY_MS, Phase, Phone, Refusal, Reply, SILENT_AFTER_MS, Say,
    Signal, Standing, Told,
    message::{Leg, Relay},
};
use crate::ids::{CallId, IntentKey};

/// The calls of a device. Times are milliseconds by any clock of the caller's that only goes forward.
#[derive(Debug, Default)]
pub struct Book {
    calls: BTreeMap<CallId, Known>,
    /// Not answered yet, oldest first.
    intents: Vec<Intent>,
    /// Those of them that were said in some session.
    said: BTreeSet<IntentKey>,
    /// When calls were asked for of which nothing was heard since.
    asked_ms: BTreeMap<CallId, i64>,
    /// Of dispatch, for when nothing else is known.
    dispatch: Option<Phone>,
    /// When something of the gateway's was heard last.
    heard_ms: Option<i64>,
    is_in_session: bool,
    pulsed_ms: Option<i64>,
    pulse: u32,
    is_path_dead: bool,
    /// Since when a call is at hand.
    at_hand_ms: Option<i64>,
}

/// A call as the device knows it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Known {
    /// What it was told last; `None` before it was told anything.
    pub fact: Option<Fact>,
    /// Whether the path to the gateway is dead: what is known is old.
    pub is_path_dead: bool,
    /// The gateway cannot make it at the moment: nobody is rung.
    pub is_refused: bool,
    /// Whom to ring, when that is better than to wait: the path is dead, or the gateway says so.
    pub use_phone: Option<Advice>,
}

/// The app should tell its user to take the telephone now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advice {
    /// The number, as far as it is known.
    pub phone: Option<Phone>,
}

/// Something the app should hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The call stands otherwise: see [`Book::call`].
    Changed(CallId),
    /// The device has no part in it any more; this was the last that was known.
    Gone(CallId, Box<Fact>),
    /// The device had a leg in it, and somebody else has the call now: what it has to write down.
    Left {
        /// Which leg it had.
        leg: u8,
        /// How the call stood when it left.
        fact: Box<Fact>,
    },
    /// An intent was answered.
    Answered {
        /// Of which call.
        call: CallId,
        /// What became of it.
        reply: Reply,
    },
    /// From another leg.
    Signal(Signal),
    /// Where media may be relayed.
    Relay(Relay),
}

impl Book {
    /// Says something; it is repeated in every session until it was answered. `None` while there is none.
    pub fn want(&mut self, intent: Intent, now_ms: i64) -> Option<Say> {
        if let Act::Call { .. } = intent.act {
            self.calls.entry(intent.call).or_default();
            self.asked_ms.insert(intent.call, now_ms);
        }
        if intent.act == Act::HangUp && self.withdraw(intent.call) {
            self.note_at_hand(now_ms);
            return None;
        }
        self.intents.push(intent.clone());
        self.note_at_hand(now_ms);
        if !self.is_in_session {
            return None;
        }
        self.said.insert(intent.key);
        Some(Say::Intent(intent))
    }

    /// Nobody wants that any more: it is not repeated.
    pub fn forget(&mut self, key: IntentKey) {
        self.intents.retain(|intent| intent.key != key);
        self.said.remove(&key);
    }

    /// Its user has seen that nothing comes of it.
    pub fn put_away(&mut self, call: CallId) {
        if self.calls.get(&call).is_some_and(|known| known.is_refused) {
            self.calls.remove(&call);
            self.intents.retain(|intent| intent.call != call);
        }
    }

    /// Whoever hangs up before the gateway has heard of his call has not called. What it may have heard, it has to be told.
    fn withdraw(&mut self, call: CallId) -> bool {
        let Some(known) = self.calls.get(&call) else { return false };
        let is_asked = |intent: &&Intent| intent.call == call && matches!(intent.act, Act::Call { .. });
        let asked = self.intents.iter().find(is_asked).map(|intent| intent.key);
        // Without a question that waits it was answered: its fact is on the way, unless it was refused.
        let is_unheard = known.fact.is_none() && asked.map_or(known.is_refused, |key| !self.said.contains(&key));
        if is_unheard {
            self.calls.remove(&call);
            self.intents.retain(|intent| intent.call != call);
        }
        is_unheard
    }

    /// A session has begun: gives what is to be said in it first.
    pub fn begin(&mut self, now_ms: i64) -> Vec<Say> {
        (self.heard_ms, self.is_in_session) = (Some(now_ms), true);
        self.said.extend(self.intents.iter().map(|intent| intent.key));
        std::iter::once(Say::Join).chain(self.intents.iter().cloned().map(Say::Intent)).collect()
    }

    /// The session is over.
    pub fn lose(&mut self) {
        self.is_in_session = false;
    }

    /// Takes what the gateway has told.
    pub fn take(&mut self, told: Told, now_ms: i64) -> Vec<News> {
        self.heard_ms = Some(now_ms);
        let mut news = match told {
            Told::Joined(Joined { calls, dispatch }) => {
                self.dispatch = dispatch;
                self.forget_others(&calls)
            }
            Told::Fact(fact) => self.take_fact(*fact),
            Told::Reply(reply) => self.take_reply(reply),
            Told::Signal(signal) if self.is_of_now(&signal) => vec![News::Signal(signal)],
            Told::Signal(_) | Told::Pulse(_) => Vec::new(),
            Told::Relay(relay) => vec![News::Relay(relay)],
        };
        self.note_at_hand(now_ms);
        news.extend(self.look(now_ms));
        news
    }

    /// Time has passed: gives a pulse that is due, and what has become known by silence. To be called every
    /// [`Book::TICK_MS`] while a call is at hand.
    pub fn tick(&mut self, now_ms: i64) -> (Option<Say>, Vec<News>) {
        if !self.is_at_hand() {
            return (None, self.look(now_ms));
        }
        let is_due = self.pulsed_ms.is_none_or(|pulsed_ms| now_ms >= pulsed_ms + PULSE_EVERY_MS);
        let pulse = (is_due && self.is_in_session).then(|| {
            self.pulsed_ms = Some(now_ms);
            self.pulse = self.pulse.checked_add(1).unwrap_or(1);
            Say::Pulse(self.pulse)
        });
        (pulse, self.look(now_ms))
    }

    /// How often to tick while a call is at hand, in milliseconds.
    pub const TICK_MS: i64 = 250;

    /// Whether the device is rung or in a call: its path is watched.
    pub fn is_at_hand(&self) -> bool {
        self.calls.values().any(Known::is_live)
    }

    /// A call.
    pub fn call(&self, call: CallId) -> Option<&Known> {
        self.calls.get(&call)
    }

    /// All of them.
    pub fn calls(&self) -> impl Iterator<Item = (CallId, &Known)> {
        self.calls.iter().map(|(call, known)| (*call, known))
    }

    /// The device's own leg in a call, with its epoch.
    pub fn own_leg(&self, call: CallId) -> Option<&Leg> {
        let fact = self.calls.get(&call)?.fact.as_ref()?;
        let Standing::Leg(own) = fact.standing else { return None };
        fact.legs.iter().find(|leg| leg.leg == own)
    }

    /// A signal of the device's own, as it is to be said now. `None` without a leg or a session: what would have been agreed
    /// on has to be agreed on anew.
    pub fn signal(&self, call: CallId, to: u8, payload: String) -> Option<Say> {
        let own = self.own_leg(call).filter(|_| self.is_in_session)?;
        Some(Say::Signal(Signal { call, from: own.leg, to, epoch: own.epoch, payload }))
    }

    fn take_fact(&mut self, fact: Fact) -> Vec<News> {
        let call = fact.call;
        let known = self.calls.get(&call).and_then(|known| known.fact.as_ref());
        if known.is_some_and(|known| known.seq >= fact.seq) {
            return Vec::new();
        }
        let own = known.map(|known| known.standing);
        if let Standing::Out(_) = fact.standing {
            self.calls.remove(&call);
            self.intents.retain(|intent| intent.call != call);
            let mut news = Vec::new();
            if let (Standing::Out(Out::Transferred | Out::Lost), Some(Standing::Leg(leg))) = (fact.standing, own) {
                news.push(News::Left { leg, fact: Box::new(fact.clone()) });
            }
            news.push(News::Gone(call, Box::new(fact)));
            return news;
        }
        let known = self.calls.entry(call).or_default();
        known.fact = Some(fact);
        known.is_refused = false;
        known.use_phone = known.advice(self.dispatch.as_ref());
        vec![News::Changed(call)]
    }

    fn take_reply(&mut self, reply: Reply) -> Vec<News> {
        let Some(index) = self.intents.iter().position(|intent| intent.key == reply.key) else { return Vec::new() };
        let is_for_later = matches!(self.intents[index].act, Act::HangUp | Act::Phoned | Act::Noted);
        if is_for_later && reply.outcome == Outcome::Refused(Refusal::Unavailable) {
            // Said again in the next session: what is over has to be known there at last.
            return vec![News::Answered { call: self.intents[index].call, reply }];
        }
        let Intent { call, act, .. } = self.intents.remove(index);
        self.said.remove(&reply.key);
        let is_call = matches!(act, Act::Call { .. });
        let is_nothing = self.calls.get(&call).is_some_and(|known| known.fact.is_none());
        if is_call && is_nothing {
            match reply.outcome {
                Outcome::Done => {}
                // Nobody comes this way: the app says so until its user has put the call away.
                Outcome::Refused(Refusal::Unavailable | Refusal::TooMany) => {
                    let dispatch = self.dispatch.clone();
                    let known = self.calls.get_mut(&call);
                    known.into_iter().for_each(|known| {
                        known.is_refused = true;
                        known.use_phone = known.advice(dispatch.as_ref());
                    });
                }
                // Refused, or part of another one.
                Outcome::Merged(_) | Outcome::Refused(_) => drop(self.calls.remove(&call)),
            }
        }
        if act == Act::Noted {
            self.calls.remove(&call);
        }
        vec![News::Answered { call, reply }]
    }

    /// Those the gateway does not know are no calls.
    fn forget_others(&mut self, known_there: &[CallId]) -> Vec<News> {
        let is_unknown = |(call, known): &(&CallId, &Known)| !known_there.contains(call) && known.fact.is_some();
        let unknown: Vec<CallId> = self.calls.iter().filter(is_unknown).map(|(call, _)| *call).collect();
        let mut news = Vec::new();
        for call in unknown {
            let Some(Known { fact: Some(mut fact), .. }) = self.calls.remove(&call) else { continue };
            if fact.phase != Phase::Ended {
                if let Standing::Leg(leg @ 1..) = fact.standing {
                    // The call went on without this desk while it was away.
                    let left = Fact { standing: Standing::Out(Out::Lost), ..fact.clone() };
                    news.push(News::Left { leg, fact: Box::new(left) });
                }
                fact.phase = Phase::Ended;
                fact.end = Some(End::Unknown);
            }
            news.push(News::Gone(call, Box::new(fact)));
        }
        news
    }

    /// Of the sender's newest session, as far as the device knows it.
    fn is_of_now(&self, signal: &Signal) -> bool {
        let fact = self.calls.get(&signal.call).and_then(|known| known.fact.as_ref());
        let leg = fact.and_then(|fact| fact.legs.iter().find(|leg| leg.leg == signal.from));
        leg.is_none_or(|leg| signal.epoch >= leg.epoch)
    }

    fn note_at_hand(&mut self, now_ms: i64) {
        match self.is_at_hand() {
            true => drop(self.at_hand_ms.get_or_insert(now_ms)),
            false => self.at_hand_ms = None,
        }
    }

    /// Whether the path lives; news when that has changed.
    fn look(&mut self, now_ms: i64) -> Vec<News> {
        let since_ms = self.at_hand_ms.map(|at_hand_ms| at_hand_ms.max(self.heard_ms.unwrap_or(at_hand_ms)));
        let is_dead = since_ms.is_some_and(|since_ms| now_ms >= since_ms + SILENT_AFTER_MS);
        let mut news = self.look_for_unanswered(now_ms);
        if is_dead == self.is_path_dead {
            return news;
        }
        self.is_path_dead = is_dead;
        let dispatch = self.dispatch.clone();
        for (call, known) in self.calls.iter_mut().filter(|(_, known)| known.is_live() || known.is_path_dead) {
            known.is_path_dead = is_dead;
            known.use_phone = known.advice(dispatch.as_ref());
            news.push(News::Changed(*call));
        }
        news
    }

    /// The path lives, and nobody answers: the gateway cannot store the call. Nobody waits for that.
    fn look_for_unanswered(&mut self, now_ms: i64) -> Vec<News> {
        self.asked_ms
            .retain(|call, _| self.calls.get(call).is_some_and(|known| known.fact.is_none() && known.is_live()));
        let is_due = |(_, asked_ms): &(&CallId, &i64)| now_ms >= **asked_ms + UNANSWERED_AFTER_MS;
        let due: Vec<CallId> = self.asked_ms.iter().filter(is_due).map(|(call, _)| *call).collect();
        let mut news = Vec::new();
        for call in due {
            self.asked_ms.remove(&call);
            let dispatch = self.dispatch.clone();
            let Some(known) = self.calls.get_mut(&call) else { continue };
            known.use_phone = Some(Advice { phone: dispatch });
            news.push(News::Changed(call));
        }
        news
    }
}

impl Known {
    fn is_live(&self) -> bool {
        !self.is_refused && self.fact.as_ref().is_none_or(|fact| fact.phase != Phase::Ended)
    }

    fn advice(&self, dispatch: Option<&Phone>) -> Option<Advice> {
        let is_due = self.is_path_dead || self.is_refused || self.fact.as_ref().is_some_and(|fact| fact.use_phone);
        is_due.then(|| Advice { phone: self.fact.as_ref().and_then(|fact| fact.phone.clone()).or(dispatch.cloned()) })
    }
}

/// How long a call may be without an answer before its crew is told to use the telephone, in milliseconds.
const UNANSWERED_AFTER_MS: i64 = 3_000;
