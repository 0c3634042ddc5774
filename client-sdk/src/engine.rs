//! The one task that owns the device's documents: edits and received changes pass through it, one at a time.
//!
//! Order: an edit is answered after its commit, and sent after its commit. What the gateway sends is stored before
//! it is shown, and the cursor moves in the same transaction.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use feldakte_core::{
    access::{BreakGlassReason, Principal, Subject},
    case::{DocumentView, Edit, Outcome, Path},
    crdt::Stamp,
    ids::{CaseId, ChangeHash, Cursor, DocumentId, Epoch, Part, Position, TenantId, UserId},
};
use feldakte_proto::{ClientMessage, CloseCode, Fetch, Reason};
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, sleep_until},
};
use tracing::warn;

pub(crate) use self::requests::Asked;
use self::{
    clock::Clock, documents::Documents, emergency::Emergencies, outbox::Outbox, reads::Reads, requests::Requests,
    users::Users,
};
use crate::{
    environment::Environment,
    error::SdkError,
    link::{LinkControl, LinkInput, Outbound},
    notify::Notifier,
    store::{DocumentEdit, SharedLocalStore, Wipe},
    transport::LinkError,
    user::SignIn,
    view::{CaseSummary, CaseSync, CaseView, DeviceUser, LinkState, ParkedEdit, Status},
    witness::ChangeFact,
};

mod clock;
mod documents;
mod emergency;
mod inbound;
mod model;
mod outbox;
mod purge;
mod queries;
mod reads;
mod redo;
mod requests;
mod users;
mod wipe;

type Reply<T> = oneshot::Sender<Result<T, SdkError>>;

/// What an app asks for.
pub(crate) enum Command {
    Create { edits: Vec<Edit>, reply: Reply<CaseId> },
    Edit { case: CaseId, edits: Vec<Edit>, reply: Reply<()> },
    Note { case: CaseId, entry: Edit, reply: Reply<()> },
    Read { case: CaseId, reply: Reply<CaseView> },
    List { reply: Reply<Vec<CaseSummary>> },
    CaseSync { case: CaseId, reply: Reply<CaseSync> },
    Parked { case: CaseId, reply: Reply<Vec<ParkedEdit>> },
    Sign { case: CaseId, reply: Reply<()> },
    Outcome { case: CaseId, reply: Reply<Vec<(Part, Outcome)>> },
    Signed { document: DocumentId, heads: Vec<ChangeHash>, reply: Reply<DocumentView> },
    Ask { asked: Asked, reply: Reply<()> },
    HiddenCases { reply: Reply<Vec<CaseId>> },
    OpenHidden { case: CaseId, reason: BreakGlassReason, text: String, reply: Reply<()> },
    SignIn { sign_in: SignIn, reply: Reply<UserId> },
    SignOut { reply: Reply<()> },
    SetPin { login: String, old: Option<String>, new: String, reply: Reply<UserId> },
    Users { reply: Reply<Vec<DeviceUser>> },
    Status { reply: Reply<Status> },
    Shutdown { reply: Reply<()> },
}

/// The task's data.
pub(crate) struct Engine {
    principal: Principal,
    /// The tenant whose log the device reads.
    log: TenantId,
    store: SharedLocalStore,
    environment: Environment,
    notifier: Arc<Notifier>,
    control: Arc<LinkControl>,
    documents: Documents,
    cursor: Option<Cursor>,
    outbox: Outbox,
    requests: Requests,
    reads: Reads,
    emergencies: Emergencies,
    /// Something may be there whose grant has ended: whether it is, only a look at all documents tells.
    look_for_ended: bool,
    link: LinkState,
    outbound: Option<Outbound>,
    /// The epoch of the session at hand.
    epoch: Option<Epoch>,
    /// Documents asked for and not yet there; asked for again after a failure.
    fetching: Vec<DocumentId>,
    /// Those of them for which a grant began after they were asked for: the answer under way is from before it.
    outdated: BTreeSet<DocumentId>,
    /// A fetch has been sent whose stream has not ended.
    is_fetch_open: bool,
    /// A snapshot may be missing: whether one is, only a look at all documents tells.
    look_for_pending: bool,
    /// Documents whose snapshots came damaged: left alone for a while, so that they hold up nothing else.
    unfetchable: BTreeSet<DocumentId>,
    /// Documents per fetch; fewer after one that failed.
    fetch_at_once: usize,
    clock_offset_ms: Option<i64>,
    users: Users,
    wipe: Option<Wipe>,
    purge_after: Option<Duration>,
    /// From the first contact on.
    clock: Option<Clock>,
    /// The time at which the store last heard of it.
    clock_kept_ms: Option<i64>,
}

impl Engine {
    pub(crate) async fn open(
        (principal, log): (Principal, TenantId),
        store: SharedLocalStore,
        environment: Environment,
        notifier: Arc<Notifier>,
        control: Arc<LinkControl>,
    ) -> Result<Engine, SdkError> {
        let state = store.state().await?;
        let principal = Principal { user: state.user, ..principal };
        let documents = Documents::new(principal.clone(), log.clone(), state.store, store.clone());
        let clock = state.clock.map(|clock| Clock::restored(clock, environment.uptime()));
        Ok(Engine {
            principal,
            log,
            store,
            environment,
            notifier,
            control,
            documents,
            cursor: state.cursor,
            outbox: Outbox::default(),
            requests: Requests::default(),
            reads: Reads::default(),
            emergencies: Emergencies::default(),
            look_for_ended: true,
            link: LinkState::Offline,
            outbound: None,
            epoch: None,
            fetching: Vec::new(),
            outdated: BTreeSet::new(),
            is_fetch_open: false,
            look_for_pending: true,
            unfetchable: BTreeSet::new(),
            fetch_at_once: FETCH_AT_ONCE,
            clock_offset_ms: None,
            users: Users::reading_as(state.reader),
            wipe: state.wipe,
            purge_after: None,
            clock,
            clock_kept_ms: None,
        })
    }

    /// Without contact for so long, the device keeps only what is unsent.
    pub(crate) fn with_timer(self, purge_after: Option<Duration>) -> Self {
        Self { purge_after, ..self }
    }

    pub(crate) async fn run(mut self, mut commands: mpsc::Receiver<Command>, mut link: mpsc::Receiver<LinkInput>) {
        let (mut retried, mut retry_after) = (Instant::now(), Duration::ZERO);
        loop {
            // Commands first: a tablet that receives a flood still saves what its user types. The link has its
            // turn after each: a tablet that is written to without a pause still hears what has become durable.
            let failed = tokio::select! {
                biased;
                command = commands.recv() => match command {
                    Some(Command::Shutdown { reply }) => {
                        self.store.close().await;
                        // Nobody waits any more: closed all the same.
                        let _ = reply.send(Ok(()));
                        return;
                    }
                    Some(command) => {
                        retry_after = RETRY_EVERY;
                        self.handle_both(command, &mut link).await
                    }
                    None => return self.store.close().await,
                },
                Some(input) = link.recv() => {
                    retry_after = RETRY_EVERY;
                    self.handle_link(input).await
                }
                () = sleep_until(retried + retry_after), if self.is_anything_timed() => {
                    retried = Instant::now();
                    retry_after = self.rests_for();
                    self.handle_retry().await
                }
            };
            if let Err(error) = failed {
                // What was not stored was neither answered nor acknowledged; the session starts over.
                warn!(%error, "local store");
                self.drop_session();
            }
        }
    }

    async fn handle_both(&mut self, command: Command, link: &mut mpsc::Receiver<LinkInput>) -> Result<(), SdkError> {
        self.handle_command(command).await?;
        for _ in 0..LINK_INPUTS_PER_COMMAND {
            let Ok(input) = link.try_recv() else { return Ok(()) };
            self.handle_link(input).await?;
        }
        Ok(())
    }

    async fn handle_command(&mut self, command: Command) -> Result<(), SdkError> {
        let command = match self.wipe {
            None => Some(command),
            Some(_) => command.refuse_when_wiped(),
        };
        let Some(command) = command else { return Ok(()) };
        self.watch_clock().await?;
        self.end_emergencies().await?;
        // A caller that has gone away does not undo what it asked for.
        match command {
            Command::Create { edits, reply } => drop(reply.send(self.create(edits).await)),
            Command::Edit { case, edits, reply } => drop(reply.send(self.edit(case, edits).await)),
            Command::Note { case, entry, reply } => drop(reply.send(self.note(case, entry).await)),
            Command::Read { case, reply } => drop(reply.send(self.read(case).await)),
            Command::List { reply } => drop(reply.send(self.list().await)),
            Command::CaseSync { case, reply } => drop(reply.send(self.case_sync(case).await)),
            Command::Parked { case, reply } => drop(reply.send(self.parked(case).await)),
            Command::Sign { case, reply } => drop(reply.send(self.sign(case).await)),
            Command::Outcome { case, reply } => drop(reply.send(self.outcome(case).await)),
            Command::Signed { document, heads, reply } => drop(reply.send(self.signed(document, &heads).await)),
            Command::Ask { asked, reply } => self.ask_gateway(asked, reply),
            Command::HiddenCases { reply } => drop(reply.send(self.hidden_cases().await)),
            Command::OpenHidden { case, reason, text, reply } => {
                drop(reply.send(self.open_hidden(case, reason, text).await));
            }
            Command::SignIn { sign_in, reply } => self.sign_in(sign_in, reply).await,
            Command::SignOut { reply } => drop(reply.send(self.sign_out().await)),
            Command::SetPin { login, old, new, reply } => {
                drop(reply.send(self.set_pin(&login, old.as_deref(), new).await));
            }
            Command::Users { reply } => drop(reply.send(self.device_users().await)),
            Command::Status { reply } => drop(reply.send(self.status().await)),
            Command::Shutdown { .. } => {}
        }
        self.advance().await
    }

    fn is_anything_timed(&self) -> bool {
        self.outbound.is_some() || self.purge_after.is_some() || self.emergencies.are_any_open()
    }

    /// Until waiting changes are offered again, and until the device's clock is looked at. In a session in which nothing
    /// happens and nothing waits a phone is left to sleep.
    fn rests_for(&self) -> Duration {
        let is_waiting = self.outbound.is_none()
            || *self.control.unanswered.borrow() > 0
            || self.outbox.is_anything_waiting()
            || self.requests.are_receipts_waiting()
            || !self.unfetchable.is_empty()
            || self.emergencies.are_any_open();
        if is_waiting { RETRY_EVERY } else { LOOK_EVERY }
    }

    async fn create(&mut self, edits: Vec<Edit>) -> Result<CaseId, SdkError> {
        let case = self.environment.case_id();
        self.write(case, edits).await?;
        Ok(case)
    }

    async fn edit(&mut self, case: CaseId, edits: Vec<Edit>) -> Result<(), SdkError> {
        if self.states_of(case).await?.is_empty() {
            return Err(SdkError::UnknownCase);
        }
        self.write(case, edits).await
    }

    /// Makes one change per document and stores them together; "saved" is what the return means.
    async fn write(&mut self, case: CaseId, edits: Vec<Edit>) -> Result<(), SdkError> {
        if edits.is_empty() {
            return Err(SdkError::Edit("nothing to save"));
        }
        if edits.iter().any(|edit| matches!(edit, Edit::Resolve { path, .. } if !is_register(path))) {
            return Err(SdkError::Edit("only facts and checklist answers are resolved; an entry is corrected"));
        }
        self.check(case, &edits).await?;
        let mut by_part: BTreeMap<Part, Vec<Edit>> = BTreeMap::new();
        for edit in edits {
            by_part.entry(edit.part()).or_default().push(edit);
        }
        self.outbox.used(case);
        for part in by_part.keys() {
            // What is older goes first, so that it does not overrule what comes now.
            self.redo(DocumentId { case, part: *part }).await?;
        }
        let urgent: Vec<Part> =
            by_part.iter().filter(|(_, edits)| edits.iter().any(Edit::is_urgent)).map(|(part, _)| *part).collect();
        for DocumentEdit { document, changes } in self.documents.edit(case, &by_part, self.stamp()).await? {
            if urgent.contains(&document.part) {
                self.outbox.urge(document);
            }
            self.notifier.testify(document, changes.iter().map(|change| &change.hash), ChangeFact::Saved);
        }
        self.notifier.content(case, None);
        self.notifier.sync(case);
        Ok(())
    }

    /// Times are for people: neither is ever used for order.
    fn stamp(&self) -> Stamp {
        Stamp { time_ms: self.environment.now_ms(), clock_offset_ms: self.clock_offset_ms }
    }

    async fn handle_link(&mut self, input: LinkInput) -> Result<(), SdkError> {
        match input {
            LinkInput::Dialling(reply) => {
                if self.outbound.is_none() {
                    self.set_link(LinkState::Connecting);
                }
                let introduction = self.introduction().await?;
                // The link may have been cancelled meanwhile; it asks again.
                let _ = reply.send(introduction);
                return Ok(());
            }
            LinkInput::Up { welcome, introduction, outbound } => {
                // Somebody else has signed in meanwhile: the link dials again.
                if introduction == *self.control.introduction.borrow() {
                    self.begin_session(welcome, outbound).await?;
                }
            }
            LinkInput::Message(message) => self.handle_message(message).await?,
            LinkInput::Aside(message) => self.handle_aside(message).await?,
            LinkInput::LaneLost(lane) => {
                let cases = self.outbox.recall(lane, self.principal.user);
                cases.into_iter().for_each(|case| self.notifier.sync(case));
            }
            // Those of a session that was given up came for whoever used the device then.
            LinkInput::Snapshots(_) if self.wipe.is_some() || self.epoch.is_none() => {}
            LinkInput::Snapshots(unbundled) => self.handle_snapshots(unbundled).await?,
            LinkInput::FetchEnded => self.leave_alone_what_is_missing(),
            LinkInput::FetchFailed => self.fetch_fewer(),
            LinkInput::Renew(renewing) => self.ask_renewal(renewing),
            LinkInput::Down(error) => {
                self.drop_session();
                self.give_up_sign_in(&error);
                let state = match &error {
                    LinkError::Closed(CloseCode::Done) => LinkState::Offline,
                    error if !error.is_retryable() => LinkState::Refused,
                    _ => LinkState::Connecting,
                };
                self.set_link(state);
                return Ok(());
            }
        }
        self.advance().await
    }

    /// What was fetched and has not come cannot be read at the gateway at the moment.
    fn leave_alone_what_is_missing(&mut self) {
        self.outdated.clear();
        self.is_fetch_open = false;
        self.unfetchable.extend(self.fetching.drain(..));
        self.fetch_at_once = (2 * self.fetch_at_once).min(FETCH_AT_ONCE);
        self.look_for_pending = true;
    }

    /// One of the documents came in a form that could not be read: fetching fewer at a time finds out which.
    fn fetch_fewer(&mut self) {
        self.outdated.clear();
        self.is_fetch_open = false;
        match self.fetching.len() {
            0 | 1 => self.unfetchable.extend(self.fetching.drain(..)),
            many => {
                self.fetch_at_once = many / 2;
                self.fetching.clear();
            }
        }
        self.look_for_pending = true;
    }

    fn drop_session(&mut self) {
        self.outbound = None;
        self.epoch = None;
        self.control.caught_up.send_replace(false);
        self.fetching.clear();
        self.outdated.clear();
        self.is_fetch_open = false;
        self.unfetchable.clear();
        self.fetch_at_once = FETCH_AT_ONCE;
        self.requests.reset();
        let cases = self.outbox.reset(self.principal.user);
        cases.into_iter().for_each(|case| self.notifier.sync(case));
        self.count_unanswered();
    }

    fn set_link(&mut self, state: LinkState) {
        if self.link != state {
            self.link = state;
            self.notifier.link(state);
        }
    }

    /// Changes that waited for somebody else's are offered again; snapshots still missing are asked for again.
    async fn handle_retry(&mut self) -> Result<(), SdkError> {
        self.outbox.retry_waiting();
        // A refused or quarantined change can make a document incomplete without anybody asking for it.
        self.look_for_pending = true;
        self.unfetchable.clear();
        self.look_for_ended = true;
        self.watch_clock().await?;
        self.end_emergencies().await?;
        self.advance().await
    }

    /// What follows from what has just happened.
    async fn advance(&mut self) -> Result<(), SdkError> {
        self.purge_ended().await?;
        self.pump().await?;
        self.wipe_when_delivered().await?;
        self.send_receipts().await?;
        self.count_unanswered();
        Ok(())
    }

    /// Sends what may be sent: unsent changes up to the window, and the next fetch.
    async fn pump(&mut self) -> Result<(), SdkError> {
        let Some(outbound) = self.outbound.clone() else { return Ok(()) };
        let news = (&*self.notifier, self.principal.user);
        self.outbox.pump(&self.store, &outbound, news).await?;
        if !self.is_fetch_open && self.look_for_pending && self.wipe.is_none() {
            let pending = self.store.pending().await?.into_iter();
            let mut wanted: Vec<DocumentId> = pending.filter(|document| !self.unfetchable.contains(document)).collect();
            wanted.sort_by_key(|document| !self.outbox.is_in_use(document.case));
            wanted.truncate(self.fetch_at_once);
            self.look_for_pending = !wanted.is_empty();
            if !wanted.is_empty()
                && outbound.try_send(ClientMessage::Fetch(Fetch { documents: wanted.clone() })).is_ok()
            {
                self.fetching = wanted;
                self.is_fetch_open = true;
            }
        }
        Ok(())
    }

    fn count_unanswered(&self) {
        let unanswered = self.outbox.pushes() + self.requests.open() + usize::from(self.is_fetch_open);
        self.control.unanswered.send_if_modified(|known| std::mem::replace(known, unanswered) != unanswered);
    }

    fn is_mine(&self, subject: &Subject) -> bool {
        self.principal.subjects_in(&self.log).contains(subject)
    }
}

/// A cursor before the first entry of an epoch.
fn start_of(epoch: Epoch) -> Cursor {
    Cursor { epoch, position: Position::START }
}

/// Whether a change was refused for the sake of another one: the change it stands on is not in the log. That may
/// vanish by itself, unless the other one was refused for good.
fn is_for_another(reason: Reason) -> bool {
    matches!(reason, Reason::UnknownDependency | Reason::DependencyRefused)
}

/// Whether a decision can be written there.
fn is_register(path: &Path) -> bool {
    matches!(path, Path::Fact(_) | Path::Checklist(_))
}

/// The fact of the operations document that names the case's kind, as in its catalogue.
pub(crate) const CASE_KIND: &str = "kind";
/// What the link may bring between two commands: an answer and what a few other writers did meanwhile.
const LINK_INPUTS_PER_COMMAND: usize = 4;
/// Documents per fetch at most: one bundle or a few.
const FETCH_AT_ONCE: usize = 128;
/// How often waiting changes are offered again.
const RETRY_EVERY: Duration = Duration::from_secs(5);
/// The same while nothing waits.
const LOOK_EVERY: Duration = Duration::from_secs(60);
