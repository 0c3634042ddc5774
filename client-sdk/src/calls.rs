//! Teleconsultations on the device: one task keeps the book of its calls, and speaks on the urgent lane of whatever session
//! there is.
//!
//! Beside the engine, not behind it: a commit to a slow disk delays no signal and no pulse.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use feldakte_core::{
    access::Role,
    call::{
        ASKED, Act, Book, Category, Duty, Intent, Known, News, Outcome, Phase, Phone, Reply, Say, Signal, Standing,
        Told,
    },
    ids::{CallId, CaseId, IntentKey},
    limits,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::debug;

pub(crate) use self::events::Events;
pub use self::events::{CallEvent, CallObserver};
use self::record::Recorder;
use crate::{engine::Command, environment::Environment, error::SdkError, link::LinkControl};

mod events;
mod record;

/// What the task is told.
pub(crate) enum CallInput {
    /// An urgent lane is open; what is said goes in there.
    Up { lane: u64, say: mpsc::Sender<Say> },
    /// That lane is over.
    Down { lane: u64 },
    /// The gateway has told something on that lane.
    Told { lane: u64, told: Told },
    /// The app wants something.
    Asked(Asked),
}

/// What an app wants of calls.
pub(crate) enum Asked {
    Call { call: CallId, case: CaseId, category: Category, phone: Option<Phone>, reply: oneshot::Sender<()> },
    Want { call: CallId, act: Act, reply: oneshot::Sender<Result<(), SdkError>> },
    Duty { duty: Option<Duty>, reply: oneshot::Sender<Result<(), SdkError>> },
    Signal { call: CallId, to: u8, payload: String, reply: oneshot::Sender<Result<(), SdkError>> },
    Calls { reply: oneshot::Sender<Vec<CallState>> },
}

/// A call as the app is shown it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CallState {
    /// Which.
    pub call: CallId,
    /// What is known of it.
    pub known: Known,
}

/// The task's data.
pub(crate) struct Calls {
    environment: Environment,
    control: Arc<LinkControl>,
    events: Arc<Events>,
    book: Book,
    is_desk: bool,
    duty: Option<Duty>,
    lane: Option<(u64, mpsc::Sender<Say>)>,
    /// Who waits for what became of an intent.
    waiting: BTreeMap<IntentKey, Waiting>,
    recorder: Recorder,
    began: Instant,
}

struct Waiting {
    reply: oneshot::Sender<Result<(), SdkError>>,
    until: Instant,
    /// It is said all the same when there is a session again.
    is_lasting: bool,
}

impl Calls {
    pub(crate) fn new(
        environment: Environment,
        role: Role,
        control: Arc<LinkControl>,
        events: Arc<Events>,
        commands: mpsc::Sender<Command>,
        inputs: mpsc::WeakSender<CallInput>,
    ) -> Self {
        Self {
            recorder: Recorder::new(commands, inputs, control.clone()),
            environment,
            control,
            events,
            book: Book::default(),
            is_desk: role == Role::TelePhysician,
            duty: None,
            lane: None,
            waiting: BTreeMap::new(),
            began: Instant::now(),
        }
    }

    pub(crate) async fn run(mut self, mut inputs: mpsc::Receiver<CallInput>, shutdown: CancellationToken) {
        let mut next_tick = Instant::now();
        loop {
            let is_timed = self.book.is_at_hand() || !self.waiting.is_empty();
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                () = sleep_until(next_tick), if is_timed => {
                    next_tick = Instant::now() + TICK;
                    self.tick();
                }
                input = inputs.recv() => match input {
                    Some(input) => self.take(input),
                    None => return,
                },
            }
            let is_at_hand = self.book.is_at_hand();
            self.control.in_call.send_if_modified(|known| std::mem::replace(known, is_at_hand) != is_at_hand);
        }
    }

    fn take(&mut self, input: CallInput) {
        match input {
            CallInput::Up { lane, say } => {
                self.lane = Some((lane, say));
                let first = self.book.begin(self.now_ms());
                first.into_iter().for_each(|say| self.say(say));
                if let Some(duty) = self.duty {
                    self.say(Say::Duty(duty));
                }
            }
            CallInput::Down { lane } => {
                if self.lane.as_ref().is_some_and(|(open, _)| *open == lane) {
                    self.lane = None;
                    self.book.lose();
                }
            }
            CallInput::Told { lane, told } => {
                if self.lane.as_ref().is_some_and(|(open, _)| *open == lane) {
                    if told == Told::Pulse(ASKED) {
                        self.say(Say::Pulse(ASKED));
                    }
                    let news = self.book.take(told, self.now_ms());
                    self.spread(news);
                }
            }
            CallInput::Asked(asked) => self.ask(asked),
        }
    }

    fn ask(&mut self, asked: Asked) {
        match asked {
            Asked::Call { call, case, category, phone, reply } => {
                self.want(call, Act::Call { case, category, phone });
                self.events.put(CallEvent::Changed(call));
                let _ = reply.send(());
            }
            Asked::Want { call, act, reply } => {
                // What is over is over, whenever the gateway hears of it; anything else nobody expects any more after a while.
                let is_lasting = matches!(act, Act::HangUp | Act::Phoned | Act::Noted);
                let is_put_away = act == Act::HangUp && self.book.call(call).is_some();
                let key = self.want(call, act);
                if is_put_away && self.book.call(call).is_none_or(|known| known.is_refused) {
                    self.book.put_away(call);
                    self.events.put(CallEvent::Changed(call));
                    let _ = reply.send(Ok(()));
                    return;
                }
                self.waiting.insert(key, Waiting { reply, until: Instant::now() + ANSWERED_WITHIN, is_lasting });
            }
            Asked::Duty { duty, reply } => {
                let answer = match self.is_desk {
                    true => {
                        self.duty = duty;
                        self.say(Say::Duty(duty.unwrap_or(Duty { capacity: 0 })));
                        Ok(())
                    }
                    false => Err(SdkError::NotPermitted),
                };
                let _ = reply.send(answer);
            }
            Asked::Signal { call, to, payload, reply } => {
                let answer = match self.book.signal(call, to, payload) {
                    Some(say) => {
                        self.say(say);
                        Ok(())
                    }
                    None => Err(SdkError::NotConnected),
                };
                let _ = reply.send(answer);
            }
            Asked::Calls { reply } => {
                let calls = self.book.calls().map(|(call, known)| CallState { call, known: known.clone() });
                let _ = reply.send(calls.collect());
            }
        }
    }

    fn want(&mut self, call: CallId, act: Act) -> IntentKey {
        let key = IntentKey(self.environment.random_uuid());
        let now_ms = self.now_ms();
        let said = self.book.want(Intent { key, call, act }, now_ms);
        said.into_iter().for_each(|say| self.say(say));
        key
    }

    fn tick(&mut self) {
        let (pulse, news) = self.book.tick(self.now_ms());
        pulse.into_iter().for_each(|pulse| self.say(pulse));
        self.spread(news);
        let now = Instant::now();
        let late: Vec<IntentKey> =
            self.waiting.iter().filter(|(_, waiting)| waiting.until <= now).map(|(key, _)| *key).collect();
        for key in late {
            // It would be done later, when nobody expects it any more.
            let Some(Waiting { reply, is_lasting, .. }) = self.waiting.remove(&key) else { continue };
            if !is_lasting {
                self.book.forget(key);
            }
            let _ = reply.send(Err(SdkError::NotConnected));
        }
    }

    fn say(&mut self, say: Say) {
        let Some((_, lane)) = &self.lane else { return };
        // Intents are repeated in the next session, the rest is of this moment.
        if lane.try_send(say).is_err() {
            debug!("the urgent lane takes nothing");
        }
    }

    fn spread(&mut self, news: Vec<News>) {
        for news in news {
            match news {
                News::Changed(call) => {
                    self.events.put(CallEvent::Changed(call));
                    self.note_end(call);
                }
                News::Left { leg, fact } => self.recorder.left(leg, *fact),
                News::Gone(call, fact) => self.events.put(CallEvent::Gone(call, fact)),
                News::Answered { call, reply: Reply { key, outcome } } => {
                    if let Some(Waiting { reply, .. }) = self.waiting.remove(&key) {
                        let _ = reply.send(match outcome {
                            Outcome::Done | Outcome::Merged(_) => Ok(()),
                            Outcome::Refused(refusal) => Err(SdkError::CallRefused(refusal)),
                        });
                    }
                    self.events.put(CallEvent::Answered(call, outcome));
                }
                News::Signal(Signal { call, from, epoch, payload, .. }) => {
                    self.events.put(CallEvent::Signal { call, from, epoch, payload });
                }
                News::Relay(relay) => self.events.put(CallEvent::Relay(relay)),
            }
        }
    }

    /// What has ended is written into the case; once that is saved the gateway need not tell it any more.
    fn note_end(&mut self, call: CallId) {
        let Some(fact) = self.book.call(call).and_then(|known| known.fact.clone()) else { return };
        if fact.phase == Phase::Ended && matches!(fact.standing, Standing::Leg(_)) {
            self.recorder.end(fact);
        }
    }

    /// By a clock that only goes forward.
    fn now_ms(&self) -> i64 {
        i64::try_from(self.began.elapsed().as_millis()).unwrap_or(i64::MAX)
    }
}

/// The app's side: everything that can be asked of calls.
#[derive(Clone)]
pub(crate) struct CallsHandle {
    inputs: mpsc::Sender<CallInput>,
}

impl CallsHandle {
    pub(crate) fn new(inputs: mpsc::Sender<CallInput>) -> Self {
        Self { inputs }
    }

    pub(crate) async fn call(
        &self,
        (call, case): (CallId, CaseId),
        category: Category,
        phone: Option<String>,
    ) -> Result<(), SdkError> {
        let phone = phone.map(Phone::try_from).transpose().map_err(|_| SdkError::NotAPhone)?;
        self.ask(|reply| Asked::Call { call, case, category, phone, reply }).await
    }

    pub(crate) async fn want(&self, call: CallId, act: Act) -> Result<(), SdkError> {
        self.ask(|reply| Asked::Want { call, act, reply }).await?
    }

    pub(crate) async fn duty(&self, duty: Option<Duty>) -> Result<(), SdkError> {
        self.ask(|reply| Asked::Duty { duty, reply }).await?
    }

    pub(crate) async fn signal(&self, call: CallId, to: u8, payload: String) -> Result<(), SdkError> {
        if payload.len() > limits::SIGNAL_LEN_MAX {
            return Err(SdkError::SignalTooLong);
        }
        self.ask(|reply| Asked::Signal { call, to, payload, reply }).await?
    }

    pub(crate) async fn calls(&self) -> Result<Vec<CallState>, SdkError> {
        self.ask(|reply| Asked::Calls { reply }).await
    }

    async fn ask<T>(&self, asked: impl FnOnce(oneshot::Sender<T>) -> Asked) -> Result<T, SdkError> {
        let (reply, answer) = oneshot::channel();
        self.inputs.send(CallInput::Asked(asked(reply))).await.map_err(|_| SdkError::ShutDown)?;
        answer.await.map_err(|_| SdkError::ShutDown)
    }
}

/// Inputs that wait.
pub(crate) const INPUTS: usize = 256;
/// What waits for the urgent lane.
pub(crate) const SAID: usize = 128;
const TICK: Duration = Duration::from_millis(Book::TICK_MS as u64);
/// How long somebody waits for what becomes of an intent.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);
