//! What a device tells of those who have used it without network, and under whose name it stands.

use std::time::{Duration, SystemTime};

use feldakte_core::{
    access::{BreakGlassReason, Principal, Role},
    audit::{Act, Actor, Reason},
};
use feldakte_proto::{ClientMessage, Login, LoginEvent, OpenedOffline, Outcome, Receipts};
use feldakte_tests::harness::{
    crew,
    issuer::{Issuer, user},
    local::{Clock, Site},
    new_document,
    raw::RawClient,
};

use super::supervision::{TEXT, audited, waiting};

const HOUR: Duration = Duration::from_secs(3600);

/// Whoever delivers it lends it no weight.
#[tokio::test(flavor = "multi_thread")]
async fn an_emergency_of_a_colleague_does_not_stand_under_the_role_of_whoever_delivers_it() {
    let (site, issuer) = (Site::new(), Issuer::new("a"));
    let gateway = site.start_believing(&Clock::default(), &issuer.config(&site)).await;
    let tablet = site.pki.enrol(&crew("rtw-1"));
    let token = issuer.token("anna", Role::TelePhysician, SystemTime::now(), HOUR);
    let (mut raw, _) = RawClient::signed_in(&tablet, gateway.address, Some(token), Vec::new()).await;
    let opened = |user| {
        let (case, reason, text) = (new_document().case, BreakGlassReason::TakenOver, TEXT.to_owned());
        OpenedOffline { case, user, reason, text, at_ms: 1 }
    };
    let users = [Some(user("anna")), Some(user("ben")), None];
    let receipts = Receipts { request: 1, opened: users.map(opened).into(), ..Receipts::default() };
    assert_eq!(raw.ask(ClientMessage::Receipts(receipts)).await, Outcome::Done);
    let reviews = waiting(&gateway).await;
    for (user, role) in users.into_iter().zip([Role::TelePhysician, Role::AmbulanceCrew, Role::AmbulanceCrew]) {
        let who = Principal { user, role, ..tablet.principal.clone() };
        assert!(reviews.iter().any(|review| review.who == who), "{user:?} as {role}: {reviews:?}");
    }
}

/// Whoever tries other people's PINs on a tablet without network is found afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn who_signed_in_tried_pins_and_left_on_a_device_stands_in_the_audit_log() {
    let site = Site::new();
    let gateway = site.start().await;
    let tablet = site.pki.enrol(&crew("rtw-1"));
    let (mut raw, welcome) = RawClient::session(&tablet, gateway.address, None).await;
    let (anna, nobody) = (user("anna"), user("niemand"));
    let told = [
        (anna, LoginEvent::PinWrong),
        (nobody, LoginEvent::PinWrong),
        (anna, LoginEvent::PinLocked),
        (anna, LoginEvent::SignedIn),
        (anna, LoginEvent::Replaced),
        (anna, LoginEvent::SignedOut),
    ];
    let logins = (1..).zip(told).map(|(at_ms, (user, what))| Login { user, what, at_ms }).collect();
    let receipts = Receipts { request: 1, logins, ..Receipts::default() };
    assert_eq!(raw.ask(ClientMessage::Receipts(receipts)).await, Outcome::Done);
    drop(raw);
    gateway.stop().await;

    let device = tablet.principal.device;
    let by = |user| Actor::Device { device, user };
    let expected = [
        (
            Act::SignInRefused,
            vec![
                (by(None), anna, Some(Reason::PinWrong), 1),
                (by(None), nobody, Some(Reason::PinWrong), 2),
                (by(None), anna, Some(Reason::PinLocked), 3),
            ],
        ),
        (Act::SignedIn, vec![(by(Some(anna)), anna, None, 4)]),
        (Act::SignedOut, vec![(by(Some(anna)), anna, Some(Reason::UserChanged), 5), (by(Some(anna)), anna, None, 6)]),
    ];
    for (act, rows) in expected {
        let records = audited(&site, act).await;
        assert!(records.iter().all(|record| record.about.session == Some(welcome.session)));
        let found: Vec<_> = records
            .into_iter()
            .map(|record| (record.who, record.about.user.unwrap(), record.reason, record.claimed_ms.unwrap()))
            .collect();
        assert_eq!(found, rows, "{act}");
    }
}
