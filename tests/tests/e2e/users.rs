//! Users who sign in on devices: what they see, what they write, and whose it is.

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use feldakte_client_sdk::view::{CaseEvent, Edit, OrderId, OrderState, OrderStep, Value};
use feldakte_core::{
    access::{Access, Grant, Principal, Role, Subject},
    ids::{CaseId, DocumentId, Part, UserId},
    log::Binding,
};
use feldakte_gateway::users::UsersConfig;
use feldakte_proto::{Credential, Reason, SignInRefusal, SignedIn, Welcome};
use feldakte_tests::harness::{
    address::Transport,
    author::Author,
    crew, device,
    issuer::{self, Issuer, KeyServer, user},
    local::{Clock, LocalGateway, Site},
    new_document,
    pki::Enrolled,
    raw::{RawClient, Seen},
    tablet::Tablet,
};

const HOUR: Duration = Duration::from_secs(3600);

/// A gateway that believes an issuer, and a crew's tablet.
struct World {
    site: Site,
    gateway: LocalGateway,
    issuer: Issuer,
    tablet: Enrolled,
}

impl World {
    async fn new(over: Transport) -> Self {
        Self::with(over, |_| {}).await
    }

    async fn with(over: Transport, change: impl FnOnce(&mut UsersConfig)) -> Self {
        let (site, issuer) = (Site::over(over), Issuer::new("a"));
        let mut config = issuer.config(&site);
        change(&mut config);
        let gateway = site.start_believing(&Clock::default(), &config).await;
        let tablet = site.pki.enrol(&crew("rtw-1"));
        Self { site, gateway, issuer, tablet }
    }

    fn token(&self, subject: &str, role: Role) -> Credential {
        self.issuer.token(subject, role, SystemTime::now(), HOUR)
    }

    async fn session(&self, active: Option<Credential>, delivers: Vec<Credential>) -> (RawClient, Welcome) {
        RawClient::signed_in(&self.tablet, self.gateway.address, active, delivers).await
    }

    /// What another tablet of the crew's unit is told about the authors of these documents.
    async fn bindings(&self, until: usize) -> Vec<Binding> {
        let other = self.site.pki.enrol(&crew("rtw-1"));
        let (mut reader, _) = RawClient::session(&other, self.gateway.address, None).await;
        let mut seen = Seen::default();
        let bound = |seen: &Seen| seen.entries.iter().map(|(_, entry)| entry.bindings.len()).sum::<usize>();
        reader.read_until(&mut seen, |seen| bound(seen) >= until).await;
        seen.entries.into_iter().flat_map(|(_, entry)| entry.bindings).collect()
    }
}

fn ticket_of(welcome: &Welcome) -> Credential {
    match &welcome.active {
        Some(SignedIn::As { ticket, .. }) => Credential::Ticket(ticket.clone()),
        other => panic!("nobody has signed in: {other:?}"),
    }
}

/// A document that one of its user begins on the device.
fn begun_by(device: &Principal, user: Option<UserId>) -> (Author, Vec<Bytes>) {
    let document = new_document();
    let mut author = match user {
        Some(user) => Author::of_user(device, user, document),
        None => Author::new(device, document),
    };
    let changes = author.begin(1);
    (author, changes)
}

async fn what_is_granted_to_a_user_is_seen_while_he_is_signed_in_and_not_otherwise(over: Transport) {
    let world = World::new(over).await;
    let (mut writer, _) = world.session(None, vec![]).await;
    let (mut author, changes) = begun_by(&world.tablet.principal, None);
    writer.push_and_wait(author.document, changes).await;
    let anna = user("anna");
    let grant = Grant::new(Subject::User(anna), Access::Read);
    world.gateway.gateway.grant(author.document, vec![grant]).await.unwrap();

    let desk = world.site.pki.enrol(&device("dortmund", "tna-1", Role::TelePhysician));
    let address = world.gateway.address;
    let token = world.token("anna", Role::TelePhysician);
    let (mut reader, welcome) = RawClient::signed_in(&desk, address, Some(token), vec![]).await;
    let Some(SignedIn::As { user, role, until_ms, ticket }) = welcome.active else { panic!("{welcome:?}") };
    assert_eq!((user, role), (anna, Role::TelePhysician));
    assert!(until_ms.is_some_and(|until_ms| until_ms > welcome.server_time_ms) && !ticket.is_empty());
    let mut seen = Seen::default();
    reader.read_until(&mut seen, |seen| seen.caught_up).await;
    assert_eq!(reader.fetch(&[author.document]).await.snapshots.len(), 1);
    let change = author.set("gcs", "15").bytes;
    let position = writer.push_and_wait(author.document, vec![change]).await.position;
    reader.read_until(&mut seen, |seen| seen.entries.iter().any(|(at, _)| *at == position.0)).await;

    for other in [None, Some(world.token("ben", Role::TelePhysician))] {
        let (mut reader, welcome) = RawClient::signed_in(&desk, address, other, vec![]).await;
        assert!(welcome.caught_up, "there is nothing for the device alone, nor for anybody else");
        let fetched = reader.fetch(&[author.document]).await;
        assert_eq!((fetched.snapshots.len(), fetched.unavailable), (0, vec![author.document]));
    }
}

/// A tele-physician's device has his reach only while one of them uses it.
async fn the_role_of_the_user_bounds_what_the_device_reads(over: Transport) {
    let world = World::new(over).await;
    let (mut writer, _) = world.session(None, vec![]).await;
    let (author, changes) = begun_by(&world.tablet.principal, None);
    writer.push_and_wait(author.document, changes).await;
    let (_, welcome) = world.session(Some(world.token("vera", Role::Dispatcher)), vec![]).await;
    assert!(welcome.caught_up, "a dispatcher gets extracts of clinical documents, never the document");
    let (mut reader, welcome) = world.session(Some(world.token("anna", Role::AmbulanceCrew)), vec![]).await;
    assert!(!welcome.caught_up);
    reader.read_until(&mut Seen::default(), |seen| seen.caught_up).await;
}

async fn work_delivered_by_ticket_is_its_users_while_another_uses_the_device(over: Transport) {
    let world = World::new(over).await;
    let (anna, ben, device) = (user("anna"), user("ben"), &world.tablet.principal);
    let (_, welcome) = world.session(Some(world.token("anna", Role::EmergencyPhysician)), vec![]).await;
    let ticket = ticket_of(&welcome);
    let active = Some(world.token("ben", Role::AmbulanceCrew));
    let (mut client, welcome) = world.session(active, vec![ticket]).await;
    let [SignedIn::As { user, role, .. }] = welcome.delivers[..] else { panic!("{welcome:?}") };
    assert_eq!((user, role), (anna, Role::EmergencyPhysician));
    for user in [Some(anna), Some(ben), None] {
        let (author, changes) = begun_by(device, user);
        assert_eq!(client.push_of_and_wait(user, author.document, changes).await.refused, []);
    }
    let bound: Vec<_> = world.bindings(3).await.into_iter().map(|binding| (binding.user, binding.role)).collect();
    let expected = [
        (Some(anna), Role::EmergencyPhysician),
        (Some(ben), Role::AmbulanceCrew),
        // Not the one's who happens to use the device when it is sent.
        (None, Role::AmbulanceCrew),
    ];
    assert_eq!(bound, expected);
}

async fn a_refused_credential_leaves_the_device_to_itself(over: Transport) {
    let world = World::new(over).await;
    let stranger = Issuer::new("a").token("anna", Role::EmergencyPhysician, SystemTime::now(), HOUR);
    for (credential, refusal) in [
        (Credential::Token("x.y.z".into()), SignInRefusal::Malformed),
        (stranger, SignInRefusal::NotTrusted),
        (world.issuer.token("anna", Role::Auditor, SystemTime::now() - 2 * HOUR, HOUR), SignInRefusal::Expired),
    ] {
        let (mut client, welcome) = world.session(Some(credential), vec![]).await;
        assert_eq!(welcome.active, Some(SignedIn::Refused(refusal)));
        let (author, changes) = begun_by(&world.tablet.principal, None);
        assert_eq!(client.push_and_wait(author.document, changes).await.refused, []);
    }
    let metrics = world.gateway.metrics().render();
    assert!(metrics.contains("sign_ins_total{outcome=\"signature\"} 1"), "{metrics}");
    assert!(!metrics.contains("anna"));
}

/// The device vouches for him: he writes under his name, and reads no more than the device does.
async fn a_user_of_the_devices_own_writes_under_his_name_and_gains_nothing_by_it(over: Transport) {
    let world = World::new(over).await;
    let (mut writer, _) = world.session(None, vec![]).await;
    let (author, changes) = begun_by(&world.tablet.principal, None);
    writer.push_and_wait(author.document, changes).await;
    let grant = Grant::new(Subject::User(user("anna")), Access::Write);
    world.gateway.gateway.grant(author.document, vec![grant]).await.unwrap();

    let foreign = world.site.pki.enrol(&crew("rtw-2"));
    let (address, anna) = (world.gateway.address, user("anna"));
    let (mut client, welcome) = RawClient::signed_in(&foreign, address, Some(Credential::Local(anna)), vec![]).await;
    assert!(matches!(welcome.active, Some(SignedIn::As { role: Role::AmbulanceCrew, until_ms: None, .. })));
    assert!(welcome.caught_up, "whom a device names must not open what was granted to them");
    let mut forged = Author::of_user(&foreign.principal, anna, author.document);
    let refused = client.push_of_and_wait(Some(anna), author.document, forged.begin(1)).await.refused;
    assert!(refused.iter().any(|refused| refused.reason == Reason::NotPermitted), "{refused:?}");
    let (own, changes) = begun_by(&foreign.principal, Some(anna));
    assert_eq!(client.push_of_and_wait(Some(anna), own.document, changes).await.refused, []);
    // Nor by way of a ticket.
    let (mut client, _) = RawClient::signed_in(&foreign, address, None, vec![ticket_of(&welcome)]).await;
    let mut forged = Author::of_user(&foreign.principal, anna, author.document);
    let refused = client.push_of_and_wait(Some(anna), author.document, forged.begin(1)).await.refused;
    assert!(refused.iter().any(|refused| refused.reason == Reason::NotPermitted), "{refused:?}");
}

async fn devices_that_need_a_user_are_of_no_use_without_one(over: Transport) {
    let world = World::with(over, |config| config.required_roles = vec![Role::AmbulanceCrew]).await;
    let active = || Some(world.token("anna", Role::AmbulanceCrew));
    let (mut client, _) = world.session(active(), vec![]).await;
    let (mut author, changes) = begun_by(&world.tablet.principal, Some(user("anna")));
    assert_eq!(client.push_of_and_wait(Some(user("anna")), author.document, changes).await.refused, []);
    let (mut alone, welcome) = world.session(None, vec![]).await;
    assert!(welcome.caught_up);
    assert_eq!(alone.fetch(&[author.document]).await.unavailable, [author.document]);
    let (own, changes) = begun_by(&world.tablet.principal, None);
    let refused = alone.push_and_wait(own.document, changes).await.refused;
    assert!(refused.iter().all(|refused| refused.reason == Reason::NotPermitted) && refused.len() == 2, "{refused:?}");
    // Work of a user is delivered all the same.
    let (_, welcome) = world.session(active(), vec![]).await;
    let (mut alone, _) = world.session(None, vec![ticket_of(&welcome)]).await;
    let change = author.set("gcs", "15").bytes;
    assert_eq!(alone.push_of_and_wait(Some(user("anna")), author.document, vec![change]).await.refused, []);
}

/// On a crew's tablet; a tablet with the real SDK says what came of it.
async fn an_order_counts_when_a_physician_has_signed_in_and_not_when_one_is_claimed(over: Transport) {
    let world = World::new(over).await;
    let reader = Tablet::online(&world.site.pki.enrol(&crew("rtw-1")), world.gateway.address).await;
    let physician = user("dr-anna");
    let token = || Some(world.token("dr-anna", Role::EmergencyPhysician));

    let signed_in = order_under(&world, token(), Some(physician), &reader).await;
    assert_eq!(signed_in, OrderState::Ordered);
    // Under an actor that is made for him, without him.
    let claimed = order_under(&world, None, None, &reader).await;
    assert_eq!(claimed, OrderState::Proposed);
    // What was written before he signed in does not become his.
    let before = order_under(&world, token(), None, &reader).await;
    assert_eq!(before, OrderState::Proposed);
    // Nor does a user whom the tablet alone vouches for.
    let local = order_under(&world, Some(Credential::Local(physician)), Some(physician), &reader).await;
    assert_eq!(local, OrderState::Proposed);
}

/// What an order comes to that is pushed in the name of `pushed_as` while `active` uses the device.
async fn order_under(
    world: &World,
    active: Option<Credential>,
    pushed_as: Option<UserId>,
    reader: &Tablet,
) -> OrderState {
    let document = new_document();
    let mut author = Author::of_user(&world.tablet.principal, user("dr-anna"), document);
    let field = |name: &str, value| (name.to_owned(), value);
    let content = vec![
        field("dose", Value::Decimal(5.0)),
        field("drug", Value::Text("Morphin".into())),
        field("route", Value::Text("i.v.".into())),
        field("unit", Value::Text("mg".into())),
    ];
    let order = OrderId::from_slice(&[7; 16]).unwrap();
    let event = CaseEvent::Order { order, step: OrderStep::Ordered { content } };
    let ordered = author.save(&Edit::Record { part: Part::Clinical, event }).bytes;
    let (mut client, _) = world.session(active, vec![]).await;
    let changes = vec![Author::genesis(document), ordered];
    assert_eq!(client.push_of_and_wait(pushed_as, document, changes).await.refused, []);
    state_of_the_order(reader, document).await
}

async fn state_of_the_order(reader: &Tablet, DocumentId { case, part }: DocumentId) -> OrderState {
    let found = std::sync::Mutex::new(None);
    reader
        .until("the order is there", async |client| {
            let state = the_order(client, case, part).await;
            *found.lock().unwrap() = state;
            state.is_some()
        })
        .await;
    found.into_inner().unwrap().unwrap()
}

async fn the_order(client: &feldakte_client_sdk::Client, case: CaseId, part: Part) -> Option<OrderState> {
    let outcomes = client.outcome(case).await.ok()?;
    let (_, outcome) = outcomes.into_iter().find(|(of, _)| *of == part)?;
    outcome.orders.first().map(|order| order.state)
}

async fn a_new_key_of_the_issuer_is_fetched_when_a_token_needs_it_but_not_for_every_one(over: Transport) {
    let (site, first, second) = (Site::over(over), Issuer::new("first"), Issuer::new("second"));
    let keys = KeyServer::start(&site, first.jwks()).await;
    let config = issuer::config(&site, keys.keys_at(&site));
    let gateway = site.start_believing(&Clock::default(), &config).await;
    let tablet = site.pki.enrol(&crew("rtw-1"));
    let sign_in = async |issuer: &Issuer| {
        let token = issuer.token("anna", Role::AmbulanceCrew, SystemTime::now(), HOUR);
        RawClient::signed_in(&tablet, gateway.address, Some(token), vec![]).await.1.active
    };
    assert!(matches!(sign_in(&first).await, Some(SignedIn::As { .. })), "however early it comes");
    assert_eq!(keys.served(), 1);
    keys.replace(second.jwks());
    assert!(matches!(sign_in(&second).await, Some(SignedIn::As { .. })));
    assert_eq!(keys.served(), 2);
    for stranger in 0..3 {
        let refused = sign_in(&Issuer::new(&format!("made-up-{stranger}"))).await;
        assert_eq!(refused, Some(SignedIn::Refused(SignInRefusal::NotTrusted)));
    }
    assert_eq!(keys.served(), 2, "once a minute");
}

feldakte_tests::over_both!(
    what_is_granted_to_a_user_is_seen_while_he_is_signed_in_and_not_otherwise,
    the_role_of_the_user_bounds_what_the_device_reads,
    work_delivered_by_ticket_is_its_users_while_another_uses_the_device,
    a_refused_credential_leaves_the_device_to_itself,
    a_user_of_the_devices_own_writes_under_his_name_and_gains_nothing_by_it,
    devices_that_need_a_user_are_of_no_use_without_one,
    an_order_counts_when_a_physician_has_signed_in_and_not_when_one_is_claimed,
    a_new_key_of_the_issuer_is_fetched_when_a_token_needs_it_but_not_for_every_one,
);
