//! Sign-ins that end, that were never made, and that are somebody else's.

use std::time::{Duration, Instant, SystemTime};

use feldakte_core::access::Role;
use feldakte_proto::{CloseCode, Credential, Reason, SignInRefusal, SignedIn, Welcome};
use feldakte_tests::harness::{
    author::Author,
    crew,
    issuer::{self, Issuer, KeyServer, user},
    local::{Clock, LocalGateway, Site},
    new_document,
    pki::{DAY, Enrolled},
    raw::{RawClient, Seen},
    until,
};

use super::bystander::Bystander;

const HOUR: Duration = Duration::from_secs(3600);
const LAPSED_WITHIN: Duration = Duration::from_secs(1);

struct World {
    site: Site,
    clock: Clock,
    gateway: LocalGateway,
    issuer: Issuer,
    tablet: Enrolled,
}

impl World {
    async fn new() -> Self {
        let (site, clock, issuer) = (Site::new(), Clock::default(), Issuer::new("a"));
        let gateway = site.start_believing(&clock, &issuer.config(&site)).await;
        let tablet = site.pki.enrol_from(&crew("rtw-1"), SystemTime::now(), 3 * DAY);
        Self { site, clock, gateway, issuer, tablet }
    }

    fn token(&self, subject: &str) -> Credential {
        self.issuer.token(subject, Role::AmbulanceCrew, SystemTime::now(), HOUR)
    }

    async fn session(&self, active: Option<Credential>, delivers: Vec<Credential>) -> (RawClient, Welcome) {
        RawClient::signed_in(&self.tablet, self.gateway.address, active, delivers).await
    }

    async fn ticket(&self, subject: &str) -> Credential {
        let (_, welcome) = self.session(Some(self.token(subject)), vec![]).await;
        let Some(SignedIn::As { ticket, .. }) = welcome.active else { panic!("{welcome:?}") };
        Credential::Ticket(ticket)
    }
}

/// Reads to the end of the session; fails when anything but the end comes.
async fn assert_ends(client: &mut RawClient, code: CloseCode) {
    match client.next().await {
        Err(end) => assert_eq!(end, Some(code)),
        Ok(message) => panic!("after the end of a sign-in: {message:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_live_session_ends_when_its_token_does() {
    for forward in [2 * HOUR, DAY] {
        let world = World::new().await;
        let bystander = world.site.pki.enrol_from(&crew("rtw-1"), SystemTime::now(), 3 * DAY);
        let (mut other, _) = RawClient::session(&bystander, world.gateway.address, None).await;
        let (mut client, _) = world.session(Some(world.token("anna")), vec![]).await;
        let since = Instant::now();
        world.clock.advance(forward);
        assert_ends(&mut client, CloseCode::SignInEnded).await;
        assert!(since.elapsed() <= LAPSED_WITHIN, "{:?}", since.elapsed());
        let mut author = Author::new(&bystander.principal, new_document());
        assert_eq!(other.push_and_wait(author.document, author.begin(1)).await.refused, []);
        // The device comes back without him.
        let (_, welcome) = world.session(Some(world.token("anna")), vec![]).await;
        assert_eq!(welcome.active, Some(SignedIn::Refused(SignInRefusal::Expired)));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_by_a_day_does_not_prolong_a_token() {
    let world = World::new().await;
    // Within the leeway it is good for a second or two from here.
    let ending = Duration::from_secs(2);
    let issued = SystemTime::now() + ending - Duration::from_secs(60) - HOUR;
    let token = world.issuer.token("anna", Role::AmbulanceCrew, issued, HOUR);
    let (mut client, welcome) = world.session(Some(token), vec![]).await;
    assert!(matches!(welcome.active, Some(SignedIn::As { .. })), "{welcome:?}");
    let since = Instant::now();
    world.clock.set_back(DAY);
    assert_ends(&mut client, CloseCode::SignInEnded).await;
    assert!(since.elapsed() <= ending + LAPSED_WITHIN, "{:?}", since.elapsed());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clock_set_back_by_a_day_does_not_revive_an_expired_token() {
    let world = World::new().await;
    world.clock.set_back(DAY);
    let expired = world.issuer.token("anna", Role::AmbulanceCrew, SystemTime::now() - DAY - HOUR, DAY);
    let (_, welcome) = world.session(Some(expired), vec![]).await;
    assert_eq!(welcome.active, Some(SignedIn::Refused(SignInRefusal::Expired)));
    // One that is good by the right time is good.
    let (_, welcome) = world.session(Some(world.token("anna")), vec![]).await;
    assert!(matches!(welcome.active, Some(SignedIn::As { .. })), "{welcome:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_denied_users_live_sessions_end_and_he_does_not_come_back() {
    let world = World::new().await;
    let bystander = Bystander::start(&world.site, world.gateway.address).await;
    let ticket = world.ticket("anna").await;
    let deny = |text: &str| world.gateway.deny.replace(text.parse().unwrap());
    for delivers in [false, true] {
        deny("");
        let (active, delivered) = if delivers {
            (Some(world.token("ben")), vec![ticket.clone()])
        } else {
            (Some(world.token("anna")), vec![])
        };
        let (mut client, _) = world.session(active, delivered).await;
        let since = Instant::now();
        // Nobody says that the list has changed.
        deny(&format!("user {}", user("anna")));
        assert_ends(&mut client, CloseCode::SignInEnded).await;
        assert!(since.elapsed() <= LAPSED_WITHIN, "{:?}", since.elapsed());
    }
    let (_, welcome) = world.session(Some(world.token("anna")), vec![ticket]).await;
    assert_eq!(welcome.active, Some(SignedIn::Refused(SignInRefusal::Denied)));
    assert_eq!(welcome.delivers, [SignedIn::Refused(SignInRefusal::Denied)]);
    let (_, welcome) = world.session(Some(Credential::Local(user("anna"))), vec![]).await;
    assert_eq!(welcome.active, Some(SignedIn::Refused(SignInRefusal::Denied)), "not by the device's word either");
    bystander.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn work_of_a_user_who_has_not_signed_in_closes_the_session() {
    let world = World::new().await;
    let bystander = Bystander::start(&world.site, world.gateway.address).await;
    let expired = world.issuer.token("anna", Role::AmbulanceCrew, SystemTime::now() - DAY, HOUR);
    let ben = Some(world.token("ben"));
    for (active, delivers) in [(None, vec![]), (ben, vec![]), (Some(expired.clone()), vec![]), (None, vec![expired])] {
        let (mut client, _) = world.session(active, delivers).await;
        let anna = user("anna");
        let mut author = Author::of_user(&world.tablet.principal, anna, new_document());
        client.push_of(Some(anna), author.document, author.begin(1)).await;
        assert_ends(&mut client, CloseCode::Protocol).await;
    }
    bystander.unharmed().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_of_another_device_is_refused() {
    let world = World::new().await;
    let ticket = world.ticket("anna").await;
    let thief = world.site.pki.enrol(&crew("rtw-1"));
    let (mut client, welcome) = RawClient::signed_in(&thief, world.gateway.address, None, vec![ticket.clone()]).await;
    assert_eq!(welcome.delivers, [SignedIn::Refused(SignInRefusal::NotTrusted)]);
    let mut author = Author::of_user(&thief.principal, user("anna"), new_document());
    client.push_of(Some(user("anna")), author.document, author.begin(1)).await;
    assert_ends(&mut client, CloseCode::Protocol).await;
    // Nor does it sign anybody in on its own device.
    let (_, welcome) = world.session(Some(ticket), vec![]).await;
    assert_eq!(welcome.active, Some(SignedIn::Refused(SignInRefusal::NotTrusted)));
}

/// The work of one user is never the other's to change, on the same device.
#[tokio::test(flavor = "multi_thread")]
async fn the_next_user_of_a_device_cannot_write_under_the_last_ones_actor() {
    let world = World::new().await;
    let (anna, ben) = (user("anna"), user("ben"));
    let (mut client, _) = world.session(Some(world.token("anna")), vec![]).await;
    let mut author = Author::of_user(&world.tablet.principal, anna, new_document());
    client.push_of_and_wait(Some(anna), author.document, author.begin(1)).await;
    let (mut client, welcome) = world.session(Some(world.token("ben")), vec![]).await;
    if !welcome.caught_up {
        client.read_until(&mut Seen::default(), |seen| seen.caught_up).await;
    }
    let change = author.set("gcs", "3").bytes;
    for user in [Some(ben), None] {
        let refused = client.push_of_and_wait(user, author.document, vec![change.clone()]).await.refused;
        let reasons: Vec<_> = refused.into_iter().map(|refused| refused.reason).collect();
        assert_eq!(reasons, [Reason::ForeignActor], "{user:?}");
    }
}

/// Whoever can answer for the provider's address could let anybody in.
#[tokio::test(flavor = "multi_thread")]
async fn keys_from_a_server_of_another_authority_are_not_taken() {
    let (site, elsewhere, thief) = (Site::new(), Site::new(), Issuer::new("a"));
    let keys = KeyServer::start(&elsewhere, thief.jwks()).await;
    let config = issuer::config(&site, keys.keys_at(&site));
    let gateway = site.start_believing(&Clock::default(), &config).await;
    until("the set was refused", || gateway.metrics().issuer_keys_failed.get() > 0).await;
    let tablet = site.pki.enrol(&crew("rtw-1"));
    let token = thief.token("anna", Role::AmbulanceCrew, SystemTime::now(), HOUR);
    let (_, welcome) = RawClient::signed_in(&tablet, gateway.address, Some(token), vec![]).await;
    assert_eq!(welcome.active, Some(SignedIn::Refused(SignInRefusal::NotTrusted)));
    assert_eq!(keys.served(), 0);
}
