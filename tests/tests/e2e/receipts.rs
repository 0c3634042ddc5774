//! What a device tells of those who have used it without network, and under whose name it stands.

use std::time::{Duration, SystemTime};

use feldakte_core::access::{BreakGlassReason, Principal, Role};
use feldakte_proto::{ClientMessage, OpenedOffline, Outcome, Receipts};
use feldakte_tests::harness::{
    crew,
    issuer::{Issuer, user},
    local::{Clock, Site},
    new_document,
    raw::RawClient,
};

use super::supervision::{TEXT, waiting};

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
