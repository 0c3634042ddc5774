//! Emergencies without network: the real SDK shows what came for a colleague, and a supervisor hears of it.

use std::{sync::Arc, time::Duration};

use feldakte_client_sdk::{
    Client, SdkError,
    view::{Event, LinkState},
};
use feldakte_core::{
    access::{Access, BreakGlassReason, Grant, Principal, Role, Subject},
    audit::{Act, Actor, Reason, Record},
    ids::{CaseId, DocumentId, Part, UserId},
    limits,
};
use feldakte_gateway::store::matters::Matter;
use feldakte_tests::{
    harness::{
        address::Transport,
        crew,
        issuer::user,
        local::Clock,
        new_document,
        pki::Enrolled,
        tablet::{Tablet, fact, memory_store},
        until_answered,
    },
    memory_local_store::MemoryLocalStore,
};

use super::{
    supervision::{TEXT, audited, waiting},
    users_on_devices::{World, pin},
};

const MINUTE: Duration = Duration::from_secs(60);

/// A case of which the clinical part came to a device for Anna, and the device without her, offline.
struct Held {
    world: World,
    enrolled: Enrolled,
    store: Arc<MemoryLocalStore>,
    tablet: Tablet,
    clock: Clock,
    case: CaseId,
}

impl Held {
    async fn on(store: Arc<MemoryLocalStore>) -> Self {
        let (world, clock) = (World::with(Transport::Quic, |_| {}).await, Clock::default());
        let writer = Tablet::online(&world.site.pki.enrol(&crew("rtw-1")), world.gateway.address).await;
        let case = writer.create("Brustschmerz").await;
        writer.client.edit(case, vec![fact(Part::Clinical, "gcs", "3")]).await.unwrap();
        writer.wait_durable(case).await;
        let (document, anna) = (DocumentId { case, part: Part::Clinical }, Subject::User(user("anna")));
        world.gateway.gateway.grant(document, vec![Grant::new(anna, Access::Read)]).await.unwrap();

        let enrolled = world.site.pki.enrol(&crew("rtw-9"));
        let tablet = Tablet::open_at(enrolled.identity(), world.gateway.address, store.clone(), &clock).await;
        tablet.go_online().await;
        for login in ["weber", "meyer"] {
            tablet.client.set_pin(login.into(), None, "493817".into()).await.unwrap();
            tablet.client.sign_in(pin(login, "493817")).await.unwrap();
            tablet
                .until("the gateway believes him", async |client| {
                    client.status().await.unwrap().link == LinkState::Connected
                })
                .await;
            tablet.client.caught_up().await;
        }
        tablet.client.sign_in(world.token("anna", Role::AmbulanceCrew)).await.unwrap();
        tablet.wait_case(case, "Anna sees it", |view| !view.sync.incomplete).await;
        Self { world, enrolled, store, tablet, clock, case }
    }

    /// Somebody else uses it from here on, without a network.
    async fn in_the_hands_of(&self, login: &str) -> UserId {
        self.tablet.go_offline().await;
        self.tablet.client.sign_in(pin(login, "493817")).await.unwrap()
    }

    async fn open(&self, text: &str) -> Result<(), SdkError> {
        open(&self.tablet.client, self.case, text).await
    }

    async fn is_refused(&self, why: &str) {
        let opened = self.open(TEXT).await;
        assert!(matches!(opened, Err(SdkError::NotPermitted)), "{why}: {opened:?}");
        assert!(self.is_hidden().await, "{why}");
    }

    async fn is_hidden(&self) -> bool {
        matches!(self.tablet.client.read(self.case).await, Err(SdkError::UnknownCase))
    }
}

async fn open(client: &Client, case: CaseId, text: &str) -> Result<(), SdkError> {
    client.break_glass_offline(case, BreakGlassReason::LifeInDanger, text.to_owned()).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_came_for_a_colleague_is_shown_for_an_hour_without_network_and_a_supervisor_hears_of_it() {
    let held = Held::on(memory_store()).await;
    let (client, case) = (&held.tablet.client, held.case);
    let weber = held.in_the_hands_of("weber").await;
    assert_eq!((client.list().await.unwrap(), client.hidden_cases().await.unwrap()), (vec![], vec![case]));
    let before_ms = held.clock.now_ms();
    held.open(TEXT).await.unwrap();
    let shown = client.read(case).await.unwrap();
    let then = before_ms..=held.clock.now_ms();
    assert_eq!(shown.documents.iter().map(|document| document.part).collect::<Vec<_>>(), [Part::Clinical]);
    let written = client.edit(case, vec![fact(Part::Clinical, "gcs", "15")]).await;
    assert!(matches!(written, Err(SdkError::AccessEnded)), "to read, not to write: {written:?}");

    held.clock.advance(59 * MINUTE);
    assert!(client.read(case).await.is_ok());
    held.clock.advance(MINUTE);
    assert!(held.is_hidden().await, "the hour is over");
    held.tablet.until("the app is told", async |_| held.tablet.removed().contains(&case)).await;

    held.tablet.client.go_online();
    until_answered("a supervisor hears of it", async || !waiting(&held.world.gateway).await.is_empty()).await;
    let reviews = waiting(&held.world.gateway).await;
    assert!(matches!(reviews[0].matter, Matter::BreakGlass { case: of, until_ms: None, .. } if of == case));
    assert_eq!(reviews[0].content.as_deref(), Some(TEXT.as_bytes()));
    assert_eq!((reviews[0].who.device, reviews[0].who.user), (held.enrolled.principal.device, Some(weber)));
    until_answered("it is in the audit log", async || {
        let acts = audited(&held.world.site, Act::BreakGlass).await;
        acts.iter().any(|act| act.claimed_ms.is_some_and(|at_ms| then.contains(&at_ms)))
    })
    .await;
    let weber_here = Actor::of(&Principal { user: Some(weber), ..held.enrolled.principal.clone() });
    until_answered("and who has read", async || {
        let reads = audited(&held.world.site, Act::ReadOffline).await;
        let is_his = |read: &Record| read.about.case == Some(case) && read.who == weber_here;
        reads.iter().any(is_his)
    })
    .await;
}

/// The record is what survives, not the sight of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_survives_a_power_cut_as_a_record_and_shows_nothing_any_more() {
    let store = memory_store();
    let held = Held::on(store.clone()).await;
    held.in_the_hands_of("weber").await;
    held.open(TEXT).await.unwrap();
    store.crash();
    let after = store.reopen().unwrap();
    let tablet = Tablet::open(held.enrolled.identity(), held.world.gateway.address, after).await;
    assert!(matches!(tablet.client.read(held.case).await, Err(SdkError::UnknownCase)));
    tablet.client.go_online();
    until_answered("a supervisor hears of it", async || !waiting(&held.world.gateway).await.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_opens_nothing_that_is_not_there_and_not_without_a_reason() {
    let held = Held::on(memory_store()).await;
    let client = &held.tablet.client;
    held.in_the_hands_of("weber").await;
    for text in ["", " \n"] {
        assert!(matches!(held.open(text).await, Err(SdkError::NotPermitted)));
    }
    let long = "x".repeat(limits::BREAK_GLASS_TEXT_MAX + 1);
    assert!(matches!(held.open(&long).await, Err(SdkError::TextTooLong)));
    let online = client.break_glass(held.case, BreakGlassReason::Other, long).await;
    assert!(matches!(online, Err(SdkError::TextTooLong)), "{online:?}");
    let elsewhere = open(client, new_document().case, TEXT).await;
    assert!(matches!(elsewhere, Err(SdkError::UnknownCase)), "{elsewhere:?}");
    assert!(held.is_hidden().await);
    for _ in 0..limits::BREAK_GLASS_PER_HOUR {
        held.open(TEXT).await.unwrap();
    }
    assert!(matches!(held.open(TEXT).await, Err(SdkError::TooOften)));
    held.in_the_hands_of("meyer").await;
    assert!(held.is_hidden().await, "it was opened to somebody else");
    assert!(matches!(held.open(TEXT).await, Err(SdkError::TooOften)), "signing in again gives no more");
}

/// Whoever the gateway has believed as a dispatcher never sees clinical content, whatever device he takes, and neither
/// signing out nor a user that he makes himself gives him another role.
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_shows_nobody_what_his_role_never_sees() {
    let held = Held::on(memory_store()).await;
    let client = &held.tablet.client;
    client.sign_in(held.world.token("ben", Role::Dispatcher)).await.unwrap();
    held.tablet.go_offline().await;
    assert_eq!(client.hidden_cases().await.unwrap(), [held.case]);
    held.is_refused("as a dispatcher").await;
    client.sign_out().await.unwrap();
    held.is_refused("as nobody").await;
    client.set_pin("invented".into(), None, "271828".into()).await.unwrap();
    client.sign_in(pin("invented", "271828")).await.unwrap();
    held.is_refused("as somebody whom the gateway has never heard of").await;
}

/// Also not what she saw before.
#[tokio::test(flavor = "multi_thread")]
async fn somebody_whom_the_gateway_has_denied_opens_nothing_without_it() {
    let held = Held::on(memory_store()).await;
    held.world.gateway.deny.replace(format!("user {}", user("anna")).parse().unwrap());
    held.tablet.until("she is signed out", async |_| held.tablet.losses().contains(&Event::SignInEnded)).await;
    held.tablet.go_offline().await;
    assert!(held.is_hidden().await);
    held.is_refused("what she saw before").await;
}

/// An insider tries a colleague's PIN where nobody sees it.
#[tokio::test(flavor = "multi_thread")]
async fn wrong_pins_and_sign_ins_without_network_reach_the_audit_log() {
    let held = Held::on(memory_store()).await;
    let client = &held.tablet.client;
    held.tablet.go_offline().await;
    for guess in ["271828", "314159"] {
        assert!(matches!(client.sign_in(pin("weber", guess)).await, Err(SdkError::WrongPin)));
    }
    let weber = client.sign_in(pin("weber", "493817")).await.unwrap();
    client.sign_out().await.unwrap();
    held.tablet.client.go_online();
    until_answered("the audit log has each", async || {
        let refused = audited(&held.world.site, Act::SignInRefused).await;
        let wrong = refused.iter().filter(|row| row.reason == Some(Reason::PinWrong) && is_of(row, weber)).count();
        let left = audited(&held.world.site, Act::SignedOut).await;
        wrong == 2 && left.iter().any(|row| is_of(row, weber) && row.claimed_ms.is_some())
    })
    .await;
}

fn is_of(row: &Record, wanted: UserId) -> bool {
    row.about.user == Some(wanted)
}

/// Its answer counts, and it has said no.
#[tokio::test(flavor = "multi_thread")]
async fn while_the_gateway_can_be_asked_nobody_goes_around_it() {
    let held = Held::on(memory_store()).await;
    held.tablet.client.sign_in(pin("weber", "493817")).await.unwrap();
    held.tablet.client.caught_up().await;
    let opened = held.open(TEXT).await;
    assert!(matches!(opened, Err(SdkError::InSession)), "{opened:?}");
}

/// An app that is started anew for each would have no limit.
#[tokio::test(flavor = "multi_thread")]
async fn emergencies_that_nobody_was_told_of_are_few_however_often_the_app_begins_anew() {
    let mut held = Held::on(memory_store()).await;
    held.in_the_hands_of("weber").await;
    let mut store = held.store.clone();
    for _ in 0..limits::OPENED_UNTOLD_MAX / limits::BREAK_GLASS_PER_HOUR {
        for _ in 0..limits::BREAK_GLASS_PER_HOUR {
            held.open(TEXT).await.unwrap();
        }
        store.crash();
        store = store.reopen().unwrap();
        let (identity, address) = (held.enrolled.identity(), held.world.gateway.address);
        held.tablet = Tablet::open_at(identity, address, store.clone(), &held.clock).await;
    }
    assert!(matches!(held.open(TEXT).await, Err(SdkError::TooOften)));
    held.tablet.client.go_online();
    until_answered("a supervisor hears of each", async || {
        waiting(&held.world.gateway).await.len() == limits::OPENED_UNTOLD_MAX
    })
    .await;
}
