//! Teleconsultations: one task owns the switchboard, and says nothing that is not durable.
//!
//! A session's urgent lane joins; what it wants goes through the task, which stores what has changed and then tells everybody
//! concerned. Signals take a shorter way: from lane to lane, as the last stored state of the call allows. They are neither
//! stored nor logged, nor looked at.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use feldakte_core::{
    access::Role,
    call::{
        Changed, Duty, Effect, Fact, Input, Intent, Kept, Note, Outcome, Party, Plan, Refusal, Relay, Reply,
        Switchboard, Told,
    },
    ids::{CallId, DeviceId, SessionId, TenantId},
    limits,
};
use serde::{Deserialize, Serialize};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use self::grants::{Change, Given};
pub use self::{lines::Lines, mail::CallMail};
use crate::{
    gateway::Shared,
    relay,
    store::{
        StoreError,
        matters::{KeptCall, SharedMatterStore},
    },
};

mod grants;
mod lines;
mod mail;
mod permit;

pub use permit::may_call;

/// Where calls are made.
pub struct Exchange {
    lines: Lines,
    inputs: mpsc::Sender<Input>,
    queue: Mutex<Option<Begun>>,
    asks: mpsc::Sender<oneshot::Sender<Overview>>,
}

/// What the task begins with.
struct Begun {
    inputs: mpsc::Receiver<Input>,
    asked: mpsc::Receiver<oneshot::Sender<Overview>>,
    board: Switchboard,
    given: Vec<Given>,
}

/// All calls and desks, as they stand.
#[derive(Debug, Clone, Default)]
pub struct Overview {
    /// Calls, as their crews see them; ended ones as well, as long as they are kept.
    pub calls: Vec<Fact>,
    /// Desks on duty.
    pub desks: Vec<(Party, Duty)>,
}

/// One thing that is kept.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Record {
    Board(Kept),
    Given(Given),
}

impl Exchange {
    /// With the calls that are kept there.
    ///
    /// # Errors
    /// When they cannot be read.
    pub async fn restore(plan: Plan, store: &SharedMatterStore, now_ms: i64) -> Result<Self, StoreError> {
        let (mut kept, mut given) = (Vec::new(), Vec::new());
        for state in store.calls().await? {
            match serde_json::from_str(&state) {
                Ok(Record::Board(thing)) => kept.push(thing),
                Ok(Record::Given(grant)) => given.push(grant),
                Err(_) => return Err(StoreError::Damaged("a call")),
            }
        }
        let board = Switchboard::restore(plan, kept, now_ms);
        for given in &mut given {
            given.end_without(&board, now_ms + limits::CALL_WINDOW_MS);
        }
        let (inputs, queue) = mpsc::channel(INPUTS);
        let (asks, asked) = mpsc::channel(ASKS);
        let begun = Begun { inputs: queue, asked, board, given };
        let queue = Mutex::new(Some(begun));
        Ok(Self { lines: Lines::default(), inputs, queue, asks })
    }

    /// Who speaks to whom.
    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    /// The line, of that session, is where the device has its calls from here on.
    pub async fn join(&self, (line, session): (SessionId, SessionId), who: Party, role: Role, mail: &Arc<CallMail>) {
        self.lines.open(line, session, mail.clone());
        let (is_crew, is_desk) = (calls(role), role == Role::TelePhysician);
        self.put(Input::Joined { session: line, who, is_crew, is_desk }).await;
    }

    /// The line is over.
    pub fn leave(&self, line: SessionId) {
        if !self.lines.close(line) {
            return;
        }
        if let Err(mpsc::error::TrySendError::Full(input)) = self.inputs.try_send(Input::Left { session: line }) {
            // Rather late than never: a desk would ring on.
            let inputs = self.inputs.clone();
            tokio::spawn(async move { drop(inputs.send(input).await) });
        }
    }

    /// A desk takes calls, or no more.
    pub async fn duty(&self, line: SessionId, duty: Duty) {
        self.put(Input::Duty { session: line, duty }).await;
    }

    /// Something is wanted. What becomes of it comes by the line's mail.
    pub async fn intent(&self, line: SessionId, intent: Intent, log: TenantId, may_write: bool) {
        self.put(Input::Intent { session: line, intent, log, may_write }).await;
    }

    /// All calls and desks; nothing of a gateway that goes down.
    pub async fn overview(&self) -> Overview {
        let (reply, answer) = oneshot::channel();
        let _ = self.asks.send(reply).await;
        answer.await.unwrap_or_default()
    }

    async fn put(&self, input: Input) {
        // The gateway goes down: nobody waits any more.
        let _ = self.inputs.send(input).await;
    }
}

/// Runs until it is told to stop.
pub async fn run(shared: Arc<Shared>, stop: CancellationToken) {
    let begun = shared.exchange.queue.lock().unwrap_or_else(PoisonError::into_inner).take();
    let Some(Begun { inputs, asked, board, given }) = begun else { return };
    let (grants, changes) = mpsc::channel(INPUTS);
    let give = grants::run(shared.clone(), given, changes);
    let mut task = Task { shared, inputs, asked, board, grants, untold: Vec::new() };
    tokio::select! {
        biased;
        () = stop.cancelled() => {}
        () = task.run() => {}
        // Beside it: a log that cannot be written must hold up no call.
        () = give => {}
    }
}

struct Task {
    shared: Arc<Shared>,
    inputs: mpsc::Receiver<Input>,
    asked: mpsc::Receiver<oneshot::Sender<Overview>>,
    board: Switchboard,
    grants: mpsc::Sender<Change>,
    untold: Vec<Effect>,
}

impl Task {
    async fn run(&mut self) {
        self.step(vec![Input::Tick]).await;
        let mut looked = Instant::now();
        loop {
            let mut inputs = Vec::new();
            // However much is said: somebody else may have fallen silent.
            let look = sleep_until(looked + self.rest());
            tokio::select! {
                biased;
                () = look => {
                    looked = Instant::now();
                    inputs.extend(self.shared.exchange.lines.silent());
                    inputs.push(Input::Tick);
                }
                count = self.inputs.recv_many(&mut inputs, AT_ONCE) => if count == 0 {
                    return;
                },
                Some(reply) = self.asked.recv() => {
                    // Gone meanwhile.
                    let _ = reply.send(Overview { calls: self.board.overview(), desks: self.board.on_duty() });
                    continue;
                }
            }
            self.step(inputs).await;
        }
    }

    /// Until somebody may have fallen silent, or a timer is due.
    fn rest(&self) -> Duration {
        if self.shared.exchange.lines.are_any_watched() {
            return LOOK_EVERY;
        }
        let now_ms = self.shared.environment.latest_ms();
        let due = self.board.next_due().map(|due_ms| u64::try_from(due_ms - now_ms).unwrap_or(0));
        due.map_or(REST_MAX, |ms| Duration::from_millis(ms + 1).min(REST_MAX))
    }

    async fn step(&mut self, inputs: Vec<Input>) {
        let now_ms = self.shared.environment.latest_ms();
        for input in inputs {
            let effects = self.board.apply(now_ms, input);
            self.untold.extend(effects);
        }
        // Who came and went while that was stored has changed something as well.
        loop {
            let changed = records_of(self.board.take_changed());
            if changed.is_empty() {
                break;
            }
            self.keep(changed).await;
        }
        let mut effects = std::mem::take(&mut self.untold);
        // Whoever is told that he may speak to somebody can.
        effects.sort_by_key(|effect| !matches!(effect, Effect::Ways(_)));
        for effect in effects {
            self.bring_about(effect).await;
        }
        self.shared.metrics.calls.set(i64::try_from(self.board.live()).unwrap_or(i64::MAX));
    }

    /// Durable when it returns. While that cannot be, whoever wants something is told so, and nobody is told anything else.
    async fn keep(&mut self, changed: Vec<KeptCall>) {
        let mut tried = 0;
        while let Err(error) = self.shared.matters.keep_calls(&changed).await {
            if tried == 0 {
                error!(%error, "calls cannot be stored; nobody is told anything of them until they can");
            }
            tried += 1;
            tokio::time::sleep(KEEP_AGAIN).await;
            self.refuse_waiting();
        }
        if tried > 0 {
            warn!(tried, "calls can be stored again");
        }
    }

    fn refuse_waiting(&mut self) {
        let mut others = Vec::new();
        while let Ok(input) = self.inputs.try_recv() {
            match input {
                Input::Intent { session, intent, .. } => {
                    let outcome = Outcome::Refused(Refusal::Unavailable);
                    self.shared.exchange.lines.tell(session, Told::Reply(Reply { key: intent.key, outcome }));
                }
                // Who comes and goes has to be known afterwards.
                other => others.push(other),
            }
        }
        let now_ms = self.shared.environment.latest_ms();
        for input in others {
            let effects = self.board.apply(now_ms, input);
            self.untold.extend(effects);
        }
    }

    async fn bring_about(&mut self, effect: Effect) {
        let shared = &self.shared;
        match effect {
            Effect::Tell { session, told } => shared.exchange.lines.tell(session, told),
            // Whoever gives and ends grants goes on for as long as this does.
            Effect::Open { desk, crew } => drop(self.grants.send(Change::Open { desk, crew }).await),
            Effect::Shut(about, since_ms) => {
                let ends_ms = since_ms + limits::CALL_WINDOW_MS;
                drop(self.grants.send(Change::Shut { about, ends_ms }).await);
            }
            Effect::Ways(call) => {
                shared.exchange.lines.set_ways(call, self.board.ways(call));
                self.relay_vitals(call);
            }
            Effect::Relay { session, call, leg } => {
                let Some(relay) = &shared.relay else { return };
                let credentials = relay.credentials(call, leg, shared.environment.now_ms());
                let relay::Credentials { urls, username, password, until_ms } = credentials;
                let told = Told::Relay(Relay { call, urls, username, password, until_ms });
                shared.exchange.lines.tell(session, told);
            }
            Effect::Note { what, about } => {
                if let Note::Ended(end) = what {
                    shared.metrics.calls_ended.get_or_create(&vec![("reason", end.name())]).inc();
                }
                shared.audit.note(grants::record(what, &about));
            }
        }
    }

    /// The crew sends, desks that are in the call watch, for as long as both can be reached.
    fn relay_vitals(&self, call: CallId) {
        let live = &self.shared.live;
        let (crew, desks) = self.shared.exchange.lines.sides(call);
        let Some(crew) = crew else { return live.close(call) };
        if live.open(call, crew, &desks).is_err() {
            warn!("too many calls have live vitals: this one has none");
        }
    }
}

/// Whether that role asks for physicians.
pub fn calls(role: Role) -> bool {
    matches!(role, Role::AmbulanceCrew | Role::EmergencyPhysician)
}

fn records_of(Changed { calls, desks }: Changed) -> Vec<KeptCall> {
    let calls = calls.into_iter().map(|(call, kept)| (format!("call {call}"), kept));
    let desks = desks.into_iter().map(|(desk, kept): (DeviceId, _)| (format!("desk {desk}"), kept));
    calls.chain(desks).map(|(name, kept)| kept_call(name, kept.map(Record::Board))).collect()
}

fn kept_call(name: String, record: Option<Record>) -> KeptCall {
    // Maps with text as keys, numbers and text: nothing that JSON has no word for.
    let state = record.and_then(|record| serde_json::to_string(&record).ok());
    KeptCall { name, state }
}

/// What waits for the task; whoever is beyond it waits for room.
const INPUTS: usize = 1024;
/// Who waits to be shown calls.
const ASKS: usize = 16;
/// What is taken up and stored at once.
const AT_ONCE: usize = 256;
/// How often somebody is looked for who has fallen silent.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Without calls: nothing is due for so long.
const REST_MAX: Duration = Duration::from_secs(3_600);
/// Between two tries to store.
const KEEP_AGAIN: Duration = Duration::from_millis(250);
