//! Orders to wipe: they stand for good, and only where they can arrive.

use feldakte_client_sdk::{
    Client, SdkError, enrol,
    view::{LinkState, WipeStage},
};
use feldakte_core::{
    audit::Act,
    ids::{DeviceId, DocumentId},
};
use feldakte_gateway::{
    control::{
        client::ClientError,
        devices::{Revoke, RevokedDevice},
        wipes::WipeEntry,
    },
    store::{
        matters::Wipe,
        registry::{OperatorRole, RevocationReason},
    },
};
use feldakte_proto::{ClientMessage, Outcome, Reason, Receipts, ServerMessage};
use feldakte_tests::harness::{
    author::Author,
    control::{accept, invite, operator},
    crew,
    local::{LocalGateway, Site},
    new_document,
    pki::Enrolled,
    raw::RawClient,
    tablet::{Tablet, memory_store},
    until_answered,
};
use uuid::Uuid;

use super::{TEXT, audited, emergency, reasons, written};

const ORDER: Uuid = Uuid::from_u128(9);

async fn order(gateway: &LocalGateway, device: DeviceId) {
    let wipe = Wipe { order: ORDER, device, ordered_ms: 1, done_ms: None };
    let shared = gateway.gateway.shared();
    shared.matters.order_wipe(&wipe).await.unwrap();
    shared.wipes.order(&wipe);
}

/// A new session of the device gets the order and nothing else; then it says that it has carried it out.
async fn gets_nothing_but_the_order(gateway: &LocalGateway, lost: &Enrolled, known: DocumentId) {
    let (mut raw, welcome) = RawClient::session(lost, gateway.address, None).await;
    assert!(welcome.caught_up, "there is nothing for it to read");
    match raw.next().await {
        Ok(ServerMessage::Wipe(given)) => assert_eq!(given.order, ORDER.into_bytes()),
        other => panic!("{other:?}"),
    }
    assert_eq!(raw.fetch(&[known]).await.unavailable, [known]);
    let mut late = Author::new(&lost.principal, new_document());
    let refused = raw.push_and_wait(late.document, late.begin(1)).await.refused;
    assert_eq!(reasons(&refused), [Reason::Quarantined; 2]);
    assert_eq!(raw.ask(emergency(known.case, TEXT)).await, Outcome::NotPermitted);
    let wiped = Receipts { request: 3, wiped: Some(ORDER.into_bytes()), ..Receipts::default() };
    assert_eq!(raw.ask(ClientMessage::Receipts(wiped)).await, Outcome::Done);
}

/// Whoever has it says "done" and keeps everything, or lets it be done and goes on with what is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_device_that_says_it_is_wiped_reads_nothing_in_later_sessions_nor_after_a_restart() {
    let site = Site::new();
    let gateway = site.start().await;
    let (lost, raw, author) = written(&site, &gateway).await;
    drop(raw);
    order(&gateway, lost.principal.device).await;
    for _ in 0..3 {
        gets_nothing_but_the_order(&gateway, &lost, author.document).await;
    }
    gateway.stop().await;
    let gateway = site.start().await;
    gets_nothing_but_the_order(&gateway, &lost, author.document).await;
    let wipe = gateway.gateway.shared().matters.wipe_of(lost.principal.device).await.unwrap().unwrap();
    assert!(wipe.done_ms.is_some());
    gateway.stop().await;
    assert_eq!(audited(&site, Act::Wiped).await.len(), 1, "carried out once, however often it says so");
}

/// Nothing goes round in circles, and a fresh store under the old certificate is no way back.
#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_tablet_is_given_its_order_in_every_session_and_rests_and_so_does_its_next_store() {
    let site = Site::new();
    let gateway = site.start().await;
    let enrolled = site.pki.enrol(&crew("rtw-1"));
    let tablet = Tablet::online(&enrolled, gateway.address).await;
    let case = tablet.create("Brustschmerz").await;
    tablet.wait_durable(case).await;
    tablet.go_offline().await;
    order(&gateway, enrolled.principal.device).await;
    for _ in 0..2 {
        tablet.client.go_online();
        tablet.wait_link(LinkState::Connected).await;
        let is_confirmed = async |client: &Client| client.status().await.unwrap().wipe == Some(WipeStage::Confirmed);
        tablet.until("it has confirmed", is_confirmed).await;
        tablet.go_offline().await;
    }
    tablet.shutdown().await;
    let fresh = Tablet::open(enrolled.identity(), gateway.address, memory_store()).await;
    fresh.client.go_online();
    let is_wiped = async || matches!(fresh.client.list().await, Err(SdkError::Wiped));
    until_answered("the order reaches it", is_wiped).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_can_never_arrive_is_refused_and_so_is_what_would_keep_it_from_arriving() {
    let site = Site::new();
    let gateway = site.spawn().await;
    let anna = operator(&site, "anna", OperatorRole::Operator, Some("dortmund")).await;
    let mut devices = Vec::new();
    for _ in 0..2 {
        let invited = invite(&anna, "dortmund").await.unwrap();
        devices.push(enrol::enrol(accept(&invited, &gateway)).await.unwrap().principal.device);
    }
    let wipe = async |device| anna.post::<WipeEntry>(&format!("/devices/{device}/wipe"), &()).await;
    let revoke = async |device, reason, unwiped| {
        let path = format!("/devices/{device}/revoke");
        anna.post::<RevokedDevice>(&path, &Revoke { reason, unwiped }).await
    };
    for reason in [RevocationReason::Lost, RevocationReason::Stolen] {
        let message = conflict(revoke(devices[0], reason, false).await);
        assert!(message.contains("device wipe"), "it says what to do instead: {message}");
    }
    wipe(devices[0]).await.unwrap();
    let message = conflict(revoke(devices[0], RevocationReason::Lost, false).await);
    assert!(message.contains("device show"), "it has not confirmed: {message}");
    revoke(devices[0], RevocationReason::Lost, true).await.unwrap();
    revoke(devices[1], RevocationReason::KeyCompromised, false).await.unwrap();
    for device in devices {
        let message = conflict(wipe(device).await);
        assert!(message.contains("revoked"), "{message}");
    }
    assert_eq!(audited(&site, Act::WipeOrdered).await.len(), 1, "what was refused is not done");
}

fn conflict<T: std::fmt::Debug>(answer: Result<T, ClientError>) -> String {
    match answer {
        Err(ClientError::Refused(refused)) if refused.error == "conflict" => refused.message,
        other => panic!("no conflict: {other:?}"),
    }
}
