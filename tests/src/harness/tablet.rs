//! A tablet: the real SDK on a store, with a witness of everything it is told about its changes.

use std::{
    collections::BTreeSet,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use async_trait::async_trait;
use feldakte_client_sdk::{
    Client, ClientOptions, Identity,
    environment::{Environment, Network, Stream, as_sessions_need},
    store::SharedLocalStore,
    view::{CaseSync, CaseView, Changed, DocumentView, Event, LinkState, Observer, SyncState},
    witness::{ChangeEvent, ChangeFact, Witness},
};
use feldakte_core::{
    case::Edit,
    crdt::Value,
    ids::{CaseId, ChangeHash, Part},
};
use tokio::sync::watch;

use super::{address::Address, local::Clock, new_epoch, pki::Enrolled, pki::GATEWAY_NAME, region::Way, within};
use crate::memory_local_store::{Durability, MemoryLocalStore};

/// A tablet.
pub struct Tablet {
    /// The SDK.
    pub client: Client,
    /// Its link, unless it reaches its gateway by loopback.
    pub way: Option<Arc<Way>>,
    told: Arc<Told>,
}

/// What the tablet's app was told.
#[derive(Default)]
struct Told {
    version: watch::Sender<u64>,
    changes: Mutex<Vec<ChangeEvent>>,
    links: Mutex<Vec<LinkState>>,
    contents: Mutex<Vec<(CaseId, Changed)>>,
    removed: Mutex<Vec<CaseId>>,
    losses: Mutex<Vec<Event>>,
}

impl Tablet {
    /// Opens a tablet on a store, offline.
    pub async fn open(identity: Identity, gateway: impl Into<Address>, store: SharedLocalStore) -> Self {
        Self::open_with((identity, gateway.into()), store, None, None).await
    }

    /// The same with a clock of the test's.
    pub async fn open_at(
        identity: Identity,
        gateway: impl Into<Address>,
        store: SharedLocalStore,
        clock: &Clock,
    ) -> Self {
        Self::open_with((identity, gateway.into()), store, Some(clock), None).await
    }

    /// Opens a tablet that keeps content for so long without word from its gateway, with a clock of the test's.
    pub async fn open_for(
        (identity, gateway): (Identity, impl Into<Address>),
        store: SharedLocalStore,
        clock: &Clock,
        purge_after: Duration,
    ) -> Self {
        Self::open_with((identity, gateway.into()), store, Some(clock), Some(purge_after)).await
    }

    async fn open_with(
        (identity, gateway): (Identity, Address),
        store: SharedLocalStore,
        clock: Option<&Clock>,
        purge_after: Option<Duration>,
    ) -> Self {
        let way = Way::to(gateway.socket.ip()).map(Arc::new);
        let environment = environment(clock, way.clone());
        let options = ClientOptions {
            identity,
            gateway: gateway.to_string(),
            server_name: GATEWAY_NAME.to_owned(),
            transports: gateway.transports,
            store,
            renewal: None,
            log: None,
            purge_after,
            environment,
        };
        let client = Client::open(options).await.expect("the client opens");
        let told = Arc::<Told>::default();
        client.witness(told.clone());
        client.observe(told.clone());
        Self { client, way, told }
    }

    /// A new tablet in memory, online and caught up.
    pub async fn online(enrolled: &Enrolled, gateway: impl Into<Address>) -> Self {
        let tablet = Self::open(enrolled.identity(), gateway, memory_store()).await;
        tablet.go_online().await;
        tablet
    }

    /// Connects and reads the log to its end.
    pub async fn go_online(&self) {
        self.client.go_online();
        within("the tablet catches up", self.client.caught_up()).await;
    }

    /// Disconnects, and waits until it has.
    pub async fn go_offline(&self) {
        self.client.go_offline();
        self.wait_link(LinkState::Offline).await;
    }

    /// Waits until the link is in that state.
    pub async fn wait_link(&self, wanted: LinkState) {
        let what = format!("the link is {wanted:?}");
        self.until(&what, async |client| client.status().await.is_ok_and(|status| status.link == wanted)).await;
    }

    /// Asks again whenever something has changed, until the answer is yes.
    pub async fn until(&self, what: &str, question: impl AsyncFn(&Client) -> bool) {
        let mut version = self.told.version.subscribe();
        within(what, async {
            loop {
                version.mark_unchanged();
                if question(&self.client).await {
                    return;
                }
                // Not every state has an event of its own; an event wakes at once, the rest is looked at again.
                let _ = tokio::time::timeout(LOOK_AGAIN, version.changed()).await;
            }
        })
        .await;
    }

    /// Waits until everything this tablet has written in the case is durable, and nothing is missing of it.
    pub async fn wait_durable(&self, case: CaseId) {
        let is_durable = async |client: &Client| {
            client.case_sync(case).await.is_ok_and(|sync| sync.state() == SyncState::Durable && !sync.incomplete)
        };
        self.until("the case is durable", is_durable).await;
    }

    /// Waits until everything ever written on this tablet is durable.
    pub async fn wait_all_safe(&self) {
        let is_safe = async |client: &Client| client.status().await.is_ok_and(|status| status.all_safe);
        self.until("the tablet is all safe", is_safe).await;
    }

    /// Waits until the case shows that.
    pub async fn wait_case(&self, case: CaseId, what: &str, is_it: impl Fn(&CaseView) -> bool) -> CaseView {
        let shows = async |client: &Client| client.read(case).await.is_ok_and(|view| is_it(&view));
        self.until(what, shows).await;
        self.client.read(case).await.expect("it was read a moment ago")
    }

    /// Waits until this tablet shows the case as the other does.
    pub async fn wait_equal(&self, other: &Tablet, case: CaseId) {
        let same = async |client: &Client| match (client.read(case).await, other.client.read(case).await) {
            (Ok(mine), Ok(theirs)) => mine.documents == theirs.documents && !mine.sync.incomplete,
            _ => false,
        };
        self.until("both tablets show the same", same).await;
    }

    /// How safe the case is.
    pub async fn sync(&self, case: CaseId) -> CaseSync {
        self.client.case_sync(case).await.expect("a case of this tablet")
    }

    /// A new case with that keyword.
    pub async fn create(&self, keyword: &str) -> CaseId {
        self.client.create_case(vec![fact(Part::Clinical, "keyword", keyword)]).await.expect("a case is saved")
    }

    /// Sets a fact of the clinical document.
    pub async fn set(&self, case: CaseId, name: &str, value: &str) {
        self.client.edit(case, vec![fact(Part::Clinical, name, value)]).await.expect("an edit is saved");
    }

    /// Changes of which this tablet was told that they are saved.
    pub fn told_saved(&self) -> BTreeSet<ChangeHash> {
        self.told(|fact| fact == ChangeFact::Saved)
    }

    /// Own changes of which this tablet was told that they are durable.
    pub fn told_durable(&self) -> BTreeSet<ChangeHash> {
        self.told(|fact| matches!(fact, ChangeFact::Durable(_)))
    }

    /// Changes of which this tablet was told that they are in the gateway's log: by an answer, or by reading it.
    pub fn told_in_log(&self) -> BTreeSet<ChangeHash> {
        self.told(|fact| matches!(fact, ChangeFact::Durable(_) | ChangeFact::Received(_)))
    }

    /// States the link has been in, coalesced as observers see them.
    pub fn links(&self) -> Vec<LinkState> {
        self.told.links().clone()
    }

    /// What its app was told of changed cases since it was last asked.
    pub fn take_contents(&self) -> Vec<(CaseId, Changed)> {
        std::mem::take(&mut *self.told.contents())
    }

    /// Cases of which its app was told that they were removed.
    pub fn removed(&self) -> Vec<CaseId> {
        self.told.removed().clone()
    }

    /// What its app was told that the device has lost as a whole.
    pub fn losses(&self) -> Vec<Event> {
        self.told.losses().clone()
    }

    /// Ends the tablet.
    pub async fn shutdown(self) {
        within("the tablet shuts down", self.client.shutdown()).await;
    }

    fn told(&self, is_wanted: impl Fn(ChangeFact) -> bool) -> BTreeSet<ChangeHash> {
        let changes = self.told.changes.lock().expect("nothing panics while it is held");
        changes.iter().filter(|event| is_wanted(event.fact)).map(|event| event.change).collect()
    }
}

impl Told {
    fn links(&self) -> MutexGuard<'_, Vec<LinkState>> {
        self.links.lock().expect("nothing panics while it is held")
    }

    fn losses(&self) -> MutexGuard<'_, Vec<Event>> {
        self.losses.lock().expect("nothing panics while it is held")
    }

    fn removed(&self) -> MutexGuard<'_, Vec<CaseId>> {
        self.removed.lock().expect("nothing panics while it is held")
    }

    fn contents(&self) -> MutexGuard<'_, Vec<(CaseId, Changed)>> {
        self.contents.lock().expect("nothing panics while it is held")
    }
}

impl Observer for Told {
    fn on_event(&self, event: Event) {
        match event {
            Event::Link(state) => self.links().push(state),
            Event::CaseChanged(case, changed) => self.contents().push((case, changed)),
            Event::CaseRemoved(case) => self.removed().push(case),
            Event::UserChanged | Event::SignInEnded | Event::ContentExpired | Event::Wiped => self.losses().push(event),
            Event::SyncChanged(_) => {}
        }
        self.version.send_modify(|version| *version += 1);
    }
}

impl Witness for Told {
    fn on_change(&self, event: ChangeEvent) {
        self.changes.lock().expect("nothing panics while it is held").push(event);
    }
}

fn environment(clock: Option<&Clock>, way: Option<Arc<Way>>) -> Environment {
    let network = way.map(|way| way as Arc<dyn Network>);
    match clock.cloned() {
        None => network.map_or_else(Environment::system, Environment::system_over),
        Some(clock) => {
            let now = Arc::new(move || clock.now());
            Environment::simulated(now, rand::random(), network.unwrap_or_else(|| Arc::new(Loopback)))
        }
    }
}

/// Real sockets, for a tablet with a clock of the test's.
struct Loopback;

#[async_trait]
impl Network for Loopback {
    fn endpoint(&self) -> std::io::Result<quinn::Endpoint> {
        quinn::Endpoint::client((std::net::Ipv4Addr::LOCALHOST, 0).into())
    }

    async fn connect(&self, address: SocketAddr) -> std::io::Result<Box<dyn Stream>> {
        let stream = tokio::net::TcpStream::connect(address).await?;
        as_sessions_need(&stream)?;
        Ok(Box::new(stream))
    }

    async fn resolve(&self, gateway: &str) -> std::io::Result<Vec<SocketAddr>> {
        Ok(tokio::net::lookup_host(gateway).await?.collect())
    }
}

/// A new store in memory.
pub fn memory_store() -> Arc<MemoryLocalStore> {
    MemoryLocalStore::new(new_epoch(), Duration::ZERO, Durability::SyncsFirst)
}

/// An edit that sets a fact.
pub fn fact(part: Part, name: &str, value: &str) -> Edit {
    Edit::SetFact { part, name: name.to_owned(), value: Value::Text(value.to_owned()) }
}

/// The texts that stand in a fact of the case; several when replicas disagree.
pub fn texts(view: &CaseView, name: &str) -> BTreeSet<String> {
    let facts = view.documents.iter().flat_map(|document: &DocumentView| &document.facts);
    let values = facts.filter(|fact| fact.name == name).flat_map(|fact| &fact.values);
    values
        .filter_map(|held| match &held.value {
            Value::Text(text) => Some(text.clone()),
            _ => None,
        })
        .collect()
}

const LOOK_AGAIN: Duration = Duration::from_millis(250);
