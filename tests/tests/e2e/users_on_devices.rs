//! The real SDK in the hands of several users, against a gateway that judges their tokens.

use std::time::{Duration, SystemTime};

use feldakte_client_sdk::{SdkError, SignIn, store::SharedLocalStore, view::SyncState};
use feldakte_core::{
    access::{Access, Grant, Role, Subject},
    ids::{CaseId, DocumentId, Part, UserId},
};
use feldakte_gateway::users::UsersConfig;
use feldakte_proto::Credential;
use feldakte_tests::harness::{
    address::Transport,
    crew, device,
    issuer::{Issuer, user},
    local::{Clock, LocalGateway, Site},
    pki::Enrolled,
    tablet::{Tablet, fact, memory_store, texts},
};

const HOUR: Duration = Duration::from_secs(3600);

pub(super) struct World {
    pub(super) site: Site,
    pub(super) gateway: LocalGateway,
    issuer: Issuer,
}

impl World {
    pub(super) async fn with(over: Transport, change: impl FnOnce(&mut UsersConfig)) -> Self {
        let (site, issuer) = (Site::over(over), Issuer::new("a"));
        let mut config = issuer.config(&site);
        change(&mut config);
        let gateway = site.start_believing(&Clock::default(), &config).await;
        Self { site, gateway, issuer }
    }

    pub(super) fn token(&self, subject: &str, role: Role) -> SignIn {
        match self.issuer.token(subject, role, SystemTime::now(), HOUR) {
            Credential::Token(token) => SignIn::Token(token),
            other => panic!("not a token: {other:?}"),
        }
    }

    async fn open(&self, enrolled: &Enrolled, store: SharedLocalStore) -> Tablet {
        Tablet::open(enrolled.identity(), self.gateway.address, store).await
    }
}

pub(super) fn pin(login: &str, pin: &str) -> SignIn {
    SignIn::Pin { login: login.into(), pin: pin.into() }
}

/// Who is certified to have written the case's first fact.
async fn author_of(reader: &Tablet, case: CaseId, wanted: &str) -> Option<UserId> {
    let view = reader.wait_case(case, "the case is there", |view| texts(view, "keyword").contains(wanted)).await;
    let facts = view.documents.into_iter().flat_map(|document| document.facts);
    let author = facts.flat_map(|fact| fact.values).find_map(|claim| claim.provenance.author);
    author.expect("it is bound").user
}

/// Three users by token, by PIN and nobody, who take turns faster than anything is answered.
async fn switching_users_amid_pushes_loses_nothing_and_passes_nothing_off_as_somebody_elses(over: Transport) {
    let world = World::with(over, |_| {}).await;
    let enrolled = world.site.pki.enrol(&crew("rtw-1"));
    let tablet = world.open(&enrolled, memory_store()).await;
    tablet.go_online().await;
    let weber = tablet.client.set_pin("weber".into(), None, "493817".into()).await.unwrap();
    let mut written = Vec::new();
    for round in 0..3 {
        for who in [Some(user("anna")), Some(weber), Some(user("ben")), None] {
            match who {
                None => tablet.client.sign_out().await.unwrap(),
                Some(id) if id == weber => {
                    assert_eq!(tablet.client.sign_in(pin("weber", "493817")).await.unwrap(), weber);
                }
                Some(id) => {
                    let subject = if id == user("anna") { "anna" } else { "ben" };
                    let token = world.token(subject, Role::AmbulanceCrew);
                    assert_eq!(tablet.client.sign_in(token).await.unwrap(), id);
                }
            }
            let keyword = format!("Einsatz {round} {}", written.len());
            let case = tablet.create(&keyword).await;
            for n in 0..3 {
                let edit = fact(Part::Clinical, "gcs", &n.to_string());
                tablet.client.edit(case, vec![edit]).await.unwrap();
            }
            written.push((case, keyword, who));
        }
    }
    tablet.wait_all_safe().await;
    let reader = Tablet::online(&world.site.pki.enrol(&crew("rtw-1")), world.gateway.address).await;
    for (case, keyword, who) in written {
        assert_eq!(author_of(&reader, case, &keyword).await, who, "{keyword}");
    }
    for known in tablet.client.users().await.unwrap() {
        assert_eq!(known.unsent, 0);
    }
}

async fn what_was_granted_to_one_user_is_not_shown_to_the_next_on_the_same_device(over: Transport) {
    let world = World::with(over, |_| {}).await;
    let writer = Tablet::online(&world.site.pki.enrol(&crew("rtw-1")), world.gateway.address).await;
    let case = writer.create("Brustschmerz").await;
    writer.wait_durable(case).await;
    let grant = Grant::new(Subject::User(user("anna")), Access::Read);
    let document = DocumentId { case, part: Part::Clinical };
    world.gateway.gateway.grant(document, vec![grant]).await.unwrap();

    let store = feldakte_tests::harness::tablet::memory_store();
    let desk = world.site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let tablet = world.open(&desk, store).await;
    tablet.go_online().await;
    tablet.client.sign_in(world.token("anna", Role::TelePhysician)).await.unwrap();
    tablet.wait_case(case, "anna sees it", |view| !view.sync.incomplete).await;
    tablet.client.set_pin("weber".into(), None, "493817".into()).await.unwrap();
    let is_hidden = async |why: &str| {
        assert_eq!(tablet.client.list().await.unwrap(), [], "{why}");
        assert!(matches!(tablet.client.read(case).await, Err(SdkError::UnknownCase)), "{why}");
        let status = tablet.client.status().await.unwrap();
        assert_eq!(status.cases, 0, "{why}");
    };
    tablet.client.sign_out().await.unwrap();
    is_hidden("to nobody").await;
    tablet.client.sign_in(world.token("ben", Role::TelePhysician)).await.unwrap();
    is_hidden("to another with a token").await;
    tablet.client.caught_up().await;
    is_hidden("also when he is up to date").await;
    tablet.go_offline().await;
    tablet.client.sign_in(pin("weber", "493817")).await.unwrap();
    is_hidden("to one with a PIN").await;
    tablet.client.go_online();
    tablet.client.sign_in(world.token("anna", Role::TelePhysician)).await.unwrap();
    let shown = tablet.client.read(case).await.unwrap();
    assert_eq!(shown.documents.len(), 1, "it was never taken from her");
}

/// A gateway that wants somebody to use its devices: between two shifts nobody does.
async fn a_device_between_two_shifts_loses_nothing_for_the_next(over: Transport) {
    let world = World::with(over, |config| config.required_roles = vec![Role::AmbulanceCrew]).await;
    let enrolled = world.site.pki.enrol(&crew("rtw-1"));
    let tablet = world.open(&enrolled, memory_store()).await;
    for (login, number) in [("weber", "493817"), ("meyer", "271828")] {
        tablet.client.set_pin(login.into(), None, number.into()).await.unwrap();
    }
    tablet.client.sign_in(pin("weber", "493817")).await.unwrap();
    tablet.go_online().await;
    let first = tablet.create("Brustschmerz").await;
    tablet.wait_durable(first).await;
    tablet.client.sign_out().await.unwrap();
    tablet.go_offline().await;
    tablet.go_online().await;
    assert_eq!(tablet.client.list().await.unwrap(), [], "the gateway gives nobody anything");

    let other = world.open(&world.site.pki.enrol(&crew("rtw-1")), memory_store()).await;
    other.client.set_pin("kranz".into(), None, "314159".into()).await.unwrap();
    other.client.sign_in(pin("kranz", "314159")).await.unwrap();
    other.go_online().await;
    let second = other.create("Sturz").await;
    other.wait_durable(second).await;
    tablet.go_offline().await;
    tablet.client.sign_in(pin("meyer", "271828")).await.unwrap();
    assert!(tablet.client.read(first).await.is_ok(), "without a network, too");
    tablet.client.go_online();
    tablet.wait_equal(&other, second).await;
    assert_eq!(tablet.sync(first).await.state(), SyncState::Durable);
}

feldakte_tests::over_both!(
    switching_users_amid_pushes_loses_nothing_and_passes_nothing_off_as_somebody_elses,
    what_was_granted_to_one_user_is_not_shown_to_the_next_on_the_same_device,
    a_device_between_two_shifts_loses_nothing_for_the_next,
);
