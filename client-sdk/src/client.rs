//! The door of the SDK: commands in, events out. Everything works offline; the network only makes it safe.

use std::{
    sync::{Arc, Mutex, atomic::AtomicU64},
    time::Duration,
};

use feldakte_core::{
    access::{Access, BreakGlassReason, Subject},
    case::{DocumentView, Edit, Outcome, schema::CaseKind},
    crdt::Value,
    ids::{CaseId, ChangeHash, DocumentId, EntryId, OrderId, Part, TenantId, UserId},
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

use crate::{
    calls::{self as teleconsultations, Calls, CallsHandle},
    engine::{Asked, CASE_KIND, Command, Engine},
    environment::Environment,
    error::SdkError,
    identity::Identity,
    link::{Absence, Link, LinkControl, Ways},
    monitors::Monitors,
    notify::Notifier,
    renewal::{Credentials, Renewal},
    store::SharedLocalStore,
    transport::{Dialler, Transports},
    user::SignIn,
    view::{CaseSummary, CaseSync, CaseView, DeviceUser, LinkFacts, Observer, ParkedEdit, Status},
    witness::Witness,
};

mod calls;
mod readiness;
mod vitals;

pub use vitals::{VitalsPublisher, VitalsWatch};

/// What a client is opened with.
pub struct ClientOptions {
    /// Who this device is and whom it trusts.
    pub identity: Identity,
    /// The gateway as `host:port`.
    pub gateway: String,
    /// The name in the gateway's certificate; usually the host of `gateway`.
    pub server_name: String,
    /// What may carry its sessions: the gateway listens on the same port over UDP and TCP.
    pub transports: Transports,
    /// How the certificate is renewed; `None` leaves it to the app.
    pub renewal: Option<Renewal>,
    /// The opened local store.
    pub store: SharedLocalStore,
    /// Whose log to read and write; the device's own tenant's when `None`. In another one the device sees what was shared
    /// with its unit, and the store must be one of its own: a cursor belongs to one log.
    pub log: Option<TenantId>,
    /// Without word from the gateway for so long, what is safe there is removed from the device; unsent work stays, and
    /// the rest comes back at the next contact. Never when `None`.
    pub purge_after: Option<Duration>,
    /// Clock, entropy, network.
    pub environment: Environment,
}

/// A device's client. Cheap to clone; all clones are the same client.
#[derive(Clone)]
pub struct Client {
    commands: mpsc::Sender<Command>,
    control: Arc<LinkControl>,
    notifier: Arc<Notifier>,
    environment: Environment,
    goes_on_missions: bool,
    calls: CallsHandle,
    call_events: Arc<teleconsultations::Events>,
    makes_calls: bool,
    monitors: Arc<Monitors>,
    shutdown: CancellationToken,
    tasks: Arc<tokio::sync::Mutex<Vec<JoinHandle<()>>>>,
}

impl Client {
    /// Opens the client, offline. [`Client::go_online`] connects.
    ///
    /// # Errors
    /// When identity or store cannot be used, or no socket can be opened.
    pub async fn open(options: ClientOptions) -> Result<Client, SdkError> {
        let ClientOptions { identity, gateway, server_name, transports, renewal, store, log, purge_after, environment } =
            options;
        let tenant = log.clone().unwrap_or_else(|| identity.principal.tenant.clone());
        let dialler = Arc::new(Dialler::new(&environment).map_err(SdkError::Network)?);
        let notifier = Arc::new(Notifier::default());
        let control = LinkControl::new();
        let shutdown = CancellationToken::new();
        let principal = identity.principal.clone();
        let goes_on_missions = principal.role.goes_on_missions();
        let credentials = Credentials::new(identity, (&gateway, &server_name), renewal, environment.clone())?;
        let (commands, command_queue) = mpsc::channel(COMMANDS);
        let (call_inputs, call_queue) = mpsc::channel(teleconsultations::INPUTS);
        // Calls are made at home: a client of another tenant's log reads and writes there.
        let makes_calls = goes_on_missions && log.is_none();
        let call_events = Arc::<teleconsultations::Events>::default();
        let role = principal.role;
        let (link_inputs, link_queue) = mpsc::channel(LINK_INPUTS);
        let engine = Engine::open((principal, tenant), store, environment.clone(), notifier.clone(), control.clone())
            .await?
            .with_timer(purge_after);
        let link = Link {
            log,
            environment: environment.clone(),
            dialler,
            transports,
            credentials,
            gateway,
            server_name,
            engine: link_inputs,
            calls: makes_calls.then(|| call_inputs.clone()),
            lanes: AtomicU64::new(0),
            control: control.clone(),
            rtt: Mutex::default(),
            ways: Ways::default(),
            absence: Absence::default(),
        };
        let weak = call_inputs.downgrade();
        let calls = Calls::new(environment.clone(), role, control.clone(), call_events.clone(), commands.clone(), weak);
        let tasks = vec![
            tokio::spawn(calls.run(call_queue, shutdown.clone())),
            tokio::spawn(call_events.clone().run(shutdown.clone())),
            tokio::spawn(engine.run(command_queue, link_queue)),
            tokio::spawn(link.run(shutdown.clone())),
            tokio::spawn(notifier.clone().run(shutdown.clone())),
        ];
        Ok(Client {
            commands,
            control,
            notifier,
            environment,
            goes_on_missions,
            calls: CallsHandle::new(call_inputs),
            call_events,
            makes_calls,
            monitors: Arc::default(),
            shutdown,
            tasks: Arc::new(tokio::sync::Mutex::new(tasks)),
        })
    }

    /// Connects, and stays connected as well as the network allows, until [`Client::go_offline`].
    pub fn go_online(&self) {
        self.control.wanted.send_replace(true);
    }

    /// Disconnects. Edits are saved on the device and sent later.
    pub fn go_offline(&self) {
        self.control.wanted.send_replace(false);
    }

    /// The operating system reports another network: what is open goes on over it, or another session begins, at once.
    pub fn network_changed(&self) {
        self.control.hurry.notify_one();
    }

    /// The crew goes on a mission, or is back from it: while it is on one, a gateway to which everybody comes back at once lets
    /// this device in before the others. Believed of ambulance crews, emergency physicians and tele-physicians; of no effect on
    /// other devices, and on a session that is open. Not kept over a restart of the app.
    pub fn set_on_mission(&self, is_on_mission: bool) {
        self.control.on_mission.send_replace(is_on_mission && self.goes_on_missions);
    }

    /// Calls the observer on every change from here on.
    pub fn observe(&self, observer: Arc<dyn Observer>) {
        self.notifier.observe(observer);
    }

    /// Lets a test or audit record what this device is told about each change from here on. The first witness stays.
    pub fn witness(&self, witness: Arc<dyn Witness>) {
        self.notifier.witness(witness);
    }

    /// Returns once this device has read the log up to where it ended when the session began. Snapshots may still
    /// be on their way: [`CaseSync::incomplete`] tells. Without a session it waits for one.
    pub async fn caught_up(&self) {
        // The sender lives in `self.control`, so waiting cannot fail.
        let _ = self.control.caught_up.subscribe().wait_for(|caught_up| *caught_up).await;
    }

    /// A new case with its first edits, saved on the device when this returns.
    ///
    /// # Errors
    /// When it could not be saved, or `edits` is empty.
    pub async fn create_case(&self, edits: Vec<Edit>) -> Result<CaseId, SdkError> {
        self.ask(|reply| Command::Create { edits, reply }).await
    }

    /// Edits a case. Saved on the device when this returns; all of it or nothing.
    ///
    /// # Errors
    /// When it could not be saved or does not fit the case.
    pub async fn edit(&self, case: CaseId, edits: Vec<Edit>) -> Result<(), SdkError> {
        self.ask(|reply| Command::Edit { case, edits, reply }).await
    }

    /// The case as it is on this device.
    ///
    /// # Errors
    /// When the device holds no such case.
    pub async fn read(&self, case: CaseId) -> Result<CaseView, SdkError> {
        self.ask(|reply| Command::Read { case, reply }).await
    }

    /// All cases on this device, oldest first.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn list(&self) -> Result<Vec<CaseSummary>, SdkError> {
        self.ask(|reply| Command::List { reply }).await
    }

    /// How safe a case is.
    ///
    /// # Errors
    /// When the device holds no such case.
    pub async fn case_sync(&self, case: CaseId) -> Result<CaseSync, SdkError> {
        self.ask(|reply| Command::CaseSync { case, reply }).await
    }

    /// What the gateway refused of a case, oldest first.
    ///
    /// # Errors
    /// When the device holds no such case.
    pub async fn parked(&self, case: CaseId) -> Result<Vec<ParkedEdit>, SdkError> {
        self.ask(|reply| Command::Parked { case, reply }).await
    }

    /// A new case of that kind with its first edits, saved on the device when this returns. From here on edits are
    /// checked against the kind's catalogue.
    ///
    /// # Errors
    /// When it could not be saved, or a value has not the type that the catalogue gives its field.
    pub async fn create(&self, kind: CaseKind, edits: Vec<Edit>) -> Result<CaseId, SdkError> {
        let value = Value::Text(kind.name().to_owned());
        let kind = Edit::SetFact { part: Part::Operations, name: CASE_KIND.to_owned(), value };
        self.create_case(std::iter::once(kind).chain(edits).collect()).await
    }

    /// An id for an entry.
    pub fn new_entry_id(&self) -> EntryId {
        EntryId(self.environment.random_uuid())
    }

    /// An id for an order: the same on all its steps.
    pub fn new_order_id(&self) -> OrderId {
        OrderId(self.environment.random_uuid())
    }

    /// Milliseconds since 1970-01-01 UTC by the device's clock.
    pub(crate) fn now_ms(&self) -> i64 {
        self.environment.now_ms()
    }

    /// What the case's events come to, by document: orders, status, links, signatures with their addenda.
    ///
    /// # Errors
    /// When the device holds no such case.
    pub async fn outcome(&self, case: CaseId) -> Result<Vec<(Part, Outcome)>, SdkError> {
        self.ask(|reply| Command::Outcome { case, reply }).await
    }

    /// Signs the case as it is on this device: every document that this device has written. What comes later is an
    /// addendum.
    ///
    /// # Errors
    /// When it could not be saved, or the device holds no such case.
    pub async fn finalise(&self, case: CaseId) -> Result<(), SdkError> {
        self.ask(|reply| Command::Sign { case, reply }).await
    }

    /// A document as a signature names it: see [`crate::view::Finalisation::heads`].
    ///
    /// # Errors
    /// When the device does not hold the document.
    pub async fn signed(&self, document: DocumentId, heads: Vec<ChangeHash>) -> Result<DocumentView, SdkError> {
        self.ask(|reply| Command::Signed { document, heads, reply }).await
    }

    /// Opens one case to this device for an hour, in an emergency, with a reason that a supervisor will read. Needs a
    /// session; what it may read of the case arrives as any other content does. Every use is recorded and reviewed.
    ///
    /// # Errors
    /// [`SdkError::NotConnected`], [`SdkError::NotPermitted`] (also without a text), [`SdkError::UnknownCase`],
    /// [`SdkError::TextTooLong`], [`SdkError::TooOften`], [`SdkError::Unavailable`].
    pub async fn break_glass(&self, case: CaseId, reason: BreakGlassReason, text: String) -> Result<(), SdkError> {
        let asked = Asked::BreakGlass { case, reason, text };
        self.ask(|reply| Command::Ask { asked, reply }).await
    }

    /// Cases that are on this device for others than whoever uses it: what [`Client::break_glass_offline`] can open. Nothing
    /// of them is known but their ids, which tell when each began. Oldest first.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn hidden_cases(&self) -> Result<Vec<CaseId>, SdkError> {
        self.ask(|reply| Command::HiddenCases { reply }).await
    }

    /// Shows whoever uses the device what it holds of one case for others, without a network, in an emergency, with a reason
    /// that a supervisor will read. To read, not to write; parts that his role never sees stay hidden, and somebody whom the
    /// gateway has never believed sees nothing. It ends after an hour, with the app, or when somebody else signs in. It is
    /// written down before anything is shown, and the gateway hears of it at the next contact.
    ///
    /// # Errors
    /// [`SdkError::InSession`] when the gateway can be asked, [`SdkError::UnknownCase`] when nothing of it is on the device,
    /// [`SdkError::NotPermitted`] (also without a text), [`SdkError::TextTooLong`], [`SdkError::TooOften`], or when the local
    /// store fails.
    pub async fn break_glass_offline(
        &self,
        case: CaseId,
        reason: BreakGlassReason,
        text: String,
    ) -> Result<(), SdkError> {
        self.ask(|reply| Command::OpenHidden { case, reason, text, reply }).await
    }

    /// Gives somebody access to parts of a case that this device may write, until a time by the gateway's clock or until it
    /// is ended, but no longer than this device has it. With [`Subject::Guest`] it shares the case with a unit of another
    /// tenant; `None` as access takes that back. Nobody of the own tenant is left with less than he had.
    ///
    /// # Errors
    /// [`SdkError::NotConnected`], [`SdkError::NotPermitted`], [`SdkError::TooOften`], [`SdkError::Unavailable`].
    pub async fn share(
        &self,
        case: CaseId,
        parts: Vec<Part>,
        subject: Subject,
        access: Option<Access>,
        until_ms: Option<i64>,
    ) -> Result<(), SdkError> {
        let asked = Asked::Share { case, parts, subject, access, until_ms };
        self.ask(|reply| Command::Ask { asked, reply }).await
    }

    /// Somebody uses the device from here on. With a token this waits for the gateway; with a PIN it works offline.
    /// Unsent work of everybody else stays hidden from him, and is delivered all the same.
    ///
    /// # Errors
    /// [`SdkError::WrongPin`], [`SdkError::PinLocked`], [`SdkError::BadToken`], [`SdkError::SignInRefused`], or
    /// [`SdkError::Offline`] for a token without a gateway. Whoever used the device before still does then.
    pub async fn sign_in(&self, sign_in: SignIn) -> Result<UserId, SdkError> {
        // In the name of whoever was there; what cannot be saved is kept, and nobody is kept out for it.
        let _ = self.monitors.save_all(self).await;
        self.ask(|reply| Command::SignIn { sign_in, reply }).await
    }

    /// Nobody uses the device from here on.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn sign_out(&self) -> Result<(), SdkError> {
        // In the name of whoever was there; what cannot be saved is kept, and nobody is kept out for it.
        let _ = self.monitors.save_all(self).await;
        self.ask(|reply| Command::SignOut { reply }).await
    }

    /// Makes a user who signs in with a PIN, or changes the PIN of one.
    ///
    /// # Errors
    /// [`SdkError::WeakPin`]; [`SdkError::WrongPin`] and [`SdkError::PinLocked`] when `old` is not the PIN he has.
    pub async fn set_pin(&self, login: String, old: Option<String>, new: String) -> Result<UserId, SdkError> {
        self.ask(|reply| Command::SetPin { login, old, new, reply }).await
    }

    /// Who has signed in on this device before.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn users(&self) -> Result<Vec<DeviceUser>, SdkError> {
        self.ask(|reply| Command::Users { reply }).await
    }

    /// The whole client in one look.
    ///
    /// # Errors
    /// When the local store fails.
    pub async fn status(&self) -> Result<Status, SdkError> {
        self.ask(|reply| Command::Status { reply }).await
    }

    /// The path to the gateway as it is at the moment; `None` without a session. Rates are there from the second question on:
    /// the path is looked at every second for half a minute after each.
    pub async fn link(&self) -> Option<LinkFacts> {
        self.control.facts.ask().await
    }

    /// Ends everything in order. Nothing may be called afterwards.
    pub async fn shutdown(&self) {
        // What cannot be saved at this moment could not before; whoever recorded it was told.
        let _ = self.monitors.save_all(self).await;
        self.shutdown.cancel();
        // The engine may be gone already, which is what is wanted.
        let _ = self.ask(|reply| Command::Shutdown { reply }).await;
        for task in self.tasks.lock().await.drain(..) {
            // A task that panicked has nothing left to end.
            let _ = task.await;
        }
    }

    async fn ask<T>(
        &self,
        command: impl FnOnce(oneshot::Sender<Result<T, SdkError>>) -> Command,
    ) -> Result<T, SdkError> {
        let (reply, answer) = oneshot::channel();
        self.commands.send(command(reply)).await.map_err(|_| SdkError::ShutDown)?;
        answer.await.map_err(|_| SdkError::ShutDown)?
    }
}

/// Commands that wait; more callers wait for room.
const COMMANDS: usize = 64;
/// Messages of the gateway that wait; beyond it the stream is not read.
const LINK_INPUTS: usize = 16;
